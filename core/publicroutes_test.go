package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const testAdminKey = "0123456789abcdef-admin"

// storefront is a gateway with the client shop, an SQLite file with the tables of shopSchema.
type storefront struct {
	*server
	t testing.TB
}

const shopSchema = `
	CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT);
	CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL DEFAULT 7, customer_id INTEGER REFERENCES customers(id), item TEXT, qty INTEGER, secret TEXT, deleted BOOLEAN);
	CREATE UNIQUE INDEX orders_secret ON orders (secret);
	CREATE TABLE hidden (id INTEGER PRIMARY KEY, what TEXT);
	INSERT INTO customers VALUES (1, 'Ada', '555-1'), (2, 'Bob', '555-2');
	INSERT INTO orders VALUES (1, 5, 1, 'tea', 3, 's1', false), (2, 5, 2, 'milk', 1, 's2', true), (3, 6, 1, 'tea', 9, 's3', false), (4, 5, 1, 'jam', 2, 's4', false);
	INSERT INTO hidden VALUES (1, 'nobody sees this')`

// newStorefront starts a gateway on a ledger.
func newStorefront(t testing.TB, uri string, more func(*config.Config)) *storefront {
	t.Helper()
	s := emptyStorefront(t, uri, more)
	s.sql(shopSchema)
	return s
}

// emptyStorefront is newStorefront without the tables.
func emptyStorefront(t testing.TB, uri string, more func(*config.Config)) *storefront {
	t.Helper()
	client, err := json.Marshal(map[string]any{"path": filepath.Join(t.TempDir(), "shop.db"), "sample": true})
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Config{API: config.API{Host: "127.0.0.1", AdminKey: testAdminKey}, Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Ledger:  config.Ledger{URI: uri},
		Clients: []config.Client{{Name: "shop", Backend: "sqlite", Config: client}, {Name: "broken", Backend: "sqlite", Problem: "it is not configured"}},
		Gateway: config.Gateway{ResilienceTimeout: 20 * time.Second}}
	if more != nil {
		more(c)
	}
	return &storefront{serve(t, c), t}
}

// sql executes SQL on the client shop and returns the rows.
func (s *storefront) sql(text string) string {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.ask("POST", "/gateway/query", string(body), "X-Athena-Client", "shop")
	if a.status != 200 {
		s.t.Fatalf("%s: %d %s", text, a.status, a.body)
	}
	return string(a.data())
}

// sqlAsAdmin is sql where keys are asked for.
func (s *storefront) sqlAsAdmin(text string) string {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"query": text})
	if err != nil {
		s.t.Fatal(err)
	}
	a := s.ask("POST", "/gateway/query", string(body), "X-Athena-Client", "shop", "X-Athena-Key", testAdminKey)
	if a.status != 200 {
		s.t.Fatalf("%s: %d %s", text, a.status, a.body)
	}
	return string(a.data())
}

func (s *storefront) ask(method, path, body string, headers ...string) reply {
	s.t.Helper()
	return s.request(s.t, method, path, body, headers...)
}

func (s *storefront) admin(method, path, body string) reply {
	s.t.Helper()
	return s.ask(method, path, body, "X-Athena-Key", testAdminKey)
}

// define creates a public route.
func (s *storefront) define(body string) {
	s.t.Helper()
	if a := s.admin("POST", "/admin/public-routes", body); a.status != 201 {
		s.t.Fatalf("%s: %d %s", body, a.status, a.body)
	}
}

// nullable is NULL for the JSON null.
func nullable(document string) any {
	if document == "null" {
		return nil
	}
	return document
}

// eachStorefront runs f on both kinds of ledger.
func eachStorefront(t *testing.T, f func(t *testing.T, s *storefront)) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) { f(t, newStorefront(t, uri, nil)) })
}

