package bench

import (
	"errors"

	"github.com/im-transfer/im/proto/wire"
)

// errBody says that a body could not be read.
var errBody = errors.New("malformed body")

// entry is what the generator wants to know of an inbox entry. The bytes belong
// to the read buffer.
type entry struct {
	seq             int64
	kind            []byte
	messageID       int64
	conversation    []byte // also of a receipt
	conversationSeq int64
	sender          []byte // of a receipt: the reader
	text            []byte
	edited          bool // shows another content than was sent
	receiptKind     []byte
	upto            int64
}

// answer is a send_ack.
type answer struct {
	clientID        []byte
	messageID       int64
	conversation    []byte
	conversationSeq int64
	duplicate       bool
}

// scanner reads bodies of one form without decoding them as a whole.
type scanner interface {
	// deliver calls do with each entry of a deliver.
	deliver(body []byte, do func(*entry)) error
	sendAck(body []byte, a *answer) error
	// room reads a room_deliver or a join_reply, and calls do with each message of it.
	room(op wire.Op, body []byte, p *roomPart, do func(*entry)) error
}

// roomPart is what a room says, but for its messages.
type roomPart struct {
	after, upto, head int64
	events, skipped   int
	hasMore           bool
}

func scannerOf(form wire.Form) scanner {
	if form == wire.Proto {
		return protoScanner{}
	}
	return jsonScanner{}
}
