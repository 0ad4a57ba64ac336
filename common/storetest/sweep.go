package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/transfer"
)

var sweepTests = []testCase{
	{"deletes what is old, and says so by the floor", sweepOld},
	{"never deletes the newest block", sweepNewest},
	{"stops at the first block that is young", sweepPrefix},
	{"deletes no more than it is told to", sweepLimit},
	{"what went is gone for good", sweepReopened},
	{"an unknown outcome is swept again", sweepUnknown},
	{"two at once, and beside commits, harm nobody", sweepRace},
	{"users come in order, each once", sweepUsers},
	{"the store has a clock", sweepClock},
}

// old is when the blocks that may go were written; they are a day older than
// those that may not.
var (
	old     = time.UnixMilli(startMs)
	horizon = old.Add(time.Hour)
	young   = old.Add(24 * time.Hour)
)

func blockAt(at time.Time, user string, first int64, n int) im.Block {
	b := block(user, first, n)
	b.AtMs = at.UnixMilli()
	return b
}

func sweep(t *testing.T, s transfer.Store, user string, limit int) int {
	t.Helper()
	n, err := s.SweepInbox(background(), user, horizon, limit)
	must(t, err)
	return n
}

// kept checks what is left of an inbox: the first seqs of its blocks, and its
// ends.
func kept(t *testing.T, s transfer.Store, user string, want im.InboxHead, firsts ...int64) {
	t.Helper()
	page, err := s.Blocks(background(), user, 0, 1000)
	must(t, err)
	var got []int64
	for _, b := range page.Blocks {
		got = append(got, b.FirstSeq)
	}
	equal(t, "blocks of "+user, got, firsts)
	equal(t, "ends of "+user, page.InboxHead, want)
	heads, err := s.Heads(background(), []string{user})
	must(t, err)
	equal(t, "head of "+user, heads[0], want)
}

func sweepOld(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, blockAt(old, "u", 1, 3), blockAt(old, "v", 1, 2))
	commitBlocks(t, s, blockAt(horizon.Add(-time.Millisecond), "u", 4, 2))
	commitBlocks(t, s, blockAt(horizon, "u", 6, 1))
	commitBlocks(t, s, blockAt(young, "u", 7, 2))
	equal(t, "swept", sweep(t, s, "u", 10), 2)
	kept(t, s, "u", im.InboxHead{Head: 8, Floor: 5}, 6, 7)
	kept(t, s, "v", im.InboxHead{Head: 2}, 1)
	equal(t, "swept again", sweep(t, s, "u", 10), 0)
	kept(t, s, "u", im.InboxHead{Head: 8, Floor: 5}, 6, 7)
	must(t, s.CreateUser(background(), im.User{ID: "u", Username: "u"}))
	must(t, s.PutDevice(background(), im.Device{UserID: "u", DeviceID: "d"}))
	state, err := s.LoginState(background(), "u", "d")
	must(t, err)
	equal(t, "at the next login", state.InboxHead, im.InboxHead{Head: 8, Floor: 5})
}

func sweepNewest(t *testing.T, s StoreUnderTest) {
	equal(t, "swept of nobody", sweep(t, s, "nobody", 10), 0)
	commitBlocks(t, s, blockAt(old, "u", 1, 3))
	equal(t, "swept of one", sweep(t, s, "u", 10), 0)
	commitBlocks(t, s, blockAt(old, "u", 4, 1))
	equal(t, "swept of two", sweep(t, s, "u", 10), 1)
	kept(t, s, "u", im.InboxHead{Head: 4, Floor: 3}, 4)
	commitBlocks(t, s, blockAt(young, "u", 5, 1)) // the seqs go on
	equal(t, "swept of two again", sweep(t, s, "u", 10), 1)
	kept(t, s, "u", im.InboxHead{Head: 5, Floor: 4}, 5)
}

func sweepPrefix(t *testing.T, s StoreUnderTest) {
	for i, at := range []time.Time{old, young, old, old} {
		commitBlocks(t, s, blockAt(at, "u", int64(i+1), 1))
	}
	equal(t, "swept", sweep(t, s, "u", 10), 1)
	kept(t, s, "u", im.InboxHead{Head: 4, Floor: 1}, 2, 3, 4)
}