// TestPublicRoutes are requests of callers and what they get.
func TestPublicRoutes(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		for _, route := range []string{
			`{"route_key":"orders","client_name":"shop","table_name":"orders","allowed_ops":["fetch","insert","update","delete"],
				"columns":["id","item","qty","customer_id","customers(name)"],"filter":[{"operator":"eq","column":"tenant","value":5},{"operator":"is","column":"deleted","value":"false"}]}`,
			`{"route_key":"read","client_name":"shop","table_name":"orders","operation":"fetch"}`,
			`{"route_key":"notes","client_name":"shop","table_name":"orders","allowed_ops":["insert"],"columns":"item,qty"}`,
			`{"route_key":"stock","client_name":"shop","table_name":"orders","allowed_ops":["insert","update"],"columns":"id,item,qty"}`,
			`{"route_key":"any","client_name":"shop","allowed_ops":["fetch","query"]}`,
			`{"route_key":"report","client_name":"shop","table_name":"customers","allowed_ops":["query"],"query":"SELECT item, qty FROM orders WHERE tenant = 5 AND qty >= $1 ORDER BY id;"}`,
			`{"route_key":"late","client_name":"shop","table_name":"orders","operation":"fetch","is_active":false}`,
			`{"route_key":"wrong","client_name":"shop","table_name":"nothing","operation":"fetch"}`,
			`{"route_key":"dead","client_name":"broken","table_name":"orders","operation":"fetch"}`,
		} {
			s.define(route)
		}
		for _, c := range []struct {
			path, body string
			status     int
			want       string // the data, or the code of an error
		}{
			// What is not there.
			{"/public/nobody/fetch", `{}`, 404, "unknown_public_route"},
			{"/public/late/fetch", `{}`, 404, "unknown_public_route"},
			{"/public/Orders/fetch", `{}`, 404, "unknown_public_route"},
			{"/public/late/nothing", `{}`, 404, "unknown_public_route"},
			{"/public/read/insert", `{"insert_body":{"item":"x"}}`, 403, "operation_not_allowed"},
			{"/public/read/count", `{}`, 403, "operation_not_allowed"},
			{"/public/read/query", `{"query":"select * from hidden"}`, 403, "operation_not_allowed"},
			// Reading.
			{"/public/orders/fetch", `{}`, 200, `[{"id":1,"item":"tea","qty":3,"customer_id":1,"customers":{"name":"Ada"}},{"id":4,"item":"jam","qty":2,"customer_id":1,"customers":{"name":"Ada"}}]`},
			{"/public/orders/fetch", `{"columns":"*"}`, 200, `[{"id":1,"item":"tea","qty":3,"customer_id":1,"customers":{"name":"Ada"}},{"id":4,"item":"jam","qty":2,"customer_id":1,"customers":{"name":"Ada"}}]`},
			{"/public/orders/fetch", `{"columns":"*,n:qty"}`, 200, `[{"id":1,"item":"tea","qty":3,"customer_id":1,"n":3},{"id":4,"item":"jam","qty":2,"customer_id":1,"n":2}]`},
			{"/public/orders/fetch", `{"columns":"who:customers(*),id","limit":1}`, 200, `[{"who":{"name":"Ada"},"id":1}]`},
			{"/public/orders/fetch", `{"table_name":"hidden","columns":["id"],"sort_by":{"field":"qty"}}`, 200, `[{"id":4},{"id":1}]`},
			{"/public/orders/fetch", `{"table_name":"my","columns":"my.id,my.item","conditions":[{"eq_column":"my.id","eq_value":"1"}]}`, 200, `[{"id":1,"item":"tea"}]`},
			{"/public/read/fetch", `{"columns":"id,secret","limit":1,"sort_by":{"field":"secret","direction":"desc"}}`, 200, `[{"id":4,"secret":"s4"}]`},
			{"/public/any/fetch", `{"table_name":"hidden"}`, 200, `[{"id":1,"what":"nobody sees this"}]`},
			{"/public/any/query", `{"query":"select 1 as one"}`, 200, `[{"one":1}]`},
			{"/public/report/query", `{"params":[2]}`, 200, `[{"item":"tea","qty":3},{"item":"jam","qty":2}]`},
			{"/public/report/query", `{"query":"select * from hidden","schema_name":"x","params":["3"]}`, 200, `[{"item":"tea","qty":3}]`},
			{"/public/report/query", ``, 400, "empty_body"},
			// Beyond the columns.
			{"/public/orders/fetch", `{"columns":"id,secret"}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"columns":"id,nothing"}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"columns":"id,x:secret"}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"columns":"SECRET"}`, 403, "column_not_allowed"},
			{"/public/read/fetch", `{"columns":"orders.id"}`, 400, "undefined_column"}, // its name is nobody's business
			{"/public/orders/fetch", `{"columns":"customers(phone)"}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"columns":"customer_id(phone)"}`, 403, "relation_not_allowed"},
			{"/public/orders/fetch", `{"columns":"customers!customer_id(name)"}`, 403, "relation_not_allowed"},
			{"/public/orders/fetch", `{"columns":"customers(name,orders(secret))"}`, 403, "relation_not_allowed"},
			{"/public/read/fetch", `{"columns":"id,customers(name)"}`, 403, "relation_not_allowed"},
			{"/public/orders/fetch", `{"sort_by":{"field":"secret"}}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"conditions":[{"operator":"like","column":"secret","value":"s1%"}]}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"conditions":[{"operator":"or","value":"id.eq.1,and(qty.gt.0,not(secret.eq.s1))"}]}`, 403, "column_not_allowed"},
			{"/public/orders/fetch", `{"conditions":[{"operator":"not","value":"tenant.eq.6"}],"head":true}`, 403, "column_not_allowed"},
			// Beyond the rows.
			{"/public/orders/fetch", `{"columns":"id","conditions":[{"operator":"or","value":"id.gt.0,id.is.null"}]}`, 200, `[{"id":1},{"id":4}]`},
			{"/public/orders/fetch", `{"columns":"id","conditions":[{"eq_column":"id","eq_value":3}]}`, 200, `[]`},
			{"/public/orders/fetch", `{"columns":"id","resource_id":3,"limit":100}`, 200, `[{"id":1},{"id":4}]`},
			{"/public/orders/fetch", `{"count":"estimated","head":true}`, 200, `[]`},
			{"/public/orders/delete", `{}`, 400, "missing_conditions"},
			{"/public/orders/delete", `{"resource_id":"3","columns":"id"}`, 200, `[]`},
			{"/public/orders/delete", `{"conditions":[{"operator":"or","value":"id.eq.2,id.eq.3"}],"columns":"id"}`, 200, `[]`},
			{"/public/orders/update", `{"conditions":[{"operator":"gt","column":"id","value":0}],"update_body":{"qty":10},"columns":"id,qty"}`, 200, `[{"id":1,"qty":10},{"id":4,"qty":10}]`},
			{"/public/orders/update", `{"resource_id":3,"update_body":{"qty":10},"columns":"id,qty"}`, 200, `[]`},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"qty":3,"tenant":5}}`, 200, `[]`},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"tenant":6}}`, 403, "row_not_allowed"},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"tenant":5}}`, 400, "missing_update_body"},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"tenant":5,"TENANT":6,"qty":1}}`, 403, "row_not_allowed"},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"tenant":5,"tenant":6,"qty":1}}`, 403, "row_not_allowed"},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"deleted":true}}`, 403, "row_not_allowed"},
			{"/public/orders/update", `{"resource_id":1,"update_body":{"secret":"x"}}`, 403, "column_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":10,"item":"bread"},"columns":"id,item"}`, 200, `{"id":10,"item":"bread"}`},
			{"/public/orders/insert", `{"insert_body":[{"id":11,"tenant":"5"},{"item":"nuts","id":12,"deleted":false}],"columns":"id","default_to_null":true}`, 200, `[{"id":11},{"id":12}]`},
			{"/public/orders/insert", `{"insert_body":{"id":15,"customer_id":2}}`, 200, `{"id":15,"item":null,"qty":null,"customer_id":2,"customers":{"name":"Bob"}}`},
			{"/public/orders/delete", `{"resource_id":15}`, 200, `[]`},
			{"/public/orders/insert", `{"insert_body":[{"id":13},{"id":14,"tenant":6}]}`, 403, "row_not_allowed"},
			{"/public/orders/insert", `{"insert_body":[{"id":13,"Tenant":6}]}`, 403, "row_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":13,"tenant":5,"tenant":6}}`, 403, "row_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":13,"secret":"x"}}`, 403, "column_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":13,"nothing":"x"}}`, 403, "column_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":13},"columns":"secret"}`, 403, "column_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":3,"qty":0},"on_conflict":"id"}`, 403, "upsert_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":3},"update_body":{"qty":0}}`, 403, "upsert_not_allowed"},
			{"/public/orders/insert", `{"insert_body":{"id":3,"qty":0},"on_conflict":"id","update_body":{}}`, 200, `null`},
			{"/public/orders/insert", `{"insert_body":{"id":3}}`, 409, "unique_violation"},
			{"/public/notes/insert", `{"insert_body":{"item":"x","qty":1},"on_conflict":"item"}`, 403, "upsert_not_allowed"},
			{"/public/notes/insert", `{"insert_body":{"item":"x","qty":1}}`, 200, `{"item":"x","qty":1}`},
			{"/public/stock/insert", `{"insert_body":{"id":12,"qty":5},"on_conflict":"id","columns":"id,qty"}`, 200, `{"id":12,"qty":5}`},
			{"/public/stock/insert", `{"insert_body":{"id":12,"qty":5},"on_conflict":"secret"}`, 403, "column_not_allowed"},
			{"/public/stock/insert", `{"insert_body":{"id":12,"qty":5},"on_conflict":"id","update_body":{"secret":"x"}}`, 403, "column_not_allowed"},
			// What is behind fails.
			{"/public/wrong/fetch", `{}`, 503, "route_unavailable"},
			{"/public/dead/fetch", `{}`, 503, "route_unavailable"},
			{"/public/read/fetch", `{"columns":"nothing"}`, 400, "undefined_column"},
			{"/public/any/query", `{"query":"select nothing"}`, 400, "syntax_error"},
			{"/public/any/fetch", `{"table_name":"nothing"}`, 404, "undefined_table"},
			{"/public/orders/fetch", `{"limit":-1}`, 400, "invalid_limit"},
			{"/public/orders/fetch", `{`, 400, "invalid_json"},
		} {
			a := s.ask("POST", c.path, c.body, "X-Athena-Client", "broken")
			got := a.code()
			if a.status == 200 {
				got = string(a.data())
			}
			if a.status != c.status || got != c.want {
				t.Errorf("%s %s: %d %s\nwant %d %s", c.path, c.body, a.status, a.body, c.status, c.want)
			}
			// No error tells what is behind, beyond the caller's own words.
			if a.status != 200 {
				for _, private := range []string{"shop", "orders", "tenant", "hidden", "secret", "nothing", "sqlite", "not configured", "deleted"} {
					said := strings.ReplaceAll(strings.ToLower(a.body), `"operation":"public"`, "")
					if strings.Contains(said, private) && !strings.Contains(strings.ToLower(c.body), private) {
						t.Errorf("%s %s tells of %q: %s", c.path, c.body, private, a.body)
					}
				}
			}
		}
		want := `[{"id":1,"tenant":5,"qty":3,"secret":"s1"},{"id":2,"tenant":5,"qty":1,"secret":"s2"},{"id":3,"tenant":6,"qty":9,"secret":"s3"},{"id":4,"tenant":5,"qty":10,"secret":"s4"},` +
			`{"id":10,"tenant":5,"qty":null,"secret":null},{"id":11,"tenant":5,"qty":null,"secret":null},{"id":12,"tenant":5,"qty":5,"secret":null},{"id":13,"tenant":7,"qty":1,"secret":null}]`
		if d := cmp.Diff(want, s.sql("SELECT id, tenant, qty, secret FROM orders ORDER BY id")); d != "" {
			t.Error(d)
		}
		if a := s.ask("POST", "/public/orders/fetch", `{"count":"exact","head":true}`); !strings.Contains(a.body, `"count":5}`) {
			t.Errorf("the count: %s", a.body)
		}
		// What operators say of the client is none of the callers' business.
		for _, c := range []struct {
			method, path, body string
			public             string
			status             int
			code               string
		}{
			{"PUT", "/admin/client-configs/shop", `{"read_only":true}`, "/public/stock/update", 403, "client_read_only"},
			{"PUT", "/admin/client-configs/shop", `{"sql_enabled":false}`, "/public/report/query", 403, "sql_disabled"},
			{"PUT", "/admin/clients/shop/freeze", `{"is_frozen":true}`, "/public/orders/fetch", 503, "route_unavailable"},
			{"DELETE", "/admin/clients/shop", "", "/public/orders/fetch", 503, "route_unavailable"},
		} {
			if a := s.admin(c.method, c.path, c.body); a.status != 200 {
				t.Fatalf("%s %s: %d %s", c.method, c.path, a.status, a.body)
			}
			a := s.ask("POST", c.public, `{"resource_id":1,"update_body":{"qty":1}}`)
			if a.status != c.status || a.code() != c.code || strings.Contains(a.body, "shop") || strings.Contains(a.body, "operator") {
				t.Errorf("%s %s: %d %s", c.path, c.public, a.status, a.body)
			}
		}
		if a := s.admin("POST", "/admin/public-routes", `{"route_key":"late2","client_name":"shop","operation":"fetch"}`); a.status != 400 {
			t.Errorf("a route to a client that was deleted: %d %s", a.status, a.body)
		}
	})
}

// TestPublicRouteAddresses: whatever is said about a route that is not there is said about
// each in the same words, and only operators list them.
func TestPublicRouteAddresses(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		s.define(`{"route_key":"gone","client_name":"shop","table_name":"orders","operation":"fetch"}`)
		s.define(`{"route_key":"off","client_name":"shop","table_name":"orders","operation":"fetch","active":false}`)
		s.define(`{"route_key":"door1","client_name":"shop","table_name":"orders","operation":"fetch"}`)
		if a := s.ask("POST", "/public/gone/fetch", `{}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := s.admin("DELETE", "/admin/public-routes/gone", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		first := ""
		for _, key := range []string{"gone", "off", "never", "DOOR1", "door1%00", "..", "%2e%2e", "door1%2ffetch", strings.Repeat("a", 300), "%ff", "'--"} {
			for _, op := range []string{"fetch", "insert", "query", "nothing"} {
				a := s.ask("POST", "/public/"+key+"/"+op, `{"table_name":"orders"}`, "X-Request-Id", "same")
				if a.status != 404 {
					t.Errorf("%s/%s: %d %s", key, op, a.status, a.body)
				}
				if a.code() == "route_not_found" { // no address of a public route at all
					continue
				}
				if first == "" {
					first = a.body
				}
				if a.body != first {
					t.Errorf("%s/%s: %s, others %s", key, op, a.body, first)
				}
			}
		}
		for _, c := range [][2]string{{"GET", "/public"}, {"GET", "/public/door1"}, {"GET", "/public/door1/fetch"}, {"POST", "/public"}, {"POST", "/public/door1"}, {"OPTIONS", "/public/door1/fetch"}} {
			if a := s.ask(c[0], c[1], `{}`); a.status != 404 && a.status != 405 {
				t.Errorf("%s %s: %d %s", c[0], c[1], a.status, a.body)
			}
		}
		for _, path := range []string{"/admin/public-routes", "/admin/public-routes/door1"} {
			if a := s.ask("GET", path, ""); a.status != 401 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"/", "/health", "/router/registry", "/registry"} {
			if a := s.ask("GET", path, ""); a.status != 200 || strings.Contains(a.body, "door1") {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}

// TestPublicRouteRates: a route takes so many requests, then says when the next may come.
func TestPublicRouteRates(t *testing.T) {
	s := newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), nil)
	s.define(`{"route_key":"slow","client_name":"shop","table_name":"orders","operation":"fetch","rate_limit":{"requests_per_minute":1,"burst":3}}`)
	s.define(`{"route_key":"free","client_name":"shop","table_name":"orders","operation":"fetch"}`)
	taken := func() (n int) {
		for range 5 {
			a := s.ask("POST", "/public/slow/fetch", `{"columns":"id"}`)
			switch {
			case a.status == 200:
				n++
			case a.status != 429 || a.code() != "rate_limited" || a.header.Get("Retry-After") == "" || a.header.Get("Retry-After") == "1":
				t.Errorf("%d %s %s", a.status, a.header, a.body)
			}
		}
		return n
	}
	if n := taken(); n != 3 {
		t.Errorf("%d requests were taken, want 3", n)
	}
	for range 20 {
		if a := s.ask("POST", "/public/free/fetch", `{"columns":"id"}`); a.status != 200 {
			t.Errorf("another route: %d %s", a.status, a.body)
		}
	}
	// Another change leaves the count alone; another limit begins anew.
	if a := s.admin("PATCH", "/admin/public-routes/slow", `{"description":"x"}`); a.status != 200 {
		t.Fatal(a.body)
	}
	if n := taken(); n != 0 {
		t.Errorf("%d requests were taken after a change of the description, want none", n)
	}
	if a := s.admin("PATCH", "/admin/public-routes/slow", `{"rate_limit":{"requests_per_minute":1,"burst":2}}`); a.status != 200 {
		t.Fatal(a.body)
	}
	if n := taken(); n != 2 {
		t.Errorf("%d requests were taken under another limit, want 2", n)
	}
	if a := s.admin("PATCH", "/admin/public-routes/slow", `{"rate_limit":null}`); a.status != 200 {
		t.Fatal(a.body)
	}
	if n := taken(); n != 5 {
		t.Errorf("%d requests were taken without a limit, want all", n)
	}
}

