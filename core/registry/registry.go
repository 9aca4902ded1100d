// Package registry holds the gateway's clients: named database registrations, from the
// configuration file and from the catalog in the ledger, each opened on the plugin of its
// backend. Requests find them in memory alone. A client that cannot be opened is tried again
// in the background while the others serve; one whose config changes is opened anew beside
// its old instance, which ends when its calls have.
package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Definition is a client of the configuration file.
type Definition struct {
	Name, Backend string
	Config        json.RawMessage // for the backend's plugin; holds secrets
	Template      string          // its URI as the file has it, with ${VAR} and without secrets; "": it has none
	Problem       string          // why it cannot be opened at all, e.g. an unset variable
}

// Options are what Open needs. Host and Logger are required.
type Options struct {
	Host    *pluginhost.Host
	Logger  hclog.Logger
	OnRetry func(client string)

	Tuning     Tuning                           // of clients without overrides
	Configured func(setting string) bool        // whether a setting of Tuning was configured, not a default; nil: none was
	Ledger     *ledger.Ledger                   // nil: the clients of the file are all there are
	Sealer     *Sealer                          // of secrets in the ledger; nil: none can be stored
	Getenv     func(name string) (string, bool) // the gateway's environment; nil: it is empty
}

// Registry is the set of clients.
type Registry struct {
	options Options
	file    map[string]Definition
	clients atomic.Pointer[map[string]*Client]
	stop    context.CancelFunc
	running context.Context // ends with stop
	tasks   sync.WaitGroup

	mu         sync.Mutex // held by arrange
	rows       map[string]*row
	overrides  map[string]Overrides
	haveRows   bool
	haveTuning bool
	loaded     atomic.Bool // both are there, or there is no ledger
	seedOnce   sync.Once
	seeded     chan struct{} // closed when the file's clients are in the ledger
}

// Client is one registered database.
type Client struct {
	Name string

	now atomic.Pointer[serving] // what a call meets; never nil

	mu      sync.Mutex
	want    want
	version uint64             // of want
	wake    chan struct{}      // want has changed
	settled chan struct{}      // closed when want has been tried
	cancel  context.CancelFunc // ends the attempt under way; nil: there is none
	open    *opened            // nil: no instance is open
	failure *sdk.Error         // why want is not open
}

// want is what a client is to be.
type want struct {
	state   State
	source  string // "config" or "database": where the connection comes from
	backend string
	config  json.RawMessage // with the overrides that are the plugin's
	problem string          // why it cannot be opened at all
	tuning  Tuning
	gone    bool // the client is in neither the file nor the catalog any more
}

// opened is an instance with the config that it was opened with.
type opened struct {
	instance *pluginhost.Instance
	backend  string
	config   json.RawMessage
}

func (o *opened) fits(w *want) bool {
	return o != nil && o.backend == w.backend && bytes.Equal(o.config, w.config)
}

// serving is what a call meets: a refusal, or an executor.
type serving struct {
	refusal  *sdk.Error
	backend  string
	executor *resilience.Executor
	open     *opened
	tuning   Tuning
}

// State is what operators have decided about a client.
type State string

// The states. Unknown is that of a client of which the ledger has not yet been asked.
const (
	Active   State = "active"
	Inactive State = "inactive"
	Frozen   State = "frozen"
	Deleted  State = "deleted"
	Unknown  State = "unknown"
)

// Status is how a client is doing.
type Status struct {
	Name, Backend string
	State         State
	Source        string // "config" or "database"
	Available     bool   // calls are executed
	Connected     bool   // an instance is open
	Reason        string // why it is not available, as a stable symbol
	Message       string // why not, for the operator
	// Pending is why a change of the client is not in use yet while it serves as it was
	// before: its new config cannot be opened.
	Pending string
}

// firstTry bounds how long Open waits for the clients: a gateway with one dead database
// starts soon.
const firstTry = 10 * time.Second

// maxDrain bounds how long calls of an instance that was replaced may take.
const maxDrain = 10 * time.Minute

