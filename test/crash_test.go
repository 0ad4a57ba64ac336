package test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/im-transfer/im/client"
)

// crowd is 20 connections whose users sit in a ring and talk to both neighbours;
// half of them are on TCP, some keep their state in a file.
func crowd(t *testing.T, s *server) *recording {
	t.Helper()
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprint("user", i)
	}
	r := record(t, s)
	for i, userID := range s.users(names...) {
		r.device(userID, fmt.Sprint("d", i), "desktop", func(c *client.Config) {
			c.MaxUnacknowledged = 8 // so that they are at it for a while
			if i%2 == 0 {
				binaryTCP(c)
			}
			if i%5 == 0 {
				c.State = client.NewFileState(filepath.Join(t.TempDir(), "state"))
			}
		})
	}
	return r
}

// chatter has everyone send n messages to each neighbour. The wait is for the last
// of them to be handed to the SDK.
func (r *recording) chatter(n int) *sync.WaitGroup {
	var talking sync.WaitGroup
	for i, d := range r.devices {
		left, right := r.devices[(i+len(r.devices)-1)%len(r.devices)], r.devices[(i+1)%len(r.devices)]
		talking.Go(func() {
			for range n {
				d.say(left.userID, 1)
				d.say(right.userID, 1)
			}
		})
	}
	return &talking
}

// unanswered counts the sends that are not acknowledged, of so many for each device.
func (r *recording) unanswered(each int) int {
	n := 0
	for _, d := range r.devices {
		d.mu.Lock()
		n += each - d.acked
		d.mu.Unlock()
	}
	return n
}

// settle waits until everybody has n messages to each neighbour acknowledged and
// has all that concerns them: their own and their neighbours', and has the verdict.
func (r *recording) settle(n int) {
	r.t.Helper()
	for _, d := range r.devices {
		d.untilAcked()
		d.untilMessages(4 * n)
	}
	verdict := r.judge()
	if want := 2 * n * len(r.devices); verdict.Sent != want || verdict.Acknowledged != want {
		r.t.Errorf("sent %d, acknowledged %d, want %d", verdict.Sent, verdict.Acknowledged, want)
	}
	for _, d := range r.devices {
		if len(d.messages) != 4*n {
			r.t.Errorf("%s has %d messages, want %d", d.id, len(d.messages), 4*n)
		}
	}
}

// The server is killed again and again while 20 connections send.
func TestKillNineWhileTwentyConnectionsSend(t *testing.T) {
	t.Parallel()
	s := startProcess(t, nil)
	r := crowd(t, s)
	const each, kills = 80, 3
	talking := r.chatter(each)
	for kill := range kills {
		d := r.devices[kill]
		d.mu.Lock()
		want := d.acked + (2*each-d.acked)/(kills+2-kill)
		d.mu.Unlock()
		d.until("a part of what is left", func() bool { return d.acked >= want })
		s.kill()
		unanswered := r.unanswered(2 * each)
		t.Logf("kill %d: %d of %d sends unanswered", kill+1, unanswered, 2*each*len(r.devices))
		if unanswered == 0 {
			t.Error("killed when there was nothing left to lose")
		}
		s.startProcess()
	}
	talking.Wait()
	r.settle(each)
	for _, d := range r.devices {
		if d.sessions <= 1 {
			t.Errorf("%s had %d sessions: it was not there when the server was killed", d.id, d.sessions)
		}
	}
}
