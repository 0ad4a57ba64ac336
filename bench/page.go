package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/im-transfer/im/check/plot"
)

//go:embed page.html
var pageSource string

// measure is a curve before it is drawn.
type measure struct {
	name, colour string
	value        func(Second) float64
}

// WriteHTML writes the report as a page that needs nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("parse the page: %w", err)
	}
	var figures strings.Builder
	if err := r.WriteJSON(&figures); err != nil {
		return err
	}
	type shown struct{ Name, Value string }
	var rows []shown
	for _, row := range r.rows() {
		rows = append(rows, shown{row.name, row.value})
	}
	return page.Execute(w, map[string]any{
		"Title": string(r.Config.Mode) + " on " + r.Config.Server, "Begun": r.Begun.Format(time.RFC1123), "OK": r.Verdict.OK(),
		"Rows": rows, "Plots": r.plots(), "Style": plot.Style, "Verdict": r.verdictText(), "JSON": figures.String(),
	})
}

func (r *Report) plots() []plot.Plot {
	plots := []plot.Plot{
		newPlot("Throughput (messages/s)", r.Series, []measure{
			{"sent", "#8a8fa3", func(s Second) float64 { return s.Sent }},
			{"acknowledged", "#2f6fde", func(s Second) float64 { return s.Acked }},
			{"delivered", "#17803d", func(s Second) float64 { return s.Delivered }},
		}),
		newPlot("Latency from send to delivery (ms)", r.Series, []measure{
			{"p50", "#17803d", func(s Second) float64 { return s.DeliveryP50 }},
			{"p99", "#d98a00", func(s Second) float64 { return s.DeliveryP99 }},
			{"max", "#b3261e", func(s Second) float64 { return s.DeliveryMax }},
		}),
		newPlot("Latency from send to acknowledgement (ms)", r.Series, []measure{
			{"p50", "#17803d", func(s Second) float64 { return s.AckP50 }},
			{"p99", "#d98a00", func(s Second) float64 { return s.AckP99 }},
		}),
	}
	if slices.ContainsFunc(r.Series, func(s Second) bool { return s.Memory > 0 }) {
		plots = append(plots, newPlot("Memory of the server (MiB)", r.Series, []measure{
			{"resident", "#2f6fde", func(s Second) float64 { return float64(s.Memory) / (1 << 20) }},
		}))
	}
	return plots
}

// newPlot draws measures over the seconds; the warm-up is shaded.
func newPlot(title string, series []Second, measures []measure) plot.Plot {
	p := plot.Plot{Title: title}
	warmup := 0.0
	for _, s := range series {
		p.Times = append(p.Times, s.At)
		if s.Warmup {
			warmup = s.At
		}
	}
	if warmup > 0 {
		p.Bands = []plot.Band{{To: warmup, Class: "warmup", Text: "warm-up"}}
	}
	for _, m := range measures {
		curve := plot.Curve{Name: m.name, Colour: m.colour}
		for _, s := range series {
			curve.Values = append(curve.Values, m.value(s))
		}
		p.Curves = append(p.Curves, curve)
	}
	return p
}
