package check

import (
	"testing"
	"time"
)

// stream has ann's phone send to bob's at a rate between two times; acks take 20 ms,
// deliveries 40 ms.
func (s *story) stream(number *uint32, from, to, gap time.Duration) {
	for at := from; at < to; at += gap {
		*number++
		n := *number
		s.ann.Sent(Sent{At: at, Number: n, Conversation: s.c, Hash: Hash("ann", []byte{byte(n)})})
		s.ann.Acked(Answer{At: at + 20*time.Millisecond, Number: n, MessageID: 100 + int64(n), Conversation: s.c, ConversationSeq: int64(n)})
		s.now = at + 39*time.Millisecond
		s.arrive(s.bob, int64(n), n, int64(n))
	}
}

func TestATimelineIsMeasured(t *testing.T) {
	s := newStory()
	s.bob.Awake(0)
	var number uint32
	s.stream(&number, 100*time.Millisecond, 2*time.Second, 100*time.Millisecond)
	s.bob.Resumed(Resume{At: 3 * time.Second, From: 0})
	s.now = 3 * time.Second
	s.arrive(s.bob, 1, 1, 1)                                                                                                    // once more: it does not count
	s.ann.Acked(Answer{At: 3 * time.Second, Number: 1, MessageID: 101, Conversation: s.c, ConversationSeq: 1, Duplicate: true}) // nor does this

	timeline := Measure(s.h)

	if len(timeline.Seconds) != 2 {
		t.Fatalf("%d seconds: %+v", len(timeline.Seconds), timeline.Seconds)
	}
	want := Second{At: 1, Sent: 9, Acked: 9, Delivered: 9, AckP50: 20, AckP99: 20, DeliveryP50: 40, DeliveryP99: 40}
	if timeline.Seconds[0] != want {
		t.Errorf("got %+v, want %+v", timeline.Seconds[0], want)
	}
	if want := (Latency{Count: 19, P50: 40, P99: 40, Max: 40}); timeline.Delivery != want {
		t.Errorf("got %+v, want %+v", timeline.Delivery, want)
	}
}

// What waited for a device that was away by its own choice is delivered, but says
// nothing about latency; and a device that has never been there is no device.
func TestAbsencesAreNoLatency(t *testing.T) {
	s := newStory()
	var number uint32
	s.ann.Awake(0)
	s.stream(&number, 100*time.Millisecond, time.Second, 100*time.Millisecond)
	if timeline := Measure(s.h); timeline.Delivery.Count != 0 || timeline.Seconds[0].Delivered != 0 || timeline.Ack.Count != 9 {
		t.Errorf("nobody was awake: %+v", timeline)
	}
	s = newStory()
	s.bob.Awake(time.Second)
	number = 0
	s.stream(&number, 100*time.Millisecond, 2*time.Second, 100*time.Millisecond)
	timeline := Measure(s.h)
	if timeline.Delivery.Count != 10 || timeline.Seconds[0].Delivered != 9 {
		t.Errorf("%d latencies, %d deliveries at once", timeline.Delivery.Count, timeline.Seconds[0].Delivered)
	}
}

func TestTheRecoveryFromFaults(t *testing.T) {
	s := newStory()
	s.bob.Awake(0)
	var number uint32
	ms := time.Millisecond
	s.stream(&number, 0, 6*time.Second, 20*ms)               // 50/s
	s.stream(&number, 8*time.Second, 9*time.Second, 100*ms)  // 10/s
	s.stream(&number, 9*time.Second, 15*time.Second, 20*ms)  // 50/s again
	s.stream(&number, 17*time.Second, 20*time.Second, 40*ms) // 25/s, and never more
	faults := []Fault{
		{Kind: "kill -9", At: 6 * time.Second, Until: 7 * time.Second},
		{Kind: "kill -9", At: 15 * time.Second, Until: 16 * time.Second},
	}

	Measure(s.h).Recoveries(faults, 0, 20*time.Second)

	if took := faults[0].Recovery; took == nil || *took < 1900*ms || *took > 2100*ms {
		t.Errorf("the first recovery took %v, want 2 s", took)
	}
	if took := faults[1].Recovery; took != nil {
		t.Errorf("the second never was one, and took %s", *took)
	}
}

// A fault in the recovery from another is compared with the whole load, where there
// is too little in between.
func TestAFaultSoonAfterAnother(t *testing.T) {
	timeline := &Timeline{}
	for i := range 200 {
		n := 10
		if i >= 50 && i < 60 || i >= 63 && i < 70 {
			n = 0
		}
		timeline.acked, timeline.delivered = append(timeline.acked, n), append(timeline.delivered, n)
	}
	second := time.Second
	faults := []Fault{{At: 5 * second, Until: 6 * second}, {At: 6300 * time.Millisecond, Until: 7 * second}}
	timeline.Recoveries(faults, 0, 20*second)
	if took := faults[1].Recovery; took == nil || *took != 0 {
		t.Errorf("the second recovery took %v, want none", took)
	}
}
