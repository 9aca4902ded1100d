package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// TestWordsThatAreNoNames: what was sent where the name of a client, the id of a key or another
// name is wanted, and has not the form of one, may be a secret: it is in no answer, log or row.
func TestWordsThatAreNoNames(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := newStorefront(t, ledgerURI, func(c *config.Config) { c.Ledger.OperationLog, c.API.HostDomain = true, "db.example" })
		unknown := "ath_0123456789abcdef.C4nary56789012345678901234567890123456789012"
		live := s.newKey(`{"name":"live","rights":["gateway.query.execute","gateway.fetch.execute"]}`)
		bound := s.newKey(`{"name":"bound","client_name":"shop","rights":["gateway.query.execute","gateway.fetch.execute"]}`)
		for _, secret := range []struct{ text, canary string }{
			{"postgres://u:c4nary@h/db", "c4nary"},
			{unknown, "C4nary"},
			{live, live[len(live)-43:]},
			{strings.Repeat("c4nary ", 2000), "c4nary c4nary"},
		} {
			for _, key := range []string{"", live, bound, testAdminKey} {
				for _, r := range []struct{ method, path, client, body string }{
					{"POST", "/gateway/fetch", secret.text, `{"table_name":"orders"}`},
					{"POST", "/gateway/fetch", secret.text, `{"table_name":"orders"`},
					{"POST", "/gateway/insert", secret.text, `{"table_name":"orders","insert_body":{}}`},
					{"POST", "/gateway/sql", "", `{"query":"select 1","db_name":"` + secret.text + `"}`},
					{"POST", "/query/count", "", `{"query":"select 1","db_name":"` + secret.text + `"}`},
				} {
					a := s.ask(r.method, r.path, r.body, "X-Athena-Client", r.client, "apikey", key)
					switch {
					case strings.Contains(a.body, secret.canary):
						t.Errorf("%s %s with %.30q tells: %d %.500s", r.method, r.path, secret.text, a.status, a.body)
					case key == bound && strings.HasSuffix(r.body, "}") && a.code() != "client_not_allowed":
						t.Errorf("%s %s with %.30q and a key of another client: %d %.500s", r.method, r.path, secret.text, a.status, a.body)
					case key == live && r.path == "/gateway/sql" && (a.status != 400 || a.code() != "unknown_client"):
						t.Errorf("%s %s with %.30q: %d %.500s", r.method, r.path, secret.text, a.status, a.body)
					}
				}
			}
			if len(secret.text) > 1000 { // no path is so long
				continue
			}
			word := url.PathEscape(secret.text)
			for _, route := range s.routes {
				if !strings.Contains(route.Path, ":") || strings.HasPrefix(route.Path, "/public/") {
					continue
				}
				path := parameter.ReplaceAllString(route.Path, word)
				for _, body := range []string{"", `{}`, `{"is_frozen":true}`, `{"enforce_api_keys":true}`, `{"name":"x"}`, `{"description":"x"}`, `{"level":"debug"}`} {
					if a := s.admin(route.Method, path, body); a.status < 400 || strings.Contains(a.body, secret.canary) {
						t.Errorf("%s %s %s: %d %s", route.Method, path, body, a.status, a.body)
					}
				}
			}
			for _, path := range []string{"/public/" + word + "/fetch", "/public/x/" + word, "/gateway/" + word, "/" + word} {
				if a := s.ask("POST", path, `{}`, "apikey", live); strings.Contains(a.body, secret.canary) {
					t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
		}
		// Names of members are looked at in the same way.
		for _, route := range s.routes {
			if route.Guard == httpx.Admin && route.Method != "GET" {
				path := parameter.ReplaceAllString(route.Path, "shop")
				if a := s.admin(route.Method, path, `{"postgres://u:c4nary@h/db":1,"`+unknown+`":2}`); strings.Contains(a.body, "4nary") {
					t.Errorf("%s %s: %d %s", route.Method, path, a.status, a.body)
				}
			}
		}
		if a := s.admin("POST", "/admin/plugins/reload", `{"postgres://u:c4nary@h/db":1,"colour":2}`); len(a.fields()) != 2 || a.fields()["…"] != "unknown field" || a.fields()["colour"] != "unknown field" {
			t.Errorf("%d %s", a.status, a.body)
		}
		// An operator is told what he has sent.
		if a := s.admin("DELETE", "/admin/api-keys/"+live, ""); a.status != 400 || a.code() != "invalid_path" || !strings.Contains(a.fields()["id"], "not the key") {
			t.Errorf("%d %s", a.status, a.body)
		}
		// What has the form of a name, or of an id, is logged.
		const id = "01890000-0000-7000-8000-000000000000"
		s.admin("DELETE", "/admin/api-keys/"+id, "")
		s.admin("POST", "/admin/plugins/no-such/restart", "")
		for _, path := range []string{"/admin/plugins/:/restart", "/admin/clients/:/freeze", "/admin/api-key-clients/:", "/admin/public-routes/:", "/admin/registry/:"} {
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				if method == "PUT" && strings.Contains(path, "-clients") {
					continue // which takes any name
				}
				s.admin(method, strings.Replace(path, ":", testAdminKey, 1), "")
			}
		}
		if err := s.keys.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool {
			return strings.Contains(s.admin("GET", "/admin/audit?target=/admin/plugins/no-such/restart", "").body, `"total":1`)
		})
		logged, stored := s.log.String(), s.dump(ledgerURI)
		for _, want := range []string{`what="DELETE /admin/api-keys/` + id + `"`, `what="POST /admin/plugins/no-such/restart"`, `what="POST /admin/plugins/:name/restart"`, `what="DELETE /admin/api-keys/:id"`} {
			if !strings.Contains(logged, want) {
				t.Errorf("the log lacks %s", want)
			}
		}
		for what, text := range map[string]string{"the log": logged, "the ledger": stored, "/metrics": s.ask("GET", "/metrics", "").body} {
			for _, canary := range []string{"c4nary", "C4nary", live[len(live)-43:], testAdminKey} {
				if at := strings.Index(text, canary); at >= 0 {
					t.Errorf("%s tells a secret: ...%s...", what, text[max(0, at-300):min(len(text), at+100)])
				}
			}
		}
	})
}

