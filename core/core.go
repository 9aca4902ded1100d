// Package core wires the house: Open builds every part from a configuration, Close undoes
// it in reverse. Only commands import it.
package core

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/athena-gateway/athena/core/admin"
	"github.com/athena-gateway/athena/core/apiregistry"
	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/health"
	"github.com/athena-gateway/athena/core/httpapi"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/notice"
	"github.com/athena-gateway/athena/core/oplog"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/provision"
	"github.com/athena-gateway/athena/core/publicroutes"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/sdk"
)

// Options are what a command gives besides the configuration.
type Options struct {
	Logger  hclog.Logger
	Version string

	lookEvery time.Duration // see ledger.Options
}

// Gateway is a running gateway.
type Gateway struct {
	config     *config.Config
	metrics    *prometheus.Registry
	ledger     *ledger.Ledger
	notices    *notice.Notices               // nil without Redis
	heard      atomic.Pointer[ledger.Ledger] // the ledger, for notices, which may come before it is open
	keys       *auth.Keyring
	operations *oplog.Log
	host       *pluginhost.Host
	registry   *registry.Registry
	routes     []httpx.Route
	server     *httpx.Server
	listener   net.Listener
	serving    atomic.Bool // Serve runs
	closing    atomic.Bool // Close has begun
}

// Open starts everything but the listener. Clients that cannot be opened do not fail it.
func Open(ctx context.Context, c *config.Config, o Options) (*Gateway, error) {
	g := &Gateway{config: c, metrics: prometheus.NewRegistry()}
	g.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := g.openLedger(ctx, o); err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	var err error
	g.keys = auth.New(auth.Options{AdminKey: string(c.API.AdminKey), Enforce: c.API.EnforceAPIKeys, Ledger: g.ledger,
		Logger: o.Logger.Named("auth"), Registry: g.metrics})
	g.operations = oplog.New(oplog.Options{Ledger: g.ledger, Logger: o.Logger.Named("oplog"), Off: !c.Ledger.OperationLog})
	plugins := pluginOptions(c)
	plugins.Logger = o.Logger.Named("plugins")
	g.host, err = pluginhost.New(plugins)
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	g.checkLimits(plugins.PluginLimits, o.Logger)
	sealer, err := registry.NewSealer(c.Ledger.SecretKey, c.Ledger.PreviousSecretKey, c.Ledger.AllowPlaintextSecrets)
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	metrics := gateway.NewMetrics(g.metrics)
	g.registry = registry.Open(ctx, definitions(c), registry.Options{
		Host:    g.host,
		Logger:  o.Logger.Named("clients"),
		OnRetry: metrics.Retry,
		Tuning: registry.Tuning{Policy: resilience.Policy{
			Timeout:     c.Gateway.ResilienceTimeout,
			ReadRetries: c.Gateway.ResilienceReadMaxRetries,
			Backoff:     c.Gateway.ResilienceInitialBackoff,
		}},
		Configured: func(setting string) bool { return c.Given["gateway."+setting] },
		Ledger:     g.ledger,
		Sealer:     sealer,
		Getenv:     os.LookupEnv,
	})
	g.checkDefaultClient(o.Logger)
	g.metrics.MustRegister(&stateCollector{g}, &pluginCollector{found: g.host.Metrics, log: o.Logger.Named("metrics")})
	operations := gateway.New(gateway.Options{Registry: g.registry, Keys: g.keys, DefaultClient: c.Gateway.DefaultClient, Metrics: metrics,
		Log: g.operations, Status: httpx.Status})
	var public *publicroutes.Routes
	api := httpapi.New(httpapi.Options{
		Execute:    operations.Execute,
		Introspect: operations.Introspect,
		Refuse:     operations.Refuse,
		Metrics:    g.metrics,
		Reveals:    g.reveals,
		Listed:     func() []httpx.Route { return g.routes },
		HostClient: func(r *httpx.Request, label string) (string, error) { return public.HostClient(r, label) },
	})
	public = publicroutes.New(publicroutes.Options{
		Ledger:  g.ledger,
		Logger:  o.Logger.Named("routes"),
		Keys:    g.keys,
		Grammar: publicroutes.Grammar{Table: httpapi.ParseTable, Columns: httpapi.ParseColumns, Conditions: httpapi.ParseConditions},
		Execute: operations.Execute,
		Refuse:  operations.Refuse,
		Serve:   api.Serve,
		Clients: func() []string {
			var names []string
			for _, client := range g.registry.Clients() {
				names = append(names, client.Name)
			}
			return names
		},
	})
	about := health.New(health.Options{
		Version:     o.Version,
		Started:     time.Now(),
		Routes:      func() []httpx.Route { return g.routes },
		Clients:     g.clients,
		Plugins:     g.plugins,
		Ledger:      g.ledgerState,
		Obstacles:   g.obstacles,
		Ping:        g.ping,
		PingTimeout: c.API.HealthTimeout,
		Reveals:     g.reveals,
	})
	operators := admin.New(admin.Options{Host: g.host, Registry: g.registry, Keys: g.keys, Ledger: g.ledger, Operations: g.operations, Logger: o.Logger.Named("admin")})
	apis := apiregistry.New(g.ledger, o.Logger.Named("apis"))
	provisioning, err := provision.New(provision.Options{
		Ledger:       g.ledger,
		Logger:       o.Logger.Named("provision"),
		AllowedHosts: c.Provision.AllowedHosts,
		Client:       g.postgresURI,
		CanRegister:  g.canRegister,
		Register:     g.register,
	})
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	g.routes = slices.Concat(about.Routes(), api.Routes(), public.Routes(), apis.Routes(), operators.Routes(), provisioning.Routes())
	g.server, err = httpx.New(httpx.Options{
		Routes:    g.routes,
		Keys:      g.keys,
		Logger:    o.Logger.Named("http"),
		Registry:  g.metrics,
		BodyLimit: c.API.BodyLimit,
		AnyOrigin: c.API.AllowOpen,

		HostDomain: c.API.HostDomain,
	})
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	return g, nil
}

