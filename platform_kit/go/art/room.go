package art

import (
	"context"
	"sync"
)

// room bounds the memory of what goes on at the same moment: who needs more than is left waits, in order.
type room struct {
	mu      sync.Mutex
	left    int64
	size    int64
	waiting []*guest
}

type guest struct {
	need int64
	in   chan struct{}
}

func newRoom(size int64) *room { return &room{left: size, size: size} }

// enter waits until need bytes are left, or ctx ends. Who needs more than there is gets it all.
func (r *room) enter(ctx context.Context, need int64) (leave func(), err error) {
	g := &guest{need: min(max(need, 0), r.size), in: make(chan struct{})}
	leave = sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.left += g.need
		r.admit()
	})
	r.mu.Lock()
	r.waiting = append(r.waiting, g)
	r.admit()
	r.mu.Unlock()
	select {
	case <-g.in:
		return leave, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, other := range r.waiting {
		if other == g {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			r.admit()
			return nil, ctx.Err()
		}
	}
	r.left += g.need // let in at the same moment
	r.admit()
	return nil, ctx.Err()
}

func (r *room) admit() {
	for len(r.waiting) > 0 && r.waiting[0].need <= r.left {
		r.left -= r.waiting[0].need
		close(r.waiting[0].in)
		r.waiting = r.waiting[1:]
	}
}
