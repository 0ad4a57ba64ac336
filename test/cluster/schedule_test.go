package cluster

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im/check/faults"
	"github.com/im-transfer/im/check/workload"
)

// Servers and engines are killed, restarted and paused on a schedule, two of them at
// once, while devices are disturbed as well: what im check --local cluster does, for a
// short while. make soak is the long one.
func TestAScheduleOfFaults(t *testing.T) {
	c := givenACluster(t)
	set := faults.Cluster(c.Cluster, leaseTTL)
	config := workload.Config{
		Servers: strings.Split(c.webs(), ","), ServiceKey: c.ServiceKey, Users: 20, Rate: messages, Duration: 40 * time.Second,
		Seed: 1, Patience: patience, Inject: faults.Injector(set.Schedule(1, 2*time.Second), 2),
	}

	report, err := workload.Run(t.Context(), config, workload.Progress{Fault: func(m workload.Mark) {
		t.Logf("%s %s, mended after %s", m.Kind, m.Target, m.Until.Sub(m.At).Round(time.Millisecond))
	}})
	must(t, err)

	var text bytes.Buffer
	must(t, report.WriteText(&text))
	t.Logf("\n%s", text.String())
	if report.Outcome() != workload.Kept || report.Verdict.Acknowledged != report.Verdict.Sent {
		t.Errorf("%s, %d of %d acknowledged", report.Outcome(), report.Verdict.Acknowledged, report.Verdict.Sent)
	}
	done := map[string]bool{}
	for _, fault := range report.Faults {
		done[fault.Kind] = true
	}
	for _, kind := range set.Kinds() {
		if !done[kind] {
			t.Errorf("nothing suffered a %s", kind)
		}
	}
}
