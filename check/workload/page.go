package workload

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/im-transfer/im/check"
	"github.com/im-transfer/im/check/plot"
)

//go:embed page.html
var pageSource string

// WriteHTML writes the report as a page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{"since": since}).Parse(pageSource)
	if err != nil {
		return fmt.Errorf("parse the page: %w", err)
	}
	return page.Execute(w, map[string]any{
		"Report": r, "Outcome": r.Outcome(), "Good": r.Outcome() == Kept, "Rows": r.rows(), "Plots": r.plots(), "Style": plot.Style,
		"Kinds": r.Verdict.Kinds(), "Most": check.MaxViolations, "Harm": slices.Concat(r.harm(byKind), r.harm(byTarget)),
	})
}

// since writes a time of the run as the plots have it.
func since(at time.Duration) string { return fmt.Sprintf("%.3f s", at.Seconds()) }

// plots draws the run; the times of faults are shaded.
func (r *Report) plots() []plot.Plot {
	throughput := plot.Plot{Title: "Throughput (per second)"}
	acks := plot.Plot{Title: "Latency from send to acknowledgement (ms)"}
	deliveries := plot.Plot{Title: "Latency from send to delivery, where the device was not away by its own choice (ms)"}
	sent, acked, delivered := curve("sent", "#8a8fa3"), curve("acknowledged", "#2f6fde"), curve("delivered", "#17803d")
	ack50, ack99, del50, del99 := curve("p50", "#17803d"), curve("p99", "#d98a00"), curve("p50", "#17803d"), curve("p99", "#d98a00")
	for spell := range slices.Chunk(r.Seconds, len(r.Seconds)/mostPoints+1) {
		throughput.Times = append(throughput.Times, spell[len(spell)-1].At)
		add(&sent, mean(spell, func(s *check.Second) int { return s.Sent }))
		add(&acked, mean(spell, func(s *check.Second) int { return s.Acked }))
		add(&delivered, mean(spell, func(s *check.Second) int { return s.Delivered }))
		add(&ack50, worst(spell, func(s *check.Second) float64 { return s.AckP50 }))
		add(&ack99, worst(spell, func(s *check.Second) float64 { return s.AckP99 }))
		add(&del50, worst(spell, func(s *check.Second) float64 { return s.DeliveryP50 }))
		add(&del99, worst(spell, func(s *check.Second) float64 { return s.DeliveryP99 }))
	}
	throughput.Curves = []plot.Curve{sent, acked, delivered}
	acks.Curves, deliveries.Curves = []plot.Curve{ack50, ack99}, []plot.Curve{del50, del99}
	plots := []plot.Plot{throughput, acks, deliveries}
	for i := range plots {
		plots[i].Times, plots[i].Bands = throughput.Times, r.bands()
	}
	return append(plots, r.recoveryPlot())
}

func curve(name, colour string) plot.Curve { return plot.Curve{Name: name, Colour: colour} }

func add(c *plot.Curve, value float64) { c.Values = append(c.Values, value) }

// mostPoints bounds the points of a curve: in a longer run each stands for several
// seconds, with their mean rate and the worst of their latencies.
const mostPoints = 1200

func mean(spell []check.Second, of func(*check.Second) int) float64 {
	sum := 0
	for i := range spell {
		sum += of(&spell[i])
	}
	return float64(sum) / float64(len(spell))
}

func worst(spell []check.Second, of func(*check.Second) float64) float64 {
	most := 0.0
	for i := range spell {
		most = max(most, of(&spell[i]))
	}
	return most
}

// bands shades the times of faults; those that overlap are one.
func (r *Report) bands() []plot.Band {
	var bands []plot.Band
	for _, f := range r.Faults {
		name, last := f.Kind+" "+f.Target, len(bands)-1
		if last >= 0 && f.At.Seconds() <= bands[last].To {
			bands[last].To = max(bands[last].To, f.Until.Seconds())
			bands[last].Text += ", " + name
			continue
		}
		bands = append(bands, plot.Band{From: f.At.Seconds(), To: f.Until.Seconds(), Class: "fault", Text: name})
	}
	return bands
}

// recoveryPlot draws the time to recover from each fault, over the times of their
// ends.
func (r *Report) recoveryPlot() plot.Plot {
	p := plot.Plot{Title: "Recovery: from a fault's end until both rates are back at 90 % (s)", Bands: r.bands()}
	if len(r.Seconds) > 0 {
		p.End = r.Seconds[len(r.Seconds)-1].At
	}
	took := plot.Curve{Name: "recovery", Colour: "#b3261e", Dots: true}
	for _, f := range r.Faults {
		if f.Recovery != nil {
			p.Times = append(p.Times, f.Until.Seconds())
			add(&took, f.Recovery.Seconds())
		}
	}
	p.Curves = []plot.Curve{took}
	return p
}
