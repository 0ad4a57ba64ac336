package test

import (
	"fmt"
	"testing"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

func TestEveryDeviceReceivesEverything(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	r := record(t, s)
	alice := r.device(users[0], "a-web", "web", textSocket)
	phone := r.device(users[0], "a-phone", "ios", binaryTCP)
	bob := r.device(users[1], "b", "web", nil)
	for range 10 {
		alice.say(bob.userID, 1)
		phone.say(bob.userID, 1)
		bob.say(alice.userID, 1)
	}
	phone.untilMessages(30)
	phone.close() // it misses some, the other one does not
	bob.say(alice.userID, 10)
	alice.untilMessages(40)
	late := r.device(users[0], "a-desk", "desktop", textSocket) // a new device begins at the beginning
	phone.connect()
	for _, d := range r.devices {
		d.untilMessages(40)
	}
	if late.messages[0].GetConversationSeq() != 1 {
		t.Errorf("the new device began with %v", late.messages[0])
	}
	r.judge()
}

// Each device's cursor is its own, and stored: a device that names no last_seq
// goes on behind what it has acknowledged.
func TestEveryDeviceHasItsOwnCursor(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	sender, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	web, desk := authOf(s.tokens(users[0], "web", "web"), "web", "web"), authOf(s.tokens(users[0], "desk", "desktop"), "desk", "desktop")
	onWeb, _ := s.raw(t, true, wire.Text, web)
	onDesk, _ := s.raw(t, false, wire.Proto, desk)
	sayMany(t, sender, users[0], 0, 10)
	for _, device := range []struct {
		conn *raw
		ack  int64
	}{{onWeb, 4}, {onDesk, 7}} {
		device.conn.untilMessages(10)
		if got := device.conn.ack(device.ack); got != device.ack {
			t.Errorf("acknowledged %d, the cursor in force is %d", device.ack, got)
		}
		if got := device.conn.ack(device.ack - 2); got != device.ack {
			t.Errorf("a lower ack: the cursor in force is %d, want %d", got, device.ack)
		}
		device.conn.conn.Close()
	}
	s.restart()
	for range 2 { // no session moves a cursor by itself
		onWeb, reply := s.raw(t, true, wire.JSON, web)
		if reply.GetResumeFrom() != 4 {
			t.Errorf("web resumes from %d, want 4", reply.GetResumeFrom())
		}
		onDesk, reply = s.raw(t, false, wire.JSON, desk)
		if reply.GetResumeFrom() != 7 {
			t.Errorf("desk resumes from %d, want 7", reply.GetResumeFrom())
		}
		onWeb.untilMessages(6)
		onWeb.contiguous(4)
		onDesk.untilMessages(3)
		onDesk.contiguous(7)
		onWeb.conn.Close()
		onDesk.conn.Close()
	}
}

// A cursor only rises, over sessions that follow each other closely and by whatever
// way it is acknowledged.
func TestACursorNeverFalls(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	tokens := s.tokens(users[0], "a", "ios")
	sender, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	sayMany(t, sender, users[0], 0, 30)
	for i := int64(1); i <= 10; i++ {
		phone, _ := s.phone(t, tokens, "a")
		phone.until("all entries", func() bool { return len(phone.entries) > 0 && phone.last() == 30 })
		phone.ack(3 * i)
		phone.leave()
		sender.heartbeat()
		phone, _ = s.phone(t, tokens, "a")
		if got := phone.ack(3*i - 1); got != 3*i {
			t.Errorf("acknowledged %d, then in the next session %d: in force is %d", 3*i, 3*i-1, got)
		}
		phone.leave()
	}
	s.restart()
	if _, reply := s.phone(t, tokens, "a"); reply.GetResumeFrom() != 30 {
		t.Errorf("resumes from %d, want 30", reply.GetResumeFrom())
	}
}

func TestADeviceOnTheSamePlatformReplacesTheOlder(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	first, _ := s.phone(t, s.tokens(users[0], "phone1", "ios"), "phone1")
	web, _ := s.raw(t, true, wire.Text, authOf(s.tokens(users[0], "web", "web"), "web", "web"))
	second, _ := s.phone(t, s.tokens(users[0], "phone2", "ios"), "phone2")
	first.endsWith(im.Replaced)
	bob, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	sayMany(t, bob, users[0], 0, 1)
	web.untilMessages(1)
	second.untilMessages(1)
}

func TestTheSameDeviceSupersedesItsOlderConnection(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice")
	tokens := s.tokens(users[0], "web", "web")
	var before *raw
	for _, transport := range transports {
		next, _ := s.raw(t, transport.websocket, transport.form, authOf(tokens, "web", "web"))
		if before != nil {
			before.endsWith(im.Superseded)
		}
		before = next
	}
	before.heartbeat()
}

// rival is one of many connections that authenticate at the same moment.
type rival struct {
	conn *raw
	code im.DisconnectCode
	err  error
}

// rivals has a connection for each auth say it at once. It tells who receives a
// text, and the ends of all.
func rivals(t *testing.T, s *server, auths []*imv1.Auth, news string) (got <-chan *raw, ends <-chan rival) {
	t.Helper()
	receivers, ended := make(chan *raw, len(auths)), make(chan rival, len(auths))
	start := make(chan struct{})
	defer close(start)
	for i, auth := range auths {
		conn, err := s.dial(t, i%2 == 0, wire.Proto)
		if err != nil {
			t.Fatal(err)
		}
		conn.onEntry = func(e *imv1.Entry) {
			if e.GetMessage().GetContent().GetText() == news {
				receivers <- conn
			}
		}
		go func() {
			<-start
			conn.send(wire.OpAuth, auth)
			code, err := conn.end()
			ended <- rival{conn, code, err}
		}()
	}
	return receivers, ended
}

// However many come at once: one stays. That it is live shows when it receives
// something, and goes when another one comes.
func TestManyConnectAtOnceAndOneStays(t *testing.T) {
	t.Parallel()
	s := startHere(t, nil)
	users := s.users("alice", "bob")
	bob, _ := s.phone(t, s.tokens(users[1], "b", "ios"), "b")
	const many = 24
	var same, different []*imv1.Auth
	one := authOf(s.tokens(users[0], "one", "ios"), "one", "ios")
	for i := range many + 1 {
		same = append(same, one)
		device := fmt.Sprint("device", i)
		different = append(different, authOf(s.tokens(users[0], device, "android"), device, "android"))
	}
	for i, c := range []struct {
		auths []*imv1.Auth
		code  im.DisconnectCode
	}{{same, im.Superseded}, {different, im.Replaced}} {
		got, ends := rivals(t, s, c.auths[:many], fmt.Sprint("hello ", i))
		for range many - 1 {
			if end := <-ends; end.code != c.code || end.err != nil {
				t.Errorf("ended with %q (%v), want %q", end.code, end.err, c.code)
			}
		}
		sayMany(t, bob, users[0], i, 1)
		stayed := <-got
		last, _ := s.raw(t, false, wire.JSON, c.auths[many])
		if end := <-ends; end.conn != stayed || end.code != c.code || end.err != nil {
			t.Errorf("the one that stayed ended with %q (%v), want %q", end.code, end.err, c.code)
		}
		last.heartbeat()
	}
}
