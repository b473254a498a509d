package worker

import (
	"sync"
	"testing"
	"time"
)

// BenchmarkPool is what the pool adds to a handler that does nothing.
func BenchmarkPool(b *testing.B) {
	p := newPool(echo, Limits{Concurrency: 2, Queue: 1 << 10, MaxRequestBytes: 1 << 20, Timeout: time.Minute}, discard)
	defer p.stop(time.Minute)
	var open sync.WaitGroup
	room := make(chan struct{}, 512)
	answer := func(Response, error) { open.Done(); <-room }
	data := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		room <- struct{}{} // so that none is refused
		open.Add(1)
		p.submit(Request{Data: data, Received: time.Now()}, 0, nil, answer)
	}
	open.Wait()
}

// BenchmarkCaller is what a call inside Wombat adds.
func BenchmarkCaller(b *testing.B) {
	c := NewCaller(echo, Limits{}, nil)
	data := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), Request{Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}