// TestHostRouting: a host name chooses the client of a public route, unless the request names
// one itself.
func TestHostRouting(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := newStorefront(t, uri, func(c *config.Config) { c.API.HostDomain = "db.example" })
		s.define(`{"route_key":"my-shop","client_name":"shop","allowed_ops":["fetch"],"table_name":"hidden"}`)
		s.define(`{"route_key":"bad","client_name":"broken","allowed_ops":["fetch"]}`)
		s.define(`{"route_key":"off","client_name":"shop","allowed_ops":["fetch"],"is_active":false}`)
		for _, c := range []struct {
			host, client string
			status       int
			code         string
		}{
			{"my-shop.db.example", "", 200, ""},
			{"MY-Shop.DB.Example:8080", "", 200, ""},
			{"my-shop.db.example.", "", 200, ""},
			{"bad.db.example", "", 503, "client_unavailable"},
			{"bad.db.example", "shop", 200, ""},
			{"my-shop.db.example", "broken", 503, "client_unavailable"},
			{"my-shop.db.example", "nobody", 400, "unknown_client"},
			{"off.db.example", "", 404, "unknown_public_route"},
			{"never.db.example", "", 404, "unknown_public_route"},
			{"shop.db.example", "", 404, "unknown_public_route"},
			{"never.db.example", "shop", 200, ""},
			{"a.my-shop.db.example", "", 403, "host_not_allowed"},
			{"db.example", "", 403, "host_not_allowed"},
			{"my-shop.db.example.evil.example", "", 403, "host_not_allowed"},
			{"my-shop.other.example", "shop", 403, "host_not_allowed"},
			{"127.0.0.1", "", 400, "missing_client_header"},
		} {
			for _, path := range []string{"/gateway/fetch", "/db/gateway/fetch"} {
				a := s.ask("POST", path, `{"table_name":"orders","columns":"id"}`, "Host", c.host, "X-Athena-Client", c.client)
				if a.status != c.status || a.code() != c.code {
					t.Errorf("%s %s %q: %d %s", c.host, path, c.client, a.status, a.body)
				}
			}
		}
		// The other operations, and a database that the body names.
		for _, c := range [][2]string{{"/gateway/query", `{"query":"select 1 as one"}`}, {"/query/count", `{"table_name":"orders"}`}, {"/gateway/insert", `{"table_name":"hidden","insert_body":{"id":9}}`},
			{"/gateway/update", `{"table_name":"hidden","resource_id":9,"update_body":{"what":"x"}}`}, {"/gateway/delete", `{"table_name":"hidden","resource_id":9}`},
			{"/query/sql", `{"query":"select 1 as one"}`}} {
			if a := s.ask("POST", c[0], c[1], "Host", "my-shop.db.example"); a.status != 200 {
				t.Errorf("%s: %d %s", c[0], a.status, a.body)
			}
		}
		if a := s.ask("POST", "/query/sql", `{"query":"select 1","db_name":"broken"}`, "Host", "my-shop.db.example"); a.code() != "client_unavailable" {
			t.Errorf("%d %s", a.status, a.body)
		}
		// A public route is the same by any name.
		if a := s.ask("POST", "/public/my-shop/fetch", `{}`, "Host", "bad.db.example"); a.status != 200 || string(a.data()) != `[{"id":1,"what":"nobody sees this"}]` {
			t.Errorf("%d %s", a.status, a.body)
		}
		// What changes, changes at once.
		if a := s.admin("PATCH", "/admin/public-routes/my-shop", `{"client_name":"broken"}`); a.status != 200 {
			t.Fatal(a.body)
		}
		if a := s.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "Host", "my-shop.db.example"); a.code() != "client_unavailable" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.admin("DELETE", "/admin/public-routes/my-shop", ""); a.status != 200 {
			t.Fatal(a.body)
		}
		for _, path := range []string{"/gateway/fetch", "/gateway/query", "/query/sql", "/query/count"} {
			if a := s.ask("POST", path, `{"table_name":"orders","query":"select 1"}`, "Host", "my-shop.db.example"); a.status != 404 || a.code() != "unknown_public_route" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for _, path := range []string{"/query/sql", "/query/count"} {
			if a := s.ask("POST", path, `{"query":"select 1 as one","db_name":"shop"}`, "Host", "my-shop.db.example"); a.status != 200 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
	// A name that leads nowhere does not lead to the default client.
	d := newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "default.db"), func(c *config.Config) {
		c.API.HostDomain, c.Gateway.DefaultClient = "db.example", "shop"
	})
	for host, status := range map[string]int{"never.db.example": 404, "127.0.0.1": 200} {
		if a := d.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "Host", host); a.status != status {
			t.Errorf("%s: %d %s", host, a.status, a.body)
		}
	}
	// Without the operator's word host names mean nothing.
	s := newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), nil)
	s.define(`{"route_key":"my-shop","client_name":"shop","allowed_ops":["fetch"]}`)
	if a := s.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "Host", "my-shop.db.example"); a.code() != "host_not_allowed" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestPublicRoutesOfTheLedger: what somebody wrote into the ledger by hand is used if it makes
