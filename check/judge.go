package check

import (
	"fmt"
	"math"
)

// message is what the judge knows of one message: 32 bytes.
type message struct {
	id           int64 // 0 = not known to be stored
	conversation ConversationRef
	convSeq      uint32
	hash         uint32
	after        uint32
	sentAt       uint32
	arrivals     uint16 // at devices that expect it
	state        uint16
}

// The states of a message, as bits.
const (
	wasSent = 1 << iota
	wasSentAgain
	wasNamed   // its predecessor was named on the wire
	wasAcked   // in any way
	wasFirst   // acknowledged without the mark of a repeat
	wasRefused // for good
)

// judge is one judgement in progress.
type judge struct {
	h         *History
	messages  [][]message // by device ref less one, by number
	byUser    map[string][]*Device
	stays     [][]Stay                      // by conversation ref less one
	changes   map[ConversationRef][]*record // of members, each once, by conversation seq
	altered   map[ConversationRef][]*record // recalls and edits, likewise
	alteredOf map[Key][]*record             // the same by message
	verdict   *Verdict
	found     []finding
}

// finding is a violation before its history is gathered.
type finding struct {
	kind   Kind
	key    Key
	device *Device
	what   string
}

// Judge judges a history. Nothing may record into it meanwhile. It takes about a
// second and 350 MB for every million messages of a pair, the history included.
func Judge(h *History) Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	verdict := Verdict{Devices: len(h.devices), Totals: map[Kind]int{}}
	j := &judge{h: h, byUser: map[string][]*Device{}, changes: map[ConversationRef][]*record{}, altered: map[ConversationRef][]*record{},
		alteredOf: map[Key][]*record{}, verdict: &verdict}
	j.collectChanges()
	j.collectSends()
	j.collectAnswers()
	j.collectAlterations()
	for _, device := range h.devices {
		j.byUser[device.userID] = append(j.byUser[device.userID], device)
	}
	for i, device := range h.devices {
		if devices := j.byUser[device.userID]; devices[0] == h.devices[i] {
			j.judgeInbox(devices)
		}
	}
	j.judgeReceipts()
	for _, room := range h.rooms {
		j.judgeRoom(room)
	}
	j.judgeMessages()
	j.judgeConversations()
	j.tell()
	return verdict
}

// violation notes a broken promise. Beyond MaxViolations of a kind it only counts.
func (j *judge) violation(kind Kind, key Key, device *Device, format string, args ...any) {
	j.verdict.Totals[kind]++
	if j.verdict.Totals[kind] <= MaxViolations {
		j.found = append(j.found, finding{kind, key, device, fmt.Sprintf(format, args...)})
	}
}

// message returns what is known of a message that was sent, else nil.
func (j *judge) message(key Key) *message {
	if key.Device == 0 || int(key.Device) > len(j.messages) {
		return nil
	}
	of := j.messages[key.Device-1]
	if int(key.Number) >= len(of) || of[key.Number].state&wasSent == 0 {
		return nil
	}
	return &of[key.Number]
}

func (j *judge) collectSends() {
	j.messages = make([][]message, len(j.h.devices))
	for i, device := range j.h.devices {
		device.each(func(r *record) {
			if r.kind == recordSent {
				j.messages[i] = j.sent(j.messages[i], r)
			}
		})
	}
}

// sent adds a send. The content of a resend must be the first one's: that is the
// workload's duty.
func (j *judge) sent(of []message, r *record) []message {
	for int(r.key.Number) >= len(of) {
		of = append(of, message{})
	}
	m := &of[r.key.Number]
	if m.state&wasSent != 0 {
		m.state |= wasSentAgain
		return of
	}
	*m = message{conversation: r.conversation, hash: r.hash, after: r.seq, sentAt: r.at, state: wasSent}
	if r.has(flagNamed) {
		m.state |= wasNamed
	}
	j.verdict.Sent++
	return of
}

func (j *judge) collectAnswers() {
	for _, device := range j.h.devices {
		device.each(func(r *record) {
			switch r.kind {
			case recordAcked:
				j.acked(device, r)
			case recordRefused:
				j.refused(device, r)
			}
		})
	}
	j.collectSilence()
}

// collectSilence notes what was never answered; the answers are known by now.
func (j *judge) collectSilence() {
	for _, device := range j.h.devices {
		device.each(func(r *record) {
			if r.kind != recordGaveUp {
				return
			}
			if m := j.message(r.key); m != nil && m.state&(wasAcked|wasRefused) == 0 {
				j.violation(Unanswered, r.key, device, "sent, and never answered")
			}
		})
	}
}

func (j *judge) acked(device *Device, r *record) {
	m := j.message(r.key)
	if m == nil {
		j.violation(Phantom, r.key, device, "acknowledged, but never sent")
		return
	}
	if m.conversation != r.conversation {
		j.violation(Phantom, r.key, device, "acknowledged in conversation %s", j.conversation(r.conversation))
	}
	if m.state&wasAcked == 0 {
		j.verdict.Acknowledged++
	}
	if !r.has(flagDuplicate) {
		if m.state&wasFirst != 0 {
			j.violation(Identity, r.key, device, "acknowledged twice as new")
		}
		m.state |= wasFirst
	}
	m.state |= wasAcked
	j.identify(m, r, device)
}

// identify compares the id and conversation seq of a message with those it had
// before.
func (j *judge) identify(m *message, r *record, device *Device) {
	if r.has(flagRange) {
		j.violation(Range, r.key, device, "a sequence number that can not be one")
	}
	if m.id == 0 {
		m.id, m.convSeq = r.id, r.convSeq
		return
	}
	if m.id != r.id || m.convSeq != r.convSeq {
		j.violation(Identity, r.key, device, "id %d and conversation seq %d here, id %d and conversation seq %d elsewhere",
			r.id, r.convSeq, m.id, m.convSeq)
	}
}

func (j *judge) refused(device *Device, r *record) {
	m := j.message(r.key)
	switch {
	case m == nil:
		j.violation(Phantom, r.key, device, "refused, but never sent")
	case r.has(flagFinal) && m.state&wasRefused == 0:
		m.state |= wasRefused
		j.verdict.Refused++
	}
}

func (j *judge) conversation(ref ConversationRef) string {
	if ref == 0 {
		return "unknown"
	}
	return j.h.conversations[ref-1].id
}

// count adds an arrival of a message at a device that expects it.
func (m *message) count() {
	if m.arrivals < math.MaxUint16 {
		m.arrivals++
	}
}