// TestNameLikeKey: a client that has a name in the form of an API key since before that was
// refused serves, and operators' routes know it. Nobody can make another.
func TestNameLikeKey(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := operated(t, ledgerURI, "ledger: {operation_log: true}")
		const name = "ath_older.name"
		config := fmt.Sprintf(`{"path":%q}`, emptyFile(t))
		create := fmt.Sprintf(`{"client_name":%q,"backend":"sqlite","config":%s}`, name, config)
		if answer := s.ask(t, "POST", "/admin/clients", create, 400); strings.Contains(fmt.Sprint(answer), name) {
			t.Errorf("%v", answer)
		}
		for _, name := range []string{name, "ath_left.name"} {
			stored := sql.NullString{String: config, Valid: name != "ath_left.name"} // that one has left the file
			if err := s.ledger.Change(t.Context(), ledger.Clients, &ledger.Audit{Actor: "test", Action: "test"}, func(ctx context.Context, c *sql.Conn) error {
				_, err := c.ExecContext(ctx, `INSERT INTO athena_clients (id, client_name, backend, config, source, is_active, is_frozen, metadata, created_at, updated_at)
					VALUES ($1, $2, 'sqlite', $3, 'database', $4, $5, '{}', $6, $6)`, uuid.NewString(), name, stored, true, false, time.Now().UTC())
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		serves := func(want int) {
			t.Helper()
			if status, _, text := s.call(t, "POST", "/gateway/query", name, `{"query":"SELECT 1 AS one"}`); status != want {
				t.Errorf("%d %s", status, text)
			}
		}
		until(t, func() bool {
			client, err := s.registry.Client(name)
			return err == nil && client.Status().Available
		})
		serves(200)
		path := "/admin/clients/" + name
		record, err := json.Marshal(s.ask(t, "GET", path, "", 200)["client"])
		if err != nil {
			t.Fatal(err)
		}
		s.ask(t, "PATCH", path, strings.Replace(string(record), `"is_frozen":false`, `"is_frozen":true`, 1), 200)
		serves(503)
		s.ask(t, "PUT", path+"/freeze", `{"is_frozen":false}`, 200)
		serves(200)
		s.ask(t, "GET", path+"/statistics", "", 200)
		s.ask(t, "GET", path+"/statistics/drilldown?table_name=&operation=sql", "", 200)
		s.ask(t, "PUT", "/admin/client-configs/"+name, `{"read_only":true}`, 200)
		s.ask(t, "GET", "/admin/client-configs/"+name, "", 200)
		if answer := s.ask(t, "DELETE", "/admin/client-configs/"+name, "", 200); answer["deleted"] != true {
			t.Errorf("%v", answer)
		}
		s.ask(t, "PUT", "/admin/api-key-clients/"+name, `{"enforce_api_keys":false}`, 200)
		s.ask(t, "DELETE", "/admin/api-key-clients/"+name, "", 200)
		key := s.ask(t, "POST", "/admin/api-keys", fmt.Sprintf(`{"name":"k","client_name":%q}`, name), 201)["record"].(map[string]any)
		s.ask(t, "PATCH", fmt.Sprint("/admin/api-keys/", key["id"]), fmt.Sprintf(`{"client_name":%q,"description":"d"}`, name), 200)
		s.ask(t, "DELETE", path, "", 200)
		s.ask(t, "DELETE", path, "", 404)
		serves(503)
		if answer := s.ask(t, "GET", path, "", 200); answer["client"].(map[string]any)["deleted_at"] == nil {
			t.Errorf("%v", answer)
		}
		s.ask(t, "DELETE", "/admin/client-configs/"+name, "", 200)
		s.ask(t, "GET", "/admin/clients/ath_left.name", "", 200)
		s.ask(t, "DELETE", "/admin/clients/ath_left.name", "", 200)
		s.ask(t, "POST", "/admin/clients", create, 400)
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/admin/clients/:", ""}, {"PATCH", "/admin/clients/:", `{"description":"x"}`}, {"DELETE", "/admin/clients/:", ""},
			{"PUT", "/admin/clients/:/freeze", `{"is_frozen":true}`}, {"GET", "/admin/clients/:/statistics", ""},
			{"GET", "/admin/clients/:/statistics/drilldown?table_name=&operation=sql", ""}, {"DELETE", "/admin/client-configs/:", ""},
			{"PUT", "/admin/api-key-clients/:", `{"enforce_api_keys":true}`}, {"POST", "/admin/api-keys", `{"name":"l","client_name":"ath_s3cret.name"}`},
		} {
			status, _, text := s.call(t, r.method, strings.Replace(r.path, ":", "ath_s3cret.name", 1), "", r.body)
			if status != 404 && status != 400 || strings.Contains(text, "s3cret") {
				t.Errorf("%s %s: %d %s", r.method, r.path, status, text)
			}
		}
		s.ask(t, "POST", "/admin/clients", strings.Replace(create, name, "new", 1), 201)
		tellNothing(t, s, ledgerURI, "s3cret")
	})
}