// Open opens all clients in parallel. It returns when each has been tried once or firstTry
// has passed; those that failed are tried again until Close. While the ledger was never
// read every client is refused: one that is frozen must not thaw by a restart.
func Open(ctx context.Context, definitions []Definition, o Options) *Registry {
	if o.OnRetry == nil {
		o.OnRetry = func(string) {}
	}
	if o.Getenv == nil {
		o.Getenv = func(string) (string, bool) { return "", false }
	}
	if o.Configured == nil {
		o.Configured = func(string) bool { return false }
	}
	r := &Registry{options: o, file: map[string]Definition{}, seeded: make(chan struct{})}
	r.running, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.clients.Store(&map[string]*Client{})
	for _, d := range definitions {
		r.file[d.Name] = d
	}
	if o.Ledger == nil {
		close(r.seeded)
		r.loaded.Store(true)
		r.arrange(func() {})
	} else {
		r.arrange(func() {}) // what is in the file is shown while the ledger is waited for
		o.Ledger.Follow(ledger.Clients, r.loadRows)
		o.Ledger.Follow(ledger.Configs, r.loadOverrides)
	}
	if !r.loaded.Load() {
		o.Logger.Warn("the ledger has not been read: requests are refused until it has")
		return r
	}
	limited, done := context.WithTimeout(ctx, firstTry)
	defer done()
	for _, c := range r.all() {
		if c.settle(limited) != nil {
			break
		}
	}
	select {
	case <-r.seeded:
	case <-limited.Done():
		o.Logger.Warn("not all clients are open yet; serving the others")
	}
	return r
}

// arrange applies a change of what is known from the file and the ledger.
func (r *Registry) arrange(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	if r.options.Ledger != nil && r.haveRows && r.haveTuning {
		r.loaded.Store(true)
	}
	if r.running.Err() != nil {
		return
	}
	if r.options.Ledger != nil && r.loaded.Load() {
		r.seedOnce.Do(func() { r.tasks.Go(r.seed) })
	}
	before := *r.clients.Load()
	clients := make(map[string]*Client, len(before))
	put := func(name string, w want) {
		c := before[name]
		if c == nil {
			c = newClient(name, w)
			r.tasks.Go(func() { r.keep(c) })
		} else {
			c.change(w, r.options.OnRetry)
		}
		clients[name] = c
	}
	for name := range r.file {
		put(name, r.wanted(name))
	}
	for name, row := range r.rows {
		if _, inFile := r.file[name]; !inFile && (row.connects() || row.state() != Active) {
			put(name, r.wanted(name))
		}
	}
	for name, c := range before {
		if clients[name] == nil {
			c.change(want{state: Deleted, gone: true}, r.options.OnRetry)
		}
	}
	r.clients.Store(&clients)
}

func newClient(name string, w want) *Client {
	c := &Client{Name: name, wake: make(chan struct{}, 1), settled: make(chan struct{}), want: w}
	c.publish(nil)
	return c
}

