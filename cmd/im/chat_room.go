package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// join goes into a room, shows the latest of it, and talks to it.
func (t *talk) join(ctx context.Context, id string) error {
	room, err := t.client.API().Room(ctx, id)
	if err != nil {
		return err
	}
	t.learnGroup(room.ConversationID, room.Name)
	page, err := t.client.JoinRoom(ctx, id, -1)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("-- in %s: %d online", printable(room.Name), page.GetOnline())}
	t.print(append(lines, t.view.room(page.GetMessages(), page.GetEvents())...)...)
	t.choose(partner{room: room})
	return nil
}

// leaveRoom leaves the room that one talks to.
func (t *talk) leaveRoom(ctx context.Context, id string) error {
	if err := t.client.LeaveRoom(ctx, id); err != nil && !isNotFound(err) {
		return err
	}
	t.outOfRoom(id)
	return nil
}

// outOfRoom has one talk to nobody, if it was that room.
func (t *talk) outOfRoom(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peer.room.RoomID == id {
		t.peer = partner{}
	}
}

// Room shows what a room says. What one has said oneself is shown when it comes back.
func (t *talk) Room(ctx context.Context, d *client.RoomDelivery) {
	name := printable(t.groupName(ctx, im.RoomConversation(d.RoomID)))
	for _, line := range t.view.room(d.Messages, d.Events) {
		t.print(line + "  (in " + name + ")")
	}
	if d.Skipped > 0 {
		t.print(fmt.Sprintf("-- %d messages in %s went by too fast; /history shows them", d.Skipped, name))
	}
	if d.Ended != nil {
		t.print(fmt.Sprintf("-- out of %s: %s", name, reason(d.Ended)))
		t.outOfRoom(d.RoomID)
	}
}

// room returns the lines of a part of a room, in its order.
func (v *chatView) room(messages []*imv1.Message, events []*imv1.Entry) []string {
	var lines []string
	for _, m := range messages {
		for len(events) > 0 && seqOfEvent(events[0]) < m.GetConversationSeq() {
			lines, events = append(lines, v.roomEvent(events[0])), events[1:]
		}
		if !m.GetDeleted() {
			lines = append(lines, v.line(m))
		}
	}
	for _, e := range events {
		lines = append(lines, v.roomEvent(e))
	}
	return lines
}

// seqOfEvent is the place of an event in its room.
func seqOfEvent(e *imv1.Entry) int64 {
	return max(e.GetMembership().GetConversationSeq(), e.GetRecall().GetConversationSeq(), e.GetEdit().GetConversationSeq(),
		e.GetReaction().GetConversationSeq())
}

// roomEvent says what has changed in a room.
func (v *chatView) roomEvent(e *imv1.Entry) string {
	m := e.GetMembership()
	if m == nil {
		return v.changed(e)
	}
	people := make([]string, 0, len(m.GetUserIds()))
	for _, id := range m.GetUserIds() {
		people = append(people, v.person(id))
	}
	who, by := strings.Join(people, ", "), "the operator"
	if m.GetBy() != "" {
		by = v.person(m.GetBy())
	}
	what := fmt.Sprintf("%s: %s %s", by, printable(m.GetAction()), who)
	switch ends := m.GetData().GetFields()["muted_until_ms"].GetStringValue(); im.Action(m.GetAction()) {
	case im.ActionCreated:
		what = by + " made the room"
	case im.ActionMuted:
		if what = fmt.Sprintf("%s muted %s", by, who); ends == "0" {
			what = fmt.Sprintf("%s lets %s speak again", by, who)
		}
	case im.ActionRemoved:
		what = fmt.Sprintf("%s banned %s", by, who)
	case im.ActionChanged:
		if what = by + " changed the room's settings"; who != "" {
			what = fmt.Sprintf("%s lets %s in again", by, who)
		}
	case im.ActionDissolved:
		what = by + " closed the room"
	}
	return v.clock(e.GetAtMs()) + " " + what
}
