package test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
	"github.com/im-transfer/im/transfer"
)

// system is what a crash place is walked in: servers of which one can be told to die.
type system interface {
	// quiet waits until nothing is going on.
	quiet(t *testing.T)
	// armed starts the server of a role anew, with this in its environment. It does not
	// wait until that is ready.
	armed(ctx context.Context, role string, environment ...string) (*local.Server, error)
	// mended starts what takes the place of a server that has died, and returns it.
	mended(ctx context.Context, role string) (*local.Server, error)
	// store opens the store; on the embedded drivers no server runs meanwhile.
	store(t *testing.T) keptStore
	// disturb has something in the way of an inbox partition that nobody can decode,
	// when a server is armed.
	disturb(t *testing.T, partition int, arm func())
	// transfer is the transfer that runs.
	transfer() *local.Server
}

// keptStore is a store that a story does something to itself.
type keptStore interface {
	transfer.Store
	Close() error
}

// scene is one crash place being walked.
type scene struct {
	*server
	system system
	row    row
	acting *local.Server // that is to die, and then the one that takes its place
	from   int           // where the log of the one that is to die begins
}

// arm has the row's server start anew and die at the row's place. It returns when that
// is ready, or dead, where the place is in its start.
func (s *scene) arm() { s.armAt(s.row.place, s.row.time) }

func (s *scene) armAt(place im.CrashPlace, time int, environment ...string) {
	s.t.Helper()
	s.system.quiet(s.t)
	s.from = len(s.log.String())
	s.web.CloseIdleConnections()
	var err error
	s.acting, err = s.system.armed(s.t.Context(), s.row.role, append(environment, fmt.Sprintf("IM_CRASH_POINT=%s:%d", place, max(time, 1)))...)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.acting.AwaitReady(s.t.Context()); err != nil && !s.saidItDies(place) {
		s.t.Fatal(err)
	}
}

// enter connects a device by hand, as soon as it is let in.
func (s *scene) enter(auth *imv1.Auth) (*raw, *imv1.AuthReply) {
	s.t.Helper()
	var conn *raw
	reply, err := again(s.t, func() (*imv1.AuthReply, error) {
		var err error
		if conn, err = s.dial(s.t, true, wire.Proto); err != nil {
			return nil, err
		}
		reply := &imv1.AuthReply{}
		return reply, conn.request(wire.OpAuth, auth, wire.OpAuthReply, reply)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return conn, reply
}

// dies waits until the server has died where it was told to, and has another take its
// place.
func (s *scene) dies() {
	s.t.Helper()
	s.died(s.row.place)
	s.mend()
}

// died waits until the server has died at a place.
func (s *scene) died(place im.CrashPlace) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	err := s.acting.Await(ctx)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || !s.saidItDies(place) {
		s.t.Fatalf("%s ended with %v, not at %s", s.acting.Name(), err, place)
	}
}

// diesOf has something done again and again until the server dies of it, for a busy
// system may answer that it can not just now. Then that is broken off.
func (s *scene) diesOf(place im.CrashPlace, do func(context.Context)) {
	s.t.Helper()
	ctx, end := context.WithCancel(s.t.Context())
	var doing sync.WaitGroup
	defer doing.Wait()
	defer end()
	doing.Go(func() {
		for ctx.Err() == nil {
			do(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	s.died(place)
}

// whoEnters connects a device by hand and does something, if it is let in. The
// connection ends with the context.
func (s *scene) whoEnters(auth *imv1.Auth, then func(*raw)) func(context.Context) {
	return func(ctx context.Context) {
		conn, err := s.dial(s.t, true, wire.Proto)
		if err != nil {
			return
		}
		defer context.AfterFunc(ctx, func() { conn.conn.Close() })()
		defer conn.conn.Close()
		if conn.request(wire.OpAuth, auth, wire.OpAuthReply, &imv1.AuthReply{}) == nil && then != nil {
			then(conn)
		}
	}
}

// whoSends sends a message as a device does that is by hand.
func (s *scene) whoSends(d *device, send *imv1.Send) func(context.Context) {
	return s.whoEnters(authOf(d.config.Tokens, d.id, d.config.Platform), func(conn *raw) {
		conn.say(send) //nolint:errcheck // the server dies of it, or else it is sent again
	})
}

// mend has another server take the place of the one that has died.
func (s *scene) mend() {
	s.t.Helper()
	s.web.CloseIdleConnections()
	var err error
	if s.acting, err = s.system.mended(s.t.Context(), s.row.role); err != nil {
		s.t.Fatal(err)
	}
}

// saidItDies reports whether the victim has said that it dies at a place.
func (s *scene) saidItDies(place im.CrashPlace) bool {
	return strings.Contains(s.log.String()[s.from:], fmt.Sprintf("dying at %s\n", place))
}

// pair makes two users whose inboxes have different owners, as far as there are
// several, so that what goes to both goes in two packs.
func (s *scene) pair() (alice, bob string) {
	s.t.Helper()
	for {
		users := s.users("alice-"+im.NewID(), "bob-"+im.NewID())
		if im.Partition(users[0], inboxPartitions) != im.Partition(users[1], inboxPartitions) {
			return users[0], users[1]
		}
	}
}

// inboxPartitions is the default, and so that of these systems.
const inboxPartitions = 16

// talkers are the devices of a pair, recorded.
type talkers struct {
	*recording
	alice, bob *device
}

// talk has a pair on the SDK, not connected.
func (s *scene) talk() *talkers {
	s.t.Helper()
	alice, bob := s.pair()
	r := record(s.t, s.server)
	return &talkers{
		recording: r,
		alice:     r.offline(alice, "a", "desktop", s.otherTransport()),
		bob:       r.offline(bob, "b", "web", textSocket),
	}
}

func (w *talkers) connect() {
	w.t.Helper()
	for _, d := range []*device{w.alice, w.bob} {
		if d.client == nil {
			d.connect()
		}
	}
}

// otherTransport is TCP, where the system has it.
func (s *scene) otherTransport() func(*client.Config) {
	if s.tcp == "" {
		return nil
	}
	return binaryTCP
}

// goOn has the talkers send each other n messages more, and waits until all is
// acknowledged and both have all that was ever sent.
func (w *talkers) goOn(n int) {
	w.t.Helper()
	w.connect()
	w.alice.say(w.bob.userID, n)
	w.bob.say(w.alice.userID, n)
	for _, d := range []*device{w.alice, w.bob} {
		d.untilAcked()
		d.untilMessages(w.sent())
	}
}

// sent is how many messages there are.
func (w *talkers) sent() int { return int(w.alice.numbers + w.bob.numbers) }

// areServed has the talkers go on as if nothing had been, and has the verdict on all
// that they have seen.
func (w *talkers) areServed() {
	w.t.Helper()
	w.goOn(3)
	verdict := w.judge()
	if verdict.Sent != w.sent() || verdict.Acknowledged != w.sent() {
		w.t.Errorf("sent %d, acknowledged %d, want %d", verdict.Sent, verdict.Acknowledged, w.sent())
	}
	for _, d := range w.devices {
		if len(d.messages) != w.sent() {
			w.t.Errorf("%s has %d messages, want %d", d.id, len(d.messages), w.sent())
		}
	}
}

// again repeats a call until it succeeds or is refused for good.
func again[T any](t *testing.T, call func() (T, error)) (T, error) {
	t.Helper()
	deadline := time.After(patience)
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		answer, err := call()
		if err == nil || codeOf(err).Final() {
			return answer, err
		}
		select {
		case <-every.C:
		case <-deadline:
			t.Fatalf("no answer: %v", err)
		}
	}
}
