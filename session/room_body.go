package session

import (
	"sync/atomic"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// roomBody is events on their way to all in a room: those in (after, upto].
type roomBody struct {
	after, upto int64
	events      []*imv1.RoomEvent
	skimmed     bool // it is too far back to be shown

	frames [wire.JSON + 1]atomic.Pointer[[]byte] // by form, for who has had all up to after
}

// takesOut reports whether an event takes members out of the room.
func takesOut(e *imv1.RoomEvent) bool { return e.Dissolved || len(e.Removed) > 0 }

// ends reports whether the last event takes members out: nothing is joined behind it.
func (b *roomBody) ends() bool { return len(b.events) > 0 && takesOut(b.events[len(b.events)-1]) }

// parts cuts a body behind each event that takes members out, for what comes behind it they
// are not shown; and where it would be too large for a frame.
func (b *roomBody) parts() []*roomBody {
	var parts []*roomBody
	rest, size := b, 0
	for i := 0; i < len(rest.events)-1; i++ {
		e := rest.events[i]
		if size += eventSize(e); takesOut(e) || size+eventSize(rest.events[i+1]) > roomPageBytes {
			parts = append(parts, &roomBody{after: rest.after, upto: e.Seq, events: rest.events[:i+1], skimmed: b.skimmed})
			rest = &roomBody{after: e.Seq, upto: b.upto, events: rest.events[i+1:], skimmed: b.skimmed}
			i, size = -1, 0
		}
	}
	return append(parts, rest)
}

// size is about what it takes in a frame.
func (b *roomBody) size() (n int) {
	for _, e := range b.events {
		n += eventSize(e)
	}
	return n
}

func eventSize(e *imv1.RoomEvent) int { return len(e.GetMessage()) + len(e.GetEntry()) + 8 }

// join returns a body with the next one behind it, without what is at or below a seq; a
// nil one is empty.
func (b *roomBody) join(next *roomBody, upto int64) *roomBody {
	if b == nil && next.after == upto {
		return next
	}
	joined := &roomBody{after: upto, upto: next.upto}
	if b != nil {
		joined.after, joined.events = b.after, append(joined.events, b.events...)
	}
	for _, e := range next.events {
		if e.Seq > upto {
			joined.events = append(joined.events, e)
		}
	}
	return joined
}

// batch returns the events above a seq in a form. What can not be decoded is left out, and
// counted as skipped.
func (b *roomBody) batch(form wire.Form, above int64) (batch wire.RoomBatch, skipped int32) {
	for _, e := range b.events {
		if e.Seq <= above {
			continue
		}
		if !addRoomEvent(&batch, form, e) {
			skipped++
		}
	}
	return batch, skipped
}

func addRoomEvent(batch *wire.RoomBatch, form wire.Form, e *imv1.RoomEvent) bool {
	message, entry := e.GetMessage(), e.GetEntry()
	var err error
	if form != wire.Proto && message != nil {
		message, err = wire.MessageJSON(message)
	} else if form != wire.Proto {
		entry, err = wire.EntryJSON(entry)
	}
	switch {
	case err != nil:
		return false
	case message != nil:
		batch.Messages = append(batch.Messages, message)
	default:
		batch.Events = append(batch.Events, entry)
	}
	return true
}

// frame returns the room_deliver frame for who has had everything up to a seq: the same
// one for almost all.
func (b *roomBody) frame(form wire.Form, roomID string, after int64) ([]byte, error) {
	if after == b.after {
		if made := b.frames[form].Load(); made != nil {
			return *made, nil
		}
	}
	batch, skipped := b.batch(form, after)
	head := &imv1.RoomDeliver{RoomId: roomID, After: after, Upto: b.upto, Skipped: skipped + int32(max(0, b.after-after))} //nolint:gosec // as many as were not read
	frame, err := wire.AppendRoomDeliver(nil, form, head, batch)
	if err == nil && after == b.after {
		b.frames[form].Store(&frame)
	}
	return frame, err
}
