package bench

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/im-transfer/im"
)

// span is a time from when something was meant to begin until it was done, both
// since the start of the run.
type span struct{ from, to time.Duration }

// tally is what a device has counted since it last added to the statistics.
type tally struct {
	sent, resent, acked, delivered, expected int
	givenUp, untimed                         int
	refused                                  map[im.Code]int
	acks, deliveries, logins, lags           []span
}

func (t *tally) refuse(code im.Code, retryAfter time.Duration) {
	if t.refused == nil {
		t.refused = map[im.Code]int{}
	}
	t.refused[code]++
	if (code == im.RateLimited || code == im.Unavailable) && retryAfter <= 0 {
		t.untimed++
	}
}

// reset empties the tally and keeps its memory, unless that is a burst's.
func (t *tally) reset() {
	*t = tally{acks: t.acks[:0], deliveries: t.deliveries[:0], logins: t.logins[:0], lags: t.lags[:0]}
	if cap(t.acks)+cap(t.deliveries) > 4096 {
		t.acks, t.deliveries = nil, nil
	}
}

// The histograms hold microseconds, from 1 to a minute, three digits exact.
const longest = int64(time.Minute / time.Microsecond)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, 3) }

// Counts are running totals.
type Counts struct {
	Sent      int             `json:"sent"`
	Resent    int             `json:"resent"`
	Acked     int             `json:"acknowledged"`
	Delivered int             `json:"delivered"`
	Refused   map[im.Code]int `json:"refused,omitempty"`
	GivenUp   int             `json:"given_up,omitempty"`                    // overload: offers to a sender with a full window
	Untimed   int             `json:"refused_without_retry_after,omitempty"` // of rate_limited and unavailable
	expected  int             // deliveries that the acknowledged messages must come to
}

// open is the number of messages that wait for an answer.
func (c *Counts) open() int {
	n := c.Sent - c.Acked
	for code, refused := range c.Refused {
		if code.Final() {
			n -= refused
		}
	}
	return n
}

// stats are the statistics of a run, safe for concurrent use. Latencies count for
// the whole only if they began within the measured time.
type stats struct {
	mu         sync.Mutex
	from, to   time.Duration // measured; nothing is before they are set
	all        Counts
	ack        *hdrhistogram.Histogram
	delivery   *hdrhistogram.Histogram
	login      *hdrhistogram.Histogram
	lag        *hdrhistogram.Histogram // of an open loop's sends behind their times
	passing    *passing                // the second that is passing
	spare      *passing                // second's
	before     Counts                  // at the last second's end
	beforeAt   time.Duration
	series     []Second
	reconnects map[string]int
	phases     []phaseStats // of Overload: few
	returns    *returns     // of Storm
}

// passing are the latencies of what was answered and delivered in one second, to one
// percent.
type passing struct{ ack, delivery *hdrhistogram.Histogram }

func newPassing() *passing {
	return &passing{hdrhistogram.New(1, longest, 2), hdrhistogram.New(1, longest, 2)}
}

// phaseStats are the acknowledgements of what was to be sent in a part of the run.
type phaseStats struct {
	from, to time.Duration
	acks     *hdrhistogram.Histogram
}

func newStats() *stats {
	return &stats{
		from: -1, ack: newHistogram(), delivery: newHistogram(), login: newHistogram(), lag: newHistogram(),
		passing: newPassing(), spare: newPassing(), reconnects: map[string]int{}, returns: newReturns(),
		all: Counts{Refused: map[im.Code]int{}},
	}
}

// measure sets the measured time.
func (s *stats) measure(from, to time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from, s.to = from, to
}

// phase begins to gather the latencies of what will be sent in a part of the run.
// Whoever has the histogram reads it when nothing is added any more.
func (s *stats) phase(from, to time.Duration) *hdrhistogram.Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks := newHistogram()
	s.phases = append(s.phases, phaseStats{from, to, acks})
	return acks
}

// memoryPeak returns the most that the server had resident since a time.
func (s *stats) memoryPeak(since time.Duration) (peak int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, second := range s.series {
		if second.At > since.Seconds() {
			peak = max(peak, second.Memory)
		}
	}
	return peak
}

