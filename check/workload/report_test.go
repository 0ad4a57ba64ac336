package workload

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
)

var update = flag.Bool("update", false, "write the golden file anew")

// sampleReport is one of a run in which bob's tablet never got the third message,
// made of a history by hand.
func sampleReport() *Report {
	h := check.NewHistory()
	conversation := h.Direct("ann", "bob")
	ann, bob, tablet := h.Device("ann", "ios"), h.Device("bob", "ios"), h.Device("bob", "web")
	logs := []*check.Log{ann.Log(), bob.Log(), tablet.Log()}
	for i, device := range []*check.Device{ann, bob, tablet} {
		logs[i].Resumed(check.Resume{At: 900 * time.Millisecond})
		logs[i].Awake(900 * time.Millisecond)
		device.CaughtUp()
	}
	for n := range int64(6) {
		at := time.Second + time.Duration(n)*700*time.Millisecond
		number, text := uint32(n+1), []byte{byte(n)}
		logs[0].Sent(check.Sent{At: at, Number: number, Conversation: conversation, Hash: check.Hash("ann", text)})
		logs[0].Acked(check.Answer{
			At: at + 4*time.Millisecond, Number: number, MessageID: 7000 + n, Conversation: conversation, ConversationSeq: n + 1,
		})
		for i, log := range logs {
			if i == 2 && n == 2 {
				continue
			}
			seq := n + 1
			if i == 2 && n > 2 {
				seq--
			}
			log.Arrived(check.Arrival{
				At: at + time.Duration(6+i)*time.Millisecond, Seq: seq, MessageID: 7000 + n, Conversation: conversation,
				ConversationSeq: n + 1, Key: check.Key{Device: ann.Ref(), Number: number}, Hash: check.Hash("ann", text),
			})
		}
	}
	recovery := 1500 * time.Millisecond
	r := &Report{
		Config: Config{Servers: []string{"http://one:8080", "http://two:8080"}, Seed: 42}.withDefaults(), Run: "0123abcd",
		Begun: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), From: time.Second, Until: 6 * time.Second, Attempts: 8,
		Actions: map[action]int{send: 6, cut: 2}, Sessions: map[string]int{"tcp json": 3, "websocket text": 1},
		Disconnects: map[string]int{"draining": 1}, Refusals: map[im.Code]int{im.Unavailable: 1},
		Faults: []check.Fault{
			{Kind: "kill -9", Target: "transfer-1", At: 2 * time.Second, Until: 2500 * time.Millisecond, Recovery: &recovery},
			{Kind: "kill -9", Target: "transfer-1", At: 4 * time.Second, Until: 5 * time.Second},
			{Kind: "pause", Target: "etcd", At: 5 * time.Second, Until: 6 * time.Second},
		},
		Undecided: []string{"bob/other could not connect at the end"},
	}
	r.Timeline, r.Verdict = check.Measure(h), check.Judge(h)
	return r
}

func TestTheReportAsText(t *testing.T) {
	got := told(t, sampleReport())
	path := filepath.Join("testdata", "report.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTheReportAsAPage(t *testing.T) {
	report := sampleReport()
	var page bytes.Buffer
	if err := report.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PROMISES BROKEN", "http://one:8080, http://two:8080", `<td class="name kind">loss</td>`, "arrived at 2 of 3 devices: not at bob/web",
		"<td>2.404 s</td><td>ann/ios</td><td>acknowledged: id 7002, conversation seq 3</td>", `<rect class="fault" `,
		"<title>kill -9 transfer-1, pause etcd</title>", "<td>1.5s</td>",
		"<tr><td>kill -9</td><td>2</td><td>1s</td><td>1s</td><td>1.5s</td><td>1.5s</td><td>1</td></tr>", "<tr><td>pause etcd</td><td>1</td>", "not before the load ended",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is missing in\n%s", want, page.String())
		}
	}
	for _, foreign := range []string{"src=", "href=", "@import", "url("} {
		if strings.Contains(page.String(), foreign) {
			t.Errorf("the page asks for something else: %s", foreign)
		}
	}
}

// An hour with a fault every three seconds is still a page that one can send.
func TestTheReportOfALongRunIsASmallPage(t *testing.T) {
	report := sampleReport()
	recovery := 1234 * time.Millisecond
	for i := range 3900 {
		report.Seconds = append(report.Seconds, check.Second{At: float64(i + 7), Sent: 250 + i%100, Acked: 240 + i%90, Delivered: 1000 + i, AckP99: 1.5 * float64(i)})
		if i%3 == 0 {
			at := time.Duration(i)*time.Second + 1234567
			report.Faults = append(report.Faults, check.Fault{Kind: "long-pause", Target: "transfer-1", At: at, Until: at + 3456789123, Recovery: &recovery})
		}
	}
	var page bytes.Buffer
	if err := report.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if page.Len() > 1<<20 {
		t.Errorf("the page has %d bytes", page.Len())
	}
	if !strings.Contains(page.String(), "<td>long-pause transfer-1</td><td>1300</td><td>3.46s</td>") {
		t.Error("the faults are not summed up")
	}
}

func TestTheReportAsJSON(t *testing.T) {
	report := sampleReport()
	report.Config.ServiceKey = "very secret"
	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Config  struct{ Seed uint64 }
		Seconds []check.Second
		Faults  []check.Fault
		Verdict struct{ Totals map[check.Kind]int }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Config.Seed != 42 || len(got.Seconds) != len(report.Seconds) || *got.Faults[0].Recovery != 1500*time.Millisecond || got.Verdict.Totals[check.Loss] == 0 {
		t.Errorf("%+v", got)
	}
	if strings.Contains(out.String(), "very secret") {
		t.Error("the service key is in the report")
	}
}

// A report that broke nothing and saw everything is the only one that is clean.
func TestOutcomes(t *testing.T) {
	for want, report := range map[Outcome]Report{
		Kept:      {},
		Undecided: {Undecided: []string{"why"}},
		Broken:    {Undecided: []string{"why"}, Verdict: check.Verdict{Totals: map[check.Kind]int{check.Gap: 1}}},
	} {
		if got := report.Outcome(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestFaultsStandInTheOrderOfTheirTimes(t *testing.T) {
	r := &run{begun: time.Now()}
	var report Report
	for _, after := range []time.Duration{2 * time.Second, time.Second, 3 * time.Second} {
		at := r.begun.Add(after)
		report.fault(r, Mark{At: at, Until: at.Add(time.Second), Kind: "kill -9", Target: "x"})
	}
	for i, f := range report.Faults {
		if f.At != time.Duration(i+1)*time.Second || f.Until != f.At+time.Second {
			t.Errorf("fault %d: %+v", i, f)
		}
	}
}
