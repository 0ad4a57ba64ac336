package storetest

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
)

var termTests = []testCase{
	{"last is the greatest of its partition", lastTerm},
	{"race has one winner", termRace},
	{"old ones may go, the greatest stays", oldTerms},
}

func term(partition string, number int64) im.Term {
	return im.Term{Partition: partition, Term: number, IDCeiling: startMs + number, Owner: fmt.Sprint("owner ", number), AtMs: startMs}
}

func lastTerm(t *testing.T, s StoreUnderTest) {
	_, err := s.LastTerm(background(), "inbox.1")
	mustBe(t, err, im.ErrNotFound)
	for _, row := range []im.Term{term("inbox.1", 1), term("inbox.1", 3), term("inbox.1", 2), term("inbox.10", 9)} {
		must(t, s.InsertTerm(background(), row))
	}
	mustBe(t, s.InsertTerm(background(), term("inbox.1", 3)), im.ErrDuplicate)
	got, err := s.LastTerm(background(), "inbox.1")
	must(t, err)
	equal(t, "last", got, term("inbox.1", 3))
}

func termRace(t *testing.T, s StoreUnderTest) {
	for number := int64(1); number <= 10; number++ {
		errs := together(8, func(i int) error {
			row := term("conversation.0", number)
			row.Owner = fmt.Sprint(i)
			return s.InsertTerm(background(), row)
		})
		winner := oneWinner(t, errs, im.ErrDuplicate)
		got, err := s.LastTerm(background(), "conversation.0")
		must(t, err)
		equal(t, "owner", got.Owner, fmt.Sprint(winner))
	}
}

func oldTerms(t *testing.T, s StoreUnderTest) {
	const day = 24 * 60 * 60 * 1000
	alone := term("inbox.2", 5)
	alone.AtMs -= 30 * day
	must(t, s.InsertTerm(background(), alone))
	must(t, s.InsertTerm(background(), term("inbox.2", 4))) // younger, but not greater
	for number := int64(1); number <= 5; number++ {
		row := term("inbox.1", number)
		row.AtMs -= (6 - number) * day
		must(t, s.InsertTerm(background(), row))
	}
	must(t, s.InsertTerm(background(), term("inbox.1", 6)))
	for partition, want := range map[string]im.Term{"inbox.1": term("inbox.1", 6), "inbox.2": alone} {
		got, err := s.LastTerm(background(), partition)
		must(t, err)
		equal(t, partition, got, want)
	}
	mustBe(t, s.InsertTerm(background(), term("inbox.1", 6)), im.ErrDuplicate)
}
