package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/im-transfer/im"
)

// eventDocument is a row of messages. Zero values are left out.
type eventDocument struct {
	Key            string  `bson:"_id"` // see eventKey
	ConversationID string  `bson:"conversation_id"`
	Seq            int64   `bson:"seq"`
	ID             int64   `bson:"id"`
	Kind           im.Kind `bson:"kind"`
	SenderID       string  `bson:"sender_id"`
	Hash           int64   `bson:"hash"` // the bits of an unsigned number
	AtMs           int64   `bson:"at_ms"`
	AcceptedAtMs   int64   `bson:"accepted_at_ms"`
	TargetID       int64   `bson:"target_id,omitempty"`
	ThreadID       int64   `bson:"thread_id,omitempty"`
	ExpiresAtMs    int64   `bson:"expires_at_ms,omitempty"`
	Counted        bool    `bson:"counted,omitempty"`
	Flags          int64   `bson:"flags,omitempty"`
	B3             string  `bson:"b3,omitempty"`
	Body           []byte  `bson:"body,omitempty"`

	// For the indexes of few messages.
	Mentioning bool     `bson:"mentioning,omitempty"`
	Mentions   []string `bson:"mentions,omitempty"`
	Threaded   bool     `bson:"threaded,omitempty"`
}

func eventRow(e *im.Event) eventDocument {
	return eventDocument{
		Key: eventKey(e.Key()), ConversationID: e.ConversationID, Seq: e.Seq, ID: e.ID, Kind: e.Kind, SenderID: e.SenderID,
		Hash: int64(e.Hash), //nolint:gosec // a bit pattern
		AtMs: e.AtMs, AcceptedAtMs: e.AcceptedAtMs, TargetID: e.TargetID, ThreadID: e.ThreadID,
		ExpiresAtMs: e.ExpiresAtMs, Counted: e.Counted, Flags: int64(e.Flags), B3: e.B3, Body: e.Body,
		Mentioning: len(e.Mentions) > 0, Mentions: e.Mentions, Threaded: e.ThreadID != 0,
	}
}

func (d *eventDocument) event() im.Event {
	deviceID, clientID := clientOf(d.Key)
	return im.Event{
		ID: d.ID, ConversationID: d.ConversationID, Seq: d.Seq, Kind: d.Kind,
		SenderID: d.SenderID, DeviceID: deviceID, ClientID: clientID,
		Hash: uint64(d.Hash), //nolint:gosec // a bit pattern
		AtMs: d.AtMs, AcceptedAtMs: d.AcceptedAtMs, TargetID: d.TargetID, ThreadID: d.ThreadID,
		ExpiresAtMs: d.ExpiresAtMs, Counted: d.Counted, Flags: uint32(d.Flags), B3: d.B3, Body: d.Body, //nolint:gosec // as it was put in
	}
}

// InsertEvents appends events in order. Packs are the queue's to keep.
func (s *Store) InsertEvents(ctx context.Context, events []im.Event, _ []im.Pack) error {
	rows := make([]eventDocument, len(events))
	for i := range events {
		rows[i] = eventRow(&events[i])
	}
	return wrap("insert events", insert(ctx, s, s.messages, rows))
}

func (s *Store) findEvents(ctx context.Context, action string, q query) ([]im.Event, error) {
	rows, err := find[eventDocument](ctx, s.messages, q)
	if err != nil || len(rows) == 0 {
		return nil, wrap(action, err)
	}
	events := make([]im.Event, len(rows))
	for i := range rows {
		events[i] = rows[i].event()
	}
	return events, nil
}

// EventsByKey returns the events with these client keys that are stored.
func (s *Store) EventsByKey(ctx context.Context, keys []im.ClientKey) ([]im.Event, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = eventKey(key)
	}
	return s.findEvents(ctx, "read events by key", byIDs(ids))
}

// EventsAt returns the events at these places that are stored.
func (s *Store) EventsAt(ctx context.Context, refs []im.EventRef) ([]im.Event, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	seqs := make(map[string][]int64)
	for _, ref := range refs {
		seqs[ref.ConversationID] = append(seqs[ref.ConversationID], ref.Seq)
	}
	places := make([]bson.D, 0, len(seqs))
	for id, of := range seqs {
		places = append(places, ofConversation(id, bson.D{{Key: "$in", Value: of}}))
	}
	return s.findEvents(ctx, "read events by place", query{filter: anyOf(places), limit: len(refs)})
}

// ofConversation is the filter for events of a conversation with such a seq.
func ofConversation(id string, seq bson.D) bson.D {
	return bson.D{{Key: "conversation_id", Value: id}, {Key: "seq", Value: seq}}
}

// anyOf is the filter for what one of several finds.
func anyOf(filters []bson.D) bson.D {
	if len(filters) == 1 {
		return filters[0]
	}
	return bson.D{{Key: "$or", Value: filters}}
}

// EventsAfter returns up to limit events of a conversation above a seq,
// ascending.
func (s *Store) EventsAfter(ctx context.Context, conversationID string, after int64, limit int) ([]im.Event, error) {
	return s.findEvents(ctx, "read events", query{
		filter: ofConversation(conversationID, bson.D{{Key: "$gt", Value: after}}),
		sort:   ascending("seq"), limit: limit,
	})
}
