package check

import (
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// story is a hand-made history: ann's phone writes to bob's phone and tablet.
type story struct {
	h         *History
	c         ConversationRef
	ann       *Log
	bob, bobs *Log // phone and tablet
	annKey    uint32
	now       time.Duration
	devices   []*Device
}

func newStory() *story {
	s := &story{h: NewHistory()}
	s.c = s.h.Direct("ann", "bob")
	s.devices = []*Device{s.h.Device("ann", "phone"), s.h.Device("bob", "phone"), s.h.Device("bob", "tablet")}
	s.annKey = s.devices[0].Ref()
	s.ann, s.bob, s.bobs = s.devices[0].Log(), s.devices[1].Log(), s.devices[2].Log()
	for i, log := range []*Log{s.ann, s.bob, s.bobs} {
		log.Resumed(Resume{At: s.tick()})
		s.devices[i].CaughtUp()
	}
	return s
}

func (s *story) tick() time.Duration {
	s.now += time.Millisecond
	return s.now
}

func (s *story) send(number, after uint32) {
	s.ann.Sent(Sent{At: s.tick(), Number: number, Conversation: s.c, After: after, Named: after != 0, Hash: Hash("ann", []byte{byte(number)})})
}

func (s *story) ack(number uint32, id, seq int64, duplicate bool) {
	s.ann.Acked(Answer{At: s.tick(), Number: number, MessageID: id, Conversation: s.c, ConversationSeq: seq, Duplicate: duplicate})
}

// arrive delivers a message with id = 100 + conversation seq.
func (s *story) arrive(log *Log, seq int64, number uint32, conversationSeq int64) {
	log.Arrived(s.arrival(seq, number, conversationSeq))
}

func (s *story) arrival(seq int64, number uint32, conversationSeq int64) Arrival {
	return Arrival{
		At: s.tick(), Seq: seq, MessageID: 100 + conversationSeq, Conversation: s.c, ConversationSeq: conversationSeq,
		Key: Key{s.annKey, number}, Hash: Hash("ann", []byte{byte(number)}),
	}
}

// say is the whole life of a message that meets no trouble.
func (s *story) say(number uint32) {
	s.send(number, number-1)
	s.ack(number, 100+int64(number), int64(number), false)
	s.everywhere(number)
}

func (s *story) everywhere(number uint32) {
	for _, log := range []*Log{s.ann, s.bob, s.bobs} {
		s.arrive(log, int64(number), number, int64(number))
	}
}

// group makes a group of ann, into which bob came at conversation seq 2, and out of
// which he went at 4, and delivers that to all of them.
func (s *story) group() ConversationRef {
	s.c = s.h.Conversation("g", Stay{UserID: "ann", From: 1})
	s.h.Changes(s.c, Change{UserID: "bob", Joined: true}, Change{UserID: "bob"})
	s.change(s.ann, 1, 2, true)
	s.change(s.bob, 1, 2, true)
	s.change(s.bobs, 1, 2, true)
	return s.c
}

func (s *story) out() {
	s.change(s.ann, 3, 4, false)
	s.change(s.bob, 3, 4, false)
	s.change(s.bobs, 3, 4, false)
}

func (s *story) change(log *Log, seq, conversationSeq int64, joined bool) {
	log.Changed(s.tick(), seq, s.c, conversationSeq, "bob", joined)
}

// saidInGroup is a message at conversation seq 3 and inbox seq 2.
func (s *story) saidInGroup(to ...*Log) {
	s.send(1, 0)
	s.ack(1, 103, 3, false)
	for _, log := range to {
		s.arrive(log, 2, 1, 3)
	}
}

func TestACleanHistoryIsAcquitted(t *testing.T) {
	clean := map[string]func(*story){
		"plain": func(s *story) { s.say(1); s.say(2) },
		"a retry is answered with the original": func(s *story) {
			s.say(1)
			s.send(1, 0)
			s.ack(1, 101, 1, true)
		},
		"the ack comes after the echo": func(s *story) {
			s.send(1, 0)
			s.everywhere(1)
			s.ack(1, 101, 1, false)
		},
		"refused, resent, accepted": func(s *story) {
			s.send(1, 0)
			s.ann.Refused(s.tick(), 1, im.Unavailable)
			s.say(1)
		},
		"refused for good, not delivered": func(s *story) {
			s.send(1, 0)
			s.ann.Refused(s.tick(), 1, im.TooLarge)
		},
		"a device resumes at its cursor and sees some again": func(s *story) {
			s.say(1)
			s.say(2)
			s.bob.Cursor(s.tick(), 1)
			s.bob.Resumed(Resume{At: s.tick(), From: 1, Head: 2})
			s.arrive(s.bob, 2, 2, 2)
		},
		"a device resumes at its last seq, which it never acknowledged": func(s *story) {
			s.say(1)
			s.bob.Resumed(Resume{At: s.tick(), From: 1, Last: 1, HasLast: true, Head: 1})
			s.say(2)
		},
		"a new device begins at the head": func(s *story) {
			s.say(1)
			late := s.h.Device("bob", "web")
			late.Log().Resumed(Resume{At: s.tick(), From: 1, Head: 1})
			late.CaughtUp()
		},
		"too long: the device starts over": func(s *story) {
			s.say(1)
			late := s.h.Device("bob", "web")
			log := late.Log()
			log.Resumed(Resume{At: s.tick(), From: 0})
			log.Resumed(Resume{At: s.tick(), From: 1, TooLong: true, Head: 1})
			late.CaughtUp()
		},
		"the named predecessor was refused for good and nobody follows it": func(s *story) {
			s.send(1, 0)
			s.ann.Refused(s.tick(), 1, im.Forbidden)
			s.send(2, 0)
			s.ack(2, 101, 1, false)
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.arrive(log, 1, 2, 1)
			}
		},
		"the named predecessor was refused for good, and who named it is sent again without": func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			s.ann.Refused(s.tick(), 1, im.Forbidden)
			s.ann.Refused(s.tick(), 2, im.OutOfOrder)
			s.send(2, 0)
			s.ack(2, 101, 1, false)
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.arrive(log, 1, 2, 1)
			}
		},
		"given up, but answered late": func(s *story) {
			s.say(1)
			s.ann.GaveUp(s.tick(), 1)
		},
		"who is in a group for a while gets what is said meanwhile": func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			s.send(2, 0)
			s.ack(2, 105, 5, false)
			s.arrive(s.ann, 4, 2, 5)
		},
		"a change that had no answer was not made": func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			s.h.Changes(s.c, Change{UserID: "bob", Joined: true, Unsure: true})
		},
		"receipts and reads that rise": func(s *story) {
			s.say(1)
			s.say(2)
			s.ann.Receipt(s.tick(), 3, s.c, "bob", false, 1)
			s.ann.Receipt(s.tick(), 4, s.c, "bob", true, 1)
			s.ann.Receipt(s.tick(), 5, s.c, "bob", false, 2)
			s.bob.Read(s.tick(), s.c, 1, 1)
			s.bob.Read(s.tick(), s.c, 1, 2)
			s.bob.CursorReply(s.tick(), 1, 2)
		},
		"a receipt of who has other devices": func(s *story) {
			s.h.Apart("bob")
			s.ann.Receipt(s.tick(), 1, s.c, "bob", true, 1)
		},
		"a receipt of who has learnt it from the history": func(s *story) {
			s.say(1)
			s.ann.Receipt(s.tick(), 2, s.c, "eve", true, 0)
			s.h.Device("eve", "new").Log().Resumed(Resume{At: s.tick(), From: 7, Head: 7})
			s.ann.Receipt(s.tick(), 3, s.c, "eve", true, 1)
			s.h.Device("dan", "old").Log().Resumed(Resume{At: s.tick(), From: 7, Head: 7, TooLong: true})
			s.ann.Receipt(s.tick(), 4, s.c, "dan", false, 1)
		},
	}
	for name, tell := range clean {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			tell(s)
			verdict := Judge(s.h)
			if !verdict.OK() {
				t.Fatal(text(t, &verdict))
			}
		})
	}
}

