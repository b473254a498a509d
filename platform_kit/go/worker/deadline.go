package worker

import (
	"context"
	"sync"
	"time"
)

// deadline is a handler's context. It is context.WithDeadline without a timer, for a job has one already, and without
// a channel until somebody asks for it: half of what a pool costs a request that needs neither.
type deadline struct {
	expiry time.Time

	mu   sync.Mutex
	done chan struct{}
	err  error
}

var _ context.Context = (*deadline)(nil)

// Deadline is when the asker is answered, with or without the handler.
func (d *deadline) Deadline() (time.Time, bool) { return d.expiry, true }

// Done is closed at the deadline, or when the handler has returned.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
		if d.err != nil {
			close(d.done)
		}
	}
	return d.done
}

// Err is why it is done, or nil.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Value has none.
func (d *deadline) Value(any) any { return nil }

// end ends the context once.
func (d *deadline) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return
	}
	d.err = err
	if d.done != nil {
		close(d.done)
	}
}
