//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
)

// The members of records that athena-mcp gets, by their kinds: see conforms.
const (
	keyRecord = `{"id":"text","public_id":"text","name":"text","description":"text?","client_name":"text?","expires_at":"time?","is_active":"bool",
		"last_used_at":"time?","created_at":"time","updated_at":"time","rights":["text"]}`
	rightRecord     = `{"id":"text","name":"text","description":"text?","created_at":"time","updated_at":"time"}`
	keyClientRecord = `{"client_name":"text","enforce_api_keys":"bool","created_at":"time","updated_at":"time"}`
	keyConfigShape  = `{"global":{"enforce_api_keys":"bool","updated_at":"time?"},"clients":[` + keyClientRecord + `]}`
	clientRecord    = `{"id":"text","client_name":"text","description":"text?","pg_uri":"text?","pg_uri_env_var":"text?","config_uri_template":"text?",
		"source":"text","is_active":"bool","is_frozen":"bool","last_synced_from_config_at":"time?","last_seen_at":"time?","metadata":{},
		"created_at":"time","updated_at":"time","deleted_at":"time?"}`
	runtimeRecord = `{"client_name":"text","source":"text","description":"text?","pg_uri":"text?","pg_uri_env_var":"text?","config_uri_template":"text?",
		"is_active":"bool","is_frozen":"bool","pool_connected":"bool"}`
	statisticsRecord = `{"client_name":"text","total_requests":"number","successful_requests":"number","failed_requests":"number","total_cached_requests":"number",
		"total_operations":"number","last_request_at":"time?","last_operation_at":"time?","updated_at":"time"}`
	tableRecord = `{"client_name":"text","table_name":"text","operation":"text","total_operations":"number","error_operations":"number",
		"last_operation_at":"time?","updated_at":"time"}`
	schemaTable  = `{"table_schema":"text","table_name":"text","table_type":"text","column_count":"number","primary_key":[],"comment":"text?","is_insertable_into":"text"}`
	schemaColumn = `{"column_name":"text","data_type":"text","column_default":"text?","is_nullable":"text","ordinal_position":"number",
		"primary_key":"bool","is_generated":"bool","comment":"text?"}`
	registryEntry = `{"id":"text","name":"text","url":"text?","description":"text?"}`
	routeEntry    = `{"path":"text","methods":["text"],"summary":"text"}`
)

