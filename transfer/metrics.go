package transfer

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are what an operator watches of the pipeline.
type metrics struct {
	swept       prometheus.Counter
	stoppedFor  prometheus.Gauge
	quarantined prometheus.Counter
}

// newMetrics registers them; with nil they are counted and nobody sees it.
func newMetrics(to prometheus.Registerer) *metrics {
	factory := promauto.With(to)
	return &metrics{
		swept: factory.NewCounter(prometheus.CounterOpts{
			Name: "im_swept_blocks_total", Help: "Blocks of inbox entries that retention has deleted.",
		}),
		stoppedFor: factory.NewGauge(prometheus.GaugeOpts{
			Name: "im_sweepers_stopped",
			Help: "Inbox partitions held here in which retention has stopped because the store's clock has moved. Alarm when not 0.",
		}),
		quarantined: factory.NewCounter(prometheus.CounterOpts{
			Name: "im_quarantined_total", Help: "Items of the queue that could not be decoded and went to the quarantine. Alarm when it rises.",
		}),
	}
}
