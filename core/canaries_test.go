package core

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const (
	canary    = "c4nary" // is in every secret
	sqlCanary = "sq1ery" // is in texts and values of SQL: its caller may see it again, nothing keeps it
)

// formsOf are a text as it is, in other letters, and in base64 wherever it begins.
func formsOf(text string) []string {
	forms := []string{text, strings.ToUpper(text), hex.EncodeToString([]byte(text))}
	for offset := range 3 {
		coded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + text))
		forms = append(forms, coded[(offset*8+5)/6:(offset+len(text))*8/6])
	}
	return forms
}

// aviary is a gateway that is full of secrets.
type aviary struct {
	*served
	admin   string
	keys    []string // API keys that are right, and one that is wrong
	secrets []string // what nothing may tell
	asked   map[int]int
	told    map[string]bool // failures that are known
}

// send sends a request and fails the test if the answer tells a secret.
func (a *aviary) send(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	answer := a.request(t, method, path, body, headers...)
	a.asked[answer.status]++
	text := fmt.Sprint(answer.status, answer.header, answer.body)
	var made struct {
		Key string `json:"api_key"`
	}
	if method == "POST" && path == "/admin/api-keys" && json.Unmarshal([]byte(answer.body), &made) == nil && made.Key != "" { // shown this once
		text = strings.ReplaceAll(text, made.Key, "")
	}
	a.tells(t, fmt.Sprintf("%s %.200s %.300s %.300q answers %d", method, path, body, headers, answer.status), text)
	return answer
}

func (a *aviary) operate(t *testing.T, method, path, body string, want int) reply {
	t.Helper()
	answer := a.send(t, method, path, body, "X-Athena-Key", a.admin, "Content-Type", "application/json")
	if answer.status != want {
		t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, answer.status, want, answer.body)
	}
	return answer
}

// newKey makes an API key of all built-in rights and keeps it as a secret.
func (a *aviary) newKey(t *testing.T, name, client string) (id string) {
	t.Helper()
	rights := []string{"gateway.fetch.execute", "gateway.insert.execute", "gateway.update.execute", "gateway.delete.execute", "gateway.query.execute"}
	body, err := json.Marshal(map[string]any{"name": name, "client_name": cmp.Or[any](client, nil), "rights": rights})
	if client == "" {
		body, err = json.Marshal(map[string]any{"name": name, "rights": rights})
	}
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Key    string `json:"api_key"`
		Record struct{ ID string }
	}
	if err := json.Unmarshal([]byte(a.operate(t, "POST", "/admin/api-keys", string(body), 201).body), &made); err != nil || made.Key == "" {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(made.Key, ".")
	a.keys, a.secrets = append(a.keys, made.Key), append(a.secrets, formsOf(secret)...)
	return made.Record.ID
}

// tells fails the test for each secret that a text tells, with what is around it.
func (a *aviary) tells(t *testing.T, what, text string, also ...string) {
	t.Helper()
	for _, secret := range append(also, a.secrets...) {
		if at := strings.Index(text, secret); at >= 0 {
			if message := fmt.Sprintf("%s tells a secret (%s): ...%q...", what, secret, text[max(0, at-200):min(len(text), at+100)]); !a.told[message] {
				a.told[message] = true
				t.Error(message)
			}
			return
		}
	}
}

// TestCanaryRoutes puts secrets into every place of a request and of a config that can hold one,
// on every route, in answers of every kind, and looks for them in all that the gateway tells
// and keeps.
func TestCanaryRoutes(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		for _, plain := range []bool{false, true} {
			t.Run(map[bool]string{false: "sealed", true: "plain"}[plain], func(t *testing.T) {
				uri := ledgerURI + map[bool]string{true: ".plain"}[plain]
				if strings.HasPrefix(ledgerURI, "postgres") {
					uri = withPassword(t, testenv.Database(t), canary+"-ledger")
				}
				testCanaryRoutes(t, uri, plain)
			})
		}
	})
}