func text(t *testing.T, v *Verdict) string {
	t.Helper()
	var b strings.Builder
	if err := v.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEveryKindOfViolationIsConvicted(t *testing.T) {
	guilty := []struct {
		name string
		kind Kind
		tell func(*story)
	}{
		{"acknowledged, delivered to no device of bob", Loss, func(s *story) {
			s.send(1, 0)
			s.ack(1, 101, 1, false)
			s.arrive(s.ann, 1, 1, 1)
		}},
		{"delivered to one device of bob, not to the other", Loss, func(s *story) {
			s.send(1, 0)
			s.ack(1, 101, 1, false)
			s.arrive(s.ann, 1, 1, 1)
			s.arrive(s.bob, 1, 1, 1)
		}},
		{"delivered to the sender, never acknowledged, not to bob", Loss, func(s *story) {
			s.send(1, 0)
			s.arrive(s.ann, 1, 1, 1)
		}},
		{"a head was told that was never delivered", Loss, func(s *story) {
			s.say(1)
			s.bob.Head(s.tick(), 2)
		}},
		{"lost at one device, doubled at another", Loss, func(s *story) {
			s.send(1, 0)
			s.ack(1, 101, 1, false)
			s.arrive(s.bob, 1, 1, 1)
			s.arrive(s.bob, 2, 1, 1)
			s.arrive(s.bobs, 1, 1, 1)
			s.arrive(s.bobs, 2, 1, 1)
		}},
		{"the same message under two inbox seqs", Duplicate, func(s *story) {
			s.say(1)
			for _, log := range []*Log{s.bob, s.bobs} {
				s.arrive(log, 2, 1, 1)
			}
		}},
		{"a retry stored as another message", Duplicate, func(s *story) {
			s.say(1)
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.arrive(log, 2, 1, 2)
			}
		}},
		{"the same seq twice in one session", Duplicate, func(s *story) {
			s.say(1)
			s.arrive(s.bob, 1, 1, 1)
		}},
		{"a hole in the inbox", Gap, func(s *story) {
			s.say(1)
			s.send(2, 1)
			s.ack(2, 102, 2, false)
			s.arrive(s.ann, 2, 2, 2)
			s.arrive(s.bob, 3, 2, 2)
			s.arrive(s.bobs, 3, 2, 2)
		}},
		{"two entries in the wrong order", Gap, func(s *story) {
			s.say(1)
			s.send(2, 1)
			s.send(3, 2)
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.arrive(log, 3, 3, 3)
				s.arrive(log, 2, 2, 2)
			}
		}},
		{"two devices of bob see different entries", Changed, func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			s.arrive(s.bob, 1, 1, 1)
			s.arrive(s.bob, 2, 2, 2)
			s.arrive(s.bobs, 1, 2, 2)
			s.arrive(s.bobs, 2, 1, 1)
		}},
		{"an entry is another one after a reconnect", Changed, func(s *story) {
			s.say(1)
			s.say(2)
			s.bob.Resumed(Resume{At: s.tick()})
			s.arrive(s.bob, 1, 2, 2)
		}},
		{"another kind of entry changes", Changed, func(s *story) {
			s.bob.Entry(s.tick(), 1, 5)
			s.bobs.Entry(s.tick(), 1, 6)
		}},
		{"the inbox against the order of the conversation", Order, func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			for _, log := range []*Log{s.bob, s.bobs} {
				s.arrive(log, 1, 2, 2)
				s.arrive(log, 2, 1, 1)
			}
		}},
		{"two messages under one conversation seq", Collision, func(s *story) {
			s.say(1)
			s.send(2, 0)
			s.ack(2, 102, 1, false)
		}},
		{"a message before the one that it was sent after", SenderOrder, func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			s.ack(1, 102, 2, false)
			s.ack(2, 101, 1, false)
		}},
		{"a message stored without the one that it was sent after", SenderOrder, func(s *story) {
			s.send(1, 0)
			s.ann.Refused(s.tick(), 1, im.Unavailable)
			s.send(2, 1)
			s.ack(2, 101, 1, false)
		}},
		{"another id on retry", Identity, func(s *story) {
			s.say(1)
			s.send(1, 0)
			s.ack(1, 105, 1, true)
		}},
		{"another conversation seq where it is delivered", Identity, func(s *story) {
			s.send(1, 0)
			s.ack(1, 101, 1, false)
			s.arrive(s.bob, 1, 1, 2)
		}},
		{"two answers as new", Identity, func(s *story) {
			s.say(1)
			s.send(1, 0)
			s.ack(1, 101, 1, false)
		}},
		{"ids that fall", IDs, func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			s.ack(1, 105, 1, false)
			s.ack(2, 104, 2, false)
		}},
		{"a session begins above the cursor", Cursor, func(s *story) {
			s.say(1)
			s.say(2)
			s.bob.Cursor(s.tick(), 1)
			s.bob.Resumed(Resume{At: s.tick(), From: 2, Head: 2})
		}},
		{"a session begins below an earlier one", Cursor, func(s *story) {
			s.say(1)
			s.bob.Cursor(s.tick(), 1)
			s.bob.Resumed(Resume{At: s.tick(), From: 1, Head: 1})
			s.bob.Resumed(Resume{At: s.tick(), From: 0, Head: 1})
			s.arrive(s.bob, 1, 1, 1)
		}},
		{"a session begins elsewhere than asked", Cursor, func(s *story) {
			s.say(1)
			s.bob.Resumed(Resume{At: s.tick(), From: 1, Last: 0, HasLast: true, Head: 1})
		}},
		{"a cursor falls", Cursor, func(s *story) {
			s.bob.CursorReply(s.tick(), 1, 3)
			s.bob.CursorReply(s.tick(), 1, 2)
		}},
		{"an ack is not taken", Cursor, func(s *story) { s.bob.CursorReply(s.tick(), 2, 1) }},
		{"read_upto falls", ReadMark, func(s *story) {
			s.bob.Read(s.tick(), s.c, 1, 3)
			s.bob.Read(s.tick(), s.c, 1, 2)
		}},
		{"receipts fall", ReadMark, func(s *story) {
			s.ann.Receipt(s.tick(), 1, s.c, "bob", false, 2)
			s.ann.Receipt(s.tick(), 2, s.c, "bob", false, 1)
		}},
		{"a receipt of what nobody got", Receipt, func(s *story) {
			s.say(1)
			s.ann.Receipt(s.tick(), 2, s.c, "bob", true, 2)
		}},
		{"a receipt before it came", Receipt, func(s *story) {
			s.send(1, 0)
			s.arrive(s.ann, 1, 1, 1)
			s.ann.Receipt(s.tick(), 2, s.c, "bob", false, 1)
			s.arrive(s.bob, 1, 1, 1)
			s.arrive(s.bobs, 1, 1, 1)
		}},
		{"a receipt before its reader began", Receipt, func(s *story) {
			s.say(1)
			s.ann.Receipt(s.tick(), 2, s.c, "eve", true, 1)
			s.h.Device("eve", "new").Log().Resumed(Resume{At: s.tick(), From: 7, Head: 7})
		}},
		{"never sent", Phantom, func(s *story) { s.arrive(s.bob, 1, 9, 1) }},
		{"no tag at all", Phantom, func(s *story) {
			a := s.arrival(1, 0, 1)
			a.Key = Key{}
			s.bob.Arrived(a)
		}},
		{"other content", Phantom, func(s *story) {
			s.send(1, 0)
			a := s.arrival(1, 1, 1)
			a.Hash++
			s.bob.Arrived(a)
		}},
		{"another conversation", Phantom, func(s *story) {
			s.send(1, 0)
			a := s.arrival(1, 1, 1)
			a.Conversation = s.h.Direct("bob", "eve")
			s.bob.Arrived(a)
		}},
		{"to who is no member", Phantom, func(s *story) {
			s.say(1)
			eve := s.h.Device("eve", "phone").Log()
			eve.Resumed(Resume{At: s.tick()})
			s.arrive(eve, 1, 1, 1)
		}},
		{"acknowledged, never sent", Phantom, func(s *story) { s.ack(1, 101, 1, false) }},
		{"refused for good, but delivered", Refused, func(s *story) {
			s.say(1)
			s.ann.Refused(s.tick(), 1, im.Forbidden)
		}},
		{"sent, and never answered", Unanswered, func(s *story) {
			s.send(1, 0)
			s.ann.Refused(s.tick(), 1, im.Unavailable)
			s.ann.GaveUp(s.tick(), 1)
		}},
		{"stored behind one that was refused for good", SenderOrder, func(s *story) {
			s.send(1, 0)
			s.send(2, 1)
			s.ann.Refused(s.tick(), 1, im.Forbidden)
			s.ack(2, 101, 1, false)
		}},
		{"said in a group while bob was in, and not delivered to him", Loss, func(s *story) {
			s.group()
			s.saidInGroup(s.ann)
			s.change(s.ann, 3, 4, false)
			s.change(s.bob, 2, 4, false)
			s.change(s.bobs, 2, 4, false)
		}},
		{"bob is not told that he is out", Loss, func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.change(s.ann, 3, 4, false)
		}},
		{"said in a group after bob went out, and delivered to him", Phantom, func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			s.send(2, 0)
			s.arrive(s.bob, 4, 2, 5)
		}},
		{"told who came in while out", Phantom, func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			eve := s.h.Device("eve", "phone").Log()
			eve.Resumed(Resume{At: s.tick()})
			s.change(eve, 1, 2, true)
		}},
		{"a change that was made, and nobody saw", Membership, func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
		}},
		{"a change that nobody made", Membership, func(s *story) {
			s.c = s.h.Conversation("g", Stay{UserID: "ann", From: 1})
			s.change(s.ann, 1, 2, true)
		}},
		{"in, who was in", Membership, func(s *story) {
			s.group()
			s.change(s.ann, 2, 4, true)
		}},
		{"two changes change places", Membership, func(s *story) {
			s.c = s.h.Conversation("g", Stay{UserID: "ann", From: 1}, Stay{UserID: "bob", From: 1})
			s.h.Changes(s.c, Change{UserID: "bob"}, Change{UserID: "bob", Joined: true})
			s.change(s.ann, 1, 2, true)
			s.change(s.ann, 2, 3, false)
		}},
		{"a change comes twice", Duplicate, func(s *story) {
			s.group()
			s.change(s.ann, 2, 2, true)
		}},
		{"a change before what was before it", Order, func(s *story) {
			s.group()
			s.send(1, 0)
			s.ack(1, 103, 3, false)
			s.change(s.ann, 2, 4, false)
			s.arrive(s.ann, 3, 1, 3)
		}},
		{"a change at another place than elsewhere", Changed, func(s *story) {
			s.group()
			s.change(s.ann, 2, 3, false)
			s.change(s.bob, 2, 3, true)
		}},
		{"a negative seq", Range, func(s *story) { s.bob.Entry(s.tick(), -1, 5) }},
	}
	for _, c := range guilty {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			verdict := Judge(s.h)
			if verdict.Totals[c.kind] == 0 {
				t.Fatalf("not convicted of %s: %s", c.kind, text(t, &verdict))
			}
		})
	}
}

