package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/check"
)

func TestMain(m *testing.M) {
	if os.Getenv(fakeProcess) != "" {
		serveFake()
		return
	}
	goleak.VerifyTestMain(m)
}

// mustRun runs a config that must not fail.
func mustRun(t *testing.T, config Config) *Report {
	t.Helper()
	report, err := Run(t.Context(), config, Progress{Step: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatalf("%v\n%+v", err, report)
	}
	return report
}

func verdictOf(t *testing.T, report *Report) string {
	t.Helper()
	var b strings.Builder
	if err := report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAServerThatKeepsItsPromisesIsAcquitted(t *testing.T) {
	for _, transport := range []string{TCP, WebSocket, Mixed} {
		for _, form := range []string{Protobuf, JSON, Text} {
			t.Run(transport+" "+form, func(t *testing.T) {
				t.Parallel()
				config := inTest(t, none, 0).config(Pairs)
				config.Transport, config.Form, config.Messages, config.Devices, config.Duration = transport, form, 500, 2, 2*time.Minute

				report := mustRun(t, config)

				if !report.Verdict.OK() {
					t.Fatal(verdictOf(t, report))
				}
				if v := report.Verdict; v.Sent != 2000 || v.Acknowledged != 2000 || v.Delivered < 8000 {
					t.Fatalf("%d sent, %d acknowledged, %d delivered", v.Sent, v.Acknowledged, v.Delivered)
				}
				if report.Ack.Count != 2000 || report.Delivery.Count != 4000 {
					t.Fatalf("latencies of %d acks and %d deliveries", report.Ack.Count, report.Delivery.Count)
				}
			})
		}
	}
}

func TestAFaultInOneMessageOf100000IsConvicted(t *testing.T) {
	total := 110_000
	if testing.Short() {
		total = 11_000
	}
	for fault, kind := range map[fault]check.Kind{drop: check.Loss, repeat: check.Duplicate, swap: check.Order} {
		t.Run(string(fault), func(t *testing.T) {
			config := inTest(t, fault, int64(total)*10/11).config(Pairs)
			config.Pairs, config.Window, config.Duration = 10, 64, 5*time.Minute
			config.Messages, config.Settle = total/config.Pairs, time.Second

			report := mustRun(t, config)

			if report.Verdict.Sent != total || report.Verdict.Totals[kind] != 1 {
				t.Fatalf("not convicted of one %s:\n%s", kind, verdictOf(t, report))
			}
			if history := report.Verdict.Violations[0].History; len(history) < 3 {
				t.Fatalf("the message's history is not told: %v", history)
			}
		})
	}
}

func TestOtherLiesAreConvictedToo(t *testing.T) {
	for fault, kind := range map[fault]check.Kind{alter: check.Phantom, renumber: check.Identity, denied: check.Refused} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			config := inTest(t, fault, 1500).config(Pairs)
			config.Messages, config.Settle = 500, 100*time.Millisecond

			report := mustRun(t, config)

			if report.Verdict.Totals[kind] == 0 {
				t.Fatalf("not convicted of %s:\n%s", kind, verdictOf(t, report))
			}
		})
	}
}

func TestTroubleThatAClientCanMendIsNoViolation(t *testing.T) {
	for _, fault := range []fault{unavailing, cut} {
		for _, transport := range []string{TCP, WebSocket} {
			t.Run(string(fault)+" "+transport, func(t *testing.T) {
				t.Parallel()
				config := inTest(t, fault, 300).config(Pairs)
				config.Transport, config.Messages, config.Duration = transport, 300, 2*time.Minute

				report := mustRun(t, config)

				if v := report.Verdict; !v.OK() || v.Acknowledged != 1200 {
					t.Fatal(verdictOf(t, report))
				}
				if report.Whole.Resent == 0 {
					t.Fatal("nothing was sent again")
				}
				if fault == cut && len(report.Reconnects) == 0 {
					t.Fatal("nobody reconnected")
				}
				if fault == unavailing && report.Whole.Refused[im.Unavailable] == 0 {
					t.Fatal("nothing was refused")
				}
			})
		}
	}
}

// A load may be ended before its time; it is judged as any other.
func TestALoadThatIsEnded(t *testing.T) {
	config := inTest(t, none, 0).config(Rate)
	until := make(chan struct{})
	config.Duration, config.Until = time.Hour, until
	var once sync.Once
	progress := Progress{Second: func(s Second) {
		if s.Delivered > 0 {
			once.Do(func() { close(until) })
		}
	}}

	report, err := Run(t.Context(), config, progress)

	if err != nil || !report.Verdict.OK() || report.Verdict.Sent == 0 || report.Seconds > 60 {
		t.Fatalf("%v after %.1f s:\n%s", err, report.Seconds, verdictOf(t, report))
	}
}

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	config := inTest(t, none, 0).config(Rate)
	config.Rate, config.Warmup, config.Duration = 500, 200*time.Millisecond, time.Second

	report := mustRun(t, config)

	if !report.Verdict.OK() {
		t.Fatal(verdictOf(t, report))
	}
	// Latencies count by the intended time, so a busy machine changes little.
	if n := report.Ack.Count; n < 400 || n > 501 {
		t.Fatalf("%d messages were to be sent in a second", n)
	}
}

