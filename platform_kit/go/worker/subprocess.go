package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// subprocess answers frames on stdin with frames on stdout, one for one and in order.
func (p *program) subprocess(ctx context.Context, c config, std streams, log *slog.Logger) int {
	handler, done, err := p.prepare(c, log)
	if err != nil {
		log.Error("cannot start", "error", err)
		handler, done = p.startLater(c, log, err), func() {}
	}
	defer done()

	s := &frameServer{
		limits: c.limits,
		pool:   newPool(handler, c.limits, log),
		frames: newFrameReader(std.in, c.limits.MaxRequestBytes),
		out:    bufio.NewWriterSize(std.out, 64<<10),
		// Who sends many requests at once has this many worked on or waiting to be written; the rest waits unread.
		replies: make(chan chan []byte, c.limits.Concurrency),
		gone:    make(chan struct{}),
	}
	log.Info("ready", "concurrency", c.limits.Concurrency)
	err = s.run(ctx)
	s.pool.stop(0) // everything is answered
	st := s.pool.stats()
	log.Info("stopped", "requests", st.Requests, "failed", st.Failed, "rejected", st.Rejected, "refused", st.Refused)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, io.ErrUnexpectedEOF):
		log.Error("input", "error", err)
		return exitRejected
	default:
		log.Error("not finished", "error", err)
		return exitStopped
	}
}

// startAgain is the least time between two attempts of a setup.
const startAgain = time.Second

// startLater returns a handler that tries the setup again, and until that works is unavailable for the reason why it
// failed. To end instead would tell nobody: Wombat starts a subprocess again at once, for ever, and all it says of
// the messages is "type was closed".
func (p *program) startLater(c config, log *slog.Logger, failed error) Handler {
	var mu sync.Mutex
	var handler Handler
	tried := time.Now()
	return func(ctx context.Context, req Request) (Response, error) {
		mu.Lock()
		if handler == nil && time.Since(tried) >= startAgain {
			if handler, _, failed = p.prepare(c, log); failed == nil {
				log.Info("started after all")
			}
			tried = time.Now()
		}
		started, why := handler, failed
		mu.Unlock()
		if why != nil {
			return Response{}, Unavailable(fmt.Errorf("the worker cannot start: %w", why))
		}
		return started(ctx, req)
	}
}

// frameServer takes requests from one stream to a pool and their answers, in the same order, to another.
type frameServer struct {
	limits  Limits
	pool    *pool
	frames  *frameReader
	out     *bufio.Writer
	replies chan chan []byte // one for each request, in order
	gone    chan struct{}    // closed when nobody takes frames any more
}

type frame struct {
	body []byte
	err  error
}

// run serves until the input ends or ctx does. What was accepted is answered first: at the end of the input until
// each deadline, after a signal within the time to finish, which also bounds a parent that no longer reads.
func (s *frameServer) run(ctx context.Context) error {
	frames := make(chan frame)
	go s.read(frames)
	written := make(chan error, 1)
	go func() { written <- s.write() }()
	accepted := make(chan error, 1)
	go func() {
		accepted <- s.accept(ctx, frames)
		close(s.gone)
		close(s.replies)
	}()

	var inputErr error
	signalled, accepting := ctx.Done(), accepted
	var over <-chan time.Time
	for {
		select {
		case inputErr = <-accepting:
			accepting = nil
		case err := <-written:
			if err == nil {
				err = inputErr
			}
			return err
		case <-signalled:
			signalled, over = nil, time.After(s.limits.Drain)
		case <-over:
			s.pool.stop(0)
			select {
			case <-written:
			case <-time.After(lastMoment):
			}
			return fmt.Errorf("a request was still running %v after the signal", s.limits.Drain)
		}
	}
}

// read hands on frame by frame. It may be left behind, waiting for input.
func (s *frameServer) read(frames chan<- frame) {
	for {
		body, err := s.frames.next()
		select {
		case frames <- frame{body, err}:
		case <-s.gone:
			return
		}
		if _, goesOn := err.(oversize); err != nil && !goesOn {
			return
		}
	}
}

// accept takes requests until the input ends, or ctx does and the frame that had begun is complete.
func (s *frameServer) accept(ctx context.Context, frames <-chan frame) error {
	signalled := ctx.Done()
	var over <-chan time.Time
	var taken int64
	for {
		select {
		case f := <-frames:
			taken++
			if err := s.submit(f); err != nil || over != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		case <-signalled:
			if s.frames.begun.Load() == taken {
				return nil
			}
			signalled, over = nil, time.After(s.limits.Drain)
		case <-over:
			return nil
		}
	}
}

func (s *frameServer) submit(f frame) error {
	received := time.Now()
	reply := make(chan []byte, 1)
	answer := func(res Response, err error) { reply <- replyFrame(res, err) }
	var large oversize
	switch {
	case errors.As(f.err, &large):
		s.replies <- reply
		s.pool.rejectSize(large.size, answer)
	case f.err != nil:
		return f.err
	default:
		s.replies <- reply
		s.pool.submit(Request{Data: f.body, Received: received}, 0, nil, answer)
	}
	return nil
}

// write writes the answers, and flushes before it waits for the next.
func (s *frameServer) write() error {
	for reply := range s.replies {
		var body []byte
		select {
		case body = <-reply:
		default:
			if err := s.out.Flush(); err != nil {
				return errNotTaken(err)
			}
			body = <-reply
		}
		if err := writeFrame(s.out, body); err != nil {
			return errNotTaken(err)
		}
		if len(s.replies) == 0 {
			if err := s.out.Flush(); err != nil {
				return errNotTaken(err)
			}
		}
	}
	return nil
}

func errNotTaken(err error) error { return fmt.Errorf("the answer was not taken: %w", err) }
