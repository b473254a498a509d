package cache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestWhatWasUsedLastStays(t *testing.T) {
	c := New[int, string](3 * (10 + overhead))
	for i := range 3 {
		c.Put(i, fmt.Sprint(i), 10)
	}
	c.Get(0)
	c.Put(3, "3", 10)
	for i, want := range []bool{true, false, true, true} {
		if v, ok := c.Get(i); ok != want || ok && v != fmt.Sprint(i) {
			t.Errorf("%d: %q, %v", i, v, ok)
		}
	}
	c.Put(4, "too large", 3*(10+overhead))
	if _, ok := c.Get(4); ok || c.Weight() != 3*(10+overhead) {
		t.Errorf("a value above the limit is kept; %d bytes", c.Weight())
	}
	c.Put(3, "other", 1)
	if v, _ := c.Get(3); v != "3" {
		t.Errorf("a value was replaced by %q", v)
	}
}

func TestTheLimitHolds(t *testing.T) {
	c := New[int, int](5000)
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			for range 5000 {
				k := r.IntN(60)
				if v, ok := c.Get(k); ok && v != k {
					t.Errorf("%d for %d", v, k)
				}
				c.Put(k, k, r.IntN(900))
				if w := c.Weight(); w < 0 || w > 5000 {
					t.Errorf("weight %d", w)
				}
			}
		})
	}
	wg.Wait()
}

func TestSeen(t *testing.T) {
	var s Seen
	if s.Before(7, 1) || !s.Before(7, 1) || s.Before(7, 2) || s.Before(7, 1) || s.Before(8, 1) {
		t.Error("what came before is not told from what is new")
	}
}
