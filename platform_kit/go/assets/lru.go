package assets

import "container/list"

// lru keeps the most recently used objects within a budget of bytes. The zero value is empty and ready.
type lru struct {
	order list.List // of *entry, the most recently used in front
	byKey map[string]*list.Element
	bytes int64
}

type entry struct {
	key  string
	data []byte
}

func (l *lru) get(key string) ([]byte, bool) {
	e, ok := l.byKey[key]
	if !ok {
		return nil, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*entry).data, true
}

// add keeps data and drops what was not used for longest. What exceeds the budget alone is not kept.
func (l *lru) add(key string, data []byte, budget int64) {
	if _, ok := l.byKey[key]; ok || int64(len(data)) > budget {
		return
	}
	if l.byKey == nil {
		l.byKey = make(map[string]*list.Element)
	}
	l.byKey[key] = l.order.PushFront(&entry{key, data})
	l.bytes += int64(len(data))
	for l.bytes > budget {
		last := l.order.Back()
		old := l.order.Remove(last).(*entry)
		delete(l.byKey, old.key)
		l.bytes -= int64(len(old.data))
	}
}
