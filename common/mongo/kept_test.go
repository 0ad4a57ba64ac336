package mongo

import (
	"errors"
	"fmt"
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/deploy/local"
)

// An index must find, and refuse, its keys again when it has grown over many pages
// and the server has come back from its files after a kill -9: a stand-in once lost
// keys that are documents, and then its last second.
func TestKeysAreFoundAgain(t *testing.T) {
	testURI(t) // it says when there is no server to start
	if !local.HasMongo() {
		t.Skip("only a server of our own is restarted")
	}
	const users = 600
	engine, err := local.StartMongo(t.Context(), t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := openAt(t, engine.URI())
	for from := 0; from < users; from += 100 {
		putUsers(t, s, from, from+100)
	}
	findUsers(t, s, users)
	engine.Kill()
	if err := engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	findUsers(t, openAt(t, engine.URI()), users)
}

func openAt(t *testing.T, uri string) *Store {
	t.Helper()
	s, err := Open(t.Context(), uri, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// userRows is one row of each kind, all of a user.
func userRows(i int) (im.Device, im.Event, im.InboxCommit) {
	user, c := fmt.Sprintf("user-%d", i), fmt.Sprintf("conversation-%d", i)
	entries := []im.InboxEntry{
		{EventID: im.EventIDOf(int64(i + 1)), Kind: im.KindMessage, MessageID: int64(i + 1)},
		{EventID: im.DerivedEventID(user), Kind: im.KindReceipt},
	}
	return im.Device{UserID: user, DeviceID: "d", Family: user},
		im.Event{ID: int64(i + 1), ConversationID: c, Seq: 1, SenderID: user, DeviceID: "d", ClientID: "1"},
		im.InboxCommit{
			Marks:   []im.ReadMark{{UserID: user, ConversationID: c, ReadUpto: 1, ReceiptedUpto: 1}},
			Cursors: []im.Cursor{{UserID: user, DeviceID: "d", Seq: 1, ReceiptedSeq: 1}},
			Blocks:  []im.Block{{UserID: user, FirstSeq: 1, Entries: entries}},
		}
}

func putUsers(t *testing.T, s *Store, from, to int) {
	t.Helper()
	var events []im.Event
	var all im.InboxCommit
	for i := from; i < to; i++ {
		device, event, commit := userRows(i)
		if err := s.PutDevice(t.Context(), device); err != nil {
			t.Fatal(err)
		}
		if err := s.InsertRefresh(t.Context(), im.Refresh{Family: device.Family, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
		all.Marks, all.Cursors, all.Blocks = append(all.Marks, commit.Marks...), append(all.Cursors, commit.Cursors...), append(all.Blocks, commit.Blocks...)
	}
	if err := errors.Join(s.InsertEvents(t.Context(), events, nil), s.CommitInbox(t.Context(), &all)); err != nil {
		t.Fatal(err)
	}
}

func findUsers(t *testing.T, s *Store, users int) {
	t.Helper()
	for i := range users {
		device, event, commit := userRows(i)
		if found, err := s.Device(t.Context(), device.UserID, "d"); err != nil || found.Family != device.Family {
			t.Fatalf("device of %s: %+v, %v", device.UserID, found, err)
		}
		if found, err := s.EventsByKey(t.Context(), []im.ClientKey{event.Key()}); err != nil || len(found) != 1 || found[0].Key() != event.Key() {
			t.Fatalf("event %d: %+v, %v", event.ID, found, err)
		}
		block := commit.Blocks[0]
		keys := []im.EntryKey{{UserID: block.UserID, EventID: block.Entries[0].EventID}, {UserID: block.UserID, EventID: block.Entries[1].EventID}}
		if found, err := s.FindEntries(t.Context(), keys); err != nil || len(found) != 2 {
			t.Fatalf("entries of %s: %+v, %v", block.UserID, found, err)
		}
		if marks, err := s.Marks(t.Context(), []im.ReadKey{{UserID: block.UserID, ConversationID: event.ConversationID}}); err != nil || marks[0] != commit.Marks[0] {
			t.Fatalf("mark of %s: %+v, %v", block.UserID, marks, err)
		}
		if err := s.InsertRefresh(t.Context(), im.Refresh{Family: device.Family, Generation: 1}); !errors.Is(err, im.ErrDuplicate) {
			t.Fatalf("a second refresh of %s: %v", device.Family, err)
		}
		again := event
		again.Seq = 2
		if err := s.InsertEvents(t.Context(), []im.Event{again}, nil); !errors.Is(err, im.ErrDuplicate) {
			t.Fatalf("a second event of the same client key: %v", err)
		}
		again.Seq, again.ClientID = 1, "2"
		if err := s.InsertEvents(t.Context(), []im.Event{again}, nil); !errors.Is(err, im.ErrDuplicate) {
			t.Fatalf("a second event of the same seq: %v", err)
		}
		if err := s.CommitInbox(t.Context(), &im.InboxCommit{Blocks: commit.Blocks}); !errors.Is(err, im.ErrDuplicate) {
			t.Fatalf("a second block: %v", err)
		}
	}
}
