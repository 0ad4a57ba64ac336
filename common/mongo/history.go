package mongo

import (
	"cmp"
	"context"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/im-transfer/im"
)

// Stays returns the stays of a user in a conversation, past ones included.
func (s *Store) Stays(ctx context.Context, userID, conversationID string) ([]im.Member, error) {
	stays, err := s.staysIn(ctx, userID, []string{conversationID})
	return stays, wrap("read stays", err)
}

// staysIn returns the stays of a user in conversations; nil = in all.
func (s *Store) staysIn(ctx context.Context, userID string, conversationIDs []string) (stays []im.Member, err error) {
	filter := bson.D{{Key: "user_id", Value: userID}}
	if conversationIDs != nil {
		filter = append(filter, bson.E{Key: "conversation_id", Value: bson.D{{Key: "$in", Value: conversationIDs}}})
	}
	rows, err := find[memberDocument](ctx, s.members, query{filter: filter})
	for i := range rows {
		stays = append(stays, rows[i].member())
	}
	return stays, err
}

// History returns message events of a range, ascending, and whether there are
// more in the direction of the range.
func (s *Store) History(ctx context.Context, r im.EventRange) (events []im.Event, more bool, err error) {
	sort, low, high := descending("seq"), int64(0), int64(math.MaxInt64)
	if r.Forward {
		sort, low = ascending("seq"), r.After+1
	} else if r.Before > 0 {
		high = r.Before - 1
	}
	for _, stay := range ordered(r.Stays, r.Forward) {
		missing := r.Limit + 1 - len(events)
		if missing <= 0 {
			break
		}
		filter := ofConversation(r.ConversationID, between(max(low, stay.JoinedSeq), min(high, stay.LeftSeq)))
		filter = append(filter, bson.E{Key: "kind", Value: im.KindMessage})
		part, err := s.findEvents(ctx, "read history", query{filter: filter, sort: sort, limit: missing})
		if err != nil {
			return nil, false, err
		}
		events = append(events, part...)
	}
	more = len(events) > r.Limit
	events = events[:min(r.Limit, len(events))]
	if !r.Forward {
		slices.Reverse(events)
	}
	return events, more, nil
}

// ordered returns the stays in the order in which a range meets them.
func ordered(stays []im.Member, forward bool) []im.Member {
	return slices.SortedFunc(slices.Values(stays), func(a, b im.Member) int {
		if !forward {
			a, b = b, a
		}
		return cmp.Compare(a.JoinedSeq, b.JoinedSeq)
	})
}

// ReadMarksOf returns the marks of all present members of a conversation, zero
// ones included.
func (s *Store) ReadMarksOf(ctx context.Context, conversationID string) ([]im.ReadMark, error) {
	members, err := s.present(ctx, []string{conversationID})
	if err != nil {
		return nil, wrap("read members", err)
	}
	keys := make([]im.ReadKey, len(members[conversationID]))
	for i, m := range members[conversationID] {
		keys[i] = im.ReadKey{UserID: m.UserID, ConversationID: conversationID}
	}
	return s.Marks(ctx, keys)
}