// sense, and left out if not.
func TestPublicRoutesOfTheLedger(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		now := time.Now().UTC()
		direct := ledgertest.Open(t, uri)
		for i, route := range [][3]string{
			{"good", `["fetch"]`, `null`}, {"ops", `["fetch","dance"]`, `null`}, {"shape", `{"fetch":true}`, `null`}, {"rate", `["fetch"]`, `{"requests_per_second":"x"}`}} {
			err := direct.Change(context.Background(), ledger.Routes, &ledger.Audit{}, func(ctx context.Context, c *sql.Conn) error {
				_, err := c.ExecContext(ctx, `INSERT INTO public_routes (id, route_key, client_name, table_name, allowed_ops, rate_limit, active, metadata, created_at, updated_at)
					VALUES ($1, $2, 'shop', 'orders', $3, $4, true, '{}', $5, $5)`, fmt.Sprintf("01890000-0000-7000-8000-%012d", i), route[0], route[1], nullable(route[2]), now)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		s := newStorefront(t, uri, nil)
		for key, status := range map[string]int{"good": 200, "ops": 404, "shape": 404, "rate": 404} {
			if a := s.ask("POST", "/public/"+key+"/fetch", `{"columns":"id"}`); a.status != status {
				t.Errorf("%s: %d %s", key, a.status, a.body)
			}
		}
		// A correction takes effect; what is still wrong is told.
		if a := s.admin("PATCH", "/admin/public-routes/rate", `{"description":"x"}`); a.status != 400 || a.fields()["rate_limit"] == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		for key, body := range map[string]string{"ops": `{"operation":"fetch"}`, "shape": `{"allowed_ops":["fetch"]}`, "rate": `{"rate_limit":null}`} {
			if a := s.admin("PATCH", "/admin/public-routes/"+key, body); a.status != 200 {
				t.Errorf("%s: %d %s", key, a.status, a.body)
			}
			if a := s.ask("POST", "/public/"+key+"/fetch", `{"columns":"id"}`); a.status != 200 {
				t.Errorf("%s: %d %s", key, a.status, a.body)
			}
		}
	})
}

// TestPublicRoutesWithoutLedger: before the routes are known none is used, nor is a host name
// taken for nothing.
func TestPublicRoutesWithoutLedger(t *testing.T) {
	s := emptyStorefront(t, "postgres://127.0.0.1:1/nothing", func(c *config.Config) {
		c.API.HostDomain, c.Gateway.DefaultClient = "db.example", "shop"
	})
	s.lossy = true
	for _, c := range [][]string{
		{"POST", "/public/any/fetch", "{}"},
		{"POST", "/gateway/fetch", `{"table_name":"users"}`, "Host", "my-shop.db.example"},
		{"GET", "/registry", ""},
		{"GET", "/registry/x", ""},
		{"GET", "/admin/public-routes", "", "X-Athena-Key", testAdminKey},
		{"GET", "/admin/registry", "", "X-Athena-Key", testAdminKey},
		{"POST", "/admin/registry", `{"name":"x"}`, "X-Athena-Key", testAdminKey},
	} {
		a := s.ask(c[0], c[1], c[2], c[3:]...)
		if a.status != 503 || a.code() != "ledger_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%v: %d %s", c, a.status, a.body)
		}
	}
}

