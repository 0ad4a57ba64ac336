package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// messageStateDocument is a row of message_states.
type messageStateDocument struct {
	ConversationID string `bson:"conversation_id"`
	MessageID      int64  `bson:"message_id"`
	MessageSeq     int64  `bson:"message_seq"`
	SenderID       string `bson:"sender_id"`
	Seq            int64  `bson:"seq"`
	Version        int32  `bson:"version"`
	EditedAtMs     int64  `bson:"edited_at_ms"`
	Recalled       bool   `bson:"recalled"`
	Uncounted      bool   `bson:"uncounted"`
	ExpiresAtMs    int64  `bson:"expires_at_ms,omitempty"`
	Body           []byte `bson:"body"`
	Reactions      []byte `bson:"reactions"`
}

func (d *messageStateDocument) state() im.MessageState {
	return im.MessageState{
		ConversationID: d.ConversationID, MessageID: d.MessageID, MessageSeq: d.MessageSeq, SenderID: d.SenderID, Seq: d.Seq,
		Version: d.Version, EditedAtMs: d.EditedAtMs, Recalled: d.Recalled, Uncounted: d.Uncounted, ExpiresAtMs: d.ExpiresAtMs,
		Body: d.Body, Reactions: d.Reactions,
	}
}

// EventsByID returns the events with these ids that are stored. Where their conversations
// are known only the machines that have these are asked.
func (s *Store) EventsByID(ctx context.Context, refs []im.MessageRef) ([]im.Event, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	ids := make(map[string][]int64)
	for _, ref := range refs {
		ids[ref.ConversationID] = append(ids[ref.ConversationID], ref.ID)
	}
	places := make([]bson.D, 0, len(ids))
	for conversation, of := range ids {
		place := bson.D{{Key: "id", Value: bson.D{{Key: "$in", Value: of}}}}
		if conversation != "" {
			place = append(place, bson.E{Key: "conversation_id", Value: conversation})
		}
		places = append(places, place)
	}
	return s.findEvents(ctx, "read events by id", query{filter: anyOf(places), limit: len(refs)})
}

// MessageStates returns the states of messages that something has changed.
func (s *Store) MessageStates(ctx context.Context, refs []im.MessageRef) (states []im.MessageState, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	ids := make([]string, len(refs))
	for i, ref := range refs {
		ids[i] = messageKey(ref).id
	}
	rows, err := find[messageStateDocument](ctx, s.messageStates, byIDs(ids))
	for i := range rows {
		states = append(states, rows[i].state())
	}
	return states, wrap("read message states", err)
}

// ProjectMessages writes states of messages: each is inserted if it is new, and changed
// if what is stored is older.
func (s *Store) ProjectMessages(ctx context.Context, states []im.MessageState) error {
	var models []mongo.WriteModel
	for i := range states {
		models = append(models, projectMessage(&states[i])...)
	}
	return wrap("project messages", s.raise(ctx, s.messageStates, models))
}

func projectMessage(m *im.MessageState) []mongo.WriteModel {
	columns := bson.D{
		{Key: "seq", Value: m.Seq}, {Key: "version", Value: m.Version}, {Key: "edited_at_ms", Value: m.EditedAtMs},
		{Key: "recalled", Value: m.Recalled}, {Key: "uncounted", Value: m.Uncounted},
		{Key: "body", Value: m.Body}, {Key: "reactions", Value: m.Reactions},
	}
	first := append(bson.D{{Key: "message_seq", Value: m.MessageSeq}, {Key: "sender_id", Value: m.SenderID}}, columns...)
	if m.ExpiresAtMs != 0 {
		first = append(first, bson.E{Key: "expires_at_ms", Value: m.ExpiresAtMs})
	}
	of := messageKey(m.Ref())
	return []mongo.WriteModel{
		upsert(of, bson.D{{Key: "$setOnInsert", Value: first}}),
		newer(of, "seq", m.Seq, columns),
	}
}
