package core

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

// scenario is an operator's request and what comes of it.
type scenario struct {
	method, path, body string
	status             int
	says               []string // the answer's code, "" for none, and texts of it; with a ! before them, such as are not in it
	audit              string   // the rows of the audit log that it writes: action and target
}

// play sends the requests in their order. Beside the answer it looks at the line of the log
// that each change leaves, done or refused, the metric of the route, the audit log, and the
// operation log, which operators' requests are not in. audit reads the ledger; nil: it is away.
func (s *server) play(t *testing.T, audit *ledger.Ledger, list []scenario) {
	t.Helper()
	for _, c := range list {
		id := fmt.Sprintf("scenario-%d", s.played.Add(1))
		what := strings.TrimSpace(c.method + " " + c.path + " " + c.body)
		metric := fmt.Sprintf(`athena_http_requests_total{method=%q,route=%q,status="%d"}`, c.method, s.routeOf(t, c.method, c.path), c.status)
		before := s.counted(t, metric)
		a := s.request(t, c.method, c.path, c.body, "X-Athena-Key", adminKey, "Content-Type", "application/json", "X-Request-Id", id)
		if a.status != c.status || a.code() != c.says[0] {
			t.Errorf("%s: %d, want %d %s: %s", what, a.status, c.status, c.says[0], a.body)
			continue
		}
		for _, text := range c.says[1:] {
			if text, not := strings.CutPrefix(text, "!"); not == strings.Contains(a.body, text) {
				t.Errorf("%s: the answer has %q, or lacks it: %s", what, text, a.body)
			}
		}
		if n := s.counted(t, metric) - before; n != 1 {
			t.Errorf("%s: %s counts %v", what, metric, n)
		}
		var lines []string
		for line := range strings.Lines(s.log.String()) {
			if strings.Contains(line, "an operator's request") && strings.Contains(line, "trace_id="+id+"\n") {
				lines = append(lines, line)
			}
		}
		outcome := "outcome=done"
		if c.status >= 400 {
			outcome = `outcome="failed: ` + c.says[0]
		}
		if c.method == "GET" && len(lines) != 0 || c.method != "GET" && (len(lines) != 1 || !strings.Contains(lines[0], outcome)) {
			t.Errorf("%s: the log says %q, want %s", what, lines, outcome)
		}
		if audit == nil {
			continue
		}
		if rows := auditOf(t, audit, id); rows != c.audit {
			t.Errorf("%s: the audit has %q, want %q", what, rows, c.audit)
		}
		if n := ledgertest.Count(t, audit, "SELECT count(*) FROM gateway_operation_log WHERE request_id = $1", id); n != 0 {
			t.Errorf("%s: %d rows in the operation log", what, n)
		}
	}
}

// routeOf is the path of the route that answers a request.
func (s *server) routeOf(t *testing.T, method, path string) string {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	found, fewest := "", 100
	for _, route := range s.routes {
		want, have := strings.Split(route.Path, "/"), strings.Split(path, "/")
		if route.Method == method && len(want) == len(have) && strings.Count(route.Path, ":") < fewest &&
			!slices.ContainsFunc(want, func(part string) bool {
				return !strings.HasPrefix(part, ":") && part != have[slices.Index(want, part)]
			}) {
			found, fewest = route.Path, strings.Count(route.Path, ":")
		}
	}
	if found == "" {
		t.Fatalf("there is no route %s %s", method, path)
	}
	return found
}

// counted is a counter's value, 0 while it has none.
func (s *server) counted(t *testing.T, name string) float64 {
	t.Helper()
	if !strings.Contains(s.request(t, "GET", "/metrics", "").body, "\n"+name+" ") {
		return 0
	}
	return s.metric(t, name)
}

// auditOf are the actions and targets of a request's rows in the audit log.
func auditOf(t *testing.T, l *ledger.Ledger, id string) string {
	t.Helper()
	var list []string
	if err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, "SELECT action, target FROM admin_audit_log WHERE trace_id = $1 ORDER BY id", id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var action, target string
			if err := rows.Scan(&action, &target); err != nil {
				return err
			}
			list = append(list, action+" "+target)
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, ", ")
}