// TestPublicRoutesAndComputedColumns: a route that shows all columns of its table does not call
// functions of the database; one that names such a column shows it.
func TestPublicRoutesAndComputedColumns(t *testing.T) {
	uri := testenv.Database(t, `CREATE TABLE people (id int PRIMARY KEY, name text);
		CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES people, name text);
		CREATE FUNCTION shout(people) RETURNS text LANGUAGE sql STABLE AS $$ SELECT upper($1.name) $$;
		CREATE FUNCTION visible(people) RETURNS bool LANGUAGE sql STABLE AS $$ SELECT $1.id < 3 $$;
		INSERT INTO people VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Cleo');
		INSERT INTO pets VALUES (1, 1, 'Rex')`)
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := newStorefront(t, ledgerURI, func(c *config.Config) { c.Clients = append(c.Clients, postgres(t, "pg", uri)) })
		for _, route := range []string{
			`{"route_key":"all","client_name":"pg","table_name":"people","allowed_ops":["fetch","insert","update","delete"]}`,
			`{"route_key":"some","client_name":"pg","table_name":"people","operation":"fetch","columns":["id","shout"],"filter":[{"eq_column":"visible","eq_value":true}]}`,
			`{"route_key":"held","client_name":"pg","table_name":"people","operation":"fetch","filter":[{"eq_column":"visible","eq_value":true}]}`,
			`{"route_key":"related","client_name":"pg","table_name":"pets","operation":"fetch","columns":["id","people(*)"]}`,
			`{"route_key":"any","client_name":"pg","operation":"fetch"}`,
		} {
			s.define(route)
		}
		for _, c := range []struct {
			path, body string
			status     int
			want       string // the rows, or the code
		}{
			{"all/fetch", `{"sort_by":{"field":"id"},"limit":1}`, 200, `[{"id":1,"name":"Ada"}]`},
			{"all/fetch", `{"columns":"id,name","conditions":[{"eq_column":"name","eq_value":"Ada"}]}`, 200, `[{"id":1,"name":"Ada"}]`},
			{"all/fetch", `{"columns":"id,shout"}`, 400, "undefined_column"},
			{"all/fetch", `{"columns":"id,loud:shout"}`, 400, "undefined_column"},
			{"all/fetch", `{"columns":"id","conditions":[{"eq_column":"shout","eq_value":"ADA"}]}`, 400, "undefined_column"},
			{"all/fetch", `{"columns":"id","conditions":[{"operator":"or","value":"id.eq.1,not.and(id.eq.2,shout.eq.ADA)"}]}`, 400, "undefined_column"},
			{"all/fetch", `{"columns":"id","sort_by":{"field":"shout"}}`, 400, "undefined_column"},
			{"all/insert", `{"insert_body":{"id":9,"name":"x"},"columns":"id,shout"}`, 400, "undefined_column"},
			{"all/update", `{"update_body":{"name":"y"},"conditions":[{"eq_column":"shout","eq_value":"ADA"}]}`, 400, "undefined_column"},
			{"all/delete", `{"conditions":[{"eq_column":"shout","eq_value":"ADA"}]}`, 400, "undefined_column"},
			{"some/fetch", `{"sort_by":{"field":"shout"}}`, 200, `[{"id":1,"shout":"ADA"},{"id":2,"shout":"BOB"}]`},
			{"some/fetch", `{"columns":"id","conditions":[{"eq_column":"shout","eq_value":"BOB"}]}`, 200, `[{"id":2}]`},
			{"some/fetch", `{"columns":"visible"}`, 403, "column_not_allowed"},
			{"held/fetch", `{"columns":"id","sort_by":{"field":"id"}}`, 200, `[{"id":1},{"id":2}]`},
			{"held/fetch", `{"columns":"visible"}`, 400, "undefined_column"},
			{"related/fetch", `{}`, 200, `[{"id":1,"people":{"id":1,"name":"Ada"}}]`},
			{"related/fetch", `{"columns":"people(shout)"}`, 400, "undefined_column"},
			{"any/fetch", `{"table_name":"people","columns":"shout","limit":1,"sort_by":{"field":"id"}}`, 200, `[{"shout":"ADA"}]`},
		} {
			a := s.ask("POST", "/public/"+c.path, c.body)
			got := a.code()
			if a.status == 200 {
				got = string(a.data())
			}
			if a.status != c.status || got != c.want {
				t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
			}
		}
	})
}

