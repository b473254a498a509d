package main

import (
	"os"
	"runtime/debug"
)

// What the renderer keeps is mostly a few thousand pictures and files, which have no pointers inside: to collect
// garbage is cheap, so it is done often, and little memory is lost to it.
const (
	garbagePercent = 25        // garbage, of what is in use, at which it is collected
	memoryLimit    = 192 << 20 // a backstop for pictures of many millions of pixels: to live near it is slow
)

// Who sets GOGC or GOMEMLIMIT knows better.
func init() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
