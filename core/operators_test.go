package core

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// operated is a gateway with one SQLite client, lite, in its file, and a key to seal secrets.
func operated(t *testing.T, ledgerURI, more string) *served {
	t.Helper()
	return serveFile(t, ledgerURI, fmt.Sprintf("plugins: {dir: %q}\nclients: {lite: {backend: sqlite, config: {path: %q, max_connections: 3}}}\n%s",
		testenv.BuildPlugins(t), emptyFile(t), more), "ATHENA_SECRET_KEY="+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
}

// ask sends an operator's request and returns its answer, which has to have the status.
func (s *served) ask(t *testing.T, method, path, body string, status int) map[string]any {
	t.Helper()
	got, _, text := s.call(t, method, path, "", body)
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil || got != status {
		t.Fatalf("%s %s %s: %d, want %d: %s (%v)", method, path, body, got, status, text, err)
	}
	return answer
}

// TestTextsOfOperators: what one of the ledgers could not hold is refused on both, by its
// field, and what only looks like it is stored.
func TestTextsOfOperators(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		places := []struct{ method, path, body, field string }{
			{"POST", "/admin/clients", `{"client_name":"n%d","pg_uri_env_var":"UNSET","metadata":{"a":%s}}`, "metadata"},
			{"POST", "/admin/clients", `{"client_name":"n%d","backend":"sqlite","config":{"path":%s}}`, "config"},
			{"PATCH", "/admin/clients/lite", `{"description":"n%d","metadata":{"a":%s}}`, "metadata"},
			{"POST", "/admin/public-routes", `{"route_key":"n%d","client_name":"lite","operation":"fetch","metadata":{"a":[%s]}}`, "metadata"},
			{"POST", "/admin/public-routes", `{"route_key":"n%d","client_name":"lite","operation":"fetch","table_name":"t","filter":[{"eq_column":"a","eq_value":%s}]}`, "filter"},
			{"POST", "/admin/public-routes", `{"route_key":"n%d","client_name":"lite","operation":"fetch","table_name":"t","columns":["id",%s]}`, "columns"},
			{"POST", "/admin/public-routes", `{"route_key":"n%d","client_name":"lite","operation":"query","query":%s}`, "query"},
			{"POST", "/admin/registry", `{"name":"n%d","metadata":{"a":%s}}`, "metadata"},
			{"POST", "/admin/registry", `{"name":"n%d","description":%s}`, "description"},
			{"POST", "/admin/api-keys", `{"name":"n%d","description":%s}`, "description"},
		}
		for i, place := range places {
			for _, value := range []string{`"\ud800"`, `"\u0000"`, "\"a\xffb\"", `1e400000`} {
				status, _, text := s.call(t, place.method, place.path, "", fmt.Sprintf(place.body, i, value))
				if status != 400 || !strings.Contains(text, `"code":"invalid_body"`) || !strings.Contains(text, `"`+place.field+`":"`) {
					t.Errorf("%s %s, %s as %q: %d %s", place.method, place.path, place.field, value, status, text)
				}
			}
			if place.field == "columns" || place.field == "config" {
				continue // no column or file has such a name
			}
			if status, _, text := s.call(t, place.method, place.path, "", fmt.Sprintf(place.body, i, `"\\u0000 \\ud800 \ud83d\ude00"`)); status/100 != 2 {
				t.Errorf("%s %s, a harmless %s: %d %s", place.method, place.path, place.field, status, text)
			}
		}
		for _, query := range []string{"/admin/audit?actor=", "/admin/audit?action=", "/admin/audit?target=", "/admin/audit?trace_id=",
			"/admin/operations?client_name=", "/admin/operations?table_name=", "/admin/operations?operation=", "/admin/operations?door=",
			"/admin/operations?request_id=", "/admin/operations?api_key_id=", "/admin/operations?user_id=", "/admin/operations?organization_id=",
			"/admin/clients/lite/statistics/drilldown?operation=fetch&table_name=", "/admin/clients/lite/statistics/drilldown?table_name=a&operation="} {
			parsed, err := url.Parse(query)
			if err != nil {
				t.Fatal(err)
			}
			field := query[strings.LastIndexAny(query, "?&")+1 : len(query)-1]
			for _, value := range []string{"%00", "%ff", "a%ed%a0%80"} {
				status, _, text := s.call(t, "GET", query+value, "", "")
				if status != 400 || !strings.Contains(text, `"code":"invalid_query"`) || !strings.Contains(text, `"`+field+`":"want Unicode`) {
					t.Errorf("%s%s: %d %s", parsed, value, status, text)
				}
			}
			s.ask(t, "GET", query+"%E2%82%AC", "", 200)
		}
	})
}

