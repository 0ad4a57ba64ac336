package check

import (
	"slices"
	"time"
)

// Timeline is how a run went over time, measured from its history.
type Timeline struct {
	Seconds  []Second `json:"seconds"`
	Ack      Latency  `json:"ack"`      // from the first send to the send_ack
	Delivery Latency  `json:"delivery"` // from the first send to a device of the conversation

	acked, delivered []int // by tenths of a second
}

// Second is one second of a run. Latencies are those of what was answered and
// delivered in it, in milliseconds; 0 where there was nothing.
type Second struct {
	At          float64 `json:"at"` // its end, seconds since the start
	Sent        int     `json:"sent"`
	Acked       int     `json:"acknowledged"`
	Delivered   int     `json:"delivered"`
	AckP50      float64 `json:"ack_p50_ms"`
	AckP99      float64 `json:"ack_p99_ms"`
	DeliveryP50 float64 `json:"delivery_p50_ms"`
	DeliveryP99 float64 `json:"delivery_p99_ms"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// samples are latencies, in ticks.
type samples []uint32

// tenth is the resolution of a Timeline's rates.
const tenth = 100 * time.Millisecond

// Measure makes the timeline of a history. Nothing may record into it meanwhile. It
// counts the devices that have been Awake, and each message once at each of them;
// in the latencies are only messages that were sent while the device was awake: how
// long a device stays away by its own choice says nothing of the server.
func Measure(h *History) *Timeline {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := &judge{h: h, verdict: &Verdict{}}
	j.collectSends()
	m := &measurement{j: j, t: &Timeline{}}
	for _, device := range h.devices {
		m.begun, m.awake, m.top = false, 0, 0
		device.each(m.record)
	}
	return m.finish()
}

// measurement is a Timeline in the making, at one device after the other.
type measurement struct {
	j                *judge
	t                *Timeline
	acks, deliveries []samples // by seconds

	begun bool
	awake uint32 // since when, ticks
	top   uint32 // the highest inbox seq seen
}

func (m *measurement) record(r *record) {
	switch r.kind {
	case recordAwake:
		m.begun, m.awake = true, r.at
	case recordSent:
		if message := m.j.message(r.key); message.sentAt == r.at {
			m.second(r.at).Sent++
		}
	case recordAcked:
		if message := m.j.message(r.key); message != nil && message.state&wasAcked == 0 {
			message.state |= wasAcked
			m.second(r.at).Acked++
			count(&m.t.acked, r.at)
			m.sample(m.acks, message, r.at)
		}
	case recordArrived:
		if !m.begun || r.seq <= m.top {
			return
		}
		m.top = r.seq
		m.second(r.at).Delivered++
		count(&m.t.delivered, r.at)
		m.sample(m.deliveries, m.j.message(r.key), r.at)
	}
}

// second returns the second that a time is in.
func (m *measurement) second(at uint32) *Second {
	i := int(time.Duration(at) * tick / time.Second)
	for len(m.t.Seconds) <= i {
		m.t.Seconds = append(m.t.Seconds, Second{At: float64(len(m.t.Seconds) + 1)})
		m.acks, m.deliveries = append(m.acks, nil), append(m.deliveries, nil)
	}
	return &m.t.Seconds[i]
}

// sample adds a latency to its second, which exists.
func (m *measurement) sample(of []samples, message *message, at uint32) {
	if message != nil && message.sentAt >= m.awake && at >= message.sentAt {
		i := time.Duration(at) * tick / time.Second
		of[i] = append(of[i], at-message.sentAt)
	}
}

func count(tenths *[]int, at uint32) {
	i := int(time.Duration(at) * tick / tenth)
	for len(*tenths) <= i {
		*tenths = append(*tenths, 0)
	}
	(*tenths)[i]++
}

func (m *measurement) finish() *Timeline {
	for i := range m.t.Seconds {
		ack, delivery := m.acks[i].latency(), m.deliveries[i].latency()
		s := &m.t.Seconds[i]
		s.AckP50, s.AckP99, s.DeliveryP50, s.DeliveryP99 = ack.P50, ack.P99, delivery.P50, delivery.P99
	}
	m.t.Ack, m.t.Delivery = slices.Concat(m.acks...).latency(), slices.Concat(m.deliveries...).latency()
	return m.t
}

// latency sorts the samples and sums them up.
func (s samples) latency() Latency {
	if len(s) == 0 {
		return Latency{}
	}
	slices.Sort(s)
	at := func(share float64) float64 {
		return (time.Duration(s[int(share*float64(len(s)-1))]) * tick).Seconds() * 1000
	}
	return Latency{Count: len(s), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
