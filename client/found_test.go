package client

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// What a review of the package has found, and is mended.

// running runs what waits for the client, and returns its answer.
func running(what func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- what() }()
	return done
}

// A room that was not read further because many entries waited is read when they have been
// handled, though nothing of a room has.
func TestARoomGoesOnBehindABacklog(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		release := make(chan struct{})
		n := &roomNotes{}
		n.entry = func(int64) error { <-release; return nil }
		c := f.client(func(config *Config) { config.Handler = n })
		p := f.connected(c, &imv1.AuthReply{Window: 4})
		defer closeClient(t, c)
		joined := running(func() error { _, err := c.JoinRoom(t.Context(), "lobby", -1); return err })
		frame, _ := expect[imv1.Join](p, wire.OpJoin)
		p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 5, Upto: 5})
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		p.deliver(1, 2, 3, 4, 5, 6) // the handler is in the first, five wait
		synctest.Wait()
		p.write(wire.OpRoomDeliver, 0, &imv1.RoomDeliver{RoomId: "lobby", After: 5, Upto: 6, Messages: roomMessages(6)})
		synctest.Wait()
		close(release)
		var again wire.Frame
		for again = range p.frames {
			if again.Op == wire.OpJoin {
				break
			}
		}
		p.write(wire.OpJoinReply, again.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 6, Upto: 6, Messages: roomMessages(6)})
		synctest.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.said) != 1 {
			t.Errorf("the room has said %v", n.said)
		}
	})
}

// A client that has ended has answered no send: Wait and Flush say so, and it goes out again.
func TestTheEndIsNoAnswerToASend(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		sending, err := c.SendAsync(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.send()
		p.close()
		p = f.accept()
		frame, _ := expect[imv1.Auth](p, wire.OpAuth)
		p.refuse(frame, im.Unauthenticated, 0)
		synctest.Wait()
		var refusal *im.Error
		if _, err := sending.Wait(t.Context()); !errors.Is(err, ErrEnded) || errors.As(err, &refusal) {
			t.Errorf("Wait: %v", err)
		}
		if err := c.Flush(t.Context()); !errors.Is(err, ErrEnded) {
			t.Errorf("Flush: %v", err)
		}
		p = f.connected(c, nil)
		if _, send := p.send(); send.GetClientMsgId() != sending.ClientMsgID {
			t.Errorf("sent %v", send)
		}
	})
}

// What an earlier process has sent to a room waits until it is joined, or given up.
func TestSendsToARoomOutliveTheProcess(t *testing.T) {
	kept := Snapshot{UserID: "alice", Known: true, InboxEpoch: "epoch-1", Sends: []*imv1.Send{
		{ClientMsgId: "x", To: ToRoom("lobby"), Content: TextContent("x")},
		{ClientMsgId: "y", To: ToUser("bob"), Content: TextContent("y")},
	}}
	for name, refused := range map[string]bool{"joined": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, f *fake) {
				state := &MemoryState{}
				if err := state.Save(t.Context(), kept); err != nil {
					t.Fatal(err)
				}
				c := f.client(func(config *Config) { config.State = state })
				defer closeClient(t, c)
				p := f.connected(c, nil)
				if _, send := p.send(); send.GetClientMsgId() != "y" {
					t.Fatalf("sent %v", send)
				}
				joined := running(func() error { _, err := c.JoinRoom(t.Context(), "lobby", -1); return err })
				frame, _ := expect[imv1.Join](p, wire.OpJoin)
				if refused {
					p.refuse(frame, im.Forbidden, 0)
				} else {
					p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby"})
				}
				if err := <-joined; (err != nil) != refused {
					t.Errorf("join: %v", err)
				}
				if _, send := p.send(); send.GetClientMsgId() != "x" {
					t.Errorf("sent %v", send)
				}
			})
		})
	}
}

// A session that is refused the watch of the one before asks again; how they are is told
// when the backlog has been handled.
func TestAWatchIsAskedForAgain(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		release := make(chan struct{})
		n := &presenceNotes{notes: notes{entry: func(int64) error { <-release; return nil }}}
		c := f.client(func(config *Config) { config.Handler = n })
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{Window: 4})
		watched := running(func() error { _, err := c.Watch(t.Context(), "bob"); return err })
		frame, _ := expect[imv1.Watch](p, wire.OpWatch)
		p.write(wire.OpWatchReply, frame.Seq, &imv1.WatchReply{})
		if err := <-watched; err != nil {
			t.Fatal(err)
		}
		p.close()
		p = f.accept()
		p.welcome(&imv1.AuthReply{Window: 4, Head: 5})
		frame, _ = expect[imv1.Watch](p, wire.OpWatch)
		p.refuse(frame, im.Unavailable, time.Second)
		frame, _ = expect[imv1.Watch](p, wire.OpWatch)
		p.deliver(1, 2, 3, 4, 5)
		synctest.Wait()
		p.write(wire.OpWatchReply, frame.Seq, &imv1.WatchReply{Presences: []*imv1.Presence{{UserId: "bob", LastSeenMs: 1}}})
		p.write(wire.OpSignal, 0, signalOf(&imv1.Presence{UserId: "bob", Online: true}))
		synctest.Wait()
		close(release)
		synctest.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.told) != 1 || !n.told[0].GetOnline() {
			t.Errorf("told %v", n.told)
		}
	})
}