// change sets what the client is to be. Refusals hold at once, the rest when it is open.
func (c *Client) change(w want, onRetry func(string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.want.equal(&w) {
		return
	}
	c.want, c.failure = w, nil
	c.version++
	select {
	case <-c.settled:
		c.settled = make(chan struct{})
	default: // those who wait for the change before wait for this one too
	}
	if c.cancel != nil {
		c.cancel()
	}
	c.publish(onRetry)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (w *want) equal(o *want) bool {
	return w.state == o.state && w.source == o.source && w.backend == o.backend && bytes.Equal(w.config, o.config) &&
		w.problem == o.problem && w.tuning == o.tuning && w.gone == o.gone
}

// publish makes what calls meet of what the client is to be and what is open; c.mu is held,
// or c is new.
func (c *Client) publish(onRetry func(string)) {
	s := &serving{backend: c.want.backend, tuning: c.want.tuning, refusal: refusal(c.Name, c.want.state)}
	if before := c.now.Load(); s.refusal == nil && c.open != nil {
		s.open, s.backend = c.open, c.open.backend
		if before.open == c.open && before.tuning.Policy == s.tuning.Policy {
			s.executor = before.executor // and what its breaker knows
		} else {
			s.executor = resilience.New(c.Name, s.tuning.Policy, c.open.instance.Execute, func() { onRetry(c.Name) })
		}
	} else if s.refusal == nil {
		s.refusal = &sdk.Error{Kind: sdk.Unavailable, Reason: "client_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
			Message: fmt.Sprintf("client %q is not available", c.Name), Hint: "its state is in /health, the reason in the gateway's log",
			RetryAfter: time.Second}
	}
	c.now.Store(s)
}

// refusal is why a client in that state gets no calls; nil if it may.
func refusal(name string, state State) *sdk.Error {
	var e *sdk.Error
	switch state {
	case Active:
		return nil
	case Unknown:
		e = errNotLoaded()
	case Frozen:
		e = sdk.E(sdk.Unavailable, "client_frozen", fmt.Sprintf("client %q is frozen: an operator has stopped requests to it", name)).
			WithHint("an operator can thaw it: PUT /admin/clients/{client_name}/freeze with is_frozen false")
	case Inactive:
		e = sdk.E(sdk.Unavailable, "client_inactive", fmt.Sprintf("client %q is not active", name)).
			WithHint("an operator can activate it: PATCH /admin/clients/{client_name} with is_active true")
	default:
		e = sdk.E(sdk.Unavailable, "client_deleted", fmt.Sprintf("client %q was deleted", name)).
			WithHint("name another client, or ask an operator to create it again")
	}
	if state != Unknown {
		e.RetryAfter = -1 // waiting does not help
	}
	e.Source = sdk.FromHost
	return e
}

func errNotLoaded() *sdk.Error {
	e := sdk.E(sdk.Unavailable, "ledger_unavailable", "the gateway has not been able to read its ledger, which says who may be served").
		WithHint("the ledger's state is in /health")
	e.Source, e.RetryAfter = sdk.FromHost, 2*time.Second
	return e
}

// keep opens, replaces and closes the client's instance, whatever it is to be, until the
// client is gone or the registry ends. Attempts that fail have growing pauses between them.
// Each new problem is logged once.
func (r *Registry) keep(c *Client) {
	pause := time.Second
	var told string
	for {
		changed := r.options.Host.Changed() // before the attempt, so that none is missed
		w, version, done := c.look()
		if done != nil {
			r.tasks.Go(func() { r.end(c.Name, done) })
		}
		if w.gone {
			return
		}
		var again <-chan time.Time
		if w.state != Active || c.fits(version) {
			changed, told = nil, ""
		} else {
			failure := r.attempt(c, &w, version)
			if r.running.Err() != nil {
				return
			}
			if failure == nil || !c.failed(version, failure) {
				pause = time.Second
				continue // it is open, or to be something else by now
			}
			if text := failure.Reason + failure.Message; text != told {
				told = text
				r.options.Logger.Warn("client cannot be opened; it is tried again until it can",
					"client", c.Name, "backend", w.backend, "error", failure.Error(), "hint", failure.Hint)
			}
			if w.problem == "" {
				again = time.After(pause/2 + rand.N(pause/2))
			}
		}
		select {
		case <-r.running.Done():
			return
		case <-again:
			pause = min(2*pause, 15*time.Second)
		case <-c.wake:
			pause = time.Second
		case <-changed: // a plugin came, or may start again
			pause = time.Second
		}
	}
}

// look returns what the client is to be, and the instance to be closed if it is not to be
// open.
func (c *Client) look() (w want, version uint64, done *opened) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.want.state != Active {
		done, c.open = c.open, nil
		c.settleLocked()
	}
	return c.want, c.version, done
}

// fits reports whether the client is open as it is to be.
func (c *Client) fits(version uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != version || !c.open.fits(&c.want) || c.want.problem != "" {
		return false
	}
	c.settleLocked()
	return true
}

func (c *Client) settleLocked() {
	select {
	case <-c.settled:
	default:
		close(c.settled)
	}
}

// failed notes why the client is not as it is to be. It is false when that has changed.
func (c *Client) failed(version uint64, e *sdk.Error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != version {
		return false
	}
	c.failure = e
	c.settleLocked()
	return true
}

// attempt opens an instance as w says and lets it take over from the one before. It returns
// nil when it has, and when the client is to be something else by now.
func (r *Registry) attempt(c *Client, w *want, version uint64) *sdk.Error {
	if w.problem != "" {
		return sdk.E(sdk.Unavailable, "not_configured", w.problem)
	}
	ctx, cancel := context.WithCancel(r.running)
	defer cancel()
	c.mu.Lock()
	if c.version != version {
		c.mu.Unlock()
		return nil
	}
	c.cancel = cancel
	c.mu.Unlock()
	instance, err := r.options.Host.Open(ctx, w.backend, c.Name, w.config)
	c.mu.Lock()
	c.cancel = nil
	current := c.version == version
	if err != nil {
		c.mu.Unlock()
		if !current {
			return nil
		}
		return sdk.AsError(err)
	}
	before, next := c.open, &opened{instance, w.backend, w.config}
	if !current && (c.want.state != Active || !next.fits(&c.want)) {
		c.mu.Unlock()
		r.end(c.Name, next)
		return nil
	}
	c.open, c.failure = next, nil
	c.publish(r.options.OnRetry)
	c.mu.Unlock()
	if before == nil {
		r.options.Logger.Info("client is open", "client", c.Name, "backend", w.backend)
		return nil
	}
	r.options.Logger.Info("client is open with its new config", "client", c.Name, "backend", w.backend)
	r.tasks.Go(func() { r.end(c.Name, before) })
	return nil
}

// end closes an instance that gets no more calls when those under way have ended.
func (r *Registry) end(client string, o *opened) {
	ctx, cancel := context.WithTimeout(r.running, maxDrain)
	defer cancel()
	if err := o.instance.Close(ctx); err != nil && r.running.Err() == nil {
		r.options.Logger.Warn("a client's instance did not close in order", "client", client, "error", err)
	}
}

// settle waits until the client is as it is to be, or that has failed once.
func (c *Client) settle(ctx context.Context) error {
	c.mu.Lock()
	settled := c.settled
	c.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Settled waits until the client of that name is as the file and the catalog say, or that
// has failed once, at most until ctx ends.
func (r *Registry) Settled(ctx context.Context, name string) {
	if c := (*r.clients.Load())[name]; c != nil {
		_ = c.settle(ctx) // its status says how it stands
	}
}

// Client finds a client by name. Errors are Invalid "unknown_client", and Unavailable
// "ledger_unavailable" for every name while the ledger was never read.
func (r *Registry) Client(name string) (*Client, error) {
	clients := *r.clients.Load()
	if c := clients[name]; c != nil {
		return c, nil
	}
	if !r.loaded.Load() {
		return nil, errNotLoaded()
	}
	message := fmt.Sprintf("there is no client %q", name)
	if why := CheckName(name); why != "" { // it may be a secret, such as a URI, and of any length
		message = "that is no client's name: " + why
	}
	return nil, sdk.E(sdk.Invalid, "unknown_client", message).WithHint("name a registered client in the X-Athena-Client header")
}

// Backend is the kind of database that the client is.
func (c *Client) Backend() string { return c.now.Load().backend }

// Config is what the client is to be opened with; it holds secrets. Errors are those of calls
// to a client that was stopped, and Unavailable "not_configured".
func (c *Client) Config() (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := refusal(c.Name, c.want.state); e != nil {
		return nil, e
	}
	if c.want.problem != "" {
		return nil, sdk.E(sdk.Unavailable, "not_configured", c.want.problem)
	}
	return c.want.config, nil
}

// Tuning is how the client's calls are executed.
func (c *Client) Tuning() Tuning { return c.now.Load().tuning }

// Execute executes a call on the client's database; see resilience.Executor.Execute. A call
// that meets the end of an instance goes to its successor. Errors besides those: Unavailable
// "client_frozen", "client_inactive", "client_deleted" and "client_unavailable", Forbidden
// "client_read_only" and "sql_disabled".
func (c *Client) Execute(ctx context.Context, cancel context.CancelCauseFunc, call *sdk.Call) (answer *sdk.Answer, retries int, err error) {
	for {
		s := c.now.Load()
		if s.refusal != nil {
			return nil, retries, s.refusal
		}
		if s.tuning.ReadOnly || s.tuning.NoSQL {
			if e := s.tuning.permit(c.Name, call); e != nil {
				return nil, retries, e
			}
		}
		answer, again, err := s.executor.Execute(ctx, cancel, call)
		retries += again
		if err == nil {
			return answer, retries, nil
		}
		if e := sdk.AsError(err); e.Reason == pluginhost.InstanceClosed && c.now.Load() != s {
			continue
		} else if s.tuning.ReadOnly {
			return nil, retries, s.tuning.explain(c.Name, e)
		}
		return nil, retries, err
	}
}

// Ping asks the client's database for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	for {
		s := c.now.Load()
		if s.refusal != nil {
			return c.unavailable(s)
		}
		err := s.open.instance.Ping(ctx)
		if err != nil && sdk.AsError(err).Reason == pluginhost.InstanceClosed && c.now.Load() != s {
			continue
		}
		return err
	}
}

