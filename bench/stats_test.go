package bench

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/im-transfer/im"
)

func TestOnlyTheMeasuredTimeCounts(t *testing.T) {
	s := newStats()
	ms := time.Millisecond
	s.add(&tally{sent: 1, acked: 1, acks: []span{{0, 500 * ms}}}) // before there is one
	s.measure(1000*ms, 2000*ms)
	s.add(&tally{sent: 3, acked: 3, acks: []span{{999 * ms, 1500 * ms}, {1000 * ms, 1010 * ms}, {1999 * ms, 5000 * ms}}})
	s.add(&tally{sent: 1, acked: 1, acks: []span{{2000 * ms, 2001 * ms}}})
	if l := latencyOf(s.ack); l.Count != 2 || math.Abs(l.Min-10) > 0.1 || math.Abs(l.Max-3001) > 3 {
		t.Fatalf("%+v", l)
	}
	if s.totals().Acked != 5 {
		t.Fatalf("%+v", s.totals())
	}
}

func TestASecondTellsOfItselfAlone(t *testing.T) {
	s := newStats()
	s.add(&tally{sent: 100, acked: 90, delivered: 180, deliveries: []span{{0, 8 * time.Millisecond}}})
	first := s.second(time.Second, 0)
	s.add(&tally{sent: 20, acked: 10, delivered: 20, deliveries: []span{{0, 2 * time.Millisecond}}})
	second := s.second(3*time.Second, 0)
	if first.Sent != 100 || first.Unanswered != 10 || first.DeliveryMax < 7.9 {
		t.Errorf("%+v", first)
	}
	if second.Sent != 10 || second.Delivered != 10 || second.Unanswered != 20 || second.DeliveryMax > 2.1 {
		t.Errorf("%+v", second)
	}
}

func TestRefusalsForGoodAreAnswers(t *testing.T) {
	var tally tally
	tally.sent, tally.acked = 3, 1
	tally.refuse(im.TooLarge, time.Second)
	tally.refuse(im.Unavailable, time.Second)
	s := newStats()
	s.add(&tally)
	if totals := s.totals(); totals.open() != 1 {
		t.Fatalf("%d open of %+v", totals.open(), totals)
	}
}

func TestTheRingOfUnansweredMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sender
		open := map[uint32]time.Duration{}
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "step") > 0 || len(open) == 0 {
				slot := s.newSlot()
				slot.at, slot.state = time.Duration(i), pendingSlot
				s.unanswered++
				open[slot.number] = slot.at
				continue
			}
			number := rapid.Uint32Range(s.oldest, s.number).Draw(t, "answered")
			if slot := s.slot(number); slot != nil {
				s.settle(slot)
				delete(open, number)
			}
		}
		if s.unanswered != len(open) {
			t.Fatalf("%d unanswered, want %d", s.unanswered, len(open))
		}
		for number, at := range open {
			if slot := s.slot(number); slot == nil || slot.at != at || number < s.oldest {
				t.Fatalf("#%d is gone", number)
			}
		}
	})
}

func TestTheProcessUnderTestIsLookedInto(t *testing.T) {
	_, pid := startFake(t)
	p := newProcess([]int{pid}, "")
	if memory := p.memory(t.Context()); memory < 1<<20 {
		t.Errorf("%d bytes", memory)
	}
	if nobody := newProcess(nil, ""); nobody.memory(t.Context()) != 0 || nobody.cpu() != 0 {
		t.Error("nothing is known of no process")
	}
	if ownCPU() <= 0 {
		t.Error("no CPU time of its own")
	}
}

func TestThePaceClockSleepsAsLongAsItShould(t *testing.T) {
	clock := newPaceClock()
	defer clock.close()
	began := time.Now()
	clock.sleep(2 * time.Millisecond)
	clock.sleep(-1)
	if took := time.Since(began); took < 2*time.Millisecond {
		t.Fatal(took)
	}
}
