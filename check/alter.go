package check

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Alteration is a recall or an edit that the sender of a message has asked for. Each is
// an event of the conversation of its own.
type Alteration struct {
	Recall  bool
	Hash    uint32 // edit: of sender and new content, as of a message
	Version int32  // of the message as the answer has it; 0 = it had no answer, and is done or not
	Refused bool   // for good: it must not have happened
}

// Alters adds what was asked of a message, in the order in which it was asked; of one
// message the next is asked for once there is an answer to the one before.
func (h *History) Alters(key Key, asked ...Alteration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = map[Key][]Alteration{}
	}
	h.asked[key] = append(h.asked[key], asked...)
}

// Altered is an entry that says that a message was recalled or edited.
type Altered struct {
	At              time.Duration
	Seq             int64 // of the inbox
	Conversation    ConversationRef
	ConversationSeq int64 // of the change
	Key             Key   // of the message
	MessageID       int64
	Recall          bool
	Version         int32  // edit: what it makes of the message
	Hash            uint32 // edit: of sender and new content
	Bare            bool   // edit: shown without content, since the message is recalled by now
}

// Altered records such an entry.
func (l *Log) Altered(a Altered) {
	r := record{kind: recordAltered, at: ticks(a.At), id: a.MessageID, conversation: a.Conversation, key: a.Key, hash: a.Hash, code: versionOf(a.Version)}
	r.seq, r.convSeq = r.narrow(a.Seq), r.narrow(a.ConversationSeq)
	if a.Recall {
		r.flags |= flagRecall
	}
	if a.Bare {
		r.flags |= flagEdited
	}
	l.append(r)
}

// versionOf keeps a version; one that can not be is none that is ever asked for.
func versionOf(version int32) uint16 {
	if version < 0 || version > math.MaxUint16 {
		return math.MaxUint16
	}
	return uint16(version)
}

// collectAlterations learns from what anybody was delivered which changes of messages
// took place, and holds them against what was asked for.
func (j *judge) collectAlterations() {
	places := map[place]*record{}
	for _, device := range j.h.devices {
		device.each(func(r *record) {
			if r.kind == recordAltered && r.conversation != 0 && !r.has(flagRange) {
				j.alteration(places, r, device)
			}
		})
	}
	j.verdict.Altered = len(places)
	for _, r := range places {
		j.altered[r.conversation] = append(j.altered[r.conversation], r)
	}
	for _, all := range j.altered {
		slices.SortFunc(all, func(a, b *record) int { return cmp.Compare(a.convSeq, b.convSeq) })
		for _, r := range all {
			j.alteredOf[r.key] = append(j.alteredOf[r.key], r)
		}
	}
	for key, seen := range j.alteredOf {
		j.compareAlterations(key, seen)
	}
	for key := range j.h.asked {
		if j.alteredOf[key] == nil {
			j.compareAlterations(key, nil)
		}
	}
}

// alteration keeps a change that was delivered, once: the record that shows most of it.
func (j *judge) alteration(places map[place]*record, r *record, device *Device) {
	at := place{r.conversation, r.convSeq}
	other := places[at]
	if other != nil && !sameAlteration(other, r) {
		j.violation(Changed, r.key, device, "another change of a message at conversation seq %d than elsewhere", r.convSeq)
	}
	if other == nil || other.has(flagEdited) {
		places[at] = r
	}
}

func sameAlteration(a, b *record) bool {
	return a.key == b.key && a.id == b.id && a.code == b.code && a.has(flagRecall) == b.has(flagRecall) &&
		(a.hash == b.hash || a.has(flagEdited) || b.has(flagEdited))
}

// compareAlterations holds what was delivered against what was asked of a message: all
// that was answered, each once, in its order, and nothing else; and nothing at all of
// one that is recalled. Versions rise one by one.
func (j *judge) compareAlterations(key Key, seen []*record) {
	at := 0
	asked := j.h.asked[key]
	for i, a := range asked {
		switch is := at < len(seen) && a.is(seen[at]); {
		case is && a.Refused && slices.ContainsFunc(asked[i+1:], func(later Alteration) bool { return !later.Refused && later.is(seen[at]) }):
			// it was asked for again, and that is what took place
		case is && a.Refused:
			j.violation(Refused, key, nil, "%s refused for good, but took place at conversation seq %d", a.name(), seen[at].convSeq)
			at++
		case is:
			if r := seen[at]; a.Version != 0 && !a.Recall && r.code != versionOf(a.Version) {
				j.violation(Alter, key, nil, "answered as version %d, delivered as version %d", a.Version, r.code)
			}
			at++
		case a.Version != 0 && !a.Refused:
			j.violation(Alter, key, nil, "%s took place, and nobody saw it there", a.name())
			return
		}
	}
	if at < len(seen) {
		j.violation(Phantom, key, nil, "%s at conversation seq %d, which nobody asked for", describeAlteration(seen[at]), seen[at].convSeq)
		return
	}
	for i, r := range seen[:max(0, len(seen)-1)] {
		if r.has(flagRecall) {
			j.violation(Alter, key, nil, "changed at conversation seq %d, after it was recalled at %d", seen[i+1].convSeq, r.convSeq)
		}
	}
	version := uint16(1)
	for _, r := range seen {
		if version++; !r.has(flagRecall) && r.code != version {
			j.violation(Alter, key, nil, "version %d at conversation seq %d, where %d is next", r.code, r.convSeq, version)
			version = r.code
		}
	}
}

