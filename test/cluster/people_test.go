package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	"github.com/im-transfer/im/deploy/local"
	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// onlooker is a phone that keeps what it is told besides messages, each as one line.
type onlooker struct {
	client.NopHandler
	t      *testing.T
	client *client.Client

	mu      sync.Mutex
	changed chan struct{} // closed at the next line
	lines   map[string]int
}

func (o *onlooker) note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines[line]++
	close(o.changed)
	o.changed = make(chan struct{})
}

// Entry keeps what has happened, and to whom.
func (o *onlooker) Entry(_ context.Context, e *imv1.Entry) error {
	switch {
	case e.GetMessage() != nil:
		o.note("message " + e.GetMessage().GetContent().GetText())
	case e.GetContact() != nil:
		o.note("contact " + e.GetContact().GetAction())
	case e.GetEdit() != nil:
		o.note("edit " + e.GetEdit().GetContent().GetText())
	case e.GetRecall() != nil:
		o.note("recall")
	}
	return nil
}

// Signal keeps who comes and goes.
func (o *onlooker) Signal(_ context.Context, s *imv1.Signal) {
	if p := client.PresenceOf(s); p != nil {
		o.note(fmt.Sprintf("%s online: %t", p.GetUserId(), p.GetOnline()))
	}
}

// sees waits for a line.
func (o *onlooker) sees(line string) {
	o.t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		n, changed := o.lines[line], o.changed
		seen := fmt.Sprint(o.lines)
		o.mu.Unlock()
		if n > 0 {
			return
		}
		select {
		case <-changed:
		case <-late:
			o.t.Fatalf("%q is not seen, but %s", line, seen)
		}
	}
}

// onlooks switches a user's phone on, at one server.
func (u *user) onlooks(at *local.Server) *onlooker {
	u.t.Helper()
	o := &onlooker{t: u.t, changed: make(chan struct{}), lines: map[string]int{}}
	var err error
	o.client, err = client.New(client.Config{URL: at.URL(), Transport: at.Role, Tokens: u.tokens, DeviceID: "phone", Platform: "ios", Handler: o})
	must(u.t, err)
	must(u.t, o.client.Connect(u.t.Context()))
	u.t.Cleanup(func() { _ = o.client.Close(context.Background()) })
	return o
}

// What people do besides writing to each other does what it does on one machine: each is
// on a server of its own, and asks another one by HTTP.
func TestPeopleOnDifferentServers(t *testing.T) {
	c := givenACluster(t)
	ann, bob := c.givenUser(t, "ann"), c.givenUser(t, "bob")
	anns, bobs := ann.onlooks(c.Server("websocket", 1)), bob.onlooks(c.Server("tcp", 2))
	bob.api = c.api(t, 2).WithToken(bob.tokens.AccessToken)

	must(t, ann.api.AskContact(t.Context(), bob.id, "it is ann"))
	bobs.sees("contact requested")
	must(t, bob.api.AnswerContact(t.Context(), ann.id, true))
	anns.sees("contact added")

	said, err := ann.sendsByHTTP(bob, "first")
	must(t, err)
	bobs.sees("message first")
	_, err = ann.api.Edit(t.Context(), said.MessageID, text("second"), 1)
	must(t, err)
	bobs.sees("edit second")
	_, err = bob.api.Recall(t.Context(), said.MessageID)
	refusedWith(t, "another's message is recalled", err, im.Forbidden)
	_, err = ann.api.Recall(t.Context(), said.MessageID)
	must(t, err)
	bobs.sees("recall")
	anns.sees("recall")

	presences, err := anns.client.Watch(t.Context(), bob.id)
	must(t, err)
	if len(presences) != 1 || !presences[0].GetOnline() {
		t.Errorf("bob is online, and seen as %v", presences)
	}
	must(t, bobs.client.Close(t.Context()))
	anns.sees(bob.id + " online: false")

	must(t, bob.api.Block(t.Context(), ann.id))
	_, err = ann.sendsByHTTP(bob, "third")
	refusedWith(t, "who is blocked sends", err, im.Forbidden)

	service := c.api(t, 2).WithToken(c.ServiceKey)
	_, err = service.Broadcast(t.Context(), client.BroadcastTo{UserIDs: []string{ann.id, bob.id}}, text("to all"), 0, 0)
	must(t, err)
	anns.sees("message to all")
	_, err = ann.api.Broadcast(t.Context(), client.BroadcastTo{All: true}, text("by ann"), 0, 0)
	refusedWith(t, "a user broadcasts", err, im.Unauthenticated)
	bob.onlooks(c.Server("websocket", 2)).sees("message to all")
}

func refusedWith(t *testing.T, what string, err error, code im.Code) {
	t.Helper()
	var refusal *im.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("%s: answered with %v, want %s", what, err, code)
	}
}
