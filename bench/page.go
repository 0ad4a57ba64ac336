package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageSource string

// The size of a plot, in the units of its view box.
const (
	plotWidth, plotHeight = 900, 260
	plotLeft, plotTop     = 60, 24
	plotRight, plotBottom = 10, 24
)

// curve is one line of a plot.
type curve struct {
	Name, Colour, Points string
	TextX, TextY         int
}

// gridLine is a labelled line or mark of an axis.
type gridLine struct {
	X1, X2, TextX int
	Y, TextY      float64
	Text          string
}

// plot is one picture of the page.
type plot struct {
	Title                           string
	Width, Height, Left, Top, Inner int
	Warmup                          float64
	Lines, Times                    []gridLine
	Curves                          []curve
}

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
		"Rows": rows, "Plots": r.plots(), "Verdict": r.verdictText(), "JSON": figures.String(),
	})
}

func (r *Report) plots() []plot {
	return []plot{
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
}

func newPlot(title string, series []Second, measures []measure) plot {
	p := plot{Title: title, Width: plotWidth, Height: plotHeight, Left: plotLeft, Top: plotTop, Inner: plotHeight - plotTop - plotBottom}
	if len(series) == 0 {
		return p
	}
	var highest float64
	for _, s := range series {
		for _, m := range measures {
			highest = max(highest, m.value(s))
		}
	}
	first, last := series[0].At-1, series[len(series)-1].At
	top := niceCeiling(highest)
	x := func(at float64) float64 {
		return plotLeft + (at-first)/max(last-first, 1)*(plotWidth-plotLeft-plotRight)
	}
	y := func(v float64) float64 { return plotTop + (1-v/top)*float64(p.Inner) }
	p.axes(first, last, top, x, y)
	for i, m := range measures {
		var points strings.Builder
		for _, s := range series {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(s.At), y(m.value(s)))
			if s.Warmup {
				p.Warmup = x(s.At) - plotLeft
			}
		}
		p.Curves = append(p.Curves, curve{m.name, m.colour, points.String(), plotLeft + 110*i, plotTop - 8})
	}
	return p
}

func (p *plot) axes(first, last, top float64, x, y func(float64) float64) {
	for i := range 5 {
		v := top * float64(i) / 4
		p.Lines = append(p.Lines, gridLine{
			X1: plotLeft, X2: plotWidth - plotRight, Y: y(v), TextX: plotLeft - 6, TextY: y(v) + 4, Text: strconv.FormatFloat(v, 'g', 4, 64),
		})
	}
	step := niceCeiling(max((last-first)/10, 0.5))
	for at := math.Ceil(first/step) * step; at <= last; at += step {
		p.Times = append(p.Times, gridLine{TextX: int(x(at)), TextY: plotHeight - 6, Text: strconv.FormatFloat(at, 'g', 4, 64) + " s"})
	}
}

// niceCeiling returns the next number of the form 1, 2, 4 or 5 times a power of ten.
func niceCeiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 4, 5} {
		if v <= factor*power {
			return factor * power
		}
	}
	return 10 * power
}
