package wire_test

import (
	"math"
	"strings"
	"testing"

	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// hot is what happens for every frame of a busy session, by name. Each runs with
// buffers that are large enough.
func hot(t testing.TB) map[string]func() {
	buffer := make([]byte, 0, 4096)
	ack := &imv1.SendAck{ClientMsgId: "0198c0de-0000-7000-8000-000000000000", MessageId: 7190, ConversationSeq: 12}
	binary, err := wire.AppendMessage(nil, wire.Proto, wire.OpSendAck, 7, ack)
	if err != nil {
		t.Fatal(err)
	}
	text, err := wire.AppendMessage(nil, wire.Text, wire.OpSendAck, 7, ack)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := (&imv1.Entry{Kind: "message", Message: &imv1.Message{Content: &imv1.Content{Text: "hello"}}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	json, err := wire.EntryJSON(entry)
	if err != nil {
		t.Fatal(err)
	}
	deliver := func(form wire.Form, entry []byte) func() {
		return func() {
			b := wire.BeginDeliver(buffer, form)
			b = wire.SpliceEntry(b, form, 123456789, entry)
			b = wire.SpliceEntry(b, form, 123456790, entry)
			wire.EndDeliver(b, 0, form, "")
		}
	}
	return map[string]func(){
		"split":         func() { wire.Split(binary, 65536) }, //nolint:errcheck // measured
		"text parse":    func() { wire.ParseText(text) },      //nolint:errcheck // measured
		"frame":         func() { wire.AppendFrame(buffer, wire.Proto, wire.OpSend, 7, entry) },
		"text frame":    func() { wire.AppendFrame(buffer, wire.Text, wire.OpSend, 7, json) },
		"proto message": func() { wire.AppendMessage(buffer, wire.Proto, wire.OpSendAck, 7, ack) }, //nolint:errcheck // measured
		"proto splice":  deliver(wire.Proto, entry),
		"JSON splice":   deliver(wire.JSON, json),
		"text splice":   deliver(wire.Text, json),
	}
}

func TestNoAllocations(t *testing.T) {
	for name, f := range hot(t) {
		least := math.Inf(1)
		for range 3 { // what other goroutines allocate is counted too
			least = min(least, testing.AllocsPerRun(200, f))
		}
		if least != 0 {
			t.Errorf("%s allocates %v times", name, least)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	for name, f := range hot(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// BenchmarkBody is what must decode or reflect: a request as it comes in, an
// answer in JSON, and a message's JSON, which is made once for all its receivers.
func BenchmarkBody(b *testing.B) {
	content := &imv1.Content{Type: "text", Text: strings.Repeat("x", 128)}
	send := &imv1.Send{
		ClientMsgId: "0198c0de-0000-7000-8000-000000000000", To: &imv1.To{To: &imv1.To_UserId{UserId: "bob"}}, Content: content,
	}
	ack := &imv1.SendAck{ClientMsgId: send.ClientMsgId, MessageId: 7190, ConversationSeq: 12}
	entry, err := (&imv1.Entry{Kind: "message", Message: &imv1.Message{MessageId: 7190, SenderId: "ann", Content: content}}).MarshalVT()
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 0, 4096)
	measure := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, form := range map[string]wire.Form{"proto": wire.Proto, "JSON": wire.JSON} {
		body, err := wire.AppendBody(nil, form, send)
		if err != nil {
			b.Fatal(err)
		}
		measure("send from "+name, func() error { return wire.Unmarshal(form, body, &imv1.Send{}) })
	}
	measure("send_ack to JSON", func() error { _, err := wire.AppendBody(buffer, wire.JSON, ack); return err })
	measure("entry to JSON", func() error { _, err := wire.EntryJSON(entry); return err })
}