func testCanaryRoutes(t *testing.T, ledgerURI string, plain bool) {
	secretKey := func(name string) string {
		return base64.StdEncoding.EncodeToString([]byte((canary + "-" + name + strings.Repeat("x", 32))[:32]))
	}
	database, books := withPassword(t, testenv.Database(t), canary+"-database"), withPassword(t, testenv.Database(t), canary+"-books")
	t.Setenv("CANARY_ROUTES_URI", database)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	nowhere := "postgres://app:" + canary + "-nowhere@" + closed.Addr().String() + "/d"
	text := fmt.Sprintf(`
plugins: {dir: %q}
gateway: {resilience_timeout_secs: 20, default_client: lite}
api: {wildcard_host_pattern: "*.apps.example"}
ledger: {allow_plaintext_secrets: %v}
redis: {url: %q}
clients:
  lite: {backend: sqlite, config: {path: %q}}
postgres_clients:
  filed: postgres://app:${CANARY_FILED}@%s/d
`, testenv.BuildPlugins(t), plain, strings.Replace(testenv.Redis(t).URL, "redis://", "redis://:"+canary+"-redis@", 1), emptyFile(t), closed.Addr())
	env := []string{"ATHENA_KEY_12=" + canary + "-operators-key", "CANARY_FILED=" + canary + "-filed"}
	if !plain {
		env = append(env, "ATHENA_SECRET_KEY="+secretKey("old"))
	}
	proxy := (*testenv.Proxy)(nil)
	if strings.HasPrefix(ledgerURI, "postgres") {
		proxy = testenv.StartProxy(t, ledgerURI)
		ledgerURI = proxy.URI()
	}
	a := &aviary{served: serveFile(t, ledgerURI, text, env...), admin: canary + "-operators-key", asked: map[int]int{}, told: map[string]bool{}, secrets: append(formsOf(canary), secretKey("old"), secretKey("new"))}
	until(t, func() bool { return a.request(t, "GET", "/ready", "").status == 200 })
	body := func(pairs ...any) string {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}

	// Clients in every way that a connection can be given, and what is refused of it.
	a.operate(t, "POST", "/admin/clients", body("client_name", "pg", "pg_uri", database), 201)
	a.operate(t, "POST", "/admin/clients", body("client_name", "by.env", "pg_uri_env_var", "CANARY_ROUTES_URI"), 201)
	a.operate(t, "POST", "/admin/clients", body("client_name", "down", "backend", "postgres", "config", map[string]any{"uri": nowhere}), 201)
	a.operate(t, "POST", "/admin/clients", body("client_name", "pg", "pg_uri", nowhere), 409)
	a.operate(t, "PATCH", "/admin/clients/by.env", body("pg_uri", nowhere), 200)
	a.operate(t, "PATCH", "/admin/clients/by.env", body("pg_uri_env_var", "CANARY_ROUTES_URI"), 200)
	a.operate(t, "PATCH", "/admin/clients/down", body("pg_uri", nowhere, "description", "it is down"), 200)
	for _, uri := range []string{canary, "psql:" + canary, "postgres://app:" + canary + "@h:port/d", "postgres://" + canary + "@[h/d", "host=h password=" + canary, "postgres://h/d?password=" + canary} {
		a.send(t, "POST", "/admin/clients", body("client_name", "wrong", "pg_uri", uri), "X-Athena-Key", a.admin)
		a.send(t, "POST", "/admin/clients", body("client_name", "wrong", "backend", "postgres", "config", map[string]any{"uri": uri, "pasword": canary}), "X-Athena-Key", a.admin)
		a.send(t, "POST", "/admin/provision", body("uri", uri, "register", true, "register_name", "wrong"), "X-Athena-Key", a.admin)
	}
	a.operate(t, "POST", "/admin/clients", body("client_name", "typed", "pg_uri", []string{database}, "config", database, "is_active", database, "metadata", database), 400)
	a.operate(t, "POST", "/admin/clients", body("client_name", "misspelt", "pg_ury", database), 400)
	a.operate(t, "POST", "/admin/provision", body("uri", books, "register", true, "register_name", "books"), 200)
	a.operate(t, "POST", "/admin/provision", body("uri", books, "register", true, "register_name", "books"), 409)
	a.operate(t, "POST", "/admin/provision", body("client_name", "books"), 200)
	a.operate(t, "POST", "/admin/provision", body("client_name", "down"), 503)
	a.operate(t, "POST", "/admin/provision", body("uri", nowhere), 503)
	a.operate(t, "POST", "/admin/provision", body("uri", strings.Replace(nowhere, "127.0.0.1", "192.0.2.1", 1)), 403)
	a.operate(t, "POST", "/admin/provision", body("uri", strings.Replace(books, "/athena_test_", "/nowhere_", 1)), 400)
	a.operate(t, "GET", "/admin/provision/status?client_name=pg", "", 200)
	a.operate(t, "PUT", "/admin/client-configs/pg", body("max_connections", nowhere, "read_only", canary, "sql_enabled", []string{canary}), 400)
	a.operate(t, "PUT", "/admin/client-configs/pg", body("resilience_timeout_secs", 19), 200)
	a.operate(t, "PUT", "/admin/client-configs/lite", body("resilience_timeout_secs", 1), 200)
	a.operate(t, "POST", "/admin/client-configs/seed-from-config", "", 200)

	// Who asks.
	id := a.newKey(t, "any", "")
	a.newKey(t, "ours", "lite")
	gone := a.newKey(t, "gone", "")
	a.operate(t, "DELETE", "/admin/api-keys/"+gone, "", 200)
	off := a.newKey(t, "off", "")
	a.operate(t, "PATCH", "/admin/api-keys/"+off, `{"is_active":false}`, 200)
	a.keys = append(a.keys, ("ath_0123456789abcdef." + canary + "-" + strings.Repeat("0", 43))[:64])

	// Statements of callers.
	lite, pg := []string{"X-Athena-Client", "lite"}, []string{"X-Athena-Client", "pg"}
	for _, headers := range [][]string{lite, pg} {
		ask := func(path, body string) reply {
			t.Helper()
			return a.send(t, "POST", path, body, headers...)
		}
		if r := ask("/gateway/query", body("query", "create table t (id integer primary key, name text unique, n integer check (n > 0)); insert into t values (1, 'one', 1)")); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		for _, query := range []string{"select 'Q' as a", "select 'Q", "selec 'Q'", "select 'Q'::int", "select cast('Q' as integer)", "select * from t where name = 'Q' and nothing = 1",
			"insert into t values (2, 'Q', 2); insert into t values (3, 'Q', 3)", "insert into t values (4, 'Q', -1)", "insert into t values ('Q', 'Q', 'Q')", "select 1; select 'Q' from nowhere", "/* Q */ select",
			"do $$ begin raise exception 'about Q'; end $$", "select name || 'Q' from t group by id having n", "update t set nothing = 'Q'", "select 1/0 as \"Q\"", "select json('{Q')",
			"select Q", "select * from t where name = \"Q\"", "select \"Q\".x from t", "select Q()", "select * from \"Q\"", "do $$ begin raise 'about Q' using errcode = '42501'; end $$", "do $$ begin raise 'about Q' using errcode = '23505'; end $$",
		} {
			for _, path := range []string{"/gateway/query", "/gateway/sql", "/query/sql", "/query/count"} {
				ask(path, body("query", strings.ReplaceAll(query, "Q", sqlCanary), "db_name", headers[1]))
			}
		}
		ask("/gateway/query", body("query", "select * from t where name = $1 and id = $2", "params", []any{sqlCanary, sqlCanary}))
		ask("/gateway/fetch", body("table_name", "t", "conditions", []any{map[string]any{"eq_column": "id", "eq_value": sqlCanary}}))
		ask("/gateway/fetch", body("table_name", "t", "conditions", []any{map[string]any{"operator": sqlCanary, "column": "id", "value": sqlCanary}}))
		ask("/gateway/fetch", body("table_name", "t", "conditions", []any{map[string]any{"operator": "or", "value": "name.eq." + sqlCanary + ",(" + sqlCanary}}))
		ask("/gateway/insert", body("table_name", "t", "insert_body", map[string]any{"id": 9, "name": sqlCanary, "n": sqlCanary}))
		ask("/gateway/insert", body("table_name", "t", "insert_body", []any{map[string]any{"id": 10, "name": sqlCanary}, map[string]any{"id": 11, "name": sqlCanary}}))
		ask("/gateway/update", body("table_name", "t", "resource_id", sqlCanary, "update_body", map[string]any{"n": sqlCanary}))
		ask("/gateway/update", body("table_name", "t", "resource_id", 1, "update_body", map[string]any{"n": -1, "name": sqlCanary}))
		ask("/gateway/delete", body("table_name", "t", "resource_id", sqlCanary))
		for _, cut := range []string{`{"query":"` + sqlCanary, `{"query":["` + sqlCanary + `"]}`, `{"query":"select 1","params":"` + sqlCanary + `"}`, `"` + sqlCanary + `"`, sqlCanary, `{"table_name":"t","conditions":"` + sqlCanary + `"}`, `{"table_name":"t","limit":"` + sqlCanary + `"}`} {
			for _, path := range []string{"/gateway/query", "/gateway/fetch", "/gateway/insert", "/gateway/update", "/gateway/delete", "/query/count"} {
				ask(path, cut)
			}
		}
	}
	if r := a.send(t, "POST", "/gateway/query", body("query", "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*), '"+sqlCanary+"' from n"), lite...); r.status != 504 {
		t.Errorf("a query without end: %d %s", r.status, r.body)
	}

	// Public routes.
	for _, route := range []string{
		`{"route_key":"open","client_name":"lite","table_name":"t","allowed_ops":["fetch","insert","update","delete"],"columns":"id,name,n","filter":[{"eq_column":"n","eq_value":1}]}`,
		`{"route_key":"sql","client_name":"pg","allowed_ops":["query"],"query":"select * from t where name = $1"}`,
		`{"route_key":"any","client_name":"pg","allowed_ops":["fetch","query"]}`,
		`{"route_key":"keyed","client_name":"lite","table_name":"t","operation":"fetch","require_key":true}`,
		`{"route_key":"down","client_name":"down","table_name":"t","operation":"fetch"}`,
		`{"route_key":"gone","client_name":"lite","table_name":"nothing","operation":"fetch"}`,
	} {
		a.operate(t, "POST", "/admin/public-routes", route, 201)
	}
	a.operate(t, "POST", "/admin/public-routes", body("route_key", nowhere, "client_name", "lite", "operation", "fetch"), 400)
	a.operate(t, "POST", "/admin/public-routes", body("route_key", "wrong", "client_name", []string{nowhere}, "operation", nowhere, "columns", 7, "filter", nowhere, "rate_limit", nowhere, "require_key", nowhere), 400)
	for _, key := range append([]string{"", a.admin}, a.keys...) {
		for _, path := range []string{"open/fetch", "open/insert", "open/update", "open/delete", "open/query", "sql/query", "sql/fetch", "any/query", "any/fetch", "keyed/fetch", "down/fetch", "gone/fetch", "never/fetch"} {
			for _, sent := range []string{`{}`, `{"columns":"secret","params":["` + sqlCanary + `"]}`, body("query", "select '"+sqlCanary+"' from nowhere", "table_name", "t", "insert_body", map[string]any{"id": sqlCanary, "n": 1}, "update_body", map[string]any{"n": sqlCanary},
				"conditions", []any{map[string]any{"eq_column": "n", "eq_value": sqlCanary}}), `{"` + sqlCanary} {
				a.send(t, "POST", "/public/"+path, sent, "X-Api-Key", key)
			}
		}
	}

	entry := struct{ Entry struct{ ID string } }{}
	if err := json.Unmarshal([]byte(a.operate(t, "POST", "/admin/registry", `{"name":"an API","url":"https://api.example"}`, 201).body), &entry); err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"client_name": "lite", "name": "sqlite", "id": id, "route_key": "open", "op": "fetch", "api_registry_id": entry.Entry.ID}
	if !plain {
		a.everywhere(t, good)
	}
	a.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200)
	a.byKey(t, good)
	a.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
	if proxy != nil {
		a.written(t)
		proxy.Refuse()
		proxy.CutAll()
		a.atOnce(t, good)
		proxy.Accept(t)
		until(t, func() bool { return a.request(t, "GET", "/ready", "").status == 200 })
	}
	for _, status := range []int{200, 201, 400, 401, 403, 404, 409, 429, 503, 504} {
		if a.asked[status] == 0 {
			t.Errorf("no answer was %d", status)
		}
	}
	t.Logf("answers by status: %v", a.asked)
	a.written(t)
	a.search(t, ledgerURI, plain)

	// With another key for what is sealed.
	a.stop()
	log := a.log.String()
	if !plain {
		a.served = serveFile(t, ledgerURI, text, append(slices.Clone(env[:2]), "ATHENA_SECRET_KEY="+secretKey("new"), "ATHENA_SECRET_KEY_PREVIOUS="+secretKey("old"))...)
		until(t, func() bool { return a.send(t, "POST", "/gateway/query", `{"query":"select 1"}`, pg...).status == 200 })
		a.operate(t, "PATCH", "/admin/clients/pg", body("pg_uri", database), 200)
		a.written(t)
		a.search(t, ledgerURI, plain)
		a.stop()
		log += a.log.String()
	}
	for line := range strings.Lines(log) {
		a.tells(t, "the log", line, formsOf(sqlCanary)...)
	}
}