// recorded are the requests of athena-mcp 0.2.0 to the operators', schema, client, health and
// registry routes in an order that works, as they were recorded, and what answers them. Where
// its samples are no values, as for times, ids and URIs, {…} stands for one; a request with
// the sample itself is answered with what is wrong. "enveloped" members are in data and at the
// top level, "bare" ones are the answer.
var recorded = []struct {
	tool, method, path, body string
	status                   int
	enveloped, bare          string
	fields                   []string // that are refused
}{
	{tool: "list_tables", method: "GET", path: "/schema/tables", status: 200, enveloped: `{"tables":[` + schemaTable + `]}`},
	{tool: "get_columns_of_table", method: "GET", path: "/schema/columns?table_name=users", status: 200, enveloped: `{"columns":[` + schemaColumn + `]}`},
	{tool: "list_migrations", method: "GET", path: "/schema/migrations", status: 200, enveloped: `{"migrations":[{"version":"text?","name":"text?","applied_at":"text?"}]}`},
	{tool: "list_available_clients", method: "GET", path: "/clients", status: 200, enveloped: `{"clients":["text"]}`},
	{tool: "list_available_clients", method: "GET", path: "/schema/clients", status: 200, enveloped: `{"clients":["text"]}`},

	{tool: "get_api_root", method: "GET", path: "/", status: 200, bare: `{"message":"text","version":"text","athena_api":"text","cargo_toml_version":"text","routes":[` + routeEntry + `]}`},
	{tool: "ping", method: "GET", path: "/ping", status: 200, bare: "pong"},
	{tool: "get_cluster_health", method: "GET", path: "/health/cluster", status: 200, bare: `{"message":"text","version":"text","athena_api":"text","cargo_toml_version":"text","mirrors":[]}`},
	{tool: "get_metrics", method: "GET", path: "/metrics", status: 200, bare: "# HELP athena_"},

	{tool: "create_api_key_right", method: "POST", path: "/admin/api-key-rights", body: `{"name":"x","description":"x"}`, status: 201, enveloped: `{"right":` + rightRecord + `}`},
	{tool: "list_api_key_rights", method: "GET", path: "/admin/api-key-rights", status: 200, enveloped: `{"rights":[` + rightRecord + `]}`},
	{tool: "create_api_key", method: "POST", path: "/admin/api-keys", body: `{"name":"x","description":"x","client_name":"x","expires_at":"x","rights":["x"]}`, status: 400, fields: []string{"expires_at"}},
	{tool: "create_api_key", method: "POST", path: "/admin/api-keys", body: `{"name":"x","description":"x","client_name":"x","expires_at":"{later}","rights":["x"]}`, status: 201,
		enveloped: `{"api_key":"text","record":` + keyRecord + `}`},
	{tool: "list_api_keys", method: "GET", path: "/admin/api-keys", status: 200, enveloped: `{"api_keys":[` + keyRecord + `]}`},
	{tool: "update_api_key", method: "PATCH", path: "/admin/api-keys/{record}", body: `{"name":"x","description":"x","client_name":"x","expires_at":"x","is_active":true,"rights":["x"]}`, status: 400, fields: []string{"expires_at"}},
	{tool: "update_api_key", method: "PATCH", path: "/admin/api-keys/{record}", body: `{"name":"x","description":"x","client_name":"x","expires_at":"{later}","is_active":true,"rights":["x"]}`, status: 200,
		enveloped: `{"record":` + keyRecord + `}`},
	{tool: "update_api_key", method: "PATCH", path: "/admin/api-keys/x", body: `{"name":"x","is_active":true}`, status: 404},
	{tool: "delete_api_key", method: "DELETE", path: "/admin/api-keys/x", status: 404},
	{tool: "delete_api_key", method: "DELETE", path: "/admin/api-keys/{record}", status: 200, enveloped: `{"id":"text"}`},
	{tool: "update_api_key_right", method: "PATCH", path: "/admin/api-key-rights/{right}", body: `{"name":"x","description":"x"}`, status: 200, enveloped: `{"right":` + rightRecord + `}`},
	{tool: "delete_api_key_right", method: "DELETE", path: "/admin/api-key-rights/{right}", status: 200, enveloped: `{"id":"text"}`},
	{tool: "delete_api_key_right", method: "DELETE", path: "/admin/api-key-rights/x", status: 404},

	{tool: "save_api_key_client", method: "PUT", path: "/admin/api-key-clients/x", body: `{"enforce_api_keys":true}`, status: 200, enveloped: `{"client":` + keyClientRecord + `}`},
	{tool: "list_api_key_clients", method: "GET", path: "/admin/api-key-clients", status: 200, enveloped: `{"clients":[` + keyClientRecord + `]}`},
	{tool: "get_api_key_config", method: "GET", path: "/admin/api-key-config", status: 200, enveloped: keyConfigShape},
	{tool: "update_api_key_config", method: "PUT", path: "/admin/api-key-config", body: `{"enforce_api_keys":true}`, status: 200, enveloped: keyConfigShape},
	{tool: "delete_api_key_client", method: "DELETE", path: "/admin/api-key-clients/x", status: 200, enveloped: `{"client_name":"text"}`},

	{tool: "create_athena_client", method: "POST", path: "/admin/clients", body: `{"client_name":"x","description":"x","pg_uri":"x","pg_uri_env_var":"x","is_active":true}`, status: 400, fields: []string{"pg_uri"}},
	{tool: "create_athena_client", method: "POST", path: "/admin/clients", body: `{"client_name":"x","description":"x","pg_uri":"{uri}","pg_uri_env_var":"x","is_active":true}`, status: 201,
		enveloped: `{"client":` + clientRecord + `}`},
	{tool: "list_tables", method: "GET", path: "/schema/tables", status: 200, enveloped: `{"tables":[` + schemaTable + `]}`}, // with keys asked for
	{tool: "list_athena_clients_admin", method: "GET", path: "/admin/clients", status: 200, enveloped: `{"clients":[` + clientRecord + `],"runtime":[` + runtimeRecord + `]}`},
	{tool: "update_athena_client", method: "PATCH", path: "/admin/clients/x", body: `{"client_name":"x","description":"x","pg_uri":"x","pg_uri_env_var":"x","is_active":true}`, status: 400, fields: []string{"pg_uri"}},
	{tool: "update_athena_client", method: "PATCH", path: "/admin/clients/x", body: `{"client_name":"x","description":"x","pg_uri":"{uri}","pg_uri_env_var":"x","is_active":true}`, status: 200,
		enveloped: `{"client":` + clientRecord + `}`},
	{tool: "freeze_athena_client", method: "PUT", path: "/admin/clients/x/freeze", body: `{"is_frozen":true}`, status: 200, enveloped: `{"client":` + clientRecord + `}`},
	{tool: "list_client_statistics", method: "GET", path: "/admin/clients/statistics", status: 200, enveloped: `{"statistics":[` + statisticsRecord + `]}`},
	{tool: "refresh_client_statistics", method: "POST", path: "/admin/clients/statistics/refresh", status: 200, enveloped: `{"statistics":[` + statisticsRecord + `]}`},
	{tool: "get_client_statistics", method: "GET", path: "/admin/clients/reporting/statistics", status: 200, enveloped: `{"statistics":` + statisticsRecord + `,"tables":[` + tableRecord + `]}`},
	{tool: "get_client_statistics", method: "GET", path: "/admin/clients/nobody/statistics", status: 404},
	{tool: "delete_athena_client", method: "DELETE", path: "/admin/clients/x", status: 200, enveloped: `{"client":` + clientRecord + `}`},

	{tool: "list_router_registry", method: "GET", path: "/router/registry", status: 200, bare: `[` + routeEntry + `]`},
	{tool: "get_registry_entry", method: "GET", path: "/registry/x", status: 404},
	{tool: "", method: "POST", path: "/admin/registry", body: `{"name":"x","url":"https://api.example"}`, status: 201, enveloped: `{"entry":` + registryEntry + `}`},
	{tool: "get_registry_entry", method: "GET", path: "/registry/{entry}", status: 200, bare: `[` + registryEntry + `]`},
	{tool: "list_registry_entries", method: "GET", path: "/registry", status: 200, bare: `[` + registryEntry + `]`},

	// Of features that are not there.
	{tool: "get_management_capabilities", method: "GET", path: "/management/capabilities", status: 404},
	{tool: "create_table", method: "POST", path: "/management/tables", body: `{"table_name":"users","schema_name":"public","columns":[{"name":"x","data_type":"x","nullable":true,"default_expression":"x"}],"if_not_exists":true}`, status: 404},
	{tool: "edit_table", method: "PATCH", path: "/management/tables/users", body: `{"schema_name":"public","operations":[{"type":"add_column","column":{"name":"x","data_type":"x","nullable":true,"default_expression":"x"}}]}`, status: 404},
	{tool: "drop_table", method: "DELETE", path: "/management/tables/users", body: `{"schema_name":"public","cascade":true}`, status: 404},
	{tool: "drop_column", method: "DELETE", path: "/management/tables/users/columns/x", body: `{"schema_name":"public","cascade":true}`, status: 404},
	{tool: "create_index", method: "POST", path: "/management/indexes", body: `{"table_name":"users","columns":["x"],"schema_name":"public","index_name":"x","unique":true,"method":"x"}`, status: 404},
	{tool: "drop_index", method: "DELETE", path: "/management/indexes/x", body: `{"schema_name":"public"}`, status: 404},
	{tool: "run_pipeline", method: "POST", path: "/pipelines", body: `{"pipeline":"x","source":{"table_name":"users","view_name":"x","columns":["x"],"conditions":[{"eq_column":"x","eq_value":"x"}],"limit":5},"transform":{"group_by":"x","time_granularity":"day","aggregation_column":"x","aggregation_strategy":"cumulative_sum","aggregation_dedup":true},"sink":{"table_name":"users"}}`, status: 404},
	{tool: "toggle_supabase_ssl_enforcement", method: "POST", path: "/api/v2/supabase/ssl_enforcement", body: `{"enabled":true,"access_token":"x","project_ref":"x"}`, status: 404},
	{tool: "get_embedded_openapi", method: "GET", path: "/openapi.yaml", status: 404},
	{tool: "get_websocket_info", method: "GET", path: "/wss/info", status: 404},
}

