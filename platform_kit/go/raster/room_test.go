package raster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestTheRoomIsNeverOverfull(t *testing.T) {
	r := NewRoom(10)
	var mu sync.Mutex
	var inside, most int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			need := int64(1 + i%7)
			leave, err := r.Enter(t.Context(), need)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside += need
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			inside -= need
			mu.Unlock()
			leave()
			leave() // once counts
		})
	}
	all.Wait()
	if most > 10 || r.left != 10 || len(r.waiting) != 0 {
		t.Errorf("%d were inside at once, %d are left", most, r.left)
	}
}

func TestWhoGivesUpWaitingTakesNothing(t *testing.T) {
	r := NewRoom(10)
	leave, _ := r.Enter(t.Context(), 1000) // more than there is: all of it
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.Enter(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	leave()
	if r.left != 10 || len(r.waiting) != 0 {
		t.Errorf("%d left, %d wait", r.left, len(r.waiting))
	}
}
