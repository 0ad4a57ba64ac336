package transfer_test

import (
	"context"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAMessageReachesBothMembersInOrder(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	for i := range 3 {
		ack := g.send("alice", text("bob", fmt.Sprint("m", i), "", "hello")).GetSendAck()
		if ack.GetConversationSeq() != int64(i+1) || ack.Duplicate || ack.MessageId == 0 {
			t.Fatalf("ack %d = %v", i, ack)
		}
	}
	got := map[uint64][]*imv1.Entry{}
	for range 6 {
		p := recv(t, g.pushes)
		got[p.session] = append(got[p.session], p.entry)
	}
	for session, entries := range got {
		for i, e := range entries {
			if e.Seq != int64(i+1) || e.Message.ConversationSeq != int64(i+1) || e.Message.Content.Text != "hello" {
				t.Errorf("session %d entry %d = %v", session, i, e)
			}
			if own := session == 1; own != (e.Message.ClientMsgId != "") {
				t.Errorf("client_msg_id is for the sender's own copies only: %v", e)
			}
		}
	}
}

func TestARetryIsAnsweredWithTheOriginal(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	first := g.send("alice", text("bob", "m1", "", "hello")).GetSendAck()
	again := g.send("alice", text("bob", "m1", "", "hello")).GetSendAck()
	if !again.GetDuplicate() || again.MessageId != first.MessageId || again.ConversationSeq != 1 {
		t.Errorf("retry = %v, want %v as a duplicate", again, first)
	}
	if c := code(g.send("alice", text("bob", "m1", "", "other"))); c != "conflict" {
		t.Errorf("other content = %q, want conflict", c)
	}
	w.restart()
	g = w.gate()
	if late := g.send("alice", text("bob", "m1", "", "hello")).GetSendAck(); late.GetMessageId() != first.MessageId || !late.Duplicate {
		t.Errorf("retry after a restart = %v, want %v", late, first)
	}
	if c := code(g.send("alice", text("bob", "m1", "", "other"))); c != "conflict" {
		t.Errorf("other content after a restart = %q, want conflict", c)
	}
	if next := g.send("alice", text("bob", "m2", "m1", "hello")).GetSendAck(); next.GetConversationSeq() != 2 {
		t.Errorf("next = %v, want seq 2", next)
	}
}

func TestAfterKeepsTheOrder(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	if c := code(g.send("alice", text("bob", "m2", "m1", "two"))); c != "out_of_order" {
		t.Errorf("unknown predecessor = %q", c)
	}
	if c := code(g.send("alice", text("bob", "m1", "", "one"))); c != "" {
		t.Errorf("first = %q", c)
	}
	if ack := g.send("alice", text("bob", "m2", "m1", "two")).GetSendAck(); ack.GetConversationSeq() != 2 {
		t.Errorf("resent = %v", ack)
	}
	// What is stored is answered, whatever its predecessor is called now.
	if ack := g.send("alice", text("bob", "m2", "never", "two")).GetSendAck(); !ack.GetDuplicate() {
		t.Errorf("repeat with another after = %v", ack)
	}
}

func TestARefusedPredecessorRefusesItsSuccessors(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	for _, send := range []*imv1.Send{text("bob", "b", "a", "x"), text("bob", "c", "b", "x"), text("bob", "d", "c", "x"), text("bob", "e", "", "x")} {
		g.post("alice", send)
	}
	codes := map[uint64]string{}
	for range 4 {
		r := recv(t, g.replies)
		codes[r.Request] = code(r)
	}
	want := map[uint64]string{1: "out_of_order", 2: "out_of_order", 3: "out_of_order", 4: ""}
	for request, c := range want {
		if codes[request] != c {
			t.Errorf("request %d = %q, want %q", request, codes[request], c)
		}
	}
}

func TestWhatAcceptRefuses(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	long := make([]byte, 61<<10)
	for i := range long {
		long[i] = 'x'
	}
	many := map[string]string{}
	for i := range 17 {
		many[fmt.Sprint(i)] = "v"
	}
	with := func(change func(*imv1.Send)) *imv1.Send {
		send := text("bob", "id", "", "hello")
		change(send)
		return send
	}
	for name, c := range map[string]struct {
		send *imv1.Send
		code im.Code
	}{
		"no client id":         {with(func(s *imv1.Send) { s.ClientMsgId = "" }), im.Invalid},
		"client id too long":   {with(func(s *imv1.Send) { s.ClientMsgId = string(long[:65]) }), im.Invalid},
		"no receiver":          {with(func(s *imv1.Send) { s.To = nil }), im.Invalid},
		"no content":           {with(func(s *imv1.Send) { s.Content = nil }), im.Invalid},
		"unknown type":         {with(func(s *imv1.Send) { s.Content.Type = "smell" }), im.Invalid},
		"empty text":           {with(func(s *imv1.Send) { s.Content.Text = "" }), im.Invalid},
		"too large":            {with(func(s *imv1.Send) { s.Content.Text = string(long) }), im.TooLarge},
		"too many attributes":  {with(func(s *imv1.Send) { s.Attributes = many }), im.Invalid},
		"bad UTF-8":            {with(func(s *imv1.Send) { s.Content.Text = "\xff" }), im.Invalid},
		"unknown user":         {text("carol", "id", "", "hello"), im.NotFound},
		"unknown conversation": {with(func(s *imv1.Send) { s.To.To = &imv1.To_ConversationId{ConversationId: im.DirectConversation("x", "y")} }), im.NotFound},
		"no conversation id":   {with(func(s *imv1.Send) { s.To.To = &imv1.To_ConversationId{ConversationId: "nonsense"} }), im.NotFound},
		"unknown group":        {with(func(s *imv1.Send) { s.To.To = &imv1.To_GroupId{GroupId: "g"} }), im.NotFound},
	} {
		if got := code(g.send("alice", c.send)); got != string(c.code) {
			t.Errorf("%s = %q, want %q", name, got, c.code)
		}
	}
	if ack := g.send("alice", text("bob", "id", "", "hello")).GetSendAck(); ack.GetConversationSeq() != 1 {
		t.Errorf("after the refusals: %v", ack)
	}
}

func TestOneselfGetsOneEntry(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.send("alice", text("alice", "m1", "", "note"))
	if p := recv(t, g.pushes); p.entry.Seq != 1 {
		t.Errorf("push = %v", p)
	}
	if a := g.attach(2, "alice", "d2"); a.Head != 1 {
		t.Errorf("head = %d, want 1", a.Head)
	}
}

func TestAnOfflineUserPullsWhatWasMissed(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	for i := range 120 {
		g.send("alice", text("bob", fmt.Sprint(i), "", fmt.Sprint(i)))
	}
	for range 120 {
		recv(t, g.pushes)
	}
	// What is not in bob's inbox yet when he attaches is pushed.
	for at := g.attach(2, "bob", "d1").Head; at < 120; at++ {
		if p := recv(t, g.pushes); p.session != 2 || p.entry.Seq != at+1 {
			t.Fatalf("push = %v after %d", p, at)
		}
	}
	client := imv1.NewTransferClient(w.conn)
	seq := int64(0)
	for {
		page, err := client.Pull(context.Background(), &imv1.PullRequest{UserId: "bob", After: &seq, Limit: 50})
		must(t, err)
		if page.Error != nil || page.TooLong {
			t.Fatalf("page = %v", page)
		}
		for _, encoded := range page.Entries {
			entry := &imv1.Entry{}
			must(t, entry.UnmarshalVT(encoded))
			if entry.Seq != seq+1 || entry.Message.Content.Text != fmt.Sprint(seq) {
				t.Fatalf("entry = %v after %d", entry, seq)
			}
			seq++
		}
		if !page.HasMore {
			break
		}
	}
	if seq != 120 {
		t.Errorf("pulled to %d", seq)
	}
	above := int64(121)
	if page, err := client.Pull(context.Background(), &imv1.PullRequest{UserId: "bob", After: &above}); err != nil || !page.TooLong {
		t.Errorf("after above the head: %v %v, want too_long", page, err)
	}
}

func TestSessionsThatTakeEachOthersPlace(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	first := g.attach(1, "alice", "d1")
	g.attach(2, "alice", "d1")
	if k := recv(t, g.kicks); k.Session != 1 || k.Code != string(im.Superseded) {
		t.Errorf("same device: %v", k)
	}
	g.attach(3, "alice", "d2")
	if k := recv(t, g.kicks); k.Session != 2 || k.Code != string(im.Replaced) {
		t.Errorf("same platform: %v", k)
	}
	// A late attach of an old generation loses against the newer one.
	must(t, w.db.PutDevice(t.Context(), im.Device{UserID: "alice", DeviceID: "d2", Platform: "web", Family: "f"}))
	g.up(&imv1.ToTransfer{Attaches: []*imv1.Attach{{
		Session: 4, UserId: "alice", DeviceId: "d2", Platform: "web", Generation: first.Generation,
	}}})
	if k := recv(t, g.kicks); k.Session != 4 || k.Code != string(im.Superseded) {
		t.Errorf("older generation: %v", k)
	}
}

func TestReadsAndReceipts(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	var conversation string
	for i := range 3 {
		conversation = g.send("alice", text("bob", fmt.Sprint(i), "", "hello")).GetSendAck().GetConversationId()
	}
	for range 6 {
		recv(t, g.pushes)
	}
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 2, UserId: "bob", DeviceId: "d1", Seq: 2}}})
	p := recv(t, g.pushes)
	if r := p.entry.Receipt; p.session != 1 || r.GetKind() != "delivered" || r.Upto != 2 || r.UserId != "bob" {
		t.Errorf("delivered receipt = %v", p)
	}
	read := g.read1("bob", conversation, 2).GetReadReply()
	if read.GetUpto() != 2 || read.Unread != 1 {
		t.Errorf("read_reply = %v, want upto 2, 1 unread", read)
	}
	for range 2 { // bob's own, alice's
		if p := recv(t, g.pushes); p.entry.Receipt.GetKind() != "read" || p.entry.Receipt.Upto != 2 {
			t.Errorf("read receipt = %v", p)
		}
	}
	if r := g.read1("bob", conversation, 1).GetReadReply(); r.GetUpto() != 2 {
		t.Errorf("a lower mark = %v, want 2", r)
	}
	if r := g.read1("bob", conversation, 99).GetReadReply(); r.GetUpto() != 3 || r.Unread != 0 {
		t.Errorf("a mark above the head = %v, want 3", r)
	}
	for range 2 { // held back by the 500 ms, then sent
		if p := recv(t, g.pushes); p.entry.Receipt.GetKind() != "read" || p.entry.Receipt.Upto != 3 {
			t.Errorf("second read receipt = %v", p)
		}
	}
	if c := code(g.read1("carol", conversation, 1)); c != "not_found" {
		t.Errorf("read by a stranger = %q", c)
	}
}

