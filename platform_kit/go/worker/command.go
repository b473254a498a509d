package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// command answers the one message on stdin: with the answer on stdout, or with one line on stderr and an exit code.
func (p *program) command(ctx context.Context, c config, std streams, log *slog.Logger) int {
	res, err := p.once(ctx, c, std.in, log)
	if err == nil {
		if _, err = std.out.Write(res.Data); err == nil {
			return exitOK
		}
	}
	fmt.Fprintf(std.err, "%s\n", oneLine(err.Error()))
	return exitCode(err)
}

// once takes the message through a pool, so that it has the deadline and the limits it has everywhere.
func (p *program) once(ctx context.Context, c config, in io.Reader, log *slog.Logger) (Response, error) {
	received := time.Now()
	handler, done, err := p.prepare(c, log)
	if err != nil {
		return Response{}, err
	}
	defer done()
	data, err := readMessage(ctx, in, c.limits)
	if err != nil {
		return Response{}, err
	}

	pool := newPool(handler, c.limits, log)
	type result struct {
		res Response
		err error
	}
	answered := make(chan result, 1)
	pool.submit(Request{Data: data, Received: received}, 0, nil, func(res Response, err error) { answered <- result{res, err} })
	select {
	case r := <-answered:
		return r.res, r.err
	case <-ctx.Done():
		pool.stop(c.limits.Drain) // answers, one way or the other
		r := <-answered
		return r.res, r.err
	}
}

var errSignal = Unavailable(errors.New("stopped before the message was read"))

// readMessage reads to the end of in, but not much more than the limit, nor longer than the deadline or a signal.
func readMessage(ctx context.Context, in io.Reader, limits Limits) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(in, int64(limits.MaxRequestBytes)+1))
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		switch {
		case r.err != nil:
			return nil, fmt.Errorf("cannot read the message: %w", r.err)
		case len(r.data) > limits.MaxRequestBytes:
			return nil, Reject("", fmt.Sprintf("the request has more than the limit of %d bytes", limits.MaxRequestBytes))
		}
		return r.data, nil
	case <-time.After(limits.Timeout):
		return nil, fmt.Errorf("the message did not end: %w", errDeadline(limits.Timeout))
	case <-ctx.Done():
		return nil, errSignal
	}
}
