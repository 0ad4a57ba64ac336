package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

var errNoClock = errors.New("the server does not tell its time")

// Clock returns the time on the primary's clock.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	var hello struct {
		LocalTime time.Time `bson:"localTime"`
	}
	command := "hello"
	if !s.real { // others know its former name only
		command = "isMaster"
	}
	err := s.client.Database("admin").RunCommand(ctx, bson.D{{Key: command, Value: 1}}).Decode(&hello)
	if err == nil && hello.LocalTime.IsZero() {
		err = errNoClock
	}
	return hello.LocalTime, wrap("ask for the server's time", err)
}

// UsersAfter returns up to limit ids of users above an id, ascending.
func (s *Store) UsersAfter(ctx context.Context, after string, limit int) (ids []string, err error) {
	rows, err := find[struct {
		ID string `bson:"_id"`
	}](ctx, s.users, query{
		filter: byID(bson.D{{Key: "$gt", Value: after}}), sort: ascending("_id"), fields: ascending("_id"), limit: limit,
	})
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids, wrap("walk users", err)
}

// SweepInbox deletes a user's oldest blocks, by their keys, once the floor stands
// above them.
func (s *Store) SweepInbox(ctx context.Context, userID string, before time.Time, limit int) (int, error) {
	oldest, err := find[blockDocument](ctx, s.inbox, query{
		filter: bson.D{{Key: "user_id", Value: userID}}, sort: ascending("first_seq"),
		fields: ascending("first_seq", "n", "at_ms"), limit: limit + 1,
	})
	if err != nil {
		return 0, wrap("look for old blocks", err)
	}
	var keys []int64
	var floor int64
	for i := 0; i < len(oldest)-1 && oldest[i].AtMs < before.UnixMilli(); i++ {
		keys, floor = append(keys, oldest[i].FirstSeq), oldest[i].lastSeq()
	}
	if len(keys) == 0 {
		return 0, nil
	}
	raised := bson.D{{Key: "$max", Value: bson.D{{Key: "floor", Value: floor}}}}
	if err := s.raise(ctx, s.floors, []mongo.WriteModel{upsert(key{id: userID}, raised)}); err != nil {
		return 0, wrap("raise a floor", err)
	}
	_, err = s.inbox.DeleteMany(ctx, blocksOf(userID, bson.D{{Key: "$in", Value: keys}}))
	if err := writeError(err, true); err != nil {
		return 0, wrap("delete blocks", err)
	}
	return len(keys), nil
}
