package bench

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/im-transfer/im/check"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

var forms = []wire.Form{wire.Proto, wire.JSON, wire.Text}

func sampleDeliver() *imv1.Deliver {
	return &imv1.Deliver{B3: "0-0", Entries: []*imv1.Entry{
		{Seq: 1 << 40, Kind: "message", AtMs: 5, HasRead: true, Message: &imv1.Message{
			MessageId: 1<<62 + 7, ConversationId: "d1", ConversationType: "direct", ConversationSeq: 9, SenderId: "an\"n\\",
			Content:    &imv1.Content{Type: "text", Text: "a \"quoted\" \\ [line] {with} ümlauts\n", Mentions: []string{"all"}},
			Attributes: map[string]string{"text": "not this one", "b": "}"}, Version: 1, ClientMsgId: "x",
		}},
		{Seq: 2, Kind: "receipt", Receipt: &imv1.Receipt{ConversationId: "d2", UserId: "bob", Kind: "delivered", Upto: 3}},
		{Seq: 3, Kind: "message", Message: &imv1.Message{MessageId: 4, Recalled: true}},
		{Seq: 4, Kind: "message", Message: &imv1.Message{MessageId: 5, EditedAtMs: 1}},
		{Seq: 5, Kind: "something new"},
	}}
}

func TestScanningSeesWhatDecodingSees(t *testing.T) {
	for _, form := range forms {
		body, err := wire.AppendBody(nil, form, sampleDeliver())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := scannerOf(form).deliver(body, func(e *entry) { got = append(got, describe(e)) }); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, e := range sampleDeliver().Entries {
			want = append(want, describe(decoded(e)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("form %d:\n%q\n%q", form, got, want)
		}
	}
}

func describe(e *entry) string {
	return fmt.Sprintf("%d %s %d %s %d %s %s %t %s %d", e.seq, e.kind, e.messageID, e.conversation, e.conversationSeq,
		e.sender, e.text, e.edited, e.receiptKind, e.upto)
}

func decoded(e *imv1.Entry) *entry {
	out := &entry{seq: e.Seq, kind: []byte(e.Kind)}
	if m := e.Message; m != nil {
		out.messageID, out.conversation, out.conversationSeq = m.MessageId, []byte(m.ConversationId), m.ConversationSeq
		out.sender, out.text = []byte(m.SenderId), []byte(m.GetContent().GetText())
		out.edited = m.Recalled || m.Deleted || m.EditedAtMs != 0
	}
	if r := e.Receipt; r != nil {
		out.conversation, out.sender, out.receiptKind, out.upto = []byte(r.ConversationId), []byte(r.UserId), []byte(r.Kind), r.Upto
	}
	return out
}

func TestScanningAnAnswer(t *testing.T) {
	ack := &imv1.SendAck{ClientMsgId: "c", MessageId: 1 << 61, ConversationId: "d", ConversationSeq: 12, SentAtMs: 4, Duplicate: true}
	for _, form := range forms {
		body, err := wire.AppendBody(nil, form, ack)
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := scannerOf(form).sendAck(body, &a); err != nil {
			t.Fatal(err)
		}
		if string(a.clientID) != "c" || a.messageID != 1<<61 || string(a.conversation) != "d" || a.conversationSeq != 12 || !a.duplicate {
			t.Errorf("form %d: %+v", form, a)
		}
	}
}

// What a broken server sends must not end the generator in a panic.
func FuzzScanners(f *testing.F) {
	for _, form := range forms {
		body, _ := wire.AppendBody(nil, form, sampleDeliver())
		f.Add(body)
		f.Add(body[:len(body)/2])
	}
	f.Add([]byte(`{"entries":["\\"]}`))
	f.Add([]byte(`{"op":"deliver","seq":1,"body":{}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		for _, s := range []scanner{protoScanner{}, jsonScanner{}} {
			var a answer
			_ = s.deliver(data, func(*entry) {})
			_ = s.room(wire.OpRoomDeliver, data, &roomPart{}, func(*entry) {})
			_ = s.room(wire.OpJoinReply, data, &roomPart{}, func(*entry) {})
			_ = s.sendAck(data, &a)
		}
		_, _ = scanText(data)
		_, _ = parseTag(data)
		_, _, _, _ = splitWebSocket(data, 1<<20)
	})
}

func TestASendFrameSaysWhatWasPutIntoIt(t *testing.T) {
	to := &imv1.To{To: &imv1.To_UserId{UserId: "bob"}}
	for _, form := range forms {
		for _, named := range []bool{false, true} {
			clientID, text := newClientID(0xabcdef01, 0x123456), newText(0xabcdef01, 0x123456, 128)
			template, err := newFrameTemplate(form, false, clientID, to, text, named)
			if err != nil {
				t.Fatal(err)
			}
			data, hash := template.append(nil, 77, 76, time.Second, "ann")

			var frame wire.Frame
			if form == wire.Text {
				frame, err = wire.ParseText(data)
			} else {
				frame, _, err = wire.Split(data, 1<<16)
			}
			if err != nil || frame.Seq != firstSequence+77 || frame.Op != wire.OpSend {
				t.Fatalf("%v %+v", err, frame)
			}
			var send imv1.Send
			if err := wire.Unmarshal(form, frame.Body, &send); err != nil {
				t.Fatal(err)
			}
			if numberOf([]byte(send.ClientMsgId)) != 77 || named != (send.After != "") || named && numberOf([]byte(send.After)) != 76 {
				t.Errorf("client_msg_id %q, after %q", send.ClientMsgId, send.After)
			}
			if named && send.After[:28] != send.ClientMsgId[:28] {
				t.Errorf("%q is not an id of the same device as %q", send.After, send.ClientMsgId)
			}
			got, ok := parseTag([]byte(send.Content.Text))
			if want := (tag{0xabcdef01, check.Key{Device: 0x123456, Number: 77}, time.Second}); !ok || got != want {
				t.Errorf("the tag says %+v", got)
			}
			if hash != check.Hash("ann", []byte(send.Content.Text)) || len(send.Content.Text) != 128 {
				t.Error("the hash is of another text")
			}
		}
	}
}

func TestFramesSurviveAnySplit(t *testing.T) {
	var stream []byte
	for i := range 20 {
		frame, err := wire.AppendMessage(nil, wire.Proto, wire.OpHeartbeatReply, int32(i), &imv1.HeartbeatReply{Head: 1 << (3 * i)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 7 { // a message in fragments, with a ping between them
			stream = append(append(stream, opcodeBinary, 10), frame[:10]...)
			stream = append(stream, finalFragment|opcodePing, 2, 'h', 'i')
			stream = append(append(stream, finalFragment|opcodeContinuation, byte(len(frame)-10)), frame[10:]...)
			continue
		}
		stream = append(append(stream, finalFragment|opcodeBinary, byte(len(frame))), frame...)
	}
	for step := 1; step < 60; step++ {
		c := &conn{form: wire.Proto, webSocket: true, in: make([]byte, 16)}
		var got []int32
		for rest := stream; len(rest) > 0; {
			n := copy(c.in[c.held:], rest[:min(step, len(rest))])
			rest = rest[n:]
			c.held += n
			if err := c.frames(func(f wire.Frame) error {
				got = append(got, f.Seq)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 20 || !slices.IsSorted(got) {
			t.Fatalf("by %d bytes: %v", step, got)
		}
		if !bytes.Contains(c.out, []byte("hi")) {
			t.Fatal("the ping was not answered")
		}
	}
}

func TestAMalformedStreamIsAnError(t *testing.T) {
	for name, stream := range map[string][]byte{
		"masked":        {0x82, 0x81, 0, 0, 0, 0, 1},
		"too long":      {0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0},
		"another form":  append([]byte{0x82, 16}, wire.AppendHeader(nil, wire.JSON, wire.OpDeliver, 0, 0)...),
		"partial frame": {0x82, 3, 0, 0, 0},
	} {
		c := &conn{form: wire.Proto, webSocket: true, in: stream, held: len(stream)}
		if err := c.frames(func(wire.Frame) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (jsonScanner{}).sendAck([]byte(`{"a":`), &answer{}); !errors.Is(err, errBody) {
		t.Error(err)
	}
}
