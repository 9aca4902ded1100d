// Package health tells what the gateway is and how it is: to people, to load balancers and
// to Kubernetes. Its routes are open to everybody.
package health

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/athena-gateway/athena/core/httpx"
)

// Options are what the routes show.
type Options struct {
	Version string
	Started time.Time
	Routes  func() []httpx.Route // all of the server
	Clients func() []Client
	Plugins func() []Plugin
	Ledger  func() Ledger
	// Obstacles are the symbols of what keeps the gateway as a whole from serving, such as
	// shutting_down; none while it can.
	Obstacles func() []string
	// Ping asks a client's database for a sign of life.
	Ping func(ctx context.Context, client string) error
	// PingTimeout bounds GET /health/cluster.
	PingTimeout time.Duration
	// Reveals says whether the caller may see the names of clients and plugins, and what is
	// wrong with them; others see numbers. Nil: everybody may.
	Reveals func(*httpx.Request) bool
}

// Client is a registered client.
type Client struct {
	Name    string `json:"name"`
	Backend string `json:"backend"`
	State   string `json:"state"`            // Available, Unavailable, or what an operator made it: frozen, inactive, deleted
	Reason  string `json:"reason,omitempty"` // why it is unavailable, as a symbol
	Error   string `json:"error,omitempty"`  // why, in words; without secrets
}

// The states of clients that are meant to serve.
const (
	Available   = "available"
	Unavailable = "unavailable"
)

// Plugin is a plugin.
type Plugin struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	State    string `json:"state"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error,omitempty"`
	Failing  bool   `json:"-"` // it should run, and does not
}

// Ledger is the gateway's own database.
type Ledger struct {
	Backend string `json:"backend"`         // sqlite or postgres
	State   string `json:"state"`           // LedgerReady, or why it cannot be asked
	Error   string `json:"error,omitempty"` // in words; without secrets
	Queued  int64  `json:"queued"`          // entries of logs that wait to be written
	Dropped int64  `json:"dropped"`         // that were lost, because it was too slow or away
}

// LedgerReady is the state of a ledger that answers.
const LedgerReady = "ready"

// API is the routes.
type API struct {
	options Options
	probing singleflight.Group
}

// New makes an API.
func New(o Options) *API { return &API{options: o} }

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	route := func(path, operation, summary string, handle httpx.Handle) httpx.Route {
		return httpx.Route{Method: "GET", Path: path, Guard: httpx.Public, Operation: operation, Summary: summary, Handle: handle}
	}
	return []httpx.Route{
		route("/", "root", "What this is, and its routes", a.root),
		route("/ping", "ping", "Answers pong", a.ping),
		route("/livez", "livez", "Whether the process lives", a.livez),
		route("/ready", "ready", "Whether the gateway should get requests", a.ready),
		route("/readyz", "ready", "Whether the gateway should get requests", a.ready),
		route("/health", "health", "State of the gateway, its ledger, clients and plugins", a.health),
		route("/health/cluster", "cluster", "Asks every client's database", a.cluster),
	}
}

// product are the members that clients of the original server read in / and /health.
type product struct {
	Status    string `json:"status"`
	Message   string `json:"message"`
	Version   string `json:"version"`
	AthenaAPI string `json:"athena_api"`
	// What the original has besides, and this gateway has not: always offline.
	Deadpool string `json:"athena_deadpool"`
	ScyllaDB string `json:"athena_scylladb"`
	// The original's name for its version; its clients show it.
	CargoVersion string `json:"cargo_toml_version"`
}

func (a *API) product(status string) product {
	return product{Status: status, Message: "athena is online", Version: a.options.Version, AthenaAPI: "online", Deadpool: offline, ScyllaDB: offline, CargoVersion: a.options.Version}
}

func (a *API) root(*httpx.Request) (*httpx.Response, error) {
	return httpx.JSON(struct {
		product
		Routes []httpx.RegistryEntry `json:"routes"`
	}{a.product("success"), httpx.Registry(a.options.Routes())})
}

func (a *API) ping(*httpx.Request) (*httpx.Response, error) {
	return &httpx.Response{ContentType: "text/plain; charset=utf-8", Bytes: []byte("pong")}, nil
}

// livez is 200 as long as anything answers: whoever restarts the process for another answer
// must not do so for a database's sake.
func (a *API) livez(*httpx.Request) (*httpx.Response, error) {
	return httpx.JSON(map[string]string{"status": "ok"})
}

// ready is 503 while another gateway should be asked instead.
func (a *API) ready(*httpx.Request) (*httpx.Response, error) {
	obstacles := a.options.Obstacles()
	if count := countClients(a.options.Clients()); count.Unavailable > 0 && count.Available == 0 {
		obstacles = append(obstacles, "no_client_available")
	}
	if len(obstacles) > 0 {
		return withStatus(503, struct {
			Status  string   `json:"status"`
			Reasons []string `json:"reasons"`
		}{"unavailable", obstacles})
	}
	return httpx.JSON(map[string]string{"status": "ready"})
}

// counts are numbers of clients. Paused are those that an operator has stopped.
type counts struct {
	Total       int `json:"total"`
	Available   int `json:"available"`
	Unavailable int `json:"unavailable"`
	Paused      int `json:"paused"`
}

func countClients(clients []Client) counts {
	count := counts{Total: len(clients)}
	for _, c := range clients {
		switch c.State {
		case Available:
			count.Available++
		case Unavailable:
			count.Unavailable++
		default:
			count.Paused++
		}
	}
	return count
}

// cache is the state of the cache of answers. There is none.
type cache struct {
	Enabled bool `json:"enabled"`
}

// health is detailed and asks no database. The status is 503 while the gateway as a whole
// cannot serve; with a part that fails it is degraded and 200.
func (a *API) health(r *httpx.Request) (*httpx.Response, error) {
	type clients struct {
		counts
		List []Client `json:"list,omitzero"`
	}
	obstacles, ledger, all, plugins := a.options.Obstacles(), a.options.Ledger(), a.options.Clients(), a.options.Plugins()
	body := struct {
		product
		Uptime    int64    `json:"uptime_seconds"`
		Cache     cache    `json:"cache"`
		Obstacles []string `json:"obstacles,omitempty"`
		Ledger    Ledger   `json:"ledger"`
		Clients   clients  `json:"clients"`
		Plugins   []Plugin `json:"plugins,omitzero"`
	}{product: a.product("ok"), Uptime: int64(time.Since(a.options.Started).Seconds()), Obstacles: obstacles, Ledger: ledger, Clients: clients{counts: countClients(all)}}
	if len(obstacles) > 0 || ledger.State != LedgerReady || body.Clients.Unavailable > 0 ||
		slices.ContainsFunc(plugins, func(p Plugin) bool { return p.Failing }) {
		body.Status = "degraded"
	}
	if a.reveals(r) {
		body.Clients.List = append([]Client{}, all...)
		body.Plugins = append([]Plugin{}, plugins...)
	} else {
		body.Ledger.Error = ""
	}
	if len(obstacles) > 0 {
		return withStatus(503, body)
	}
	return httpx.JSON(body)
}

func (a *API) reveals(r *httpx.Request) bool {
	return a.options.Reveals == nil || a.options.Reveals(r)
}

func withStatus(status int, body any) (*httpx.Response, error) {
	response, err := httpx.JSON(body)
	if err == nil {
		response.Status = status
	}
	return response, err
}