// TestChangeWithoutAnswer: a change whose COMMIT got no answer may have been made, and is not
// to be repeated blindly.
func TestChangeWithoutAnswer(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	s := operated(t, proxy.URI(), "")
	for _, route := range s.routes {
		if route.Guard == httpx.Admin && route.Writes != (route.Method != "GET") {
			t.Errorf("%s %s says that it writes: %t", route.Method, route.Path, route.Writes)
		}
	}
	for path, body := range map[string]string{
		"/admin/clients":       `{"client_name":"n%d","pg_uri_env_var":"UNSET"}`,
		"/admin/registry":      `{"name":"n%d"}`,
		"/admin/public-routes": `{"route_key":"n%d","client_name":"lite","operation":"fetch"}`,
		"/admin/api-keys":      `{"name":"n%d"}`,
	} {
		for i := 0; ; i++ {
			if err := s.ledger.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			cut := proxy.CutBefore('C', "COMMIT")
			status, header, text := s.call(t, "POST", path, "", fmt.Sprintf(body, i))
			if status == 201 && i < 20 { // another COMMIT came first
				<-cut.Happened()
				continue
			}
			if status != 502 || header.Get("Retry-After") != "" || !strings.Contains(text, `"code":"outcome_unknown"`) || !strings.Contains(text, `"executed":"unknown"`) {
				t.Errorf("POST %s: %d %v %s", path, status, header, text)
			}
			break
		}
		until(t, func() bool {
			status, _, _ := s.call(t, "GET", "/admin/audit?limit=1", "", "")
			return status == 200
		})
	}
}

// TestClientNamesBeforeLedger: a gateway that knows its file alone does not say that there are
// no clients.
func TestClientNamesBeforeLedger(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	proxy.Refuse()
	s := operated(t, proxy.URI(), "")
	for _, path := range []string{"/clients", "/schema/clients"} {
		if code := s.ask(t, "GET", path, "", 503)["code"]; code != "ledger_unavailable" {
			t.Errorf("%s: %v", path, code)
		}
	}
	proxy.Accept(t)
	until(t, func() bool {
		status, _, text := s.call(t, "GET", "/clients", "", "")
		return status == 200 && strings.Contains(text, `"clients":["lite"]`)
	})
}

// TestStatisticsPages: the list of statistics has pages as other lists.
func TestStatisticsPages(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		s.ask(t, "POST", "/admin/clients", fmt.Sprintf(`{"client_name":"other","backend":"sqlite","config":{"path":%q}}`, emptyFile(t)), 201)
		for _, client := range []string{"lite", "other"} {
			if status, _, text := s.call(t, "POST", "/gateway/query", client, `{"query":"SELECT 1"}`); status != 200 {
				t.Fatal(text)
			}
		}
		for _, request := range [][2]string{{"GET", "/admin/clients/statistics"}, {"POST", "/admin/clients/statistics/refresh"}} {
			page := s.ask(t, request[0], request[1]+"?limit=1&offset=1", "", 200)
			list := page["statistics"].([]any)
			if len(list) != 1 || list[0].(map[string]any)["client_name"] != "other" || page["total"] != 2.0 || page["limit"] != 1.0 || page["offset"] != 1.0 {
				t.Errorf("%s: %v", request, page)
			}
			if all := s.ask(t, request[0], request[1], "", 200); len(all["statistics"].([]any)) != 2 || all["limit"] != 100.0 {
				t.Errorf("%s: %v", request, all)
			}
			for _, query := range []string{"limit=0", "limit=501", "limit=x", "offset=-1"} {
				if code := s.ask(t, request[0], request[1]+"?"+query, "", 400)["code"]; code != "invalid_query" {
					t.Errorf("%s?%s: %v", request, query, code)
				}
			}
		}
	})
}

