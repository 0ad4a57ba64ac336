package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// seenAmong is how many connections are looked at for when a user was seen: that which
// began last may have ended before another one.
const seenAmong = 20

// Sharing returns those of others who are in a conversation with a user at present, and
// have not blocked the user.
func (s *Store) Sharing(ctx context.Context, userID string, others []string) (shared []im.Sharing, err error) {
	if len(others) == 0 {
		return nil, nil
	}
	stays, err := s.staysIn(ctx, userID, nil)
	if err != nil {
		return nil, wrap("read who shares a conversation", err)
	}
	conversations := make([]string, 0, len(stays)) // but direct ones
	direct := map[string]im.Member{}               // the user's side of those
	for _, m := range stays {
		switch kind, _ := im.ConversationTypeOf(m.ConversationID); {
		case kind == im.Direct:
			direct[m.ConversationID] = m
		case m.LeftSeq == im.Forever:
			conversations = append(conversations, m.ConversationID)
		}
	}
	found := make([]bool, len(others))
	err = each(len(others), func(i int) (err error) {
		if others[i] == userID {
			return nil
		}
		found[i], err = s.shares(ctx, others[i], direct[im.DirectConversation(userID, others[i])], conversations)
		return err
	})
	for i, id := range others {
		if found[i] {
			shared = append(shared, im.Sharing{UserID: id, Seq: direct[im.DirectConversation(userID, id)].Seq})
		}
	}
	return shared, wrap("read who shares a conversation", err)
}

// shares reports whether somebody has talked with a user, whose side of their direct
// conversation is given, or is in one of the other conversations.
func (s *Store) shares(ctx context.Context, otherID string, direct im.Member, conversations []string) (bool, error) {
	if direct.Blocked {
		return false, nil
	}
	if direct.ConversationID != "" {
		found, err := exists[eventDocument](ctx, s.messages, query{filter: bson.D{
			{Key: "conversation_id", Value: direct.ConversationID}, {Key: "kind", Value: im.KindMessage},
		}})
		if err != nil || found {
			return found, err
		}
	}
	if len(conversations) == 0 {
		return false, nil
	}
	return exists[memberDocument](ctx, s.members, query{filter: bson.D{
		{Key: "user_id", Value: otherID}, {Key: "conversation_id", Value: bson.D{{Key: "$in", Value: conversations}}},
		{Key: "left_seq", Value: int64(im.Forever)},
	}})
}

// exists reports whether a query finds anything.
func exists[D any](ctx context.Context, in *mongo.Collection, q query) (bool, error) {
	_, err := one[D](ctx, in, q)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil
	}
	return err == nil, err
}

type connectionDocument struct {
	UserID      string `bson:"user_id"`
	SessionID   string `bson:"session_id"`
	DeviceID    string `bson:"device_id"`
	Platform    string `bson:"platform"`
	Transport   string `bson:"transport"`
	Remote      string `bson:"remote"`
	Client      string `bson:"client"`
	UserAgent   string `bson:"user_agent"`
	OnlineAtMs  int64  `bson:"online_at_ms"`
	OfflineAtMs int64  `bson:"offline_at_ms"`
	Reason      string `bson:"reason"`
}

func connectionKey(userID, sessionID string) key {
	return key{join(userID, sessionID), bson.D{{Key: "user_id", Value: userID}, {Key: "session_id", Value: sessionID}}}
}

// RecordConnections keeps beginnings and ends of connections. What only a beginning
// says it sets, also where the end has come before it; the first end stands.
func (s *Store) RecordConnections(ctx context.Context, connections []im.Connection) error {
	var models []mongo.WriteModel
	for i := range connections {
		c := &connections[i]
		of := connectionKey(c.UserID, c.SessionID)
		first := bson.D{
			{Key: "device_id", Value: c.DeviceID}, {Key: "platform", Value: c.Platform}, {Key: "transport", Value: c.Transport},
			{Key: "remote", Value: c.Remote}, {Key: "online_at_ms", Value: c.OnlineAtMs},
			{Key: "offline_at_ms", Value: c.OfflineAtMs}, {Key: "reason", Value: c.Reason},
		}
		said := bson.D{{Key: "client", Value: c.Client}, {Key: "user_agent", Value: c.UserAgent}}
		if c.OfflineAtMs == 0 {
			models = append(models, upsert(of, bson.D{{Key: "$set", Value: said}, {Key: "$setOnInsert", Value: first}}))
			continue
		}
		models = append(models, upsert(of, bson.D{{Key: "$setOnInsert", Value: append(first, said...)}}),
			mongo.NewUpdateOneModel().SetFilter(append(of.filter(), bson.E{Key: "offline_at_ms", Value: int64(0)})).
				SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "offline_at_ms", Value: c.OfflineAtMs}, {Key: "reason", Value: c.Reason}}}}))
	}
	return wrap("record connections", s.raise(ctx, s.connections, models))
}

// part is one of the queries that a page is read by, with what they have in common left out.
type part struct{ within, sort bson.D }

