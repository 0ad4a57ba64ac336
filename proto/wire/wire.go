// Package wire turns the operations of the client protocol into bytes and back:
// the 16-byte frame header, the text form, and the bodies in protobuf and JSON.
// It holds no state and starts nothing; servers and the Go SDK share it.
//
// A session, as both sides see it:
//
//	client                                   server
//	  | -- auth {token, device_id, last_seq} --> |   first, within 5 s
//	  | <-- auth_reply {head, resume_from} ----- |
//	  | <-- deliver {entries} ------------------ |   everything above resume_from
//	  | -- ack {seq} --------------------------> |   opens the window again
//	  |                                          |
//	  | -- send {client_msg_id, to, content} --> |
//	  | <-- send_ack {message_id, ...} --------- |   or error; in any order with
//	  | <-- deliver {entries} ------------------ |   the echo of one's own message
//	  |                                          |
//	  | -- heartbeat --------------------------> |
//	  | <-- heartbeat_reply {head} ------------- |   head > last seq: sync
//	  | -- sync {after, limit} ----------------> |
//	  | <-- sync_reply {entries, has_more} ----- |
//	  |                                          |
//	  | <-- disconnect {code, reconnect} ------- |   then the connection closes
package wire

// Form is how a connection encodes what it carries, in both directions. The
// first frame fixes it.
type Form uint8

// The forms. Proto and JSON are the version field of the header.
const (
	Text  Form = 1 // WebSocket text message: {"op":"<name>","seq":<n>,"body":{...}}
	Proto Form = 2 // 16-byte header, body = protobuf
	JSON  Form = 3 // 16-byte header, body = the protobuf JSON mapping with proto names
)

// Op is an operation's number.
type Op int32

// The operations. c = sent by clients, s = by servers; bodies are the messages
// of package imv1 with the same names.
const (
	OpHeartbeat      Op = 2  // c: {}
	OpHeartbeatReply Op = 3  // s: [8B head]
	OpSend           Op = 4  // c: client_msg_id + after + to + content + attributes + options + b3
	OpDeliver        Op = 5  // s: repeated [8B seq + entry] + b3
	OpDisconnect     Op = 6  // s: code + reason + reconnect + [4B retry_after_ms] + address
	OpAuth           Op = 7  // c: token + device_id + platform + [8B last_seq]? + inbox_epoch + start + protocol + client
	OpAuthReply      Op = 8  // s: ids + [8B head] + [8B resume_from] + too_long + inbox_epoch + limits
	OpSync           Op = 14 // c: [8B after]? + [4B limit] + inbox_epoch
	OpSyncReply      Op = 15 // s: repeated [8B seq + entry] + [8B head] + has_more + too_long + inbox_epoch
	OpAck            Op = 16 // c: [8B seq]
	OpAckReply       Op = 17 // s: [8B seq], only where the ack's sequence is not 0
	OpSendAck        Op = 18 // s: client_msg_id + [8B message_id] + conversation_id + [8B conversation_seq] + [8B sent_at_ms] + duplicate
	OpError          Op = 19 // s: code + message + [4B retry_after_ms]
	OpRead           Op = 20 // c: conversation_id + [8B upto]
	OpReadReply      Op = 21 // s: conversation_id + [8B upto] + [4B unread]
	OpSignal         Op = 22 // c, s: to or from + type + data
	OpJoin           Op = 24 // c: room_id + [8B after]?
	OpJoinReply      Op = 25 // s: room_id + head + online + upto + messages + events + has_more
	OpLeave          Op = 26 // c: room_id
	OpLeaveReply     Op = 27 // s: room_id
	OpWatch          Op = 28 // c: repeated user_id
	OpWatchReply     Op = 29 // s: repeated presence
	OpRoomDeliver    Op = 30 // s: room_id + [8B after] + [8B upto] + messages + events + [4B skipped]
)

// Sender says who may send an operation.
type Sender uint8

// The senders.
const (
	Client Sender = 1
	Server Sender = 2
	Both          = Client | Server
)

// Operation is a row of the table of operations.
type Operation struct {
	Op   Op
	Name string
	From Sender
}

// Operations lists every operation by its number. It is not to be changed.
var Operations = [...]Operation{
	{OpHeartbeat, "heartbeat", Client},
	{OpHeartbeatReply, "heartbeat_reply", Server},
	{OpSend, "send", Client},
	{OpDeliver, "deliver", Server},
	{OpDisconnect, "disconnect", Server},
	{OpAuth, "auth", Client},
	{OpAuthReply, "auth_reply", Server},
	{OpSync, "sync", Client},
	{OpSyncReply, "sync_reply", Server},
	{OpAck, "ack", Client},
	{OpAckReply, "ack_reply", Server},
	{OpSendAck, "send_ack", Server},
	{OpError, "error", Server},
	{OpRead, "read", Client},
	{OpReadReply, "read_reply", Server},
	{OpSignal, "signal", Both},
	{OpJoin, "join", Client},
	{OpJoinReply, "join_reply", Server},
	{OpLeave, "leave", Client},
	{OpLeaveReply, "leave_reply", Server},
	{OpWatch, "watch", Client},
	{OpWatchReply, "watch_reply", Server},
	{OpRoomDeliver, "room_deliver", Server},
}

// String returns the operation's name, "unknown" for a number that has none.
func (op Op) String() string {
	if row := op.row(); row != nil {
		return row.Name
	}
	return "unknown"
}

// SentBy reports whether a sender may send the operation; false for one that is
// not known.
func (op Op) SentBy(who Sender) bool {
	row := op.row()
	return row != nil && row.From&who != 0
}

func (op Op) row() *Operation {
	for i := range Operations {
		if Operations[i].Op == op {
			return &Operations[i]
		}
	}
	return nil
}

// OpNamed returns the operation of a name, 0 when there is none.
func OpNamed(name []byte) Op {
	for i := range Operations {
		if Operations[i].Name == string(name) {
			return Operations[i].Op
		}
	}
	return 0
}
