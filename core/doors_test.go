package core

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/internal/testenv"
)

// rawBodies are bodies as no encoder writes them.
var rawBodies = []string{
	`{"columns":"id,name","conditions":[{"eq_column":"id","eq_value":1}],"columns":"*"}`, `{"table_name":"mine","table_name":"hidden","columns":"*"}`,
	`{"columns":["id","n\u0061me"],"conditions":[{"operator":"eq","column":"na\u006de","value":"\u0061"}]}`, `{"conditions":[{"eq_column":"name","eq_value":"\ud800"}]}`, `{"conditions":[{"eq_column":"name","eq_value":"a\u0000b"}]}`,
	`{"conditions":[{"eq_column":"qty","eq_value":1e400}]}`, `{"conditions":[{"eq_column":"qty","eq_value":123456789012345678901234567890}]}`, `{"limit":1e1,"offset":-0}`, `{"limit":9223372036854775808}`,
	`{"columns":"id,customers(*)"}`, `{"columns":"*,whole(*),hidden(*)"}`, `{"columns":"id,name::text,x:qty::int"}`, `{"columns":"count(*)"}`, `{"columns":"id)--"}`, `{"columns":"id\"; DROP TABLE hidden; --"}`,
	`{"conditions":[{"operator":"or","value":"id.eq.1,and(tenant.neq.5,secret.like.*)"}]}`, `{"conditions":[{"operator":"eq","column":"secret","value":"x"}]}`, `{"conditions":[{"operator":"eq); DROP TABLE hidden; --","column":"id","value":1}]}`,
	`{"sort_by":{"field":"id; DROP TABLE hidden","direction":"asc"}}`, `{"sort_by":{"field":"id","direction":"asc, (SELECT 1)"}}`, `{"sort_by":{"field":"secret","direction":"desc"},"limit":1}`, `{"resource_id":"1 OR 1=1"}`, `{"resource_id":{"a":1}}`,
	`{"insert_body":{"id":20,"name":"x"}}`, `{"insert_body":[{"id":20},{"id":21,"tenant":6}]}`, `{"insert_body":{"id":20,"id":21,"name":"x'); DROP TABLE hidden; --"}}`, `{"insert_body":{"id":3,"name":"x"},"on_conflict":"id","update_body":{"name":"y"}}`,
	`{"insert_body":{"id":20,"na\u006de":"\"}"},"columns":"secret"}`, `{"insert_body":{"id":1e2,"name":null,"":1}}`, `{"insert_body":{"id\"":20}}`, `{"insert_body":[]}`, `{"insert_body":{"id":20,"name":{"a":[1,"b"]}}}`,
	`{"update_body":{"qty":2},"conditions":[{"operator":"gt","column":"id","value":0}]}`, `{"update_body":{"qty":2,"tenant":6},"resource_id":1}`, `{"update_body":{"id":30},"resource_id":1}`, `{"update_body":{"qty":"qty + 1"},"resource_id":1}`,
	`{"conditions":[{"operator":"not","value":"id.is.null"}]}`, `{"conditions":[{"operator":"in","column":"id","value":[1,2,"3) OR (1=1"]}]}`, `{"conditions":[{"operator":"is","column":"name","value":"null; DROP TABLE hidden"}]}`,
	`{"conditions":[{"column":"mine.qty","operator":"gt","value":"x' OR '1'='1"}],"count":"estimated","head":true}`, `{"schema_name":"pg_catalog","table_name":"pg_authid"}`, `{"table_name":"sqlite_schema"}`, `{"query":"select * from hidden"}`, `{"count":"exact","head":true}`, `{"count":"estimated"}`, `[]`, `{"a":`, "\xff", `{"group_by":"id","columns":"id"}`, `{"strip_nulls":true}`, "",
}

// addBodies adds them to a fuzz target with each operation, and what a random asker sends.
func addBodies(f *testing.F) {
	for i, body := range rawBodies {
		for op := range uint8(4) {
			if int(op) == i%4 || op > 0 && strings.Contains(body, []string{"", "insert_body", "update_body", "resource_id"}[op]) {
				f.Add(op, []byte(body))
			}
		}
	}
	r := &asker{rand.New(rand.NewPCG(3, 4))}
	for range 20 {
		name, body := r.request()
		text, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		for op, listed := range doorOperations {
			if listed == name {
				f.Add(uint8(op), text)
			}
		}
	}
}

