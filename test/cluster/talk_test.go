package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// user is somebody with a phone. What arrives there is kept.
type user struct {
	client.NopHandler
	t      *testing.T
	id     string
	tokens client.Tokens
	api    *client.API    // of the first http server
	client *client.Client // nil while the phone is off

	mu      sync.Mutex
	changed chan struct{} // closed at the next arrival
	texts   []string
}

// givenUser makes a user who is signed in; the phone is off.
func (c *cluster) givenUser(t *testing.T, name string) *user {
	t.Helper()
	service := c.api(t, 1).WithToken(c.ServiceKey)
	made, err := service.EnsureUsers(t.Context(), []client.NewUser{{Username: fmt.Sprintf("%s-%d", name, time.Now().UnixNano())}})
	must(t, err)
	tokens, err := service.ServiceTokens(t.Context(), made[0].UserID, "phone", "ios")
	must(t, err)
	return &user{t: t, id: made[0].UserID, tokens: tokens, api: c.api(t, 1).WithToken(tokens.AccessToken), changed: make(chan struct{})}
}

// api returns the API of an http server, without a token.
func (c *cluster) api(t *testing.T, number int) *client.API {
	web := newWeb()
	t.Cleanup(web.CloseIdleConnections)
	return client.NewAPI(c.Server("http", number).URL(), web)
}

// connects switches the phone on, at one server.
func (u *user) connects(at *local.Server) *user {
	u.t.Helper()
	var err error
	u.client, err = client.New(client.Config{URL: at.URL(), Transport: at.Role, Tokens: u.tokens, DeviceID: "phone", Platform: "ios", Handler: u})
	if err != nil {
		u.t.Fatal(err)
	}
	if err := u.client.Connect(u.t.Context()); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := u.client.Close(ctx); err != nil {
			u.t.Error(err)
		}
	})
	return u
}

// Entry keeps a message's text.
func (u *user) Entry(_ context.Context, entry *imv1.Entry) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if message := entry.GetMessage(); message != nil {
		u.texts = append(u.texts, message.GetContent().GetText())
		close(u.changed)
		u.changed = make(chan struct{})
	}
	return nil
}

// receives waits for so many messages and returns them.
func (u *user) receives(n int) []string {
	u.t.Helper()
	late := time.After(patience)
	for {
		u.mu.Lock()
		texts, changed := slices.Clone(u.texts), u.changed
		u.mu.Unlock()
		if len(texts) >= n {
			return texts
		}
		select {
		case <-changed:
		case <-late:
			u.t.Fatalf("%d messages arrived, want %d: %q", len(texts), n, texts)
		}
	}
}

// receivesAtLast waits for a message behind however many others.
func (u *user) receivesAtLast(words string) {
	u.t.Helper()
	for n := 1; !slices.Contains(u.receives(n), words); n++ {
	}
}

func to(u *user) *imv1.To { return &imv1.To{To: &imv1.To_UserId{UserId: u.id}} }

func text(text string) *imv1.Content { return &imv1.Content{Type: "text", Text: text} }

// sendsByHTTP sends once, whatever becomes of it.
func (u *user) sendsByHTTP(other *user, words string) (client.Ack, error) {
	return u.api.SendMessage(u.t.Context(), &imv1.Send{ClientMsgId: uuid.NewString(), To: to(other), Content: text(words)})
}

// sendsUntilAccepted sends one message again and again while the answer is to be
// asked again.
func (u *user) sendsUntilAccepted(other *user, words string) {
	u.t.Helper()
	send := &imv1.Send{ClientMsgId: uuid.NewString(), To: to(other), Content: text(words)}
	late := time.After(patience)
	for {
		_, err := u.api.SendMessage(u.t.Context(), send)
		var refusal *im.Error
		switch {
		case err == nil:
			return
		case !errors.As(err, &refusal) || refusal.Code != im.Unavailable:
			u.t.Fatalf("a send is answered with %v", err)
		}
		select {
		case <-time.After(refusal.RetryAfter):
		case <-late:
			u.t.Fatalf("a send is refused again and again: %v", err)
		}
	}
}

// Everybody is on another server, and everybody writes to everybody, by socket and
// by HTTP.
func TestUsersOnDifferentServersTalk(t *testing.T) {
	c := givenACluster(t)
	places := append(c.Role("websocket"), c.Role("tcp")...)
	users := make([]*user, len(places))
	for i, place := range places {
		users[i] = c.givenUser(t, place.Name()).connects(place)
	}

	for i, from := range users {
		for _, other := range users {
			if from == other {
				continue
			}
			if _, err := from.client.Send(t.Context(), to(other), text("socket "+places[i].Name()), client.SendOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := from.sendsByHTTP(other, "http "+places[i].Name()); err != nil {
				t.Fatal(err)
			}
		}
	}

	for i, who := range users {
		texts := who.receives(4 * (len(users) - 1)) // one's own copies, and the others'
		if len(texts) != 4*(len(users)-1) {
			t.Errorf("%s has %d messages: %q", places[i].Name(), len(texts), texts)
		}
		for _, place := range places {
			if joined := strings.Join(texts, "\n"); !strings.Contains(joined, "socket "+place.Name()) || !strings.Contains(joined, "http "+place.Name()) {
				t.Errorf("%s has nothing from %s: %q", places[i].Name(), place.Name(), texts)
			}
		}
	}
}
