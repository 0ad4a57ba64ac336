package sqlite

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/im-transfer/im"
)

const insertEvent = `INSERT INTO messages (conversation, seq, id, kind, flags, sender, device, client_id,
	hash, at_ms, waited_ms, target_id, thread_id, expires_at_ms, b3, body)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// eventColumns are those that eventOf reads, in its order.
const eventColumns = `e.seq, e.id, e.kind, e.flags, e.sender, e.device, e.client_id, e.hash, e.at_ms,
	e.waited_ms, e.target_id, e.thread_id, e.expires_at_ms, e.b3, e.body`

const (
	eventByKey = "SELECT " + eventColumns + ` FROM messages e
		WHERE e.conversation = ? AND e.sender = ? AND e.device = ? AND e.client_id = ?`
	eventByID = "SELECT c.id, " + eventColumns + ` FROM messages e
		JOIN conversation_keys c ON c.key = e.conversation WHERE e.id = ?`
	insertMention = "INSERT OR IGNORE INTO mentions (conversation, user, seq) VALUES (?, ?, ?)"

	eventsFromTo = "SELECT " + eventColumns + " FROM messages e WHERE e.conversation = ? AND e.seq BETWEEN ? AND ?"
	eventsAfter  = "SELECT " + eventColumns + ` FROM messages e
		WHERE e.conversation = ? AND e.seq > ? ORDER BY e.seq LIMIT ?`
)

// InsertEvents appends events and keeps packs whose Ref is not zero (see
// CommitInbox), all of it or nothing.
func (s *Store) InsertEvents(ctx context.Context, events []im.Event, packs []im.Pack) error {
	return s.write(ctx, "insert events", func(t *tx) error {
		for i := range events {
			if err := t.insertEvent(&events[i]); err != nil {
				return err
			}
		}
		return t.keepPacks(packs)
	})
}

func (t *tx) insertEvent(e *im.Event) error {
	conversation, err := t.conversationKey(e.ConversationID)
	if err != nil {
		return err
	}
	sender, err := t.userKey(e.SenderID)
	if err != nil {
		return err
	}
	kind, err := kindNumber(e.Kind)
	if err != nil {
		return err
	}
	flags := int64(e.Flags) << 1
	if e.Counted {
		flags |= 1
	}
	var b3 any
	if e.B3 != "" {
		b3 = e.B3
	}
	err = t.exec(insertEvent, conversation, e.Seq, e.ID, int64(kind), flags, sender,
		packID(e.DeviceID), packID(e.ClientID), int64(e.Hash), //nolint:gosec // a bit pattern
		e.AtMs, e.AtMs-e.AcceptedAtMs, e.TargetID, e.ThreadID, e.ExpiresAtMs, b3, e.Body)
	if err != nil || len(e.Mentions) == 0 {
		return err
	}
	return t.insertMentions(conversation, e)
}

// insertMentions notes whom a message mentions; everybody has the key 0.
func (t *tx) insertMentions(conversation int64, e *im.Event) error {
	for _, id := range e.Mentions {
		if id == im.MentionAll {
			id = ""
		}
		user, err := t.userKey(id)
		if err != nil {
			return err
		}
		if err := t.exec(insertMention, conversation, user, e.Seq); err != nil {
			return err
		}
	}
	return nil
}

// eventOf is the event of a row of eventColumns.
func (s *Store) eventOf(c *conn, conversationID string, r row) (im.Event, error) {
	sender, err := s.users.id(c, r.int(4))
	return im.Event{
		ID: r.int(1), ConversationID: conversationID, Seq: r.int(0), Kind: kindOf(r.int(2)),
		SenderID: sender, DeviceID: unpackID(r, 5), ClientID: unpackID(r, 6),
		Hash: uint64(r.int(7)), //nolint:gosec // a bit pattern
		AtMs: r.int(8), AcceptedAtMs: r.int(8) - r.int(9),
		TargetID: r.int(10), ThreadID: r.int(11), ExpiresAtMs: r.int(12),
		Counted: r.int(3)&1 != 0, Flags: uint32(r.int(3) >> 1), //nolint:gosec // as it was put in
		B3: r.text(13), Body: r.blob(14),
	}, err
}

// appendEvents adds the events that a query of eventColumns finds.
func (s *Store) appendEvents(events []im.Event, c *conn, conversationID, query string, args ...any) ([]im.Event, error) {
	var failure error
	err := c.each(query, func(r row) bool {
		event, err := s.eventOf(c, conversationID, r)
		events, failure = append(events, event), err
		return err == nil
	}, args...)
	return events, firstOf(err, failure)
}

// EventsByKey returns the events with these client keys that are stored.
func (s *Store) EventsByKey(ctx context.Context, keys []im.ClientKey) (events []im.Event, err error) {
	err = s.read(ctx, "read events by key", func(c *conn) error {
		for _, key := range keys {
			conversation, err := s.conversations.key(c, key.ConversationID)
			if err != nil {
				return err
			}
			sender, err := s.users.key(c, key.SenderID)
			if err != nil {
				return err
			}
			events, err = s.appendEvents(events, c, key.ConversationID, eventByKey,
				conversation, sender, packID(key.DeviceID), packID(key.ClientID))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return events, err
}

// EventsAt returns the events at these places that are stored. Places one behind the
// other, which most of an inbox are, take one query together: a query costs several
// times what another row does.
func (s *Store) EventsAt(ctx context.Context, refs []im.EventRef) (events []im.Event, err error) {
	err = s.read(ctx, "read events by place", func(c *conn) error {
		for rest := sorted(refs); len(rest) > 0; {
			first, n := rest[0], run(rest)
			conversation, err := s.conversations.key(c, first.ConversationID)
			if err != nil {
				return err
			}
			events, err = s.appendEvents(events, c, first.ConversationID, eventsFromTo, conversation, first.Seq, rest[n-1].Seq)
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	return events, err
}

// sorted returns places in their order, each once.
func sorted(refs []im.EventRef) []im.EventRef {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b im.EventRef) int {
		return cmp.Or(strings.Compare(a.ConversationID, b.ConversationID), cmp.Compare(a.Seq, b.Seq))
	})
	return slices.Compact(refs)
}

// run is how many places are one behind the other, from the first on.
func run(refs []im.EventRef) int {
	n := 1
	for n < len(refs) && refs[n].ConversationID == refs[0].ConversationID && refs[n].Seq == refs[0].Seq+int64(n) {
		n++
	}
	return n
}

// EventsAfter returns up to limit events of a conversation above a seq,
// ascending.
func (s *Store) EventsAfter(ctx context.Context, conversationID string, after int64, limit int) (events []im.Event, err error) {
	err = s.read(ctx, "read events", func(c *conn) error {
		conversation, err := s.conversations.key(c, conversationID)
		if err != nil {
			return err
		}
		events, err = s.appendEvents(events, c, conversationID, eventsAfter, conversation, after, int64(limit))
		return err
	})
	return events, err
}
