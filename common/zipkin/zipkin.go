// Package zipkin brings spans to a Zipkin server. A Reporter, one for a process,
// holds the sampling rate and sends spans in batches; a Tracer speaks for one
// server of the process.
//
// Nothing here is waited for: a span is put into a bounded buffer or dropped, and
// a batch that the collector does not take is dropped. Every dropped span is
// counted, by the reason.
package zipkin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Reporter is told. Zero values are replaced by the defaults
// given.
type Config struct {
	Endpoint   string        // Zipkin's http://host:9411/api/v2/spans
	SampleRate float64       // share of requests traced that bring no decision, 0 to 1
	Buffer     int           // spans that wait to be sent; 8192
	Bytes      int           // of memory that they take, about; 8 MiB
	Batch      int           // spans of one request; 256
	Interval   time.Duration // that a span waits for others; 500 ms
	Timeout    time.Duration // of one request; 5 s
	Log        *slog.Logger
}

// Reason says why a span was dropped.
type Reason string

// The reasons.
const (
	Full        Reason = "full"        // the buffer was: the collector is slower than the spans come
	Unreachable Reason = "unreachable" // no answer of the collector, or none in time
	Refused     Reason = "refused"     // it answered another status than 2xx
	Invalid     Reason = "invalid"     // the span could not be encoded
	Stopped     Reason = "stopped"     // the process ended first
)

// Reasons returns all reasons.
func Reasons() []Reason { return []Reason{Full, Unreachable, Refused, Invalid, Stopped} }

// Reporter sends spans to one collector. One goroutine sends, one request at a
// time. It is safe for concurrent use.
type Reporter struct {
	config  Config
	client  *http.Client
	rate    atomic.Uint64 // bits of a float64
	sent    atomic.Uint64
	dropped map[Reason]*atomic.Uint64 // the map itself never changes
	wake    chan struct{}             // holds one signal: something waits
	full    chan struct{}             // holds one signal: a batch waits
	ending  chan struct{}             // closed by Stop
	done    chan struct{}             // closed when the goroutine has ended
	ctx     context.Context           // of requests; ends with the patience of Stop
	cancel  context.CancelFunc

	mu      sync.Mutex
	waiting []report
	bytes   int // of waiting
	stopped bool

	failing bool // the last batch was not taken; the goroutine's own
}

// NewReporter starts a reporter. A collector that can not be reached is no error,
// now or later.
func NewReporter(config Config) (*Reporter, error) {
	if u, err := url.Parse(config.Endpoint); err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a collector", config.Endpoint)
	}
	if !validRate(config.SampleRate) {
		return nil, errRate(config.SampleRate)
	}
	config = config.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reporter{
		config: config, dropped: map[Reason]*atomic.Uint64{},
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1), ending: make(chan struct{}), done: make(chan struct{}),
		ctx: ctx, cancel: cancel,
		client: &http.Client{
			Timeout:       config.Timeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, reason := range Reasons() {
		r.dropped[reason] = &atomic.Uint64{}
	}
	r.rate.Store(math.Float64bits(config.SampleRate))
	go r.run()
	return r, nil
}

func (c Config) withDefaults() Config {
	if c.Buffer == 0 {
		c.Buffer = 8192
	}
	if c.Bytes == 0 {
		c.Bytes = 8 << 20
	}
	if c.Batch == 0 {
		c.Batch = 256
	}
	if c.Interval == 0 {
		c.Interval = 500 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// SetSampleRate changes the share of requests traced, for all tracers, from now
// on. A rate that is none leaves the old one and is an error.
func (r *Reporter) SetSampleRate(rate float64) error {
	if !validRate(rate) {
		return errRate(rate)
	}
	r.rate.Store(math.Float64bits(rate))
	return nil
}

func validRate(rate float64) bool { return rate >= 0 && rate <= 1 }

func errRate(rate float64) error { return fmt.Errorf("a sampling rate is 0 to 1, not %v", rate) }

// chosen tosses the coin for one request.
func (r *Reporter) chosen() bool {
	rate := math.Float64frombits(r.rate.Load())
	return rate > 0 && rand.Float64() < rate
}

// Sent is how many spans the collector has taken.
func (r *Reporter) Sent() uint64 { return r.sent.Load() }

// Dropped is how many spans were lost for a reason, one of Reasons.
func (r *Reporter) Dropped(reason Reason) uint64 { return r.dropped[reason].Load() }

// Stop sends what waits, until the context ends, and returns when the goroutine
// has ended. What is left then is counted as dropped, and no error. It may be
// called again.
func (r *Reporter) Stop(ctx context.Context) error {
	r.mu.Lock()
	first := !r.stopped
	r.stopped = true
	r.mu.Unlock()
	if first {
		close(r.ending)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		r.cancel()
		<-r.done // at once: its requests end with r.ctx
	}
	return nil
}

var errRefused = errors.New("the collector refused")
