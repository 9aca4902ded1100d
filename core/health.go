package core

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/athena-gateway/athena/core/health"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// stateCollector shows the states of clients and plugins at the time of the scrape.
type stateCollector struct{ gateway *Gateway }

var (
	clientUp = prometheus.NewDesc("athena_client_available",
		"1 when the client's database is open and answering.", []string{"client", "backend"}, nil)
	pluginUp             = pluginDesc("ready", "1 when the plugin's process serves calls.")
	pluginRestarts       = pluginDesc("restarts_total", "Starts of the plugin's process after the first.")
	pluginState          = pluginDesc("state", "1 for the state that the plugin is in.", "state")
	pluginCalls          = pluginDesc("calls", "Calls under way in the plugin.")
	pluginWaiting        = pluginDesc("waiting_calls", "Calls that wait for the plugin to come back.")
	pluginMemory         = pluginDesc("memory_bytes", "Memory that the plugin's process holds.")
	pluginCPU            = pluginDesc("cpu_seconds_total", "Processor time that the plugin's process has used; a new process begins at 0.")
	pluginInstances      = pluginDesc("open_instances", "Clients that are open in the plugin.")
	pluginFailures       = pluginDesc("failures", "Failed starts and early deaths of the plugin in a row; five within ten minutes are quarantine.")
	pluginLogsLost       = pluginDesc("log_lines_dropped_total", "Lines of the plugin that did not reach the log: it printed them too fast.")
	pluginStillFinishing = pluginDesc("finishing_processes", "Replaced processes of the plugin that finish their calls.")
)

func pluginDesc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("athena_plugin_"+name, help, append([]string{"plugin"}, more...), nil)
}

// Describe and Collect make it a prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{clientUp, pluginUp, pluginRestarts, pluginState, pluginCalls, pluginWaiting, pluginMemory,
		pluginCPU, pluginInstances, pluginFailures, pluginLogsLost, pluginStillFinishing} {
		ch <- desc
	}
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	for _, client := range c.gateway.registry.Clients() {
		s := client.Status()
		ch <- prometheus.MustNewConstMetric(clientUp, prometheus.GaugeValue, bit(s.Available), s.Name, s.Backend)
	}
	for _, p := range c.gateway.host.Plugins() {
		name := strings.ToValidUTF8(p.Name, "\uFFFD") // as labels have to be, which files need not
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
		}
		counter := func(desc *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value, name)
		}
		open := 0
		for _, i := range p.Instances {
			if i.Open {
				open++
			}
		}
		gauge(pluginUp, bit(p.PID != 0))
		counter(pluginRestarts, float64(p.Restarts))
		gauge(pluginState, 1, string(p.State))
		gauge(pluginCalls, float64(p.Calls))
		gauge(pluginWaiting, float64(p.Waiting))
		gauge(pluginInstances, float64(open))
		gauge(pluginFailures, float64(p.Failures))
		counter(pluginLogsLost, float64(p.LogsLost))
		gauge(pluginStillFinishing, float64(p.Finishing))
		if p.Memory > 0 {
			gauge(pluginMemory, float64(p.Memory))
		}
		if p.PID != 0 {
			counter(pluginCPU, p.CPU)
		}
	}
}

// own are how the names of the gateway's own metrics begin.
var own = []string{"athena_http_", "athena_auth_", "athena_ledger_", "athena_gateway_", "athena_client_", "athena_plugin_"}

