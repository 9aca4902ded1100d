// Package httpapi is the JSON gateway: the routes that the Athena clients call. It turns
// request bodies into Operations and Results into the envelope, and never decodes a row.
package httpapi

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// Options are what the routes show and call.
type Options struct {
	Execute gateway.Executor
	// Introspect is gateway.Introspect, for the routes below /schema.
	Introspect func(context.Context, *gateway.Operation, sdk.IntrospectQuery) (*gateway.Introspection, error)
	Refuse     func(*gateway.Operation, error) // told of what is refused before Execute; nil: nobody
	Metrics    prometheus.Gatherer             // nil: no GET /metrics
	// Reveals says who may see the names of clients and plugins in GET /metrics; nil: everybody.
	Reveals func(*httpx.Request) bool
	// HostClient is the client that the label in front of the gateway's host name stands for. It
	// may find out more about who asks. Nil: host names mean nothing.
	HostClient func(r *httpx.Request, label string) (string, error)
	Listed     func() []httpx.Route // all routes of the server, for /router/registry; nil: these
}

// API is the JSON gateway's routes over an executor.
type API struct {
	options Options

	// Of another door, see Serve.
	as      *gateway.Operation // nil: this is the gateway's own
	subject string
}

// New makes an API.
func New(o Options) *API { return &API{options: o} }

// Routes are the API's routes.
func (a *API) Routes() []httpx.Route {
	data := func(methods []string, path, operation, summary string, writes bool, handle handle) []httpx.Route {
		var routes []httpx.Route
		for _, method := range methods {
			routes = append(routes, httpx.Route{Method: method, Path: path, Guard: httpx.Data, Operation: operation, Summary: summary, Writes: writes,
				Handle:  func(r *httpx.Request) (*httpx.Response, error) { return a.operate(r, operation, writes, handle) },
				Refused: func(r *httpx.Request, e *sdk.Error) { a.refuse(a.newRequest(r, operation, writes), e) }})
		}
		return routes
	}
	routes := []httpx.Route{
		{Method: "GET", Path: "/router/registry", Guard: httpx.Public, Operation: "registry", Summary: "All routes", Handle: a.registry},
	}
	for _, more := range [][]httpx.Route{
		data([]string{"POST"}, "/gateway/fetch", "fetch", "Fetch rows", false, a.fetch),
		data([]string{"POST"}, "/gateway/data", "fetch", "Fetch rows", false, a.fetch),
		data([]string{"GET"}, "/data", "fetch", "Fetch rows by query parameters", false, a.data),
		data([]string{"PUT", "POST"}, "/gateway/insert", "insert", "Insert or upsert rows", true, a.insert),
		data([]string{"POST", "PATCH"}, "/gateway/update", "update", "Update rows", true, a.update),
		data([]string{"DELETE", "POST"}, "/gateway/delete", "delete", "Delete rows", true, a.delete),
		data([]string{"POST"}, "/gateway/query", "query", "Execute SQL", true, a.query),
		data([]string{"POST"}, "/gateway/sql", "sql", "Execute SQL on the client that db_name names", true, a.sql),
		data([]string{"POST"}, "/query/sql", "sql", "Execute SQL on the client that db_name names", true, a.sql),
		data([]string{"POST"}, "/query/count", "count", "Count the rows of a table or of a query", false, a.count),
		data([]string{"GET"}, "/schema/tables", "schema_tables", "The tables and views of a client's database", false, a.schemaTables),
		data([]string{"GET"}, "/schema/columns", "schema_columns", "The columns of a table or view", false, a.schemaColumns),
		data([]string{"GET"}, "/schema/migrations", "schema_migrations", "The migrations that a tool has noted in a client's database", false, a.schemaMigrations),
	} {
		routes = append(routes, more...)
	}
	if a.options.Metrics != nil {
		routes = append(routes, httpx.MetricsRoute(a.options.Metrics, a.options.Reveals))
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
