package raster

import (
	"context"
	"sync"
)

// Memory is what all pictures that a process decodes at the same moment may need.
const Memory = 256 << 20

// Room bounds the memory of what goes on at the same moment: who needs more than is left waits, in order.
type Room struct {
	mu      sync.Mutex
	left    int64
	size    int64
	waiting []*guest
}

type guest struct {
	need int64
	in   chan struct{}
}

// NewRoom returns a room of so many bytes.
func NewRoom(size int64) *Room { return &Room{left: size, size: size} }

// Enter waits until need bytes are left, or ctx ends. Who needs more than there is gets it all.
func (r *Room) Enter(ctx context.Context, need int64) (leave func(), err error) {
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

func (r *Room) admit() {
	for len(r.waiting) > 0 && r.waiting[0].need <= r.left {
		r.left -= r.waiting[0].need
		close(r.waiting[0].in)
		r.waiting = r.waiting[1:]
	}
}

// Left is how many bytes nobody uses now.
func (r *Room) Left() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}
