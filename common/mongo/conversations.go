package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

type conversationDocument struct {
	ID         string              `bson:"_id"`
	Type       im.ConversationType `bson:"type"`
	Key        string              `bson:"key"`
	AppliedSeq int64               `bson:"applied_seq"`
	LastSeq    int64               `bson:"last_seq"`
	LastAtMs   int64               `bson:"last_at_ms"`
	CreatedMs  int64               `bson:"created_ms"`
	Settings   []byte              `bson:"settings"`
}

func (d *conversationDocument) conversation() im.Conversation {
	return im.Conversation{
		ID: d.ID, Type: d.Type, Key: d.Key, AppliedSeq: d.AppliedSeq, LastSeq: d.LastSeq,
		LastAtMs: d.LastAtMs, CreatedAt: d.CreatedMs, Settings: d.Settings,
	}
}

type memberDocument struct {
	ConversationID string `bson:"conversation_id"`
	UserID         string `bson:"user_id"`
	JoinedSeq      int64  `bson:"joined_seq"`
	LeftSeq        int64  `bson:"left_seq"`
	Role           string `bson:"role"`
	MutedUntilMs   int64  `bson:"muted_until_ms"`
	Blocked        bool   `bson:"blocked"`
	Seq            int64  `bson:"seq"`
}

func (d *memberDocument) member() im.Member {
	return im.Member{
		ConversationID: d.ConversationID, UserID: d.UserID, JoinedSeq: d.JoinedSeq, LeftSeq: d.LeftSeq,
		Role: d.Role, MutedUntilMs: d.MutedUntilMs, Blocked: d.Blocked, Seq: d.Seq,
	}
}

// Conversations returns the states of conversations, one for each id, in the
// order asked. It reads rows before members, which are written before rows.
func (s *Store) Conversations(ctx context.Context, ids []string) ([]im.ConversationState, error) {
	states := make([]im.ConversationState, len(ids))
	if len(ids) == 0 {
		return states, nil
	}
	rows, err := s.conversationRows(ctx, ids)
	if err != nil {
		return nil, wrap("read conversations", err)
	}
	members := map[string][]im.Member{}
	if len(rows) > 0 {
		if members, err = s.present(ctx, ids); err != nil {
			return nil, wrap("read members", err)
		}
	}
	err = each(len(ids), func(i int) error {
		row, exists := rows[ids[i]]
		states[i].ID = ids[i]
		if exists {
			states[i].Conversation, states[i].Exists, states[i].Members = row.conversation(), true, members[ids[i]]
		} else if kind, _ := im.ConversationTypeOf(ids[i]); kind == im.Direct {
			return nil
		}
		newest, err := s.newest(ctx, ids[i], 1, im.Forever)
		if states[i].Head = newest.Seq; err != nil || newest.Seq <= states[i].AppliedSeq {
			return err
		}
		states[i].Changes, err = s.changes(ctx, ids[i], states[i].AppliedSeq)
		return err
	})
	return states, wrap("read heads of conversations", err)
}

// changes returns the events of a conversation above a seq that are no messages.
func (s *Store) changes(ctx context.Context, id string, after int64) ([]im.Event, error) {
	filter := ofConversation(id, bson.D{{Key: "$gt", Value: after}})
	filter = append(filter, bson.E{Key: "kind", Value: bson.D{{Key: "$ne", Value: im.KindMessage}}})
	return s.findEvents(ctx, "read changes", query{filter: filter, sort: ascending("seq")})
}

// StaysAt returns the stays that hold an event, ended ones included.
func (s *Store) StaysAt(ctx context.Context, ref im.EventRef) ([]im.Member, error) {
	rows, err := find[memberDocument](ctx, s.members, query{filter: bson.D{
		{Key: "conversation_id", Value: ref.ConversationID},
		{Key: "left_seq", Value: bson.D{{Key: "$gte", Value: ref.Seq}}},
		{Key: "joined_seq", Value: bson.D{{Key: "$lte", Value: ref.Seq}}},
	}})
	stays := make([]im.Member, len(rows))
	for i := range rows {
		stays[i] = rows[i].member()
	}
	return stays, wrap("read stays at an event", err)
}

func (s *Store) conversationRows(ctx context.Context, ids []string) (map[string]conversationDocument, error) {
	rows, err := find[conversationDocument](ctx, s.conversations, byIDs(ids))
	byID := make(map[string]conversationDocument, len(rows))
	for _, row := range rows {
		byID[row.ID] = row
	}
	return byID, err
}

