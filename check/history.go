// Package check holds the judge: a pure function from the recorded history of a
// run — what each device sent, what was acknowledged, what arrived where and when
// — to a verdict on what the system promises: nothing lost, nothing twice, one
// order for all, and honest answers. It knows nothing of connections or servers;
// whoever drives a workload records what its devices saw.
package check

import (
	"sync"

	"github.com/im-transfer/im"
)

// History is what the devices of a run saw. Its methods are safe for concurrent
// use; the Logs that it hands out belong to one goroutine each.
type History struct {
	mu            sync.Mutex
	devices       []*Device // by Ref, less one
	byName        map[[2]string]*Device
	conversations []conversation // by ConversationRef, less one
	byID          map[string]ConversationRef
	rooms         map[ConversationRef]*Room
	asked         map[Key][]Alteration // of messages
	apart         map[string]bool      // users with devices that record nothing
}

type conversation struct {
	id    string
	stays []Stay
	made  []Change
}

// Stay is the time of a user in a conversation, as conversation seqs, both
// included; a To of 0 is for good. Messages within it must reach the user.
type Stay struct {
	UserID   string
	From, To int64
}

func (s Stay) holds(seq uint32) bool {
	return int64(seq) >= s.From && (s.To == 0 || int64(seq) <= s.To)
}

// Device is one device of a user, over all of its sessions.
type Device struct {
	history  *History
	ref      uint32
	userID   string
	deviceID string

	// Under the history's mu.
	logs     []*Log
	caughtUp bool
	last     bool // it read when all was over
	begun    bool
	all      bool   // it began at the beginning of the inbox
	from     uint32 // ticks: what was sent later must arrive
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{byName: map[[2]string]*Device{}, byID: map[string]ConversationRef{}}
}

// Apart says that a user has devices too of which nothing is recorded: what receipts say
// of such a user is not held against what those saw that are.
func (h *History) Apart(userID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.apart == nil {
		h.apart = map[string]bool{}
	}
	h.apart[userID] = true
}

// Device returns the device of a user, the same one for the same names.
func (h *History) Device(userID, deviceID string) *Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.byName[[2]string{userID, deviceID}]; d != nil {
		return d
	}
	d := &Device{history: h, ref: uint32(len(h.devices) + 1), userID: userID, deviceID: deviceID} //nolint:gosec // few
	h.devices = append(h.devices, d)
	h.byName[[2]string{userID, deviceID}] = d
	return d
}

// Conversation adds a conversation with the stays of its members, or returns the
// one there is, whose stays it replaces if any are given.
func (h *History) Conversation(id string, stays ...Stay) ConversationRef {
	h.mu.Lock()
	defer h.mu.Unlock()
	ref := h.byID[id]
	if ref == 0 {
		h.conversations = append(h.conversations, conversation{id: id})
		ref = ConversationRef(len(h.conversations)) //nolint:gosec // few
		h.byID[id] = ref
	}
	if len(stays) > 0 {
		h.conversations[ref-1].stays = stays
	}
	return ref
}

// Direct adds the direct conversation of two users.
func (h *History) Direct(a, b string) ConversationRef {
	if a == b {
		return h.Conversation(im.DirectConversation(a, b), Stay{UserID: a})
	}
	return h.Conversation(im.DirectConversation(a, b), Stay{UserID: a}, Stay{UserID: b})
}

// Ref returns the device's number in Keys, from 1.
func (d *Device) Ref() uint32 { return d.ref }

// UserID returns the id of the device's user.
func (d *Device) UserID() string { return d.userID }

// Log adds a part to the device's history. Sessions are judged in the order in
// which their logs were made.
func (d *Device) Log() *Log {
	log := &Log{device: d}
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	d.logs = append(d.logs, log)
	return log
}

// CaughtUp says that the device was given every chance to receive everything: it
// was connected at the end and the workload waited. What it lacks is lost. Other
// devices are judged by what they saw only.
func (d *Device) CaughtUp() {
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	d.caughtUp = true
}

// ReadsLast says that the device read when everything was over: what it was shown is how
// things are in the end.
func (d *Device) ReadsLast() {
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	d.last = true
}

// each calls do with all that was recorded of the device, log by log.
func (d *Device) each(do func(*record)) {
	for _, log := range d.logs {
		log.each(do)
	}
}

// covered notes from when on the device must receive everything.
func (d *Device) covered(at, resumeFrom uint32, tooLong bool) {
	d.history.mu.Lock()
	defer d.history.mu.Unlock()
	if !d.begun || tooLong {
		d.begun, d.from, d.all = true, at, resumeFrom == 0 && !tooLong
	}
}

// expects reports whether a message sent at a time must reach the device.
func (d *Device) expects(sentAt uint32) bool {
	return d.caughtUp && d.begun && (d.all || sentAt > d.from)
}