// execute executes SQL texts on a ledger, past the gateway.
func execute(t *testing.T, l *ledger.Ledger, statements ...string) {
	t.Helper()
	if err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		for _, text := range statements {
			if _, err := c.ExecContext(ctx, text); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// idOf is the id of what an operator's request has made.
func (s *server) idOf(t *testing.T, method, path, body, member string) string {
	t.Helper()
	return s.operate(t, method, path, body, 201)[member].(map[string]any)["id"].(string)
}

const nowhere = "01890000-0000-7000-8000-000000000000" // an id of nothing

// TestOperatorsRefusals are refusals of operators' routes and pages of their lists.
func TestOperatorsRefusals(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		right := s.idOf(t, "POST", "/admin/api-key-rights", `{"name":"reports.read"}`, "right")
		entry := s.idOf(t, "POST", "/admin/registry", `{"name":"books"}`, "entry")
		s.operate(t, "PUT", "/admin/api-key-clients/shop", `{"enforce_api_keys":false}`, 200)
		rights := len(s.admin(t, "GET", "/admin/rights/catalog", 200)["rights"].([]any)) + 1
		const (
			unknown = `"force":"unknown field"`
			limit   = `"limit":"want a whole number from 1 to 500"`
			offset  = `"offset":"want a whole number`
		)
		s.play(t, s.ledger, []scenario{
			// What may be a secret is not stored without a key to seal it with.
			{"POST", "/admin/clients", `{"client_name":"new","pg_uri":"postgres://u:hunter2@127.0.0.1:1/d"}`, 400,
				[]string{"secret_key_required", `"pg_uri":"it may hold a secret`, "ATHENA_SECRET_KEY", "!hunter2"}, ""},
			{"PATCH", "/admin/clients/shop", `{"pg_uri":"postgres://u:hunter2@127.0.0.1:1/d"}`, 400, []string{"secret_key_required", `"pg_uri":"it may hold`, "!hunter2"}, ""},
			{"GET", "/admin/clients/new", ``, 404, []string{"unknown_client"}, ""},
			{"POST", "/admin/clients", `{"client_name":"new","pg_uri_env_var":"ATHENA_SECRET_KEY"}`, 400,
				[]string{"invalid_body", `"pg_uri_env_var":"variables that begin with ATHENA_ are the gateway's own"`}, ""},
			{"PATCH", "/admin/clients/shop", `{"pg_uri_env_var":"ATHENA_KEY_12"}`, 400, []string{"invalid_body", `"pg_uri_env_var":"variables that begin with`}, ""},
			{"PATCH", "/admin/clients/shop", `{"pg_uri_env_var":"A B"}`, 400, []string{"invalid_body", `"pg_uri_env_var":"want the name of an environment variable`}, ""},
			{"GET", "/admin/clients/shop", ``, 200, []string{"", `"pg_uri_env_var":null`, `"backend":"sqlite"`}, ""},

			// Bodies where none is wanted.
			{"DELETE", "/admin/api-key-rights/" + right, `{"force":true}`, 400, []string{"invalid_body", unknown}, ""},
			{"DELETE", "/admin/api-key-rights/" + right, `[`, 400, []string{"invalid_json"}, ""},
			{"DELETE", "/admin/api-key-clients/shop", `{"force":true}`, 400, []string{"invalid_body", unknown}, ""},
			{"DELETE", "/admin/api-key-clients/shop", `null`, 400, []string{"invalid_json"}, ""},
			{"DELETE", "/admin/registry/" + entry, `{"force":true}`, 400, []string{"invalid_body", unknown}, ""},
			{"DELETE", "/admin/registry/" + entry, `[]`, 400, []string{"invalid_json"}, ""},
			{"POST", "/admin/client-configs/seed-from-config", `{`, 400, []string{"invalid_json"}, ""},
			{"POST", "/admin/client-configs/seed-from-config", `"all"`, 400, []string{"invalid_json"}, ""},
			{"DELETE", "/admin/api-key-clients/a%20b", ``, 400, []string{"invalid_path", `"client_name":"want`}, ""},
			{"PATCH", "/admin/registry/" + entry, `{"name":""}`, 400, []string{"invalid_body", `"name":"want`}, ""},
			{"PATCH", "/admin/registry/" + nowhere, `{"name":"x"}`, 404, []string{"unknown_registry_entry"}, ""},

			// A right's name.
			{"PATCH", "/admin/api-key-rights/" + right, `{"name":"has space"}`, 400, []string{"invalid_body", `"name":"want a name such as reports.read`}, ""},
			{"PATCH", "/admin/api-key-rights/" + right, `{"name":""}`, 400, []string{"invalid_body", `"name":"want a name`}, ""},
			{"PATCH", "/admin/api-key-rights/" + right, `{"name":null}`, 400, []string{"invalid_body", `"name":"want a name`}, ""},
			{"PATCH", "/admin/api-key-rights/" + right, `{"name":"` + strings.Repeat("a", 101) + `","description":7}`, 400, []string{"invalid_body", `"name":"want`, `"description":"want`}, ""},
			{"PATCH", "/admin/api-key-rights/" + right, `{"nam":"reports.see"}`, 400, []string{"invalid_body", `did you mean \"name\"?`}, ""},
			{"GET", "/admin/api-key-rights?limit=500", ``, 200, []string{"", `"name":"reports.read"`, fmt.Sprintf(`"total":%d`, rights)}, ""},

			// Pages.
			{"PUT", "/admin/client-configs/shop", `{"read_only":true}`, 200, []string{""}, "set_client_config shop"},
			{"PUT", "/admin/client-configs/broken", `{"sql_enabled":false}`, 200, []string{""}, "set_client_config broken"},
			{"GET", "/admin/client-configs?limit=1", ``, 200, []string{"", `"client_name":"broken"`, `!"client_name":"shop"`, `"total":2`, `"limit":1`, `"offset":0`}, ""},
			{"GET", "/admin/client-configs?limit=1&offset=1", ``, 200, []string{"", `"client_name":"shop"`, `!"client_name":"broken"`, `"total":2`, `"offset":1`}, ""},
			{"GET", "/admin/client-configs?offset=2", ``, 200, []string{"", `"client_configs":[]`, `"total":2`, `"limit":100`}, ""},
			{"GET", "/admin/client-configs?limit=0&offset=-1", ``, 400, []string{"invalid_query", limit, offset}, ""},
			{"GET", "/admin/client-configs?limit=501", ``, 400, []string{"invalid_query", limit, "!" + offset}, ""},
			{"GET", "/admin/client-configs?offset=1e3", ``, 400, []string{"invalid_query", offset, "!" + limit}, ""},
			{"GET", "/admin/api-key-rights?limit=1&offset=" + fmt.Sprint(rights-1), ``, 200, []string{"", `"offset":` + fmt.Sprint(rights-1), fmt.Sprintf(`"total":%d`, rights)}, ""},
			{"GET", "/admin/api-key-rights?offset=" + fmt.Sprint(rights), ``, 200, []string{"", `"rights":[]`, fmt.Sprintf(`"total":%d`, rights)}, ""},
			{"GET", "/admin/api-key-rights?limit=x&offset=", ``, 400, []string{"invalid_query", limit, offset}, ""},
			{"GET", "/admin/api-key-rights?limit=501", ``, 400, []string{"invalid_query", limit}, ""},

			// Nothing above has removed anything.
			{"DELETE", "/admin/api-key-rights/" + right, ``, 200, []string{""}, "delete_right api_key_rights/" + right},
			{"DELETE", "/admin/api-key-clients/shop", `{}`, 200, []string{""}, "delete_api_key_client api_key_client_config/shop"},
			{"DELETE", "/admin/registry/" + entry, ``, 200, []string{""}, "registry.delete " + entry},
			{"DELETE", "/admin/registry/" + entry, ``, 404, []string{"unknown_registry_entry"}, ""},
		})
		var names []string
		for offset := 0; offset < rights; offset += 7 { // the pages together are the list
			for _, row := range s.admin(t, "GET", fmt.Sprintf("/admin/api-key-rights?limit=7&offset=%d", offset), 200)["rights"].([]any) {
				names = append(names, row.(map[string]any)["name"].(string))
			}
		}
		if len(names) != rights-1 || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("the pages have %d rights of %d: %v", len(names), rights-1, names)
		}
	})
}