// TestRecordedTools sends what athena-mcp was recorded to send. The answers have the members
// where it looks for them, and so do the JavaScript clients.
func TestRecordedTools(t *testing.T) {
	t.Parallel()
	for _, ledger := range []string{"sqlite", "postgres"} {
		t.Run(ledger, func(t *testing.T) {
			t.Parallel()
			uri := testenv.Database(t, `CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'x');
				CREATE VIEW names AS SELECT name FROM users; CREATE MATERIALIZED VIEW kept AS SELECT name FROM users;
				CREATE TABLE schema_migrations (version text PRIMARY KEY); INSERT INTO schema_migrations VALUES ('1')`)
			env := []string{"ATHENA_KEY_12=" + adminKey, "ATHENA_SECRET_KEY=" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))}
			if ledger == "postgres" {
				env = append(env, "ATHENA_LEDGER_URI="+testenv.Database(t))
			} else {
				env = append(env, "ATHENA_LEDGER_URI=sqlite://"+filepath.Join(t.TempDir(), "ledger.db"))
			}
			g := start(t, fmt.Sprintf("clients: {reporting: {backend: postgres, config: {uri: %q}}}", uri), env...)
			filled := map[string]string{"uri": uri, "later": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
			for _, r := range recorded {
				fill := func(text string) string {
					for name, value := range filled {
						text = strings.ReplaceAll(text, "{"+name+"}", value)
					}
					return text
				}
				a := g.ask(t, request{method: r.method, path: fill(r.path), body: fill(r.body), header: []string{"Content-Type", "application/json", "X-Athena-Client", "reporting",
					"apikey", adminKey, "x-api-key", adminKey, "accept", "*/*", "accept-language", "*", "sec-fetch-mode", "cors", "user-agent", "node"}})
				if a.status != r.status {
					t.Errorf("%s: %s %s %s answers %d, want %d: %s", r.tool, r.method, r.path, r.body, a.status, r.status, a.body)
					continue
				}
				wrong := a.wrong(t, r.enveloped, r.bare)
				if a.status >= 400 {
					wrong = a.wrongFailure(t, r.fields)
				}
				if wrong != "" {
					t.Errorf("%s: %s %s %s: %s in %s", r.tool, r.method, r.path, r.body, wrong, a.body)
				}
				for _, name := range []string{"record", "right", "entry"} {
					if r.method == "POST" && strings.Contains(r.enveloped, `"`+name+`":`) {
						filled[name], _ = a.value(t, name, "id").(string)
					}
				}
			}
			kinds := map[string]string{}
			for _, row := range g.ask(t, request{method: "GET", path: "/schema/tables", client: "reporting", header: []string{"apikey", adminKey}}).value(t, "tables").([]any) {
				table := row.(map[string]any)
				kinds[table["table_name"].(string)] = table["table_type"].(string)
			}
			if d := cmp.Diff(map[string]string{"users": "BASE TABLE", "schema_migrations": "BASE TABLE", "names": "VIEW", "kept": "MATERIALIZED VIEW"}, kinds); d != "" {
				t.Error(d)
			}
		})
	}
}

