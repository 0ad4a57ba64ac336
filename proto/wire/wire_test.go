package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

const limit = 1 << 20

var forms = []wire.Form{wire.Text, wire.Proto, wire.JSON}

// parse reads one frame of any form.
func parse(t testing.TB, form wire.Form, data []byte) wire.Frame {
	t.Helper()
	if form == wire.Text {
		frame, err := wire.ParseText(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		return frame
	}
	frame, rest, err := wire.Split(data, limit)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v, %d bytes left", data, err, len(rest))
	}
	return frame
}

// The header is what the protocol says, byte by byte.
func TestHeaderLayout(t *testing.T) {
	got := wire.AppendFrame(nil, wire.Proto, wire.OpAck, -2, []byte{8, 5})
	want := []byte{0, 0, 0, 18, 0, 16, 0, 2, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfe, 8, 5}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// Names and numbers are each used once, and found again.
func TestOperations(t *testing.T) {
	seen := map[wire.Op]bool{}
	for _, row := range wire.Operations {
		if seen[row.Op] || wire.OpNamed([]byte(row.Name)) != row.Op || row.Op.String() != row.Name {
			t.Errorf("row %v", row)
		}
		seen[row.Op] = true
	}
	if wire.Op(1).String() != "unknown" || wire.OpNamed([]byte("unknown")) != 0 || wire.Op(1).SentBy(wire.Both) {
		t.Error("an operation that there is none is known")
	}
	if !wire.OpSignal.SentBy(wire.Client) || !wire.OpSignal.SentBy(wire.Server) || wire.OpSend.SentBy(wire.Server) {
		t.Error("who sends what")
	}
}

// Every body survives every form.
func TestRoundTrip(t *testing.T) {
	last := int64(0)
	bodies := map[wire.Op]wire.Body{
		wire.OpAuth:      &imv1.Auth{Token: "t", LastSeq: &last, Client: &imv1.ClientInfo{Name: "n"}},
		wire.OpSend:      &imv1.Send{ClientMsgId: "m", To: &imv1.To{To: &imv1.To_GroupId{GroupId: "g"}}, Attributes: map[string]string{"a": "b"}},
		wire.OpSendAck:   &imv1.SendAck{MessageId: math.MaxInt64, Duplicate: true},
		wire.OpAck:       &imv1.Ack{Seq: math.MinInt64},
		wire.OpDeliver:   &imv1.Deliver{Entries: []*imv1.Entry{{Seq: 1, Kind: "message", Message: &imv1.Message{Content: &imv1.Content{Text: "\x00\"\\\u2028"}}}}},
		wire.OpHeartbeat: &imv1.Heartbeat{},
	}
	for op, body := range bodies {
		for _, form := range forms {
			data, err := wire.AppendMessage([]byte("before"), form, op, 7, body)
			if err != nil {
				t.Fatal(err)
			}
			frame := parse(t, form, data[len("before"):])
			got := body.ProtoReflect().New().Interface()
			if err := wire.Unmarshal(form, frame.Body, got); err != nil || frame.Op != op || frame.Seq != 7 || !proto.Equal(got, body) {
				t.Errorf("%s in form %d: %v, %v", op, form, got, err)
			}
		}
	}
}

// JSON as the protocol has it: proto names, 64-bit numbers as strings, zero
// values left out.
func TestJSONMapping(t *testing.T) {
	data, err := wire.AppendMessage(nil, wire.Text, wire.OpSendAck, 2, &imv1.SendAck{ClientMsgId: "m", MessageId: 7190, ConversationSeq: 1})
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		t.Fatal(err)
	}
	want := `{"op":"send_ack","seq":2,"body":{"client_msg_id":"m","message_id":"7190","conversation_seq":"1"}}`
	if compact.String() != want {
		t.Errorf("got %s", compact.String())
	}
	var ack imv1.Ack
	for _, body := range []string{`{"seq":42}`, `{"seq":"42"}`, `{"seq":42,"more":{"a":[1]}}`} {
		if err := wire.Unmarshal(wire.Text, []byte(body), &ack); err != nil || ack.Seq != 42 {
			t.Errorf("%s: %v, %v", body, &ack, err)
		}
	}
}

