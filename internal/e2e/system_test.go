//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
)

// TestSystemRoutes asks the routes that need no client, and makes the mistakes that no
// client is needed for.
func TestSystemRoutes(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsSQLite)
	g := start(t, fmt.Sprintf("clients: {pg: {backend: postgres, config: {uri: %q}}, lite: {backend: sqlite, config: {path: %q}}}\ngateway: {default_client: lite}",
		testenv.Database(t), path))
	for _, prefix := range []string{"", "/db"} {
		get := func(path string) *reply { return g.ask(t, request{method: "GET", path: prefix + path}) }
		get("/").is(t, 200, `{"message": "athena is online", "athena_api": "online"}`)
		if a := get("/ping"); a.status != 200 || string(a.body) != "pong" {
			t.Errorf("/ping: %d %s", a.status, a.body)
		}
		health := get("/health")
		health.is(t, 200, `{"status": "ok", "athena_api": "online"}`)
		if n := health.value(t, "clients", "available"); fmt.Sprint(n) != "2" {
			t.Errorf("/health: %s", health.body)
		}
		if plugins, _ := health.value(t, "plugins").([]any); len(plugins) != 2 {
			t.Errorf("/health: %s", health.body)
		}
		cluster := get("/health/cluster")
		cluster.is(t, 200, `{"status": "ok"}`)
		if list, _ := cluster.value(t, "clients").([]any); len(list) != 2 {
			t.Errorf("/health/cluster: %s", cluster.body)
		}
		checkRegistry(t, get("/router/registry"))
		metrics := get("/metrics")
		contains(t, "/metrics", string(metrics.body), `athena_client_available{backend="postgres",client="pg"} 1`,
			`athena_plugin_ready{plugin="sqlite"} 1`, `athena_postgres_pool_connections{client="pg",server="primary",state="idle"}`, "athena_http_requests_total{", "process_resident_memory_bytes")
	}
	g.ask(t, request{method: "HEAD", path: "/ping"})

	for _, test := range []struct {
		request
		status int
		want   string
	}{
		{request{method: "GET", path: "/nowhere"}, 404, `{"status": "error"}`},
		{request{method: "GET", path: "/gateway/fetch"}, 405, `{"status": "error"}`},
		{request{method: "POST", path: "/gateway/fetch", client: "nobody", body: `{"table_name": "items"}`}, 400, `{"code": "unknown_client"}`},
		{request{method: "POST", path: "/gateway/fetch", body: `{"table_name": "items"}`}, 200, `{"data": []}`}, // the default client
	} {
		a := g.ask(t, test.request)
		a.is(t, test.status, test.want)
		checkEnvelope(t, a)
	}

	// Without a default client one must be named.
	strict := start(t, fmt.Sprintf("clients: {lite: {backend: sqlite, config: {path: %q}}}", path))
	a := strict.ask(t, request{method: "POST", path: "/gateway/fetch", body: `{"table_name": "items"}`})
	a.is(t, 400, `{"status": "error", "code": "missing_client_header"}`)
	if a.value(t, "data", "details", "missing_header") != "X-Athena-Client" || a.value(t, "data", "operation") != "fetch" {
		t.Errorf("answered %s", a.body)
	}
}

// checkRegistry compares the listed routes with those that the issue names.
func checkRegistry(t *testing.T, a *reply) {
	t.Helper()
	var got []string
	list, _ := parse(t, a.body).([]any)
	for _, entry := range list {
		route := entry.(map[string]any)
		methods, _ := route["methods"].([]any)
		for _, method := range methods {
			got = append(got, fmt.Sprint(method, " ", route["path"]))
		}
	}
	for _, want := range strings.Split(`POST /gateway/fetch,POST /gateway/data,GET /data,PUT /gateway/insert,POST /gateway/insert,`+
		`POST /gateway/update,PATCH /gateway/update,DELETE /gateway/delete,POST /gateway/delete,POST /gateway/query,POST /gateway/sql,`+
		`POST /query/sql,POST /query/count,GET /,GET /ping,GET /health,GET /health/cluster,GET /metrics,GET /router/registry`, ",") {
		if !slices.Contains(got, want) {
			t.Errorf("/router/registry lacks %s", want)
		}
	}
}