// written waits until what is to be in the ledger is there.
func (a *aviary) written(t *testing.T) {
	t.Helper()
	if err := a.Gateway.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// search looks for secrets in the metrics and in every table of the ledger.
func (a *aviary) search(t *testing.T, ledgerURI string, plain bool) {
	t.Helper()
	metrics := a.request(t, "GET", "/metrics", "", "X-Athena-Key", a.admin)
	for line := range strings.Lines(metrics.body) {
		a.tells(t, "/metrics", line, formsOf(sqlCanary)...)
	}
	l := ledgertest.Open(t, ledgerURI)
	rows := map[string]int{}
	for _, table := range ledger.Tables() {
		var text strings.Builder
		if err := l.Read(context.Background(), readAll(table, &text)); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			rows[table]++
			if plain && (strings.HasPrefix(line, "athena_clients.pg_uri=") || strings.HasPrefix(line, "athena_clients.config=")) {
				continue // the operator has allowed it
			}
			a.tells(t, "the ledger", line, formsOf(sqlCanary)...)
		}
	}
	for _, table := range []string{"athena_clients", "api_keys", "api_key_auth_log", "gateway_operation_log", "admin_audit_log", "public_routes", "client_configs", "api_registry", "client_statistics"} {
		if rows[table] == 0 {
			t.Errorf("the ledger has nothing in %s", table)
		}
	}
}