func TestParseText(t *testing.T) {
	rows := []struct {
		in   string
		op   wire.Op
		seq  int32
		body string
		bad  bool
	}{
		{in: `{"op":"ack","seq":5,"body":{"seq":"1"}}`, op: wire.OpAck, seq: 5, body: `{"seq":"1"}`},
		{in: " {\t\"body\" : { \"a\" : \"}\\\"]\" } ,\r\n\"seq\":-5 , \"op\":\"ack\"}\n", op: wire.OpAck, seq: -5, body: `{ "a" : "}\"]" }`},
		{in: `{"o\u0070":"a\u0063k","x":[1,{"op":"send"}],"y":null,"z":1e9}`, op: wire.OpAck},
		{in: `{"seq":null,"op":"heartbeat","body":null}`, op: wire.OpHeartbeat, body: `null`},
		{in: `{"OP":"ack","Seq":3}`},
		{in: `{"op":7,"seq":3}`, seq: 3},
		{in: `{}`},
		{in: `{"seq":2147483647}`, seq: math.MaxInt32},
		{in: `{"seq":-2147483648}`, seq: math.MinInt32},
		{in: `{"seq":2147483648}`, bad: true},
		{in: `{"seq":-2147483649}`, bad: true},
		{in: `{"seq":99999999999999999999999999}`, bad: true},
		{in: `{"seq":1.0}`, bad: true},
		{in: `{"seq":"1"}`, bad: true},
		{in: `[]`, bad: true},
		{in: `"op"`, bad: true},
		{in: `{"op":"ack"`, bad: true},
		{in: `{"op":"ack"} {}`, bad: true},
		{in: ``, bad: true},
		{in: "{\"op\":\"\xff\"}", bad: true},
	}
	for _, r := range rows {
		frame, err := wire.ParseText([]byte(r.in))
		if r.bad {
			if !errors.Is(err, wire.ErrText) || frame.Seq != 0 {
				t.Errorf("%s: %v, %v", r.in, frame, err)
			}
			continue
		}
		if err != nil || frame.Op != r.op || frame.Seq != r.seq || string(frame.Body) != r.body {
			t.Errorf("%s: %d %d %s, %v", r.in, frame.Op, frame.Seq, frame.Body, err)
		}
	}
}

// What a client may not send on: it could not be shown in JSON.
func TestUnmarshalRefuses(t *testing.T) {
	values := map[string]*structpb.Value{
		"not a number": structpb.NewNumberValue(math.NaN()),
		"infinite":     structpb.NewNumberValue(math.Inf(-1)),
		"nothing":      {},
	}
	for name, v := range values {
		for _, nest := range []func(*structpb.Value) *structpb.Value{
			func(v *structpb.Value) *structpb.Value { return v },
			func(v *structpb.Value) *structpb.Value {
				return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
			},
		} {
			send := &imv1.Send{Content: &imv1.Content{Data: &structpb.Struct{Fields: map[string]*structpb.Value{"a": nest(v)}}}}
			data, err := proto.Marshal(send)
			if err != nil {
				t.Fatal(err)
			}
			if wire.Unmarshal(wire.Proto, data, &imv1.Send{}) == nil {
				t.Errorf("%s is taken", name)
			}
		}
	}
	if wire.Unmarshal(wire.Proto, []byte{0x0a, 1, 0xff}, &imv1.Send{}) == nil {
		t.Error("text that is not UTF-8 is taken")
	}
}

