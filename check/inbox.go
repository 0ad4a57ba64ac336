package check

import "slices"

// inbox is what the devices of one user saw of their inbox, merged: one record for
// each seq, ascending.
type inbox struct {
	slots []*record
	seen  map[Key]uint32 // by message, its seq; made at the first doubt
}

// judgeInbox judges what the devices of one user received.
func (j *judge) judgeInbox(devices []*Device) {
	var in inbox
	var head uint32
	tops := make([]uint32, len(devices))
	for i, device := range devices {
		w := walk{j: j, device: device, in: &in}
		device.each(w.record)
		w.finish()
		tops[i], head = w.top, max(head, w.head, w.top)
	}
	for i, device := range devices {
		if device.caughtUp && device.begun && tops[i] < head {
			j.violation(Loss, Key{}, device, "stopped at inbox seq %d, the head is %d", tops[i], head)
		}
	}
	j.judgeOrder(&in, devices[0])
	j.judgeChanges(&in, devices)
	j.judgeAlterations(&in, devices)
}

// put adds a record to the inbox, or returns the one that is there.
func (in *inbox) put(r *record, hint *int) *record {
	if n := len(in.slots); n == 0 || in.slots[n-1].seq < r.seq {
		in.slots = append(in.slots, r)
		*hint = n
		return nil
	}
	i := *hint + 1 // mostly the next one
	if i >= len(in.slots) || in.slots[i].seq != r.seq {
		var found bool
		if i, found = slices.BinarySearchFunc(in.slots, r.seq, func(slot *record, seq uint32) int {
			return int(int64(slot.seq) - int64(seq))
		}); !found {
			in.slots = slices.Insert(in.slots, i, r)
			*hint = i
			return nil
		}
	}
	*hint = i
	return in.slots[i]
}

// same reports whether two records show the same entry.
func same(a, b *record) bool {
	if a.kind != b.kind || a.id != b.id || a.key != b.key || a.conversation != b.conversation || a.convSeq != b.convSeq {
		return false
	}
	return a.hash == b.hash || a.has(flagEdited) || b.has(flagEdited)
}

// judgeOrder walks a user's inbox in the order of its seqs: in every conversation
// conversation seqs rise, and so do the marks of receipts.
func (j *judge) judgeOrder(in *inbox, device *Device) {
	messages := map[ConversationRef]uint32{}
	receipts := map[[2]uint64]uint32{}
	for _, r := range in.slots {
		switch r.kind {
		case recordArrived:
			j.orderMessage(in, messages, r, device)
		case recordChange, recordAltered:
			j.orderChange(messages, r, device)
		case recordReceipt:
			mark := [2]uint64{uint64(r.conversation)<<1 | uint64(r.flags&flagDelivered)/flagDelivered, uint64(r.id)} //nolint:gosec // bits
			if r.convSeq < receipts[mark] {
				j.violation(ReadMark, Key{}, device, "receipt at inbox seq %d says up to %d, after one up to %d", r.seq, r.convSeq, receipts[mark])
			}
			receipts[mark] = max(receipts[mark], r.convSeq)
		}
	}
}

func (j *judge) orderChange(last map[ConversationRef]uint32, r *record, device *Device) {
	before := last[r.conversation]
	switch {
	case r.convSeq == before:
		j.violation(Duplicate, Key{}, device, "the event at conversation seq %d comes again at inbox seq %d", r.convSeq, r.seq)
	case r.convSeq < before:
		j.violation(Order, Key{}, device, "conversation seq %d at inbox seq %d, after conversation seq %d", r.convSeq, r.seq, before)
	default:
		last[r.conversation] = r.convSeq
	}
}

func (j *judge) orderMessage(in *inbox, last map[ConversationRef]uint32, r *record, device *Device) {
	before := last[r.conversation]
	if r.convSeq > before {
		last[r.conversation] = r.convSeq
		if m := j.message(r.key); m == nil || m.convSeq == r.convSeq {
			return
		}
	}
	if first := in.first(r.key); first != r.seq && r.key.Number != 0 {
		j.violation(Duplicate, r.key, device, "at inbox seqs %d and %d", first, r.seq)
		j.uncount(r.key, device.userID)
		return
	}
	if r.convSeq <= before {
		j.violation(Order, r.key, device, "conversation seq %d at inbox seq %d, after conversation seq %d", r.convSeq, r.seq, before)
	}
}

// uncount takes back the arrivals of a duplicate, which would hide that the message
// is missing elsewhere.
func (j *judge) uncount(key Key, userID string) {
	m := j.message(key)
	for _, device := range j.byUser[userID] {
		if m != nil && m.arrivals > 0 && device.expects(m.sentAt) {
			m.arrivals--
		}
	}
}

// first returns the lowest seq at which a message is in the inbox.
func (in *inbox) first(key Key) uint32 {
	if in.seen == nil {
		in.seen = make(map[Key]uint32, len(in.slots))
		for _, r := range in.slots {
			if _, ok := in.seen[r.key]; !ok && r.kind == recordArrived {
				in.seen[r.key] = r.seq
			}
		}
	}
	return in.seen[key]
}
