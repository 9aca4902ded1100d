package core

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const operatorKey = "0123456789abcdef-operator"

// served is a gateway that has read a config.yaml.
type served struct{ *server }

// serveFile starts a gateway with a config.yaml, by the way of config.Load.
func serveFile(t *testing.T, ledgerURI, text string, env ...string) *served {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append([]string{"ATHENA_PORT=0", "ATHENA_LEDGER_URI=" + ledgerURI, "ATHENA_KEY_12=" + operatorKey}, env...)
	c, err := config.Load(config.Options{Path: path, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return &served{serve(t, c)}
}

// call sends a request: below /admin with the operators' key, else to the client of that name.
func (s *served) call(t *testing.T, method, path, client, body string) (int, http.Header, string) {
	t.Helper()
	who := []string{"X-Athena-Key", operatorKey}
	if client != "" {
		who = []string{"X-Athena-Client", client}
	}
	a := s.request(t, method, path, body, append(who, "Content-Type", "application/json")...)
	return a.status, a.header, a.body
}

// a step is a request and what its answer is: a status, texts that are in the body, and,
// after a !, texts that are not.
type step struct {
	method, path, client, body string
	status                     int
	says                       []string
}

func (s *served) walk(t *testing.T, steps []step) {
	t.Helper()
	for _, step := range steps {
		status, _, answer := s.call(t, step.method, step.path, step.client, step.body)
		if status != step.status {
			t.Errorf("%s %s %s %s: %d, want %d: %s", step.method, step.path, step.client, step.body, status, step.status, answer)
		}
		for _, text := range step.says {
			unwanted, not := strings.CutPrefix(text, "!")
			if not && strings.Contains(answer, unwanted) || !not && !strings.Contains(answer, text) {
				t.Errorf("%s %s %s %s: says %q is wrong of %s", step.method, step.path, step.client, step.body, text, answer)
			}
		}
	}
}

// sample makes a folder with a SQLite file of one table.
func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestClientRoutes walks the routes of the client catalog, with every refusal and what it
// leaves in the ledger.
func TestClientRoutes(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		database := testenv.Database(t)
		parsed, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		parsed.User = url.UserPassword(parsed.User.Username(), "ignored-s3cret") // the test's server trusts everybody
		uri := parsed.String()
		t.Setenv("CLIENTS_TEST_URI", uri)
		file := emptyFile(t)
		key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
		s := serveFile(t, ledgerURI, fmt.Sprintf(`
plugins: {dir: %q}
gateway: {resilience_timeout_secs: 20}
clients:
  lite: {backend: sqlite, config: {path: %q}}
postgres_clients:
  pg: postgres://u:${CLIENTS_TEST_PASSWORD}@127.0.0.1:1/d
  gone: ${CLIENTS_TEST_UNSET}
`, testenv.BuildPlugins(t), file), "CLIENTS_TEST_PASSWORD=t0p-s3cret", "ATHENA_SECRET_KEY="+key)
		body := func(pairs ...any) string {
			m := map[string]any{}
			for i := 0; i < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			b, _ := json.Marshal(m)
			return string(b)
		}
		const one = `{"query":"SELECT 1 AS one"}`
		shown := strings.ReplaceAll(uri, "ignored-s3cret", "***")
		s.walk(t, []step{
			// The file's clients are in the catalog, with ${VAR} and without secrets.
			{"GET", "/admin/clients", "", "", 200, []string{`"status":"success"`, `"message":"3 clients"`, `"total":3`, `"limit":100`, `"offset":0`,
				`"config_uri_template":"postgres://u:${CLIENTS_TEST_PASSWORD}@127.0.0.1:1/d"`, `"config_uri_template":"${CLIENTS_TEST_UNSET}"`,
				`"source":"config"`, `"pool_connected":true`, `"pool_connected":false`, `"runtime":[`, "!s3cret",
				"set the environment variable CLIENTS_TEST_UNSET"}},
			{"GET", "/admin/clients?limit=1&offset=1", "", "", 200, []string{`"total":3`, `"client_name":"lite"`, `!"client_name":"pg"`}},
			{"GET", "/admin/clients?limit=0&offset=x", "", "", 400, []string{"invalid_query", "limit: want", "offset: want"}},
			{"GET", "/clients", "", "", 200, []string{`"clients":["gone","lite","pg"]`, `"data":{"clients":[`}},
			{"GET", "/schema/clients", "", "", 200, []string{`"clients":["gone","lite","pg"]`}},
			{"GET", "/clients", "lite", "", 401, []string{"admin_key_required"}},
			{"GET", "/admin/clients/lite", "", "", 200, []string{`"client":{`, `"backend":"sqlite"`, `"pool_connected":true`}},
			{"GET", "/admin/clients/lit", "", "", 404, []string{"unknown_client", `did you mean \"lite\"?`}},

			{"POST", "/admin/clients", "", `{"client_name":"x","description":"x","pg_uri":"x","pg_uri_env_var":"x","is_active":true}`, 400,
				[]string{"invalid_body", `"pg_uri":"want a connection URI`}},
			{"POST", "/admin/clients", "", `[]`, 400, []string{"invalid_json"}},
			{"POST", "/admin/clients", "", `{}`, 400, []string{`"client_name":"want the client's name`}},
			{"POST", "/admin/clients", "", body("client_name", "a b", "pg_uri", uri), 400, []string{`"client_name":"want 1 to 128`}},
			{"POST", "/admin/clients", "", body("client_name", "new", "pg_uri", 7, "is_active", "yes", "metadata", []int{1}), 400,
				[]string{`"pg_uri":"want`, `"is_active":"want true or false"`, `"metadata":"want an object`}},
			{"POST", "/admin/clients", "", `{"client_name":"new","metadata":{"a":"\u0000"},"active":false}`, 400,
				[]string{`"metadata":"holds a text that cannot be stored`, `use \"is_active\"`}},
			{"GET", "/admin/clients/a%00", "", "", 404, []string{"unknown_client"}},
			{"GET", "/admin/clients/%ff", "", "", 404, []string{"unknown_client"}},
			{"GET", "/admin/clients/%ff/statistics", "", "", 404, []string{"unknown_client"}},
			{"GET", "/admin/clients/%00/statistics/drilldown?table_name=&operation=fetch", "", "", 404, []string{"unknown_client"}},
			{"DELETE", "/admin/client-configs/%ff", "", "", 404, []string{"unknown_client"}},
			{"POST", "/admin/clients", "", body("client_name", "lite", "pg_uri", uri), 409, []string{"client_exists"}},
			{"POST", "/admin/clients", "", body("client_name", "new", "backend", "sqlite", "config", map[string]any{"pth": file}), 400,
				[]string{`config key`, `!s3cret`, `did you mean`}},
			{"POST", "/gateway/query", "new", one, 400, []string{"unknown_client"}},

			{"POST", "/admin/clients", "", body("client_name", "new", "description", "the new\none", "pg_uri", uri, "metadata", map[string]any{"team": "a"}), 201,
				[]string{`"client":{`, `"source":"database"`, `"is_active":true`, `"is_frozen":false`, `"deleted_at":null`, `"metadata":{"team":`, `"pool_connected":true`,
					`"message":"client new was created"`, "!s3cret", `"data":{"client":`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"POST", "/admin/clients", "", body("client_name", "new", "pg_uri", uri), 409, []string{"client_exists"}},
			{"GET", "/admin/clients/new", "", "", 200, []string{"!s3cret", ":***@"}},
			{"PATCH", "/admin/clients/new", "", body("client_name", "new", "description", nil, "pg_uri", shown, "source", "database", "id", "x"), 200,
				[]string{`"description":null`, `"pool_connected":true`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"PATCH", "/admin/clients/new", "", body("client_name", "other"), 400, []string{`"client_name":"a client keeps its name`}},
			{"PATCH", "/admin/clients/new", "", `{}`, 400, []string{"invalid_body", "changes nothing of the client"}},
			{"PATCH", "/admin/clients/new", "", body("client_name", "new", "id", "x"), 400, []string{"changes nothing of the client"}},
			{"PATCH", "/admin/clients/new", "", body("pg_uri", nil), 400, []string{"is required"}},
			{"PATCH", "/admin/clients/nobody", "", body("description", "x"), 404, []string{"unknown_client"}},
			{"PATCH", "/admin/clients/new", "", body("pg_uri_env_var", "CLIENTS_TEST_URI"), 200, []string{`"pg_uri":null`, `"pg_uri_env_var":"CLIENTS_TEST_URI"`, `"pool_connected":true`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"PATCH", "/admin/clients/new", "", body("pg_uri", "postgres://u:n0t-s3cret@127.0.0.1:1/d"), 200,
				[]string{"it serves as before, as the change cannot be used yet: ", `"pending":"`, `"pool_connected":true`, "!s3cret"}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"PATCH", "/admin/clients/new", "", body("backend", "sqlite", "config", map[string]any{"path": file}), 200, []string{`"backend":"sqlite"`, `"config":{"path":`, "!pending"}},
			{"POST", "/gateway/query", "new", `{"query":"SELECT sqlite_version() IS NOT NULL AS lite"}`, 200, []string{`"lite":1`}},
			{"PATCH", "/admin/clients/new", "", body("is_active", false), 200, []string{`"is_active":false`}},
			{"POST", "/gateway/query", "new", one, 503, []string{"client_inactive", `"executed":"no"`, "is not active"}},
			{"PATCH", "/admin/clients/new", "", body("is_active", true), 200, []string{`"available":true`}},

			{"PUT", "/admin/clients/new/freeze", "", `{}`, 400, []string{`"is_frozen":"want true or false"`}},
			{"PUT", "/admin/clients/new/freeze", "", `{"is_frozen":"true"}`, 400, []string{`"is_frozen":"want true or false"`}},
			{"PUT", "/admin/clients/nobody/freeze", "", `{"is_frozen":true}`, 404, []string{"unknown_client"}},
			{"PUT", "/admin/clients/new/freeze", "", `{"is_frozen":true}`, 200, []string{`"is_frozen":true`, `"pool_connected":false`, "was frozen"}},
			{"POST", "/gateway/query", "new", one, 503, []string{"client_frozen", `"executed":"no"`, "is frozen"}},
			{"GET", "/clients", "", "", 200, []string{`"clients":["gone","lite","pg"]`}},
			{"GET", "/health", "", "", 200, []string{"client_frozen", `"state":"frozen"`}},
			{"PUT", "/admin/clients/new/freeze", "", `{"is_frozen":false}`, 200, []string{`"is_frozen":false`, `"pool_connected":true`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},

			{"PATCH", "/admin/clients/new", "", `{"is_frozen":null}`, 400, []string{`"is_frozen":"want true or false"`}},
			{"PATCH", "/admin/clients/new", "", `{"is_frozen":true}`, 200, []string{`"is_frozen":true`, `"pool_connected":false`}},
			{"POST", "/gateway/query", "new", one, 503, []string{"client_frozen", `"executed":"no"`}},
			{"PATCH", "/admin/clients/new", "", `{"is_frozen":false,"description":"thawed"}`, 200, []string{`"is_frozen":false`, `"description":"thawed"`, `"pool_connected":true`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"GET", "/admin/audit?action=freeze_client", "", "", 200, []string{`"total":3`, `"target":"new"`}},
			{"POST", "/admin/clients", "", body("client_name", "cold", "is_frozen", true, "pg_uri_env_var", "CLIENTS_TEST_URI"), 201, []string{`"is_frozen":true`}},
			{"POST", "/gateway/query", "cold", one, 503, []string{"client_frozen"}},
			{"POST", "/admin/provision", "", `{"client_name":"cold"}`, 503, []string{"client_frozen", `"executed":"no"`}},
			{"GET", "/admin/provision/status?client_name=cold", "", "", 503, []string{"client_frozen"}},
			{"DELETE", "/admin/clients/cold", "", "", 200, nil},
			{"POST", "/admin/provision", "", `{"client_name":"cold"}`, 400, []string{"unknown_client", "deleted"}},
			{"GET", "/admin/provision/status?client_name=cold", "", "", 400, []string{"unknown_client", "deleted"}},

			{"DELETE", "/admin/clients/nobody", "", "", 404, []string{"unknown_client"}},
			{"DELETE", "/admin/clients/new", "", "", 200, []string{`"deleted_at":"2`, "was deleted"}},
			{"POST", "/gateway/query", "new", one, 503, []string{"client_deleted", `"executed":"no"`}},
			{"GET", "/admin/clients", "", "", 200, []string{`"total":3`}},
			{"GET", "/admin/clients?include_deleted=true", "", "", 200, []string{`"total":5`, `"client_name":"new"`}},
			{"DELETE", "/admin/clients/new", "", "", 404, []string{"POST /admin/clients creates it again"}},
			{"PATCH", "/admin/clients/new", "", body("description", "x"), 404, []string{"was deleted"}},
			{"POST", "/admin/clients", "", body("client_name", "new", "pg_uri_env_var", "CLIENTS_TEST_URI"), 201, []string{`"deleted_at":null`, `"config":null`, `"backend":"postgres"`, `"pool_connected":true`}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},

			{"POST", "/admin/provision", "", body("uri", uri, "register", true, "register_name", "books"), 200, []string{`"registered":"books"`, "!s3cret"}},
			{"POST", "/gateway/fetch", "books", `{"table_name":"athena_clients"}`, 200, []string{`"data":[]`}},
			{"POST", "/admin/provision", "", body("client_name", "books"), 200, []string{`"registered":null`}},
			{"DELETE", "/admin/clients/books", "", "", 200, nil},

			// Settings.
			{"GET", "/admin/client-configs", "", "", 200, []string{`"client_configs":[]`, `"total":0`}},
			{"GET", "/admin/client-configs/lite", "", "", 200, []string{`"config":{}`, `"resilience_timeout_secs":{"value":20,"source":"config"}`,
				`"resilience_read_max_retries":{"value":1,"source":"default"}`}},
			{"GET", "/admin/client-configs/nobody", "", "", 404, []string{"unknown_client"}},
			{"PUT", "/admin/client-configs/nobody", "", `{}`, 404, []string{"unknown_client"}},
			{"PUT", "/admin/client-configs/lite", "", `[]`, 400, []string{"invalid_json"}},
			{"PUT", "/admin/client-configs/lite", "", `{"config":7}`, 400, []string{`"config":"want an object`}},
			{"PUT", "/admin/client-configs/lite", "", `{"config":{},"read_only":true}`, 400, []string{"not both"}},
			{"PUT", "/admin/client-configs/lite", "", `{"raed_only":true,"resilience_timeout_secs":0}`, 400,
				[]string{`did you mean \"read_only\"?`, `"resilience_timeout_secs":"want a whole number from 1 to 86400"`}},
			{"PUT", "/admin/client-configs/lite", "", `{"min_connections":1}`, 400, []string{"the backend sqlite of the client has no such setting"}},
			{"PUT", "/admin/client-configs/lite", "", `{"read_only":true,"resilience_timeout_secs":9}`, 200,
				[]string{`"read_only":{"value":true,"source":"client"}`, `"resilience_timeout_secs":{"value":9,"source":"client"}`, "2 settings of its own"}},
			{"POST", "/gateway/query", "lite", `{"query":"CREATE TABLE t (n INTEGER)"}`, 403, []string{"client_read_only"}},
			{"POST", "/gateway/insert", "lite", `{"table_name":"t","insert_body":{"n":1}}`, 403, []string{"client_read_only"}},
			{"POST", "/gateway/query", "lite", one, 200, []string{`"one":1`}},
			{"PUT", "/admin/client-configs/lite", "", `{"client_name":"lite","config":{"sql_enabled":false}}`, 200, []string{`"config":{"sql_enabled":`, `"read_only":{"value":false,"source":"default"}`}},
			{"POST", "/gateway/query", "lite", one, 403, []string{"sql_disabled"}},
			{"GET", "/admin/client-configs", "", "", 200, []string{`"client_name":"lite"`, `"effective":{`, `"total":1`}},
			{"DELETE", "/admin/client-configs/lite", "", "", 200, []string{`"deleted":true`}},
			{"DELETE", "/admin/client-configs/lite", "", "", 200, []string{`"deleted":false`}},
			{"POST", "/gateway/query", "lite", one, 200, []string{`"one":1`}},
			{"POST", "/admin/client-configs/seed-from-config", "", "", 200, []string{`"seeded":["lite","pg"]`}},
			{"POST", "/admin/client-configs/seed-from-config", "", "", 200, []string{`"seeded":[]`}},
		})
		status, _, answer := s.call(t, "PUT", "/admin/clients/lite/freeze", "", `{"is_frozen":true}`)
		if status != 200 {
			t.Fatal(answer)
		}
		if status, header, answer := s.call(t, "POST", "/gateway/fetch", "lite", `{"table_name":"t"}`); status != 503 || header.Get("Retry-After") != "" {
			t.Errorf("a frozen client answers %d %v %s", status, header, answer)
		}
		tellNothing(t, s, ledgerURI, "s3cret")

		// What was decided holds after a restart.
		s.stop()
		again := serveFile(t, ledgerURI, fmt.Sprintf("plugins: {dir: %q}\nclients: {lite: {backend: sqlite, config: {path: %q}}}", testenv.BuildPlugins(t), file), "ATHENA_SECRET_KEY="+key)
		again.walk(t, []step{
			{"POST", "/gateway/query", "lite", one, 503, []string{"client_frozen"}},
			{"POST", "/gateway/query", "new", one, 200, []string{`"one":1`}},
			{"POST", "/gateway/query", "pg", one, 400, []string{"unknown_client"}}, // it has left the file
			{"GET", "/admin/clients", "", "", 200, []string{`"total":4`, `!"client_name":"books"`}},
			{"POST", "/gateway/query", "books", one, 503, []string{"client_deleted"}},
		})
	})
}

// tellNothing fails the test if the log, the metrics or a row of the ledger hold the secret. What is
// sealed does not.
func tellNothing(t *testing.T, s *served, ledgerURI, secret string) {
	t.Helper()
	_, _, metrics := s.call(t, "GET", "/metrics", "x", "")
	if !strings.Contains(metrics, "athena_client_available") {
		t.Errorf("no metrics: %.200s", metrics)
	}
	places := map[string]string{"the log": s.log.String(), "/metrics": metrics, "the ledger": dump(t, ledgerURI)}
	for what, text := range places {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:8]} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s tells a secret: ...%s...", what, text[max(0, at-200):min(len(text), at+50)])
			}
		}
	}
}

// dump is all that the ledger holds, as text.
func dump(t *testing.T, ledgerURI string) string {
	t.Helper()
	l := ledgertest.Open(t, ledgerURI)
	var text strings.Builder
	for _, table := range []string{"athena_clients", "client_configs", "admin_audit_log", "gateway_operation_log", "api_key_auth_log"} {
		err := l.Read(context.Background(), readAll(table, &text))
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(text.String(), "create_client") {
		t.Errorf("the dump lacks the audit: %.500s", text.String())
	}
	return text.String()
}

// TestClientCanaries: the secrets of a client that a plugin tells in every way that it has are in
// no answer, log, metric or row.
func TestClientCanaries(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "probe"), "./pluginhost/testdata/plugin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if err := os.Link(filepath.Join(dir, "probe"), filepath.Join(dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	const secret = "c4nary-9-s3cret"
	ledgerURI := "sqlite://" + filepath.Join(t.TempDir(), "ledger.db")
	s := serveFile(t, ledgerURI, fmt.Sprintf("plugins: {dir: %q}\nclients: {filed: {backend: probe, config: {token: '${TOKEN}', uri: 'proto://u:%s@h/d'}}}", dir, secret),
		"TOKEN="+secret, "ATHENA_SECRET_KEY="+strings.Repeat("ab", 32))
	tell := func(method, path, client, body string) {
		t.Helper()
		if status, header, answer := s.call(t, method, path, client, body); strings.Contains(fmt.Sprint(status, header, answer), secret) {
			t.Errorf("%s %s %s tells: %d %s", method, path, body, status, answer)
		}
	}
	config := fmt.Sprintf(`{"token":%q,"uri":"proto://u:%s@h/d","path":"/x?password=%s"%%s}`, secret, secret, secret)
	for i, extra := range []string{``, `,"open":"fail"`, `,"open":"crash"`, `,"open":"` + secret + `"`, `,"tokn":"` + secret + `"`} {
		name := fmt.Sprintf("c%d", i)
		create := fmt.Sprintf(`{"client_name":%q,"backend":"probe","config":%s}`, name, fmt.Sprintf(config, extra))
		tell("POST", "/admin/clients", "", create)
		tell("POST", "/admin/clients", "", create)
		tell("PATCH", "/admin/clients/"+name, "", create)
	}
	for i, uri := range []string{"postgres://u:" + secret + "@h/d", "postgres://h/d?password=" + secret, "host=h password=" + secret, "postgres://" + secret + "@[h/d", "postgres://u:" + secret + "@h:port/d"} {
		tell("POST", "/admin/clients", "", fmt.Sprintf(`{"client_name":"u%d","pg_uri":%q}`, i, uri))
	}
	tell("PUT", "/admin/client-configs/c0", "", `{"max_connections":"`+secret+`","read_only":"`+secret+`"}`)
	for _, name := range []string{"filed", "c0", "c1", "c2", "u0", "u1"} {
		for _, way := range []string{"log", "stderr", "stdout", "error", "panic"} {
			tell("POST", "/gateway/query", name, `{"query":"tell `+way+`"}`)
		}
		for _, path := range []string{"/admin/clients", "/admin/clients/" + name, "/admin/client-configs/" + name, "/admin/client-configs", "/health", "/health/cluster", "/metrics", "/admin/plugins", "/admin/plugins/probe/logs"} {
			tell("GET", path, "", "")
		}
		tell("PUT", "/admin/clients/"+name+"/freeze", "", `{"is_frozen":true}`)
		tell("DELETE", "/admin/clients/"+name, "", "")
	}
	if _, _, answer := s.call(t, "GET", "/admin/clients/u0", "", ""); !strings.Contains(answer, "postgres://u:***@h/d") {
		t.Errorf("u0 is %s", answer)
	}
	tellNothing(t, s, ledgerURI, secret)
}