func sweepLimit(t *testing.T, s StoreUnderTest) {
	for first := int64(1); first <= 9; first += 2 {
		commitBlocks(t, s, blockAt(old, "u", first, 2))
	}
	equal(t, "first", sweep(t, s, "u", 3), 3)
	kept(t, s, "u", im.InboxHead{Head: 10, Floor: 6}, 7, 9)
	equal(t, "second", sweep(t, s, "u", 3), 1)
	equal(t, "third", sweep(t, s, "u", 3), 0)
	kept(t, s, "u", im.InboxHead{Head: 10, Floor: 8}, 9)
}

func sweepReopened(t *testing.T, s StoreUnderTest) {
	commitBlocks(t, s, blockAt(old, "u", 1, 2))
	commitBlocks(t, s, blockAt(old, "u", 3, 2))
	sweep(t, s, "u", 10)
	again := s.Reopen(t)
	kept(t, again, "u", im.InboxHead{Head: 4, Floor: 2}, 3)
	mustBe(t, again.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{block("u", 3, 1)}}), im.ErrDuplicate)
}

func sweepUnknown(t *testing.T, s StoreUnderTest) {
	for first := int64(1); first <= 6; first++ {
		commitBlocks(t, s, blockAt(old, "u", first, 1))
	}
	faulty := Faulty(s.Store, Script{"SweepInbox": {Refused, UnknownLost, UnknownHalf, UnknownDone}})
	for _, want := range []error{ErrRefused, im.ErrUnknown, im.ErrUnknown, im.ErrUnknown} {
		_, err := faulty.SweepInbox(background(), "u", horizon, 4)
		mustBe(t, err, want)
	}
	equal(t, "left to sweep", sweep(t, faulty, "u", 4), 0)
	kept(t, s, "u", im.InboxHead{Head: 6, Floor: 5}, 6)
}

// sweepRace lets two owners sweep an inbox that a third one fills. Whoever reads
// it from any place finds what follows, or that the floor is above.
func sweepRace(t *testing.T, s StoreUnderTest) {
	const head = 60
	commitBlocks(t, s, blockAt(old, "u", 1, 1))
	must(t, errors.Join(together(4, func(i int) error {
		switch i {
		case 0:
			return fillOld(s, "u", head)
		case 1:
			return readWhile(s, "u", head)
		}
		for floor := int64(0); floor < head-1; {
			if _, err := s.SweepInbox(background(), "u", horizon, 7); err != nil {
				return err
			}
			heads, err := s.Heads(background(), []string{"u"})
			if err != nil {
				return err
			}
			floor = heads[0].Floor
		}
		return nil
	})...))
	kept(t, s, "u", im.InboxHead{Head: head, Floor: head - 1}, head)
}

func fillOld(s transfer.Store, user string, head int64) error {
	for first := int64(2); first <= head; first++ {
		if err := s.CommitInbox(background(), &im.InboxCommit{Blocks: []im.Block{blockAt(old, user, first, 1)}}); err != nil {
			return err
		}
	}
	return nil
}

func readWhile(s transfer.Store, user string, head int64) error {
	for after := int64(0); after < head; {
		page, err := s.Blocks(background(), user, after, 5)
		if err != nil {
			return err
		}
		follows := len(page.Blocks) > 0 && page.Blocks[0].FirstSeq <= after+1
		switch {
		case follows:
			after = page.Blocks[0].LastSeq()
		case page.Floor > after:
			after = page.Floor
		case page.Head > after && len(page.Blocks) > 0:
			return fmt.Errorf("behind %d comes %d, and the floor is %d", after, page.Blocks[0].FirstSeq, page.Floor)
		}
	}
	return nil
}

func sweepUsers(t *testing.T, s StoreUnderTest) {
	ids := []string{"a", "b", "ba", "c", "z"}
	for _, i := range []int{3, 0, 4, 2, 1} {
		must(t, s.CreateUser(background(), im.User{ID: ids[i], Username: "name of " + ids[i]}))
		commitBlocks(t, s, block(ids[i], 1, 1))
	}
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := s.UsersAfter(background(), after, 2)
		must(t, err)
		got = append(got, page...)
		if len(page) < 2 {
			break
		}
	}
	equal(t, "users", got, ids)
}

func sweepClock(t *testing.T, s StoreUnderTest) {
	clock, err := s.Clock(background())
	must(t, err)
	if off := time.Since(clock).Abs(); off > time.Minute {
		t.Errorf("it is %v off", off)
	}
}
