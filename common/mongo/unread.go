package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

// notExpired is the filter for what has not expired by the clock of who asks. Most rows
// have no such time.
func notExpired() bson.E {
	over := bson.D{{Key: "$lte", Value: time.Now().UnixMilli()}}
	return bson.E{Key: "expires_at_ms", Value: bson.D{{Key: "$not", Value: over}}}
}

// unread counts what a user has not read. What is recalled is counted by itself, and
// taken off; where the bound has been reached as many more are counted.
func (s *Store) unread(ctx context.Context, mark im.ReadMark, stays []im.Member) (int, error) {
	events, states, err := s.unreadFilters(ctx, &mark, stays)
	if err != nil || events == nil {
		return 0, err
	}
	counted := append(events, bson.E{Key: "counted", Value: true})
	all, err := count(ctx, s.messages, counted, im.MaxUnread)
	if err != nil || all == 0 {
		return 0, err
	}
	recalled, err := count(ctx, s.messageStates, append(states, bson.E{Key: "uncounted", Value: true}), 0)
	if err == nil && recalled > 0 && all == im.MaxUnread {
		all, err = count(ctx, s.messages, counted, im.MaxUnread+recalled)
	}
	return max(0, all-recalled), err
}

// unreadFilters find what others have said above a user's mark that the user may see, has
// not deleted and that has not expired: among the messages, and among the states of
// messages. Nil: there is none.
func (s *Store) unreadFilters(ctx context.Context, mark *im.ReadMark, stays []im.Member) (events, states bson.D, err error) {
	above := max(mark.ReadUpto, mark.ClearedUpto)
	var ranges, ofStates []bson.D
	for _, stay := range stays {
		if from := max(stay.JoinedSeq, above+1); from <= stay.LeftSeq {
			ranges = append(ranges, ofConversation(mark.ConversationID, between(from, stay.LeftSeq)))
			ofStates = append(ofStates, bson.D{
				{Key: "conversation_id", Value: mark.ConversationID}, {Key: "message_seq", Value: between(from, stay.LeftSeq)},
			})
		}
	}
	if len(ranges) == 0 {
		return nil, nil, nil
	}
	ofOthers := []bson.E{{Key: "sender_id", Value: bson.D{{Key: "$ne", Value: mark.UserID}}}, notExpired()}
	events, states = append(anyOf(ranges), ofOthers...), append(anyOf(ofStates), ofOthers...)
	if mark.DeletedUpto > above {
		deleted, err := s.deletedBetween(ctx, mark, above+1, mark.DeletedUpto)
		if err != nil {
			return nil, nil, err
		}
		without := func(seq string) bson.E {
			return bson.E{Key: "$nor", Value: bson.A{bson.D{{Key: seq, Value: bson.D{{Key: "$in", Value: deleted}}}}}}
		}
		events, states = append(events, without("seq")), append(states, without("message_seq"))
	}
	return events, states, nil
}

// count counts rows, up to a limit that is not 0.
func count(ctx context.Context, in *mongo.Collection, filter bson.D, limit int) (int, error) {
	o := options.Count()
	if limit > 0 {
		o.SetLimit(int64(limit))
	}
	n, err := in.CountDocuments(ctx, filter, o)
	return int(n), err
}

// mentions counts those unread that mention the user, or everybody.
func (s *Store) mentions(ctx context.Context, mark im.ReadMark, stays []im.Member) (int, error) {
	events, _, err := s.unreadFilters(ctx, &mark, stays)
	if err != nil || events == nil {
		return 0, err
	}
	found, err := find[struct {
		ID int64 `bson:"id"`
	}](ctx, s.messages, query{
		filter: append(events, bson.E{Key: "mentioning", Value: true}, bson.E{Key: "counted", Value: true},
			bson.E{Key: "mentions", Value: bson.D{{Key: "$in", Value: []string{mark.UserID, im.MentionAll}}}}),
		fields: ascending("id"), limit: im.MaxUnread,
	})
	if err != nil || len(found) == 0 {
		return 0, err
	}
	ids := make([]string, len(found))
	for i, row := range found {
		ids[i] = messageKey(im.MessageRef{ConversationID: mark.ConversationID, ID: row.ID}).id
	}
	recalled, err := count(ctx, s.messageStates, append(byIDs(ids).filter, bson.E{Key: "recalled", Value: true}), 0)
	return len(found) - recalled, err
}
