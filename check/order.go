package check

import (
	"cmp"
	"slices"
)

// stored reports whether a message is known to be stored.
func (m *message) stored() bool { return m.id != 0 || m.state&wasAcked != 0 }

// judgeMessages judges every message against what it was promised: that it
// arrived, that it came after its predecessor, that a refusal was true.
func (j *judge) judgeMessages() {
	for i, of := range j.messages {
		for number := range of {
			m := &of[number]
			if m.state&wasSent == 0 || !m.stored() {
				continue
			}
			key := Key{uint32(i + 1), uint32(number)}
			if m.state&wasRefused != 0 {
				j.violation(Refused, key, nil, "refused for good, but stored as conversation seq %d", m.convSeq)
			}
			j.judgeArrivals(key, m)
			j.judgeAfter(key, m, of)
		}
	}
}

func (j *judge) judgeArrivals(key Key, m *message) {
	if m.conversation == 0 {
		return
	}
	expected := 0
	for _, stay := range j.stays[m.conversation-1] {
		if !stay.holds(m.convSeq) {
			continue
		}
		for _, device := range j.byUser[stay.UserID] {
			if device.expects(m.sentAt) {
				expected++
			}
		}
	}
	if int(m.arrivals) < expected {
		j.violation(Loss, key, nil, "stored as conversation seq %d, arrived at %d of %d devices", m.convSeq, m.arrivals, expected)
	}
}

// judgeAfter judges one sender's order. Where the predecessor was not named, it
// binds only if it was never sent again.
func (j *judge) judgeAfter(key Key, m *message, of []message) {
	if m.after == 0 || int(m.after) >= len(of) {
		return
	}
	before := &of[m.after]
	named := m.state&wasNamed != 0
	switch {
	case before.conversation != m.conversation || !named && before.state&wasSentAgain != 0:
	case before.stored() && before.convSeq >= m.convSeq:
		j.violation(SenderOrder, key, nil, "conversation seq %d, but #%d, which it was sent after, is %d", m.convSeq, m.after, before.convSeq)
	case before.stored() || !named:
	case before.state&wasRefused != 0 && m.state&wasSentAgain != 0: // and named another one, or none
	default:
		j.violation(SenderOrder, key, nil, "stored, but #%d, which it was sent after, is not", m.after)
	}
}

// judgeConversations judges that in every conversation seqs are one message's own
// and ids rise with them.
func (j *judge) judgeConversations() {
	byConversation := make([][]Key, len(j.h.conversations))
	for i, of := range j.messages {
		for number := range of {
			if m := &of[number]; m.id != 0 && m.conversation != 0 {
				byConversation[m.conversation-1] = append(byConversation[m.conversation-1], Key{uint32(i + 1), uint32(number)})
			}
		}
	}
	for i, keys := range byConversation {
		slices.SortFunc(keys, func(a, b Key) int {
			return cmp.Compare(j.message(a).convSeq, j.message(b).convSeq)
		})
		j.judgeIDs(keys)
		j.judgePlaces(keys, j.changes[ConversationRef(i+1)], "a change of the members")
		j.judgePlaces(keys, j.altered[ConversationRef(i+1)], "a change of a message")
	}
}

func (j *judge) judgeIDs(keys []Key) {
	for i := 1; i < len(keys); i++ {
		a, b := j.message(keys[i-1]), j.message(keys[i])
		switch {
		case a.convSeq == b.convSeq:
			j.violation(Collision, keys[i], nil, "conversation seq %d is also that of %s", b.convSeq, j.name(keys[i-1]))
		case a.id >= b.id:
			j.violation(IDs, keys[i], nil, "id %d at conversation seq %d, but %d at %d", b.id, b.convSeq, a.id, a.convSeq)
		}
	}
}

// member reports whether a message of a conversation is for a user.
func (j *judge) member(userID string, ref ConversationRef, seq uint32) bool {
	if ref == 0 {
		return false
	}
	for _, stay := range j.stays[ref-1] {
		if stay.UserID == userID && stay.holds(seq) {
			return true
		}
	}
	return false
}
