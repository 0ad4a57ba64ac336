package rabbitmq

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrArguments: a queue exists with other arguments than ours, such as a delivery
// limit; it must be emptied and deleted by hand.
var ErrArguments = errors.New("the queue exists with other arguments")

// declareAll declares every queue. What exists with other arguments, of whichever
// kind, the broker refuses; a passive declare would not tell.
func (q *Queue) declareAll(conn *amqp.Connection) error {
	channel, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("declare queues: %w", err)
	}
	defer channel.Close() // nothing depends on it
	arguments := arguments(conn)
	for _, p := range q.all {
		if err := p.declare(channel, arguments); err != nil {
			return err
		}
	}
	return nil
}

func (p *partition) declare(channel *amqp.Channel, arguments amqp.Table) error {
	_, err := channel.QueueDeclare(p.queue, true, false, false, false, arguments)
	if code(err) == amqp.PreconditionFailed {
		return fmt.Errorf("%w: %w", ErrArguments, err)
	}
	if err != nil {
		return fmt.Errorf("declare %s: %w", p.queue, err)
	}
	return nil
}

// arguments are those of our queues. RabbitMQ 4 limits deliveries unless it is told
// -1, after which it would drop an item whose consumers die; 3 has no limit unless
// it is given one, and takes -1 for one that is reached at once.
func arguments(conn *amqp.Connection) amqp.Table {
	table := amqp.Table{
		amqp.QueueTypeArg:          amqp.QueueTypeQuorum,
		"x-single-active-consumer": true,
	}
	version, _ := conn.Properties["version"].(string)
	if major(version) >= 4 {
		table["x-delivery-limit"] = int32(-1)
	}
	return table
}

// major is the first number of a version, 0 of none.
func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(first) // 0 is the answer
	return n
}

// code is the broker's reply code, 0 of an error that has none.
func code(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) && e != nil {
		return e.Code
	}
	return 0
}
