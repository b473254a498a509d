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
	// WorkingHeader makes a message to the reply subject a sign of life. It is another one than the request's, for some
	// clients answer with the headers they were asked with.
	WorkingHeader = "Worker-Working"

	shortestProgress = 50 * time.Millisecond
)

// showLife sends signs of life to the asker until the returned function is called.
func showLife(nc *nats.Conn, to, interval string) (end func()) {
	if interval == "" || to == "" {
		return func() {} // not asked for
	}
	every, err := time.ParseDuration(interval)
	if err != nil {
		return func() {} // unreadable, which is as good as absent
	}
	every = max(every, shortestProgress)
	sign := &nats.Msg{Subject: to, Header: nats.Header{WorkingHeader: {interval}}}
	var ended atomic.Bool
	var timer atomic.Pointer[time.Timer]
	timer.Store(time.AfterFunc(every, func() {
		// Set anew only after a sign: a slow connection gets no more than one at a time.
		if !ended.Load() && nc.PublishMsg(sign) == nil {
			timer.Load().Reset(every)
		}
	}))
	return func() {
		ended.Store(true)
		timer.Load().Stop()
	}
}
