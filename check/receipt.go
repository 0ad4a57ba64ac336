package check

import (
	"cmp"
	"math"
	"slices"
)

// sight is what a device had seen of its conversations, and when.
type sight struct {
	rises map[ConversationRef][]rise
	blind uint32 // ticks: from here on it may know more than it was delivered; never = math.MaxUint32
}

// rise is when a device saw a conversation up to a seq.
type rise struct{ at, upto uint32 }

// judgeReceipts holds receipts against what their readers had been delivered by then:
// nobody has read, nor got, what had not come to one of their devices.
func (j *judge) judgeReceipts() {
	var sights map[int64][]sight // by the hash that receipts name users by
	for _, device := range j.h.devices {
		device.each(func(r *record) {
			if r.kind != recordReceipt || r.conversation == 0 || r.has(flagRange) {
				return
			}
			if sights == nil {
				sights = j.sights()
			}
			upto := uint32(0)
			for _, s := range sights[r.id] {
				upto = max(upto, s.upto(r.conversation, r.at))
			}
			if r.convSeq > upto {
				j.violation(Receipt, Key{}, device, "receipt at inbox seq %d says up to %d, its reader had been delivered up to %d", r.seq, r.convSeq, upto)
			}
		})
	}
}

func (j *judge) sights() map[int64][]sight {
	all := map[int64][]sight{}
	for _, device := range j.h.devices {
		hash := int64(Hash(device.userID, nil))
		all[hash] = append(all[hash], device.sight())
	}
	return all
}

// sight follows what a device is delivered. One that begins above it, as a new one may
// and one that was away for too long does, reads the history.
func (d *Device) sight() sight {
	s, top := sight{rises: map[ConversationRef][]rise{}, blind: math.MaxUint32}, uint32(0)
	if d.history.apart[d.userID] {
		s.blind = 0
	}
	d.each(func(r *record) {
		switch r.kind {
		case recordResumed:
			if r.has(flagTooLong) || r.seq > top {
				s.blind = min(s.blind, r.at)
			}
		case recordEntry, recordReceipt:
			top = max(top, r.seq)
		case recordArrived, recordChange, recordAltered:
			top = max(top, r.seq)
			if seen := s.rises[r.conversation]; len(seen) == 0 || seen[len(seen)-1].upto < r.convSeq {
				s.rises[r.conversation] = append(seen, rise{r.at, r.convSeq})
			}
		}
	})
	return s
}

// upto returns how far the device had seen a conversation at a time.
func (s *sight) upto(conversation ConversationRef, at uint32) uint32 {
	if at >= s.blind {
		return math.MaxUint32
	}
	seen := s.rises[conversation]
	later, _ := slices.BinarySearchFunc(seen, at, func(r rise, at uint32) int { return cmp.Or(cmp.Compare(r.at, at), -1) })
	if later == 0 {
		return 0
	}
	return seen[later-1].upto
}
