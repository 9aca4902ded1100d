package gateway

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/oplog"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// Options are what a Gateway works with.
type Options struct {
	Registry *registry.Registry
	Keys     *auth.Keyring
	// DefaultClient serves operations that name no client; "": they are refused.
	DefaultClient string
	Metrics       *Metrics
	Log           *oplog.Log // gets every operation
	// Status is how the doors answer an error, as HTTP counts; the log tells by it what
	// became of a request. writes is the operation's.
	Status func(e *sdk.Error, writes bool) int
}

// Gateway executes operations on the registry's clients.
type Gateway struct{ options Options }

// New makes a Gateway.
func New(o Options) *Gateway { return &Gateway{options: o} }

// Execute is the one path of every door: name the client, authorize, find it, execute, hand
// the answer on. See Executor.
func (g *Gateway) Execute(ctx context.Context, cancel context.CancelCauseFunc, op *Operation) (*Result, error) {
	op.entered = true
	asked := time.Now()
	if op.Started.IsZero() {
		op.Started = asked
	}
	client, err := g.resolve(op)
	if err != nil {
		e := sdk.AsError(err)
		g.end(op, &outcome{client: g.registered(op.Client), err: e})
		return nil, e
	}
	op.Call.Trace = op.Trace
	answer, retries, err := client.Execute(ctx, cancel, &op.Call)
	o := outcome{client: op.Client, backend: client.Backend(), retries: retries, waited: time.Since(asked)}
	if err != nil {
		o.err = sdk.AsError(err)
		g.end(op, &o)
		return nil, o.err
	}
	return &Result{gateway: g, op: op, outcome: o, answer: answer}, nil
}

// Refuse is for a door that answers an operation with err before it could be executed. Of
// one that was executed the books have been closed already.
func (g *Gateway) Refuse(op *Operation, err error) {
	if op.entered {
		return
	}
	op.entered = true
	if op.Started.IsZero() {
		op.Started = time.Now()
	}
	_, _ = g.find(op)
	g.record(op, &outcome{client: g.registered(op.Client), err: sdk.AsError(err)}, time.Since(op.Started))
}

// resolve finds the client, and tells whether there is one only to who may use it: its name is
// nobody else's business.
func (g *Gateway) resolve(op *Operation) (*registry.Client, error) {
	client, lost := g.find(op)
	err := g.authorize(op)
	if err == nil {
		err = lost
	}
	if err != nil {
		if op.Attempt != nil {
			op.Attempt.Client = g.registered(op.Attempt.Client) // names that were made up are not kept
		}
		return nil, err
	}
	return client, nil
}

// find looks the operation's client up. Its name is "" when none is named, and when what is named
// has not the form of a name: that may be a secret, and is kept nowhere.
func (g *Gateway) find(op *Operation) (client *registry.Client, err error) {
	if op.Client, err = op.target().client(g.options.DefaultClient); err != nil {
		return nil, err
	}
	if client, err = g.options.Registry.Client(op.Client); err != nil && registry.CheckName(op.Client) != "" {
		op.Client = ""
	}
	return client, err
}

// registered is the client's name if there is such a client, else "": a caller's word must
// not make a new time series.
func (g *Gateway) registered(name string) string {
	if _, err := g.options.Registry.Client(name); err != nil {
		return ""
	}
	return name
}

// Result is an operation's answer. It may still be streaming when Execute returns, and it
// owns the call: its session, its metrics. It is used by one goroutine and ends with Close.
type Result struct {
	gateway *Gateway
	op      *Operation
	outcome outcome
	answer  *sdk.Answer
}

// NewResult wraps an answer, for tests of doors.
func NewResult(op *Operation, backend string, answer *sdk.Answer) *Result {
	return &Result{gateway: New(Options{Metrics: NewMetrics(prometheus.NewRegistry())}), op: op, outcome: outcome{client: op.Client, backend: backend}, answer: answer}
}

// Backend is the kind of database that answered.
func (r *Result) Backend() string { return r.outcome.backend }

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
	var asked time.Time
	if r.answer.Buffered() == 0 && r.answer.Tail() == nil { // this waits for the backend
		asked = time.Now()
	}
	b, err := r.answer.Next()
	if !asked.IsZero() {
		r.outcome.waited += time.Since(asked)
	}
	if err != nil && err != io.EOF {
		r.outcome.err = sdk.AsError(err)
	}
	r.outcome.bytes += int64(len(b))
	return b, err
}

// Tail is the answer's tail, once Next has returned io.EOF.
func (r *Result) Tail() *sdk.Tail { return r.answer.Tail() }

// Close ends the operation. err says why its answer was not delivered whole; nil that it
// was. What was not read is cancelled in the database. Exactly once.
func (r *Result) Close(err error) {
	if err != nil {
		r.outcome.err = sdk.AsError(err)
	}
	r.outcome.tail = r.answer.Tail()
	r.answer.Close()
	r.gateway.end(r.op, &r.outcome)
}

// Metrics are the data plane's.
type Metrics struct {
	operations *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	retries    *prometheus.CounterVec

	mu       sync.RWMutex
	children map[childKey]*child // of operations that succeeded: no label lookup on the hot path
}

type childKey struct{ client, door, name string }

type child struct {
	ok       prometheus.Counter
	duration prometheus.Observer
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	m := &Metrics{
		children: map[childKey]*child{},
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

func (m *Metrics) observe(op *Operation, client string, took time.Duration, err *sdk.Error) {
	if err != nil {
		m.operations.WithLabelValues(client, op.Door, op.Name, err.Kind.String()).Inc()
		m.duration.WithLabelValues(client, op.Name).Observe(took.Seconds())
		return
	}
	c := m.child(childKey{client, op.Door, op.Name})
	c.ok.Inc()
	c.duration.Observe(took.Seconds())
}

func (m *Metrics) child(key childKey) *child {
	m.mu.RLock()
	c := m.children[key]
	m.mu.RUnlock()
	if c != nil {
		return c
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c = m.children[key]; c == nil {
		c = &child{m.operations.WithLabelValues(key.client, key.door, key.name, "ok"), m.duration.WithLabelValues(key.client, key.name)}
		m.children[key] = c
	}
	return c
}
