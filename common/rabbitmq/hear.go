package rabbitmq

import (
	"errors"
	"strconv"
	"time"

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
			if err := l.confirmed(batch); err != nil {
				end(err)
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

// confirmed settles messages. An error ends the channel: the broker's answers are not
// to what was sent, or one is a refusal. A node refuses what it can bring to no
// leader, and a channel that began with a leader that is dead refuses everything for
// as long as it lives: what is refused goes again, on the next channel, before
// anything that followed it.
func (l *lane) confirmed(batch []amqp.Confirmation) error {
	var answers []answer
	var err error
	l.mu.Lock()
	l.heard = time.Now()
	for _, c := range batch {
		if err = l.expected(c); err != nil {
			break
		}
		m := l.sent.pop()
		o := m.outlet
		o.flying--
		o.proven = o.proven || !m.returned
		switch {
		case m.dropped:
		case m.returned:
			answers = o.fail(errReturned, answers)
		default:
			answers = o.settle(m, answers)
		}
		l.offer(o)
	}
	l.mu.Unlock()
	give(answers)
	return err
}

// expected judges an answer of the broker. The lock is held.
func (l *lane) expected(c amqp.Confirmation) error {
	switch {
	case l.sent.len() == 0 || (*l.sent.at(0)).tag != c.DeliveryTag:
		return errOutOfStep
	case !c.Ack:
		return errNotStored
	}
	return nil
}
