package check

import (
	"cmp"
	"slices"
	"time"
)

// Change is what a run has done to who is in a conversation: a user came in, or went
// out. Each is an event of the conversation of its own.
type Change struct {
	UserID string
	Joined bool
	Unsure bool // it had no answer: done or not
}

// Changes adds what was done to a conversation, beyond the stays that it was made
// with, in the order in which it was done. At which seqs, and so who must get which
// message, the judge learns from what devices were delivered (Log.Changed).
func (h *History) Changes(ref ConversationRef, made ...Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.conversations[ref-1]
	c.made = append(c.made, made...)
}

// Changed records a membership entry about one user, who came in or went out.
func (l *Log) Changed(at time.Duration, seq int64, conversation ConversationRef, conversationSeq int64, userID string, joined bool) {
	r := record{kind: recordChange, at: ticks(at), conversation: conversation, id: int64(Hash(userID, nil))}
	r.seq, r.convSeq = r.narrow(seq), r.narrow(conversationSeq)
	if joined {
		r.flags |= flagJoined
	}
	l.append(r)
}

// collectChanges learns from the membership entries that anybody was delivered who was
// in each conversation when, and holds them against what was done.
func (j *judge) collectChanges() {
	j.stays = make([][]Stay, len(j.h.conversations))
	names := map[int64]string{}
	for i := range j.h.conversations {
		j.stays[i] = slices.Clone(j.h.conversations[i].stays)
	}
	for _, device := range j.h.devices {
		names[int64(Hash(device.userID, nil))] = device.userID
		device.each(func(r *record) {
			if r.kind == recordChange {
				j.change(r, device)
			}
		})
	}
	for ref, changes := range j.changes {
		slices.SortFunc(changes, func(a, b *record) int { return cmp.Compare(a.convSeq, b.convSeq) })
		for _, r := range changes {
			j.stay(ref, r, names[r.id])
		}
		j.compareChanges(ref, changes, names)
	}
	for i, c := range j.h.conversations {
		if ref := ConversationRef(i + 1); len(c.made) > 0 && len(j.changes[ref]) == 0 {
			j.compareChanges(ref, nil, names)
		}
	}
}

// change keeps an event that was delivered, once.
func (j *judge) change(r *record, device *Device) {
	if r.conversation == 0 || r.has(flagRange) {
		return // it is judged with the session
	}
	for _, other := range j.changes[r.conversation] {
		if other.convSeq == r.convSeq {
			if other.id != r.id || other.has(flagJoined) != r.has(flagJoined) {
				j.violation(Changed, Key{}, device, "another change of the members at conversation seq %d than elsewhere", r.convSeq)
			}
			return
		}
	}
	j.changes[r.conversation] = append(j.changes[r.conversation], r)
}

// stay begins or ends a stay.
func (j *judge) stay(ref ConversationRef, r *record, userID string) {
	stays := j.stays[ref-1]
	open := slices.IndexFunc(stays, func(s Stay) bool { return s.UserID == userID && s.To == 0 })
	switch {
	case r.has(flagJoined) == (open >= 0):
		j.violation(Membership, Key{}, nil, "conversation seq %d of %s: %s %s", r.convSeq, j.conversation(ref), userID, describeChange(!r.has(flagJoined)))
	case open >= 0:
		stays[open].To = int64(r.convSeq)
	default:
		j.stays[ref-1] = append(stays, Stay{UserID: userID, From: int64(r.convSeq)})
	}
}

// compareChanges holds what was delivered against what was done: all of it, each once,
// in its order, and nothing else.
func (j *judge) compareChanges(ref ConversationRef, seen []*record, names map[int64]string) {
	is := func(r *record, c Change) bool { return names[r.id] == c.UserID && r.has(flagJoined) == c.Joined }
	at := 0
	for _, c := range j.h.conversations[ref-1].made {
		switch {
		case at < len(seen) && is(seen[at], c):
			at++
		case !c.Unsure:
			j.violation(Membership, Key{}, nil, "%s %s in %s, and nobody saw it there", c.UserID, describeChange(c.Joined), j.conversation(ref))
			return
		}
	}
	if at < len(seen) {
		j.violation(Membership, Key{}, nil, "%s %s in %s at conversation seq %d, which nobody did",
			names[seen[at].id], describeChange(seen[at].has(flagJoined)), j.conversation(ref), seen[at].convSeq)
	}
}

// judgePlaces judges that no change has the place of a message; these are sorted by it.
func (j *judge) judgePlaces(messages []Key, changes []*record, what string) {
	for _, r := range changes {
		at, found := slices.BinarySearchFunc(messages, r.convSeq, func(key Key, seq uint32) int {
			return cmp.Compare(j.message(key).convSeq, seq)
		})
		if found {
			j.violation(Collision, messages[at], nil, "conversation seq %d is also that of %s", r.convSeq, what)
		}
	}
}

func describeChange(joined bool) string {
	if joined {
		return "came in"
	}
	return "went out"
}

// judgeChanges judges that a user's inbox holds every change of the members that was
// made while the user was in, the joining and the leaving included.
func (j *judge) judgeChanges(in *inbox, devices []*Device) {
	if !slices.ContainsFunc(devices, func(d *Device) bool { return d.expects(0) }) {
		return
	}
	has := map[place]bool{}
	for _, r := range in.slots {
		if r.kind == recordChange {
			has[place{r.conversation, r.convSeq}] = true
		}
	}
	for ref, changes := range j.changes {
		for _, r := range changes {
			if !has[place{ref, r.convSeq}] && j.member(devices[0].userID, ref, r.convSeq) {
				j.violation(Loss, Key{}, devices[0], "the change of the members at conversation seq %d of %s is not in the inbox", r.convSeq, j.conversation(ref))
			}
		}
	}
}
