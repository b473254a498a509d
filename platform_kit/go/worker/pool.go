package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bounds what a worker takes on.
type Limits struct {
	Concurrency     int           // handlers running at once; default GOMAXPROCS
	Queue           int           // requests waiting for a handler; default 256, more are answered 503 at once
	MaxRequestBytes int           // default 1 MiB; a larger request is rejected
	Timeout         time.Duration // of one request; default 30 s. It waits in the queue as long as its asker does
	Drain           time.Duration // time to finish what was accepted when the worker is stopped; default 5 s
}

// lastMoment is what running handlers get after the time to finish is over.
const lastMoment = 100 * time.Millisecond

// pool runs a handler with bounded concurrency and a bounded queue. It knows no transport.
//
// A slot runs the handler itself: no goroutine and no channel for a single request. That the asker is answered in
// time although a handler does not return is up to the job's timer; see job.
type pool struct {
	handler Handler
	limits  Limits
	log     *slog.Logger
	jobs    chan *job
	slots   []atomic.Pointer[job] // what each slot works on
	done    sync.WaitGroup

	mu     sync.RWMutex // guards closed and sending on jobs
	closed bool

	counters
}

func newPool(handler Handler, limits Limits, log *slog.Logger) *pool {
	p := &pool{
		handler: handler, limits: limits, log: log,
		jobs: make(chan *job, limits.Queue), slots: make([]atomic.Pointer[job], limits.Concurrency),
	}
	for slot := range p.slots {
		p.done.Add(1)
		go p.work(&p.slots[slot])
	}
	return p
}

// submit queues a request, or answers it at once if it is too large, the queue is full or the pool is stopping.
// patience is how long the asker waits; zero means it did not say. An asker who is shown life waits that long for the
// work to begin, and then for as long as it takes.
func (p *pool) submit(req Request, patience time.Duration, life *life, reply answer) {
	if len(req.Data) > p.limits.MaxRequestBytes {
		p.rejectSize(int64(len(req.Data)), reply)
		return
	}
	p.requests.Add(1)
	limit := p.limits.Timeout
	if patience > 0 {
		limit = patience
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		p.refuse(reply, "the worker is stopping")
		return
	}
	p.waiting.Add(1)
	j := newJob(p, req, limit, life, reply)
	select {
	case p.jobs <- j:
	default:
		j.refuse(fmt.Sprintf("the worker is busy: %d requests wait already", p.limits.Queue))
	}
}

// rejectSize answers a request that is larger than the limit, whether or not it was read.
func (p *pool) rejectSize(size int64, reply answer) {
	p.requests.Add(1)
	p.rejected.Add(1)
	reply(Response{}, errTooLarge(size, p.limits.MaxRequestBytes))
}

func errTooLarge(size int64, limit int) error {
	return Reject("", fmt.Sprintf("the request has %d bytes, more than the limit of %d", size, limit))
}

func (p *pool) refuse(reply answer, why string) {
	p.refused.Add(1)
	reply(Response{}, Unavailable(errors.New(why)))
}

// work is one slot.
func (p *pool) work(slot *atomic.Pointer[job]) {
	finished := false
	defer func() {
		if !finished {
			go p.work(slot) // the handler ended the goroutine
			return
		}
		p.done.Done()
	}()
	for j := range p.jobs {
		p.serve(j, slot)
	}
	finished = true
}

// serve answers one queued request. It returns when the handler has, so that a handler that ignores its
// deadline keeps its slot while the asker is told in time.
func (p *pool) serve(j *job, slot *atomic.Pointer[job]) {
	if !j.start() {
		return // answered while it waited
	}
	p.running.Add(1)
	slot.Store(j)
	started := time.Now()
	var res Response
	err := errGoexit
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value, logPanic(p.log))
		}
		j.ctx.end(context.Canceled)
		slot.Store(nil)
		p.busyNanos.Add(int64(time.Since(started)))
		p.served.Add(1)
		p.running.Add(-1)
		j.finish(res, err)
	}()
	res, err = p.handler(&j.ctx, j.req)
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
	select {
	case <-finished:
		return true
	case <-time.After(limit):
	}
	for j := range p.jobs {
		j.refuse("the worker is stopping")
	}
	// A running handler gets one last moment before its asker is told.
	select {
	case <-finished:
		return true
	case <-time.After(lastMoment):
	}
	for slot := range p.slots {
		if j := p.slots[slot].Load(); j != nil {
			j.refuse("the worker stopped before the request was done")
		}
	}
	return false
}