// present returns the stays that have not ended, by conversation.
func (s *Store) present(ctx context.Context, ids []string) (map[string][]im.Member, error) {
	rows, err := find[memberDocument](ctx, s.members, query{filter: bson.D{
		{Key: "conversation_id", Value: bson.D{{Key: "$in", Value: ids}}},
		{Key: "left_seq", Value: int64(im.Forever)},
	}})
	members := make(map[string][]im.Member)
	for i := range rows {
		m := rows[i].member()
		members[m.ConversationID] = append(members[m.ConversationID], m)
	}
	return members, err
}

// place is where an event is, and when.
type place struct {
	Seq  int64 `bson:"seq"`
	AtMs int64 `bson:"at_ms"`
}

// newest returns the place of a conversation's last event among some; the zero
// value when there is none.
func (s *Store) newest(ctx context.Context, conversationID string, from, upto int64) (place, error) {
	return s.newestOf(ctx, ofConversation(conversationID, between(from, upto)))
}

// newestShown is newest, but for blocks, which are nothing that happens to the other
// user of a conversation.
func (s *Store) newestShown(ctx context.Context, conversationID string, from, upto int64) (place, error) {
	shown := bson.E{Key: "kind", Value: bson.D{{Key: "$ne", Value: im.KindContact}}}
	return s.newestOf(ctx, append(ofConversation(conversationID, between(from, upto)), shown))
}

func (s *Store) newestOf(ctx context.Context, filter bson.D) (place, error) {
	p, err := one[place](ctx, s.messages, query{
		filter: filter, sort: descending("seq"), fields: ascending("seq", "at_ms"),
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return p, err
}

func between(from, upto int64) bson.D {
	return bson.D{{Key: "$gte", Value: from}, {Key: "$lte", Value: upto}}
}

func descending(fields ...string) bson.D {
	keys := make(bson.D, len(fields))
	for i, field := range fields {
		keys[i] = bson.E{Key: field, Value: int32(-1)}
	}
	return keys
}

// Project writes projections, members first: each is inserted if it is new, and
// changed if what is stored is older.
func (s *Store) Project(ctx context.Context, conversations []im.Conversation, members []im.Member) error {
	var models []mongo.WriteModel
	for i := range members {
		models = append(models, projectMember(&members[i])...)
	}
	if err := s.raise(ctx, s.members, models); err != nil {
		return wrap("project members", err)
	}
	im.CrashPoint(im.CrashMembersWritten)
	models = nil
	for i := range conversations {
		models = append(models, projectConversation(&conversations[i])...)
	}
	err := s.raise(ctx, s.conversations, models)
	if err != nil && len(members) > 0 {
		err = maybe(err)
	}
	return wrap("project conversations", err)
}

func projectMember(m *im.Member) []mongo.WriteModel {
	of := stayKey(m)
	columns := bson.D{
		{Key: "left_seq", Value: m.LeftSeq}, {Key: "role", Value: m.Role}, {Key: "muted_until_ms", Value: m.MutedUntilMs},
		{Key: "blocked", Value: m.Blocked}, {Key: "seq", Value: m.Seq},
	}
	return []mongo.WriteModel{
		upsert(of, bson.D{{Key: "$setOnInsert", Value: columns}}),
		newer(of, "seq", m.Seq, columns),
	}
}

// projectConversation: settings are those of the highest applied_seq that came
// with some; type, key and creation are the first writer's.
func projectConversation(c *im.Conversation) []mongo.WriteModel {
	applied := bson.D{{Key: "applied_seq", Value: c.AppliedSeq}}
	if c.Settings != nil {
		applied = append(applied, bson.E{Key: "settings", Value: c.Settings})
	}
	first := append(bson.D{
		{Key: "type", Value: c.Type}, {Key: "key", Value: c.Key}, {Key: "created_ms", Value: c.CreatedAt},
	}, applied...)
	of := conversationKey(c.ID)
	models := []mongo.WriteModel{upsert(of, bson.D{
		{Key: "$max", Value: bson.D{{Key: "last_seq", Value: c.LastSeq}, {Key: "last_at_ms", Value: c.LastAtMs}}},
		{Key: "$setOnInsert", Value: first},
	})}
	if c.AppliedSeq > 0 {
		models = append(models, newer(of, "applied_seq", c.AppliedSeq, applied))
	}
	return models
}
