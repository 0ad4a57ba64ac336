package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/session/sessiontest"
)

func calls(cluster *sessiontest.Cluster) [3]int {
	return [3]int{cluster.Transfer(0).Calls(), cluster.Transfer(1).Calls(), cluster.Transfer(2).Calls()}
}

// Any transfer can judge a log-in: they are asked in turn.
func TestUnaryCallsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 3)
		link := cluster.Link(t, "http")
		synctest.Wait()
		for range 30 {
			if _, err := link.Login(t.Context(), &imv1.LoginRequest{Auth: &imv1.Auth{}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := calls(cluster); got != [3]int{10, 10, 10} {
			t.Fatalf("asked %v times", got)
		}
	})
}

// A page is asked of the owner of the inbox, who holds what is newest.
func TestPagesComeFromTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 3)
		link := cluster.Link(t, "http")
		synctest.Wait()
		for range 10 {
			pull(t, link)
		}
		if got := calls(cluster); got != [3]int{10, 0, 0} {
			t.Fatalf("asked %v times", got)
		}
	})
}

func pull(t *testing.T, link *session.Link) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := link.Pull(t.Context(), &imv1.PullRequest{UserId: "ann", After: int64p(0), Limit: 10}); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// A paused transfer costs one call its patience, and those after it nothing.
func TestASilentTransferIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 3)
		link := cluster.Link(t, "http")
		synctest.Wait()
		owner := cluster.Transfer(0)
		owner.Silence(true)
		if took := pull(t, link); took < time.Second || took > 3*time.Second {
			t.Fatalf("answered after %v", took)
		}
		for range 30 {
			if took := pull(t, link); took > 100*time.Millisecond {
				t.Fatalf("a later call took %v", took)
			}
		}
		if got := calls(cluster); got[0] != 1 || got[1] < 10 || got[2] < 10 {
			t.Fatalf("asked %v times", got)
		}

		owner.Silence(false)
		time.Sleep(11 * time.Second)
		pull(t, link)
		if got := owner.Calls(); got != 2 {
			t.Fatalf("an owner that answers again was asked %d times", got)
		}
	})
}

// A transfer that was killed and started again is listed twice for a while, at one
// address. The stream that is meant for the former one would take the place of the
// other, and be given up when the list forgets it.
func TestATransferThatWasStartedAgainHasOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := sessiontest.New(t, 1)
		cluster.Transfer(0).Restarted()
		link := cluster.Link(t, "http")
		time.Sleep(5 * time.Second)
		if n := cluster.Transfer(0).Streams(); n != 1 || link.Ready() != nil {
			t.Errorf("%d streams, %v", n, link.Ready())
		}
	})
}
