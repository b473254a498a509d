// Package cache keeps the values used last.
package cache

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// Cache keeps the values used last, up to a total weight, which is their size in bytes. It is safe for concurrent
// use. A value must not change while it is kept.
type Cache[K comparable, V any] struct {
	mu     sync.Mutex
	limit  int
	weight int
	order  *list.List
	items  map[K]*list.Element
}

type item[K comparable, V any] struct {
	key    K
	value  V
	weight int
}

// overhead is about what the cache itself needs for a value.
const overhead = 200

// New returns a cache for values of limit bytes together.
func New[K comparable, V any](limit int) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

// Get returns a value that was put.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*item[K, V]).value, true
	}
	var none V
	return none, false
}

// Put keeps a value of so many bytes, and drops others if there is no room. If there is a value already it stays:
// who makes a value twice makes the same.
func (c *Cache[K, V]) Put(key K, value V, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	weight := size + overhead
	if _, ok := c.items[key]; ok || weight > c.limit {
		return
	}
	c.items[key] = c.order.PushFront(&item[K, V]{key, value, weight})
	for c.weight += weight; c.weight > c.limit; {
		old := c.order.Remove(c.order.Back()).(*item[K, V])
		delete(c.items, old.key)
		c.weight -= old.weight
	}
}

// Weight is the size of what is kept, at most the limit.
func (c *Cache[K, V]) Weight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.weight
}

// Seen tells what came before from what is new. It forgets the older of two that share a slot, and has no others.
type Seen [1 << 15]atomic.Uint64

// Before tells whether something was asked for before, by two hashes of it.
func (s *Seen) Before(index, check uint64) bool { return s[index%uint64(len(s))].Swap(check) == check }
