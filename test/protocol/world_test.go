package protocol

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/app"
	"github.com/im-transfer/im/common/jwt"
	"github.com/im-transfer/im/configs"
	"github.com/im-transfer/im/transfer"
)

const (
	serviceKey  = "a service key of at least 16 bytes"
	tokenSecret = "a secret of the tests, of at least 32 bytes"
	patience    = 10 * time.Second // for anything that must come
	clientFrame = 65536            // bytes of what a client sends at once
)

// setting changes the configuration, or the options, before the start.
type setting func(*configs.Config, *app.Options)

func window(n int) setting {
	return func(c *configs.Config, _ *app.Options) { c.Session.Window = n }
}

func slowTimeout(d time.Duration) setting {
	return func(c *configs.Config, _ *app.Options) { c.Session.SlowTimeout = d }
}

func authTimeout(d time.Duration) setting {
	return func(c *configs.Config, _ *app.Options) { c.Session.AuthTimeout = d }
}

func heartbeatSeconds(n int) setting {
	return func(c *configs.Config, _ *app.Options) { c.Session.HeartbeatSeconds = n }
}

func storeBehind(wrap func(transfer.Store) transfer.Store) setting {
	return func(_ *configs.Config, o *app.Options) { o.WrapStore = wrap }
}

// world is a server with everything in it, and its people.
type world struct {
	app    *app.App
	tokens *jwt.Tokens
	web    *http.Client
	named  atomic.Int64
}

// start starts a server on free ports and an empty directory; the end of the test
// stops it.
func start(t *testing.T, settings ...setting) *world {
	t.Helper()
	c, err := configs.Default()
	if err != nil {
		t.Fatal(err)
	}
	const free = "127.0.0.1:0"
	c.DataDir = t.TempDir()
	c.HTTP.Listen, c.WebSocket.Listen, c.TCP.Listen, c.Admin.Listen = free, free, free, free
	c.HTTP.ServiceKey, c.Auth.Secret = serviceKey, tokenSecret
	c.Transfer.ConversationPartitions, c.Transfer.InboxPartitions = 4, 4
	options := app.Options{Version: "conformance"}
	for _, set := range settings {
		set(c, &options)
	}
	w := &world{web: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	if w.tokens, err = jwt.New(jwt.Config{Secret: []byte(tokenSecret)}); err != nil {
		t.Fatal(err)
	}
	if w.app, err = app.New(t.Context(), app.All, c, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.web.CloseIdleConnections()
		if err := w.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return w
}

func (w *world) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return w.app.Stop(ctx)
}

// device is a user's device with its tokens.
type device struct {
	user, id, platform, token, refresh string
}

// name returns one that nobody has.
func (w *world) name() string { return fmt.Sprintf("user-%d", w.named.Add(1)) }

// user makes a user and returns the user_id.
func (w *world) user(t *testing.T) string {
	t.Helper()
	made := w.call(t, serviceKey, "POST", "/v1/service/users", fmt.Sprintf(`{"users":[{"username":%q}]}`, w.name())).
		is(200, `{"users":[{"user_id":"*","created":true}]}`)
	return path(t, made, "users", 0, "user_id").(string)
}

// device signs a user's device in.
func (w *world) device(t *testing.T, user, id, platform string) device {
	t.Helper()
	body := w.call(t, serviceKey, "POST", "/v1/service/tokens",
		fmt.Sprintf(`{"user_id":%q,"device_id":%q,"platform":%q}`, user, id, platform)).
		is(200, `{"access_token":"*","refresh_token":"*","user_id":"*"}`)
	return device{user, id, platform, body["access_token"].(string), body["refresh_token"].(string)}
}

// someone is a new user with one device.
func (w *world) someone(t *testing.T) device {
	t.Helper()
	return w.device(t, w.user(t), "d1", "web")
}

// until issues a token of a device that ends at another time, with the secret given.
func (d device) until(t *testing.T, end time.Time, secret string) device {
	t.Helper()
	verifier, err := jwt.New(jwt.Config{Secret: []byte(tokenSecret)})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(d.token)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := jwt.New(jwt.Config{Secret: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	claims.ExpiresAtMs = end.UnixMilli()
	if d.token, err = issuer.Issue(claims); err != nil {
		t.Fatal(err)
	}
	return d
}

// direct is the conversation of two users.
func direct(a, b device) string { return im.DirectConversation(a.user, b.user) }

// message sends a text by HTTP, for tests that are about something else.
func (w *world) message(t *testing.T, from device, to, id, text string) map[string]any {
	t.Helper()
	return w.call(t, from.token, "POST", "/v1/messages",
		fmt.Sprintf(`{"client_msg_id":%q,"to":{"user_id":%q},"content":{"type":"text","text":%q}}`, id, to, text)).
		is(200, `{"message_id":"*"}`)
}

// fill gives a user an inbox of n messages, 1 to n, and waits until they are in. They
// come from a device of the sender that nothing else uses.
func (w *world) fill(t *testing.T, from, to device, n int) {
	t.Helper()
	c := w.connect(t, tcpProto())
	c.auth(w.device(t, from.user, "filler", "other"), "")
	for i := 1; i <= n; i++ {
		c.say("send", int32(i), fmt.Sprintf(
			`{"client_msg_id":"fill-%d","to":{"user_id":%q},"content":{"type":"text","text":"%d"}}`, i, to.user, i))
	}
	for range n {
		c.hearOp("send_ack")
	}
	c.hangUp()
	w.waitHead(t, to, int64(n))
}

// waitHead waits until a user's inbox has at least so many entries.
func (w *world) waitHead(t *testing.T, d device, head int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		page := w.call(t, d.token, "GET", "/v1/inbox?after=0&limit=1", "").is(200, `{}`)
		if number(page["head"]) >= head {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the head of %s's inbox is %v, want %d", d.user, page["head"], head)
		}
	}
}
