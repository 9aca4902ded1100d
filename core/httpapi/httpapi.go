// Package httpapi is the JSON gateway: the routes that the Athena clients call. It turns
// request bodies into Operations and Results into the envelope, and never decodes a row.
package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
)

// Options are what the routes show and call.
type Options struct {
	Execute gateway.Executor
	Metrics prometheus.Gatherer  // nil: no GET /metrics
	Listed  func() []httpx.Route // all routes of the server, for /router/registry; nil: these
}

// API is the JSON gateway's routes over an executor.
type API struct{ options Options }

// New makes an API.
func New(o Options) *API { return &API{options: o} }

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	key := func(methods []string, path, operation, summary string, writes bool, handle httpx.Handle) []httpx.Route {
		var routes []httpx.Route
		for _, method := range methods {
			routes = append(routes, httpx.Route{Method: method, Path: path, Guard: httpx.Key, Operation: operation, Summary: summary, Writes: writes, Handle: handle})
		}
		return routes
	}
	routes := []httpx.Route{
		{Method: "GET", Path: "/router/registry", Guard: httpx.Public, Operation: "registry", Summary: "All routes", Handle: a.registry},
	}
	for _, more := range [][]httpx.Route{
		key([]string{"POST"}, "/gateway/fetch", "fetch", "Fetch rows", false, a.fetch),
		key([]string{"POST"}, "/gateway/data", "fetch", "Fetch rows", false, a.fetch),
		key([]string{"GET"}, "/data", "fetch", "Fetch rows by query parameters", false, a.data),
		key([]string{"PUT", "POST"}, "/gateway/insert", "insert", "Insert or upsert rows", true, a.insert),
		key([]string{"POST", "PATCH"}, "/gateway/update", "update", "Update rows", true, a.update),
		key([]string{"DELETE", "POST"}, "/gateway/delete", "delete", "Delete rows", true, a.delete),
		key([]string{"POST"}, "/gateway/query", "query", "Execute SQL", true, a.query),
		key([]string{"POST"}, "/gateway/sql", "sql", "Execute SQL on the client that db_name names", true, a.sql),
		key([]string{"POST"}, "/query/sql", "sql", "Execute SQL on the client that db_name names", true, a.sql),
		key([]string{"POST"}, "/query/count", "count", "Count the rows of a table or of a query", false, a.count),
	} {
		routes = append(routes, more...)
	}
	if a.options.Metrics != nil {
		routes = append(routes, httpx.MetricsRoute(a.options.Metrics))
	}
	return routes
}

func (a *API) registry(*httpx.Request) (*httpx.Response, error) {
	return httpx.JSON(httpx.Registry(a.listed()))
}

func (a *API) listed() []httpx.Route {
	if a.options.Listed != nil {
		return a.options.Listed()
	}
	return a.Routes()
}
