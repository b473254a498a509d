package worker

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// ProgressHeader of a request asks for signs of life, and says how often, as Go writes durations: "1s". They tell
	// an asker who waits for long from one who waits in vain.
	ProgressHeader = "Request-Progress"
	// WorkingHeader makes a message to the reply subject a sign of life; its value is [Waiting] or [Running]. It is
	// another header than the request's, for some clients answer with the headers they were asked with.
	WorkingHeader = "Worker-Working"

	Waiting = "waiting" // in the worker's queue: if the worker dies now, nothing was tried
	Running = "running" // in the handler; the first of these comes at once

	shortestProgress = 50 * time.Millisecond
)

// life sends signs of life to an asker who wants them; a nil one sends none.
type life struct {
	nc      *nats.Conn
	to      string
	every   time.Duration
	running atomic.Bool
	ended   atomic.Bool
	timer   atomic.Pointer[time.Timer]
}

// showLife begins to send signs of life, if they are asked for.
func showLife(nc *nats.Conn, to, interval string) *life {
	if interval == "" || to == "" {
		return nil
	}
	every, err := time.ParseDuration(interval)
	if err != nil {
		return nil // unreadable is as good as absent
	}
	l := &life{nc: nc, to: to, every: max(every, shortestProgress)}
	l.timer.Store(time.AfterFunc(l.every, l.again))
	return l
}

// begin says at once that the handler runs.
func (l *life) begin() {
	if l != nil {
		l.running.Store(true)
		l.sign()
	}
}

// end stops the signs. One may still be on its way.
func (l *life) end() {
	if l != nil {
		l.ended.Store(true)
		l.timer.Load().Stop()
	}
}

func (l *life) again() {
	if l.ended.Load() || l.nc.IsClosed() {
		return
	}
	l.sign()
	if timer := l.timer.Load(); timer != nil {
		timer.Reset(l.every)
	}
}

// sign sends one; where it cannot be sent, the next may be.
func (l *life) sign() {
	state := Waiting
	if l.running.Load() {
		state = Running
	}
	_ = l.nc.PublishMsg(&nats.Msg{Subject: l.to, Header: nats.Header{WorkingHeader: {state}}})
}