func TestAnAckAboveTheHeadIsAProtocolError(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 1, UserId: "alice", DeviceId: "d1", Seq: 1}}})
	if k := recv(t, g.kicks); k.Code != string(im.ProtocolError) {
		t.Errorf("kick = %v", k)
	}
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 9, Request: 7, UserId: "alice", DeviceId: "d1", Seq: 1, Durable: true}}})
	if r := recv(t, g.replies); code(r) != "invalid" {
		t.Errorf("over HTTP = %v", r)
	}
}

// signal has alice send a signal.
func signal(t *testing.T, g *gate, to, kind string) {
	t.Helper()
	body, err := (&imv1.Signal{To: &imv1.To{To: &imv1.To_UserId{UserId: to}}, Type: kind}).MarshalVT()
	must(t, err)
	g.up(&imv1.ToTransfer{Publishes: []*imv1.Publish{{
		Session: 1, Request: 5, UserId: "alice", DeviceId: "d1", What: &imv1.Publish_Signal{Signal: body},
	}}})
}

func TestSignalsReachMembersOnly(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	signal(t, g, "bob", "typing")
	if s := recv(t, g.signals); s.Type != "typing" || s.From.UserId != "alice" {
		t.Errorf("signal = %v", s)
	}
	signal(t, g, "bob", "presence")
	if r := recv(t, g.replies); code(r) != "invalid" {
		t.Errorf("a server's type = %v", r)
	}
	signal(t, g, "nobody", "typing")
	if r := recv(t, g.replies); code(r) != "not_found" {
		t.Errorf("to nobody = %v", r)
	}
}

