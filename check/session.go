package check

// walk follows one device through its sessions.
type walk struct {
	j      *judge
	device *Device
	in     *inbox
	hint   int // place of the last slot in the inbox

	begun   bool
	next    uint32 // the seq that the session must deliver next
	top     uint32 // the highest seq that the device was given
	missing []span // below top, passed over
	head    uint32 // the highest that the server told
	acked   uint32 // the highest that the device acknowledged
	stored  uint32 // the highest stored cursor that a session began at
	inForce uint32 // of ack_reply, in this session
	reads   map[ConversationRef]uint32
}

// span is a range of seqs, both included.
type span struct{ from, to uint32 }

func (w *walk) record(r *record) {
	switch r.kind {
	case recordResumed:
		w.resumed(r)
	case recordArrived, recordEntry, recordReceipt, recordChange, recordAltered:
		w.entry(r)
	case recordCursor:
		w.acked = max(w.acked, r.seq)
	case recordCursorReply:
		w.cursorReply(r)
	case recordRead:
		w.read(r)
	case recordHead:
		if r.has(flagRange) {
			w.violation(Range, r, "a head that can not be one")
			return
		}
		w.head = max(w.head, r.seq)
	}
}

func (w *walk) violation(kind Kind, r *record, format string, args ...any) {
	w.j.violation(kind, r.key, w.device, format, args...)
}

func (w *walk) resumed(r *record) {
	first := !w.begun
	w.begun, w.next, w.inForce = true, r.seq+1, 0
	switch {
	case r.has(flagRange):
		w.violation(Range, r, "resumed at a sequence number that can not be one")
	case r.has(flagTooLong):
		w.top, w.stored = max(w.top, r.seq), 0
		w.missing = nil
		return
	case r.has(flagHasLast):
		if r.seq != r.convSeq {
			w.violation(Cursor, r, "resumed from %d, asked for %d", r.seq, r.convSeq)
		}
	case !first && r.seq > w.acked:
		w.violation(Cursor, r, "resumed from %d, but the device has acknowledged %d only", r.seq, w.acked)
	case r.seq < w.stored:
		w.violation(Cursor, r, "resumed from %d, an earlier session from %d", r.seq, w.stored)
	default:
		w.stored = r.seq
	}
	if first {
		w.top, w.acked = r.seq, r.seq
	}
	if r.id < outOfRange {
		w.head = max(w.head, uint32(max(0, r.id)))
	}
}

// entry judges one entry's place in the session, and its sameness with what the
// user's devices saw before.
func (w *walk) entry(r *record) {
	if r.has(flagRange) {
		w.violation(Range, r, "a sequence number that can not be one")
		return
	}
	fresh := w.take(r.seq)
	switch {
	case r.seq == w.next:
		w.next++
	case r.seq > w.next:
		w.violation(Gap, r, "inbox seq %d after %d", r.seq, w.next-1)
		w.next = r.seq + 1
	case fresh:
		w.violation(Gap, r, "inbox seq %d late, after %d", r.seq, w.next-1)
	default:
		w.violation(Duplicate, r, "inbox seq %d again in one session, after %d", r.seq, w.next-1)
	}
	if slot := w.in.put(r, &w.hint); slot != nil && !same(slot, r) {
		w.violation(Changed, r, "inbox seq %d is another entry here (%s) than before (%s)", r.seq, w.j.describe(r), w.j.describe(slot))
	}
	if fresh {
		w.j.verdict.Delivered++
	}
	switch {
	case r.kind == recordArrived:
		w.arrived(r, fresh)
	case r.kind == recordAltered:
		w.judgeAlteration(r)
	case r.kind == recordChange && !w.j.member(w.device.userID, r.conversation, r.convSeq):
		w.violation(Phantom, r, "a change of the members of %s at conversation seq %d is delivered to who is no member", w.j.conversation(r.conversation), r.convSeq)
	}
}

// arrived compares a delivered message with what was sent.
func (w *walk) arrived(r *record, fresh bool) {
	m := w.j.message(r.key)
	switch {
	case m == nil:
		w.violation(Phantom, r, "delivered at inbox seq %d, but never sent", r.seq)
		return
	case m.conversation != r.conversation:
		w.violation(Phantom, r, "delivered in conversation %s, sent in %s", w.j.conversation(r.conversation), w.j.conversation(m.conversation))
		return
	case m.hash != r.hash && !r.has(flagEdited):
		w.violation(Phantom, r, "delivered with other content or another sender than sent")
	case !w.j.member(w.device.userID, r.conversation, r.convSeq):
		w.violation(Phantom, r, "delivered to who is no member")
	}
	w.j.identify(m, r, w.device)
	w.judgeShown(r)
	if fresh && w.device.expects(m.sentAt) {
		m.count()
	}
}

// take notes that the device was given a seq and reports whether for the first
// time.
func (w *walk) take(seq uint32) bool {
	if seq > w.top {
		if seq > w.top+1 {
			w.missing = append(w.missing, span{w.top + 1, seq - 1})
		}
		w.top = seq
		return true
	}
	for i, s := range w.missing {
		if seq >= s.from && seq <= s.to {
			rest := append([]span{}, w.missing[i+1:]...)
			w.missing = w.missing[:i]
			if s.from < seq {
				w.missing = append(w.missing, span{s.from, seq - 1})
			}
			if seq < s.to {
				w.missing = append(w.missing, span{seq + 1, s.to})
			}
			w.missing = append(w.missing, rest...)
			return true
		}
	}
	return false
}

func (w *walk) cursorReply(r *record) {
	switch {
	case r.has(flagRange):
		w.violation(Range, r, "a cursor that can not be one")
	case r.convSeq < r.seq:
		w.violation(Cursor, r, "acknowledged %d, the answer was %d", r.seq, r.convSeq)
	case r.convSeq < w.inForce:
		w.violation(Cursor, r, "the cursor fell from %d to %d", w.inForce, r.convSeq)
	}
	w.inForce = max(w.inForce, r.convSeq)
}

func (w *walk) read(r *record) {
	if w.reads == nil {
		w.reads = map[ConversationRef]uint32{}
	}
	switch {
	case r.has(flagRange):
		w.violation(Range, r, "a read mark that can not be one")
	case r.convSeq < r.seq:
		w.violation(ReadMark, r, "read up to %d, the answer was %d", r.seq, r.convSeq)
	case r.convSeq < w.reads[r.conversation]:
		w.violation(ReadMark, r, "read_upto fell from %d to %d", w.reads[r.conversation], r.convSeq)
	}
	w.reads[r.conversation] = max(w.reads[r.conversation], r.convSeq)
}

// finish judges what a caught up device was never given.
func (w *walk) finish() {
	if !w.device.caughtUp {
		return
	}
	for _, s := range w.missing {
		w.j.violation(Loss, Key{}, w.device, "inbox seqs %d to %d were never delivered", s.from, s.to)
	}
}
