// Package worker turns one Go function into a worker of the platform.
//
//	func main() {
//		worker.Main("shout", func(ctx context.Context, req worker.Request) (worker.Response, error) {
//			return worker.Response{Data: bytes.ToUpper(req.Data)}, nil
//		}, worker.Version("1.0.0"))
//	}
//
// The function gets bytes and returns bytes, and knows nothing of how they travel. The same binary answers in
// four ways, and package worker/processor adds a fifth:
//
//	shout [serve]     a NATS micro service on the subject workers.shout; all of one name form a queue group, so
//	                  that starting another, on this machine or any other, spreads the load
//	shout subprocess  frames on stdin and stdout, for Wombat's processor "subprocess"
//	shout command     one message on stdin, the answer on stdout, for Wombat's processor "command" and for shells
//	shout describe    one line of JSON that says what this binary is
//	in Wombat itself  processor.MustRegister("shout", ...) makes the processor worker_shout
//
// Everywhere a request has a deadline and a limit of size, a bounded number of handlers run at once, a panic is an
// error reply, and an asker is answered in time even if the handler never returns. On SIGTERM what was accepted is
// finished first.
//
// How an error is answered decides what the pipeline does with the message:
//
//	Reject(column, reason)   422  the message's own fault: rejected, never tried again
//	Unavailable(err)         503  something the worker needs is away: tried again until it is back
//	a passed deadline        504  tried again, a bounded number of times
//	any other error, a panic 500  tried again, a bounded number of times
//
// What a handler prints goes to the worker's log and never between the answers.
package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Request is what a handler is given.
type Request struct {
	Subject  string              // of the NATS message; "" where there is none
	Header   map[string][]string // of the NATS message, or the metadata in Wombat; may be nil
	Data     []byte              // may be kept and given back, must not be changed
	Received time.Time
}

// Response is what a handler gives back.
type Response struct {
	Header map[string][]string // lost by the transports subprocess and command, which have no room for it
	Data   []byte
}

// Handler answers one request. It is called from several goroutines at once and should give up when ctx ends:
// its slot is taken until it returns.
type Handler func(ctx context.Context, req Request) (Response, error)

// Platform is what a handler with needs of its own is built from; see [MainWith].
type Platform struct {
	// NATS reconnects endlessly; do not close it. It is nil in a subprocess or a command that was given no
	// address: a setup that cannot do without returns an error then.
	NATS     *nats.Conn
	Instance string // this process's name, e.g. "card-renderer-1"
	Log      *slog.Logger
}

// Setup builds a handler, once, before the first request. It delays readiness, so it should do no slow work.
type Setup func(p Platform) (Handler, error)