func isOwn(name string) bool {
	return slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// pluginCollector shows what the plugins' instances tell of themselves. A metric that
// contradicts another of its name, or cannot be one, is left out, as it would spoil the
// whole scrape; the log says so once.
type pluginCollector struct {
	found func(context.Context) map[string]map[string][]sdk.Metric // by plugin and client
	log   hclog.Logger
	told  sync.Map // names that the log has
}

// collectTimeout bounds how long a scrape waits for a plugin.
const collectTimeout = time.Second

// Describe names nothing: what there is depends on the plugins.
func (c *pluginCollector) Describe(chan<- *prometheus.Desc) {}

// Collect makes it a prometheus.Collector. Where two contradict each other the first by
// the names of plugin and client is shown.
func (c *pluginCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	found := c.found(ctx)
	shapes, seen := map[string]string{}, map[string]bool{}
	for _, plugin := range slices.Sorted(maps.Keys(found)) {
		for _, client := range slices.Sorted(maps.Keys(found[plugin])) {
			for _, m := range found[plugin][client] {
				name := "athena_" + strings.ReplaceAll(plugin, "-", "_") + "_" + m.Name
				shown, id, shape, err := instanceMetric(name, client, &m)
				if err == nil && shapes[name] != "" && shapes[name] != shape {
					err = errors.New("another of its name has other labels, another help or another type")
				}
				if err != nil {
					if _, told := c.told.LoadOrStore(name, true); !told {
						c.log.Warn("a metric is left out", "metric", name, "plugin", plugin, "client", client, "error", err)
					}
					continue
				}
				shapes[name] = shape
				if !seen[id] { // two, for a moment, while a client is opened anew
					seen[id] = true
					ch <- shown
				}
			}
		}
	}
}

// instanceMetric makes a metric of what an instance tells. id is its name and labels, shape
// what all of its name have in common.
func instanceMetric(name, client string, m *sdk.Metric) (shown prometheus.Metric, id, shape string, err error) {
	names, values := []string{"client"}, []string{client}
	for _, label := range m.Labels {
		names, values = append(names, label.Name), append(values, label.Value)
		if !model.LegacyValidation.IsValidLabelName(label.Name) {
			return nil, "", "", fmt.Errorf("%q is no name for a label", label.Name)
		}
	}
	switch {
	case !model.LegacyValidation.IsValidMetricName(name):
		return nil, "", "", errors.New("it is no name for a metric")
	case isOwn(name):
		return nil, "", "", errors.New("names that begin so are the gateway's own")
	}
	kind := prometheus.GaugeValue
	if m.Counter {
		kind = prometheus.CounterValue
	}
	shown, err = prometheus.NewConstMetric(prometheus.NewDesc(name, m.Help, names, nil), kind, m.Value, values...)
	return shown, fmt.Sprintf("%q%q", name, values), fmt.Sprintf("%q%q%t", names, m.Help, m.Counter), err
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reveals reports whether the caller may see the names of clients and plugins: while no key is
// asked for everybody but the pages of other sites, and always who has the admin key or a key for
// any client.
func (g *Gateway) reveals(r *httpx.Request) bool {
	if !g.keys.Enforced("") && !r.Foreign() {
		return true
	}
	return r.Identify() && r.Principal.Client == ""
}

// clients are the registry's.
func (g *Gateway) clients() []health.Client {
	var list []health.Client
	for _, client := range g.registry.Clients() {
		s := client.Status()
		state := health.Unavailable
		switch {
		case s.Available:
			state = health.Available
		case s.State == registry.Frozen, s.State == registry.Inactive:
			state = string(s.State)
		}
		list = append(list, health.Client{Name: s.Name, Backend: s.Backend, State: state, Reason: s.Reason, Error: s.Message})
	}
	return list
}

// plugins are the host's.
func (g *Gateway) plugins() []health.Plugin {
	var list []health.Plugin
	for _, p := range g.host.Plugins() {
		list = append(list, health.Plugin{Name: p.Name, Version: p.Version, State: string(p.State), Restarts: int(p.Restarts), Error: p.LastError,
			Failing: slices.Contains([]pluginhost.State{pluginhost.Degraded, pluginhost.Lost, pluginhost.Backoff, pluginhost.Quarantined}, p.State)})
	}
	return list
}

// ledgerState is the ledger's.
func (g *Gateway) ledgerState() health.Ledger {
	s := g.ledger.Status()
	return health.Ledger{Backend: s.Backend, State: s.State, Error: s.Error, Queued: s.Queued, Dropped: s.Dropped}
}

// obstacles keep the gateway as a whole from serving. A ledger that was loaded once is none,
// and what only lists something, as the catalogue of APIs does, is not asked for.
func (g *Gateway) obstacles() []string {
	var list []string
	for _, needed := range []ledger.Subject{ledger.Clients, ledger.Configs, ledger.Keys, ledger.Routes} {
		if !g.ledger.Loaded(needed) {
			list = append(list, "ledger_unavailable")
			break
		}
	}
	if g.closing.Load() {
		list = append(list, "shutting_down")
	}
	return list
}

// ping asks a client's database for a sign of life.
func (g *Gateway) ping(ctx context.Context, name string) error {
	client, err := g.registry.Client(name)
	if err != nil {
		return err
	}
	return client.Ping(ctx)
}