// TestPublicRoutesLogged: what comes through a route is recorded as the route's client's, with
// what really happened.
func TestPublicRoutesLogged(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := newStorefront(t, uri, func(c *config.Config) { c.Ledger.OperationLog = true })
		s.define(`{"route_key":"mine","client_name":"shop","table_name":"orders","columns":"id,qty","allowed_ops":["fetch","update"],"rate_limit":{"requests_per_minute":1,"burst":5}}`)
		for i, c := range []struct {
			path, body string
			want       string // operation, client, table, status, message; "": no row
		}{
			{"/public/mine/fetch", `{"table_name":"lies"}`, "fetch shop orders 200 "},
			{"/public/mine/fetch", `{"columns":"secret"}`, `fetch shop  403 this route has no column "secret"`},
			{"/public/mine/fetch", `{`, "fetch shop  400 the request body is not valid JSON: it ends too early, at byte 1"},
			{"/public/mine/update", `{"resource_id":1,"update_body":{"qty":"x"}}`, "update shop orders 200 "},
			{"/public/mine/fetch", `{"limit":1}`, "fetch shop orders 200 "},
			{"/public/mine/update", `{"resource_id":1,"update_body":{"qty":"x"}}`, "update shop  429 this route gets too many requests"},
			{"/public/mine/delete", `{"resource_id":1}`, "delete shop  403 this route does not offer that operation"},
			{"/public/mine/dance", `{}`, ""},
			{"/public/nobodys/fetch", `{}`, ""},
		} {
			id := fmt.Sprintf("logged-%d", i)
			s.ask("POST", c.path, c.body, "X-Athena-Client", "broken", "X-Request-Id", id)
			var log struct {
				Operations []struct {
					Operation, Door, Method, Path string
					Client                        *string `json:"client_name"`
					Table                         *string `json:"table_name"`
					Status                        int     `json:"status_code"`
					Message                       *string
				}
			}
			if err := s.ledger.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(s.admin("GET", "/admin/operations?request_id="+id, "").data(), &log); err != nil {
				t.Fatal(err)
			}
			text := func(s *string) string {
				if s == nil {
					return ""
				}
				return *s
			}
			got := ""
			for _, o := range log.Operations {
				got += fmt.Sprintf("%s %s %s %d %s", o.Operation, text(o.Client), text(o.Table), o.Status, text(o.Message))
				if o.Door != "public" || o.Method != "POST" || o.Path != c.path {
					t.Errorf("%s: %+v", c.path, o)
				}
			}
			if got != c.want {
				t.Errorf("%s %s: %q, want %q", c.path, c.body, got, c.want)
			}
		}
	})
}

// TestPublicRoutesAtOnce: requests that meet a change see the route as it was or as it is.
func TestPublicRoutesAtOnce(t *testing.T) {
	s := newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), nil)
	s.define(`{"route_key":"at-once","client_name":"shop","table_name":"orders","columns":"id","operation":"fetch","filter":[{"eq_column":"tenant","eq_value":5}]}`)
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 6 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := s.ask("POST", "/public/at-once/fetch", `{"conditions":[{"operator":"gt","column":"id","value":0}]}`)
				if got := string(a.data()); got != `[{"id":1},{"id":2},{"id":4}]` && got != `[{"id":3}]` {
					t.Errorf("%d %s", a.status, a.body)
					return
				}
			}
		})
	}
	for i := range 20 {
		if a := s.admin("PATCH", "/admin/public-routes/at-once", fmt.Sprintf(`{"filter":[{"eq_column":"tenant","eq_value":%d}]}`, 5+i%2)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	close(stop)
	asking.Wait()
}
