package http

import (
	"container/list"
	"sync"
	"time"
)

// maxRemembered bounds the keys of a limiter. Beyond it what was
// used longest ago is forgotten.
const maxRemembered = 16 << 10

// limiter keeps a token bucket for each key. Safe for concurrent use.
type limiter struct {
	rate Rate
	mu   sync.Mutex
	keys lru[bucket]
}

// bucket is full at a moment: until then it lacks a token for each Rate.Every.
type bucket struct{ full time.Time }

func newLimiter(rate Rate) *limiter { return &limiter{rate: rate, keys: newLRU[bucket]()} }

// take takes a token and returns 0, or how long until there is one.
func (l *limiter) take(key string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.keys.get(key)
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(l.rate.Every)
	if wait := full.Sub(now) - time.Duration(l.rate.Burst)*l.rate.Every; wait > 0 {
		return wait
	}
	b.full = full
	return 0
}

// give gives a token back.
func (l *limiter) give(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.keys.get(key)
	b.full = b.full.Add(-l.rate.Every)
}

// lru is a map of the keys used last.
type lru[V any] struct {
	order *list.List // of *item, newest first
	items map[string]*list.Element
}

type item[V any] struct {
	key   string
	value V
}

func newLRU[V any]() lru[V] { return lru[V]{list.New(), map[string]*list.Element{}} }

// get returns the value of a key, made if need be, until the next call.
func (l *lru[V]) get(key string) *V {
	if element, ok := l.items[key]; ok {
		l.order.MoveToFront(element)
		return &element.Value.(*item[V]).value
	}
	if l.order.Len() >= maxRemembered {
		delete(l.items, l.order.Remove(l.order.Back()).(*item[V]).key)
	}
	added := &item[V]{key: key}
	l.items[key] = l.order.PushFront(added)
	return &added.value
}
