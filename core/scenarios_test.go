package core

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
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
		counts := 0.0
		until(t, func() bool { counts = s.counted(t, metric) - before; return counts > 0 }) // a moment after the answer
		if counts != 1 {
			t.Errorf("%s: %s counts %v", what, metric, counts)
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
		if err := audit.Flush(t.Context()); err != nil && !s.lossy {
			t.Fatal(err)
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

// seeded waits until the catalog has the clients of the configuration.
func (s *server) seeded(t *testing.T) *server {
	t.Helper()
	until(t, func() bool {
		return ledgertest.Count(t, s.ledger, "SELECT count(*) FROM athena_clients") == int64(len(s.config.Clients))
	})
	return s
}

const nowhere = "01890000-0000-7000-8000-000000000000" // an id of nothing

// TestOperatorsRefusals are refusals of operators' routes and pages of their lists.
func TestOperatorsRefusals(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri).seeded(t)
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

// TestOperatorsWithoutLedger: while the ledger is away operators' routes that need it say so, and
// nothing has changed when it is back. Of SQLite only writing can be kept away.
func TestOperatorsWithoutLedger(t *testing.T) {
	t.Parallel()
	const away, audited = "ledger_unavailable", "SELECT count(*) FROM admin_audit_log"
	changes := func(id string) []scenario {
		return []scenario{
			{"POST", "/admin/clients", `{"client_name":"new","backend":"sqlite","config":{"path":"/nowhere/x.db"}}`, 503, []string{away}, ""},
			{"PATCH", "/admin/clients/shop", `{"description":"x"}`, 503, []string{away}, ""},
			{"DELETE", "/admin/clients/shop", ``, 503, []string{away}, ""},
			{"PUT", "/admin/clients/shop/freeze", `{"is_frozen":true}`, 503, []string{away}, ""},
			{"PUT", "/admin/client-configs/shop", `{"read_only":true}`, 503, []string{away}, ""},
			{"DELETE", "/admin/client-configs/shop", ``, 503, []string{away}, ""},
			{"POST", "/admin/client-configs/seed-from-config", ``, 503, []string{away}, ""},
			{"POST", "/admin/public-routes", `{"route_key":"new","client_name":"shop","table_name":"crew","operation":"fetch"}`, 503, []string{away}, ""},
			{"PATCH", "/admin/public-routes/kept", `{"is_active":false}`, 503, []string{away}, ""},
			{"DELETE", "/admin/public-routes/kept", ``, 503, []string{away}, ""},
			{"POST", "/admin/registry", `{"name":"new"}`, 503, []string{away}, ""},
			{"PATCH", "/admin/registry/" + id, `{"name":"other"}`, 503, []string{away}, ""},
			{"DELETE", "/admin/registry/" + id, ``, 503, []string{away}, ""},
			{"POST", "/admin/clients/statistics/refresh", ``, 503, []string{away}, ""},
		}
	}
	reads := func(id string) (list []scenario) {
		for _, path := range []string{"/admin/clients", "/admin/clients/shop", "/admin/client-configs", "/admin/client-configs/shop", "/admin/clients/statistics",
			"/admin/clients/shop/statistics", "/admin/clients/shop/statistics/drilldown?table_name=crew&operation=fetch", "/admin/operations", "/admin/audit",
			"/admin/public-routes", "/admin/public-routes/kept", "/admin/registry", "/admin/registry/" + id} {
			list = append(list, scenario{"GET", path, ``, 503, []string{away, "its state is in /health"}, ""})
		}
		return list
	}
	// rig has a route and an entry that stay as they are.
	rig := func(t *testing.T, uri string) (s *server, id string) {
		s = shop(t, uri).seeded(t)
		s.operate(t, "POST", "/admin/public-routes", `{"route_key":"kept","client_name":"shop","table_name":"crew","operation":"fetch"}`, 201)
		return s, s.idOf(t, "POST", "/admin/registry", `{"name":"kept"}`, "entry")
	}
	// serves is what callers get, whether or not the ledger is there.
	serves := func(t *testing.T, s *server) {
		t.Helper()
		if got := s.code(t, "shop", ""); got != "200" {
			t.Errorf("a fetch: %s", got)
		}
		if a := s.request(t, "POST", "/public/kept/fetch", `{"limit":1}`); a.status != 200 {
			t.Errorf("a public route: %d %s", a.status, a.body)
		}
		if a := s.request(t, "GET", "/registry", ""); a.status != 200 || strings.Count(a.body, `"name":"kept"`) != 1 || strings.Count(a.body, `"name"`) != 1 {
			t.Errorf("the catalogue: %d %s", a.status, a.body)
		}
		if a := s.request(t, "GET", "/clients", "", "X-Athena-Key", adminKey); a.status != 200 || !strings.Contains(a.body, `"clients":["broken","shop"]`) {
			t.Errorf("the clients: %d %s", a.status, a.body)
		}
	}
	unchanged := func(t *testing.T, s *server, before int64) {
		t.Helper()
		serves(t, s)
		if err := s.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := ledgertest.Count(t, s.ledger, audited); n != before {
			t.Errorf("%d rows in the audit, %d before", n, before)
		}
	}
	t.Run("postgres", func(t *testing.T) {
		proxy := testenv.StartProxy(t, testenv.Database(t))
		s, id := rig(t, proxy.URI())
		before := ledgertest.Count(t, s.ledger, audited)
		if err := s.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		proxy.Refuse()
		proxy.CutAll()
		until(t, func() bool { return s.metric(t, "athena_ledger_available") == 0 })
		serves(t, s) // rows wait for the ledger
		s.play(t, nil, changes(id))
		s.play(t, nil, reads(id))
		proxy.Accept(t)
		until(t, func() bool { return s.metric(t, "athena_ledger_available") == 1 })
		unchanged(t, s, before)
	})
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ledger.db")
		s, id := rig(t, "sqlite://"+file)
		before := ledgertest.Count(t, s.ledger, audited)
		unlock := lockFile(t, file)
		serves(t, s)           // rows wait for the ledger
		var all sync.WaitGroup // each waits for the lock
		for _, c := range changes(id) {
			all.Go(func() { s.play(t, nil, []scenario{c}) })
		}
		s.play(t, nil, []scenario{
			{"GET", "/admin/clients/shop", ``, 200, []string{"", `"client_name":"shop"`}, ""},
			{"GET", "/admin/audit", ``, 200, []string{""}, ""},
			{"GET", "/admin/public-routes/kept", ``, 200, []string{"", `"route_key":"kept"`}, ""},
			{"GET", "/admin/registry/" + id, ``, 200, []string{"", `"name":"kept"`}, ""},
		})
		all.Wait()
		unlock()
		unchanged(t, s, before)
	})
}

