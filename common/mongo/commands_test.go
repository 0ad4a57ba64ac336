package mongo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/im-transfer/im"
)

// recorder keeps the commands that a store sends.
type recorder struct {
	mu       sync.Mutex
	commands []bson.Raw
}

func (r *recorder) options() Options {
	return Options{client: func(o *options.ClientOptions) {
		o.SetMonitor(&event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.commands = append(r.commands, append(bson.Raw(nil), e.Command...))
		}})
	}}
}

func (r *recorder) take() []bson.Raw {
	r.mu.Lock()
	defer r.mu.Unlock()
	commands := r.commands
	r.commands = nil
	return commands
}

func nameOf(command bson.Raw) string {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 {
		return ""
	}
	return elements[0].Key()
}

// everyCall is every method of the hot paths on a small store, by name.
func everyCall(t *testing.T, s *Store) map[string]func(context.Context) error {
	t.Helper()
	const c = "a"
	c0 := c
	stays := []im.Member{{ConversationID: c, UserID: "u", JoinedSeq: 1, LeftSeq: im.Forever}}
	keys := []im.ReadKey{{UserID: "u", ConversationID: c}, {UserID: "v", ConversationID: c}}
	mark := im.ReadMark{UserID: "u", ConversationID: c, ReadUpto: 1}
	calls := map[string]func(context.Context) error{
		"EventsByKey": func(ctx context.Context) error {
			events := testEvents(c, 2)
			_, err := s.EventsByKey(ctx, []im.ClientKey{events[0].Key(), events[1].Key()})
			return err
		},
		"EventsAt": func(ctx context.Context) error {
			_, err := s.EventsAt(ctx, []im.EventRef{{ConversationID: c, Seq: 1}, {ConversationID: "b", Seq: 1}})
			return err
		},
		"EventsAfter":   func(ctx context.Context) error { _, err := s.EventsAfter(ctx, c, 1, 10); return err },
		"Conversations": func(ctx context.Context) error { _, err := s.Conversations(ctx, []string{c}); return err },
		"UsersByID":     func(ctx context.Context) error { _, err := s.UsersByID(ctx, []string{"u", "v"}); return err },
		"Heads":         func(ctx context.Context) error { _, err := s.Heads(ctx, []string{"u", "v"}); return err },
		"FindEntries": func(ctx context.Context) error {
			_, err := s.FindEntries(ctx, []im.EntryKey{{UserID: "u", EventID: im.EventIDOf(7)}, {UserID: "v", EventID: im.DerivedEventID("x")}})
			return err
		},
		"Blocks":      func(ctx context.Context) error { _, err := s.Blocks(ctx, "u", 0, 1); return err },
		"Cursors":     func(ctx context.Context) error { _, err := s.Cursors(ctx, []string{"u", "v"}); return err },
		"Marks":       func(ctx context.Context) error { _, err := s.Marks(ctx, keys); return err },
		"DueReceipts": func(ctx context.Context) error { _, _, err := s.DueReceipts(ctx, 0, 4); return err },
		"Unread":      func(ctx context.Context) error { _, err := s.Unread(ctx, []im.ReadMark{mark}); return err },
		"LastTerm":    func(ctx context.Context) error { _, err := s.LastTerm(ctx, "inbox.1"); return err },
		"Families": func(ctx context.Context) error {
			_, err := s.Families(ctx, []im.DeviceKey{{UserID: "u", DeviceID: "d"}, {UserID: "u", DeviceID: "none"}})
			return err
		},
		"LoginState": func(ctx context.Context) error { _, err := s.LoginState(ctx, "u", "d"); return err },
		"DevicesOf":  func(ctx context.Context) error { _, err := s.DevicesOf(ctx, "u"); return err },
		"ChangeDevice": func(ctx context.Context) error {
			name := "phone"
			return s.ChangeDevice(ctx, "u", "d", im.DeviceChange{Name: &name, Push: &im.Push{Provider: "p", Token: "t"}})
		},
		"Sharing": func(ctx context.Context) error { _, err := s.Sharing(ctx, "u", []string{"u", "v"}); return err },
		"RecordConnections": func(ctx context.Context) error {
			return s.RecordConnections(ctx, []im.Connection{
				{UserID: "u", SessionID: "s", OnlineAtMs: 1}, {UserID: "u", SessionID: "s", OnlineAtMs: 1, OfflineAtMs: 2},
			})
		},
		"Connections": func(ctx context.Context) error {
			_, err := s.Connections(ctx, im.ConnectionQuery{UserID: "u", DeviceID: "d", Before: im.ConnectionCursor{OnlineAtMs: 3, SessionID: "s"}, Limit: 9})
			return err
		},
		"LastSeen": func(ctx context.Context) error { _, err := s.LastSeen(ctx, []string{"u", "v"}); return err },
		"AddProgress": func(ctx context.Context) error {
			return s.AddProgress(ctx, []im.Progress{{UserID: "u", DeviceID: "d", AtMs: 1, Written: 1, Acked: 1}})
		},
		"FirstProgress": func(ctx context.Context) error {
			_, err := s.FirstProgress(ctx, []im.ProgressKey{{UserID: "u", DeviceID: "d", Seq: 1}})
			return err
		},
		"SweepConnections": func(ctx context.Context) error {
			_, err := s.SweepConnections(ctx, "u", time.UnixMilli(5), 2)
			return err
		},
		"FindDeliveries": func(ctx context.Context) error {
			_, err := s.FindDeliveries(ctx, &im.Event{ID: 1}, []string{"u", "v"})
			return err
		},
		"SweepProgress": func(ctx context.Context) error { _, err := s.SweepProgress(ctx, "u", time.UnixMilli(5), 2); return err },
		"UserByName":    func(ctx context.Context) error { _, err := s.UserByName(ctx, "u"); return err },
		"EnsureUsers": func(ctx context.Context) error {
			_, _, err := s.EnsureUsers(ctx, []im.User{{ID: "u", Username: "u"}})
			return err
		},
		"LastRefresh": func(ctx context.Context) error { _, err := s.LastRefresh(ctx, "f"); return err },
		"Refresh":     func(ctx context.Context) error { _, err := s.Refresh(ctx, "f", 1); return err },
		"ConversationList": func(ctx context.Context) error {
			_, err := s.ConversationList(ctx, "u", im.ListCursor{}, 10)
			return err
		},
		"ConversationOf": func(ctx context.Context) error { _, err := s.ConversationOf(ctx, "u", c); return err },
		"History": func(ctx context.Context) error {
			_, _, err := s.History(ctx, im.EventRange{ConversationID: c, Limit: 2, Stays: stays})
			return err
		},
		"HistoryOfAViewer": func(ctx context.Context) error {
			_, _, err := s.History(ctx, im.EventRange{ConversationID: c, Limit: 2, Stays: stays, Viewer: im.ReadMark{UserID: "u", ConversationID: c, DeletedUpto: 9}})
			return err
		},
		"Deleted": func(ctx context.Context) error {
			_, err := s.Deleted(ctx, "u", []im.EventRef{{ConversationID: c, Seq: 1}, {ConversationID: "b", Seq: 1}})
			return err
		},
		"EventsByID": func(ctx context.Context) error { _, err := s.EventsByID(ctx, im.MessageRefs(1, 2)); return err },
		"Relations": func(ctx context.Context) error {
			_, err := s.Relations(ctx, []im.RelationKey{{UserID: "u", PeerID: "v"}, {UserID: "u", PeerID: "w"}})
			return err
		},
		"RelationsOf":   func(ctx context.Context) error { _, err := s.RelationsOf(ctx, "u", "a", 3); return err },
		"DueRelations":  func(ctx context.Context) error { _, err := s.DueRelations(ctx, 0, 4); return err },
		"UsersByPrefix": func(ctx context.Context) error { _, err := s.UsersByPrefix(ctx, "u", "", 3); return err },
		"ChangeAccount": func(ctx context.Context) error {
			disabled := false
			return s.ChangeAccount(ctx, "u", im.AccountChange{Disabled: &disabled})
		},
		"CommitInboxOfOwnState": func(ctx context.Context) error {
			key := im.RelationKey{UserID: "u", PeerID: "v"}
			return s.CommitInbox(ctx, &im.InboxCommit{Own: im.OwnState{
				Views:     []im.ReadMark{{UserID: "u", ConversationID: c, DeletedUpto: 1}},
				Deleted:   []im.Deletion{{UserID: "u", EventRef: im.EventRef{ConversationID: c, Seq: 1}}},
				Relations: []im.Relation{{RelationKey: key, Mine: im.WishAt(1, true), Told: im.WishAt(1, true), Theirs: 1, RemarkSeq: 1}},
				Profiles:  []im.ProfileUpdate{{UserID: "u", Seq: 1, Bio: &c0}},
			}})
		},
		"ReadMarksOf": func(ctx context.Context) error { _, err := s.ReadMarksOf(ctx, c); return err },
		"Project": func(ctx context.Context) error {
			return s.Project(ctx, []im.Conversation{{ID: c, Type: im.Group, Key: "g", AppliedSeq: 3}}, stays)
		},
		"CommitInbox": func(ctx context.Context) error {
			return s.CommitInbox(ctx, &im.InboxCommit{
				Marks:   []im.ReadMark{mark, {UserID: "v", ConversationID: c}},
				Cursors: []im.Cursor{{UserID: "u", DeviceID: "d", Seq: 1}},
			})
		},
		"Clock":      func(ctx context.Context) error { _, err := s.Clock(ctx); return err },
		"UsersAfter": func(ctx context.Context) error { _, err := s.UsersAfter(ctx, "t", 10); return err },
		"SweepInbox": func(ctx context.Context) error {
			n, err := s.SweepInbox(ctx, "u", time.UnixMilli(1), 2)
			if err == nil && n != 2 {
				err = fmt.Errorf("swept %d blocks", n)
			}
			return err
		},
		"InsertBroadcast": func(ctx context.Context) error {
			return s.InsertBroadcast(ctx, im.Broadcast{ID: "b2", All: true})
		},
		"Broadcast":         func(ctx context.Context) error { _, err := s.Broadcast(ctx, "b"); return err },
		"RunningBroadcasts": func(ctx context.Context) error { _, err := s.RunningBroadcasts(ctx); return err },
		"LatestBroadcasts": func(ctx context.Context) error {
			_, err := s.LatestBroadcasts(ctx, im.BroadcastCursor{CreatedAtMs: 3, ID: "b"}, 5)
			return err
		},
		"RaiseBroadcast": func(ctx context.Context) error {
			return s.RaiseBroadcast(ctx, "b", im.BroadcastProgress{State: im.BroadcastDone, Sent: 1})
		},
		"InsertTerm": func(ctx context.Context) error { return s.InsertTerm(ctx, im.Term{Partition: "inbox.1", Term: 2}) },
	}
	fill(t, s, c, stays)
	return calls
}

