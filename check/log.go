package check

import (
	"time"

	"github.com/im-transfer/im"
)

// Log is a part of a device's history, in the order in which it was written. It
// is not safe for concurrent use: a goroutine that records has a Log of its own.
// What a device receives in one session (Resumed, Arrived, Entry, Receipt, Cursor)
// must be in one Log; sends may be in another. Appending costs 40 bytes and no
// lock. Times are since the start of the run.
type Log struct {
	device *Device
	chunks [][]record
}

// The chunks of a log double from the first size to the second, so that an idle
// device costs little and a busy one is never copied.
const (
	firstChunk = 8
	lastChunk  = 4096
)

func (l *Log) append(r record) {
	last := len(l.chunks) - 1
	if last < 0 || len(l.chunks[last]) == cap(l.chunks[last]) {
		size := firstChunk
		if last >= 0 {
			size = min(2*cap(l.chunks[last]), lastChunk)
		}
		l.chunks = append(l.chunks, make([]record, 0, size))
		last++
	}
	l.chunks[last] = append(l.chunks[last], r)
}

// each calls do with every record, in order.
func (l *Log) each(do func(*record)) {
	for _, chunk := range l.chunks {
		for i := range chunk {
			do(&chunk[i])
		}
	}
}

// Sent is a message handed to the connection. A resend repeats the number.
type Sent struct {
	At           time.Duration
	Number       uint32
	Conversation ConversationRef
	// After is the number of the device's message before this one that must stay
	// before it, 0 for none: the one named on the wire (Named), or, on a connection
	// that carries them out in order, the one sent before.
	After uint32
	Named bool
	Hash  uint32
}

// Sent records a send.
func (l *Log) Sent(s Sent) {
	r := record{kind: recordSent, at: ticks(s.At), conversation: s.Conversation, seq: s.After, hash: s.Hash}
	r.key = Key{l.device.ref, s.Number}
	if s.Named {
		r.flags |= flagNamed
	}
	l.append(r)
}

// Answer is a send_ack.
type Answer struct {
	At              time.Duration
	Number          uint32
	MessageID       int64
	Conversation    ConversationRef
	ConversationSeq int64
	Duplicate       bool
}

// Acked records a send_ack.
func (l *Log) Acked(a Answer) {
	r := record{kind: recordAcked, at: ticks(a.At), id: a.MessageID, conversation: a.Conversation}
	r.key = Key{l.device.ref, a.Number}
	r.convSeq = r.narrow(a.ConversationSeq)
	if a.Duplicate {
		r.flags |= flagDuplicate
	}
	l.append(r)
}

// Refused records an error as the answer to a send.
func (l *Log) Refused(at time.Duration, number uint32, code im.Code) {
	r := record{kind: recordRefused, at: ticks(at), key: Key{l.device.ref, number}}
	r.code = uint16(1 + codeIndex(code)) //nolint:gosec // ten codes
	if code.Final() {
		r.flags |= flagFinal
	}
	l.append(r)
}

// GaveUp records that a send had no answer although the device was connected and
// waited: only for devices that are caught up.
func (l *Log) GaveUp(at time.Duration, number uint32) {
	l.append(record{kind: recordGaveUp, at: ticks(at), key: Key{l.device.ref, number}})
}

func codeIndex(code im.Code) int {
	for i, row := range im.Codes {
		if row.Code == code {
			return i
		}
	}
	return -1
}

// Resume is the beginning of a session, as auth and auth_reply have it.
type Resume struct {
	At      time.Duration
	From    int64 // resume_from
	Head    int64
	Last    int64 // last_seq as the device gave it
	HasLast bool  // it gave one
	TooLong bool
}

// Resumed records the beginning of a session.
func (l *Log) Resumed(s Resume) {
	r := record{kind: recordResumed, at: ticks(s.At), id: s.Head}
	r.seq, r.convSeq = r.narrow(s.From), r.narrow(s.Last)
	if s.HasLast {
		r.flags |= flagHasLast
	}
	if s.TooLong {
		r.flags |= flagTooLong
	}
	l.append(r)
	l.device.covered(r.at, r.seq, s.TooLong)
}

// Arrival is a message entry that was delivered to the device.
type Arrival struct {
	At              time.Duration
	Seq             int64 // of the inbox
	MessageID       int64
	Conversation    ConversationRef
	ConversationSeq int64
	Key             Key // from the tag in the body; zero when there is none
	Hash            uint32
	Edited          bool // the entry shows an edited or recalled message
	Recalled        bool // without its content
}

// Arrived records a message entry.
func (l *Log) Arrived(a Arrival) {
	r := record{kind: recordArrived, at: ticks(a.At), id: a.MessageID, conversation: a.Conversation, key: a.Key, hash: a.Hash}
	r.seq, r.convSeq = r.narrow(a.Seq), r.narrow(a.ConversationSeq)
	if a.Edited || a.Recalled {
		r.flags |= flagEdited
	}
	if a.Recalled {
		r.flags |= flagRecall
	}
	l.append(r)
}

// Entry records an entry of another kind, or a message that is not of the run. The
// identity is what must be the same whenever the entry is read (a message id, a
// hash).
func (l *Log) Entry(at time.Duration, seq, identity int64) {
	r := record{kind: recordEntry, at: ticks(at), id: identity}
	r.seq = r.narrow(seq)
	l.append(r)
}

// Receipt records a receipt entry: the reader has read, or been delivered, the
// conversation up to a seq.
func (l *Log) Receipt(at time.Duration, seq int64, conversation ConversationRef, readerID string, delivered bool, upto int64) {
	r := record{kind: recordReceipt, at: ticks(at), conversation: conversation, id: int64(Hash(readerID, nil))}
	r.seq, r.convSeq = r.narrow(seq), r.narrow(upto)
	if delivered {
		r.flags |= flagDelivered
	}
	l.append(r)
}

// Cursor records an ack that the device has sent.
func (l *Log) Cursor(at time.Duration, seq int64) {
	r := record{kind: recordCursor, at: ticks(at)}
	r.seq = r.narrow(seq)
	l.append(r)
}

// CursorReply records an ack_reply.
func (l *Log) CursorReply(at time.Duration, asked, inForce int64) {
	r := record{kind: recordCursorReply, at: ticks(at)}
	r.seq, r.convSeq = r.narrow(asked), r.narrow(inForce)
	l.append(r)
}

// Read records a read_reply. What was asked for must be a conversation seq that
// the device had been delivered.
func (l *Log) Read(at time.Duration, conversation ConversationRef, asked, inForce int64) {
	r := record{kind: recordRead, at: ticks(at), conversation: conversation}
	r.seq, r.convSeq = r.narrow(asked), r.narrow(inForce)
	l.append(r)
}

// Head records a head that the server has told (a heartbeat_reply): a device that
// is caught up must have been delivered everything up to it.
func (l *Log) Head(at time.Duration, head int64) {
	r := record{kind: recordHead, at: ticks(at)}
	r.seq = r.narrow(head)
	l.append(r)
}

// Awake records that the device is there again after an absence of its own choice:
// what was sent before tells a Timeline nothing of how fast the server is.
func (l *Log) Awake(at time.Duration) {
	l.append(record{kind: recordAwake, at: ticks(at)})
}
