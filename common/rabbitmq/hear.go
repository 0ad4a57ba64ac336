package rabbitmq

import (
	"errors"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

var errOutOfStep = errors.New("the broker's confirms do not match what was published")

// hear takes the broker's answers until the channel is closed. The AMQP library
// puts confirms into the order of publishing.
func (l *lane) hear(confirms <-chan amqp.Confirmation, returns <-chan amqp.Return, end func(error)) {
	batch := make([]amqp.Confirmation, 0, 256)
	for confirms != nil || returns != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			l.returned(r)
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			batch = append(batch[:0], c)
			for len(confirms) > 0 && len(batch) < cap(batch) {
				c, ok := <-confirms
				if !ok {
					break
				}
				batch = append(batch, c)
			}
			if !l.confirmed(batch) {
				end(errOutOfStep)
			}
		}
	}
}

// returned marks a message that no queue has taken; its confirm follows.
func (l *lane) returned(r amqp.Return) {
	tag, err := strconv.ParseUint(r.MessageId, 10, 64)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.sent.len() == 0 {
		return
	}
	first := (*l.sent.at(0)).tag
	if tag >= first && tag-first < uint64(l.sent.len()) { //nolint:gosec // not negative
		(*l.sent.at(int(tag - first))).returned = true //nolint:gosec // less than the length
	}
}

// confirmed settles messages; false if they are not those that were sent.
func (l *lane) confirmed(batch []amqp.Confirmation) bool {
	var answers []answer
	inStep := true
	l.mu.Lock()
	for _, c := range batch {
		if l.sent.len() == 0 || (*l.sent.at(0)).tag != c.DeliveryTag {
			inStep = false
			break
		}
		m := l.sent.pop()
		o := m.outlet
		o.flying--
		switch {
		case m.dropped:
		case m.returned:
			answers = o.fail(errReturned, answers)
		case !c.Ack:
			answers = o.fail(errNotStored, answers)
		default:
			answers = o.settle(m, answers)
		}
		l.offer(o)
	}
	l.mu.Unlock()
	give(answers)
	return inStep
}