// TestLogLevelAudit: the audit says what a plugin's log level was and is.
func TestLogLevelAudit(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		if s.ask(t, "POST", "/admin/plugins/sqlite/log-level", `{"level":"debug"}`, 200)["plugin"].(map[string]any)["log_level"] != "debug" {
			t.Error("the level is not at the top level of the answer")
		}
		s.ask(t, "POST", "/admin/plugins/sqlite/log-level", `{"level":"loud"}`, 400)
		if err := s.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := s.ask(t, "GET", "/admin/audit?action=set_plugin_log_level", "", 200)["audit"].([]any)
		if len(rows) != 2 {
			t.Fatalf("%v", rows)
		}
		done, failed := rows[1].(map[string]any), rows[0].(map[string]any)
		if fmt.Sprint(done["before"], done["after"]) != "map[level:trace] map[level:debug outcome:done]" ||
			failed["before"] != nil || !strings.Contains(fmt.Sprint(failed["after"]), "outcome:failed: invalid_body") {
			t.Errorf("%v", rows)
		}
	})
}

// TestSentBack: a record that is sent back as it was shown changes nothing, and nothing that
// somebody else has changed meanwhile.
func TestSentBack(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		s.ask(t, "POST", "/admin/public-routes", `{"route_key":"r","client_name":"lite","allowed_ops":["fetch","count"]}`, 400)
		s.ask(t, "POST", "/admin/public-routes", `{"route_key":"r","client_name":"lite","table_name":"t","allowed_ops":["fetch","insert"],"metadata":{"a":1}}`, 201)
		s.ask(t, "POST", "/admin/public-routes", `{"route_key":"one","client_name":"lite","operation":"fetch"}`, 201)
		id := s.ask(t, "POST", "/admin/api-keys", `{"name":"a key","rights":["gateway.fetch.execute"]}`, 201)["record"].(map[string]any)["id"]
		s.ask(t, "POST", "/admin/clients", fmt.Sprintf(`{"client_name":"c","backend":"sqlite","config":{"path":%q}}`, emptyFile(t)), 201)
		for _, record := range []struct{ path, member, code string }{
			{"/admin/public-routes/r", "route", "public_route_changed"},
			{"/admin/public-routes/one", "route", "public_route_changed"},
			{fmt.Sprint("/admin/api-keys/", id), "record", "api_key_changed"},
			{"/admin/clients/c", "client", "client_changed"},
			{"/admin/clients/lite", "client", "client_changed"},
		} {
			shown := s.ask(t, "GET", record.path, "", 200)[record.member].(map[string]any)
			same, err := json.Marshal(shown)
			if err != nil {
				t.Fatal(err)
			}
			after := s.ask(t, "PATCH", record.path, string(same), 200)[record.member].(map[string]any)
			for name, value := range shown {
				if name != "updated_at" && name != "config" && fmt.Sprint(after[name]) != fmt.Sprint(value) {
					t.Errorf("%s: %s was %v and is %v", record.path, name, value, after[name])
				}
			}
			if code := s.ask(t, "PATCH", record.path, string(same), 409)["code"]; code != record.code {
				t.Errorf("%s: %v, want %s", record.path, code, record.code)
			}
			s.ask(t, "PATCH", record.path, fmt.Sprintf(`{"description":"new","updated_at":%q}`, after["updated_at"]), 200)
			s.ask(t, "PATCH", record.path, fmt.Sprintf(`{"description":"newer","updated_at":%q}`, after["updated_at"]), 409)
			s.ask(t, "PATCH", record.path, `{"description":"whatever it was","updated_at":null}`, 200)
			s.ask(t, "PATCH", record.path, `{"description":"x","updated_at":"yesterday"}`, 400)
		}
		for body, field := range map[string]string{
			`{"is_active":true,"active":false}`:                       "active",
			`{"allowed_ops":["fetch","update"],"operation":"delete"}`: "operation",
			`{"id":"01890000-0000-7000-8000-000000000000"}`:           "id",
			`{"created_at":"2020-01-01T00:00:00Z"}`:                   "created_at",
			`{"updated_at":7}`:                                        "updated_at",
		} {
			answer := s.ask(t, "PATCH", "/admin/public-routes/r", body, 400)
			if fields := answer["data"].(map[string]any)["details"].(map[string]any)["fields"].(map[string]any); fields[field] == nil {
				t.Errorf("%s: %v", body, answer)
			}
		}
		for _, body := range []string{`{"active":false}`, `{"is_active":false}`, `{"active":false,"is_active":false}`} {
			route := s.ask(t, "PATCH", "/admin/public-routes/r", body, 200)["route"].(map[string]any)
			if route["active"] != false || route["is_active"] != false {
				t.Errorf("%s: %v", body, route)
			}
			s.ask(t, "PATCH", "/admin/public-routes/r", `{"active":true}`, 200)
		}
		if route := s.ask(t, "DELETE", "/admin/public-routes/r", "", 200)["route"].(map[string]any); route["active"] != false || route["is_active"] != false {
			t.Errorf("%v", route)
		}
	})
}