// dump is all that the ledger holds, as text.
func (s *storefront) dump(uri string) string {
	s.t.Helper()
	l := ledgertest.Open(s.t, uri)
	if err := l.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.ledger.Flush(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for _, table := range []string{"athena_clients", "client_configs", "admin_audit_log", "gateway_operation_log", "api_key_auth_log", "api_keys", "api_key_client_config",
		"public_routes", "api_registry", "client_statistics", "client_table_statistics"} {
		if err := l.Read(s.t.Context(), readAll(table, &text)); err != nil {
			s.t.Fatal(err)
		}
	}
	return text.String()
}

// TestWordsOfDatabases: what a database says of SQL texts and of values, and what its own code raises
// under whatever code, is told to the caller alone.
func TestWordsOfDatabases(t *testing.T) {
	uri := testenv.Database(t, `CREATE TABLE orders (id int PRIMARY KEY, item text UNIQUE, qty int NOT NULL CHECK (qty > 0));
		INSERT INTO orders VALUES (1, 'tea', 1);
		CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.item ~ '^[0-9A-Z]{5}$' THEN RAISE EXCEPTION 'c4nary' USING ERRCODE = NEW.item; END IF; RETURN NEW; END $$;
		CREATE TRIGGER complaint BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION complain()`)
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := newStorefront(t, ledgerURI, func(c *config.Config) {
			c.Ledger.OperationLog = true
			c.Clients = append(c.Clients, postgres(t, "pg", uri))
		})
		s.sql(`CREATE TRIGGER complaint BEFORE INSERT ON orders WHEN NEW.item = 'raise' BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: c4nary.c4nary'); END`)
		insert := func(row string) [2]string {
			return [2]string{"/gateway/insert", `{"table_name":"orders","insert_body":` + row + `}`}
		}
		query := func(text string) [2]string {
			return [2]string{"/gateway/query", `{"query":` + strconv.Quote(text) + `}`}
		}
		const duplicate = "database error unique_violation"
		for _, c := range []struct {
			client  string
			request [2]string
			want    string
		}{
			{"pg", query(`select * from orders where item = "c4nary"`), "database error undefined_column"},
			{"pg", query(`select 'c4nary' frm c4nary c4nary`), "database error syntax_error"},
			{"pg", query(`select * from "c4nary"`), "database error undefined_table"},
			{"pg", query(`select c4nary(1)`), "database error undefined_function"},
			{"pg", query(`select 'c4nary'::int`), "database error invalid_text_representation"},
			{"pg", query(`insert into orders values (1, 'c4nary', 1)`), duplicate},
			{"pg", query(`set "c4nary.x" to 1; set c4nary to 1`), "database error undefined_object"},
			{"pg", insert(`{"id":1,"item":"c4nary","qty":1}`), duplicate + `, constraint "orders_pkey", table "orders"`},
			{"pg", insert(`{"id":2,"item":"c4nary","qty":-1}`), `database error check_violation, constraint "orders_qty_check", table "orders"`},
			{"pg", insert(`{"id":2,"item":"c4nary"}`), `database error not_null_violation, column "qty", table "orders"`},
			{"pg", insert(`{"id":2,"item":"23505","qty":1}`), duplicate},
			{"pg", insert(`{"id":2,"item":"42501","qty":1}`), "database error insufficient_privilege"},
			{"pg", insert(`{"id":2,"item":"42703","qty":1}`), "database error undefined_column"},
			{"pg", insert(`{"id":2,"item":"42P01","qty":1}`), "database error undefined_table"},
			{"pg", insert(`{"id":2,"item":"P0001","qty":1}`), "database error raise_exception"},
			{"pg", insert(`{"id":2,"item":"53000","qty":1}`), "database error insufficient_resources"},
			{"shop", query(`select * from orders where item = c4nary`), "database error undefined_column"},
			{"shop", query(`select 'c4nary' frm c4nary c4nary`), "database error syntax_error"},
			{"shop", query(`c4nary`), "database error syntax_error"},
			{"shop", query(`select * from c4nary`), "database error undefined_table"},
			{"shop", query(`insert into orders(id,secret) values (9, 's1')`), duplicate},
			{"shop", insert(`{"id":1,"item":"c4nary"}`), duplicate + `, column "id", table "orders"`},
			{"shop", insert(`{"id":9,"item":"raise"}`), "database error constraint_violation"},
		} {
			a := s.ask("POST", c.request[0], c.request[1], "X-Athena-Client", c.client)
			if a.status < 400 {
				t.Errorf("%s %s: %d %s", c.client, c.request, a.status, a.body)
			}
			var list struct{ Operations []struct{ Message string } }
			logged := s.admin("GET", "/admin/operations?status=errors&limit=1", "").body
			if err := json.Unmarshal([]byte(logged), &list); err != nil || len(list.Operations) != 1 || list.Operations[0].Message != c.want {
				t.Errorf("%s %s is logged as %s (%v)", c.client, c.request, logged, err)
			}
		}
		if stored := s.dump(ledgerURI); strings.Contains(stored, "c4nary") {
			t.Errorf("the ledger tells: %s", stored)
		}
	})
}