// newestBehind is what reads a page of rows, the newest first, behind a place (0 and "" = from
// the newest on): first those of the same time. As one query an index would not bound it.
func newestBehind(timeField string, atMs int64, idField, id string) []part {
	newest := descending(timeField, idField)
	if atMs == 0 && id == "" {
		return []part{{bson.D{{Key: timeField, Value: bson.D{{Key: "$gt", Value: int64(0)}}}}, newest}}
	}
	return []part{
		{bson.D{{Key: timeField, Value: atMs}, {Key: idField, Value: bson.D{{Key: "$lt", Value: id}}}}, descending(idField)},
		{bson.D{{Key: timeField, Value: bson.D{{Key: "$lt", Value: atMs}}}}, newest},
	}
}

// Connections returns connections of a user, the newest first.
func (s *Store) Connections(ctx context.Context, q im.ConnectionQuery) (connections []im.Connection, err error) {
	for _, of := range newestBehind("online_at_ms", q.Before.OnlineAtMs, "session_id", q.Before.SessionID) {
		missing := q.Limit - len(connections)
		if missing <= 0 {
			break
		}
		filter := append(bson.D{{Key: "user_id", Value: q.UserID}}, of.within...)
		if q.DeviceID != "" {
			filter = append(filter, bson.E{Key: "device_id", Value: q.DeviceID})
		}
		rows, err := find[connectionDocument](ctx, s.connections, query{
			filter: filter, sort: of.sort, limit: missing,
		})
		if err != nil {
			return nil, wrap("read connections", err)
		}
		for i := range rows {
			connections = append(connections, im.Connection(rows[i]))
		}
	}
	return connections, nil
}

// LastSeen returns when users were online last, one for each, in the order asked.
func (s *Store) LastSeen(ctx context.Context, userIDs []string) ([]int64, error) {
	seen := make([]int64, len(userIDs))
	err := each(len(userIDs), func(i int) error {
		rows, err := find[connectionDocument](ctx, s.connections, query{
			filter: bson.D{{Key: "user_id", Value: userIDs[i]}}, sort: descending("online_at_ms", "session_id"),
			fields: ascending("online_at_ms", "offline_at_ms"), limit: seenAmong,
		})
		for _, row := range rows {
			seen[i] = max(seen[i], row.OnlineAtMs, row.OfflineAtMs)
		}
		return err
	})
	return seen, wrap("read when users were seen", err)
}

type progressDocument struct {
	UserID   string `bson:"user_id"`
	DeviceID string `bson:"device_id"`
	AtMs     int64  `bson:"at_ms"`
	Written  int64  `bson:"written"`
	Acked    int64  `bson:"acked"`
}

// AddProgress adds rows, which may come twice.
func (s *Store) AddProgress(ctx context.Context, rows []im.Progress) error {
	documents := make([]progressDocument, len(rows))
	for i := range rows {
		documents[i] = progressDocument{rows[i].UserID, rows[i].DeviceID, rows[i].AtMs, rows[i].Written, rows[i].Acked}
	}
	return wrap("add progress", insert(ctx, s, s.progress, documents))
}

// FirstProgress returns when devices had come so far, one for each key.
func (s *Store) FirstProgress(ctx context.Context, keys []im.ProgressKey) ([]im.ProgressTimes, error) {
	times := make([]im.ProgressTimes, len(keys))
	first := func(key im.ProgressKey, column string) (int64, error) {
		row, err := one[progressDocument](ctx, s.progress, query{
			filter: bson.D{
				{Key: "user_id", Value: key.UserID}, {Key: "at_ms", Value: bson.D{{Key: "$gte", Value: key.FromMs}}},
				{Key: "device_id", Value: key.DeviceID}, {Key: column, Value: bson.D{{Key: "$gte", Value: key.Seq}}},
			}, sort: ascending("at_ms"),
		})
		if errors.Is(err, mongo.ErrNoDocuments) {
			return 0, nil
		}
		return row.AtMs, err
	}
	err := each(len(keys), func(i int) (err error) {
		if times[i].WrittenAtMs, err = first(keys[i], "written"); err == nil {
			times[i].AckedAtMs, err = first(keys[i], "acked")
		}
		return err
	})
	return times, wrap("read progress", err)
}

// SweepConnections deletes a user's old connections, but never the newest.
func (s *Store) SweepConnections(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	newest, err := one[connectionDocument](ctx, s.connections, query{
		filter: bson.D{{Key: "user_id", Value: userID}}, sort: descending("online_at_ms", "session_id"), fields: ascending("online_at_ms"),
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	if err != nil {
		return 0, wrap("look for the newest connection", err)
	}
	return s.sweepRows(ctx, s.connections, userID, "online_at_ms", min(before.UnixMilli(), newest.OnlineAtMs), limit)
}

// SweepProgress deletes old progress of a user's devices.
func (s *Store) SweepProgress(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	return s.sweepRows(ctx, s.progress, userID, "at_ms", before.UnixMilli(), limit)
}

func (s *Store) sweepRows(ctx context.Context, in *mongo.Collection, userID, column string, before int64, limit int) (int, error) {
	rows, err := find[struct {
		ID any `bson:"_id"`
	}](ctx, in, query{
		filter: bson.D{{Key: "user_id", Value: userID}, {Key: column, Value: bson.D{{Key: "$lt", Value: before}}}},
		fields: ascending("_id"), limit: limit,
	})
	if err != nil || len(rows) == 0 {
		return 0, wrap("look for old rows", err)
	}
	ids := make(bson.A, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	_, err = in.DeleteMany(ctx, bson.D{{Key: "user_id", Value: userID}, {Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	return len(rows), wrap("sweep rows", writeError(err, true))
}
