package bench

import (
	"strings"
	"testing"
)

// Where nobody has said which processes the servers are, their CPU time is said to be
// unknown: it is not 0.
func TestAnUnknownCPUTimeIsNotNothing(t *testing.T) {
	for _, c := range []struct {
		server Cost
		says   string
	}{
		{Cost{}, "server not known: see --pid"},
		{Cost{CPUSeconds: 2, PerMessage: 40}, "server 2.0 s, 40.0 µs per message"},
	} {
		report := &Report{Generator: Cost{CPUSeconds: 1, PerMessage: 20}, ServerCost: c.server}
		var out strings.Builder
		if err := report.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "generator 1.0 s, 20.0 µs per message; "+c.says) {
			t.Errorf("said:\n%s\nwant %q in it", &out, c.says)
		}
	}
}
