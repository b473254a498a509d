// Package echo is the smallest worker there is: it gives back what it is given. It shows what a transport costs.
package echo

import (
	"context"

	"platform-kit/worker"
)

const (
	// Name of the worker, as a micro service and in `describe`.
	Name = "echo"
	// Version of the worker.
	Version = "1.0.0"
)

// Handle answers a request with its own bytes.
func Handle(_ context.Context, req worker.Request) (worker.Response, error) {
	return worker.Response{Data: req.Data}, nil
}
