package httpapi

import (
	"context"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
)

// Client is a registered client in GET /health.
type Client struct {
	Name    string `json:"name"`
	Backend string `json:"backend"`
	State   string `json:"state"`            // available or unavailable
	Reason  string `json:"reason,omitempty"` // why it is unavailable, as a symbol
	Error   string `json:"error,omitempty"`  // why, in words; without secrets
}

// Plugin is a plugin in GET /health.
type Plugin struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	State    string `json:"state"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error,omitempty"`
}

// Probe is what one client's database said in GET /health/cluster.
type Probe struct {
	Client, Backend string
	Up              bool
	Latency         time.Duration
	Error           string // without secrets
}

// product are the members that clients of the original server read in / and /health.
type product struct {
	Status    string `json:"status"`
	Message   string `json:"message"`
	Version   string `json:"version"`
	AthenaAPI string `json:"athena_api"`
	// The original's name for its version; its clients show it.
	CargoVersion string `json:"cargo_toml_version"`
}

func (a *API) product(status string) product {
	return product{Status: status, Message: "athena is online", Version: a.options.Version, AthenaAPI: "online", CargoVersion: a.options.Version}
}

func (a *API) root(*httpx.Request) (*httpx.Response, error) {
	return httpx.JSON(struct {
		product
		Routes []httpx.RegistryEntry `json:"routes"`
	}{a.product("success"), httpx.Registry(a.listed())})
}

func (a *API) ping(*httpx.Request) (*httpx.Response, error) {
	return &httpx.Response{ContentType: "text/plain; charset=utf-8", Bytes: []byte("pong")}, nil
}

// health is detailed and asks no database.
func (a *API) health(*httpx.Request) (*httpx.Response, error) {
	type clients struct {
		Total     int      `json:"total"`
		Available int      `json:"available"`
		List      []Client `json:"list"`
	}
	body := struct {
		product
		Uptime  int64    `json:"uptime_seconds"`
		Clients clients  `json:"clients"`
		Plugins []Plugin `json:"plugins"`
	}{product: a.product("ok"), Uptime: int64(time.Since(a.options.Started).Seconds()), Plugins: []Plugin{}}
	body.Clients.List = []Client{}
	if a.options.Clients != nil {
		body.Clients.List = append(body.Clients.List, a.options.Clients()...)
	}
	for _, c := range body.Clients.List {
		if c.State == "available" {
			body.Clients.Available++
		}
	}
	body.Clients.Total = len(body.Clients.List)
	if a.options.Plugins != nil {
		body.Plugins = append(body.Plugins, a.options.Plugins()...)
	}
	return httpx.JSON(body)
}

// cluster asks every client's database. The status is 503 only when there are clients
// and none of them answers: one dead database must not take the gateway out of service.
func (a *API) cluster(r *httpx.Request) (*httpx.Response, error) {
	type entry struct {
		Client    string  `json:"client"`
		Backend   string  `json:"backend"`
		Status    string  `json:"status"`
		LatencyMS float64 `json:"latency_ms"`
		Error     string  `json:"error,omitempty"`
	}
	body := struct {
		product
		Clients []entry `json:"clients"`
		Mirrors []any   `json:"mirrors"` // the original's peers; always empty
	}{product: a.product("ok"), Clients: []entry{}, Mirrors: []any{}}
	up := 0
	for _, p := range a.probe(r.Context()) {
		e := entry{Client: p.Client, Backend: p.Backend, Status: "offline", LatencyMS: float64(p.Latency.Microseconds()) / 1000, Error: p.Error}
		if p.Up {
			e.Status = "online"
			up++
		}
		body.Clients = append(body.Clients, e)
	}
	status := 200
	switch {
	case up == len(body.Clients):
	case up > 0:
		body.Status, body.Message = "degraded", "some clients do not answer"
	default:
		status, body.Status, body.Message = 503, "error", "no client answers"
	}
	response, err := httpx.JSON(body)
	if err == nil {
		response.Status = status
	}
	return response, err
}

func (a *API) probe(ctx context.Context) []Probe {
	if a.options.Probe == nil {
		return nil
	}
	return a.options.Probe(ctx)
}

func (a *API) registry(*httpx.Request) (*httpx.Response, error) {
	return httpx.JSON(httpx.Registry(a.listed()))
}
