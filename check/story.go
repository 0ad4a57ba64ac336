package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/im-transfer/im"
)

// tell turns the findings into violations, each with all that was recorded of its
// message: one more pass over the history, and only if there is something to tell.
func (j *judge) tell() {
	if len(j.found) == 0 {
		return
	}
	stories := map[Key][]Event{}
	for _, f := range j.found {
		if f.key.Number != 0 {
			stories[f.key] = nil
		}
	}
	arrived := map[Key]map[*Device]bool{}
	for _, device := range j.h.devices {
		device.each(func(r *record) {
			events, ok := stories[r.key]
			if !ok || r.key.Number == 0 {
				return
			}
			stories[r.key] = append(events, Event{time.Duration(r.at) * tick, device.name(), j.describe(r)})
			if r.kind == recordArrived {
				if arrived[r.key] == nil {
					arrived[r.key] = map[*Device]bool{}
				}
				arrived[r.key][device] = true
			}
		})
	}
	for _, f := range j.found {
		violation := Violation{Kind: f.kind, What: f.what, History: stories[f.key]}
		slices.SortStableFunc(violation.History, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
		if f.key.Number != 0 {
			violation.Message = j.name(f.key)
		}
		if f.kind == Loss && f.key.Number != 0 {
			violation.What += j.missing(f.key, arrived[f.key])
		}
		if f.device != nil {
			violation.Device = f.device.name()
		}
		j.verdict.Violations = append(j.verdict.Violations, violation)
	}
}

// missing names the devices that a message did not arrive at.
func (j *judge) missing(key Key, arrived map[*Device]bool) string {
	text, word := "", ": not at "
	m := j.message(key)
	for _, stay := range j.stays[m.conversation-1] {
		for _, device := range j.byUser[stay.UserID] {
			if stay.holds(m.convSeq) && device.expects(m.sentAt) && !arrived[device] {
				text += word + device.name()
				word = ", "
			}
		}
	}
	return text
}

func (d *Device) name() string { return d.userID + "/" + d.deviceID }

// name returns "user/device #number".
func (j *judge) name(key Key) string {
	if key.Device == 0 || int(key.Device) > len(j.h.devices) {
		return fmt.Sprintf("unknown device %d #%d", key.Device, key.Number)
	}
	return fmt.Sprintf("%s #%d", j.h.devices[key.Device-1].name(), key.Number)
}

// describe says what a record records.
func (j *judge) describe(r *record) string {
	switch r.kind {
	case recordSent:
		return fmt.Sprintf("sent to %s%s", j.conversation(r.conversation), after(r))
	case recordAcked:
		return fmt.Sprintf("acknowledged: id %d, conversation seq %d%s", r.id, r.convSeq, mark(r, flagDuplicate, ", duplicate"))
	case recordRefused:
		return "refused: " + codeName(r.code) + mark(r, flagFinal, " (final)")
	case recordArrived:
		return fmt.Sprintf("delivered: inbox seq %d, id %d, conversation seq %d, content %08x%s",
			r.seq, r.id, r.convSeq, r.hash, mark(r, flagEdited, ", edited"))
	case recordChange:
		return fmt.Sprintf("change of the members at inbox seq %d, conversation seq %d", r.seq, r.convSeq)
	case recordAltered:
		return fmt.Sprintf("%s at inbox seq %d, conversation seq %d, version %d, content %08x", describeAlteration(r), r.seq, r.convSeq, r.code, r.hash)
	case recordGaveUp:
		return "given up: no answer"
	case recordReceipt:
		return fmt.Sprintf("receipt at inbox seq %d: up to %d", r.seq, r.convSeq)
	}
	return fmt.Sprintf("entry at inbox seq %d, identity %d", r.seq, r.id)
}

func after(r *record) string {
	if r.seq == 0 {
		return ""
	}
	return fmt.Sprintf(" after #%d%s", r.seq, mark(r, flagNamed, " (named)"))
}

func mark(r *record, flag uint8, word string) string {
	if r.has(flag) {
		return word
	}
	return ""
}

func codeName(code uint16) string {
	if code == 0 {
		return "unknown code"
	}
	return string(im.Codes[code-1].Code)
}
