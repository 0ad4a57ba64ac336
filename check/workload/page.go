package workload

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
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
		"Kinds": r.Verdict.Kinds(), "Most": check.MaxViolations,
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
	for _, s := range r.Seconds {
		throughput.Times = append(throughput.Times, s.At)
		add(&sent, float64(s.Sent))
		add(&acked, float64(s.Acked))
		add(&delivered, float64(s.Delivered))
		add(&ack50, s.AckP50)
		add(&ack99, s.AckP99)
		add(&del50, s.DeliveryP50)
		add(&del99, s.DeliveryP99)
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

// bands shades the faults.
func (r *Report) bands() []plot.Band {
	var bands []plot.Band
	for _, f := range r.Faults {
		bands = append(bands, plot.Band{
			From: f.At.Seconds(), To: f.Until.Seconds(), Class: "fault", Text: f.Kind + " " + f.Target,
		})
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
