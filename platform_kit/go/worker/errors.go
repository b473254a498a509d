package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

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

// errGoexit is what a handler failed with that ended its goroutine instead of returning.
var errGoexit = errors.New("the handler ended its goroutine")

// panicked is a handler's panic as an error, logged with its stack. Call it in the function that recovered.
func panicked(value any, log func(value any, stack []byte)) error {
	log(value, debug.Stack())
	return fmt.Errorf("the handler panicked: %v", value)
}

// logPanic is the log of [panicked] for who has a logger.
func logPanic(log *slog.Logger) func(any, []byte) {
	return func(value any, stack []byte) { log.Error("panic", "value", fmt.Sprint(value), "stack", string(stack)) }
}

// ErrorReply says how an error is answered on every transport: the code, a description of one line, and the JSON
// body {"column":...,"reason":...}. A transport of one's own uses it; a handler just returns its error.
func ErrorReply(err error) (code, description string, body []byte) {
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