// add adds a tally and empties it.
func (s *stats) add(t *tally) {
	if t.sent+t.resent+t.acked+t.delivered+len(t.refused)+len(t.logins)+len(t.lags) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Sent += t.sent
	s.all.Resent += t.resent
	s.all.Acked += t.acked
	s.all.Delivered += t.delivered
	s.all.expected += t.expected
	s.all.GivenUp += t.givenUp
	s.all.Untimed += t.untimed
	for code, n := range t.refused {
		s.all.Refused[code] += n
	}
	s.record(t.acks, s.ack, s.passing.ack)
	for _, phase := range s.phases {
		for _, span := range t.acks {
			if span.from >= phase.from && span.from < phase.to {
				recordSpan(phase.acks, span)
			}
		}
	}
	s.record(t.deliveries, s.delivery, s.passing.delivery)
	s.record(t.lags, s.lag, nil)
	for _, login := range t.logins {
		recordSpan(s.login, login)
	}
	t.reset()
}

func (s *stats) record(spans []span, whole, second *hdrhistogram.Histogram) {
	for _, span := range spans {
		if s.from >= 0 && span.from >= s.from && span.from < s.to {
			recordSpan(whole, span)
		}
		if second != nil {
			recordSpan(second, span)
		}
	}
}

func recordSpan(h *hdrhistogram.Histogram, s span) {
	micros := int64((s.to - s.from) / time.Microsecond)
	h.RecordValue(min(max(micros, 1), longest)) //nolint:errcheck // within its range
}

func (s *stats) reconnected(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconnects[kindOf(err)]++
}

// totals returns the running totals.
func (s *stats) totals() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	totals := s.all
	totals.Refused = maps.Clone(totals.Refused)
	return totals
}

// Second is one second of a run, as the plots show it. Latencies are those of what
// was answered and delivered in it, in milliseconds.
type Second struct {
	At          float64 `json:"at"` // its end, seconds since the start
	Sent        float64 `json:"sent"`
	Acked       float64 `json:"acknowledged"` // per second
	Delivered   float64 `json:"delivered"`
	Unanswered  int     `json:"unanswered"`
	AckP50      float64 `json:"ack_p50_ms"`
	AckP99      float64 `json:"ack_p99_ms"`
	DeliveryP50 float64 `json:"delivery_p50_ms"`
	DeliveryP99 float64 `json:"delivery_p99_ms"`
	DeliveryMax float64 `json:"delivery_max_ms"`
	Logins      int64   `json:"logins"` // so far
	Memory      int64   `json:"memory"` // of the server, bytes resident; 0 = not known
	Warmup      bool    `json:"warmup,omitempty"`
}

// second closes the second that has passed; one goroutine may call it. Percentiles take
// milliseconds, for which nobody who adds may wait: that would count as the server's latency.
func (s *stats) second(now time.Duration, memory int64) Second {
	out, of := s.next(now, memory)
	out.AckP50, out.AckP99 = quantile(of.ack, 50), quantile(of.ack, 99)
	out.DeliveryP50, out.DeliveryP99 = quantile(of.delivery, 50), quantile(of.delivery, 99)
	out.DeliveryMax = float64(of.delivery.Max()) / 1000
	of.ack.Reset()
	of.delivery.Reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = of
	s.series = append(s.series, out)
	return out
}

// next begins a second, and returns what is counted of the one before.
func (s *stats) next(now time.Duration, memory int64) (Second, *passing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	span := (now - s.beforeAt).Seconds()
	out := Second{
		At: now.Seconds(), Sent: float64(s.all.Sent-s.before.Sent) / span, Acked: float64(s.all.Acked-s.before.Acked) / span,
		Delivered: float64(s.all.Delivered-s.before.Delivered) / span, Unanswered: s.all.open(),
		Logins: s.login.TotalCount(), Memory: memory, Warmup: s.from < 0 || now <= s.from,
	}
	of := s.passing
	s.passing, s.spare = s.spare, nil
	s.before, s.beforeAt = s.all, now
	return out, of
}

// quantile returns a percentile in milliseconds, 0 of nothing.
func quantile(h *hdrhistogram.Histogram, percentile float64) float64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return float64(h.ValueAtQuantile(percentile)) / 1000
}

// String is the second as a line of progress.
func (s Second) String() string {
	return fmt.Sprintf("%5.0fs  sent %7.0f/s  acked %7.0f/s  delivered %7.0f/s  ack p50 %.2f p99 %.2f  delivery p50 %.2f p99 %.2f max %.2f ms  open %d",
		s.At, s.Sent, s.Acked, s.Delivered, s.AckP50, s.AckP99, s.DeliveryP50, s.DeliveryP99, s.DeliveryMax, s.Unanswered)
}
