package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// What splits is written again as it was, but for longer headers.
func FuzzSplit(f *testing.F) {
	f.Add(wire.AppendFrame(nil, wire.Proto, wire.OpAck, 1, []byte{8, 1}))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 18, 0, 18, 0, 2, 0, 0, 0, 16, 0, 0, 0, 1, 9, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		for rest := data; len(rest) > 0; {
			frame, next, err := wire.Split(rest, 65536)
			if err != nil {
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("nothing is taken off")
			}
			again, left, err := wire.Split(wire.AppendFrame(nil, frame.Form, frame.Op, frame.Seq, frame.Body), limit)
			if err != nil || len(left) > 0 || again.Op != frame.Op || again.Seq != frame.Seq || !bytes.Equal(again.Body, frame.Body) {
				t.Fatalf("%v became %v, %v", frame, again, err)
			}
			rest = next
		}
	})
}

// ParseText agrees with encoding/json on what is there.
func FuzzParseText(f *testing.F) {
	f.Add([]byte(`{"op":"send","seq":2,"body":{"a":["}",{"b":"\\\""}]}}`))
	f.Add([]byte(`{"op":"a\u0063k","seq":-1, "x": 1.5e3 }`))
	f.Add([]byte(`[{"op":1}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := wire.ParseText(data)
		if err != nil {
			return
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatalf("parsed %q, which is none: %v", data, err)
		}
		if body := object["body"]; !bytes.Equal(body, frame.Body) {
			t.Fatalf("body %q, want %q", frame.Body, body)
		}
		var seq int32
		if raw := object["seq"]; raw != nil && (json.Unmarshal(raw, &seq) != nil || seq != frame.Seq) {
			t.Fatalf("seq %d, want %s", frame.Seq, raw)
		}
	})
}

// Whatever a client sends, what is taken can be shown in every form.
func FuzzSend(f *testing.F) {
	f.Add([]byte(`{"client_msg_id":"m","to":{"user_id":"u"},"content":{"type":"text","data":{"a":[1,null]}}}`), false)
	f.Add([]byte{0x0a, 1, 'm', 0x22, 4, 0x1a, 2, 0x0a, 0}, true)
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		form := wire.JSON
		if binary {
			form = wire.Proto
		}
		var send imv1.Send
		if wire.Unmarshal(form, body, &send) != nil {
			return
		}
		for _, form := range forms {
			data, err := wire.AppendMessage(nil, form, wire.OpSend, 1, &send)
			if err != nil {
				t.Fatalf("form %d can not say %v: %v", form, &send, err)
			}
			var again imv1.Send
			if err := wire.Unmarshal(form, parse(t, form, data).Body, &again); err != nil || !proto.Equal(&again, &send) {
				t.Fatalf("form %d: %v became %v, %v", form, &send, &again, err)
			}
		}
	})
}

// Any stored entry becomes JSON, or is refused as not decodable.
func FuzzEntryJSON(f *testing.F) {
	seed, _ := proto.Marshal(&imv1.Entry{Seq: 1, Kind: "message", Message: &imv1.Message{Content: &imv1.Content{Text: "a"}}})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, entry []byte) {
		out, err := wire.EntryJSON(entry)
		if err != nil {
			return
		}
		frame := wire.EndDeliver(wire.SpliceEntry(wire.BeginDeliver(nil, wire.Text), wire.Text, 5, out), 0, wire.Text, "")
		if !json.Valid(frame) {
			t.Fatalf("%x became %s", entry, frame)
		}
	})
}
