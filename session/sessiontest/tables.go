package sessiontest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/im-transfer/im"
	imv1 "github.com/im-transfer/im/proto/im/v1"
	"github.com/im-transfer/im/proto/wire"
)

// header returns a frame with any header fields over a body of n zero bytes.
func header(packet, length, version, op, seq, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(packet)) //nolint:gosec // any bits
	b = binary.BigEndian.AppendUint16(b, uint16(length))    //nolint:gosec // any bits
	b = binary.BigEndian.AppendUint16(b, uint16(version))   //nolint:gosec // any bits
	b = binary.BigEndian.AppendUint32(b, uint32(op))        //nolint:gosec // any bits
	b = binary.BigEndian.AppendUint32(b, uint32(seq))       //nolint:gosec // any bits
	return append(b, make([]byte, n)...)
}

func (s *suite) frame(op wire.Op, seq int32, body wire.Body) []byte {
	data, err := wire.AppendMessage(nil, s.form, op, seq, body)
	if err != nil {
		panic(err) // the tables' own
	}
	return data
}

func (s *suite) rawFrame(op wire.Op, seq int32, body string) []byte {
	if s.form == wire.Text && body == "" {
		body = "{}"
	}
	return wire.AppendFrame(nil, s.form, op, seq, []byte(body))
}

func auth(token, device, platform string) *imv1.Auth {
	return &imv1.Auth{Token: token, DeviceId: device, Platform: platform}
}

const (
	unauthenticated = "disconnect 0 unauthenticated\nclosed"
	protocolError   = "disconnect 0 protocol_error\nclosed"
	version         = "disconnect 0 version\nclosed"
)

func (s *suite) firstFrame(t *testing.T) {
	good := Token("ann", "d1", "web", 0)
	badBody := s.rawFrame(wire.OpAuth, 3, "\xff\xff")
	if s.form == wire.Text {
		badBody = []byte(`{"op":"auth","seq":3,"body":{"token":5}}`)
	}
	later := &imv1.Auth{Token: good, DeviceId: "d1", Platform: "web", Protocol: -1}
	early := &imv1.Auth{Token: good, DeviceId: "d1", Platform: "web", Start: "middle"}
	s.rows(t, false, []row{
		{"a heartbeat", [][]byte{s.frame(wire.OpHeartbeat, 5, &imv1.Heartbeat{})}, unauthenticated},
		{"an operation that there is none", [][]byte{s.rawFrame(99, 5, "")}, "error 5 invalid\n" + unauthenticated},
		{"a wrong token", [][]byte{s.frame(wire.OpAuth, 3, auth("?", "d1", "web"))}, "error 3 unauthenticated\n" + unauthenticated},
		{"another device", [][]byte{s.frame(wire.OpAuth, 3, auth(good, "d2", "web"))}, "error 3 forbidden\n" + unauthenticated},
		{"another platform", [][]byte{s.frame(wire.OpAuth, 3, auth(good, "d1", "ios"))}, "error 3 forbidden\n" + unauthenticated},
		{"an unknown platform", [][]byte{s.frame(wire.OpAuth, 3, auth(good, "d1", "toaster"))}, "error 3 invalid\n" + unauthenticated},
		{"no device", [][]byte{s.frame(wire.OpAuth, 3, auth(good, "", "web"))}, "error 3 invalid\n" + unauthenticated},
		{"an unknown start", [][]byte{s.frame(wire.OpAuth, 3, early)}, "error 3 invalid\n" + unauthenticated},
		{"a bad body", [][]byte{badBody}, "error 3 invalid\n" + unauthenticated},
		{"no version in common", [][]byte{s.frame(wire.OpAuth, 3, later)}, version},
	})
}

func (s *suite) framing(t *testing.T) {
	if s.binary() {
		s.binaryFraming(t)
		return
	}
	big := []byte(`{"op":"heartbeat","seq":1,"pad":"` + strings.Repeat("x", im.MaxClientFrameBytes-34-1) + `"}`)
	s.rows(t, true, []row{
		{"an empty message", [][]byte{{}}, protocolError},
		{"no JSON", [][]byte{[]byte("hello")}, "error 0 invalid"},
		{"half JSON", [][]byte{[]byte(`{"op":"heartbeat","seq":9`)}, "error 0 invalid"},
		{"no object", [][]byte{[]byte(`[{"op":"heartbeat","seq":9}]`)}, "error 0 invalid"},
		{"no UTF-8", [][]byte{[]byte("{\"op\":\"\xff\",\"seq\":9}")}, "error 0 invalid"},
		{"a seq that is no int32", [][]byte{[]byte(`{"op":"heartbeat","seq":2147483648}`)}, "error 0 invalid"},
		{"the least seq", [][]byte{[]byte(`{"op":"heartbeat","seq":-2147483648}`)}, "heartbeat_reply -2147483648"},
		{"no op", [][]byte{[]byte(`{"seq":9}`)}, "error 9 invalid"},
		{"a body of another kind", [][]byte{[]byte(`{"op":"ack","seq":9,"body":7}`)}, "error 9 invalid"},
		{"fields left out", [][]byte{[]byte(` { "op" : "heartbeat" } `)}, "heartbeat_reply 0"},
		{"more than the largest", [][]byte{append(big, ' ')}, protocolError},
	})
	c := s.live(t)
	c.Raw(big)
	c.Expect("heartbeat_reply 1", nil)
}