// TestSettingsOfAnotherBackend: no route makes a client unopenable by settings that its backend
// does not have.
func TestSettingsOfAnotherBackend(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		database := testenv.Database(t)
		t.Setenv("OTHER_BACKEND_URI", database)
		s := operated(t, ledgerURI, fmt.Sprintf("postgres_clients: {pg: %q}", database))
		serves := func(client string) {
			t.Helper()
			if status, _, text := s.call(t, "POST", "/gateway/query", client, `{"query":"SELECT 1 AS one"}`); status != 200 {
				t.Errorf("%s: %d %s", client, status, text)
			}
		}
		// The row of pg is another backend's by now: the file's settings are not for it.
		toFile := fmt.Sprintf(`{"backend":"sqlite","config":{"path":%q}}`, emptyFile(t))
		s.ask(t, "PATCH", "/admin/clients/pg", toFile, 200)
		answer := s.ask(t, "POST", "/admin/client-configs/seed-from-config", "", 200)
		if fmt.Sprint(answer["seeded"]) != "[lite]" || !strings.Contains(fmt.Sprint(answer["skipped"]), "pg:its connection is not the file's") {
			t.Errorf("%v", answer)
		}
		serves("pg")
		serves("lite")
		s.ask(t, "DELETE", "/admin/client-configs/lite", "", 200)
		// Its settings are those of PostgreSQL: neither the file's SQLite nor a variable may take over.
		s.ask(t, "PATCH", "/admin/clients/lite", `{"pg_uri_env_var":"OTHER_BACKEND_URI"}`, 200)
		s.ask(t, "PUT", "/admin/client-configs/lite", `{"min_connections":1}`, 200)
		answer = s.ask(t, "PATCH", "/admin/clients/lite", `{"pg_uri_env_var":null}`, 400)
		if text := fmt.Sprint(answer["data"]); !strings.Contains(text, "min_connections: the backend sqlite of the client has no such setting") {
			t.Errorf("%v", answer)
		}
		serves("lite")
		s.ask(t, "PUT", "/admin/client-configs/lite", `{"read_only":true}`, 200)
		s.ask(t, "PATCH", "/admin/clients/lite", `{"pg_uri_env_var":null}`, 200)
		serves("lite")
		s.ask(t, "PUT", "/admin/client-configs/pg", `{"busy_timeout":"1s"}`, 400)
		s.ask(t, "DELETE", "/admin/clients/lite", "", 200)
	})
}

