package ledger

import "github.com/prometheus/client_golang/prometheus"

// metrics are the ledger's.
type metrics struct {
	writtenRows, droppedRows, failedLoads *prometheus.CounterVec
}

func newMetrics(l *Ledger, registry prometheus.Registerer) *metrics {
	m := &metrics{
		writtenRows: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "athena_ledger_written_rows_total", Help: "Rows of logs that were written."}, []string{"log"}),
		droppedRows: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "athena_ledger_dropped_rows_total",
			Help: "Rows of logs that were lost: the queue was full, the ledger refused them, or the gateway had to end."}, []string{"log"}),
		failedLoads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "athena_ledger_failed_loads_total",
			Help: "Times that a part of the control plane could not be loaded."}, []string{"subject"}),
	}
	registry.MustRegister(m.writtenRows, m.droppedRows, m.failedLoads,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "athena_ledger_available", Help: "1 while the ledger answers."}, func() float64 {
			return float64(bit(l.state.Load().up))
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "athena_ledger_queued_rows", Help: "Rows of logs that wait to be written."}, func() float64 {
			return float64(l.Status().Queued)
		}))
	return m
}

func (m *metrics) register(log string) {
	m.writtenRows.WithLabelValues(log)
	m.droppedRows.WithLabelValues(log)
}

func (m *metrics) wrote(log string, n int)   { m.writtenRows.WithLabelValues(log).Add(float64(n)) }
func (m *metrics) dropped(log string, n int) { m.droppedRows.WithLabelValues(log).Add(float64(n)) }

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
