// Package registry holds the gateway's clients: named database registrations, each opened
// on the plugin of its backend. A client that cannot be opened is tried again in the
// background while the others serve.
package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/sdk"
)

// Definition is a client as configured.
type Definition struct {
	Name, Backend string
	Config        json.RawMessage // for the backend's plugin; holds secrets
	Problem       string          // why it cannot be opened at all, e.g. an unset variable
}

// Options are what Open needs.
type Options struct {
	Host    *pluginhost.Host
	Logger  hclog.Logger
	Policy  resilience.Policy
	OnRetry func(client string)
}

// Registry is the set of clients.
type Registry struct {
	options Options
	clients map[string]*Client
	stop    context.CancelFunc
	tasks   sync.WaitGroup
}

// Client is one registered database.
type Client struct {
	Definition
	opened atomic.Pointer[opened]

	mu      sync.Mutex
	failure *sdk.Error // of the last attempt to open it
}

// opened is a client that can be asked.
type opened struct {
	instance *pluginhost.Instance
	executor *resilience.Executor
}

// Status is a client's state for /health.
type Status struct {
	Name, Backend string
	Available     bool
	Reason        string // why not, as a stable symbol
	Message       string // why not, for the operator
}

// firstTry bounds how long Open waits for the clients: a gateway with one dead database
// starts soon.
const firstTry = 10 * time.Second

// Open opens all clients in parallel. It returns when each has been tried once or
// firstTry has passed; those that failed are tried again until Close.
func Open(ctx context.Context, definitions []Definition, o Options) *Registry {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Registry{options: o, clients: map[string]*Client{}, stop: stop}
	var tried sync.WaitGroup
	for _, d := range definitions {
		c := &Client{Definition: d}
		r.clients[d.Name] = c
		if d.Problem != "" {
			c.failure = sdk.E(sdk.Unavailable, "not_configured", d.Problem)
			o.Logger.Warn("client is unavailable", "client", d.Name, "problem", d.Problem)
			continue
		}
		tried.Add(1)
		r.tasks.Go(func() { r.keepTrying(background, c, tried.Done) })
	}
	all := make(chan struct{})
	go func() { tried.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(firstTry):
		o.Logger.Warn("not all clients are open yet; serving the others")
	case <-ctx.Done():
	}
	return r
}

// keepTrying opens c, with growing pauses between attempts. Each new problem is logged
// once.
func (r *Registry) keepTrying(ctx context.Context, c *Client, tried func()) {
	pause := time.Second
	for attempt := 1; ; attempt++ {
		changed := r.options.Host.Changed()
		instance, err := r.options.Host.Open(ctx, c.Backend, c.Name, c.Config)
		if err == nil {
			c.opened.Store(&opened{instance, resilience.New(c.Name, r.options.Policy, instance.Execute,
				func() { r.options.OnRetry(c.Name) })})
			r.options.Logger.Info("client is open", "client", c.Name, "backend", c.Backend, "attempt", attempt)
			if attempt == 1 {
				tried()
			}
			return
		}
		if ctx.Err() != nil {
			if attempt == 1 {
				tried()
			}
			return
		}
		failure := sdk.AsError(err)
		c.mu.Lock()
		known := c.failure != nil && c.failure.Reason == failure.Reason && c.failure.Message == failure.Message
		c.failure = failure
		c.mu.Unlock()
		if !known {
			r.options.Logger.Warn("client cannot be opened; it is tried again until it can",
				"client", c.Name, "backend", c.Backend, "error", failure.Error(), "hint", failure.Hint)
		}
		if attempt == 1 {
			tried()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
			pause = min(2*pause, 15*time.Second)
		case <-changed: // a plugin came, or may start again
			pause = time.Second
		}
	}
}

// Client finds a client by name.
func (r *Registry) Client(name string) (*Client, error) {
	if c := r.clients[name]; c != nil {
		return c, nil
	}
	return nil, sdk.E(sdk.Invalid, "unknown_client", fmt.Sprintf("there is no client %q", name)).
		WithHint("name a client of the configuration in the X-Athena-Client header")
}

// Execute executes a call on the client's database; see resilience.Executor.Execute.
func (c *Client) Execute(ctx context.Context, cancel context.CancelCauseFunc, call *sdk.Call) (answer *sdk.Answer, retries int, err error) {
	o := c.opened.Load()
	if o == nil {
		return nil, 0, &sdk.Error{Kind: sdk.Unavailable, Reason: "client_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
			Message: fmt.Sprintf("client %q is not available", c.Name), Hint: "its state is in /health, the reason in the gateway's log",
			RetryAfter: time.Second}
	}
	return o.executor.Execute(ctx, cancel, call)
}

// Ping asks the client's database for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	o := c.opened.Load()
	if o == nil {
		return c.unopened()
	}
	return o.instance.Ping(ctx)
}

func (c *Client) unopened() *sdk.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		return sdk.E(sdk.Unavailable, "opening", "the client is being opened")
	}
	return c.failure
}

// Status is the client's state.
func (c *Client) Status() Status {
	s := Status{Name: c.Name, Backend: c.Backend}
	o := c.opened.Load()
	var failure *sdk.Error
	if o == nil {
		failure = c.unopened()
	} else {
		failure = o.instance.Unavailable()
	}
	switch {
	case failure != nil:
		s.Reason, s.Message = failure.Reason, failure.Message
	case o.executor.Open():
		s.Reason, s.Message = "circuit_open", "the database did not answer the last requests"
	default:
		s.Available = true
	}
	return s
}

// Clients lists all clients by name.
func (r *Registry) Clients() []*Client {
	list := slices.Collect(maps.Values(r.clients))
	slices.SortFunc(list, func(a, b *Client) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

// Close stops the attempts and closes all instances.
func (r *Registry) Close(ctx context.Context) error {
	r.stop()
	r.tasks.Wait()
	var first error
	for _, c := range r.Clients() {
		if o := c.opened.Swap(nil); o != nil {
			if err := o.instance.Close(ctx); err != nil && first == nil {
				first = fmt.Errorf("client %s: %w", c.Name, err)
			}
		}
	}
	return first
}