// Spliced entries are what an encoder would have written.
func TestSplice(t *testing.T) {
	entries := []*imv1.Entry{
		{Kind: "message", HasRead: true, Message: &imv1.Message{MessageId: 3, Content: &imv1.Content{Text: "a"}}},
		{},
		{Kind: "profile", Profile: &imv1.Profile{}},
	}
	for _, form := range forms {
		frame := wire.BeginDeliver(nil, form)
		want := &imv1.Deliver{B3: "a-b-1"}
		for i, e := range entries {
			seq := int64(1) << (20 * i)
			body, err := proto.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			if form != wire.Proto {
				if body, err = wire.EntryJSON(body); err != nil {
					t.Fatal(err)
				}
			}
			frame = wire.SpliceEntry(frame, form, seq, body)
			stamped := proto.CloneOf(e)
			stamped.Seq = seq
			want.Entries = append(want.Entries, stamped)
		}
		frame = wire.EndDeliver(frame, 0, form, want.B3)
		var got imv1.Deliver
		parsed := parse(t, form, frame)
		if err := wire.Unmarshal(form, parsed.Body, &got); err != nil || parsed.Op != wire.OpDeliver || !proto.Equal(&got, want) {
			t.Errorf("form %d: %v, %v", form, &got, err)
		}
	}
}

// A trace that is none is left out, rather than breaking the frame.
func TestB3(t *testing.T) {
	for _, b3 := range []string{"", `"}`, strings.Repeat("a", 81), "a b"} {
		for _, form := range forms {
			frame := wire.EndDeliver(wire.SpliceEntry(wire.BeginDeliver(nil, form), form, 1, entryIn(form)), 0, form, b3)
			var d imv1.Deliver
			if err := wire.Unmarshal(form, parse(t, form, frame).Body, &d); err != nil || d.B3 != "" || len(d.Entries) != 1 {
				t.Errorf("%q in form %d: %v, %v", b3, form, &d, err)
			}
		}
	}
}

func entryIn(form wire.Form) []byte {
	if form == wire.Proto {
		return nil
	}
	return []byte("{}")
}

// An entry of old that JSON can not say is shown without what it says.
func TestEntryJSONFallsBack(t *testing.T) {
	e := &imv1.Entry{Seq: 4, Kind: "message", Message: &imv1.Message{MessageId: 9, Content: &imv1.Content{Text: "\xff"}}}
	bad, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	out, err := wire.EntryJSON(bad)
	var got imv1.Entry
	if err != nil || wire.Unmarshal(wire.JSON, out, &got) != nil || got.Seq != 4 || got.Message.MessageId != 9 || got.Message.Content != nil {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := wire.EntryJSON([]byte{0xff}); err == nil {
		t.Error("decoded garbage")
	}
}

// A page is cut to what a frame may hold, never below one entry.
func TestSyncReply(t *testing.T) {
	var entries [][]byte
	for seq := int64(1); seq <= 50; seq++ {
		e, err := proto.Marshal(&imv1.Entry{Seq: seq, Kind: "message", Message: &imv1.Message{ClientMsgId: strings.Repeat("x", 100)}})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	for _, form := range forms {
		for _, most := range []int{1, 2000, limit} {
			tail := &imv1.SyncReply{Head: 50, InboxEpoch: "e"}
			frame, err := wire.AppendSyncReply(nil, form, 3, slices.Clone(entries), tail, most)
			if err != nil {
				t.Fatal(err)
			}
			var got imv1.SyncReply
			if err := wire.Unmarshal(form, parse(t, form, frame).Body, &got); err != nil {
				t.Fatal(err)
			}
			n := len(got.Entries)
			if n == 0 || got.Entries[n-1].Seq != int64(n) || got.HasMore != (n < 50) || got.Head != 50 || got.InboxEpoch != "e" {
				t.Errorf("form %d, at most %d: %d entries, more %t", form, most, n, got.HasMore)
			}
			if most > 1 && len(frame) > most || most == limit && n != 50 || most == 1 && n != 1 {
				t.Errorf("form %d, at most %d: %d bytes, %d entries", form, most, len(frame), n)
			}
		}
		empty, err := wire.AppendSyncReply(nil, form, 3, nil, &imv1.SyncReply{}, limit)
		var got imv1.SyncReply
		if err != nil || wire.Unmarshal(form, parse(t, form, empty).Body, &got) != nil || len(got.Entries) != 0 {
			t.Errorf("an empty page in form %d: %s, %v", form, empty, err)
		}
	}
}
