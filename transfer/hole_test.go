package transfer

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
)

// slowStays is a store of one group, in which to ask for stays takes a while.
type slowStays struct {
	Store
	id     string
	events []im.Event
	asked  int
}

func (s *slowStays) Conversations(context.Context, []string) ([]im.ConversationState, error) {
	return []im.ConversationState{{Conversation: im.Conversation{ID: s.id, Type: im.Group}, Exists: true}}, nil
}

func (s *slowStays) EventsAfter(_ context.Context, _ string, after int64, limit int) ([]im.Event, error) {
	return s.events[after:min(after+int64(limit), int64(len(s.events)))], nil
}

// StaysAt: "ann" was always there, "late" is since the change at seq 500.
func (s *slowStays) StaysAt(ctx context.Context, ref im.EventRef) ([]im.Member, error) {
	s.asked++
	select {
	case <-time.After(15 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return staysWith([]im.Member{
		{ConversationID: s.id, UserID: "ann", JoinedSeq: 1, LeftSeq: im.Forever},
		{ConversationID: s.id, UserID: "late", JoinedSeq: 500, LeftSeq: 700},
	}, ref.Seq), nil
}

// The longest hole of a group is healed although the store needs longer for each event
// than one try has for all; and it is asked who were members when that may have changed.
func TestALongHoleOfAGroupIsHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStays{id: im.GroupConversation("g")}
		for seq := int64(1); seq <= maxHole; seq++ {
			kind := im.KindMessage
			if seq == 500 || seq == 700 {
				kind = im.KindMembership
			}
			store.events = append(store.events, im.Event{ID: seq, ConversationID: store.id, Seq: seq, Kind: kind, AtMs: time.Now().UnixMilli()})
		}
		server := New(Config{InboxPartitions: 1}, store, nil, nil, nil, slog.New(slog.DiscardHandler))
		b := newInbox(server, 0, &term{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		envelopes, err := b.missing(ctx, store.id, 0, maxHole+1)
		if err != nil || len(envelopes) != maxHole {
			t.Fatalf("%d envelopes of %d: %v; the store was asked %d times who were members", len(envelopes), maxHole, err, store.asked)
		}
		for i, e := range envelopes {
			seq, want := int64(i)+1, "[ann]"
			if 500 <= seq && seq <= 700 {
				want = "[ann late]"
			}
			if got := fmt.Sprint(e.UserIds); e.GetEvent().Seq != seq || got != want {
				t.Fatalf("envelope %d is of event %d for %s, want %s", i, e.GetEvent().Seq, got, want)
			}
		}
		if store.asked > 8 {
			t.Errorf("the store was asked %d times who were members", store.asked)
		}
	})
}