// TestStoredNotLoaded: a change that is stored, but that the gateway cannot load, is answered as
// such, is not in use at first, and is once it can be loaded.
func TestStoredNotLoaded(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri).seeded(t)
		key := s.operate(t, "POST", "/admin/api-keys", `{"name":"one","rights":["gateway.fetch.execute"]}`, 201)["api_key"].(string)
		// With each row of the audit, the last of a change, times become such as cannot be read.
		spoil, unspoil := `CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s RETURN NULL; END $$;
			CREATE TRIGGER spoil AFTER INSERT ON admin_audit_log EXECUTE FUNCTION spoil()`, "DROP TRIGGER spoil ON admin_audit_log"
		broken, good := "'infinity'", "now()"
		if !s.ledger.Postgres() {
			spoil, unspoil = "CREATE TRIGGER spoil AFTER INSERT ON admin_audit_log BEGIN %s END", "DROP TRIGGER spoil"
			broken, good = "'nonsense'", "'2026-01-01 00:00:00+00:00'"
		}
		var updates []string
		for table, column := range map[string]string{"athena_clients": "created_at", "client_configs": "created_at", "api_keys": "expires_at", "public_routes": "created_at", "api_registry": "created_at"} {
			updates = append(updates, "UPDATE "+table+" SET "+column+" = "+broken+";")
		}
		direct := ledgertest.Open(t, uri)
		execute(t, direct, fmt.Sprintf(spoil, strings.Join(updates, " ")))
		told := []string{"ledger_unavailable", "the change is stored, but this gateway could not load it yet", "do not repeat it"}
		s.play(t, direct, []scenario{
			{"PUT", "/admin/clients/shop/freeze", `{"is_frozen":true}`, 502, told, "freeze_client shop"},
			{"PUT", "/admin/client-configs/shop", `{"sql_enabled":false}`, 502, told, "set_client_config shop"},
			{"PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 502, told, "set_api_key_config api_key_config"},
			{"POST", "/admin/public-routes", `{"route_key":"late","client_name":"shop","table_name":"crew","operation":"fetch","require_key":false}`, 502, told, "public_route.create late"},
		})
		for _, subject := range []string{"configs", "keys", "routes", "clients"} {
			if s.metric(t, fmt.Sprintf("athena_ledger_failed_loads_total{subject=%q}", subject)) == 0 {
				t.Errorf("no failed load of the %s is counted", subject)
			}
		}
		public := func() string {
			a := s.request(t, "POST", "/public/late/fetch", `{}`, "apikey", key)
			return strings.TrimSpace(fmt.Sprint(a.status, " ", a.code()))
		}
		if got := s.code(t, "shop", "") + ", " + public(); got != "200, 404 unknown_public_route" {
			t.Errorf("before the changes can be loaded: %s", got)
		}
		execute(t, direct, unspoil, "UPDATE athena_clients SET created_at = "+good, "UPDATE client_configs SET created_at = "+good,
			"UPDATE api_keys SET expires_at = NULL", "UPDATE public_routes SET created_at = "+good, "UPDATE api_registry SET created_at = "+good)
		until(t, func() bool { return s.code(t, "shop", "") == "401 api_key_required" })
		until(t, func() bool { return s.code(t, "shop", key) == "503 client_frozen" })
		until(t, func() bool { return public() == "503 route_unavailable" })
		s.operate(t, "PUT", "/admin/clients/shop/freeze", `{"is_frozen":false}`, 200)
		until(t, func() bool {
			return s.request(t, "POST", "/gateway/query", `{"query":"select 1"}`, "X-Athena-Client", "shop", "X-Athena-Key", adminKey).code() == "sql_disabled"
		})
	})
}

