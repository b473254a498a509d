package render

import (
	"container/list"
	"sync"
)

// cache keeps the values used last, up to a total weight. It is safe for
// concurrent use.
type cache[K comparable, V any] struct {
	mu     sync.Mutex
	limit  int
	weight int
	order  *list.List
	items  map[K]*list.Element
}

type cached[K comparable, V any] struct {
	key    K
	value  V
	weight int
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*cached[K, V]).value, true
	}
	var none V
	return none, false
}

func (c *cache[K, V]) put(key K, value V, weight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok || weight > c.limit {
		return
	}
	c.items[key] = c.order.PushFront(&cached[K, V]{key, value, weight})
	for c.weight += weight; c.weight > c.limit; {
		e := c.order.Back()
		old := c.order.Remove(e).(*cached[K, V])
		delete(c.items, old.key)
		c.weight -= old.weight
	}
}