func (s *suite) binaryFraming(t *testing.T) {
	v, other := int(s.form), int(wire.Proto+wire.JSON-s.form)
	for _, login := range []bool{false, true} {
		t.Run(fmt.Sprintf("login=%t", login), func(t *testing.T) {
			s.rows(t, login, []row{
				{"garbage", [][]byte{[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}, protocolError},
				{"a negative length", [][]byte{header(-1, 16, v, 2, 1, 0)}, protocolError},
				{"a giant length", [][]byte{header(1<<31-1, 16, v, 2, 1, 0)}, protocolError},
				{"one byte too large", [][]byte{header(im.MaxClientFrameBytes+1, 16, v, 2, 1, im.MaxClientFrameBytes+1-16)}, protocolError},
				{"a length of nothing", [][]byte{header(0, 16, v, 2, 1, 0)}, protocolError},
				{"a length below the header's", [][]byte{header(15, 16, v, 2, 1, 0)}, protocolError},
				{"a short header", [][]byte{header(16, 15, v, 2, 1, 0)}, protocolError},
				{"a negative header", [][]byte{header(16, -16, v, 2, 1, 0)}, protocolError},
				{"a header beyond the frame", [][]byte{header(17, 18, v, 2, 1, 1)}, protocolError},
				{"version 1", [][]byte{header(16, 16, 1, 2, 1, 0)}, version},
				{"version 0", [][]byte{header(16, 16, 0, 2, 1, 0)}, version},
				{"version 4", [][]byte{header(16, 16, 4, 2, 1, 0)}, version},
			})
		})
	}
	largest := header(im.MaxClientFrameBytes, 32767, v, 99, 4, im.MaxClientFrameBytes-16)
	s.rows(t, true, []row{
		{"another form", [][]byte{header(16, 16, other, 2, 1, 0)}, protocolError},
		{"a longer header", [][]byte{header(20, 20, v, 2, 6, 4)}, "heartbeat_reply 6"},
		{"the largest frame", [][]byte{largest}, "error 4 invalid"},
		{"two frames at once", [][]byte{append(header(16, 16, v, 2, 6, 0), header(16, 16, v, 2, 7, 0)...)}, "heartbeat_reply 6\nheartbeat_reply 7"},
	})
	if !s.Messages {
		return
	}
	s.rows(t, true, []row{
		{"an empty message", [][]byte{{}}, protocolError},
		{"half a frame", [][]byte{header(20, 16, v, 2, 6, 0)}, protocolError},
		{"half a header", [][]byte{header(16, 16, v, 2, 6, 0)[:9]}, protocolError},
		{"a frame and a half", [][]byte{append(header(16, 16, v, 2, 6, 0), 0, 0)}, "heartbeat_reply 6\n" + protocolError},
	})
}

func (s *suite) operations(t *testing.T) {
	bad := "\xff\xff"
	if s.form == wire.Text {
		bad = `{"client_msg_id":{}}`
	}
	deep := structpb.NewNullValue()
	for range 200 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	nested := &imv1.Send{Content: &imv1.Content{Data: &structpb.Struct{Fields: map[string]*structpb.Value{"a": deep}}}}
	negative := int64(-1)
	rows := []row{
		{"unknown", [][]byte{s.rawFrame(99, 4, "")}, "error 4 invalid"},
		{"reserved", [][]byte{s.rawFrame(23, 4, "")}, "error 4 invalid"},
		{"a deliver", [][]byte{s.frame(wire.OpDeliver, 4, &imv1.Deliver{})}, "error 4 invalid"},
		{"a send_ack", [][]byte{s.frame(wire.OpSendAck, 4, &imv1.SendAck{})}, "error 4 invalid"},
		{"a disconnect", [][]byte{s.frame(wire.OpDisconnect, -4, &imv1.Disconnect{})}, "error -4 invalid"},
		{"a bad send", [][]byte{s.rawFrame(wire.OpSend, 4, bad)}, "error 4 invalid"},
		{"data too deep", [][]byte{s.frame(wire.OpSend, 4, nested)}, "error 4 invalid"},
		{"a sync below nothing", [][]byte{s.frame(wire.OpSync, 4, &imv1.Sync{After: &negative})}, "error 4 invalid"},
		{"a negative limit", [][]byte{s.frame(wire.OpSync, 4, &imv1.Sync{Limit: -1})}, "error 4 invalid"},
		{"a sync", [][]byte{s.frame(wire.OpSync, 0, &imv1.Sync{})}, "sync_reply 0"},
		{"a negative ack", [][]byte{s.frame(wire.OpAck, 4, &imv1.Ack{Seq: -1})}, "error 4 invalid"},
		{"an ack without a sequence", [][]byte{s.frame(wire.OpAck, 0, &imv1.Ack{})}, ""},
		{"an ack with one", [][]byte{s.frame(wire.OpAck, 4, &imv1.Ack{})}, "ack_reply 4"},
		{"an ack above the head", [][]byte{s.frame(wire.OpAck, 0, &imv1.Ack{Seq: 5})}, protocolError},
		{"a join", [][]byte{s.frame(wire.OpJoin, 4, &imv1.Join{RoomId: "r"})}, "error 4 not_found"},
		{"a leave", [][]byte{s.frame(wire.OpLeave, 4, &imv1.Leave{RoomId: "r"})}, "error 4 not_found"},
		{"a watch", [][]byte{s.frame(wire.OpWatch, 4, &imv1.Watch{})}, "watch_reply 4"},
		{"a watch of no id", [][]byte{s.frame(wire.OpWatch, 4, &imv1.Watch{UserIds: []string{""}})}, "error 4 invalid"},
		{"a signal of no type", [][]byte{s.frame(wire.OpSignal, 4, &imv1.Signal{})}, "error 4 invalid"},
		{"a read", [][]byte{s.frame(wire.OpRead, 4, &imv1.Read{ConversationId: "c", Upto: 3})}, "read_reply 4"},
		{"a send to nobody", [][]byte{s.frame(wire.OpSend, 4, &imv1.Send{ClientMsgId: "m"})}, "error 4 not_found"},
	}
	s.rows(t, true, rows)
}