// openLedger opens the ledger and, where Redis is configured, the notices of its changes.
func (g *Gateway) openLedger(ctx context.Context, o Options) (err error) {
	c := &g.config.Ledger
	options := ledger.Options{URI: c.URI, Logger: o.Logger.Named("ledger"), Registry: g.metrics, LookEvery: o.lookEvery, Retention: map[string]time.Duration{
		"gateway_operation_log": c.OperationLogKept, "api_key_auth_log": c.AuthLogKept, "admin_audit_log": c.AuditLogKept}}
	if url := string(g.config.Redis.URL); url != "" {
		g.notices, err = notice.Open(url, o.Logger.Named("redis"), func(string) {
			if l := g.heard.Load(); l != nil {
				l.Wake()
			}
		})
		if err != nil {
			return err
		}
		options.Publish = func(s ledger.Subject) { g.notices.Publish(string(s)) }
	}
	g.ledger, err = ledger.Open(ctx, options)
	g.heard.Store(g.ledger)
	return err
}

// pluginOptions are what the configuration says of plugins.
func pluginOptions(c *config.Config) pluginhost.Options {
	limits := func(l config.Limits) pluginhost.Limits {
		return pluginhost.Limits{Memory: l.Memory, OpenFiles: uint64(l.OpenFiles)}
	}
	o := pluginhost.Options{Dir: c.Plugins.Dir, ConfigDir: c.Dir, Verify: pluginhost.Verify(c.Plugins.Verify),
		Limits: limits(c.Plugins.Limits), PluginLimits: map[string]pluginhost.Limits{}, Env: c.Plugins.PassEnv}
	for name, l := range c.Plugins.ByName {
		o.PluginLimits[name] = limits(l)
	}
	return o
}

// checkLimits warns of limits for plugins that are not there: a name may be misspelt.
func (g *Gateway) checkLimits(byName map[string]pluginhost.Limits, logger hclog.Logger) {
	found := g.host.Plugins()
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if !slices.ContainsFunc(found, func(s pluginhost.Status) bool { return s.Name == name }) {
			logger.Warn("plugins.limits names a plugin that is not there (yet)", "plugin", name, "dir", g.config.Plugins.Dir)
		}
	}
}

// checkDefaultClient warns of a default client that is not there: its name may be misspelt.
func (g *Gateway) checkDefaultClient(logger hclog.Logger) {
	name := g.config.Gateway.DefaultClient
	if name == "" {
		return
	}
	client, err := g.registry.Client(name)
	if err != nil && sdk.AsError(err).Reason == "unknown_client" || err == nil && client.Status().State == registry.Deleted {
		logger.Warn("gateway.default_client names no client: requests that name none are refused", "default_client", name, "did_you_mean", g.registry.Nearest(name))
	}
}

func definitions(c *config.Config) []registry.Definition {
	var list []registry.Definition
	for _, client := range c.Clients {
		list = append(list, registry.Definition{Name: client.Name, Backend: client.Backend, Config: client.Config, Template: registry.Redact(client.Template), Problem: client.Problem})
	}
	return list
}

// Listen opens the listener and returns its address.
func (g *Gateway) Listen() (net.Addr, error) {
	var err error
	if g.listener, err = net.Listen("tcp", g.config.API.Addr()); err != nil {
		return nil, err
	}
	return g.listener.Addr(), nil
}

// Serve answers requests until Close.
func (g *Gateway) Serve() error {
	g.serving.Store(true)
	defer g.serving.Store(false)
	return g.server.Serve(g.listener)
}

// Close says at /ready that the gateway is not to be asked any more, serves on for the
// configured delay, so that load balancers notice, lets accepted requests end, at most
// until ctx does, ends every plugin and writes the ledger's logs to their end.
func (g *Gateway) Close(ctx context.Context) error {
	g.closing.Store(true)
	if g.serving.Load() {
		select {
		case <-time.After(g.config.API.ShutdownDelay):
		case <-ctx.Done():
		}
	}
	var errs []error
	if g.server != nil {
		errs = append(errs, g.server.Shutdown(ctx))
	}
	if g.registry != nil {
		errs = append(errs, g.registry.Close(ctx))
	}
	if g.host != nil {
		errs = append(errs, g.host.Close(ctx))
	}
	if g.notices != nil {
		errs = append(errs, g.notices.Close())
	}
	if g.ledger != nil {
		g.keys.Close()
		g.operations.Close()
		errs = append(errs, g.ledger.Close(ctx))
	}
	return errors.Join(errs...)
}
