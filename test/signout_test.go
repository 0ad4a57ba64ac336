package test

import (
	"testing"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/client"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// A user sees their devices, names them, and signs them out, on either transport: what
// was signed out is disconnected at once, and what was not stays.
func TestAUserSignsDevicesOut(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	connect := func(user, device, platform string, transport int) (*raw, *client.API, *imv1.Auth) {
		tokens := s.tokens(user, device, platform)
		way := transports[transport]
		conn, _ := s.raw(t, way.websocket, way.form, authOf(tokens, device, platform))
		return conn, s.api().WithToken(tokens.AccessToken), authOf(tokens, device, platform)
	}
	web, api, _ := connect(users[0], "web", "web", 0)
	phone, _, phoneAuth := connect(users[0], "phone", "ios", 3)
	tablet, tabletAPI, _ := connect(users[0], "tablet", "tablet", 2)
	desk, _, _ := connect(users[0], "desk", "desktop", 4)
	bob, bobAPI, _ := connect(users[1], "phone", "ios", 1)
	sayMany(t, bob, users[0], 0, 3)
	phone.untilMessages(3)
	phone.ack(2)

	if err := api.NameDevice(t.Context(), "phone", "My phone"); err != nil {
		t.Fatal(err)
	}
	if err := tabletAPI.SetPush(t.Context(), "tablet", "fcm", "where"); err != nil {
		t.Fatal(err)
	}
	if err := api.SetPush(t.Context(), "tablet", "fcm", "mine"); codeOf(err) != im.Forbidden {
		t.Errorf("waking another device: %v", err)
	}
	if err := bobAPI.SignOutDevice(t.Context(), "tablet"); codeOf(err) != im.NotFound {
		t.Errorf("signing another user's device out: %v", err)
	}
	devices := map[string]client.Device{}
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := api.Devices(t.Context(), cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			d.CreatedAtMs = 0
			devices[d.DeviceID] = d
		}
		cursor = next
	}
	for _, want := range []client.Device{
		{DeviceID: "web", Platform: "web", Current: true},
		{DeviceID: "phone", Platform: "ios", Name: "My phone", Cursor: devices["phone"].Cursor},
		{DeviceID: "tablet", Platform: "tablet", PushProvider: "fcm"},
		{DeviceID: "desk", Platform: "desktop"},
	} {
		if devices[want.DeviceID] != want {
			t.Errorf("device %+v, want %+v", devices[want.DeviceID], want)
		}
	}

	if err := api.SignOutDevice(t.Context(), "phone"); err != nil {
		t.Fatal(err)
	}
	phone.endsWith(im.Revoked)
	again, err := s.dial(t, true, wire.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.request(wire.OpAuth, phoneAuth, wire.OpAuthReply, &imv1.AuthReply{}); codeOf(err) != im.Unauthenticated {
		t.Errorf("who was signed out comes back: %v", err)
	}
	if err := api.SignOutOthers(t.Context()); err != nil {
		t.Fatal(err)
	}
	tablet.endsWith(im.Revoked)
	desk.endsWith(im.Revoked)
	if _, _, err := tabletAPI.Devices(t.Context(), "", 0); codeOf(err) != im.Unauthenticated {
		t.Errorf("who was signed out asks: %v", err)
	}
	web.heartbeat()
	bob.heartbeat()
	left, _, err := api.Devices(t.Context(), "", 0)
	if err != nil || len(left) != 1 || left[0].DeviceID != "web" {
		t.Errorf("left are %+v (%v)", left, err)
	}

	// Signed in again, the phone has its name and goes on where it was.
	if _, reply := s.phone(t, s.tokens(users[0], "phone", "ios"), "phone"); reply.GetResumeFrom() != 2 {
		t.Errorf("it resumes from %d, want 2", reply.GetResumeFrom())
	}
	if left, _, err = api.Devices(t.Context(), "", 0); err != nil || len(left) != 2 || left[0].Name != "My phone" {
		t.Errorf("signed in are %+v (%v)", left, err)
	}
}

// A new device that begins at the newest has the conversations and their histories, and
// the inbox only from there on.
func TestANewDeviceBeginsAtTheNewest(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	bob, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	sayMany(t, bob, users[0], 0, 5)
	for _, transport := range transports {
		device := "new " + transport.name
		tokens := s.tokens(users[0], device, "web")
		auth := authOf(tokens, device, "web")
		auth.Start = "newest"
		conn, reply := s.raw(t, transport.websocket, transport.form, auth)
		if reply.GetResumeFrom() != reply.GetHead() || reply.GetHead() < 5 {
			t.Errorf("%s: it resumes from %d of %d", transport.name, reply.GetResumeFrom(), reply.GetHead())
		}
		api := s.api().WithToken(tokens.AccessToken)
		list, err := api.Conversations(t.Context(), client.ConversationQuery{})
		if err != nil || len(list.Conversations) != 1 || list.Conversations[0].Unread != int(list.Conversations[0].Head) || list.InboxHead < reply.GetHead() {
			t.Errorf("%s: the list is %+v (%v)", transport.name, list, err)
		}
		history, _, err := api.History(t.Context(), list.Conversations[0].ConversationID, client.HistoryQuery{})
		if err != nil || len(history) != int(list.Conversations[0].Head) {
			t.Errorf("%s: the history is %v (%v)", transport.name, history, err)
		}
		if _, err := bob.say(text(users[0], device, "news")); err != nil {
			t.Fatal(err)
		}
		conn.untilMessages(1)
		if got := conn.entries[0]; got.GetSeq() <= reply.GetHead() || got.GetMessage().GetContent().GetText() != "news" {
			t.Errorf("%s: the first entry is %v", transport.name, got)
		}
		conn.conn.Close()
	}
}

// A platform may have more live sessions than the others.
func TestPlatformsHaveRulesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := startHere(t, map[string]string{"session.platforms": "web=2,tablet=1", "session.per_platform": "1"})
	alice := s.users("alice")[0]
	connect := func(device, platform string, websocket bool) *raw {
		conn, _ := s.raw(t, websocket, wire.Proto, authOf(s.tokens(alice, device, platform), device, platform))
		return conn
	}
	web1, web2, phone1 := connect("w1", "web", true), connect("w2", "web", false), connect("p1", "ios", false)
	phone2 := connect("p2", "ios", true)
	phone1.endsWith(im.Replaced)
	web1.heartbeat()
	web3 := connect("w3", "web", true)
	web1.endsWith(im.Replaced)
	for _, r := range []*raw{web2, web3, phone2} {
		r.heartbeat()
	}
}
