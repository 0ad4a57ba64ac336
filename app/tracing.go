package app

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/im-transfer/im"
	"github.com/im-transfer/im/common/zipkin"
	"github.com/im-transfer/im/configs"
)

// tracer is what the servers together ask of one.
type tracer interface {
	Join(from im.Trace) im.Trace
	Report(span im.Span)
}

// tracingPatience bounds how long a process that stops waits for the collector.
const tracingPatience = time.Second

// startTracing makes the way to Zipkin, where one is configured: once for all servers
// of the process, and before them, so that it ends after them. The sampling rate is
// that of the settings in force.
func (p *process) startTracing(context.Context) error {
	c := p.config.Tracing
	if c.Endpoint == "" {
		return nil
	}
	spans, err := zipkin.NewReporter(zipkin.Config{Endpoint: c.Endpoint, Log: p.log})
	if err != nil {
		return fmt.Errorf("tracing.endpoint: %w", err)
	}
	p.started("tracing", func(ctx context.Context) error {
		patient, cancel := context.WithTimeout(ctx, tracingPatience)
		defer cancel()
		return spans.Stop(patient)
	})
	p.spans = spans
	p.settings.follow(func(c *configs.Config) {
		if err := spans.SetSampleRate(c.Tracing.SampleRate); err != nil { // the configuration has judged it
			p.log.Error("change tracing.sample_rate", "error", err)
		}
	})
	p.metrics.MustRegister(spanMetrics(spans)...)
	return nil
}

// tracer returns a server's tracer; nil when there is no collector.
func (p *process) tracer(role, serverID string) tracer {
	if p.spans == nil {
		return nil
	}
	return p.spans.Tracer("im-"+role, serverID)
}

// spanMetrics are what an operator watches of tracing.
func spanMetrics(spans *zipkin.Reporter) []prometheus.Collector {
	metrics := []prometheus.Collector{prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "im_tracing_spans_sent_total", Help: "Spans that the collector has taken.",
	}, func() float64 { return float64(spans.Sent()) })}
	for _, reason := range zipkin.Reasons() {
		metrics = append(metrics, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "im_tracing_spans_dropped_total", Help: "Spans that were lost, by reason.",
			ConstLabels: prometheus.Labels{"reason": string(reason)},
		}, func() float64 { return float64(spans.Dropped(reason)) }))
	}
	return metrics
}
