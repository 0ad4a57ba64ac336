package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
)

// A server that refuses one message in 500 for now is offered ten times what it took:
// it is told what each phase came to, and it is not convicted of anything.
func TestAnOverloadIsMeasuredInThreePhases(t *testing.T) {
	config := inTest(t, unavailing, 500).config(Overload)
	config.Duration, config.PIDs = 1200*time.Millisecond, []int{1}

	report := mustRun(t, config)

	o := report.Overload
	if !report.Verdict.OK() || o == nil || report.Verdict.Acknowledged != report.Verdict.Sent {
		t.Fatal(verdictOf(t, report))
	}
	if o.Before.Acked == 0 || o.After.Acked == 0 || o.Ratio <= 0 || o.During.Ack.Count == 0 {
		t.Errorf("a phase has no figures: %+v", o)
	}
	if got := o.During.Offered / o.Before.Acked; got < 9.9 || got > 10.1 {
		t.Errorf("offered %.1f times what it took", got)
	}
	if o.During.GivenUp == 0 || o.During.Refused[im.Unavailable] == 0 || o.During.Untimed != 0 {
		t.Errorf("%+v", o.During)
	}
	if o.Memory == 0 || o.During.MemoryPeak == 0 {
		t.Errorf("the memory of the process is not told: %+v", o)
	}
	var page bytes.Buffer
	if err := report.WriteHTML(&page); err != nil || !strings.Contains(page.String(), "of the throughput before") {
		t.Errorf("the page does not tell of the recovery: %v", err)
	}
}

func TestRefusalsWithoutATimeAreCounted(t *testing.T) {
	var tally tally
	tally.refuse(im.Unavailable, time.Second)
	tally.refuse(im.RateLimited, 0)
	tally.refuse(im.OutOfOrder, 0)
	s := newStats()
	s.add(&tally)
	if totals := s.totals(); totals.Untimed != 1 {
		t.Errorf("%d of one", totals.Untimed)
	}
}