// TestChangedMeanwhile: of changes of a client at the same time each is made, or refused since
// another was, never both lost and answered.
func TestChangedMeanwhile(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		made, refused := int64(0), 0
		until(t, func() bool {
			replies := make([]reply, 8)
			var all sync.WaitGroup
			for i := range replies {
				all.Go(func() {
					replies[i] = s.request(t, "PATCH", "/admin/clients/shop", fmt.Sprintf(`{"description":"by %d"}`, i), "X-Athena-Key", adminKey)
				})
			}
			all.Wait()
			for _, a := range replies {
				switch {
				case a.status == 200:
					made++
				case a.status == 409 && a.code() == "client_changed" && strings.Contains(a.body, "repeat the change if it still fits"):
					refused++
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			return refused > 0
		})
		if n := ledgertest.Count(t, s.ledger, "SELECT count(*) FROM admin_audit_log WHERE action = 'update_client'"); n != made {
			t.Errorf("%d changes are in the audit, %d were answered", n, made)
		}
		until(t, func() bool {
			return int(s.counted(t, `athena_http_requests_total{method="PATCH",route="/admin/clients/:client_name",status="409"}`)) == refused
		})
	})
}

// TestCatalogueKeys: the catalogue of APIs is for whoever has a key, once keys are asked for.
func TestCatalogueKeys(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		entry := s.idOf(t, "POST", "/admin/registry", `{"name":"books"}`, "entry")
		keys := map[string]string{"nobody": "", "an operator": adminKey, "a wrong key": "ath_0123456789abcdef.0123456789012345678901234567890123456789012"}
		for who, body := range map[string]string{"a key": `{"name":"bare"}`, "a key of a client": `{"name":"bound","client_name":"shop","rights":["gateway.fetch.execute"]}`,
			"a key that is off": `{"name":"off","is_active":false}`} {
			keys[who] = s.operate(t, "POST", "/admin/api-keys", body, 201)["api_key"].(string)
		}
		for _, enforced := range []bool{false, true} {
			s.operate(t, "PUT", "/admin/api-key-config", fmt.Sprintf(`{"enforce_api_keys":%t}`, enforced), 200)
			for who, key := range keys {
				want := "200"
				switch {
				case who == "a wrong key":
					want = "401 invalid_api_key"
				case who == "a key that is off":
					want = "401 api_key_inactive"
				case who == "nobody" && enforced:
					want = "401 api_key_required"
				}
				for _, path := range []string{"/registry", "/registry/" + entry} {
					var headers []string
					if key != "" {
						headers = []string{"apikey", key}
					}
					a := s.request(t, "GET", path, "", headers...)
					if got := strings.TrimSpace(fmt.Sprint(a.status, " ", a.code())); got != want || strings.Contains(a.body, `"name":"books"`) != (want == "200") {
						t.Errorf("%s (%t) gets %s of %s, want %s: %s", who, enforced, got, path, want, a.body)
					}
				}
			}
		}
		for reason, want := range map[string]float64{"api_key_required": 2, "invalid_api_key": 4, "api_key_inactive": 4} {
			if n := s.metric(t, fmt.Sprintf("athena_auth_refused_total{reason=%q}", reason)); n != want {
				t.Errorf("%v refusals for %s are counted, want %v", n, reason, want)
			}
		}
		if got := s.request(t, "GET", "/registry/"+nowhere, "", "apikey", keys["a key"]); got.status != 404 || got.code() != "unknown_registry_entry" {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// TestAuditFilters: the audit by who, what, when and in which request, with what was there
// before and after.
func TestAuditFilters(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		ask := func(id, method, path, body string) {
			t.Helper()
			if a := s.request(t, method, path, body, "X-Athena-Key", adminKey, "X-Request-Id", id); a.status/100 != 2 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		ask("one", "POST", "/admin/public-routes", `{"route_key":"r","client_name":"shop","table_name":"crew","operation":"fetch","description":"first"}`)
		ask("two", "PATCH", "/admin/public-routes/r", `{"description":"second"}`)
		ask("three", "PUT", "/admin/client-configs/shop", `{"read_only":true}`)
		ask("four", "PUT", "/admin/client-configs/shop", `{"sql_enabled":false}`)
		ask("five", "DELETE", "/admin/client-configs/shop", ``)
		ask("six", "DELETE", "/admin/public-routes/r", ``)
		ask("seven", "PUT", "/admin/clients/shop/freeze", `{"is_frozen":true}`)

		rows := map[string]map[string]any{}
		for _, entry := range s.admin(t, "GET", "/admin/audit", 200)["audit"].([]any) {
			row := entry.(map[string]any)
			rows[row["trace_id"].(string)] = row
		}
		at := func(id string) string { return rows[id]["created_at"].(string) }
		actor := rows["one"]["actor"].(string)
		for _, c := range []struct {
			query url.Values
			want  string // request ids, the newest first
		}{
			{url.Values{"trace_id": {"three"}}, "three"},
			{url.Values{"trace_id": {"nobody's"}}, ""},
			{url.Values{"target": {"r"}}, "six two one"},
			{url.Values{"target": {"R"}}, ""},
			{url.Values{"target": {"shop"}}, "seven five four three"},
			{url.Values{"action": {"set_client_config"}}, "four three"},
			{url.Values{"action": {"public_route.update"}, "target": {"r"}}, "two"},
			{url.Values{"action": {"set_client_config"}, "target": {"r"}}, ""},
			{url.Values{"actor": {actor}}, "seven six five four three two one"},
			{url.Values{"actor": {"' OR '1'='1"}}, ""},
			{url.Values{"actor": {actor}, "limit": {"2"}, "offset": {"1"}}, "six five"},
			{url.Values{"actor": {actor}, "since": {at("five")}}, "seven six five"},
			{url.Values{"actor": {actor}, "until": {at("five")}}, "four three two one"},
			{url.Values{"actor": {actor}, "since": {at("two")}, "until": {at("four")}}, "three two"},
			{url.Values{"actor": {actor}, "since": {at("seven")}, "until": {at("one")}}, ""},
			{url.Values{"actor": {actor}, "since": {"2999-01-01T00:00:00+02:00"}}, ""},
		} {
			answer := s.admin(t, "GET", "/admin/audit?"+c.query.Encode(), 200)
			var ids []string
			for _, row := range answer["audit"].([]any) {
				ids = append(ids, row.(map[string]any)["trace_id"].(string))
			}
			paged := c.query.Has("limit")
			if got := strings.Join(ids, " "); got != c.want || !paged && answer["total"] != float64(len(ids)) || paged && answer["total"] != 7.0 {
				t.Errorf("%s: %q of %v, want %q", c.query.Encode(), got, answer["total"], c.want)
			}
		}
		s.play(t, s.ledger, []scenario{
			{"GET", "/admin/audit?since=yesterday&until=1&limit=0", ``, 400, []string{"invalid_query", `"limit":"want a whole number`}, ""},
			{"GET", "/admin/audit?since=yesterday&until=1", ``, 400, []string{"invalid_query", `"since":"want a time such as`, `"until":"want a time such as`}, ""},
		})

		type object = map[string]any
		for id, want := range map[string][2]object{ // members of what was there before and after; nil: nothing
			"one":   {nil, {"description": "first"}},
			"two":   {{"description": "first"}, {"description": "second"}},
			"three": {nil, {"read_only": true}},
			"four":  {{"read_only": true}, {"sql_enabled": false}},
			"five":  {{"sql_enabled": false}, nil},
			"six":   {{"description": "second"}, nil},
			"seven": {{"is_frozen": false}, {"is_frozen": true}},
		} {
			for i, name := range []string{"before", "after"} {
				got, _ := rows[id][name].(object)
				if (got == nil) != (want[i] == nil) {
					t.Errorf("%s of %s is %v", name, id, got)
				}
				for member, value := range want[i] {
					if got[member] != value {
						t.Errorf("%s of %s is %v, want %v", name, id, got, want[i])
					}
				}
			}
		}
	})
}

// TestOperationFilters: the operation log by all that its rows can be chosen by.
func TestOperationFilters(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		made := s.operate(t, "POST", "/admin/api-keys", `{"name":"one","rights":["gateway.fetch.execute"]}`, 201)
		key, keyID := made["api_key"].(string), made["record"].(map[string]any)["id"].(string)
		s.operate(t, "POST", "/admin/public-routes", `{"route_key":"r","client_name":"shop","table_name":"crew","operation":"fetch"}`, 201)
		ask := func(id, path, body string, headers ...string) {
			t.Helper()
			s.request(t, "POST", path, body, append([]string{"X-Athena-Client", "shop", "X-Request-Id", id}, headers...)...)
			if err := s.ledger.Flush(t.Context()); err != nil { // each has a time of its own
				t.Fatal(err)
			}
		}
		ask("a", "/gateway/fetch", crew, "X-User-Id", "u1", "X-Organization-Id", "o1")
		ask("b", "/gateway/fetch", crew, "apikey", key)
		ask("c", "/gateway/query", `{"query":"select 1"}`, "X-User-Id", "u2", "X-Organization-Id", "o1")
		ask("d", "/public/r/fetch", `{"limit":1}`)
		ask("e", "/gateway/fetch", `{"table_name":"crew","columns":"nothing"}`)
		ask("f", "/gateway/fetch", crew, "X-Athena-Client", "broken")
		ask("g", "/gateway/fetch", crew, "X-Athena-Client", "")
		at := map[string]string{}
		for _, entry := range s.admin(t, "GET", "/admin/operations", 200)["operations"].([]any) {
			row := entry.(map[string]any)
			at[row["request_id"].(string)] = row["created_at"].(string)
		}
		for _, c := range []struct{ query, want string }{
			{"", "g f e d c b a"},
			{"limit=2&offset=3", "d c"},
			{"offset=7", ""},
			{"request_id=c", "c"},
			{"client_name=shop", "e d c b a"},
			{"client_name=broken", "f"},
			{"client_name=nobody", ""},
			{"client_name=", "g"},
			{"client_name=shop&table_name=", "c"},
			{"table_name=crew&client_name=shop", "e d b a"},
			{"operation=query", "c"},
			{"operation=fetch&client_name=shop", "e d b a"},
			{"door=public", "d"},
			{"door=gateway&client_name=shop", "e c b a"},
			{"api_key_id=" + keyID, "b"},
			{"user_id=u1", "a"},
			{"user_id=u2", "c"},
			{"organization_id=o1", "c a"},
			{"organization_id=o1&user_id=u1", "a"},
			{"status=errors", "g f e"},
			{"status=normal", "d c b a"},
			{"status=all&status_code=400", "g e"},
			{"status_code=503", "f"},
			{"status_code=200&operation=fetch", "d b a"},
			{"since=" + url.QueryEscape(at["e"]), "g f e"},
			{"until=" + url.QueryEscape(at["c"]), "b a"},
			{"since=" + url.QueryEscape(at["b"]) + "&until=" + url.QueryEscape(at["d"]), "c b"},
			{"user_id=' OR 1=1--", ""},
		} {
			answer := s.admin(t, "GET", "/admin/operations?"+strings.ReplaceAll(c.query, " ", "%20"), 200)
			var ids []string
			for _, row := range answer["operations"].([]any) {
				ids = append(ids, row.(map[string]any)["request_id"].(string))
			}
			total := float64(len(ids))
			if strings.Contains(c.query, "offset") {
				total = 7
			}
			if got := strings.Join(ids, " "); got != c.want || answer["total"] != total {
				t.Errorf("%s: %q of %v, want %q", c.query, got, answer["total"], c.want)
			}
		}
		s.play(t, s.ledger, []scenario{
			{"GET", "/admin/operations?status_code=99&status=bad&since=x&until=y", ``, 400,
				[]string{"invalid_query", `"status_code":"want a whole number from 100 to 599"`, `"status":"want all, errors or normal"`, `"since":"want a time`, `"until":"want a time`}, ""},
			{"GET", "/admin/operations?limit=501&offset=-1", ``, 400, []string{"invalid_query", `"limit":"want`, `"offset":"want`}, ""},
			{"GET", "/admin/clients/nobody/statistics", ``, 404, []string{"unknown_client"}, ""},
		})
	})
}