// TestExistence: where API keys are asked for, nobody learns what clients and public routes there are
// but who may use them.
func TestExistence(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := newStorefront(t, ledgerURI, func(c *config.Config) { c.API.HostDomain = "db.example" })
		for key, more := range map[string]string{"usual": ``, "gated": `,"require_key":true`, "off": `,"is_active":false`} {
			s.define(`{"route_key":"` + key + `","client_name":"shop","allowed_ops":["fetch"]` + more + `}`)
		}
		callers := map[string]string{
			"nobody":                 "",
			"a wrong key":            "ath_0123456789abcdef.0123456789012345678901234567890123456789012",
			"some text":              "dummy",
			"a key of another":       s.newKey(`{"name":"other","client_name":"broken","rights":["gateway.fetch.execute","gateway.query.execute"]}`),
			"a key without rights":   s.newKey(`{"name":"bare"}`),
			"a key that is inactive": s.newKey(`{"name":"inactive","is_active":false,"rights":["gateway.fetch.execute"]}`),
		}
		for _, setting := range []string{"/admin/api-key-config", "/admin/api-key-clients/broken"} { // all, then all but one
			if a := s.admin("PUT", setting, `{"enforce_api_keys":`+strconv.FormatBool(setting == "/admin/api-key-config")+`}`); a.status != 200 {
				t.Fatal(a.body)
			}
			for who, key := range callers {
				for _, way := range []struct {
					method, path, body, host, client string // NAME is one of names
					names                            []string
				}{
					{"POST", "/gateway/fetch", `{"table_name":"orders"}`, "", "NAME", []string{"shop", "never"}},
					{"POST", "/gateway/query", `{"query":"select 1"}`, "", "NAME", []string{"shop", "never"}},
					{"GET", "/data?view=orders", ``, "", "NAME", []string{"shop", "never"}},
					{"POST", "/gateway/sql", `{"query":"select 1","db_name":"NAME"}`, "", "", []string{"shop", "never"}},
					{"POST", "/query/count", `{"table_name":"orders","db_name":"NAME"}`, "", "", []string{"shop", "never"}},
					{"POST", "/gateway/fetch", `{"table_name":"orders"}`, "NAME.db.example", "", []string{"usual", "gated", "off", "never"}},
					{"POST", "/gateway/sql", `{"query":"select 1"}`, "NAME.db.example", "", []string{"usual", "gated", "off", "never"}},
					{"POST", "/public/NAME/fetch", `{"table_name":"orders"}`, "", "", []string{"usual", "gated", "off", "never"}},
					{"POST", "/public/NAME/query", `{"query":"select 1"}`, "", "", []string{"usual", "gated", "off", "never"}},
					{"GET", "/schema/clients?client=NAME", ``, "", "", []string{"shop", "never"}},
				} {
					first := reply{}
					for _, name := range way.names {
						with := func(text string) string { return strings.ReplaceAll(text, "NAME", name) }
						headers := []string{"X-Athena-Client", with(way.client), "X-Request-Id", "same", "apikey", key}
						if way.host != "" {
							headers = append(headers, "Host", with(way.host))
						}
						a := s.ask(way.method, with(way.path), with(way.body), headers...)
						for _, changing := range []string{"Date", "Retry-After"} {
							a.header.Del(changing)
						}
						if a.status == 429 { // too many wrong keys, whatever is asked for
							a = reply{status: 401}
						}
						if key == callers["a wrong key"] || key == "dummy" {
							a.header, a.body = nil, "" // the same until it is one too many
						}
						if first.status == 0 {
							first = a
						}
						if a.status < 400 || a.status != first.status || a.body != first.body || !reflect.DeepEqual(a.header, first.header) {
							t.Errorf("%s, %s %s %s of %s: %d %s\nof %s: %d %s", who, way.method, way.path, way.body, name, a.status, a.body, way.names[0], first.status, first.body)
						}
					}
				}
				for _, path := range []string{"/", "/metrics", "/health", "/health/cluster", "/ready", "/router/registry"} {
					a := s.ask("GET", path, "", "apikey", key)
					for _, name := range []string{"shop", "broken", "usual", "gated"} {
						if strings.Contains(a.body, `"`+name+`"`) && !(who == "a key without rights") {
							t.Errorf("%s: %s names %s: %s", who, path, name, a.body)
						}
					}
				}
			}
		}
	})
}
