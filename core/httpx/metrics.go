package httpx

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// metrics are the server's Prometheus metrics. The hot path looks no labels up: each
// route has resolved its own.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec

	inFlight, peak atomic.Int64
}

func newMetrics(registry *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "athena_http_requests_total", Help: "Answered HTTP requests.",
		}, []string{"route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "athena_http_request_duration_seconds", Help: "Time from the request's arrival to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "athena_http_request_bytes_total", Help: "Bytes of request bodies.",
		}, []string{"route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "athena_http_response_bytes_total", Help: "Bytes of response bodies, as sent.",
		}, []string{"route"}),
	}
	registry.MustRegister(m.requests, m.duration, m.received, m.sent,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "athena_http_requests_in_flight", Help: "Requests under way, streaming included.",
		}, func() float64 { return float64(m.inFlight.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "athena_http_requests_in_flight_peak", Help: "Most requests ever under way at once.",
		}, func() float64 { return float64(m.peak.Load()) }))
	return m
}

func (m *metrics) begin() {
	n := m.inFlight.Add(1)
	for {
		peak := m.peak.Load()
		if n <= peak || m.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// routeMetrics are one route's own counters.
type routeMetrics struct {
	metrics        *metrics
	route, method  string
	duration       prometheus.Observer
	received, sent prometheus.Counter
	byStatus       [500]atomic.Pointer[prometheus.Counter] // from 100; resolved at first use
}

func (m *metrics) route(route, method string) *routeMetrics {
	return &routeMetrics{
		metrics: m, route: route, method: method,
		duration: m.duration.WithLabelValues(route),
		received: m.received.WithLabelValues(route),
		sent:     m.sent.WithLabelValues(route),
	}
}

func (m *routeMetrics) end(status, received, sent int, took time.Duration) {
	m.metrics.inFlight.Add(-1)
	m.duration.Observe(took.Seconds())
	if received > 0 {
		m.received.Add(float64(received))
	}
	m.sent.Add(float64(sent))
	m.status(status).Inc()
}

func (m *routeMetrics) status(status int) prometheus.Counter {
	if status < 100 || status > 599 {
		status = 500
	}
	slot := &m.byStatus[status-100]
	if c := slot.Load(); c != nil {
		return *c
	}
	c := m.metrics.requests.WithLabelValues(m.route, m.method, strconv.Itoa(status))
	slot.Store(&c)
	return c
}

// named reports whether a family tells the names of clients or plugins.
func named(family *dto.MetricFamily) bool {
	return slices.ContainsFunc(family.Metric, func(m *dto.Metric) bool {
		return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "client" || l.GetName() == "plugin" })
	})
}

// MetricsRoute is GET /metrics over registry. Who may not see the names of clients and plugins gets
// the metrics that have none; reveals decides about a caller, nil: all may. What cannot be gathered
// is left out. What is missing, and why, is a comment in the answer; errors quote labels, so they
// are only for who may see names.
func MetricsRoute(registry prometheus.Gatherer, reveals func(*Request) bool) Route {
	return Route{
		Method: "GET", Path: "/metrics", Guard: Public, Operation: "metrics", Summary: "Metrics for Prometheus",
		Handle: func(r *Request) (*Response, error) {
			families, failed := registry.Gather()
			var b bytes.Buffer
			all := reveals == nil || reveals(r)
			if !all {
				families = slices.DeleteFunc(families, named)
				b.WriteString("# metrics of clients and plugins are shown with the admin key, or an API key for any client, as a bearer token\n")
			}
			format := expfmt.NewFormat(expfmt.TypeTextPlain)
			encoder := expfmt.NewEncoder(&b, format)
			for _, family := range families {
				whole := b.Len()
				if err := encoder.Encode(family); err != nil {
					b.Truncate(whole)
					failed = errors.Join(failed, err)
				}
			}
			switch {
			case failed != nil && all:
				fmt.Fprintf(&b, "# left out: %q\n", failed)
			case failed != nil:
				b.WriteString("# something was left out\n")
			}
			return &Response{ContentType: string(format), Bytes: b.Bytes()}, nil
		},
	}
}
