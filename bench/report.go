package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/im-transfer/im/check"
)

// Report is the outcome of a run.
type Report struct {
	Config     Config          `json:"config"`
	Run        string          `json:"run"` // in the tag of every message
	Begun      time.Time       `json:"begun"`
	Machine    string          `json:"machine"`
	Seconds    float64         `json:"seconds"` // measured
	Measured   Counts          `json:"measured"`
	Whole      Counts          `json:"whole"` // with warm-up and what came after
	PerSecond  PerSecond       `json:"per_second"`
	Ack        Latency         `json:"ack"`      // send to send_ack
	Delivery   Latency         `json:"delivery"` // send to the arrival at another user's device
	Login      Latency         `json:"login"`    // beginning of the connection to auth_reply
	Lag        Latency         `json:"lag"`      // open loop: how late the generator itself sent
	CatchUp    *CatchUpResult  `json:"catchup,omitempty"`
	Idle       *IdleResult     `json:"idle,omitempty"`
	Storm      *StormResult    `json:"storm,omitempty"`
	Room       *RoomResult     `json:"room,omitempty"`
	Overload   *OverloadResult `json:"overload,omitempty"`
	Logins     float64         `json:"logins_per_second,omitempty"`
	Generator  Cost            `json:"generator"`
	ServerCost Cost            `json:"server"`
	Reconnects map[string]int  `json:"reconnects,omitempty"`
	Series     []Second        `json:"series"`
	Verdict    check.Verdict   `json:"verdict"`
	Error      string          `json:"error,omitempty"` // why the run was cut short
}

// PerSecond is the throughput over the measured time.
type PerSecond struct {
	Sent      float64 `json:"sent"`
	Acked     float64 `json:"acknowledged"`
	Delivered float64 `json:"delivered"`
}

// Latency is a distribution, in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	Min   float64 `json:"min_ms"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Cost is CPU time over the measured time; zero where it is not known.
type Cost struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	PerMessage float64 `json:"cpu_us_per_message"` // per acknowledged message
}

