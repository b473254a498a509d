//go:build full

package main

import (
	_ "github.com/wombatwisdom/wombat/public/components/all"
)
