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
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/athena-gateway/athena/core/admin"
	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpapi"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/core/resilience"
)

// Options are what a command gives besides the configuration.
type Options struct {
	Logger  hclog.Logger
	Version string
}

// Gateway is a running gateway.
type Gateway struct {
	config   *config.Config
	metrics  *prometheus.Registry
	ledger   *ledger.Ledger
	keys     *auth.Keyring
	host     *pluginhost.Host
	registry *registry.Registry
	routes   []httpx.Route
	server   *httpx.Server
	listener net.Listener
}

// Open starts everything but the listener. Clients that cannot be opened do not fail it.
func Open(ctx context.Context, c *config.Config, o Options) (*Gateway, error) {
	g := &Gateway{config: c, metrics: prometheus.NewRegistry()}
	g.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	g.ledger, err = ledger.Open(ctx, ledger.Options{URI: c.Ledger.URI, Logger: o.Logger.Named("ledger"), Registry: g.metrics})
	if err != nil {
		return nil, err
	}
	g.keys = auth.New(auth.Options{AdminKey: string(c.API.AdminKey), Enforce: c.API.EnforceAPIKeys, Ledger: g.ledger,
		Logger: o.Logger.Named("auth"), Registry: g.metrics})
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
	g.metrics.MustRegister(&stateCollector{g}, &pluginCollector{found: g.host.Metrics, log: o.Logger.Named("metrics")})
	api := httpapi.New(httpapi.Options{
		Execute: gateway.New(g.registry, g.keys, c.Gateway.DefaultClient, metrics).Execute,
		Version: o.Version,
		Started: time.Now(),
		Metrics: g.metrics,
		Clients: g.clients,
		Plugins: g.plugins,
		Probe:   g.probe,
		Listed:  func() []httpx.Route { return g.routes },
	})
	operators := admin.New(admin.Options{Host: g.host, Registry: g.registry, Keys: g.keys, Ledger: g.ledger, Logger: o.Logger.Named("admin")})
	g.routes = slices.Concat(api.Routes(), operators.Routes())
	g.server, err = httpx.New(httpx.Options{
		Routes:    g.routes,
		Keys:      g.keys,
		Logger:    o.Logger.Named("http"),
		Registry:  g.metrics,
		BodyLimit: c.API.BodyLimit,
		AnyOrigin: c.API.AllowOpen,
	})
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	return g, nil
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
func (g *Gateway) Serve() error { return g.server.Serve(g.listener) }

// Close lets accepted requests end, at most until ctx does, and ends every plugin.
func (g *Gateway) Close(ctx context.Context) error {
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
	g.keys.Close()
	errs = append(errs, g.ledger.Close(ctx))
	return errors.Join(errs...)
}