// TestProvisionRefusals: what servers refuse, what clients are in the way, and databases that have
// a part of the tables.
func TestProvisionRefusals(t *testing.T) {
	t.Parallel()
	const canary = "canary-41c7e9"
	server := testenv.Server(t, testenv.ServerOptions{TLS: testenv.TLS(t),
		HBA: []string{"host all guarded 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 trust"}})
	create := func(databases ...string) {
		for _, text := range databases {
			name, _, _ := strings.Cut(text, " ")
			server.Exec(t, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
			server.Exec(t, "postgres", "CREATE DATABASE "+text)
		}
	}
	server.Exec(t, "postgres", "CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE ROLE weak LOGIN")
	create("other", "part")
	server.Exec(t, "other", "CREATE VIEW public_routes AS SELECT 1 AS id")
	server.Exec(t, "part", "CREATE TABLE ledger_batches (id TEXT PRIMARY KEY, created_at TIMESTAMPTZ NOT NULL); CREATE TABLE control_versions (subject TEXT PRIMARY KEY, version BIGINT NOT NULL)")
	address := server.Address()
	uri := func(user, database, parameters string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?%s", user, canary, address, database, parameters)
	}
	body := func(uri string) string { return fmt.Sprintf(`{"uri":%q}`, uri) }
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		create("own", "parted TEMPLATE part")
		server.Exec(t, "own", "REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as from PostgreSQL 15 on
		s := shop(t, ledgerURI, func(c *config.Config) {
			c.Provision.AllowedHosts = []string{"127.0.0.0/8"}
			c.Clients = append(c.Clients, postgres(t, "own", uri("postgres", "own", "sslmode=disable")), postgres(t, "parted", uri("postgres", "parted", "sslmode=disable")),
				postgres(t, "locked", uri("guarded", "own", "sslmode=disable")), postgres(t, "gone", "postgres://u:"+canary+"@127.0.0.1:1/d?sslmode=disable"),
				postgres(t, "deleted", uri("postgres", "own", "sslmode=disable")))
		})
		s.seeded(t)
		s.operate(t, "DELETE", "/admin/clients/deleted", "", 200)
		s.operate(t, "PUT", "/admin/clients/own/freeze", `{"is_frozen":true}`, 200)
		no := "!" + canary
		tables := len(ledger.Tables())
		s.play(t, s.ledger, []scenario{
			{"POST", "/admin/provision", body(uri("postgres", "own", "sslmode=verify-full")), 400, []string{"tls_failed", "the certificate of " + address, no}, ""},
			{"POST", "/admin/provision", body(uri("weak", "own", "sslmode=disable")), 403, []string{"insufficient_privilege", "permission denied", "GRANT CREATE", no}, ""},
			{"POST", "/admin/provision", body(uri("guarded", "own", "sslmode=disable")), 400, []string{"invalid_credentials", "password authentication failed", no}, ""},
			{"POST", "/admin/provision", body(uri("postgres", "own", "sslmode=disable&options=-c%20default_transaction_read_only%3Don")), 400, []string{"read_only", "name the primary", no}, ""},
			{"POST", "/admin/provision", body(uri("postgres", "other", "sslmode=disable")), 400, []string{"provision_failed", "public_routes", no}, ""},
			{"POST", "/admin/provision", body(uri("postgres", "nothing", "sslmode=disable")), 400, []string{"unknown_database", no}, ""},
			{"POST", "/admin/provision", `{"client_name":"gone"}`, 503, []string{"unreachable", "127.0.0.1:1", no}, ""},
			{"POST", "/admin/provision", `{"client_name":"locked"}`, 400, []string{"invalid_credentials", no}, ""},
			{"POST", "/admin/provision", `{"client_name":"deleted"}`, 400, []string{"unknown_client", "has been deleted"}, ""},
			{"POST", "/admin/provision", `{"client_name":"broken"}`, 400, []string{"not_postgres"}, ""},
			{"GET", "/admin/provision/status?client_name=gone", ``, 503, []string{"unreachable", "127.0.0.1:1", no}, ""},
			{"GET", "/admin/provision/status?client_name=locked", ``, 400, []string{"invalid_credentials", no}, ""},
			{"GET", "/admin/provision/status?client_name=deleted", ``, 400, []string{"unknown_client"}, ""},
			{"GET", "/admin/provision/status?client_name=", ``, 400, []string{"invalid_query", `"client_name":"want the name of a client"`}, ""},

			{"GET", "/admin/provision/status?client_name=own", ``, 503, []string{"client_frozen"}, ""},
			{"POST", "/admin/provision", `{"client_name":"own"}`, 503, []string{"client_frozen"}, ""},
			{"PUT", "/admin/clients/own/freeze", `{"is_frozen":false}`, 200, []string{""}, "freeze_client own"},

			// Refusals have made nothing.
			{"GET", "/admin/provision/status?client_name=own", ``, 200, []string{"", `"provisioned":false`, `"present_tables":[]`}, ""},
			{"POST", "/admin/provision", `{"client_name":"own"}`, 200, []string{"", `"registered":null`, `!"statements_executed":0`}, "provision " + address + "/own"},
			{"GET", "/admin/provision/status?client_name=own", ``, 200, []string{"", `"provisioned":true`, `"missing_tables":[]`, no}, ""},

			// A part of the tables is there.
			{"GET", "/admin/provision/status?client_name=parted", ``, 200,
				[]string{"", `"provisioned":false`, `"present_tables":["control_versions","ledger_batches"]`, fmt.Sprintf("has 2 of the ledger's %d tables", tables)}, ""},
			{"POST", "/admin/provision", `{"client_name":"parted"}`, 200, []string{"", `!"statements_executed":0`, `"athena_clients"`}, "provision " + address + "/parted"},
			{"GET", "/admin/provision/status?client_name=parted", ``, 200, []string{"", `"provisioned":true`}, ""},
			{"POST", "/admin/provision", `{"client_name":"parted"}`, 200, []string{"", `"statements_executed":0`, "had the ledger's tables already"}, "provision " + address + "/parted"},
		})
		if got := server.Exec(t, "other", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'athena_schema_versions'")[0][0]; got != "0" {
			t.Errorf("a failed provisioning has left %s tables", got)
		}
		if strings.Contains(s.log.String(), canary) {
			t.Error("the log tells a password")
		}
	})
}

