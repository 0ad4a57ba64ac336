package memory

import (
	"errors"
	"sync"

	"github.com/im-transfer/im"
)

const (
	// firstRing is the items that a ring starts with, a power of two.
	firstRing = 64
	// keptRing is the items up to which an empty partition keeps its ring.
	keptRing = 4096
)

// partition is a ring of items with tags acked+1 to last:
//
//	acked          taken              last
//	  | unacknowledged |  not handed out  |
//
// Tags only rise; the item with a tag is ring[tag modulo its length].
type partition struct {
	bound      int
	bytesBound int
	prefetch   int

	mu       sync.Mutex // guards what follows
	ring     []im.Delivery
	acked    uint64
	taken    uint64
	last     uint64
	bytes    int // of the items that are not acknowledged
	consumer *Consumer
	unheard  []func(error) // confirms that wait for the bound
	closed   bool
}

// append adds items. later: confirmed will be called when there is room again.
func (p *partition) append(items []im.Pack, confirmed func(error)) (later bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false, ErrClosed
	}
	p.grow(p.waiting() + len(items))
	for i := range items {
		p.last++
		*p.at(p.last) = im.Delivery{Body: items[i].Body, Ref: items[i].Ref, Tag: p.last}
		p.bytes += len(items[i].Body)
	}
	if p.consumer != nil && len(items) > 0 {
		p.consumer.rouse()
	}
	if p.hasRoom() {
		return false, nil
	}
	p.unheard = append(p.unheard, confirmed)
	return true, nil
}

func (p *partition) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting()
}

// consume returns a new consumer, or, while there is one, a channel that is closed
// when it goes.
func (p *partition) consume() (*Consumer, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil, ErrClosed
	case p.consumer != nil:
		return nil, p.consumer.gone, nil
	}
	p.consumer = &Consumer{partition: p, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	return p.consumer, nil, nil
}

// take hands out what is ready, nothing if nothing is.
func (p *partition) take(c *Consumer, limit int) ([]im.Delivery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.consumer != c {
		return nil, ErrClosed
	}
	room := p.prefetch - int(p.taken-p.acked)          //nolint:gosec // at most the prefetch
	n := min(max(limit, 1), room, int(p.last-p.taken)) //nolint:gosec // at most the bound
	if n <= 0 {
		return nil, nil
	}
	batch := make([]im.Delivery, n)
	for i := range batch {
		p.taken++
		batch[i] = *p.at(p.taken)
	}
	return batch, nil
}

func (p *partition) ack(c *Consumer, tag uint64) error {
	heard, err := p.forget(c, tag)
	for _, confirmed := range heard {
		confirmed(nil)
	}
	return err
}

// forget drops the items up to a tag and returns the confirms that are due now.
func (p *partition) forget(c *Consumer, tag uint64) (heard []func(error), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || p.consumer != c:
		return nil, ErrClosed
	case tag > p.taken:
		return nil, errors.New("acknowledged an item that was not received")
	}
	full := p.taken-p.acked >= uint64(p.prefetch) //nolint:gosec // positive
	for p.acked < tag {
		p.acked++
		p.bytes -= len(p.at(p.acked).Body)
		*p.at(p.acked) = im.Delivery{}
	}
	if p.acked == p.last && len(p.ring) > keptRing {
		p.ring = nil
	}
	if full {
		c.rouse()
	}
	if p.hasRoom() {
		heard, p.unheard = p.unheard, nil
	}
	return heard, nil
}

// release gives back what a consumer left unacknowledged.
func (p *partition) release(c *Consumer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.consumer != c {
		return
	}
	p.consumer, p.taken = nil, p.acked
	c.rouse()
	close(c.gone)
}

func (p *partition) close() {
	p.mu.Lock()
	p.closed, p.ring = true, nil
	p.acked, p.taken = p.last, p.last
	if p.consumer != nil {
		p.consumer.rouse()
	}
	unheard := p.unheard
	p.unheard = nil
	p.mu.Unlock()
	for _, confirmed := range unheard {
		confirmed(refusal(ErrClosed))
	}
}

func (p *partition) waiting() int { return int(p.last - p.acked) } //nolint:gosec // at most the bound

func (p *partition) hasRoom() bool { return p.waiting() <= p.bound && p.bytes <= p.bytesBound }

func (p *partition) at(tag uint64) *im.Delivery {
	return &p.ring[tag&uint64(len(p.ring)-1)] //nolint:gosec // a power of two, less one
}

// grow makes room for n items by doubling.
func (p *partition) grow(n int) {
	size := max(firstRing, len(p.ring))
	for size < n {
		size *= 2
	}
	if size == len(p.ring) {
		return
	}
	old := partition{ring: p.ring}
	p.ring = make([]im.Delivery, size)
	for tag := p.acked + 1; tag <= p.last; tag++ {
		*p.at(tag) = *old.at(tag)
	}
}
