package client

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// A Close that is cut short must not empty the local state: the sends without an
// answer go out again from the next client.
func TestACloseCutShortKeepsTheSends(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		state := &MemoryState{}
		busy, release := make(chan struct{}), make(chan struct{})
		c := f.client(func(config *Config) {
			config.State = state
			config.Handler = &notes{entry: func(int64) error { close(busy); <-release; return nil }}
		})
		p := f.connected(c, nil)
		p.deliver(1)
		<-busy
		if _, err := c.SendAsync(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		p.send() // written, so saved; never answered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("close:", err)
		}
		close(release)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		if s, _ := state.Load(t.Context()); len(s.Sends) != 1 {
			t.Fatalf("the state holds %d sends: an accepted message is lost", len(s.Sends))
		}
	})
}

// What was accepted before there was a session is kept by Close, too.
func TestASendBeforeConnectIsKept(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		state := &MemoryState{}
		c := f.client(func(config *Config) { config.State = state })
		sending, err := c.SendAsync(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		closeClient(t, c)
		if _, err := sending.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error("the outcome:", err)
		}
		next := f.client(func(config *Config) { config.State = state })
		defer closeClient(t, next)
		if _, send := f.connected(next, nil).send(); send.GetClientMsgId() != sending.ClientMsgID {
			t.Errorf("the next client sends %v", send)
		}
	})
}

// A session that takes the place of the one that has just answered watches as well; one
// that comes after a refusal watches whom the one before did.
func TestAWatchOutlivesTheSessionThatAnswersIt(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		watch := func(user string) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := c.Watch(t.Context(), user)
				done <- err
			}()
			return done
		}
		watched := func(p *peer, want string) wire.Frame {
			frame, body := expect[imv1.Watch](p, wire.OpWatch)
			if got := body.GetUserIds(); !slices.Equal(got, []string{want}) {
				t.Errorf("watches %v, not %s", got, want)
			}
			return frame
		}
		done := watch("bob")
		watched(p, "bob")
		p.close() // before, or after, the answer: the client can not tell
		p = f.accept()
		p.welcome(nil)
		p.write(wire.OpWatchReply, watched(p, "bob").Seq, &imv1.WatchReply{}) // the session's own
		p.write(wire.OpWatchReply, watched(p, "bob").Seq, &imv1.WatchReply{})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		done = watch("carol")
		p.refuse(watched(p, "carol"), im.Invalid, 0)
		if err := <-done; err == nil {
			t.Error("a refused watch has no error")
		}
		p.close()
		p = f.accept()
		p.welcome(nil)
		watched(p, "bob")
	})
}

// A refresh whose answer is lost with the session is repeated at once: after 30 s
// the same refresh token would revoke the device.
func TestARefreshOfUnknownOutcomeIsRepeated(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		var refreshes atomic.Int32
		var last atomic.Int64
		c := f.client(func(config *Config) {
			config.Refresh = func(ctx context.Context, old Tokens) (Tokens, error) {
				last.Store(time.Now().UnixNano())
				if refreshes.Add(1) == 1 {
					<-ctx.Done() // rotated by the server; the answer is lost
					return Tokens{}, ctx.Err()
				}
				old.AccessToken = "token-2"
				return old, nil
			}
		})
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{ExpiresIn: 900, HeartbeatSeconds: 30})
		for refreshes.Load() == 0 {
			time.Sleep(time.Second)
		}
		lost := time.Now()
		p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "draining", RetryAfterMs: 1000})
		f.accept().welcome(&imv1.AuthReply{ExpiresIn: 300, HeartbeatSeconds: 30})
		time.Sleep(25 * time.Second)
		if refreshes.Load() < 2 {
			for refreshes.Load() < 2 {
				time.Sleep(time.Second)
			}
			t.Fatalf("the refresh was repeated only after %s: the server revokes the device", time.Unix(0, last.Load()).Sub(lost))
		}
	})
}

// A gateway that can not judge an auth (it is cut from the transfers) is left out
// like a dead one; being empty it would be the least loaded for ever.
func TestAGatewayThatCanNotLogInIsLeftOut(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		go c.Connect(t.Context()) //nolint:errcheck // the story is about calls
		p := f.accept()
		frame, _ := expect[imv1.Auth](p, wire.OpAuth)
		p.refuse(frame, im.Unavailable, 100*time.Millisecond)
		f.accept().welcome(nil)
		if calls := f.called(); !slices.Contains(calls, "GET /v1/gateway?exclude=s1&transport=tcp") {
			t.Fatalf("asked %v", calls)
		}
	})
}