// CatchUpResult says how fast absent devices got what they had missed.
type CatchUpResult struct {
	Messages int     `json:"messages"` // of each device
	Devices  int     `json:"devices"`
	Min      float64 `json:"min_ms"`
	Mean     float64 `json:"mean_ms"`
	Max      float64 `json:"max_ms"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	return Latency{
		Count: h.TotalCount(), Min: float64(h.Min()) / 1000, Mean: h.Mean() / 1000, P50: quantile(h, 50), P90: quantile(h, 90),
		P99: quantile(h, 99), P999: quantile(h, 99.9), Max: float64(h.Max()) / 1000,
	}
}

// report gathers everything but the verdict.
func (r *run) report() *Report {
	r.stats.mu.Lock()
	defer r.stats.mu.Unlock()
	s := r.stats
	report := &Report{
		Config: r.config, Run: fmt.Sprintf("%08x", uint32(r.id)), Begun: r.begun, Machine: machine(), Whole: s.all,
		Ack: latencyOf(s.ack), Delivery: latencyOf(s.delivery), Login: latencyOf(s.login), Lag: latencyOf(s.lag),
		Series: slices.Clone(s.series), CatchUp: catchUpResult(r.samples),
		Room: r.room.result(len(r.devices)),
	}
	report.Whole.Refused, report.Reconnects = maps.Clone(s.all.Refused), maps.Clone(s.reconnects)
	if len(r.marks) == 2 {
		report.between(r.marks[0], r.marks[1])
	}
	if r.idle.Connections > 0 {
		report.Idle = &r.idle
	}
	if s.returns.lost > 0 {
		report.Storm = s.returns.result(len(r.streams))
	}
	if r.overload != nil {
		report.Overload = r.overload.measured()
	}
	if r.loginTime > 0 {
		report.Logins = float64(len(r.devices)*r.config.Rounds) / r.loginTime.Seconds()
	}
	return report
}

// between sets the figures of the measured time.
func (r *Report) between(a, b mark) {
	r.Seconds = (b.at - a.at).Seconds()
	r.Measured = Counts{
		Sent: b.counts.Sent - a.counts.Sent, Resent: b.counts.Resent - a.counts.Resent,
		Acked: b.counts.Acked - a.counts.Acked, Delivered: b.counts.Delivered - a.counts.Delivered,
	}
	r.PerSecond = PerSecond{
		Sent: float64(r.Measured.Sent) / r.Seconds, Acked: float64(r.Measured.Acked) / r.Seconds,
		Delivered: float64(r.Measured.Delivered) / r.Seconds,
	}
	r.Generator, r.ServerCost = costOf(b.own-a.own, r.Measured.Acked), costOf(b.server-a.server, r.Measured.Acked)
}

func costOf(cpu time.Duration, messages int) Cost {
	cost := Cost{CPUSeconds: cpu.Seconds()}
	if messages > 0 {
		cost.PerMessage = float64(cpu.Microseconds()) / float64(messages)
	}
	return cost
}

func catchUpResult(samples []catchUp) *CatchUpResult {
	if len(samples) == 0 {
		return nil
	}
	result := &CatchUpResult{Messages: samples[0].messages, Devices: len(samples)}
	for i, sample := range samples {
		took := float64(sample.took.Microseconds()) / 1000
		result.Mean += took / float64(len(samples))
		result.Max = max(result.Max, took)
		if result.Min = min(result.Min, took); i == 0 {
			result.Min = took
		}
	}
	return result
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// row is a line of the table.
type row struct{ name, value string }

// rows returns what the table and the page show.
func (r *Report) rows() []row {
	c := &r.Config
	rows := []row{
		{"load", fmt.Sprintf("%s, %s, %s, %d bytes, run %s", c.Mode, c.Transport, c.Form, c.Size, r.Run)},
		{"machine", r.Machine},
	}
	add := func(name, format string, args ...any) { rows = append(rows, row{name, fmt.Sprintf(format, args...)}) }
	switch c.Mode {
	case Idle:
		if r.Idle != nil {
			add("memory of a connection", "%.0f bytes (%d connections, %d to %d KiB)", r.Idle.Each, r.Idle.Connections, r.Idle.Before>>10, r.Idle.After>>10)
		}
	case Storm:
	case Login:
		add("logins", "%.0f/s", r.Logins)
	case Groups:
		add("measured", "%.1f s, %d groups of %d, %d senders each, window %d", r.Seconds, c.Groups, c.Members, c.Senders, c.Window)
		add("throughput", "%.0f sent/s, %.0f acknowledged/s, %.0f delivered/s", r.PerSecond.Sent, r.PerSecond.Acked, r.PerSecond.Delivered)
	case Rooms:
		pace := fmt.Sprintf("window %d", c.Window)
		if c.Rate > 0 {
			pace = fmt.Sprintf("%.0f messages/s", c.Rate)
		}
		add("measured", "%.1f s, a room of %d, %d speakers, %s", r.Seconds, c.Members, c.Senders, pace)
		add("throughput", "%.0f sent/s, %.0f acknowledged/s, %.0f delivered/s", r.PerSecond.Sent, r.PerSecond.Acked, r.PerSecond.Delivered)
	default:
		add("measured", "%.1f s, %d pairs, window %d", r.Seconds, c.Pairs, c.Window)
		add("throughput", "%.0f sent/s, %.0f acknowledged/s, %.0f delivered/s", r.PerSecond.Sent, r.PerSecond.Acked, r.PerSecond.Delivered)
	}
	if r.Storm != nil {
		r.Storm.rows(add)
	}
	if r.Room != nil {
		add("room", "%d members were in after %.0f ms; %d deliveries were skipped, and announced", r.Room.Members, r.Room.Joined, r.Room.Skipped)
	}
	if r.Overload != nil {
		r.Overload.rows(add)
	}
	for _, latency := range []struct {
		name string
		of   Latency
	}{{"ack", r.Ack}, {"delivery", r.Delivery}, {"login", r.Login}, {"generator's lag", r.Lag}} {
		if latency.of.Count > 0 {
			add(latency.name, "%s", latency.of)
		}
	}
	if u := r.CatchUp; u != nil {
		add("catch-up", "%d messages, %d times: min %.1f, mean %.1f, max %.1f ms", u.Messages, u.Devices, u.Min, u.Mean, u.Max)
	}
	add("whole run", "%d sent, %d acknowledged, %d delivered, %d resent", r.Whole.Sent, r.Whole.Acked, r.Whole.Delivered, r.Whole.Resent)
	for _, code := range slices.Sorted(maps.Keys(r.Whole.Refused)) {
		add("refused", "%d %s", r.Whole.Refused[code], code)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Reconnects)) {
		add("reconnects", "%d: %s", r.Reconnects[why], why)
	}
	server := "server not known: see --pid"
	if r.ServerCost.CPUSeconds > 0 {
		server = fmt.Sprintf("server %.1f s, %.1f µs per message", r.ServerCost.CPUSeconds, r.ServerCost.PerMessage)
	}
	add("CPU", "generator %.1f s, %.1f µs per message; %s", r.Generator.CPUSeconds, r.Generator.PerMessage, server)
	if r.Error != "" {
		add("cut short", "%s", r.Error)
	}
	return rows
}

// String is the distribution as a line.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f  mean %.2f ms", l.P50, l.P90, l.P99, l.P999, l.Max, l.Mean)
}

// WriteText writes the report as a table, and the verdict.
func (r *Report) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range r.rows() {
		fmt.Fprintf(table, "%s\t%s\n", row.name, row.value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return r.Verdict.WriteText(w)
}

// verdictText is the verdict as the page shows it.
func (r *Report) verdictText() string {
	var b strings.Builder
	r.Verdict.WriteText(&b) //nolint:errcheck // a Builder never fails
	return b.String()
}