// presenceNotes notes what is told of others.
type presenceNotes struct {
	notes
	told []*imv1.Presence
}

func (n *presenceNotes) Signal(_ context.Context, signal *imv1.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, PresenceOf(signal))
}

// Close says that nothing could be saved.
func TestCloseTellsThatTheStateIsNotSaved(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.State = fullDisk{} })
		f.connected(c, nil)
		if _, err := c.SendAsync(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("close: %v", err)
		}
	})
}

var errFull = errors.New("the disk is full")

type fullDisk struct{}

func (fullDisk) Load(context.Context) (Snapshot, error) { return Snapshot{}, nil }
func (fullDisk) Save(context.Context, Snapshot) error   { return errFull }

// An auth that did not arrive in time, and what a proxy answers, say nothing of the token.
func TestWhatDecidesNothingIsTriedAgain(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		connected := running(func() error { return c.Connect(context.Background()) })
		p := f.accept()
		expect[imv1.Auth](p, wire.OpAuth)
		p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "unauthenticated", Reason: "no auth in time"})
		p.close()
		f.accept().welcome(nil)
		if err := <-connected; err != nil {
			t.Errorf("an auth that was late: %v", err)
		}
	})
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusServiceUnavailable} {
		story(t, func(t *testing.T, f *fake) {
			f.route("GET /v1/gateway", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "-1")
				w.WriteHeader(status)
			})
			c := f.client(nil)
			defer closeClient(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a proxy's %d: %v", status, err)
			}
		})
	}
}

// Close waits for tokens that are being refreshed: the server knows no others any more.
func TestCloseWaitsForNewTokens(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		told, began := make(chan Tokens, 1), make(chan struct{})
		c := f.client(func(config *Config) {
			config.Refresh = func(ctx context.Context, _ Tokens) (Tokens, error) {
				close(began)
				select {
				case <-time.After(200 * time.Millisecond):
					return Tokens{AccessToken: "token-2", RefreshToken: "r-2"}, nil
				case <-ctx.Done():
					return Tokens{}, ctx.Err()
				}
			}
			config.Hooks.OnTokens = func(t Tokens) { told <- t }
		})
		f.connected(c, &imv1.AuthReply{ExpiresIn: 900})
		<-began
		closeClient(t, c)
		select {
		case <-told:
		default:
			t.Error("the application has the former tokens")
		}
	})
}

// A refresh whose answer got lost is repeated within 30 s, however long the server wants the
// client to stay away.
func TestALongPauseDoesNotDelayTheRepeatOfARefresh(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		refreshes := make(chan time.Time, 10)
		c := f.client(func(config *Config) {
			config.Refresh = func(ctx context.Context, _ Tokens) (Tokens, error) {
				refreshes <- time.Now()
				if len(refreshes) == 1 {
					<-ctx.Done()
					return Tokens{}, ctx.Err()
				}
				return Tokens{AccessToken: "token-2"}, nil
			}
		})
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{ExpiresIn: 100})
		time.Sleep(71 * time.Second)
		p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "draining", Reconnect: true, RetryAfterMs: 70_000})
		p.close()
		f.accept().welcome(nil)
		if first, second := <-refreshes, <-refreshes; second.Sub(first) > 30*time.Second {
			t.Errorf("repeated after %v", second.Sub(first))
		}
	})
}

// Tokens that end as soon as they are shown make no storm.
func TestTokensThatEndAtOnceMakeNoStorm(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) {
			config.Refresh = func(context.Context, Tokens) (Tokens, error) { return Tokens{AccessToken: "t"}, nil }
		})
		defer closeClient(t, c)
		go c.Connect(context.Background()) //nolint:errcheck // it goes on
		began := time.Now()
		const sessions = 20
		for range sessions {
			p := f.accept()
			p.welcome(nil)
			p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "token_expired"})
			p.close()
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("%d sessions in %v", sessions, took)
		}
	})
}

// A refused auth is not tried again before the time that the server has named.
func TestARetryAfterIsTheLeast(t *testing.T) {
	for range 20 {
		story(t, func(t *testing.T, f *fake) {
			c := f.client(nil)
			defer closeClient(t, c)
			go c.Connect(context.Background()) //nolint:errcheck // it goes on
			p := f.accept()
			frame, _ := expect[imv1.Auth](p, wire.OpAuth)
			p.refuse(frame, im.RateLimited, 10*time.Second)
			p.close()
			began := time.Now()
			f.accept().close()
			if took := time.Since(began); took < 10*time.Second {
				t.Errorf("came back after %v", took)
			}
		})
	}
}

// A room whose join was given up is left when the answer comes.
func TestAJoinThatWasGivenUpIsTakenBack(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		joined := running(func() error { _, err := c.JoinRoom(ctx, "lobby", -1); return err })
		frame, _ := expect[imv1.Join](p, wire.OpJoin)
		if err := <-joined; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("join: %v", err)
		}
		p.write(wire.OpJoinReply, frame.Seq, &imv1.JoinReply{RoomId: "lobby", Head: 5, Upto: 5})
		if _, leave := expect[imv1.Leave](p, wire.OpLeave); leave.GetRoomId() != "lobby" {
			t.Errorf("left %v", leave)
		}
	})
}
