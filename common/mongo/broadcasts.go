package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/im-transfer/im"
)

// broadcastDocument is a broadcast; due while it is running.
type broadcastDocument struct {
	ID        string   `bson:"_id"`
	All       bool     `bson:"all"`
	RoomID    string   `bson:"room_id"`
	UserIDs   []string `bson:"user_ids"`
	SenderID  string   `bson:"sender_id"`
	Content   []byte   `bson:"content"`
	PerSecond int      `bson:"per_second"`
	Priority  int      `bson:"priority"`
	CreatedMs int64    `bson:"created_ms"`
	State     int      `bson:"state"`
	Cursor    string   `bson:"cursor"`
	Sent      int64    `bson:"sent"`
	Refused   int64    `bson:"refused"`
	Due       bool     `bson:"due,omitempty"`
}

func (d *broadcastDocument) broadcast() im.Broadcast {
	return im.Broadcast{
		ID: d.ID, All: d.All, RoomID: d.RoomID, UserIDs: d.UserIDs, SenderID: d.SenderID, Content: d.Content,
		PerSecond: d.PerSecond, Priority: d.Priority, CreatedAtMs: d.CreatedMs,
		BroadcastProgress: im.BroadcastProgress{State: im.BroadcastState(d.State), Cursor: d.Cursor, Sent: d.Sent, Refused: d.Refused},
	}
}

// InsertBroadcast adds a broadcast; im.ErrDuplicate when there is one of its id.
func (s *Store) InsertBroadcast(ctx context.Context, b im.Broadcast) error {
	return wrap("insert broadcast", insert(ctx, s, s.collections.broadcasts, []broadcastDocument{{
		ID: b.ID, All: b.All, RoomID: b.RoomID, UserIDs: b.UserIDs, SenderID: b.SenderID, Content: b.Content,
		PerSecond: b.PerSecond, Priority: b.Priority, CreatedMs: b.CreatedAtMs,
		State: int(b.State), Cursor: b.Cursor, Sent: b.Sent, Refused: b.Refused, Due: b.State == im.BroadcastRunning,
	}}))
}

// Broadcast returns a broadcast, or im.ErrNotFound.
func (s *Store) Broadcast(ctx context.Context, id string) (im.Broadcast, error) {
	row, err := one[broadcastDocument](ctx, s.collections.broadcasts, query{filter: byID(id)})
	return row.broadcast(), wrap("read broadcast", notFound(err, "broadcast %s", id))
}

// RunningBroadcasts returns those that are running, without their content and users.
func (s *Store) RunningBroadcasts(ctx context.Context) ([]im.Broadcast, error) {
	return s.findBroadcasts(ctx, query{filter: bson.D{{Key: "due", Value: true}}})
}

// LatestBroadcasts returns up to limit broadcasts behind a place, the newest first, likewise.
func (s *Store) LatestBroadcasts(ctx context.Context, from im.BroadcastCursor, limit int) (all []im.Broadcast, err error) {
	for _, part := range newestBehind("created_ms", from.CreatedAtMs, "_id", from.ID) {
		if len(all) < limit {
			var more []im.Broadcast
			more, err = s.findBroadcasts(ctx, query{filter: part.within, sort: part.sort, limit: limit - len(all)})
			all = append(all, more...)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *Store) findBroadcasts(ctx context.Context, q query) ([]im.Broadcast, error) {
	q.fields = ascending("all", "room_id", "sender_id", "per_second", "priority", "created_ms", "state", "cursor", "sent", "refused")
	rows, err := find[broadcastDocument](ctx, s.collections.broadcasts, q)
	all := make([]im.Broadcast, 0, len(rows))
	for i := range rows {
		all = append(all, rows[i].broadcast())
	}
	return all, wrap("read broadcasts", err)
}

// RaiseBroadcast raises a broadcast's progress, each column only if it is higher.
func (s *Store) RaiseBroadcast(ctx context.Context, id string, p im.BroadcastProgress) error {
	change := bson.D{{Key: "$max", Value: bson.D{
		{Key: "state", Value: int(p.State)}, {Key: "cursor", Value: p.Cursor},
		{Key: "sent", Value: p.Sent}, {Key: "refused", Value: p.Refused},
	}}}
	if p.State != im.BroadcastRunning {
		change = append(change, bson.E{Key: "$unset", Value: bson.D{{Key: "due", Value: ""}}})
	}
	model := mongo.NewUpdateOneModel().SetFilter(byID(id)).SetUpdate(change)
	return wrap("raise broadcast", s.raise(ctx, s.collections.broadcasts, []mongo.WriteModel{model}))
}
