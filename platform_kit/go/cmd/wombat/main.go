// Command wombat is the kit's distribution of Wombat, the stream processor, at the version pinned in go.mod.
//
// The slim distribution (the default) holds what the kit's pipelines use: the pure and extended processors,
// files and HTTP, NATS and Prometheus, and the workers that run inside it. The build tag "full" selects every component there is:
//
//	go build -trimpath -ldflags "-s -w" ./cmd/wombat             # seconds once the modules are there
//	go build -trimpath -ldflags "-s -w" -tags full ./cmd/wombat  # minutes, a binary ten times the size
package main

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	_ "platform-kit/components"
	"platform-kit/worker/echo"
	"platform-kit/worker/processor"
)

// What `wombat --version` and GET /version answer. A test holds version to the one required in go.mod; the
// date is a constant so that the same sources build the same bytes.
const (
	version   = "v1.0.7"
	dateBuilt = "2026-01-01T00:00:00Z"
)

func main() {
	registerWorkers()
	service.RunCLI(context.Background(),
		service.CLIOptSetProductName("Wombat"),
		service.CLIOptSetBinaryName("wombat"),
		service.CLIOptSetVersion(version, dateBuilt),
		service.CLIOptSetDocumentationURL("https://wombat.dev"),
	)
}

// registerWorkers makes the workers that run inside Wombat its processors.
func registerWorkers() {
	processor.MustRegister(echo.Name, "Gives a message back as it is: the least a worker can do.", echo.Handle)
}
