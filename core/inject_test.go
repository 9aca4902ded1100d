package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http/httpguts"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// hostile are texts that end a literal, a name, a comment or a line somewhere.
var hostile = []string{"plain", `'; DROP TABLE api_keys; --`, `"; DELETE FROM athena_clients; --`, `x' OR '1'='1`, `x" OR "1"="1`, "$1", "?1", `\'`, `\\`, "/*", "*/", "--", "a%", "_", "%00", "名é", `{"a":1}`, `[1,"b"]`, "null",
	"9223372036854775808", "-1", "1e9", "kept.kept", "a\tb", "<b>", "a/b", "..", strings.Repeat("n", 300), `a,b\tc`, `\N`, `\.`, "\u2028", "𝒳",
	"\x00", "\xff", `\u0000`, `\ud800`, `\\u0000`, "1e400", `1e999999999`, "123456789012345678901234567890"}

// control is a gateway of which everything that is named kept is to stay as it is.
type control struct {
	*storefront
	uri    string
	client string // a file for clients to be made of
}

// newControl starts it.
func newControl(t testing.TB, uri string) *control {
	c := &control{newStorefront(t, uri, func(c *config.Config) { c.Ledger.OperationLog = true }), uri, filepath.Join(t.TempDir(), "client.db")}
	for _, made := range [][2]string{
		{"/admin/clients", fmt.Sprintf(`{"client_name":"kept","backend":"sqlite","config":{"path":%q}}`, filepath.Join(t.TempDir(), "kept.db"))},
		{"/admin/api-keys", `{"name":"kept","rights":["gateway.fetch.execute"]}`},
		{"/admin/api-key-rights", `{"name":"public.kept.execute"}`},
		{"/admin/public-routes", `{"route_key":"kept","client_name":"shop","table_name":"orders","operation":"fetch"}`},
		{"/admin/registry", `{"name":"kept"}`},
	} {
		if a := c.admin("POST", made[0], made[1]); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", made[0], a.status, a.body)
		}
	}
	for _, set := range [][2]string{{"/admin/client-configs/kept", `{"read_only":true}`}, {"/admin/api-key-clients/kept", `{"enforce_api_keys":true}`}} {
		if a := c.admin("PUT", set[0], set[1]); a.status/100 != 2 {
			t.Fatalf("%s: %d %s", set[0], a.status, a.body)
		}
	}
	return c
}

