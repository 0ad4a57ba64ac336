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
	dropped     prometheus.Counter
	pages       prometheus.Counter
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
		dropped: factory.NewCounter(prometheus.CounterOpts{
			Name: "im_push_bodies_dropped_total",
			Help: "Entries that were not pushed because too much waited for their gateway; the sessions read pages instead, which costs more.",
		}),
		pages: factory.NewCounter(prometheus.CounterOpts{
			Name: "im_inbox_pages_total", Help: "Pages of inboxes that were read: by devices that come back, or that were not pushed an entry.",
		}),
	}
}