func TestAViolationTellsTheWholeHistoryOfItsMessage(t *testing.T) {
	s := newStory()
	s.say(1)
	s.send(2, 1)
	s.ann.Refused(s.tick(), 2, im.Unavailable)
	s.send(2, 1)
	s.ack(2, 102, 2, true)
	s.arrive(s.ann, 2, 2, 2)
	s.arrive(s.bobs, 2, 2, 2)

	verdict := Judge(s.h)

	got := text(t, &verdict)
	for _, want := range []string{
		"2 sent, 2 acknowledged, 0 refused, 5 delivered",
		"loss: stored as conversation seq 2, arrived at 2 of 3 devices: not at bob/phone [ann/phone #2]",
		"sent to " + im.DirectConversation("ann", "bob") + " after #1 (named)",
		"refused: unavailable", "acknowledged: id 102, conversation seq 2, duplicate",
		"bob/tablet", "delivered: inbox seq 2, id 102",
		"stopped at inbox seq 1, the head is 2 [bob/phone]",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestOnlyTheFirstViolationsOfAKindAreToldInFull(t *testing.T) {
	s := newStory()
	for i := range int64(3 * MaxViolations) {
		s.arrive(s.bob, i+1, uint32(i+1), i+1)
	}
	verdict := Judge(s.h)
	if got := verdict.Totals[Phantom]; got != 3*MaxViolations {
		t.Fatalf("%d phantoms counted", got)
	}
	told := 0
	for _, v := range verdict.Violations {
		if v.Kind == Phantom {
			told++
		}
	}
	if told != MaxViolations {
		t.Fatalf("%d told in full", told)
	}
}