func TestOneSender(t *testing.T) {
	config := inTest(t, none, 0).config(Single)
	config.Pairs, config.Messages = 0, 300
	report := mustRun(t, config)
	if report.Config.Window != 64 || report.Verdict.Acknowledged != 300 || !report.Verdict.OK() {
		t.Fatal(verdictOf(t, report))
	}
}

func TestAbsentUsersCatchUp(t *testing.T) {
	config := inTest(t, none, 0).config(CatchUp)
	config.Pairs, config.Messages, config.Rounds, config.Window = 2, 400, 2, 10
	report := mustRun(t, config)
	if !report.Verdict.OK() || report.CatchUp == nil || report.CatchUp.Devices != 4 || report.CatchUp.Min <= 0 {
		t.Fatalf("%+v\n%s", report.CatchUp, verdictOf(t, report))
	}
}

func TestIdleConnectionsAreMeasured(t *testing.T) {
	config := inTest(t, none, 0).config(Idle)
	config.Connect, config.Transport, config.Duration, config.Sources = 50, Mixed, 1500*time.Millisecond, 3
	config.Devices = 2
	report := mustRun(t, config)
	if !report.Verdict.OK() || report.Login.Count != 50 || report.Idle == nil || report.Idle.Connections != 50 {
		t.Fatal(verdictOf(t, report))
	}
}

func TestLoginStorm(t *testing.T) {
	config := inTest(t, none, 0).config(Login)
	config.Connect, config.Rounds = 50, 3
	report := mustRun(t, config)
	if report.Login.Count != 150 || report.Logins == 0 {
		t.Fatal(verdictOf(t, report))
	}
}

func TestUsersRegisterWhereThereIsNoKey(t *testing.T) {
	config := inTest(t, none, 0).config(Pairs)
	config.ServiceKey, config.Messages = "", 10
	if report := mustRun(t, config); !report.Verdict.OK() || report.Verdict.Acknowledged != 40 {
		t.Fatal(verdictOf(t, report))
	}
}

func TestAReportIsWhole(t *testing.T) {
	config := inTest(t, none, 0).config(Pairs)
	config.Warmup, config.Duration = 500*time.Millisecond, 1200*time.Millisecond
	report := mustRun(t, config)
	var page, figures bytes.Buffer
	if err := report.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&figures); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<polyline", "Throughput", "every promise kept", "p99"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if strings.Contains(page.String(), "ZgotmplZ") || strings.Contains(page.String(), "http-equiv") {
		t.Error("the page holds what the template refused")
	}
	var again struct {
		PerSecond PerSecond `json:"per_second"`
		Verdict   check.Verdict
	}
	if err := json.Unmarshal(figures.Bytes(), &again); err != nil || again.PerSecond.Acked < 100 {
		t.Fatalf("%v %+v", err, again)
	}
}

func TestARunThatIsCutShortIsJudgedByWhatItSaw(t *testing.T) {
	config := inTest(t, none, 0).config(Pairs)
	ctx, cancel := context.WithCancel(t.Context())
	report, err := Run(ctx, config, Progress{Second: func(Second) { cancel() }})
	if !errors.Is(err, context.Canceled) || report == nil || report.Error == "" {
		t.Fatalf("%v, %+v", err, report)
	}
	if v := report.Verdict; !v.OK() || v.Acknowledged == 0 {
		t.Fatal(verdictOf(t, report))
	}
}

func TestAWrongConfigIsRefused(t *testing.T) {
	for name, config := range map[string]Config{
		"mode": {Mode: "x"}, "form": {Mode: Pairs, Form: "xml"}, "size": {Mode: Pairs, Size: 10},
		"window": {Mode: Pairs, Window: 1000}, "transport": {Mode: Pairs, Transport: "udp"},
	} {
		if _, err := Run(t.Context(), config, Progress{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServerThatIsNotThereIsAnError(t *testing.T) {
	_, err := Run(t.Context(), Config{Mode: Pairs, Gateways: []string{"tcp://127.0.0.1:1", "ws://127.0.0.1:1"}, Server: "http://127.0.0.1:1"}, Progress{})
	if err == nil {
		t.Fatal("no error")
	}
}
