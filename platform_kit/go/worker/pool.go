package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bounds what a worker takes on. The zero value of a field means its default.
type Limits struct {
	Concurrency     int           // handlers running at once; default GOMAXPROCS
	Queue           int           // requests waiting for a handler; default 256, more are answered 503 at once
	MaxRequestBytes int           // default 1 MiB; a larger request is rejected
	Timeout         time.Duration // of one request, waiting included; default 30 s
	Drain           time.Duration // time to finish what was accepted when the worker is stopped; default 5 s
}

// answer is called once for each request given to a pool.
type answer func(Response, error)

type job struct {
	req    Request
	expiry time.Time
	answer answer
}

// pool runs a handler with bounded concurrency and a bounded queue. It knows no transport.
type pool struct {
	handler  Handler
	limits   Limits
	jobs     chan job
	stopping chan struct{} // closed when what still waits is to be refused
	done     sync.WaitGroup

	mu     sync.RWMutex // guards closed and sending on jobs
	closed bool

	requests, failed, rejected, refused, busyNanos, running atomic.Int64
}

// poolStats is what `nats micro stats` shows as the endpoint's data. micro's own processing time covers only
// the hand-over to the pool.
type poolStats struct {
	Requests     int64   `json:"requests"`
	Failed       int64   `json:"failed"`
	Rejected     int64   `json:"rejected"`
	Refused      int64   `json:"refused"`
	Running      int64   `json:"running"`
	Waiting      int     `json:"waiting"`
	Concurrency  int     `json:"concurrency"`
	BusySeconds  float64 `json:"busy_seconds"`
	AverageMilli float64 `json:"average_ms"`
}

func newPool(handler Handler, limits Limits) *pool {
	p := &pool{handler: handler, limits: limits, jobs: make(chan job, limits.Queue), stopping: make(chan struct{})}
	for range limits.Concurrency {
		p.done.Add(1)
		go func() {
			defer p.done.Done()
			for j := range p.jobs {
				p.serve(j)
			}
		}()
	}
	return p
}

// submit queues a request, or answers it at once if it is too large, the queue is full or the pool is stopping.
// patience is how long the asker waits; zero means it did not say.
func (p *pool) submit(req Request, patience time.Duration, reply answer) {
	p.requests.Add(1)
	if n := len(req.Data); n > p.limits.MaxRequestBytes {
		p.rejected.Add(1)
		reply(Response{}, Reject("", fmt.Sprintf("the request has %d bytes, more than the limit of %d", n, p.limits.MaxRequestBytes)))
		return
	}
	limit := p.limits.Timeout
	if patience > 0 && patience < limit {
		limit = patience
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		p.refuse(reply, "the worker is stopping")
		return
	}
	select {
	case p.jobs <- job{req: req, expiry: req.Received.Add(limit), answer: reply}:
	default:
		p.refuse(reply, fmt.Sprintf("the worker is busy: %d requests wait already", p.limits.Queue))
	}
}

func (p *pool) refuse(reply answer, why string) {
	p.refused.Add(1)
	reply(Response{}, Unavailable(errors.New(why)))
}

// serve answers one queued request. It returns when the handler has, so that a handler that ignores its
// deadline keeps its slot while the asker is told in time.
func (p *pool) serve(j job) {
	select {
	case <-p.stopping:
		p.refuse(j.answer, "the worker is stopping")
		return
	default:
	}
	if time.Now().After(j.expiry) {
		// Nobody waits for this answer any more; the next request is worth more.
		p.refuse(j.answer, "the request waited longer than its deadline")
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), j.expiry)
	defer cancel()
	p.running.Add(1)
	started := time.Now()

	type result struct {
		res Response
		err error
	}
	finished := make(chan result, 1)
	go func() {
		res, err := call(ctx, p.handler, j.req)
		finished <- result{res, err}
	}()
	var r result
	select {
	case r = <-finished:
		p.count(r.err)
		j.answer(r.res, r.err)
	case <-ctx.Done():
		err := fmt.Errorf("not done within %v: %w", j.expiry.Sub(j.req.Received).Round(time.Millisecond), ctx.Err())
		p.count(err)
		j.answer(Response{}, err)
		<-finished
	}
	p.busyNanos.Add(int64(time.Since(started)))
	p.running.Add(-1)
}

func (p *pool) count(err error) {
	var reject *RejectError
	switch {
	case err == nil:
	case errors.As(err, &reject):
		p.rejected.Add(1)
	default:
		p.failed.Add(1)
	}
}

// call runs the handler and turns its panic into an error.
func call(ctx context.Context, handler Handler, req Request) (res Response, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return handler(ctx, req)
}

// stop finishes what was accepted, within limit, and then refuses the rest. It reports whether every handler returned.
func (p *pool) stop(limit time.Duration) bool {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.jobs)
	}
	p.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		p.done.Wait()
		close(finished)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-finished:
		return true
	case <-timer.C:
		close(p.stopping)
	}
	// What waited is refused at once; a running handler gets one last moment.
	timer.Reset(100 * time.Millisecond)
	select {
	case <-finished:
		return true
	case <-timer.C:
		return false
	}
}

func (p *pool) stats() poolStats {
	s := poolStats{
		Requests: p.requests.Load(), Failed: p.failed.Load(), Rejected: p.rejected.Load(), Refused: p.refused.Load(),
		Running: p.running.Load(), Waiting: len(p.jobs), Concurrency: p.limits.Concurrency,
		BusySeconds: time.Duration(p.busyNanos.Load()).Seconds(),
	}
	if served := s.Requests - s.Refused - int64(s.Waiting) - s.Running; served > 0 {
		s.AverageMilli = s.BusySeconds * 1000 / float64(served)
	}
	return s
}
