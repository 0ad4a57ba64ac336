// Package plot draws measurements over time as SVG, for reports that need nothing
// but themselves.
package plot

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

//go:embed plot.svg
var source string

// The size of a plot, in the units of its view box.
const (
	width, height = 900, 260
	left, top     = 60, 24
	right, bottom = 10, 24
	inner         = height - top - bottom
)

// Curve is one line of a plot, or dots: a value for each time. Values that are not
// numbers leave a hole.
type Curve struct {
	Name, Colour string
	Values       []float64
	Dots         bool
}

// Band is a time that is shaded: class is that of its style ("warmup", "fault").
type Band struct {
	From, To    float64 // seconds
	Class, Text string
}

// Style is the style sheet of plots, for light and dark.
const Style = template.CSS(`svg { width: 100%; height: auto; font: 11px system-ui, sans-serif } .grid { stroke: #dde } .label { fill: #667 }
.warmup { fill: #f3f3f7 } .fault { fill: #b3261e; opacity: .13 }
@media (prefers-color-scheme: dark) { .grid { stroke: #334 } .label { fill: #99a } .warmup { fill: #1e2129 } .fault { fill: #ff8a80; opacity: .2 } }`)

// Plot is one picture: curves over the same times.
type Plot struct {
	Title  string
	Times  []float64 // seconds, ascending; the end of what each value is about
	End    float64   // of the axis, if that is after the last time
	Bands  []Band
	Curves []Curve
}

// Elements of the picture, as the template draws them.
type (
	label struct {
		X, Y float64
		Text string
	}
	area struct {
		X, Width    float64
		Class, Text string
	}
	line struct {
		Name, Colour string
		Runs         []string // of points
		Dots         []label
		X            int
	}
	picture struct {
		Title                                         string
		Width, Height, Left, Right, Top, Inner, TextY int
		Areas                                         []area
		Grid, Marks                                   []label
		Lines                                         []line
	}
)

// SVG draws it.
func (p Plot) SVG() (template.HTML, error) {
	drawing, err := template.New("plot").Parse(source)
	if err != nil {
		return "", fmt.Errorf("parse the plot: %w", err)
	}
	var out strings.Builder
	if err := drawing.Execute(&out, p.draw()); err != nil {
		return "", fmt.Errorf("draw %s: %w", p.Title, err)
	}
	return template.HTML(out.String()), nil //nolint:gosec // the template has escaped it
}

func (p Plot) draw() picture {
	d := picture{
		Title: p.Title, Width: width, Height: height, Left: left, Right: width - right, Top: top, Inner: inner, TextY: top - 8,
	}
	if len(p.Times) == 0 {
		return d
	}
	highest, last := 0.0, max(p.End, p.Times[len(p.Times)-1])
	for _, curve := range p.Curves {
		for _, v := range curve.Values {
			if !math.IsNaN(v) {
				highest = max(highest, v)
			}
		}
	}
	first := p.first()
	ceiling := niceCeiling(highest)
	x := func(at float64) float64 {
		return left + (min(max(at, first), last)-first)/max(last-first, 1e-9)*(width-left-right)
	}
	y := func(v float64) float64 { return top + (1-v/ceiling)*inner }
	for _, band := range p.Bands {
		from := x(band.From)
		d.Areas = append(d.Areas, area{from, max(x(band.To)-from, 1), band.Class, band.Text})
	}
	d.axes(first, last, ceiling, x, y)
	for i, curve := range p.Curves {
		l := line{Name: curve.Name, Colour: curve.Colour, X: left + 110*i}
		if curve.Dots {
			l.Dots = p.dots(curve, x, y)
		} else {
			l.Runs = p.runs(curve, x, y)
		}
		d.Lines = append(d.Lines, l)
	}
	return d
}

// first is where the axis of time begins: where there is an End, at 0; else as far
// before the first time as the second one is after it.
func (p Plot) first() float64 {
	switch {
	case p.End > 0:
		return 0
	case len(p.Times) == 1:
		return p.Times[0] - 1
	}
	return max(0, 2*p.Times[0]-p.Times[1])
}

// dots returns the curve's points.
func (p Plot) dots(curve Curve, x, y func(float64) float64) []label {
	var dots []label
	for i, v := range curve.Values {
		if !math.IsNaN(v) {
			dots = append(dots, label{X: x(p.Times[i]), Y: y(v), Text: strconv.FormatFloat(v, 'f', 1, 64)})
		}
	}
	return dots
}

// runs returns the curve's points, in a run for each part without a hole.
func (p Plot) runs(curve Curve, x, y func(float64) float64) []string {
	var runs []string
	open := false
	for i, v := range curve.Values {
		if math.IsNaN(v) {
			open = false
			continue
		}
		if !open {
			runs, open = append(runs, ""), true
		}
		runs[len(runs)-1] += fmt.Sprintf("%.1f,%.1f ", x(p.Times[i]), y(v))
	}
	return runs
}

func (d *picture) axes(first, last, ceiling float64, x, y func(float64) float64) {
	for i := range 5 {
		v := ceiling * float64(i) / 4
		d.Grid = append(d.Grid, label{left - 6, y(v), strconv.FormatFloat(v, 'g', 6, 64)})
	}
	step := niceCeiling(max((last-first)/10, 0.5))
	for at := math.Ceil(first/step) * step; at <= last; at += step {
		d.Marks = append(d.Marks, label{x(at), height - 6, strconv.FormatFloat(at, 'g', 6, 64) + " s"})
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
