package transfer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// doubtfulTerms is a TermStore in memory: an insert may be done and its outcome
// unknown, and then not be shown for a while.
type doubtfulTerms struct {
	last   im.Term
	doubts int // inserts to come whose outcome is not known
	silent int // reads to come that fail
}

func (d *doubtfulTerms) LastTerm(context.Context, string) (im.Term, error) {
	if d.silent > 0 {
		d.silent--
		return im.Term{}, errors.New("away")
	}
	return d.last, nil
}

func (d *doubtfulTerms) InsertTerm(_ context.Context, term im.Term) error {
	if term.Term <= d.last.Term {
		return im.ErrDuplicate
	}
	d.last = term
	if d.doubts > 0 {
		d.doubts--
		return im.ErrUnknown
	}
	return nil
}

// A term of a former try, whose outcome could not be found out then, is ours; not
// another owner's.
func TestATermOfAFormerTryIsOurs(t *testing.T) {
	store := &doubtfulTerms{}
	now := time.UnixMilli(im.Epoch)
	held, err := takeTerm(t.Context(), store, "inbox.0", "us", 0, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	store.doubts, store.silent = 1, 1
	if err := held.extend(t.Context()); err == nil || errors.Is(err, errForeign) {
		t.Fatalf("the outcome is not known, but extend says %v", err)
	}
	now = now.Add(time.Second)
	if err := held.extend(t.Context()); err != nil || held.held != store.last {
		t.Fatalf("%v; we hold %v, stored is %v", err, held.held, store.last)
	}
	store.last = im.Term{Partition: "inbox.0", Term: store.last.Term + 1, Owner: "others"}
	if err := held.extend(t.Context()); !errors.Is(err, errForeign) {
		t.Fatalf("another has taken the partition, but extend says %v", err)
	}
}

// So is one whose outcome could not be found out for longer than a term is extended in.
func TestATermOfALongFormerTryIsOurs(t *testing.T) {
	store := &doubtfulTerms{}
	now := time.UnixMilli(im.Epoch)
	held, err := takeTerm(t.Context(), store, "inbox.0", "us", 0, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	store.doubts, store.silent = 1, 1
	now = now.Add(45 * time.Second)
	if err := held.extend(t.Context()); err == nil || errors.Is(err, errForeign) {
		t.Fatalf("the outcome is not known, but extend says %v", err)
	}
	now = now.Add(30 * time.Second) // the store was away
	if err := held.extend(t.Context()); err != nil || held.held != store.last {
		t.Fatalf("%v; we hold %v, stored is %v", err, held.held, store.last)
	}
	now = now.Add(2 * time.Minute)
	store.last = im.Term{Partition: "inbox.0", Term: store.last.Term + 1, Owner: "others"}
	if err := held.extend(t.Context()); !errors.Is(err, errForeign) {
		t.Fatalf("another has taken the partition, but extend says %v", err)
	}
}