// Introspect asks what the client's database holds, within the time that a call has for the
// head of its answer. Errors besides the database's are those of Execute, and Unsupported
// where the backend cannot tell.
func (c *Client) Introspect(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	for {
		s := c.now.Load()
		if s.refusal != nil {
			return nil, s.refusal
		}
		limited, cancel := context.WithTimeout(ctx, s.tuning.Policy.Timeout)
		schema, err := s.open.instance.Introspect(limited, q)
		cancel()
		if err != nil && sdk.AsError(err).Reason == pluginhost.InstanceClosed && c.now.Load() != s {
			continue
		}
		return schema, err
	}
}

// unavailable is why s refuses calls, for operators.
func (c *Client) unavailable(s *serving) *sdk.Error {
	if s.refusal.Reason != "client_unavailable" {
		return s.refusal
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		return sdk.E(sdk.Unavailable, "opening", "the client is being opened")
	}
	return c.failure
}

// Status is the client's state.
func (c *Client) Status() Status {
	s := c.now.Load()
	c.mu.Lock()
	status := Status{Name: c.Name, Backend: s.backend, State: c.want.state, Source: c.want.source, Connected: c.open != nil && s.refusal == nil}
	if s.refusal == nil && !c.open.fits(&c.want) {
		if status.Pending = "it is being opened"; c.failure != nil {
			status.Pending = c.failure.Message
		}
	}
	c.mu.Unlock()
	var failure *sdk.Error
	if s.refusal != nil {
		failure = c.unavailable(s)
	} else if failure = s.open.instance.Unavailable(); failure != nil {
		status.Connected = false
	}
	switch {
	case failure != nil:
		status.Reason, status.Message = failure.Reason, failure.Message
	case s.executor.Open():
		status.Reason, status.Message = "circuit_open", "the database did not answer the last requests"
	default:
		status.Available = true
	}
	return status
}

