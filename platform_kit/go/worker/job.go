package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// answer is called once for each request given to a pool.
type answer func(Response, error)

// job is one request on its way through a pool. Whoever moves it out of waiting or running answers it: the slot
// that ran the handler, or the timer if that comes first.
type job struct {
	pool   *pool
	req    Request
	limit  time.Duration
	ctx    deadline
	answer answer
	life   *life
	state  atomic.Int32
	late   atomic.Bool // its time is over, and the handler has its last moment
	timer  *time.Timer
}

// The states of a job.
const (
	waiting int32 = iota
	running
	answered
)

func newJob(p *pool, req Request, limit time.Duration, life *life, reply answer) *job {
	j := &job{pool: p, req: req, limit: limit, life: life, answer: reply}
	j.ctx.expiry = req.Received.Add(limit)
	j.timer = time.AfterFunc(time.Until(j.ctx.expiry), j.expire)
	return j
}

// leave claims the right to answer a job that is in state from.
func (j *job) leave(from int32) bool {
	if !j.state.CompareAndSwap(from, answered) {
		return false
	}
	if from == waiting {
		j.pool.waiting.Add(-1)
	}
	return true
}

// start tells whether the job is still to be worked on. From here on the handler has the worker's own time limit, if
// the asker waits that long or is shown life.
func (j *job) start() bool {
	now := time.Now()
	if !now.Before(j.ctx.expiry) {
		j.expire() // nobody waits for this answer any more; the next request is worth more
		return false
	}
	if end := now.Add(j.pool.limits.Timeout); j.life != nil || end.Before(j.ctx.expiry) {
		j.ctx.expiry, j.limit = end, j.pool.limits.Timeout
		j.timer.Reset(j.limit)
	}
	if !j.state.CompareAndSwap(waiting, running) {
		return false
	}
	j.pool.waiting.Add(-1)
	j.life.begin()
	return true
}

// finish answers with what the handler gave, unless the asker was answered before.
func (j *job) finish(res Response, err error) {
	if j.leave(running) {
		j.timer.Stop()
		j.pool.count(err)
		j.answer(res, err)
	}
}

// expire answers a job whose time is over. A handler that runs gets a last moment to say itself what went wrong: that
// what it needs is away is another thing than that it is slow. The timer may call it before newJob has returned.
func (j *job) expire() {
	if j.leave(waiting) {
		j.ctx.end(context.DeadlineExceeded)
		j.pool.refuse(j.answer, "the request waited longer than its deadline")
		return
	}
	if left := time.Until(j.ctx.expiry); left > 0 {
		j.timer.Reset(left) // it has begun in this very moment, and has its time
		return
	}
	j.ctx.end(context.DeadlineExceeded)
	if !j.late.Swap(true) {
		j.timer.Reset(lastMoment)
		return
	}
	if j.leave(running) {
		j.pool.failed.Add(1)
		j.answer(Response{}, errDeadline(j.limit))
	}
}

// refuse answers a job that will not be worked on, or not be waited for.
func (j *job) refuse(why string) {
	if j.leave(waiting) || j.leave(running) {
		j.timer.Stop()
		j.pool.refuse(j.answer, why)
	}
}

func errDeadline(limit time.Duration) error {
	return fmt.Errorf("not done within %v: %w", limit.Round(time.Millisecond), context.DeadlineExceeded)
}
