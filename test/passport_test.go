package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// passport reads a whole passport, by pages of two, until it says what is waited for:
// progress is written a while later.
func passport(t *testing.T, api *client.API, id int64, is func(map[string]client.Delivery) bool) (client.Passport, map[string]client.Delivery) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		all := map[string]client.Delivery{}
		var p client.Passport
		var err error
		for cursor, more := "", true; more; more = cursor != "" {
			if p, err = api.Passport(t.Context(), id, cursor, 2); err != nil {
				t.Fatal(err)
			}
			for _, r := range p.Recipients {
				all[r.UserID] = r
			}
			cursor = p.Next
		}
		if is(all) {
			return p, all
		}
		if time.Now().After(deadline) {
			t.Fatalf("the passport is %+v: %+v", p, all)
		}
	}
}

// The passport of a message tells its way to each recipient and device, in order, to those
// who may know; on both transports, and after a restart.
func TestThePassportOfAMessage(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob", "cy", "dan", "stranger")
	apis := make([]*client.API, len(users))
	tokens := make([]string, len(users))
	for i, user := range users {
		tokens[i] = s.tokens(user, "api", "other").AccessToken
		apis[i] = s.api().WithToken(tokens[i])
	}
	ann, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[0], "web", "web"), "web", "web"))
	group, conversation, err := apis[1].CreateGroup(t.Context(), "G", users[0], users[2], users[3]) // bob's
	if err != nil {
		t.Fatal(err)
	}
	const trace = "463ac35c9f6413ad48485a3953bb6124"
	before := time.Now().UnixMilli()
	sent, err := ann.say(&imv1.Send{
		ClientMsgId: "m", To: client.ToGroup(group), Content: client.TextContent("x"), B3: trace + "-a2fb4a1d1a96d312-1",
	})
	if err != nil {
		t.Fatal(err)
	}

	// bob reads it on one device and only gets it on another; cy never acknowledges; dan is
	// not there.
	phone, _ := s.phone(t, s.tokens(users[1], "phone", "ios"), "phone")
	phone.untilMessages(1)
	phone.ack(phone.last())
	desk, _ := s.raw(t, true, wire.JSON, authOf(s.tokens(users[1], "desk", "desktop"), "desk", "desktop"))
	desk.untilMessages(1)
	var reply imv1.ReadReply
	phone.call(wire.OpRead, &imv1.Read{ConversationId: conversation, Upto: sent.GetConversationSeq()}, wire.OpReadReply, &reply)
	lazy, _ := s.phone(t, s.tokens(users[2], "phone", "ios"), "phone")
	lazy.untilMessages(1)
	for _, r := range []*raw{phone, lazy} {
		r.leave()
	}
	on := func(d client.Delivery, platform string) (found client.DeviceDelivery) {
		for _, device := range d.Devices {
			if device.Platform == platform {
				found = device
			}
		}
		return found
	}
	whole := func(all map[string]client.Delivery) bool {
		bob := all[users[1]]
		return bob.ReadAtMs > 0 && on(bob, "ios").AckedAtMs > 0 && on(bob, "desktop").WrittenAtMs > 0 && on(all[users[2]], "ios").WrittenAtMs > 0
	}
	check := func() {
		t.Helper()
		p, all := passport(t, apis[0], sent.GetMessageId(), whole)
		if p.TraceID != trace || p.ConversationSeq != sent.GetConversationSeq() || p.SenderID != users[0] || p.SequencedAtMs != sent.GetSentAtMs() || len(all) != 4 {
			t.Errorf("the passport is %+v", p)
		}
		bob, cy, dan := all[users[1]], all[users[2]], all[users[3]]
		steps := []int64{
			before, p.AcceptedAtMs, p.SequencedAtMs, bob.InboxedAtMs, on(bob, "ios").WrittenAtMs, on(bob, "ios").AckedAtMs, time.Now().UnixMilli(),
		}
		for i := 1; i < len(steps); i++ {
			if steps[i] < steps[i-1] {
				t.Errorf("the steps' times are %v", steps)
			}
		}
		if !bob.Read || bob.ReadAtMs < bob.InboxedAtMs || !on(bob, "ios").Acked || on(bob, "desktop").Acked || on(bob, "desktop").AckedAtMs != 0 {
			t.Errorf("bob: %+v", bob)
		}
		if cy.Read || on(cy, "ios").Acked || on(cy, "ios").AckedAtMs != 0 || on(cy, "ios").DeviceID != "" {
			t.Errorf("cy: %+v", cy)
		}
		if dan.Read || dan.InboxedAtMs < p.SequencedAtMs || len(dan.Devices) != 0 {
			t.Errorf("dan: %+v", dan)
		}
		if own := on(all[users[0]], "web"); own.DeviceID != "web" || all[users[0]].Read {
			t.Errorf("the sender: %+v", all[users[0]])
		}
	}
	check()
	if _, all := passport(t, apis[1], sent.GetMessageId(), whole); on(all[users[1]], "ios").DeviceID != "phone" { // the owner may
		t.Errorf("the owner sees %+v", all)
	}
	for i, code := range map[int]im.Code{2: im.Forbidden, 4: im.NotFound} {
		if _, err := apis[i].Passport(t.Context(), sent.GetMessageId(), "", 0); codeOf(err) != code {
			t.Errorf("user %d asks: %v, want %s", i, err, code)
		}
	}
	if _, err := apis[0].Passport(t.Context(), 1, "", 0); codeOf(err) != im.NotFound {
		t.Errorf("of no message: %v", err)
	}
	s.restart()
	apis[0] = s.api().WithToken(tokens[0]) // it listens elsewhere
	check()
	if err := apis[0].RemoveMember(t.Context(), group, users[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := apis[0].Passport(t.Context(), sent.GetMessageId(), "", 0); codeOf(err) != im.NotFound {
		t.Errorf("a sender who has left asks: %v", err)
	}
}

// A device that comes back after days finds its messages acknowledged when it did.
func TestAPassportOfWhoComesLater(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("ann", "bob")
	for n, way := range transports {
		ann, _ := s.phone(t, s.tokens(users[0], "p", "ios"), "p")
		sent, err := ann.say(text(users[1], fmt.Sprint(n), "x"))
		if err != nil {
			t.Fatal(err)
		}
		api := s.api().WithToken(s.tokens(users[0], "api", "other").AccessToken)
		_, all := passport(t, api, sent.GetMessageId(), func(map[string]client.Delivery) bool { return true })
		for _, d := range all[users[1]].Devices {
			if d.Acked || d.WrittenAtMs > 0 {
				t.Errorf("%s: before it comes: %+v", way.name, d)
			}
		}
		device := fmt.Sprint("d", n)
		bob, _ := s.raw(t, way.websocket, way.form, authOf(s.tokens(users[1], device, "web"), device, "web"))
		bob.untilMessages(n + 1)
		bob.ack(bob.last())
		came := time.Now().UnixMilli()
		bob.conn.Close()
		passport(t, api, sent.GetMessageId(), func(all map[string]client.Delivery) bool {
			for _, d := range all[users[1]].Devices {
				if d.Acked && d.AckedAtMs > 0 && d.AckedAtMs <= came && d.WrittenAtMs > 0 {
					return true
				}
			}
			return false
		})
	}
}
