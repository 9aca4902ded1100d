package auth

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// Lines of refusals per second, and how many may come at once: an attack must not fill the
// disk. What is left out is counted in the next line, and all of them in the metric.
const (
	lineEvery = time.Second
	mostLines = 50
)

// refusals counts and logs who is turned away.
type refusals struct {
	log     hclog.Logger
	counted *prometheus.CounterVec
	now     func() time.Time

	mu      sync.Mutex
	budget  int
	filled  time.Time // when the budget last grew
	skipped int
}

func newRefusals(log hclog.Logger, registry prometheus.Registerer, now func() time.Time) *refusals {
	r := &refusals{log: log, now: now, budget: mostLines, filled: now(), counted: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "athena_auth_refused_total", Help: "Requests that were refused for lack of a right key or right, by reason.",
	}, []string{"reason"})}
	for _, reason := range reasons {
		r.counted.WithLabelValues(reason)
	}
	registry.MustRegister(r.counted)
	return r
}

// note counts a refusal and, within the budget, writes its line, which has no secret.
func (r *refusals) note(a *Attempt) {
	r.counted.WithLabelValues(a.failure).Inc()
	skipped, ok := r.take()
	if !ok {
		return
	}
	line := []any{"code", a.failure, "remote", a.Remote.String(), "method", a.Method, "route", a.Path, "trace_id", a.RequestID}
	if a.key != nil {
		line = append(line, "key", a.key.PublicID)
	}
	if skipped > 0 {
		line = append(line, "skipped", skipped)
	}
	r.log.Warn("a request was refused", line...)
}

func (r *refusals) take() (skipped int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if grown := int(now.Sub(r.filled) / lineEvery); grown > 0 {
		r.budget, r.filled = min(mostLines, r.budget+grown), now
	}
	if r.budget == 0 {
		r.skipped++
		return 0, false
	}
	r.budget--
	skipped, r.skipped = r.skipped, 0
	return skipped, true
}
