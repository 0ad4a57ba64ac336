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
	low, high := r.Viewer.ClearedUpto+1, int64(math.MaxInt64)
	if r.Forward {
		low = max(low, r.After+1)
	} else if r.Before > 0 {
		high = r.Before - 1
	}
	for _, stay := range ordered(r.Stays, r.Forward) {
		missing := r.Limit + 1 - len(events)
		if missing <= 0 {
			break
		}
		part, err := s.historyOf(ctx, r, max(low, stay.JoinedSeq), min(high, stay.LeftSeq), missing)
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

// historyOf returns up to limit messages between two seqs that the range's viewer has
// not deleted, in the range's direction.
func (s *Store) historyOf(ctx context.Context, r im.EventRange, low, high int64, limit int) (events []im.Event, err error) {
	sort := descending("seq")
	if r.Forward {
		sort = ascending("seq")
	}
	for low <= high && len(events) < limit {
		missing := limit - len(events)
		filter := append(ofConversation(r.ConversationID, between(low, high)), bson.E{Key: "kind", Value: im.KindMessage}, notExpired())
		if r.ThreadID != 0 {
			filter = append(filter, bson.E{Key: "threaded", Value: true}, bson.E{Key: "thread_id", Value: r.ThreadID})
		}
		part, err := s.findEvents(ctx, "read history", query{filter: filter, sort: sort, limit: missing})
		if err != nil {
			return nil, err
		}
		whole := len(part) < missing
		if len(part) > 0 {
			first, last := part[0].Seq, part[len(part)-1].Seq
			if r.Forward {
				low = last + 1
			} else {
				first, last, high = last, first, last-1
			}
			if part, err = s.withoutDeleted(ctx, &r.Viewer, part, first, last); err != nil {
				return nil, wrap("read deletes", err)
			}
		}
		if events = append(events, part...); whole {
			break
		}
	}
	return events, nil
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