func TestSignalsCanBeSwitchedOff(t *testing.T) {
	w := start(t)
	w.users("alice", "bob")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.attach(2, "bob", "d1")
	w.server.SetPolicy(transfer.Policy{RefuseSignals: true})
	signal(t, g, "bob", "typing")
	if r := recv(t, g.replies); code(r) != "forbidden" {
		t.Errorf("switched off = %v", r)
	}
	w.server.SetPolicy(transfer.Policy{})
	signal(t, g, "bob", "typing")
	if s := recv(t, g.signals); s.Type != "typing" {
		t.Errorf("switched on again = %v", s)
	}
}

func TestKickClosesLiveSessions(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	g.attach(1, "alice", "d1")
	reply, err := imv1.NewTransferClient(w.conn).Kick(context.Background(), &imv1.KickRequest{UserId: "alice", DeviceId: "d1", Code: "revoked"})
	must(t, err)
	if k := recv(t, g.kicks); reply.Closed != 1 || k.Code != "revoked" {
		t.Errorf("closed %d, kick = %v", reply.Closed, k)
	}
}

func TestRatesAreLimited(t *testing.T) {
	w := start(t, func(c *transfer.Config, _ *world) { c.Policy = transfer.Policy{SendsPerSecond: 0.01, SendBurst: 2} })
	w.users("alice", "bob")
	g := w.gate()
	n := 0
	limitedAfter := func(when string, sends int) {
		t.Helper()
		for i := range sends + 1 {
			n++
			r := g.send("alice", text("bob", fmt.Sprint(n), "", "x"))
			if limited := code(r) == "rate_limited"; limited != (i == sends) {
				t.Errorf("%s, send %d = %v", when, i, r)
			}
		}
	}
	limitedAfter("at first", 2)

	// Another policy holds for who has been limited before: the first send learns of
	// it, and a microsecond later there is another.
	w.server.SetPolicy(transfer.Policy{SendsPerSecond: 1e6, SendBurst: 1e6})
	g.send("alice", text("bob", "first", "", "x"))
	for i := range 10 {
		if r := g.send("alice", text("bob", fmt.Sprint("fast ", i), "", "x")); code(r) != "" {
			t.Errorf("under a higher limit, send %d = %v", i, r)
		}
	}
	w.server.SetPolicy(transfer.Policy{})
	if r := g.send("alice", text("bob", "free", "", "x")); code(r) != "" {
		t.Errorf("without a limit = %v", r)
	}
	w.server.SetPolicy(transfer.Policy{SendsPerSecond: 0.01, SendBurst: 1})
	limitedAfter("under a lower limit", 1)
}

func TestAnAckOverHTTPIsToldToTheLiveSession(t *testing.T) {
	w := start(t)
	w.users("alice")
	g := w.gate()
	g.attach(1, "alice", "d1")
	g.send("alice", text("alice", "m1", "", "note"))
	recv(t, g.pushes)
	g.up(&imv1.ToTransfer{Acks: []*imv1.Acked{{Session: 9, Request: 7, UserId: "alice", DeviceId: "d1", Seq: 1, Durable: true}}})
	if r := recv(t, g.replies); r.GetAckReply().GetSeq() != 1 {
		t.Errorf("ack_reply = %v", r)
	}
	if h := recv(t, g.heads); h.Session != 1 || h.Acked != 1 {
		t.Errorf("head = %v, want the session told of the ack", h)
	}
	if a := g.attach(2, "alice", "d1"); a.Acked != 1 {
		t.Errorf("attached = %v, want the cursor", a)
	}
}