// forRoutes calls f with each method and path of GET /router/registry. with fills in the
// parameters by name; what would take away what is there gets others.
func (a *aviary) forRoutes(t *testing.T, good map[string]string, f func(method, path string, with func(value func(name string) string) string)) {
	t.Helper()
	var listed struct{ Data []httpx.RegistryEntry }
	answer := a.send(t, "GET", "/router/registry", "")
	if err := json.Unmarshal([]byte(answer.body), &listed.Data); err != nil {
		t.Fatalf("%v in %s", err, answer.body)
	}
	for _, entry := range listed.Data {
		with := func(value func(name string) string) string {
			segments := strings.Split(entry.Path, "/")
			for i, segment := range segments {
				if name := strings.Trim(segment, ":{}"); name != segment {
					segments[i] = url.PathEscape(value(name))
				}
			}
			return strings.Join(segments, "/")
		}
		for _, method := range entry.Methods {
			path := with(func(name string) string { return good[name] })
			if method == "DELETE" && strings.HasPrefix(path, "/admin/") || path == "/admin/plugins/sqlite/restart" {
				path = with(func(string) string { return "nobody" })
			}
			f(method, path, with)
		}
	}
}

// byKey asks every route with every key in every carrier.
func (a *aviary) byKey(t *testing.T, good map[string]string) {
	t.Helper()
	a.forRoutes(t, good, func(method, path string, _ func(func(string) string) string) {
		for _, key := range append([]string{a.admin, a.admin + "x"}, a.keys...) {
			a.send(t, method, path, "", "X-Athena-Key", key)
			a.send(t, method, path, "", "Apikey", key)
			a.send(t, method, path, "{}", "X-Api-Key", key)
			a.send(t, method, path, "{}", "Authorization", "Bearer "+key)
			a.send(t, method, path+"?api_key="+key, "{}")
		}
	})
}