// TestProvisionWithoutAudit: tables that were made while the ledger is away are told to be there,
// and the repeated request is in the audit.
func TestProvisionWithoutAudit(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ledger.db")
			uri, target := "sqlite://"+file, testenv.Database(t)
			var proxy *testenv.Proxy
			if kind == "postgres" {
				proxy = testenv.StartProxy(t, testenv.Database(t))
				uri = proxy.URI()
			}
			s := shop(t, uri, func(c *config.Config) {
				c.Provision.AllowedHosts = []string{"127.0.0.0/8", "localhost"}
				c.Clients = append(c.Clients, postgres(t, "books", target))
			})
			const present = "SELECT count(*) FROM admin_audit_log WHERE action = 'provision'"
			body := fmt.Sprintf(`{"uri":%q}`, target)
			failed := []string{"ledger_unavailable", "the tables have been made; repeat the request"}
			var back func()
			if proxy != nil {
				proxy.Refuse()
				proxy.CutAll()
				back = func() {
					proxy.Accept(t)
					until(t, func() bool { return s.metric(t, "athena_ledger_available") == 1 })
				}
			} else {
				back = lockFile(t, file)
			}
			s.play(t, nil, []scenario{
				{"POST", "/admin/provision", body, 503, failed, ""},
				{"GET", "/admin/provision/status?client_name=books", ``, 200, []string{"", `"provisioned":true`}, ""},
			})
			back()
			if n := ledgertest.Count(t, s.ledger, present); n != 0 {
				t.Errorf("%d rows in the audit", n)
			}
			parsed, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			s.play(t, s.ledger, []scenario{{"POST", "/admin/provision", body, 200, []string{"", `"statements_executed":0`}, "provision " + parsed.Host + parsed.Path}})
		})
	}
}
