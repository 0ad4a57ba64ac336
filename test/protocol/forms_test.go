package protocol

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	imv1 "github.com/im-transfer/im/proto/im/v1"
)

// form is one of the ways to speak to a server.
type form struct {
	name      string
	websocket bool
	version   int16 // of the header; 0 = text
}

const (
	versionProto = 2
	versionJSON  = 3
)

func wsText() form   { return form{"websocket text", true, 0} }
func wsJSON() form   { return form{"websocket json", true, versionJSON} }
func wsProto() form  { return form{"websocket protobuf", true, versionProto} }
func tcpJSON() form  { return form{"tcp json", false, versionJSON} }
func tcpProto() form { return form{"tcp protobuf", false, versionProto} }

func forms() []form { return []form{wsText(), wsJSON(), wsProto(), tcpJSON(), tcpProto()} }

// first is what the server speaks before it has heard a frame.
func (f form) first() int16 {
	if f.websocket {
		return 0
	}
	return versionJSON
}

// inEvery runs a story in every form, on the same server.
func inEvery(t *testing.T, story func(t *testing.T, f form)) {
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			story(t, f)
		})
	}
}

// operation is a line of the protocol's table, written down here once more.
type operation struct {
	number int32
	name   string
	body   func() proto.Message
}

func operations() []operation {
	return []operation{
		{2, "heartbeat", func() proto.Message { return new(imv1.Heartbeat) }},
		{3, "heartbeat_reply", func() proto.Message { return new(imv1.HeartbeatReply) }},
		{4, "send", func() proto.Message { return new(imv1.Send) }},
		{5, "deliver", func() proto.Message { return new(imv1.Deliver) }},
		{6, "disconnect", func() proto.Message { return new(imv1.Disconnect) }},
		{7, "auth", func() proto.Message { return new(imv1.Auth) }},
		{8, "auth_reply", func() proto.Message { return new(imv1.AuthReply) }},
		{14, "sync", func() proto.Message { return new(imv1.Sync) }},
		{15, "sync_reply", func() proto.Message { return new(imv1.SyncReply) }},
		{16, "ack", func() proto.Message { return new(imv1.Ack) }},
		{17, "ack_reply", func() proto.Message { return new(imv1.AckReply) }},
		{18, "send_ack", func() proto.Message { return new(imv1.SendAck) }},
		{19, "error", func() proto.Message { return new(imv1.Error) }},
		{20, "read", func() proto.Message { return new(imv1.Read) }},
		{21, "read_reply", func() proto.Message { return new(imv1.ReadReply) }},
		{22, "signal", func() proto.Message { return new(imv1.Signal) }},
		{24, "join", func() proto.Message { return new(imv1.Join) }},
		{25, "join_reply", func() proto.Message { return new(imv1.JoinReply) }},
		{26, "leave", func() proto.Message { return new(imv1.Leave) }},
		{27, "leave_reply", func() proto.Message { return new(imv1.LeaveReply) }},
		{28, "watch", func() proto.Message { return new(imv1.Watch) }},
		{29, "watch_reply", func() proto.Message { return new(imv1.WatchReply) }},
		{30, "room_deliver", func() proto.Message { return new(imv1.RoomDeliver) }},
	}
}

func operationNamed(t *testing.T, name string) operation {
	t.Helper()
	for _, op := range operations() {
		if op.name == name {
			return op
		}
	}
	t.Fatalf("no operation %q", name)
	return operation{}
}

// packet is a frame with a header as one likes.
func packet(packetLength int32, headerLength, version int16, op, seq int32, rest []byte) []byte {
	frame := binary.BigEndian.AppendUint32(nil, uint32(packetLength))
	frame = binary.BigEndian.AppendUint16(frame, uint16(headerLength))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = binary.BigEndian.AppendUint32(frame, uint32(op))
	frame = binary.BigEndian.AppendUint32(frame, uint32(seq))
	return append(frame, rest...)
}

// frame is one as it should be; in text form a message.
func (f form) frame(t *testing.T, op string, seq int32, body string) []byte {
	t.Helper()
	if f.version == 0 {
		return fmt.Appendf(nil, `{"op":%q,"seq":%d,"body":%s}`, op, seq, body)
	}
	number := operationNamed(t, op).number
	encoded := f.body(t, op, body)
	return packet(int32(16+len(encoded)), 16, f.version, number, seq, encoded)
}

// body turns the JSON of a body into the form's encoding.
func (f form) body(t *testing.T, op, body string) []byte {
	t.Helper()
	if f.version != versionProto {
		return []byte(body)
	}
	m := operationNamed(t, op).body()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(body), m); err != nil {
		t.Fatalf("body of %s: %v", op, err)
	}
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// heard is a frame from the server, its body in the JSON mapping.
type heard struct {
	version int16
	op      string
	seq     int32
	body    map[string]any
	size    int
}

// parse reads the first frame of data, or the text message that it is.
func parse(data []byte, text bool) (heard, []byte, error) {
	if text {
		return parseText(data)
	}
	if len(data) < 16 {
		return heard{}, nil, fmt.Errorf("%d bytes are no frame", len(data))
	}
	size, header := int(binary.BigEndian.Uint32(data)), int(binary.BigEndian.Uint16(data[4:]))
	if header != 16 || size < header || size > len(data) {
		return heard{}, nil, fmt.Errorf("packet length %d, header length %d of %d bytes", size, header, len(data))
	}
	h := heard{version: int16(binary.BigEndian.Uint16(data[6:])), seq: int32(binary.BigEndian.Uint32(data[12:])), size: size}
	number := int32(binary.BigEndian.Uint32(data[8:]))
	for _, op := range operations() {
		if op.number != number {
			continue
		}
		h.op = op.name
		body := data[header:size]
		if h.version == versionProto {
			m := op.body()
			if err := proto.Unmarshal(body, m); err != nil {
				return h, nil, fmt.Errorf("body of %s: %w", h.op, err)
			}
			var err error
			if body, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(m); err != nil {
				return h, nil, err
			}
		}
		return h, data[size:], json.Unmarshal(body, &h.body)
	}
	return h, nil, fmt.Errorf("operation %d", number)
}

func parseText(data []byte) (heard, []byte, error) {
	var message struct {
		Op   string
		Seq  *int32
		Body map[string]any
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return heard{}, nil, fmt.Errorf("%q: %w", data, err)
	}
	if message.Seq == nil || message.Body == nil {
		return heard{}, nil, fmt.Errorf("%q lacks seq or body", data)
	}
	return heard{0, message.Op, *message.Seq, message.Body, len(data)}, nil, nil
}
