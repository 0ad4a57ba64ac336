package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// joinSequence is the sequence of all joins: a device has one under way.
const joinSequence = 2

// roomShape is Rooms: all users are in one room, some of them speak, as fast as their
// windows let them or, with a rate, at fixed times, and all see what is said.
type roomShape struct{}

func (roomShape) users(config *Config) int { return config.Members }

func (roomShape) layout(ctx context.Context, r *run) error {
	api, id := r.gateways.api(), r.config.Prefix+"-room-"+fmt.Sprintf("%08x", uint32(r.id))
	token := r.config.ServiceKey
	if token == "" {
		token = r.devices[0].token
	}
	conversation, err := api.WithToken(token).CreateRoom(ctx, id, "im bench")
	if err != nil {
		return fmt.Errorf("make the room: %w", err)
	}
	r.room = &room{id: id, judged: r.history.Room(conversation)}
	r.conversations[conversation] = r.room.judged.Ref()
	for _, d := range r.devices {
		d.visit = &visit{room: r.room, member: r.room.judged.Member(d.history)}
		d.onSaid = d.said
	}
	for _, u := range r.users[:r.config.Senders] {
		if err := r.add(&stream{device: u.devices[0], to: client.ToRoom(id), conversation: r.room.judged.Ref()}); err != nil {
			return err
		}
	}
	return nil
}

func (roomShape) drive(ctx context.Context, r *run, progress Progress) error {
	progress.step("connecting %d devices", len(r.devices))
	if err := r.connect(ctx, r.devices); err != nil {
		return err
	}
	began := r.now()
	if err := each(ctx, r.config.Parallel, r.devices, func(ctx context.Context, d *device) error { return d.join(ctx) }); err != nil {
		return err
	}
	r.room.joined = r.now() - began
	progress.step("%d are in the room after %s", len(r.devices), r.room.joined)
	if r.config.Rate > 0 {
		progress.step("%.0f messages/s of %d speakers, for %s after %s of warm-up", r.config.Rate, len(r.streams), r.config.Duration, r.config.Warmup)
		return r.paced(ctx)
	}
	progress.step("%d speakers, window %d, for %s after %s of warm-up", len(r.streams), r.config.Window, r.config.Duration, r.config.Warmup)
	r.sending.Store(true)
	err := r.measured(ctx, r.kick)
	r.sending.Store(false)
	return err
}

// join enters the room for the first time and waits for the answer.
func (d *device) join(ctx context.Context) error {
	answered := make(chan struct{})
	d.mu.Lock()
	d.visit.answered = answered
	if d.live {
		d.enter()
		d.conn.flush(time.Now())
	}
	d.mu.Unlock()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter asks for what the device lacks of its room, or for the latest. The caller holds
// mu and flushes.
func (d *device) enter() {
	join := &imv1.Join{RoomId: d.visit.room.id}
	if d.visit.asked = d.visit.in; d.visit.in {
		d.visit.after = d.visit.member.Upto()
		join.After = &d.visit.after
	}
	d.visit.reading = true
	d.conn.put(wire.OpJoin, joinSequence, join) //nolint:errcheck // an id and a number can be said in every form
}

// comesBack enters the room again in a new session; what is to be sent again waits for
// the answer. False when the device has not been in any.
func (v *visit) comesBack(d *device) bool {
	if v == nil || v.answered == nil {
		return false
	}
	v.fresh = true
	d.enter()
	return true
}

// maySend reports whether the device may send: it is live, and in its room if it has one.
// The caller holds mu.
func (d *device) maySend() bool { return d.live && (d.visit == nil || d.visit.in && !d.visit.fresh) }

// joinReply handles a page of the room.
func (d *device) joinReply(f wire.Frame) error {
	v := d.visit
	if v == nil || !v.reading {
		return errors.New("a join_reply that nobody has asked for")
	}
	var p roomPart
	v.said = v.said[:0]
	if err := d.conn.scan.room(f.Op, f.Body, &p, d.onSaid); err != nil {
		return err
	}
	v.member.Joined(check.RoomPage{
		After: v.after, Upto: p.upto, Head: p.head, Latest: !v.asked, Messages: v.said, Events: p.events,
	}, v.fresh || !v.in)
	d.tally.delivered += len(v.said)
	if !v.in {
		close(v.answered)
	}
	fresh := v.fresh
	v.in, v.fresh, v.reading = true, false, false
	if fresh {
		d.resendAll()
	}
	if p.hasMore {
		d.enter()
	}
	return nil
}

// roomDeliver handles what is said in the room.
func (d *device) roomDeliver(f wire.Frame) error {
	v := d.visit
	if v == nil {
		return errors.New("a room_deliver to who has joined no room")
	}
	var p roomPart
	v.said = v.said[:0]
	if err := d.conn.scan.room(f.Op, f.Body, &p, d.onSaid); err != nil {
		return err
	}
	gap := v.member.Delivered(check.RoomPart{After: p.after, Upto: p.upto, Messages: v.said, Events: p.events, Skipped: p.skipped})
	d.tally.delivered += len(v.said)
	v.room.skipped.Add(int64(p.skipped))
	if gap && !v.reading {
		d.enter()
	}
	return nil
}

// said handles one message of a room.
func (d *device) said(e *entry) {
	tag, tagged := parseTag(e.text)
	if tagged && string(e.sender) != d.user.id && d.visit.in {
		d.tally.deliveries = append(d.tally.deliveries, span{tag.sent, d.now})
	}
	d.visit.said = append(d.visit.said, check.RoomMessage{
		Seq: e.conversationSeq, ID: e.messageID, Key: tag.key, Hash: check.Hash(e.sender, e.text), Edited: e.edited,
	})
}

// RoomResult says how a room took its members in, and what slow ones missed.
type RoomResult struct {
	Members int     `json:"members"`
	Joined  float64 `json:"joined_ms"` // until all were in
	Skipped int64   `json:"skipped"`   // messages at members, who were told so
}

// room is what the devices of a Rooms run are in.
type room struct {
	id      string
	judged  *check.Room
	joined  time.Duration
	skipped atomic.Int64
	newest  atomic.Int64 // highest seq that a speaker was answered with
}

// answered notes a seq that every member will have come to.
func (r *room) answered(seq int64) {
	for known := r.newest.Load(); seq > known && !r.newest.CompareAndSwap(known, seq); known = r.newest.Load() {
	}
}

func (r *room) result(members int) *RoomResult {
	if r == nil {
		return nil
	}
	return &RoomResult{Members: members, Joined: float64(r.joined.Microseconds()) / 1000, Skipped: r.skipped.Load()}
}

// visit is a device's place in the room.
type visit struct {
	room     *room
	member   *check.RoomMember
	answered chan struct{} // closed at the first answer; nil: it has not been asked to join
	in       bool
	fresh    bool // the answer will be the first of a session
	reading  bool // a join is under way,
	asked    bool // ... from a seq on:
	after    int64
	said     []check.RoomMessage // of the frame in hand
}

func (v *visit) caughtUp() bool { return v == nil || v.member.Upto() >= v.room.newest.Load() }
