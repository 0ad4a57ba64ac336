package plot

import (
	"math"
	"strings"
	"testing"
)

func TestAxesEndAtRoundNumbers(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.1: 2, 3: 4, 4.5: 5, 7: 10, 12000: 20000, 0.03: 0.04} {
		if got := niceCeiling(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%g: %g, want %g", v, got, want)
		}
	}
}

// A curve with a hole, a band, one time alone, and nothing at all.
func TestWhatIsDrawn(t *testing.T) {
	p := Plot{
		Title: "Rate & more", Times: []float64{1, 2, 3, 4},
		Bands:  []Band{{From: 1.5, To: 2.5, Class: "fault", Text: "kill <-9>"}},
		Curves: []Curve{{"sent", "#123456", []float64{0, 2, math.NaN(), 1}, false}},
	}
	svg, err := p.SVG()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`aria-label="Rate &amp; more"`, `points="267.5,236.0 475.0,24.0 "`, `points="890.0,130.0 "`,
		`<rect class="fault" x="371.25" y="24" width="207.5" height="212"><title>kill &lt;-9&gt;</title></rect>`, `>4 s<`, `>0.5<`,
	} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("%s is missing in\n%s", want, svg)
		}
	}
	dots, err := Plot{Times: []float64{1, 2}, End: 4, Curves: []Curve{{Colour: "#123456", Values: []float64{1, 0.5}, Dots: true}}}.SVG()
	if err != nil || !strings.Contains(string(dots), `<circle cx="267.5" cy="24" r="3.5" fill="#123456"><title>1.0</title>`) {
		t.Errorf("%v\n%s", err, dots)
	}
	for _, few := range []Plot{{Title: "nothing"}, {Title: "one", Times: []float64{1}, Curves: []Curve{{Values: []float64{5}}}}} {
		if svg, err := few.SVG(); err != nil || strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
			t.Errorf("%v\n%s", err, svg)
		}
	}
}
