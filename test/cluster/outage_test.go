package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
)

func newWeb() *http.Client { return &http.Client{Transport: &http.Transport{}, Timeout: patience} }

// Without its queue the system takes no messages and says so soon, to be asked
// again; everything that needs no queue goes on.
func TestRabbitMQTakesNothing(t *testing.T) {
	c := givenACluster(t)
	for _, story := range []struct {
		name         string
		strike, mend func(context.Context) error
	}{
		{
			"it has too little memory",
			func(ctx context.Context) error { return c.RabbitMQ.MemoryAlarm(ctx, true) },
			func(ctx context.Context) error { return c.RabbitMQ.MemoryAlarm(ctx, false) },
		},
		// Last, since transfers may still hand partitions over when messages flow again.
		{"it is stopped", func(context.Context) error { return c.RabbitMQ.Stop() }, c.RabbitMQ.Start},
	} {
		t.Run(story.name, func(t *testing.T) {
			alice, bob := c.givenUser(t, "alice"), c.givenUser(t, "bob")
			sent, err := alice.sendsByHTTP(bob, "before")
			must(t, err)
			bob.connects(c.Server("websocket", 1)).receives(1)

			must(t, story.strike(t.Context()))
			mended := false
			defer func() {
				if !mended {
					must(t, story.mend(context.WithoutCancel(t.Context())))
				}
			}()

			alice.isRefusedSoon(bob)
			history, _, err := alice.api.History(t.Context(), sent.ConversationID, client.HistoryQuery{})
			if err != nil || len(history) != 1 {
				t.Errorf("history: %d messages, %v", len(history), err)
			}
			page, err := bob.api.Inbox(t.Context(), client.InboxQuery{After: new(int64)})
			if err != nil || len(page.GetEntries()) == 0 {
				t.Fatalf("sync: %d entries, %v", len(page.GetEntries()), err)
			}
			cursor, err := alice.api.AckInbox(t.Context(), 1, "")
			if err != nil || cursor != 1 {
				t.Errorf("ack: the cursor is %d, %v", cursor, err)
			}
			mended = true
			must(t, story.mend(t.Context()))
			alice.sendsUntilAccepted(bob, "after")
			bob.receivesAtLast("after")
		})
	}
}

// isRefusedSoon makes sure that messages are refused for now, within the time that
// is promised.
func (u *user) isRefusedSoon(other *user) {
	u.t.Helper()
	for range 3 {
		began := time.Now()
		_, err := u.sendsByHTTP(other, "meanwhile")
		took := time.Since(began)
		var refusal *im.Error
		if !errors.As(err, &refusal) || refusal.Code != im.Unavailable || refusal.RetryAfter <= 0 {
			u.t.Fatalf("a send is answered with %v", err)
		}
		u.t.Logf("unavailable, again after %s, said after %.2f s", refusal.RetryAfter, took.Seconds())
		if took > 2*time.Second+200*time.Millisecond { // the 2 s are the queue's; the rest is the way there and back
			u.t.Errorf("that took %s", took)
		}
	}
}

// Without the store what was accepted waits in the queue: nothing is lost, and
// nobody's memory fills with it.
func TestMongoIsStoppedUnderLoad(t *testing.T) {
	c := givenACluster(t)
	load := c.underLoad(t)
	before := c.memory(t)
	var during int64

	load.strikesFor(8*time.Second, c.Mongo.Stop, func() error {
		during = c.memory(t)
		return c.Mongo.Start(context.WithoutCancel(t.Context()))
	})

	load.recovers()
	load.isJudged()
	t.Logf("the servers' memory: %d MiB before, %d MiB after 8 s without the store", before>>20, during>>20)
	if grown := during - before; grown > 200<<20 {
		t.Errorf("the servers' memory has grown by %d MiB", grown>>20)
	}
}

// memory returns the resident memory of all servers together, in bytes.
func (c *cluster) memory(t *testing.T) (sum int64) {
	t.Helper()
	for _, server := range c.Servers {
		if server.PID() == 0 {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.PID()))
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(string(status), "\nVmRSS:")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			t.Fatalf("%s tells no memory", server.Name())
		}
		kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += kilobytes << 10
	}
	return sum
}