func fill(t *testing.T, s *Store, c string, stays []im.Member) {
	t.Helper()
	blocks := make([]im.Block, 5)
	for i := range blocks {
		id := int64(i + 1)
		blocks[i] = im.Block{UserID: "u", FirstSeq: id, Entries: []im.InboxEntry{{EventID: im.EventIDOf(id), Kind: im.KindMessage, MessageID: id}}}
	}
	for _, err := range []error{
		s.InsertEvents(t.Context(), testEvents(c, 30), nil),
		s.Project(t.Context(), []im.Conversation{{ID: c, Type: im.Group, Key: "g"}}, stays),
		s.CommitInbox(t.Context(), &im.InboxCommit{Blocks: blocks}),
		s.CreateUser(t.Context(), im.User{ID: "u", Username: "u"}),
		s.PutDevice(t.Context(), im.Device{UserID: "u", DeviceID: "d"}),
		s.InsertTerm(t.Context(), im.Term{Partition: "inbox.1", Term: 1}),
		s.InsertBroadcast(t.Context(), im.Broadcast{ID: "b", All: true}),
		s.InsertRefresh(t.Context(), im.Refresh{Family: "f", Generation: 1}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Every answer comes in one reply, and every write is durable when answered.
func TestCommands(t *testing.T) {
	var sent recorder
	s := openTest(t, sent.options())
	calls := everyCall(t, s)
	for _, command := range sent.take() {
		checkCommand(t, s, command)
	}
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, command := range sent.take() {
			checkCommand(t, s, command)
		}
	}
}

func checkCommand(t *testing.T, s *Store, command bson.Raw) {
	t.Helper()
	name := nameOf(command)
	has := func(path ...string) bool { _, err := command.LookupErr(path...); return err == nil }
	switch name {
	case "getMore", "killCursors":
		t.Errorf("a second round trip: %s", command)
	case "find":
		limit, limited := command.Lookup("limit").AsInt64OK()
		if batch, is := command.Lookup("batchSize").AsInt64OK(); !is || limited && batch <= limit {
			t.Errorf("batch %d of %d rows: %s", batch, limit, command)
		}
	case "insert", "update", "delete":
		if command.Lookup("writeConcern", "w").StringValue() != "majority" || !command.Lookup("writeConcern", "j").Boolean() {
			t.Errorf("not durable: %s", command)
		}
		if !s.real && has("txnNumber") {
			t.Errorf("a retried write, which this server may do twice: %s", command)
		}
	}
	if (name == "find" || name == "aggregate") && !has("readConcern", "level") {
		t.Errorf("not with majority: %s", command)
	}
}

// A floor stands, durably, before anything below it is gone.
func TestTheFloorIsRaisedFirst(t *testing.T) {
	var sent recorder
	s := openTest(t, sent.options())
	fill(t, s, "a", nil)
	sent.take()
	if n, err := s.SweepInbox(t.Context(), "u", time.UnixMilli(1), 10); n != 4 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	var names []string
	for _, command := range sent.take() {
		names = append(names, nameOf(command)+" "+command.Index(0).Value().StringValue())
	}
	if got := strings.Join(names, ", "); got != "find inbox, update floors, delete inbox" {
		t.Errorf("commands: %s", got)
	}
}

// No query of the hot paths may scan.
func TestNothingScans(t *testing.T) {
	var sent recorder
	s := openTest(t, sent.options())
	if !s.real {
		t.Skip("the server has no explain")
	}
	for name, call := range everyCall(t, s) {
		sent.take()
		if err := call(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, command := range sent.take() {
			for _, plain := range explainable(t, command) {
				var plan bson.Raw
				explain := bson.D{{Key: "explain", Value: plain}, {Key: "verbosity", Value: "queryPlanner"}}
				if err := s.store.Database().RunCommand(t.Context(), explain).Decode(&plan); err != nil {
					t.Fatalf("%s: explain %s: %v", name, plain, err)
				}
				winner := fmt.Sprint(plan)
				if before, _, is := strings.Cut(winner, `"rejectedPlans"`); is {
					winner = before
				}
				if strings.Contains(winner, "COLLSCAN") || strings.Contains(winner, `"SORT"`) {
					t.Errorf("%s scans: %s\n%s", name, plain, winner)
				}
			}
		}
	}
}

// explainable takes from a command what explain does not want, and gives every
// update of a bulk a command of its own.
func explainable(t *testing.T, command bson.Raw) (commands []bson.D) {
	t.Helper()
	var all bson.D
	if err := bson.Unmarshal(command, &all); err != nil {
		t.Fatal(err)
	}
	var plain bson.D
	var parts bson.A
	list := map[string]string{"update": "updates", "delete": "deletes"}[nameOf(command)]
	for _, e := range all {
		switch e.Key {
		case "find", "aggregate", "update", "delete", "filter", "sort", "projection", "limit", "batchSize", "pipeline", "cursor":
			plain = append(plain, e)
		case list:
			parts = e.Value.(bson.A)
		}
	}
	switch nameOf(command) {
	case "find", "aggregate":
		return []bson.D{plain}
	}
	for _, part := range parts {
		commands = append(commands, append(plain[:len(plain):len(plain)], bson.E{Key: list, Value: bson.A{part}}))
	}
	return commands
}
