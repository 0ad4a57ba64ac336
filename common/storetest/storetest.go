// Package storetest is the conformance suite of the stores: what transfer and
// http promise themselves of one, as tests that every driver passes. It also
// holds a wrapper that makes a healthy store fail (Faulty) and one that takes
// its transactions away (WithoutOutbox), for the tests of those who use stores.
package storetest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/im-transfer/im"
	imhttp "github.com/im-transfer/im/http"
	"github.com/im-transfer/im/transfer"
)

// Store is everything that the servers need of a store.
type Store interface {
	transfer.Store
	imhttp.Accounts
	imhttp.Devices
	imhttp.Histories
	imhttp.Relations
	imhttp.Journals
	imhttp.Passports
	imhttp.Broadcasts
}

// StoreUnderTest is a new, empty store. Who opens it also closes it, at the end
// of the test.
type StoreUnderTest struct {
	Store
	// Reopen ends the store and opens what it has kept, as a restart of the
	// process does. The old one is not used again.
	Reopen func(t *testing.T) Store
}

// Run runs the suite; open is called for every test.
func Run(t *testing.T, open func(t *testing.T) StoreUnderTest) {
	for name, tests := range map[string][]testCase{
		"events":        eventTests,
		"conversations": conversationTests,
		"inbox":         inboxTests,
		"sweep":         sweepTests,
		"marks":         markTests,
		"journal":       journalTests,
		"passport":      passportTests,
		"terms":         termTests,
		"packs":         packTests,
		"quarantine":    quarantineTests,
		"unknown":       unknownTests,
		"accounts":      accountTests,
		"devices":       deviceTests,
		"list":          listTests,
		"history":       historyTests,
		"messages":      messageTests,
		"own state":     ownTests,
		"relations":     relationTests,
		"broadcasts":    broadcastTests,
	} {
		t.Run(name, func(t *testing.T) {
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, s StoreUnderTest)
}

// hasOutbox tells whether the driver's writes are all or nothing.
func hasOutbox(t *testing.T, s transfer.Store) bool {
	t.Helper()
	info, err := s.Info(context.Background())
	must(t, err)
	return info.Outbox
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func isDuplicate(err error) bool { return errors.Is(err, im.ErrDuplicate) }

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// together runs f n times at once and returns the errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	begin := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	running.Wait()
	return errs
}

// oneWinner checks that exactly one of the errors is nil and the others are want.
func oneWinner(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("both %d and %d won", winner, i)
		case err == nil:
			winner = i
		default:
			mustBe(t, err, want)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	return winner
}