// is reports whether a record shows what was asked for.
func (a *Alteration) is(r *record) bool {
	return a.Recall == r.has(flagRecall) && (a.Recall || a.Hash == r.hash || r.has(flagEdited))
}

func (a *Alteration) name() string {
	if a.Recall {
		return "a recall"
	}
	return "an edit"
}

func describeAlteration(r *record) string {
	if r.has(flagRecall) {
		return "a recall"
	}
	return "an edit"
}

// judgeAlterations judges that a user's inbox holds every change of a message that is for
// them: they were in when it was sent, and stayed.
func (j *judge) judgeAlterations(in *inbox, devices []*Device) {
	if len(j.altered) == 0 || !slices.ContainsFunc(devices, func(d *Device) bool { return d.expects(0) }) {
		return
	}
	has := map[place]bool{}
	for _, r := range in.slots {
		if r.kind == recordAltered {
			has[place{r.conversation, r.convSeq}] = true
		}
	}
	for ref, all := range j.altered {
		for _, r := range all {
			if m := j.message(r.key); m != nil && !has[place{ref, r.convSeq}] && j.stayed(devices[0].userID, ref, m.convSeq, r.convSeq) {
				j.violation(Loss, r.key, devices[0], "%s at conversation seq %d of %s is not in the inbox", describeAlteration(r), r.convSeq, j.conversation(ref))
			}
		}
	}
}

// place names an event: its conversation and seq.
type place struct {
	ref ConversationRef
	seq uint32
}

// stayed reports whether one stay of a user holds both of two events.
func (j *judge) stayed(userID string, ref ConversationRef, a, b uint32) bool {
	return ref != 0 && slices.ContainsFunc(j.stays[ref-1], func(s Stay) bool { return s.UserID == userID && s.holds(a) && s.holds(b) })
}

// judgeAlteration judges whom a change of a message is delivered to.
func (w *walk) judgeAlteration(r *record) {
	m := w.j.message(r.key)
	switch {
	case m == nil || m.conversation != r.conversation || m.id != 0 && m.id != r.id:
		w.violation(Phantom, r, "%s of what was never sent there", describeAlteration(r))
	case !w.j.member(w.device.userID, r.conversation, r.convSeq) || !w.j.member(w.device.userID, r.conversation, m.convSeq):
		w.violation(Phantom, r, "%s is delivered to who does not see the message", describeAlteration(r))
	case r.convSeq <= m.convSeq:
		w.violation(Order, r, "%s at conversation seq %d, the message is %d", describeAlteration(r), r.convSeq, m.convSeq)
	}
}

// judgeShown judges a message that is shown changed: it must be as some change that was
// asked for made it, and at the end as the last one did.
func (w *walk) judgeShown(r *record) {
	seen := w.j.alteredOf[r.key]
	asked := w.j.h.asked[r.key]
	if r.has(flagEdited) && !slices.ContainsFunc(asked, func(a Alteration) bool {
		return !a.Refused && a.Recall == r.has(flagRecall) && (a.Recall || a.Hash == r.hash)
	}) {
		w.violation(Phantom, r, "shown changed as nobody asked for")
		return
	}
	if !w.device.last || len(seen) == 0 {
		return
	}
	last := seen[len(seen)-1]
	if !w.j.stayed(w.device.userID, r.conversation, r.convSeq, last.convSeq) {
		return // what it is like for who has left is not promised
	}
	if r.has(flagRecall) != last.has(flagRecall) || !last.has(flagRecall) && r.hash != last.hash {
		w.violation(Alter, r, "shown in the end not as %s at conversation seq %d made it", describeAlteration(last), last.convSeq)
	}
}
