// Package worker turns one Go function into a worker of the platform.
//
// A worker answers requests on the subject workers.<name> as a NATS micro service. All workers of one name form
// a queue group, so that starting another, on this machine or any other, spreads the load:
//
//	func main() {
//		worker.Main("shout", "1.0.0", func(ctx context.Context, req worker.Request) (worker.Response, error) {
//			return worker.Response{Data: bytes.ToUpper(req.Data)}, nil
//		})
//	}
//
// The function knows nothing of NATS: it gets bytes and returns bytes. How an error is answered decides what the
// pipeline does with the message:
//
//	Reject(column, reason)   422  the message's own fault: rejected, never tried again
//	Unavailable(err)         503  something the worker needs is away: tried again until it is back
//	a passed deadline        504  tried again, a bounded number of times
//	any other error, a panic 500  tried again, a bounded number of times
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Request is what a handler is given.
type Request struct {
	Subject  string
	Header   map[string][]string
	Data     []byte // valid only until the handler returns
	Received time.Time
}

// Response is what a handler gives back.
type Response struct {
	Header map[string][]string
	Data   []byte
}

// Handler answers one request. It is called from several goroutines at once and should give up when ctx ends:
// its slot is taken until it returns.
type Handler func(ctx context.Context, req Request) (Response, error)

// Platform is what a handler with needs of its own is built from; see [MainWith].
type Platform struct {
	NATS     *nats.Conn // reconnects endlessly; do not close it
	Instance string     // this process's name, e.g. "card-renderer-1"
	Log      *slog.Logger
}

// Setup builds a handler once the worker is connected. It delays readiness, so it should do no slow work.
type Setup func(p Platform) (Handler, error)

// Codes of error replies, in the header Nats-Service-Error-Code.
const (
	CodeRejected    = "422"
	CodeFailed      = "500"
	CodeUnavailable = "503"
	CodeDeadline    = "504"
)

// RejectError is a permanent failure: the same request will fail the same way for ever.
type RejectError struct {
	Column string // the part of the message at fault, or ""
	Reason string
}

// Reject returns a permanent failure. column names the part of the message at fault, or is "".
func Reject(column, reason string) error { return &RejectError{Column: column, Reason: reason} }

func (e *RejectError) Error() string {
	if e.Column == "" {
		return e.Reason
	}
	return e.Column + ": " + e.Reason
}

// UnavailableError is a failure of something the worker needs, and that will come back.
type UnavailableError struct{ Err error }

// Unavailable returns a transient failure, for which no message is ever given up.
func Unavailable(err error) error { return &UnavailableError{Err: err} }

func (e *UnavailableError) Error() string { return e.Err.Error() }
func (e *UnavailableError) Unwrap() error { return e.Err }

// panicError is a handler's panic as an error.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.value) }

// errorReply says how an error is answered: code, description and JSON body.
func errorReply(err error) (code, description string, body []byte) {
	var reject *RejectError
	var unavailable *UnavailableError
	var column any
	switch {
	case errors.As(err, &reject):
		code, description = CodeRejected, reject.Reason
		if reject.Column != "" {
			column = reject.Column
		}
	case errors.As(err, &unavailable):
		code, description = CodeUnavailable, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		code, description = CodeDeadline, err.Error()
	default:
		code, description = CodeFailed, err.Error()
	}
	description = oneLine(description)
	// Strings and nil always marshal.
	body, _ = json.Marshal(map[string]any{"column": column, "reason": description})
	return code, description, body
}

const maxDescription = 1000

// oneLine makes text safe for a message header: no control characters, valid UTF-8, not long, not empty.
func oneLine(text string) string {
	out := make([]rune, 0, min(len(text), maxDescription))
	for _, r := range text {
		if len(out) == maxDescription {
			out = append(out, '…')
			break
		}
		if r < ' ' || r == 0x7f {
			r = ' '
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return "no reason given"
	}
	return string(out)
}