// TestReusedName: whoever gives a client the name of a deleted one is told what was made for
// that and holds for the new one.
func TestReusedName(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		create := fmt.Sprintf(`{"client_name":"old","backend":"sqlite","config":{"path":%q}}`, emptyFile(t))
		if answer := s.ask(t, "POST", "/admin/clients", create, 201); fmt.Sprint(answer["references"]) != "map[]" || answer["message"] != "client old was created" {
			t.Errorf("%v", answer)
		}
		for _, name := range []string{"old", "lite"} {
			s.ask(t, "POST", "/admin/api-keys", fmt.Sprintf(`{"name":"key of %s","client_name":%q}`, name, name), 201)
		}
		s.ask(t, "POST", "/admin/public-routes", `{"route_key":"door","client_name":"old","operation":"fetch"}`, 201)
		s.ask(t, "POST", "/admin/public-routes", `{"route_key":"gone","client_name":"old","operation":"fetch"}`, 201)
		s.ask(t, "DELETE", "/admin/public-routes/gone", "", 200)
		s.ask(t, "PUT", "/admin/api-key-clients/old", `{"enforce_api_keys":false}`, 200)
		s.ask(t, "PUT", "/admin/client-configs/old", `{"read_only":true}`, 200)
		const want = "map[api_key_client:true api_keys:[key of old] client_config:true public_routes:[door]]"
		const words = "the API keys key of old; the public routes door; a setting in /admin/api-key-clients; settings in /admin/client-configs"
		for _, answer := range []map[string]any{s.ask(t, "DELETE", "/admin/clients/old", "", 200), s.ask(t, "POST", "/admin/clients", create, 201)} {
			if fmt.Sprint(answer["references"]) != want || !strings.HasSuffix(fmt.Sprint(answer["message"]), ": "+words) {
				t.Errorf("%v", answer)
			}
		}
	})
}

// TestRegisterWithoutKey: a database that cannot be registered, for want of a key to seal its
// URI with, gets no tables.
func TestRegisterWithoutKey(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := serveFile(t, ledgerURI, fmt.Sprintf("plugins: {dir: %q}", testenv.BuildPlugins(t)))
		uri := testenv.Database(t)
		answer := s.ask(t, "POST", "/admin/provision", fmt.Sprintf(`{"uri":%q,"register":true,"register_name":"books"}`, uri), 400)
		fields := answer["data"].(map[string]any)["details"].(map[string]any)["fields"].(map[string]any)
		if answer["code"] != "secret_key_required" || !strings.Contains(fmt.Sprint(fields["uri"]), "ATHENA_SECRET_KEY") || len(fields) != 1 {
			t.Errorf("%v", answer)
		}
		nothingIn(t, uri)
	})
}

// TestRouterRegistry: paths are written as OpenAPI writes them.
func TestRouterRegistry(t *testing.T) {
	s := operated(t, "sqlite://"+t.TempDir()+"/ledger.db", "")
	for _, path := range []string{"/", "/router/registry"} {
		_, _, text := s.call(t, "GET", path, "", "")
		if !strings.Contains(text, `"path":"/admin/clients/{client_name}"`) || strings.Contains(text, "/:") {
			t.Errorf("%s: %s", path, text)
		}
	}
}

// TestMisspeltDefault: a default client that is not there is told at the start.
func TestMisspeltDefault(t *testing.T) {
	const says = "gateway.default_client names no client"
	for name, want := range map[string]bool{"lite": false, "lit": true} {
		s := operated(t, "sqlite://"+t.TempDir()+"/ledger.db", "gateway: {default_client: "+name+"}")
		if got := strings.Contains(s.log.String(), says); got != want {
			t.Errorf("%s: told %t", name, got)
		}
	}
}

// TestOutcomeOfAnyWords: what an operator tried is in the audit, whatever words an error repeats.
func TestOutcomeOfAnyWords(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "")
		s.ask(t, "POST", "/admin/plugins/reload", `{"a\u0000b\ud800":1}`, 400)
		if err := s.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if answer := s.ask(t, "GET", "/admin/audit?action=reload_plugins", "", 200); answer["total"] != 1.0 || !strings.Contains(fmt.Sprint(answer["audit"]), "…: unknown field") {
			t.Errorf("%v", answer)
		}
		if dropped := s.ledger.Status().Dropped; dropped != 0 {
			t.Errorf("%d rows were dropped", dropped)
		}
	})
}