var doorOperations = []string{"fetch", "insert", "update", "delete"}

// repeats reports whether an object of a body has two members of one name.
func repeats(body []byte) bool {
	if !json.Valid(body) {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	var value func() bool
	value = func() bool {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		names := map[any]bool{}
		for open := token; (open == json.Delim('{') || open == json.Delim('[')) && decoder.More(); {
			if open == json.Delim('{') {
				name, err := decoder.Token()
				if err != nil || names[name] {
					return err == nil
				}
				names[name] = true
			}
			if value() {
				return true
			}
		}
		if token == json.Delim('{') || token == json.Delim('[') {
			_, _ = decoder.Token() // its end
		}
		return false
	}
	return value()
}

// onBoth are storefronts with the client shop on SQLite and on PostgreSQL.
func onBoth(t testing.TB) map[string]*storefront {
	client, err := json.Marshal(map[string]string{"uri": testenv.Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	shops := map[string]*storefront{
		"sqlite": newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), nil),
		"postgres": newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), func(c *config.Config) {
			c.Clients = []config.Client{{Name: "shop", Backend: "postgres", Config: client}}
		}),
	}
	for _, s := range shops {
		s.sql(twinSchema)
		s.define(`{"route_key":"mine","client_name":"shop","table_name":"whole","allowed_ops":["fetch","insert","update","delete"],"columns":"id,name,qty",
			"filter":[{"eq_column":"tenant","eq_value":5},{"operator":"is","column":"open","value":true}]}`)
		s.define(`{"route_key":"twin","client_name":"shop","table_name":"twin","allowed_ops":["fetch","insert","update","delete"]}`)
	}
	return shops
}

// schemaOf is the query for the schema and the rows of the tables that nobody is to change.
func schemaOf(database string) string {
	if database == "sqlite" {
		return `SELECT (SELECT group_concat(sql, ';') FROM sqlite_schema) AS s, (SELECT group_concat(id || what, ';') FROM hidden) AS h, (SELECT group_concat(id || name || phone, ';') FROM customers) AS c`
	}
	return `SELECT (SELECT string_agg(c.relname || a.attname || a.atttypid, ',' ORDER BY c.oid, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace) AS s,
		(SELECT string_agg(id || what, ';' ORDER BY id) FROM hidden) AS h, (SELECT string_agg(id || name || phone, ';' ORDER BY id) FROM customers) AS c`
}

const refill = `DELETE FROM whole; DELETE FROM twin; INSERT INTO whole VALUES (1, 5, 'a', 1, true, 'uns33n-1', 'c'), (2, 5, 'b', 2, true, 'uns33n-2', 'c'), (3, 6, 'uns33n', 3, true, 'uns33n-3', 'c'),
	(4, 5, 'uns33n', 4, false, 'uns33n-4', 'c'), (5, 5, 'c', null, true, 'uns33n-5', 'c'), (6, 7, 'uns33n', 1, false, 'uns33n-6', 'c'); INSERT INTO twin ` + part

