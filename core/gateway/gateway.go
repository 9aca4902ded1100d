package gateway

import (
	"context"
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// Gateway executes operations on the registry's clients.
type Gateway struct {
	registry      *registry.Registry
	keys          *auth.Keyring
	defaultClient string
	metrics       *Metrics
}

// New makes a Gateway. defaultClient serves operations that name no client; "" means
// that they are refused.
func New(r *registry.Registry, keys *auth.Keyring, defaultClient string, m *Metrics) *Gateway {
	return &Gateway{registry: r, keys: keys, defaultClient: defaultClient, metrics: m}
}

// Execute is the one path of every door: name the client, authorize, find it, execute, hand
// the answer on.
// ctx must outlive the Result; ending it cancels the call.
func (g *Gateway) Execute(ctx context.Context, op *Operation) (*Result, error) {
	started := time.Now()
	client, err := g.resolve(op)
	if err != nil {
		g.metrics.observe(op, g.registered(op.Client), started, err)
		return nil, err
	}
	op.Call.Trace = op.Trace
	ctx, cancel := context.WithCancelCause(ctx)
	answer, err := client.Execute(ctx, cancel, &op.Call)
	if err != nil {
		cancel(nil)
		g.metrics.observe(op, op.Client, started, err)
		return nil, sdk.AsError(err)
	}
	return &Result{op: op, backend: client.Backend(), answer: answer, cancel: cancel, started: started, metrics: g.metrics}, nil
}

// resolve names the client, decides whether who asks may use it, and only then looks
// whether there is one: its name is nobody else's business.
func (g *Gateway) resolve(op *Operation) (*registry.Client, error) {
	if op.Client == "" && op.Principal != nil {
		op.Client = op.Principal.Client
	}
	if op.Client == "" {
		op.Client = g.defaultClient
	}
	if op.Client == "" {
		e := sdk.E(sdk.Invalid, "missing_client_header", "Missing required header").
			WithHint("name a client in the X-Athena-Client header, or configure gateway.default_client")
		e.Detail = "X-Athena-Client header is required and cannot be empty"
		e.Details = json.RawMessage(`{"missing_header":"X-Athena-Client"}`)
		return nil, e
	}
	if err := g.authorize(op); err != nil {
		return nil, err
	}
	return g.registry.Client(op.Client)
}

// registered is the client's name if there is such a client, else "": a caller's word must
// not make a new time series.
func (g *Gateway) registered(name string) string {
	if _, err := g.registry.Client(name); err != nil && sdk.AsError(err).Reason == "unknown_client" {
		return ""
	}
	return name
}

// Result is an operation's answer. It may still be streaming when Execute returns, and it
// owns the call: its context, its session, its metrics. It is used by one goroutine and
// ends with Close.
type Result struct {
	op      *Operation
	backend string
	answer  *sdk.Answer
	cancel  context.CancelCauseFunc
	started time.Time
	metrics *Metrics
	failed  error
}

// NewResult wraps an answer, for tests of doors.
func NewResult(op *Operation, backend string, answer *sdk.Answer) *Result {
	return &Result{op: op, backend: backend, answer: answer, cancel: func(error) {}, started: time.Now(), metrics: NewMetrics(prometheus.NewRegistry())}
}

// Backend is the kind of database that answered.
func (r *Result) Backend() string { return r.backend }

// Head is the answer's head.
func (r *Result) Head() *sdk.Head { return r.answer.Head() }

// Complete returns the tail when the whole body has been received, else nil: then the
// answer is larger than resilience.Prefetch and streams.
func (r *Result) Complete() *sdk.Tail { return r.answer.Tail() }

// Buffered is how many bytes of the body wait to be read.
func (r *Result) Buffered() int { return r.answer.Buffered() }

// Next returns the next piece of the body, valid until the following call, and io.EOF
// after the last one. Any other error means that the body is incomplete.
func (r *Result) Next() ([]byte, error) {
	b, err := r.answer.Next()
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return b, err
}

// Tail is the answer's tail, once Next has returned io.EOF.
func (r *Result) Tail() *sdk.Tail { return r.answer.Tail() }

// Close ends the operation. err says why its answer was not delivered whole; nil that it
// was. What was not read is cancelled in the database. Exactly once.
func (r *Result) Close(err error) {
	if err == nil {
		err = r.failed
	}
	r.answer.Close()
	r.cancel(nil)
	r.metrics.observe(r.op, r.op.Client, r.started, err)
}

// Metrics are the data plane's.
type Metrics struct {
	operations *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	retries    *prometheus.CounterVec
	children   sync.Map // childKey -> *child: no label lookup on the hot path
}

type childKey struct{ client, door, name string }

type child struct {
	ok       prometheus.Counter
	duration prometheus.Observer
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "athena_gateway_operations_total",
			Help: "Operations by client, door, operation and outcome (ok, or the kind of error)."}, []string{"client", "door", "operation", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "athena_gateway_operation_duration_seconds",
			Help:    "Time from an operation's start to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"client", "operation"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "athena_gateway_retries_total",
			Help: "Attempts after the first."}, []string{"client"}),
	}
	registerer.MustRegister(m.operations, m.duration, m.retries)
	return m
}

// Retry counts a retry.
func (m *Metrics) Retry(client string) { m.retries.WithLabelValues(client).Inc() }

func (m *Metrics) observe(op *Operation, client string, started time.Time, err error) {
	if err != nil {
		m.operations.WithLabelValues(client, op.Door, op.Name, sdk.AsError(err).Kind.String()).Inc()
		m.duration.WithLabelValues(client, op.Name).Observe(time.Since(started).Seconds())
		return
	}
	key := childKey{client, op.Door, op.Name}
	c, ok := m.children.Load(key)
	if !ok {
		c, _ = m.children.LoadOrStore(key, &child{
			m.operations.WithLabelValues(client, op.Door, op.Name, "ok"), m.duration.WithLabelValues(client, op.Name)})
	}
	c.(*child).ok.Inc()
	c.(*child).duration.Observe(time.Since(started).Seconds())
}
