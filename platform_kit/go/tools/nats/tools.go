//go:build tools

// Package tools pins the nats CLI. It is a module of its own, because the CLI and Wombat ask for different
// versions of the same libraries. In this folder:
//
//	go build -trimpath -ldflags "-s -w -X main.version=v0.5.1" github.com/nats-io/natscli/nats
package tools

import _ "github.com/nats-io/natscli/nats"