// FuzzInjectionRoutes sends whatever for a body to a public route and to its twin, whose table
// has what the route shows and nothing else. What a route answers is what its twin does, it
// changes nothing else, and it tells nothing else.
func FuzzInjectionRoutes(f *testing.F) {
	addBodies(f)
	shops := onBoth(f)
	filled := map[string]bool{}
	f.Fuzz(func(t *testing.T, op uint8, body []byte) {
		operation := doorOperations[op%4]
		for database, s := range shops {
			s.t = t
			if !filled[database] {
				s.sql(refill)
			}
			filled[database] = false
			schema, others := s.sql(schemaOf(database)), s.sql(rest)
			a := s.ask("POST", "/public/mine/"+operation, string(body))
			b := s.ask("POST", "/public/twin/"+operation, strings.ReplaceAll(string(body), "mine", "twin"))
			if a.status >= 500 || !json.Valid([]byte(a.body)) {
				t.Fatalf("%s: %s %s: %d %s", database, operation, body, a.status, a.body)
			}
			if strings.Contains(a.body, "uns33n") && !bytes.Contains(body, []byte("uns33n")) {
				t.Fatalf("%s: %s %s: tells what the route does not show: %s", database, operation, body, a.body)
			}
			if after := s.sql(schemaOf(database)); after != schema {
				t.Fatalf("%s: %s %s changes\n%s\n%s", database, operation, body, schema, after)
			}
			if after := s.sql(rest); after != others {
				t.Fatalf("%s: %s %s changes rows that are not the route's:\n%s\n%s", database, operation, body, others, after)
			}
			if a.status != 200 || operation == "insert" && (bytes.Contains(body, []byte("update_body")) || bytes.Contains(body, []byte("on_conflict"))) || repeats(body) {
				// A route may refuse what its twin does not, and steps aside for rows that the twin does
				// not have. Which of two members of one name counts is the database's own affair.
				continue
			}
			filter := bytes.Contains(body, []byte("tenant")) || bytes.Contains(body, []byte("open")) || bytes.Contains(body, []byte(`\u`)) // which the twin does not know
			if b.status != 200 {
				if !filter {
					t.Fatalf("%s: %s %s: %s\ntwin: %d %s", database, operation, body, a.body, b.status, b.body)
				}
				continue
			}
			if ordered := bytes.Contains(body, []byte("sort_by")); a.body != b.body && !sameRows(a, b) && (ordered || !bytes.Contains(body, []byte("limit")) && !bytes.Contains(body, []byte("offset"))) {
				t.Fatalf("%s: %s %s:\n%s\ntwin:\n%s", database, operation, body, a.body, b.body)
			}
			whole, twin := s.sql(part), s.sql("SELECT id, name, qty FROM twin ORDER BY id")
			if whole != twin {
				t.Fatalf("%s: %s %s leaves\n%s\ntwin:\n%s", database, operation, body, whole, twin)
			}
			filled[database] = operation == "fetch"
		}
	})
}

// FuzzInjectionGateway sends whatever for a body to the gateway's own routes: a reading changes
// nothing, a writing no schema and no table that it does not name, and none is an internal error.
func FuzzInjectionGateway(f *testing.F) {
	addBodies(f)
	for _, body := range rawBodies {
		if rest, object := strings.CutPrefix(body, "{"); object {
			for op := range uint8(4) {
				if op == 0 && !strings.Contains(body, "_body") || op > 0 && strings.Contains(body, []string{"", "insert_body", "update_body", "resource_id"}[op]) {
					f.Add(op, []byte(`{"table_name":"whole",`+rest))
				}
			}
		}
	}
	shops := onBoth(f)
	f.Fuzz(func(t *testing.T, op uint8, body []byte) {
		operation := doorOperations[op%4]
		for database, s := range shops {
			s.t = t
			s.sql(refill)
			const rows = "SELECT * FROM whole ORDER BY id"
			schema, before := s.sql(schemaOf(database)), s.sql(rows)
			for _, path := range map[string][]string{"fetch": {"/gateway/fetch", "/gateway/data", "/query/count"}, "insert": {"/gateway/insert"}, "update": {"/gateway/update"}, "delete": {"/gateway/delete"}}[operation] {
				if path == "/query/count" && bytes.Contains(body, []byte(`query`)) {
					continue // that is SQL of the caller's own
				}
				if a := s.ask("POST", path, string(body), "X-Athena-Client", "shop"); a.status >= 500 || !json.Valid([]byte(a.body)) {
					t.Fatalf("%s: %s %s: %d %s", database, path, body, a.status, a.body)
				}
			}
			named := bytes.ToLower(body)
			other := bytes.Contains(named, []byte(`\`)) || bytes.Contains(named, []byte("hidden")) || bytes.Contains(named, []byte("customers"))
			if after := s.sql(schemaOf(database)); after != schema && (operation == "fetch" || !other) {
				t.Fatalf("%s: %s %s changes\n%s\n%s", database, operation, body, schema, after)
			} else if after != schema {
				s.sql("DELETE FROM orders; DELETE FROM customers; DELETE FROM hidden; INSERT INTO customers VALUES (1, 'Ada', '555-1'), (2, 'Bob', '555-2'); INSERT INTO hidden VALUES (1, 'nobody sees this')")
			}
			if after := s.sql(rows); operation == "fetch" && after != before {
				t.Fatalf("%s: %s changes rows:\n%s\n%s", database, body, before, after)
			}
		}
	})
}
