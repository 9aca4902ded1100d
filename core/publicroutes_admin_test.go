package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

// audited returns the actions of the audit log with the members that were there before and
// after.
func (s *storefront) audited(prefix string) []string {
	s.t.Helper()
	var lines []string
	err := s.ledger.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, "SELECT action, target, actor, before, after FROM admin_audit_log ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var action, target, actor string
			var before, after *string
			if err := rows.Scan(&action, &target, &actor, &before, &after); err != nil {
				return err
			}
			if !strings.HasPrefix(action, prefix) {
				continue
			}
			if !strings.Contains(actor, "127.0.0.1") || strings.Contains(actor, testAdminKey) {
				s.t.Errorf("the actor is %q", actor)
			}
			line := action
			for _, document := range []*string{before, after} {
				described := "-"
				if document != nil {
					var route struct {
						Description *string
						URL         *string
					}
					if err := json.Unmarshal([]byte(*document), &route); err != nil {
						return err
					}
					if described = "null"; route.Description != nil {
						described = *route.Description
					}
				}
				line += " " + described
			}
			lines = append(lines, line)
		}
		return rows.Err()
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return lines
}

// TestPublicRoutesAdmin are the operators' routes and what they refuse.
func TestPublicRoutesAdmin(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		const base = `"route_key":"r","client_name":"shop"`
		for _, c := range []struct {
			body  string
			field string
			says  string
		}{
			{`{}`, "route_key", "want 1 to 63"},
			{`{}`, "client_name", "name of a client"},
			{`{` + base + `}`, "allowed_ops", "at least one"},
			{`{"route_key":"R","client_name":"shop","operation":"fetch"}`, "route_key", "lower case"},
			{`{"route_key":"-r","client_name":"shop","operation":"fetch"}`, "route_key", "lower case"},
			{`{"route_key":"a.b","client_name":"shop","operation":"fetch"}`, "route_key", "lower case"},
			{`{"route_key":"` + strings.Repeat("a", 64) + `","client_name":"shop","operation":"fetch"}`, "route_key", "1 to 63"},
			{`{"route_key":7,"client_name":"shop","operation":"fetch"}`, "route_key", "want 1 to 63"},
			{`{"route_key":"r","client_name":"shpo","operation":"fetch"}`, "client_name", `did you mean "shop"?`},
			{`{` + base + `,"operation":"fetsh"}`, "operation", `did you mean "fetch"?`},
			{`{` + base + `,"allowed_ops":["fetch","upsert"]}`, "allowed_ops", `no operation "upsert"`},
			{`{` + base + `,"allowed_ops":["fetch","fetch"]}`, "allowed_ops", "twice"},
			{`{` + base + `,"allowed_ops":[]}`, "allowed_ops", "at least one"},
			{`{` + base + `,"allowed_ops":"fetch"}`, "allowed_ops", "list"},
			{`{` + base + `,"allowed_ops":["fetch","insert"],"operation":"fetch"}`, "operation", "something else"},
			{`{` + base + `,"operation":"fetch","table_name":"a.b.c"}`, "table_name", "schema.name"},
			{`{` + base + `,"operation":"fetch","table_name":""}`, "table_name", "want"},
			{`{` + base + `,"operation":"fetch","columns":["id"]}`, "columns", "no table_name"},
			{`{` + base + `,"operation":"fetch","filter":[{"eq_column":"id","eq_value":1}]}`, "filter", "no table_name"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"id,id"}`, "columns", "twice"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"id,*"}`, "columns", "beside other columns"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"*"}`, "columns", "leave columns out"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":[]}`, "columns", "leave columns out"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"n:id"}`, "columns", "own names"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"customers(name)"}`, "columns", "relations alone"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":"id,customers(n:name)"}`, "columns", "own names"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","columns":{"id":true}}`, "columns", "columns must be"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","filter":[]}`, "filter", "leave filter out"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","filter":{"id":1}}`, "filter", "array of conditions"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","filter":[{"operator":"foo","column":"id","value":1}]}`, "filter", "not an operator"},
			{`{` + base + `,"operation":"fetch","table_name":"orders","filter":[{"eq_column":"a","eq_value":"\u0000"}]}`, "filter", "cannot be stored"},
			{`{` + base + `,"operation":"insert","table_name":"orders","filter":[{"operator":"gt","column":"qty","value":1}]}`, "filter", "insert"},
			{`{` + base + `,"operation":"insert","table_name":"orders","filter":[{"operator":"or","value":"a.eq.1,b.eq.2"}]}`, "filter", "insert"},
			{`{` + base + `,"operation":"insert","table_name":"orders","filter":[{"operator":"eq","column":"a","value":[1,2]}]}`, "filter", "insert"},
			{`{` + base + `,"operation":"insert","table_name":"orders","filter":[{"operator":"eq","column":"a","value":1},{"operator":"eq","column":"A","value":2}]}`, "filter", "insert"},
			{`{` + base + `,"operation":"insert","table_name":"orders","filter":[{"operator":"eq","column":"a","value":1,"column_cast":"text"}]}`, "filter", "insert"},
			{`{` + base + `,"operation":"query","table_name":"orders"}`, "query", "go around the table"},
			{`{` + base + `,"operation":"query","require_key":false}`, "require_key", "pin a query"},
			{`{` + base + `,"operation":"query","query":" ; "}`, "query", "want SQL"},
			{`{` + base + `,"operation":"fetch","query":"select 1"}`, "query", "does not have query"},
			{`{` + base + `,"operation":"fetch","rate_limit":{}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":{"requests_per_second":0}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":{"requests_per_second":1.5}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":{"requests_per_second":-1}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":{"requests_per_second":1,"requests_per_minute":1}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":{"requests_per_hour":1}}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","rate_limit":5}`, "rate_limit", "requests_per_second"},
			{`{` + base + `,"operation":"fetch","require_key":"yes"}`, "require_key", "true, false or null"},
			{`{` + base + `,"operation":"fetch","is_active":true,"active":false}`, "active", "is_active says something else"},
			{`{` + base + `,"operation":"fetch","is_active":null}`, "is_active", "true or false"},
			{`{` + base + `,"operation":"fetch","metadata":[]}`, "metadata", "object"},
			{`{` + base + `,"operation":"fetch","description":"a\u0007b"}`, "description", "text"},
			{`{` + base + `,"operation":"fetch","descripton":"x"}`, "descripton", `did you mean "description"?`},
			{`{` + base + `,"operation":"fetch","id":"x"}`, "id", "unknown field"},
		} {
			a := s.admin("POST", "/admin/public-routes", c.body)
			if a.status != 400 || a.code() != "invalid_body" || !strings.Contains(a.fields()[c.field], c.says) {
				t.Errorf("%s: %d %s\nwant %s: %s", c.body, a.status, a.body, c.field, c.says)
			}
		}
		if a := s.admin("POST", "/admin/public-routes", `[]`); a.status != 400 || a.code() != "invalid_json" {
			t.Errorf("%d %s", a.status, a.body)
		}

		// A whole life.
		a := s.admin("POST", "/admin/public-routes", `{"route_key":"life","client_name":"shop","table_name":"orders","operation":"fetch","columns":["id","item"],"description":"one",
			"filter":[{"eq_column":"tenant","eq_value":5}],"rate_limit":{"requests_per_second":50},"metadata":{"team":"a"}}`)
		if a.status != 201 || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		type route struct {
			ID          string   `json:"id"`
			Key         string   `json:"route_key"`
			Client      string   `json:"client_name"`
			Table       *string  `json:"table_name"`
			Ops         []string `json:"allowed_ops"`
			Operation   *string  `json:"operation"`
			Columns     any      `json:"columns"`
			Filter      any      `json:"filter"`
			Query       *string  `json:"query"`
			RateLimit   any      `json:"rate_limit"`
			RequireKey  *bool    `json:"require_key"`
			Description *string  `json:"description"`
			Active      bool     `json:"is_active"`
			Metadata    any      `json:"metadata"`
			Created     string   `json:"created_at"`
			Updated     string   `json:"updated_at"`
		}
		read := func(a reply) (top, data route) {
			t.Helper()
			var envelope struct {
				Status string
				Route  route
				Data   struct{ Route route }
			}
			if err := json.Unmarshal([]byte(a.body), &envelope); err != nil || envelope.Status != "success" {
				t.Fatalf("%v: %d %s", err, a.status, a.body)
			}
			return envelope.Route, envelope.Data.Route
		}
		created, inData := read(a)
		if d := cmp.Diff(created, inData); d != "" || created.ID == "" || created.Created == "" || created.Created != created.Updated {
			t.Errorf("%s %+v", d, created)
		}
		got, _ := read(s.admin("GET", "/admin/public-routes/life", ""))
		if d := cmp.Diff(created, got); d != "" {
			t.Error(d)
		}
		fetch, orders, one := "fetch", "orders", "one"
		want := route{ID: got.ID, Key: "life", Client: "shop", Table: &orders, Ops: []string{"fetch"}, Operation: &fetch, Columns: []any{"id", "item"},
			Filter: []any{map[string]any{"eq_column": "tenant", "eq_value": 5.0}}, RateLimit: map[string]any{"requests_per_second": 50.0}, Description: &one, Active: true,
			Metadata: map[string]any{"team": "a"}, Created: got.Created, Updated: got.Updated}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if a := s.admin("POST", "/admin/public-routes", `{"route_key":"life","client_name":"shop","operation":"fetch"}`); a.status != 409 || a.code() != "already_exists" {
			t.Errorf("%d %s", a.status, a.body)
		}
		// Columns and filter hang on the table.
		if a := s.admin("PATCH", "/admin/public-routes/life", `{"table_name":null}`); a.status != 400 || a.fields()["columns"] == "" || a.fields()["filter"] == "" {
			t.Errorf("%d %s", a.status, a.body)
		}
		for body, field := range map[string]string{`{"route_key":"other"}`: "route_key", `{"client_name":null}`: "client_name", `{"client_name":"nobody"}`: "client_name",
			`{"allowed_ops":[]}`: "allowed_ops", `{"columns":"id,id"}`: "columns", `{"x":1}`: "x"} {
			if a := s.admin("PATCH", "/admin/public-routes/life", body); a.status != 400 || a.fields()[field] == "" {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if after, _ := read(s.admin("GET", "/admin/public-routes/life", "")); cmp.Diff(got, after) != "" {
			t.Errorf("refused changes did something: %s", cmp.Diff(got, after))
		}
		changed, _ := read(s.admin("PATCH", "/admin/public-routes/life", `{"route_key":"life","allowed_ops":["fetch","update"],"columns":null,"filter":null,"rate_limit":null,"description":"two","require_key":true,"metadata":null,"client_name":"broken","is_active":false}`))
		yes, two := true, "two"
		want = route{ID: got.ID, Key: "life", Client: "broken", Table: &orders, Ops: []string{"fetch", "update"}, RequireKey: &yes, Description: &two, Metadata: map[string]any{},
			Created: got.Created, Updated: changed.Updated}
		if d := cmp.Diff(want, changed); d != "" || changed.Updated == got.Updated {
			t.Error(d, changed.Updated)
		}
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			for _, key := range []string{"never", "LIFE", "%00", "life%20"} {
				if a := s.admin(method, "/admin/public-routes/"+key, ""); a.status != 404 {
					t.Errorf("%s %s: %d %s", method, key, a.status, a.body)
				}
			}
		}
		if a := s.admin("DELETE", "/admin/public-routes/life", `{"x":1}`); a.status != 400 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.admin("DELETE", "/admin/public-routes/life", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			if a := s.admin(method, "/admin/public-routes/life", ""); a.status != 404 || a.code() != "unknown_public_route" {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
		}
		// The key may be used again.
		again, _ := read(s.admin("POST", "/admin/public-routes", `{"route_key":"life","client_name":"shop","allowed_ops":["fetch"],"table_name":"orders","description":"again"}`))
		if again.ID == got.ID || again.RequireKey != nil {
			t.Errorf("%+v", again)
		}
		if d := cmp.Diff([]string{"public_route.create - one", "public_route.update one two", "public_route.delete two -", "public_route.create - again"}, s.audited("public_route.")); d != "" {
			t.Error(d)
		}

		// Pages.
		for i := range 5 {
			s.define(fmt.Sprintf(`{"route_key":"page%d","client_name":"shop","operation":"fetch"}`, i))
		}
		for query, want := range map[string]string{"": "6:life page0 page1 page2 page3 page4 100 0", "?limit=2": "6:life page0 2 0", "?limit=2&offset=5": "6:page4 2 5", "?offset=9": "6: 100 9"} {
			var list struct {
				Routes        []route
				Limit, Offset int
				Total         int
			}
			a := s.admin("GET", "/admin/public-routes"+query, "")
			if err := json.Unmarshal(a.data(), &list); err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, r := range list.Routes {
				keys = append(keys, r.Key)
			}
			if got := fmt.Sprintf("%d:%s %d %d", list.Total, strings.Join(keys, " "), list.Limit, list.Offset); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		for _, query := range []string{"?limit=0", "?limit=501", "?limit=x", "?offset=-1"} {
			if a := s.admin("GET", "/admin/public-routes"+query, ""); a.status != 400 || len(a.fields()) != 1 {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			}
		}
		if log := s.log.String(); strings.Contains(log, testAdminKey) || !strings.Contains(log, "POST /admin/public-routes") {
			t.Errorf("the log: %s", log)
		}
	})
}

// TestPublicRoutesOfTwoGateways: what one gateway changes the other serves.
func TestPublicRoutesOfTwoGateways(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		a, b := newStorefront(t, uri, nil), newStorefront(t, uri, nil)
		a.define(`{"route_key":"shared","client_name":"shop","table_name":"orders","operation":"fetch"}`)
		until(t, func() bool { return b.ask("POST", "/public/shared/fetch", `{}`).status == 200 })
		if got := b.admin("PATCH", "/admin/public-routes/shared", `{"is_active":false}`); got.status != 200 {
			t.Fatal(got.body)
		}
		if got := b.ask("POST", "/public/shared/fetch", `{}`); got.status != 404 {
			t.Errorf("%d %s", got.status, got.body)
		}
		until(t, func() bool { return a.ask("POST", "/public/shared/fetch", `{}`).status == 404 })
	})
}

// TestRegistry is the catalogue of APIs, for programs and for operators.
func TestRegistry(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		if a := s.ask("GET", "/registry", ""); a.status != 200 || a.body != "[]" {
			t.Errorf("%d %s", a.status, a.body)
		}
		for body, field := range map[string]string{`{}`: "name", `{"name":""}`: "name", `{"name":"a\nb"}`: "name", `{"name":"x","url":"ftp://x"}`: "url", `{"name":"x","url":"http://user:secret@x/"}`: "url",
			`{"name":"x","url":"//x"}`: "url", `{"name":"x","url":"x"}`: "url", `{"name":"x","version":1}`: "version", `{"name":"x","metadata":[1]}`: "metadata", `{"name":"x","descriptio":"y"}`: "descriptio"} {
			if a := s.admin("POST", "/admin/registry", body); a.status != 400 || a.fields()[field] == "" || strings.Contains(a.body, "secret") {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		type entry struct {
			ID, Name                  string
			Description, URL, Version *string
			Metadata                  map[string]any
			CreatedAt                 string `json:"created_at"`
			UpdatedAt                 string `json:"updated_at"`
		}
		one := func(a reply, status int) entry {
			t.Helper()
			var data struct{ Entry entry }
			if err := json.Unmarshal(a.data(), &data); err != nil || a.status != status {
				t.Fatalf("%v: %d %s", err, a.status, a.body)
			}
			return data.Entry
		}
		orders := one(s.admin("POST", "/admin/registry", `{"name":"orders","description":"one","url":"https://api.example/orders","version":"2.1","metadata":{"owner":"a"}}`), 201)
		gateway := one(s.admin("POST", "/admin/registry", `{"name":"gateway","url":"/gateway/fetch"}`), 201)
		if orders.CreatedAt == "" || *orders.URL != "https://api.example/orders" || orders.Metadata["owner"] != "a" || gateway.Description != nil || gateway.Metadata == nil {
			t.Errorf("%+v %+v", orders, gateway)
		}
		array := func(path string) []entry {
			t.Helper()
			var entries []entry
			a := s.ask("GET", path, "")
			if err := json.Unmarshal([]byte(a.body), &entries); err != nil || a.status != 200 {
				t.Fatalf("%v: %d %s", err, a.status, a.body)
			}
			return entries
		}
		if d := cmp.Diff([]entry{gateway, orders}, array("/registry")); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]entry{orders}, array("/registry/"+strings.ToUpper(orders.ID))); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(orders, one(s.admin("GET", "/admin/registry/"+orders.ID, ""), 200)); d != "" {
			t.Error(d)
		}
		changed := one(s.admin("PATCH", "/admin/registry/"+orders.ID, `{"description":"two","url":null}`), 200)
		if *changed.Description != "two" || changed.URL != nil || changed.Name != "orders" || *changed.Version != "2.1" || changed.UpdatedAt == orders.UpdatedAt {
			t.Errorf("%+v", changed)
		}
		if d := cmp.Diff([]entry{gateway, changed}, array("/registry")); d != "" {
			t.Error(d)
		}
		if a := s.admin("PATCH", "/admin/registry/"+orders.ID, `{"name":null}`); a.status != 400 {
			t.Errorf("%d %s", a.status, a.body)
		}
		var list struct {
			Entries              []entry
			Limit, Offset, Total int
		}
		if err := json.Unmarshal(s.admin("GET", "/admin/registry?limit=1&offset=1", "").data(), &list); err != nil || len(list.Entries) != 1 || list.Entries[0].Name != "orders" || list.Total != 2 || list.Limit != 1 || list.Offset != 1 {
			t.Errorf("%v %+v", err, list)
		}
		if a := s.admin("DELETE", "/admin/registry/"+orders.ID, ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if d := cmp.Diff([]entry{gateway}, array("/registry")); d != "" {
			t.Error(d)
		}
		for _, id := range []string{orders.ID, "x", "01890000-0000-7000-8000-000000000000", "%00"} {
			if a := s.ask("GET", "/registry/"+id, ""); a.status != 404 {
				t.Errorf("%s: %d %s", id, a.status, a.body)
			}
			for _, method := range []string{"GET", "PATCH", "DELETE"} {
				if a := s.admin(method, "/admin/registry/"+id, ""); a.status != 404 {
					t.Errorf("%s %s: %d %s", method, id, a.status, a.body)
				}
			}
		}
		if d := cmp.Diff([]string{"registry.create - one", "registry.create - null", "registry.update one two", "registry.delete two -"}, s.audited("registry.")); d != "" {
			t.Error(d)
		}
	})
}
