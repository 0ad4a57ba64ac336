package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestDisconnectCodesSayWhetherToComeBack(t *testing.T) {
	for _, row := range im.DisconnectCodes {
		t.Run(string(row.Code), func(t *testing.T) {
			story(t, func(t *testing.T, f *fake) {
				var got []Disconnected
				c := f.client(func(config *Config) {
					config.Hooks.OnDisconnect = func(d Disconnected) { got = append(got, d) }
				})
				defer closeClient(t, c)
				p := f.connected(c, nil)

				began := time.Now()
				p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: string(row.Code), RetryAfterMs: 4000})
				p.ended()
				if row.Number > 10 {
					f.accept().welcome(nil)
					if waited := time.Since(began); waited < 2*time.Second || waited > 6*time.Second {
						t.Fatalf("came back after %s", waited)
					}
				}
				synctest.Wait()
				if len(got) != 1 || got[0].Code != row.Code || got[0].Final != (row.Number <= 10) {
					t.Fatalf("told %+v", got)
				}
				if row.Number > 10 {
					return
				}
				var end *EndError
				if _, err := c.Send(t.Context(), ToUser("bob"), TextContent("hi"), SendOptions{}); !errors.As(err, &end) {
					t.Fatal("a send after the end:", err)
				}
				f.connected(c, nil) // the user's wish
			})
		})
	}
}

func TestACodeToComeFollowsTheServersWord(t *testing.T) {
	for _, reconnect := range []bool{true, false} {
		end := endOf(&imv1.Disconnect{Code: "moved", Reconnect: reconnect})
		if end.Reconnect() != reconnect || judge(end).final == reconnect {
			t.Errorf("reconnect %v: %+v", reconnect, judge(end))
		}
	}
}

func TestADrainingServerNamesTheNextOne(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "draining", Address: "two:2", RetryAfterMs: 100})
		f.accept().welcome(nil)
		if want := []string{"one:1", "two:2"}; !slices.Equal(f.dialed, want) {
			t.Fatalf("dialled %v", f.dialed)
		}
	})
}

func TestADeadServerIsLeftOutForAWhile(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.MaxBackoff = 20 * time.Second })
		defer closeClient(t, c)
		f.connected(c, nil).close()
		f.accept().welcome(nil)
		calls := f.called()
		if want := []string{"GET /v1/gateway?transport=tcp", "GET /v1/gateway?exclude=s1&transport=tcp"}; !slices.Equal(calls, want) {
			t.Fatalf("asked %v", calls)
		}
	})
}

func TestAttemptsAreMadeMoreSlowly(t *testing.T) {
	b := backoff{least: time.Second, most: 10 * time.Second}
	for _, seconds := range []int{1, 2, 4, 8, 10, 10} {
		base := time.Duration(seconds) * time.Second
		if got := b.next(); got < base/2 || got > base*3/2 {
			t.Errorf("waits %s, want about %s", got, base)
		}
	}
}

func TestNoServerIsWaitedFor(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.setDown(true)
		c := f.client(nil)
		defer closeClient(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		f.setDown(false)
		f.connected(c, nil)
	})
}

func TestASilentServerIsLeft(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{HeartbeatSeconds: 7})
		<-time.After(30 * time.Second)
		p.nothing()
		p.set(0, true)
		began := time.Now()
		p.ended()
		if waited := time.Since(began); waited < 10*time.Second || waited > 17*time.Second {
			t.Fatalf("left after %s", waited)
		}
		f.accept().welcome(nil)
	})
}

func TestAServerThatNeverAnswersAuthIsLeft(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		go c.Connect(t.Context()) //nolint:errcheck // the attempts count
		p := f.accept()
		expect[imv1.Auth](p, wire.OpAuth)
		p.ended()
		f.accept().welcome(nil)
	})
}

func TestWhatIsNoFrameEndsTheConnectionOnly(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		p.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) //nolint:errcheck // the client may be gone
		p.ended()
		p = f.accept()
		p.welcome(nil)
		p.write(wire.Op(99), 0, &imv1.Heartbeat{}) // unknown: ignored
		p.nothing()
	})
}

