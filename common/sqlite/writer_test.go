package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"

	lib "modernc.org/sqlite/lib"

	"github.com/im-transfer/im"
)

func testEvent(conversation string, seq int64) im.Event {
	return im.Event{
		ID: seq, ConversationID: conversation, Seq: seq, Kind: im.KindMessage,
		SenderID: "u", DeviceID: "d", ClientID: fmt.Sprint(seq), AtMs: seq,
	}
}

func insertTest(s *Store, conversation string, seqs ...int64) error {
	var events []im.Event
	for _, seq := range seqs {
		events = append(events, testEvent(conversation, seq))
	}
	return s.InsertEvents(context.Background(), events, nil)
}

func countTest(t *testing.T, s *Store, conversation string) int {
	t.Helper()
	events, err := s.EventsAfter(context.Background(), conversation, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(events)
}

// holdWriter keeps the writer from beginning anything until release.
func holdWriter(s *Store) (release func()) {
	resume := make(chan struct{})
	s.writer.pauses <- resume
	return func() { close(resume) }
}

// inOneGroup makes the writer take all requests at once and returns their errors.
func inOneGroup(s *Store, requests ...func(*tx) error) []error {
	release := holdWriter(s)
	group := make([]*request, len(requests))
	for i, do := range requests {
		group[i] = &request{do: do, answer: make(chan error, 1)}
		s.writer.queue <- group[i]
	}
	release()
	errs := make([]error, len(group))
	for i, r := range group {
		errs[i] = <-r.answer
	}
	return errs
}

func insertRequest(events ...im.Event) func(*tx) error {
	return func(t *tx) error {
		for i := range events {
			if err := t.insertEvent(&events[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// One request's failure, of whatever kind, is its own, and the keys that it was
// given go to others.
func TestGroupSurvivesFailures(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	if err := insertTest(s, "a", 1); err != nil {
		t.Fatal(err)
	}
	odd := testEvent("odd", 1)
	odd.Kind = "unheard of"
	errs := inOneGroup(s,
		insertRequest(testEvent("b", 1)),
		insertRequest(testEvent("refused", 1), testEvent("a", 1)),
		insertRequest(testEvent("c", 1), testEvent("c", 2)),
		insertRequest(testEvent("refused too", 1), odd),
		insertRequest(testEvent("refused", 5)),
	)
	for i, bad := range []bool{false, true, false, true, false} {
		if (errs[i] != nil) != bad {
			t.Errorf("request %d: %v", i, errs[i])
		}
	}
	if !errors.Is(errs[1], im.ErrDuplicate) || errors.Is(errs[3], im.ErrDuplicate) {
		t.Errorf("errors: %v", errs)
	}
	for conversation, want := range map[string]int{"a": 1, "b": 1, "c": 2, "refused": 1, "refused too": 0, "odd": 0} {
		if got := countTest(t, s, conversation); got != want {
			t.Errorf("%d events in %q, want %d", got, conversation, want)
		}
	}
}

type codedError int

func (c codedError) Error() string { return fmt.Sprint("code ", int(c)) }
func (c codedError) Code() int     { return int(c) }

// A commit that fails says what is known, to everybody of the group, and the
// next one works.
func TestFailedCommit(t *testing.T) {
	for _, test := range []struct {
		name    string
		done    bool // the commit had happened
		failure error
		unknown bool
	}{
		{"disk full", false, codedError(lib.SQLITE_FULL), false},
		{"sync failed, lost", false, codedError(lib.SQLITE_IOERR_FSYNC), true},
		{"sync failed, done", true, codedError(lib.SQLITE_IOERR_FSYNC), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openTest(t, t.TempDir(), Options{})
			commit := s.writer.commit
			s.writer.commit = func(c *conn) error {
				s.writer.commit = commit
				if test.done {
					return errors.Join(commit(c), test.failure)
				}
				return test.failure
			}
			errs := inOneGroup(s, insertRequest(testEvent("a", 1)), insertRequest(testEvent("a", 1)), insertRequest(testEvent("b", 1)))
			for _, err := range errs {
				if err == nil || errors.Is(err, im.ErrUnknown) != test.unknown || errors.Is(err, im.ErrDuplicate) {
					t.Errorf("error %v", err)
				}
			}
			if in := countTest(t, s, "a") == 1; in != test.done {
				t.Errorf("in is %v", in)
			}
			if err := insertTest(s, "c", 1, 2); err != nil {
				t.Fatal(err)
			}
			if err := insertTest(s, "a", 1); errors.Is(err, im.ErrDuplicate) != test.done {
				t.Errorf("sent again: %v", err)
			}
			if a, b, c := countTest(t, s, "a"), countTest(t, s, "b"), countTest(t, s, "c"); a != 1 || b > 1 || c != 2 {
				t.Errorf("%d, %d and %d events", a, b, c)
			}
		})
	}
}

// A database that may not grow refuses, loses nothing and goes on when it may.
func TestFullDisk(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	limit := func(pages string) {
		t.Helper()
		err := s.write(context.Background(), "limit", func(tx *tx) error { return tx.exec("PRAGMA max_page_count = " + pages) })
		if err != nil {
			t.Fatal(err)
		}
	}
	big := func(seq int64) error {
		e := testEvent("a", seq)
		e.Body = make([]byte, 50_000)
		return s.InsertEvents(context.Background(), []im.Event{e}, nil)
	}
	limit("100")
	var in int64
	for seq := int64(1); ; seq++ {
		if err := big(seq); err != nil {
			if codeOf(err) != lib.SQLITE_FULL || errors.Is(err, im.ErrUnknown) {
				t.Fatalf("error %v", err)
			}
			in = seq - 1
			break
		}
	}
	if got := countTest(t, s, "a"); int64(got) != in {
		t.Fatalf("%d events, %d answered", got, in)
	}
	limit("1000000")
	if err := big(in + 1); err != nil {
		t.Fatal(err)
	}
}

// Who gives up before the writer has begun has written nothing.
func TestAbandonedRequest(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	release := holdWriter(s)
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error)
	go func() { answer <- s.InsertEvents(ctx, []im.Event{testEvent("a", 1)}, nil) }()
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) || errors.Is(err, im.ErrUnknown) {
		t.Errorf("error %v", err)
	}
	release()
	if err := insertTest(s, "b", 1); err != nil {
		t.Fatal(err)
	}
	if got := countTest(t, s, "a"); got != 0 {
		t.Errorf("%d events", got)
	}
}
