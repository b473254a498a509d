package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// maxAbandoned bounds the handlers of a Caller that run on although their deadline has passed.
const maxAbandoned = 64

// Caller calls a handler for a transport that brings its own concurrency, such as Wombat's threads: one call after
// the other in each of them, with the deadline, the limit of size and the guard against panics of every worker.
type Caller struct {
	handler   Handler
	limits    Limits
	panicked  func(value any, stack []byte)
	abandoned atomic.Int64
}

// NewCaller makes a caller. Of limits, MaxRequestBytes and Timeout count; zero means their default. panicked logs a
// panic of the handler, which also is an error of its call.
func NewCaller(handler Handler, limits Limits, panicked func(value any, stack []byte)) *Caller {
	if limits.MaxRequestBytes == 0 {
		limits.MaxRequestBytes = DefaultMaxRequestBytes
	}
	if limits.Timeout == 0 {
		limits.Timeout = DefaultTimeout
	}
	return &Caller{handler: handler, limits: limits, panicked: panicked}
}

// Call answers one request. It returns by the deadline and as soon as ctx ends, even if the handler does not; with
// too many such handlers it is unavailable. [ErrorReply] says how to answer an error.
func (c *Caller) Call(ctx context.Context, req Request) (Response, error) {
	if n := len(req.Data); n > c.limits.MaxRequestBytes {
		return Response{}, errTooLarge(int64(n), c.limits.MaxRequestBytes)
	}
	if c.abandoned.Load() >= maxAbandoned {
		return Response{}, Unavailable(errors.New("too many earlier requests hang past their deadline"))
	}
	if req.Received.IsZero() {
		req.Received = time.Now()
	}
	inner, cancel := context.WithDeadline(ctx, req.Received.Add(c.limits.Timeout))
	defer cancel()
	r := &call{done: make(chan struct{})}
	go c.run(inner, r, req)
	select {
	case <-r.done:
		return r.res, r.err
	case <-inner.Done():
	}
	c.abandoned.Add(1)
	if r.settled.Swap(true) {
		c.abandoned.Add(-1) // it has finished after all, just now
	}
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return Response{}, fmt.Errorf("given up: %w", err)
	}
	return Response{}, errDeadline(c.limits.Timeout)
}

// call is one call: settled by whichever ends first, the handler or the wait for it.
type call struct {
	res     Response
	err     error
	done    chan struct{}
	settled atomic.Bool
}

func (c *Caller) run(ctx context.Context, r *call, req Request) {
	r.err = errGoexit
	defer func() {
		if value := recover(); value != nil {
			r.err = panicked(value, c.panicked)
		}
		if r.settled.Swap(true) {
			c.abandoned.Add(-1)
		}
		close(r.done)
	}()
	r.res, r.err = c.handler(ctx, req)
}