// atOnce asks every route with the right keys, all together: each may take as long as the
// ledger is waited for.
func (a *aviary) atOnce(t *testing.T, good map[string]string) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	told := map[string]string{}
	a.forRoutes(t, good, func(method, path string, _ func(func(string) string) string) {
		for _, key := range []string{a.admin, a.keys[0]} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				request, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader("{}"))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("X-Athena-Key", key)
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				a.asked[response.StatusCode]++
				told[method+" "+path] += fmt.Sprint(response.StatusCode, response.Header, string(body))
			})
		}
	})
	all.Wait()
	for what, text := range told {
		a.tells(t, what, text)
	}
}

// everywhere asks every route with every key, and with secrets in parameters, headers,
// queries and bodies.
func (a *aviary) everywhere(t *testing.T, good map[string]string) {
	t.Helper()
	a.byKey(t, good)
	wrong := a.keys[len(a.keys)-1]
	uri := "postgres://app:" + canary + "-sent@db.example/d"
	members := map[string]any{}
	for _, name := range []string{"is_active", "is_frozen", "pg_uri", "pg_uri_env_var", "config", "metadata", "expires_at", "rights", "enforce_api_keys", "operation", "allowed_ops", "columns", "filter",
		"rate_limit", "require_key", "resilience_timeout_secs", "read_only", "level", "uri", "register", "register_name", "version", "url", "limit", "offset", "conditions", "insert_body", "update_body", "params", "query", "table_name"} {
		members[name] = map[string]any{uri: []any{uri, wrong}}
	}
	typed, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	bodies := []string{string(typed), `{"name":"` + uri, `["` + a.admin + `"]`, `"` + wrong + `"`, uri,
		`{"` + uri + `":1,"` + wrong + `":"` + a.admin + `"}`, `{"client_name":"` + uri + `"}`, `{"db_name":"` + wrong + `","query":"select 1"}`, `{"client_name":"` + wrong + `"}`,
	}
	headers := [][]string{{"X-Pg-Uri", uri}, {"X-Athena-Jdbc-Url", "jdbc:" + uri}, {"X-Jdbc-Url", "jdbc:" + uri}, {"X-Supabase-Url", uri},
		{"X-Supabase-Key", wrong}, {"Authorization", "Basic " + a.admin}, {"Cookie", "key=" + wrong}, {"Referer", uri}, {"User-Agent", uri}, {"Origin", "https://" + canary + ".example"}, {"Host", canary + ".apps.example"},
		{"X-Athena-Client", "filed"}, {"X-Athena-Client", "down"},
		{"X-Athena-Client", uri}, {"X-Athena-Client", wrong}, {"X-Athena-Client", a.keys[0]},
	}
	a.forRoutes(t, good, func(method, path string, with func(func(string) string) string) {
		for _, key := range []string{a.admin, a.keys[0]} {
			for _, body := range bodies {
				a.send(t, method, path, body, "X-Athena-Key", key)
			}
			for _, header := range headers {
				a.send(t, method, path, "{}", append(header, "X-Api-Key", key)...)
			}
			a.send(t, method, path+"?password="+canary+"&uri="+url.QueryEscape(uri)+"&limit="+canary+"&since="+wrong, "{}", "X-Athena-Key", key)
			a.send(t, method, path+"?client_name="+url.QueryEscape(uri), "{}", "X-Athena-Key", key)
			for _, value := range []string{uri, wrong, a.keys[0]} {
				if other := with(func(string) string { return value }); other != path {
					a.send(t, method, other, "{}", "X-Athena-Key", key)
				}
			}
		}
	})
	for _, value := range []string{uri, wrong, a.keys[0]} {
		a.send(t, "GET", "/nothing/"+url.PathEscape(value), "", "X-Athena-Key", a.admin)
	}
}
