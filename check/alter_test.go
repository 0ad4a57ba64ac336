package check

import "testing"

// edited and recalled are what has been asked of a message and answered.
func edited(version int32) Alteration { return Alteration{Hash: editHash(version), Version: version} }

func editHash(version int32) uint32 { return Hash("ann", []byte{100, byte(version)}) }

var recalled = Alteration{Recall: true, Version: 9}

// edit delivers that message 1 has become a version, under a conversation seq.
func (s *story) edit(log *Log, seq, conversationSeq int64, version int32) {
	log.Altered(s.altered(seq, conversationSeq, version))
}

func (s *story) altered(seq, conversationSeq int64, version int32) Altered {
	return Altered{
		At: s.tick(), Seq: seq, Conversation: s.c, ConversationSeq: conversationSeq, Key: Key{s.annKey, 1}, MessageID: 101,
		Version: version, Hash: editHash(version),
	}
}

func (s *story) recall(log *Log, seq, conversationSeq int64) {
	a := s.altered(seq, conversationSeq, 0)
	a.Recall = true
	log.Altered(a)
}

func (s *story) asked(all ...Alteration) { s.h.Alters(Key{s.annKey, 1}, all...) }

// changes delivers to all that message 1 was edited, and then recalled.
func (s *story) changes() {
	s.say(1)
	s.asked(edited(2), recalled)
	for _, log := range []*Log{s.ann, s.bob, s.bobs} {
		s.edit(log, 2, 2, 2)
		s.recall(log, 3, 3)
	}
}

// shown delivers message 1 once more, to a device that has all behind it.
func (s *story) shown(change func(*Arrival), last bool) {
	late := s.h.Device("bob", "web")
	log := late.Log()
	log.Resumed(Resume{At: s.tick()})
	again := s.arrival(1, 1, 1)
	change(&again)
	log.Arrived(again)
	if last {
		late.ReadsLast()
	}
}

func TestAlterationsThatAreKeptAreAcquitted(t *testing.T) {
	for name, tell := range map[string]func(*story){
		"edited, then recalled": (*story).changes,
		"edited twice": func(s *story) {
			s.say(1)
			s.asked(edited(2), edited(3))
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.edit(log, 2, 2, 2)
				s.edit(log, 3, 3, 3)
			}
		},
		"refused, and nobody sees it": func(s *story) {
			s.say(1)
			s.asked(Alteration{Hash: 5, Refused: true}, Alteration{Recall: true, Refused: true})
		},
		"no answer, and it took place": func(s *story) {
			s.say(1)
			s.asked(Alteration{Recall: true})
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.recall(log, 2, 2)
			}
		},
		"no answer, and it did not": func(s *story) {
			s.say(1)
			s.asked(Alteration{Recall: true})
		},
		"an edit whose content is gone, for who reads it after the recall": func(s *story) {
			s.say(1)
			s.asked(edited(2), recalled)
			for _, log := range []*Log{s.ann, s.bob} {
				s.edit(log, 2, 2, 2)
				s.recall(log, 3, 3)
			}
			bare := s.altered(2, 2, 2)
			bare.Hash, bare.Bare = 0, true
			s.bobs.Altered(bare)
			s.recall(s.bobs, 3, 3)
		},
		"shown as one of its versions": func(s *story) {
			s.changes()
			s.shown(func(a *Arrival) { a.Edited, a.Hash = true, editHash(2) }, false)
		},
		"shown as it is in the end": func(s *story) {
			s.changes()
			s.shown(func(a *Arrival) { a.Recalled, a.Hash = true, 0 }, true)
		},
		"who has left the group is told no more": func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			s.asked(edited(2))
			s.editInGroup(s.ann)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory()
			tell(s)
			if verdict := Judge(s.h); !verdict.OK() {
				t.Fatal(text(t, &verdict))
			}
		})
	}
}

// editInGroup delivers that the message of the group was edited, after bob had left.
func (s *story) editInGroup(to ...*Log) {
	for _, log := range to {
		a := s.altered(4, 5, 2)
		a.MessageID = 103
		log.Altered(a)
	}
}

