package app

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/zipkin"
	"github.com/im-transfer/im/http"
	"github.com/im-transfer/im/session"
	"github.com/im-transfer/im/transfer"
)

// traced is as much of a process as tracing needs.
func traced(t *testing.T, endpoint string) *process {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := &process{App: newApp(log), config: defaultConfig(t), metrics: prometheus.NewRegistry()}
	p.config.Tracing.Endpoint, p.config.Tracing.SampleRate = endpoint, 0
	p.settings = newSettings(p.config, p.metrics, log)
	if err := p.startTracing(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestTheSampleRateFollowsTheSettings(t *testing.T) {
	p := traced(t, "http://127.0.0.1:1/api/v2/spans")
	one := p.tracer("http", "s")
	if one.Join(im.Trace{}).Sampled() {
		t.Error("sampled at a rate of 0")
	}
	p.settings.take(map[string]string{"tracing.sample_rate": "1"})
	if !one.Join(im.Trace{}).Sampled() {
		t.Error("not sampled at a rate of 1")
	}
	p.settings.take(map[string]string{"tracing.sample_rate": "2"})
	if !one.Join(im.Trace{}).Sampled() {
		t.Error("a bad rate was taken")
	}
	p.settings.take(nil)
	if one.Join(im.Trace{}).Sampled() {
		t.Error("sampled at a rate of 0 again")
	}
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	for _, family := range families {
		if family.GetName() == "im_tracing_spans_dropped_total" {
			reasons = len(family.GetMetric())
		}
	}
	if reasons != len(zipkin.Reasons()) {
		t.Errorf("%d reasons on /metrics", reasons)
	}
}

// Without an endpoint the servers have no tracer, rather than one that is nil inside.
func TestNoEndpointIsNoTracer(t *testing.T) {
	p := traced(t, "")
	var (
		requests http.Tracer     = p.tracer("http", "s")
		sends    session.Tracer  = p.tracer("tcp", "s")
		steps    transfer.Tracer = p.tracer("transfer", "s")
	)
	if requests != nil || sends != nil || steps != nil {
		t.Error("there is a tracer")
	}
}