// wrong says what is not as wanted of a success.
func (a *reply) wrong(t *testing.T, enveloped, bare string) string {
	t.Helper()
	switch {
	case enveloped != "":
		if a.value(t, "status") != "success" || a.value(t, "message") == "" {
			return "no success envelope"
		}
		inside, want := a.value(t, "data"), parse(t, []byte(enveloped))
		for name := range want.(map[string]any) {
			if !cmp.Equal(a.value(t, name), a.value(t, "data", name)) {
				return name + " is not the same in data and at the top level"
			}
		}
		return conforms(want, inside, "data")
	case strings.HasPrefix(bare, "{"), strings.HasPrefix(bare, "["):
		return conforms(parse(t, []byte(bare)), parse(t, a.body), "the answer")
	case !strings.Contains(string(a.body), bare):
		return "no " + bare
	}
	return ""
}

// wrongFailure says what is not as wanted of an error.
func (a *reply) wrongFailure(t *testing.T, fields []string) string {
	t.Helper()
	const shape = `{"status":"text","code":"text","message":"text","error":"text","trace_id":"text"}`
	if wrong := conforms(parse(t, []byte(shape)), parse(t, a.body), "the error"); wrong != "" {
		return wrong
	}
	told, _ := a.value(t, "data", "details", "fields").(map[string]any)
	if got := slices.Sorted(maps.Keys(told)); !slices.Equal(got, fields) {
		return fmt.Sprintf("fields are %v, want %v", got, fields)
	}
	return ""
}

// conforms says what is not as the shape has it: objects have its members, lists have
// elements, all of the shape's one, and a text of the shape is a kind: text, time, bool or
// number, with ? also null.
func conforms(shape, value any, where string) string {
	switch shape := shape.(type) {
	case map[string]any:
		object, ok := value.(map[string]any)
		if !ok {
			return where + " is no object"
		}
		for name, kind := range shape {
			if _, there := object[name]; !there {
				return where + " has no " + name
			}
			if wrong := conforms(kind, object[name], where+"."+name); wrong != "" {
				return wrong
			}
		}
		return ""
	case []any:
		list, ok := value.([]any)
		if !ok || len(shape) > 0 && len(list) == 0 {
			return where + " is no list, or empty"
		}
		for i, element := range list {
			if len(shape) == 0 {
				break
			}
			if wrong := conforms(shape[0], element, fmt.Sprintf("%s[%d]", where, i)); wrong != "" {
				return wrong
			}
		}
		return ""
	}
	kind, optional := strings.CutSuffix(shape.(string), "?")
	if value == nil && optional {
		return ""
	}
	ok := false
	switch value := value.(type) {
	case string:
		_, err := time.Parse(time.RFC3339, value)
		ok = kind == "text" || kind == "time" && err == nil
	case bool:
		ok = kind == "bool"
	case json.Number:
		ok = kind == "number"
	}
	if !ok {
		return fmt.Sprintf("%s is %v, no %s", where, value, kind)
	}
	return ""
}