func TestATokenIsRenewedOnTheLiveSession(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.route("POST /v1/sessions/refresh", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, 200, map[string]any{"access_token": "token-2", "refresh_token": "refresh-2", "expires_in": 100, "user_id": "alice"})
		})
		var kept []Tokens
		c := f.client(func(config *Config) {
			config.Tokens.RefreshToken = "refresh-1"
			config.Hooks.OnTokens = func(tokens Tokens) { kept = append(kept, tokens) }
		})
		defer closeClient(t, c)
		p := f.connected(c, &imv1.AuthReply{ExpiresIn: 100})

		began := time.Now()
		frame, auth := expect[imv1.Auth](p, wire.OpAuth)
		if waited := time.Since(began); auth.GetToken() != "token-2" || waited < 60*time.Second || waited > 70*time.Second {
			t.Fatalf("showed %s after %s", auth.GetToken(), waited)
		}
		p.write(wire.OpAuthReply, frame.Seq, &imv1.AuthReply{UserId: "alice", ExpiresIn: 1000})
		<-time.After(500 * time.Second)
		p.nothing()
		if len(kept) != 1 || kept[0].RefreshToken != "refresh-2" || c.Tokens().AccessToken != "token-2" {
			t.Fatalf("kept %+v", kept)
		}
	})
}

func TestAnEndedTokenIsReplacedBeforeComingBack(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		refreshed := 0
		c := f.client(func(config *Config) {
			config.Refresh = func(_ context.Context, old Tokens) (Tokens, error) {
				refreshed++
				return Tokens{AccessToken: fmt.Sprintf("%s+%d", old.AccessToken, refreshed)}, nil
			}
		})
		defer closeClient(t, c)
		p := f.connected(c, nil)
		p.write(wire.OpDisconnect, 0, &imv1.Disconnect{Code: "token_expired"})

		p = f.accept()
		if auth := p.welcome(nil); auth.GetToken() != "token-1+1" {
			t.Fatalf("came back with %s", auth.GetToken())
		}
	})
}

func TestATokenThatStaysRefusedEndsTheClient(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) {
			config.Refresh = func(context.Context, Tokens) (Tokens, error) { return Tokens{AccessToken: "no better"}, nil }
		})
		defer closeClient(t, c)
		done := make(chan error, 1)
		go func() { done <- c.Connect(t.Context()) }()
		for range 2 {
			p := f.accept()
			frame, _ := expect[imv1.Auth](p, wire.OpAuth)
			p.refuse(frame, im.Unauthenticated, 0)
		}
		var refusal *im.Error
		if err := <-done; !errors.As(err, &refusal) || refusal.Code != im.Unauthenticated {
			t.Fatal(err)
		}
	})
}

func TestARefusalForNowIsNotTheEnd(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		go c.Connect(t.Context()) //nolint:errcheck // the attempts count
		p := f.accept()
		frame, _ := expect[imv1.Auth](p, wire.OpAuth)
		began := time.Now()
		p.refuse(frame, im.Unavailable, 2*time.Second)
		f.accept().welcome(nil)
		if waited := time.Since(began); waited < time.Second || waited > 3*time.Second {
			t.Fatalf("tried again after %s", waited)
		}
	})
}

func TestAReadIsAnsweredAcrossSessions(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(nil)
		defer closeClient(t, c)
		p := f.connected(c, nil)
		done := make(chan error, 1)
		go func() {
			reply, err := c.Read(t.Context(), "d1", 9)
			if err == nil && reply.GetUpto() != 8 {
				err = fmt.Errorf("read up to %d", reply.GetUpto())
			}
			done <- err
		}()
		expect[imv1.Read](p, wire.OpRead)
		p.close()
		p = f.accept()
		p.welcome(nil)
		frame, _ := expect[imv1.Read](p, wire.OpRead)
		p.refuse(frame, im.Unavailable, time.Second)
		frame, read := expect[imv1.Read](p, wire.OpRead)
		p.write(wire.OpReadReply, frame.Seq, &imv1.ReadReply{ConversationId: read.GetConversationId(), Upto: 8})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		c := f.client(func(config *Config) { config.AckDelay = time.Hour })
		p := f.connected(c, nil)
		sending := sendTo(t, c, "bob", "a")[0]
		p.expectSends("a")
		p.deliver(1)
		p.nothing()
		closeClient(t, c)
		if _, ack := expect[imv1.Ack](p, wire.OpAck); ack.GetSeq() != 1 { // the last word
			t.Fatalf("acked %d", ack.GetSeq())
		}
		p.ended()
		if _, err := sending.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		if err := c.Connect(t.Context()); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		closeClient(t, c)
	})
}

func TestCloseDoesNotWaitForAHandlerThatHangs(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		gate := make(chan struct{})
		c := f.client(func(config *Config) {
			config.Handler = &notes{entry: func(int64) error { <-gate; return nil }}
		})
		p := f.connected(c, nil)
		p.deliver(1)
		p.nothing()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		close(gate)
	})
}
