package check

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Kind is a promise that was broken.
type Kind string

// The kinds of violation.
const (
	// Loss: stored (acknowledged, or delivered to someone) but not delivered to a
	// device that caught up; or a device that did not reach the head.
	Loss Kind = "loss"
	// Duplicate: the same message twice at one user under different inbox seqs, or
	// the same inbox seq twice within a session.
	Duplicate Kind = "duplicate"
	// Gap: inbox seqs of a session that are not contiguous and ascending.
	Gap Kind = "gap"
	// Changed: an inbox seq showed another entry before, or on another device.
	Changed Kind = "changed"
	// Order: a conversation's messages not in the order of conversation seqs.
	Order Kind = "order"
	// Collision: two messages under one conversation seq.
	Collision Kind = "collision"
	// SenderOrder: a message before the one that it was sent after, or stored
	// without it.
	SenderOrder Kind = "sender_order"
	// Identity: one message with two ids or conversation seqs, in the answers to
	// its sends or where it was delivered.
	Identity Kind = "identity"
	// IDs: message ids that do not increase with the conversation seq.
	IDs Kind = "ids"
	// Cursor: a cursor that fell, or a session that began above what the device
	// had acknowledged.
	Cursor Kind = "cursor"
	// ReadMark: a read_upto, or the receipts of one, that fell.
	ReadMark Kind = "read_mark"
	// Receipt: says that its reader has read, or got, what no device of theirs had been
	// delivered.
	Receipt Kind = "receipt"
	// Membership: a change of a conversation's members that was made and that nobody
	// was delivered, or that comes out of the order in which they were made, or that
	// nobody made.
	Membership Kind = "membership"
	// Alter: a recall or an edit that took place and that nobody was delivered, or that
	// comes out of its order, or after a recall; or a message that is shown otherwise
	// than they made it.
	Alter Kind = "alter"
	// Phantom: delivered or acknowledged, but never sent, or not so: other content,
	// another conversation, or to who is no member.
	Phantom Kind = "phantom"
	// Refused: refused for good, but stored.
	Refused Kind = "refused"
	// Unanswered: a send of a device that was connected and waited, without any
	// answer.
	Unanswered Kind = "unanswered"
	// Range: a sequence number that can not be one.
	Range Kind = "range"
)

// Event is one line of a message's history, for people.
type Event struct {
	At     time.Duration `json:"at_ns"`
	Device string        `json:"device"` // user/device
	What   string        `json:"what"`
}

// Violation is one broken promise with all that was recorded of the message.
type Violation struct {
	Kind    Kind    `json:"kind"`
	Message string  `json:"message"`          // "user/device #number"; empty when it is not about a message
	Device  string  `json:"device,omitempty"` // where it was seen
	What    string  `json:"what"`
	History []Event `json:"history,omitempty"`
}

// Verdict is the outcome of a run.
type Verdict struct {
	Devices      int          `json:"devices"`
	Sent         int          `json:"sent"`              // different messages
	Acknowledged int          `json:"acknowledged"`      // of those
	Refused      int          `json:"refused"`           // of those, for good
	Altered      int          `json:"altered,omitempty"` // recalls and edits that took place
	Delivered    int          `json:"delivered"`         // entries at devices, repeats of a resumed session not counted, and messages in rooms
	Skipped      int          `json:"skipped,omitempty"` // that slow members of rooms were told to have missed
	Totals       map[Kind]int `json:"totals"`            // all violations
	Violations   []Violation  `json:"violations"`        // the first MaxViolations of each kind
}

// MaxViolations bounds the violations of a kind that are told in full.
const MaxViolations = 20

// OK reports whether every promise was kept.
func (v *Verdict) OK() bool { return len(v.Totals) == 0 }

// Total is the number of violations.
func (v *Verdict) Total() int {
	sum := 0
	for _, n := range v.Totals {
		sum += n
	}
	return sum
}

// WriteText writes the verdict as lines for a terminal.
func (v *Verdict) WriteText(w io.Writer) error {
	word := "no violation"
	if !v.OK() {
		word = fmt.Sprintf("%d VIOLATIONS", v.Total())
	}
	more := ""
	if v.Altered > 0 {
		more = fmt.Sprintf(", %d recalled or edited", v.Altered)
	}
	if v.Skipped > 0 {
		more += fmt.Sprintf(", %d skipped", v.Skipped)
	}
	_, err := fmt.Fprintf(w, "verdict: %s (%d devices, %d sent, %d acknowledged, %d refused, %d delivered%s)\n",
		word, v.Devices, v.Sent, v.Acknowledged, v.Refused, v.Delivered, more)
	for _, kind := range v.Kinds() {
		fmt.Fprintf(w, "  %-12s %d\n", kind, v.Totals[kind])
	}
	for _, violation := range v.Violations {
		err = violation.writeText(w)
	}
	return err
}

// Kinds returns the kinds of violation that were found, by name.
func (v *Verdict) Kinds() []Kind {
	var kinds []Kind
	for kind := range v.Totals {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func (v *Violation) writeText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %s", v.Kind, v.What)
	for _, part := range []string{v.Message, v.Device} {
		if part != "" {
			_, err = fmt.Fprintf(w, " [%s]", part)
		}
	}
	fmt.Fprintln(w)
	for _, event := range v.History {
		_, err = fmt.Fprintf(w, "    %12s  %-32s %s\n", event.At, event.Device, event.What)
	}
	return err
}