// all lists every client by name, deleted ones too.
func (r *Registry) all() []*Client {
	list := slices.Collect(maps.Values(*r.clients.Load()))
	slices.SortFunc(list, func(a, b *Client) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Clients lists the clients by name. One that was deleted is not among them.
func (r *Registry) Clients() []*Client {
	return slices.DeleteFunc(r.all(), func(c *Client) bool { return c.state() == Deleted })
}

func (c *Client) state() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want.state
}

// ActiveNames lists the clients that calls may be sent to, by name. Error: Unavailable
// "ledger_unavailable" while the ledger was never read.
func (r *Registry) ActiveNames() ([]string, error) {
	if !r.loaded.Load() {
		return nil, errNotLoaded()
	}
	names := []string{}
	for _, c := range r.all() {
		if c.state() == Active {
			names = append(names, c.Name)
		}
	}
	return names, nil
}

// Nearest is the client whose name is a slip of the finger away; "": none.
func (r *Registry) Nearest(name string) string {
	var names []string
	for _, c := range r.Clients() {
		names = append(names, c.Name)
	}
	return sqlbuild.NearestName(name, names)
}

// Close stops the attempts and closes all instances.
func (r *Registry) Close(ctx context.Context) error {
	r.stop()
	r.mu.Lock() // a change that was being applied has been
	clients := r.all()
	r.mu.Unlock()
	r.tasks.Wait()
	var errs []error
	for _, c := range clients {
		c.mu.Lock()
		o := c.open
		c.open = nil
		c.publish(r.options.OnRetry)
		c.mu.Unlock()
		if o == nil {
			continue
		}
		if err := o.instance.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("client %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}