func TestEveryBreakOfAnAlterationIsConvicted(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		tell func(*story)
	}{
		{"answered, and seen by nobody", Alter, func(s *story) {
			s.say(1)
			s.asked(recalled)
		}},
		{"the second of two is seen by nobody", Alter, func(s *story) {
			s.say(1)
			s.asked(edited(2), edited(3))
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.edit(log, 2, 2, 2)
			}
		}},
		{"not at one user", Loss, func(s *story) {
			s.say(1)
			s.asked(recalled)
			s.recall(s.ann, 2, 2)
		}},
		{"not at one device", Loss, func(s *story) {
			s.say(1)
			s.asked(recalled)
			s.recall(s.ann, 2, 2)
			s.recall(s.bob, 2, 2)
		}},
		{"twice at one user", Duplicate, func(s *story) {
			s.changes()
			s.recall(s.bob, 4, 3)
		}},
		{"stored twice", Phantom, func(s *story) {
			s.changes()
			for _, log := range []*Log{s.ann, s.bob, s.bobs} {
				s.recall(log, 4, 4)
			}
		}},
		{"nobody asked for it", Phantom, func(s *story) {
			s.say(1)
			s.recall(s.bob, 2, 2)
		}},
		{"an edit to what nobody wrote", Alter, func(s *story) {
			s.say(1)
			s.asked(edited(2))
			other := s.altered(2, 2, 2)
			other.Hash = 7
			s.bob.Altered(other)
		}},
		{"of a message that was never sent", Phantom, func(s *story) {
			s.say(1)
			a := s.altered(2, 2, 2)
			a.Key.Number = 5
			s.bob.Altered(a)
		}},
		{"of another message's id", Phantom, func(s *story) {
			s.say(1)
			s.asked(edited(2))
			a := s.altered(2, 2, 2)
			a.MessageID = 77
			s.bob.Altered(a)
		}},
		{"to who has left the group", Phantom, func(s *story) {
			s.group()
			s.saidInGroup(s.ann, s.bob, s.bobs)
			s.out()
			s.asked(edited(2))
			s.editInGroup(s.ann, s.bob)
		}},
		{"refused, and yet it took place", Refused, func(s *story) {
			s.say(1)
			s.asked(Alteration{Recall: true, Refused: true})
			s.recall(s.bob, 2, 2)
		}},
		{"edited after it was recalled", Alter, func(s *story) {
			s.say(1)
			s.asked(recalled, edited(2))
			s.recall(s.bob, 2, 2)
			s.edit(s.bob, 3, 3, 2)
		}},
		{"a version is left out", Alter, func(s *story) {
			s.say(1)
			s.asked(edited(3))
			s.edit(s.bob, 2, 2, 3)
		}},
		{"a version that can not be", Alter, func(s *story) {
			s.say(1)
			s.asked(edited(2))
			a := s.altered(2, 2, 2)
			a.Version += 1 << 16
			s.bob.Altered(a)
		}},
		{"another version than the answer's", Alter, func(s *story) {
			s.say(1)
			s.asked(Alteration{Hash: editHash(2), Version: 3})
			s.edit(s.bob, 2, 2, 2)
		}},
		{"two edits change places", Phantom, func(s *story) {
			s.say(1)
			s.asked(Alteration{Hash: editHash(2)}, Alteration{Hash: editHash(3)})
			a, b := s.altered(2, 2, 2), s.altered(3, 3, 3)
			a.Hash, b.Hash = b.Hash, a.Hash
			s.bob.Altered(a)
			s.bob.Altered(b)
		}},
		{"another at its place than elsewhere", Changed, func(s *story) {
			s.say(1)
			s.asked(edited(2), recalled)
			s.edit(s.bob, 2, 2, 2)
			s.recall(s.ann, 2, 2)
		}},
		{"before its message", Order, func(s *story) {
			s.send(1, 0)
			s.ack(1, 102, 2, false)
			s.asked(recalled)
			a := s.altered(1, 1, 0)
			a.Recall, a.MessageID = true, 102
			s.bob.Altered(a)
		}},
		{"at the place of a message", Collision, func(s *story) {
			s.say(1)
			s.say(2)
			s.asked(recalled)
			s.recall(s.bob, 3, 2)
		}},
		{"a message is shown as nobody has made it", Phantom, func(s *story) {
			s.changes()
			s.shown(func(a *Arrival) { a.Edited, a.Hash = true, 7 }, false)
		}},
		{"a message is shown recalled, which it is not", Phantom, func(s *story) {
			s.say(1)
			s.shown(func(a *Arrival) { a.Recalled, a.Hash = true, 0 }, false)
		}},
		{"in the end it is shown as it was sent", Alter, func(s *story) {
			s.changes()
			s.shown(func(*Arrival) {}, true)
		}},
		{"in the end it is shown as it was before", Alter, func(s *story) {
			s.changes()
			s.shown(func(a *Arrival) { a.Edited, a.Hash = true, editHash(2) }, true)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory()
			c.tell(s)
			if verdict := Judge(s.h); verdict.Totals[c.kind] == 0 {
				t.Fatalf("not convicted of %s: %s", c.kind, text(t, &verdict))
			}
		})
	}
}
