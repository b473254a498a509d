package main

import (
	"bytes"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// headerLines writes a header as the protocol does, names in order: "Name: value\r\n" each.
func headerLines(header nats.Header) []byte {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	var lines bytes.Buffer
	for _, name := range names {
		for _, value := range header[name] {
			lines.WriteString(name)
			lines.WriteString(": ")
			lines.WriteString(value)
			lines.WriteString("\r\n")
		}
	}
	return lines.Bytes()
}

// parseHeader reads what headerLines writes.
func parseHeader(lines string) nats.Header {
	header := nats.Header{}
	for len(lines) > 0 {
		line, rest, _ := strings.Cut(lines, "\r\n")
		lines = rest
		if name, value, found := strings.Cut(line, ":"); found {
			header[name] = append(header[name], strings.TrimPrefix(value, " "))
		}
	}
	return header
}