// state is the ledger's schema and the rows that are kept. When a key was last used, and by
// whom, is not a part of it.
func (c *control) state(t testing.TB) string {
	t.Helper()
	schema := "SELECT type || name || coalesce(sql, '') AS s FROM sqlite_schema ORDER BY type, name"
	if strings.HasPrefix(c.uri, "postgres") {
		schema = "SELECT c.relname || '.' || a.attname || ' ' || a.atttypid || a.attnotnull AS s FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped ORDER BY 1"
	}
	var text strings.Builder
	for _, query := range []string{schema,
		"SELECT client_name, backend, config, pg_uri, is_active, is_frozen, deleted_at FROM athena_clients WHERE client_name IN ('kept', 'shop') ORDER BY client_name",
		"SELECT client_name, config FROM client_configs WHERE client_name IN ('kept', 'shop') ORDER BY client_name",
		"SELECT name, public_id, key_hash, is_active, expires_at, deleted_at FROM api_keys WHERE name = 'kept'",
		"SELECT name FROM api_key_rights WHERE name LIKE 'gateway.%' OR name = 'public.kept.execute' ORDER BY name",
		"SELECT count(*) FROM api_key_right_grants",
		"SELECT enforce_api_keys FROM api_key_config",
		"SELECT client_name, enforce_api_keys FROM api_key_client_config ORDER BY client_name",
		"SELECT route_key, client_name, table_name, deleted_at FROM public_routes WHERE route_key = 'kept'",
		"SELECT name, deleted_at FROM api_registry WHERE name = 'kept'",
	} {
		if err := c.ledger.Read(context.Background(), func(ctx context.Context, conn *sql.Conn) error {
			return readQuery(ctx, conn, query, query, &text)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// FuzzInjectionOperators puts a name and a value wherever operators and callers put texts that
// reach the ledger. On both ledgers its schema stays as it is, and so does every row that was
// not named; each request is one row of a log, and none is an internal error.
func FuzzInjectionOperators(f *testing.F) {
	for i, text := range hostile {
		f.Add(text, hostile[(i+11)%len(hostile)])
	}
	f.Add("name", hostile[1])
	gateways := []*control{newControl(f, "sqlite://"+filepath.Join(f.TempDir(), "ledger.db")), newControl(f, testenv.Database(f))}
	var run atomic.Int64
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.EqualFold(name, "kept") || strings.EqualFold(name, "shop") {
			return
		}
		for _, c := range gateways {
			c.storefront.t = t
			c.inject(t, fmt.Sprintf("fuzz-%d", run.Add(1)), name, value)
		}
	})
}

// inject sends the requests of one run.
func (c *control) inject(t *testing.T, id, name, value string) {
	before := c.state(t)
	// A text that may stand in JSON as it is keeps its escapes.
	quote := func(text string) string {
		if quoted := `"` + text + `"`; json.Valid([]byte(quoted)) {
			return quoted
		}
		quoted, _ := json.Marshal(text)
		return string(quoted)
	}
	n, v, path, q := quote(name), quote(value), url.PathEscape(name), url.QueryEscape(value)
	if path == "." || path == ".." {
		path = "x"
	}
	document := `{` + n + `:` + v + `,"list":[` + v + `]}`
	if json.Valid([]byte(value)) {
		document = `{` + n + `:` + value + `}`
	}
	config := fmt.Sprintf(`{"path":%q}`, c.client)
	ask := func(method, path, body string) reply {
		t.Helper()
		a := c.ask(method, path, body, "X-Athena-Key", testAdminKey, "X-Request-Id", id)
		if a.status >= 500 && a.status != 503 {
			t.Errorf("%s %s %s: %d %s", method, path, body, a.status, a.body)
		}
		return a
	}
	for _, query := range []string{
		"/admin/operations?client_name=" + q + "&table_name=" + q, "/admin/operations?user_id=" + q, "/admin/operations?request_id=" + q + "&operation=" + q + "&door=" + q, "/admin/operations?status_code=" + q + "&since=" + q + "&until=" + q,
		"/admin/operations?api_key_id=" + q + "&organization_id=" + q, "/admin/audit?actor=" + q + "&target=" + q, "/admin/audit?action=" + q + "&trace_id=" + q, "/admin/audit?since=" + q, "/admin/clients?limit=" + q + "&offset=" + q + "&include_deleted=" + q,
		"/admin/api-keys?limit=" + q, "/admin/api-key-rights?offset=" + q, "/admin/public-routes?limit=" + q, "/admin/registry?offset=" + q, "/admin/client-configs?limit=" + q, "/admin/clients/shop/statistics/drilldown?table_name=" + q + "&operation=" + q + "&status=" + q,
		"/admin/clients/shop/statistics/drilldown?table_name=" + q + "&operation=fetch", "/admin/provision/status?client_name=" + q, "/admin/plugins/" + path + "/logs?lines=" + q, "/registry/" + path, "/admin/api-keys/" + path, "/admin/registry/" + path, "/admin/public-routes/" + path,
		"/admin/clients/" + path, "/admin/clients/" + path + "/statistics", "/admin/client-configs/" + path,
	} {
		ask("GET", query, "")
	}
	made := func(body, in string) string { // the id of what was made
		var answer map[string]json.RawMessage
		var record struct{ ID string }
		_ = json.Unmarshal([]byte(body), &answer)
		_ = json.Unmarshal(answer[in], &record)
		return record.ID
	}
	if a := ask("POST", "/admin/clients", `{"client_name":`+n+`,"description":`+v+`,"backend":"sqlite","config":`+config+`,"metadata":`+document+`}`); a.status == 201 {
		ask("PATCH", "/admin/clients/"+path, `{"description":`+n+`,"metadata":`+document+`}`)
		ask("PUT", "/admin/client-configs/"+path, `{"read_only":true}`)
		ask("DELETE", "/admin/client-configs/"+path, "")
		ask("DELETE", "/admin/clients/"+path, "")
	}
	ask("POST", "/admin/clients", `{"client_name":"x","pg_uri_env_var":`+v+`,"backend":`+n+`}`)
	ask("PUT", "/admin/client-configs/shop", `{`+n+`:`+v+`}`)
	ask("PUT", "/admin/api-key-clients/"+path, `{"enforce_api_keys":false}`)
	ask("DELETE", "/admin/api-key-clients/"+path, "")
	if a := ask("POST", "/admin/api-keys", `{"name":`+n+`,"description":`+v+`,"client_name":`+v+`,"expires_at":`+v+`}`); a.status/100 != 4 {
		ask("DELETE", "/admin/api-keys/"+made(a.body, "record"), "")
	}
	if a := ask("POST", "/admin/api-keys", `{"name":`+n+`,"description":`+v+`}`); a.status == 201 {
		key := made(a.body, "record")
		ask("PATCH", "/admin/api-keys/"+key, `{"description":`+n+`,"rights":[`+v+`]}`)
		ask("DELETE", "/admin/api-keys/"+key, "")
	}
	for _, right := range []string{n, quote("public." + name + ".execute")} {
		if a := ask("POST", "/admin/api-key-rights", `{"name":`+right+`,"description":`+v+`}`); a.status == 201 {
			ask("DELETE", "/admin/api-key-rights/"+made(a.body, "right"), "")
		}
	}
	for _, route := range []string{`{"route_key":` + n + `,"client_name":"shop","table_name":` + v + `,"operation":"fetch","metadata":` + document + `}`,
		`{"route_key":"r","client_name":"shop","table_name":"orders","operation":"fetch","columns":` + v + `,"filter":[{"operator":"eq","column":` + n + `,"value":` + v + `}]}`,
		`{"route_key":"r","client_name":"shop","operation":"query","allowed_ops":["query"],"query":` + v + `,"description":` + n + `}`} {
		if a := ask("POST", "/admin/public-routes", route); a.status == 201 {
			key := "r"
			if strings.HasPrefix(route, `{"route_key":`+n) {
				key = path
			}
			ask("PATCH", "/admin/public-routes/"+key, `{"description":`+v+`}`)
			ask("POST", "/public/"+key+"/fetch", `{"columns":`+v+`,"conditions":[{"eq_column":`+n+`,"eq_value":`+v+`}]}`)
			ask("DELETE", "/admin/public-routes/"+key, "")
		}
	}
	if a := ask("POST", "/admin/registry", `{"name":`+n+`,"description":`+v+`,"version":`+v+`,"metadata":`+document+`}`); a.status == 201 {
		entry := made(a.body, "entry")
		ask("PATCH", "/admin/registry/"+entry, `{"description":`+n+`}`)
		ask("DELETE", "/admin/registry/"+entry, "")
	}
	// What callers say of themselves is in the log of operations.
	headers := []string{"X-Request-Id", id, "X-Athena-Client", "shop"}
	for _, header := range []string{"X-User-Id", "X-Organization-Id", "Traceparent", "User-Agent"} {
		if httpguts.ValidHeaderFieldValue(value) {
			headers = append(headers, header, value)
		}
	}
	log := "SELECT count(*) FROM gateway_operation_log WHERE request_id = '" + id + "'"
	flush := func() int64 {
		if err := c.ledger.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		return ledgertest.Count(t, c.ledger, log)
	}
	logged := flush()
	for _, body := range []string{`{"table_name":` + n + `}`, `{"table_name":"orders","conditions":[{"eq_column":` + n + `,"eq_value":` + v + `}]}`} {
		if a := c.ask("POST", "/gateway/fetch", body, headers...); a.status >= 500 {
			t.Errorf("%s %q: %d %s", body, headers, a.status, a.body)
		}
	}
	if httpguts.ValidHeaderFieldValue(name) {
		if a := c.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "X-Athena-Client", name, "X-Request-Id", id); a.status >= 500 && a.status != 503 {
			t.Errorf("the client %q: %d %s", name, a.status, a.body)
		}
		logged++
	}
	if got := flush(); got != logged+2 {
		t.Errorf("%d requests are in the log, want %d", got, logged+2)
	}
	if after := c.state(t); after != before {
		t.Fatalf("the ledger has changed:\n%s\n%s", before, after)
	}
}
