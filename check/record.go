package check

import (
	"hash/crc32"
	"math"
	"time"
)

// Key names a message of the run: the device that sent it, by its Ref, and the
// device's own number for it. Numbers count from 1 without holes; the zero Key is
// no message. A workload puts it into the body as a tag, so that whoever gets the
// message can tell which one it is without trusting the server.
type Key struct {
	Device uint32
	Number uint32
}

// ConversationRef is a history's short name for a conversation; 0 is one that is
// not of the run.
type ConversationRef uint32

// tick is the resolution of times in a history, which reach 119 hours.
const tick = 100 * time.Microsecond

// outOfRange stands for a sequence number that no healthy server gives: negative,
// or more than 32 bits hold.
const outOfRange = math.MaxUint32

type recordKind uint8

const (
	recordSent recordKind = iota + 1
	recordAcked
	recordRefused
	recordResumed
	recordArrived
	recordEntry
	recordReceipt
	recordCursor
	recordCursorReply
	recordRead
	recordHead
	recordGaveUp
	recordAwake
	recordChange
	recordAltered
)

// The flags of a record; what one means depends on its kind.
const (
	flagNamed     = 1 << iota // sent: the predecessor was named on the wire
	flagDuplicate             // acked: marked as a repeat
	flagFinal                 // refused: for good
	flagHasLast               // resumed: the device named its last seq
	flagTooLong               // resumed: the server started it at the head
	flagEdited                // arrived: no longer as it was sent
	flagDelivered             // receipt: of delivery, else of reading
	flagRange                 // a number did not fit

	flagJoined = flagNamed // change: came in, else went out
	flagRecall = flagNamed // altered: recalled, else edited; arrived: shown without content
)

// record is one event of a history: 40 bytes without pointers, so that 40 million
// of them cost the garbage collector nothing.
type record struct {
	key          Key
	id           int64 // message id; resumed: the head
	conversation ConversationRef
	seq          uint32 // inbox seq; sent: the predecessor's number; resumed: resume_from
	convSeq      uint32 // conversation seq; resumed: the last seq named; receipt and read: upto
	hash         uint32
	at           uint32 // ticks
	kind         recordKind
	flags        uint8
	code         uint16 // refused: index into im.Codes, plus one; altered: the version
}

func (r *record) has(flag uint8) bool { return r.flags&flag != 0 }

func ticks(at time.Duration) uint32 { return uint32(max(0, at) / tick) } //nolint:gosec // 119 hours

// narrow cuts a sequence number to 32 bits and notes where it does not fit.
func (r *record) narrow(seq int64) uint32 {
	if seq < 0 || seq >= outOfRange {
		r.flags |= flagRange
		return outOfRange
	}
	return uint32(seq)
}

// castagnoli is a constant: the table that the processor has an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Hash condenses what a message must look like to whoever gets it: who sent it and
// what it says.
func Hash[T string | []byte](sender T, content []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(sender), castagnoli), castagnoli, content)
}
