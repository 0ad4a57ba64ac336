package faults

import (
	"context"
	"time"

	"github.com/im-transfer/im/deploy/local"
)

// The kinds of fault of what has no room any more.
const (
	FullDisk    = "full-disk"    // nothing more can be written to the data's disk
	MemoryAlarm = "memory-alarm" // the broker finds that it has too little memory
)

// How long there is no room, at least and at most.
const leastFull, mostFull = time.Second, 8 * time.Second

// ofDisk returns what can be done to the disk of an embedded server's data; nothing
// where they are on the machine's own.
func ofDisk(e *local.Embedded) Set {
	if e.Disk == nil {
		return nil
	}
	return Set{{
		Kind: FullDisk, Target: e.Name(), Parts: []string{e.Role}, Least: leastFull, Most: mostFull,
		Do: func(ctx context.Context) (func(context.Context) error, error) { return e.Disk.Free, e.Disk.Fill(ctx) },
	}}
}

// ofMemory returns what can be done to the memory of a broker.
func ofMemory(r *local.RabbitMQ) Set {
	return Set{{
		Kind: MemoryAlarm, Target: "rabbitmq", Parts: []string{"rabbitmq"}, Least: leastFull, Most: mostFull,
		Do: func(ctx context.Context) (func(context.Context) error, error) {
			return func(ctx context.Context) error { return r.MemoryAlarm(ctx, false) }, r.MemoryAlarm(ctx, true)
		},
	}}
}
