package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// olderTables are the tables of an older installation at their most unfavourable: other
// types, no keys, nulls, duplicates, and rules that rows of this gateway do not meet.
const olderTables = `
	CREATE TABLE athena_clients (id bigserial PRIMARY KEY, athena_client_id uuid NOT NULL DEFAULT gen_random_uuid(), client_name varchar(200),
		pg_uri text NOT NULL CHECK (pg_uri <> ''), pg_uri_env_var varchar(20), backend varchar(20), source varchar(6) NOT NULL, config json,
		is_active boolean, is_frozen smallint, metadata json, owner text NOT NULL, created_at timestamp, updated_at timestamp, deleted_at timestamp);
	INSERT INTO athena_clients (athena_client_id, client_name, pg_uri, source, owner, is_frozen, created_at, deleted_at) VALUES
		('0198c0de-0000-7000-8000-000000000001', 'kept', 'postgres://app:pw@127.0.0.1:1/db', 'old', 'me', NULL, '2024-02-03 04:05:06', NULL),
		('0198c0de-0000-7000-8000-000000000002', 'cold', 'postgres://app:pw@127.0.0.1:1/db', 'old', 'me', 1, NULL, NULL),
		('0198c0de-0000-7000-8000-000000000003', 'kept', 'postgres://app:pw@127.0.0.1:2/db', 'old', 'me', 0, NULL, '2024-01-01'),
		('0198c0de-0000-7000-8000-000000000004', 'gone', 'postgres://app:pw@127.0.0.1:2/db', 'old', 'me', 0, NULL, '2024-01-01'),
		('0198c0de-0000-7000-8000-000000000005', 'gone', 'postgres://app:pw@127.0.0.1:2/db', 'old', 'me', 0, NULL, '2024-01-02'),
		('0198c0de-0000-7000-8000-000000000006', NULL, 'postgres://app:pw@127.0.0.1:2/db', 'old', 'me', 0, NULL, NULL);

	CREATE TABLE client_configs (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_name varchar(64), config json, updated_at timestamp);
	INSERT INTO client_configs (client_name, config, updated_at) VALUES ('shop', '{"resilience_timeout_secs":7}', '2024-01-01'),
		('shop', '{"resilience_timeout_secs":9}', '2024-01-02'), (NULL, '{}', NULL), ('kept', NULL, NULL);
	CREATE TABLE api_key_config (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), enforce_api_keys boolean, updated_at timestamp);
	INSERT INTO api_key_config (enforce_api_keys, updated_at) VALUES (false, '2024-01-01'), (true, '2024-01-02'), (false, NULL);
	CREATE TABLE api_key_client_config (id bigserial PRIMARY KEY, client_name text, enforce_api_keys boolean, updated_at timestamptz);
	INSERT INTO api_key_client_config (client_name, enforce_api_keys, updated_at) VALUES ('shop', true, '2024-01-01'), ('shop', false, '2024-01-02'), ('kept', NULL, NULL);

	CREATE TABLE client_statistics (id bigserial PRIMARY KEY, client_name text, total_requests integer, successful_requests integer, failed_requests integer NOT NULL, last_request_at timestamp, updated_at timestamp);
	INSERT INTO client_statistics (client_name, total_requests, successful_requests, failed_requests, last_request_at) VALUES
		('shop', 2000000000, 2000000000, 0, '2024-01-01'), ('shop', 2000000000, NULL, 1, '2024-01-02'), (NULL, 5, 5, 5, NULL), ('kept', NULL, NULL, 0, NULL);
	CREATE TABLE client_table_statistics (client_name text, table_name text, operation text, total_operations integer, last_operation_at date, UNIQUE (client_name, table_name));
	CREATE UNIQUE INDEX ON client_table_statistics (table_name, client_name);
	INSERT INTO client_table_statistics VALUES ('shop', 'crew', 'fetch', 3, '2024-01-01'), ('shop', NULL, 'sql', 1, NULL), ('shop', NULL, 'sql', 2, '2024-01-02'), ('shop', '', NULL, NULL, NULL);

	CREATE TABLE api_keys (id bigint PRIMARY KEY, api_keys_id char(40), public_id varchar(8) UNIQUE, name varchar(6) UNIQUE CHECK (length(name) < 6), client_name text REFERENCES older_clients,
		key_salt varchar(4), key_hash varchar(8), is_active smallint, created_at integer, updated_at text, deleted_at bigint DEFAULT 0,
		token text UNIQUE CHECK (token <> 'x'));
	INSERT INTO api_keys VALUES (5, '0198c0de-0000-7000-8000-000000000005', NULL, 'old', 'shop', NULL, NULL, NULL, 1706933106, '2024-02-04', 0),
		(6, NULL, NULL, 'gone', NULL, NULL, NULL, 0, NULL, NULL, 1706933106000);
	CREATE UNIQUE INDEX ON api_keys (lower(name));
	CREATE TABLE api_key_rights (id bigint PRIMARY KEY, name varchar(24) UNIQUE, description varchar(3));
	INSERT INTO api_key_rights VALUES (1, NULL), (2, NULL), (3, ''), (4, 'gateway.fetch.execute');
	CREATE TABLE api_key_right_grants (id bigint PRIMARY KEY, api_key_id bigint REFERENCES api_keys, right_id bigint REFERENCES api_key_rights, granted_by text NOT NULL CHECK (granted_by <> ''));
	INSERT INTO api_key_right_grants VALUES (1, 5, 4, 'me');

	CREATE TABLE older_keys (id bigint PRIMARY KEY);
	CREATE TABLE api_key_auth_log (id uuid PRIMARY KEY, created_at timestamp, api_key_id bigint REFERENCES older_keys, request_id uuid NOT NULL UNIQUE,
		remote_addr inet NOT NULL, granted_rights text, public_id char(4), succeeded boolean, attempts smallint);
	INSERT INTO older_keys VALUES (17);
	INSERT INTO api_key_auth_log VALUES (gen_random_uuid(), NULL, 17, gen_random_uuid(), '10.0.0.7', '{gateway.fetch.execute}', 'abcd', NULL, NULL);
	CREATE TABLE gateway_operation_log (request_id uuid PRIMARY KEY, created_at timestamp DEFAULT now(), client_name varchar(8), table_name text, operation varchar(6) CHECK (operation IN ('fetch', 'insert')),
		method text NOT NULL, path varchar(10), status_code smallint, duration_ms numeric NOT NULL, operation_time_ms integer, row_count text, cached smallint, error text, message varchar(4),
		api_key_id uuid, user_id bigint NOT NULL DEFAULT 1, details text NOT NULL, host text NOT NULL);
	CREATE TABLE older_notes (request_id uuid REFERENCES gateway_operation_log);
	INSERT INTO gateway_operation_log (request_id, client_name, table_name, operation, method, path, status_code, duration_ms, operation_time_ms, row_count, cached, error, details, host)
		SELECT gen_random_uuid(), 'shop', CASE WHEN i % 2 = 0 THEN 'crew' ELSE '' END, 'fetch', 'POST', '/x', 200, 1.5, 1, '2', NULL, CASE WHEN i = 1 THEN 'it broke' END, CASE WHEN i = 1 THEN 'no {JSON' ELSE '{"message":"told"}' END, 'h'
		FROM generate_series(1, 10) i;
	UPDATE gateway_operation_log SET created_at = NULL;
	CREATE TABLE admission_events (id integer, created_at date, event_id uuid NOT NULL UNIQUE, decision varchar(5), meta json);
	INSERT INTO admission_events VALUES (7, NULL, gen_random_uuid(), 'allow', NULL);

	CREATE TABLE public_routes (id serial PRIMARY KEY, route_key text, client_name text REFERENCES older_clients, table_name text, allowed_ops text[], columns text[], metadata json, active boolean, created_at timestamp, deleted_at timestamptz);
	INSERT INTO public_routes (route_key, client_name, table_name, allowed_ops, columns, active, deleted_at) VALUES ('crew', 'shop', 'crew', '{fetch}', '{id,name}', NULL, NULL),
		('crew', 'shop', 'crew', NULL, NULL, NULL, '2024-01-01'), (NULL, 'shop', 'crew', NULL, NULL, NULL, NULL), ('', 'shop', 'crew', NULL, NULL, NULL, NULL);
	CREATE TABLE api_registry (api_registry_id uuid PRIMARY KEY, name text, url varchar(10), metadata text);
	INSERT INTO api_registry VALUES ('0198c0de-0000-7000-8000-000000000009', 'books', '/books', 'no {JSON'), ('0198c0de-0000-7000-8000-00000000000a', NULL, NULL, '');
	CREATE TABLE admin_audit_log (id uuid, actor uuid, action varchar(3), before varchar(20), after text[]);
	INSERT INTO admin_audit_log VALUES (gen_random_uuid(), gen_random_uuid(), 'did', 'no {JSON', '{a}');`

// TestOlderInstallation starts on such tables and does everything that reads and writes them.
func TestOlderInstallation(t *testing.T) {
	uri := testenv.Database(t, "CREATE TABLE older_clients (client_name text PRIMARY KEY); INSERT INTO older_clients VALUES ('shop');"+olderTables)
	s := shop(t, uri, func(c *config.Config) {
		c.Ledger.AllowPlaintextSecrets = true
		c.Gateway.ResilienceReadMaxRetries = 1
	})
	as := func(method, path, body string, want int) {
		t.Helper()
		if status, answer := s.send(t, method, path, body, "X-Athena-Key", adminKey, "X-Athena-Client", "shop", "X-User-Id", "u"); status != want {
			t.Fatalf("%s %s answers %d, want %d: %s", method, path, status, want, answer)
		}
	}
	as("GET", "/ready", "", 200)

	// Keys: what the newest rows say.
	settings := s.admin(t, "GET", "/admin/api-key-config", 200)
	clients := map[string]any{}
	for _, c := range settings["clients"].([]any) {
		clients[c.(map[string]any)["client_name"].(string)] = c.(map[string]any)["enforce_api_keys"]
	}
	if enforced := settings["global"].(map[string]any)["enforce_api_keys"]; enforced != true || len(clients) != 2 || clients["shop"] != false || clients["kept"] != false {
		t.Errorf("%v", settings)
	}
	as("PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
	as("PUT", "/admin/api-key-clients/shop", `{"enforce_api_keys":true}`, 200)
	if status, _ := s.send(t, "POST", "/gateway/fetch", `{"table_name":"crew"}`, "X-Athena-Client", "shop", "apikey", "ath_abc.def"); status != 401 {
		t.Errorf("a wrong key: %d", status)
	}

	key := s.admin(t, "GET", "/admin/api-keys/0198c0de-0000-7000-8000-000000000005", 200)["record"].(map[string]any)
	if got := fmt.Sprint(key["created_at"], key["updated_at"], key["is_active"], key["rights"]); got != "2024-02-03T04:05:06Z2024-02-04T00:00:00Ztrue [gateway.fetch.execute]" {
		t.Errorf("%v", key)
	}
	as("PATCH", "/admin/api-keys/0198c0de-0000-7000-8000-000000000005", `{"rights":[]}`, 200)
	as("POST", "/admin/api-keys", `{"name":"gone","rights":["gateway.fetch.execute"]}`, 201)
	as("POST", "/admin/api-keys", `{"name":"a key with a long name","rights":["gateway.fetch.execute"]}`, 201)
	as("POST", "/admin/api-key-rights", `{"name":"own.right.with.a.long.name","description":"long"}`, 201)
	for query, want := range map[string]int64{
		"SELECT count(*) FROM api_key_rights WHERE name = api_key_rights_id::text":                                                3,
		"SELECT count(*) FROM api_keys WHERE deleted_at = '2024-02-03T04:05:06Z' AND NOT is_active":                               1,
		"SELECT count(*) FROM pg_constraint WHERE conrelid = 'api_keys'::regclass AND conname LIKE '%token%'":                     2,
		"SELECT count(*) FROM pg_constraint WHERE conrelid = 'api_key_right_grants'::regclass AND contype = 'f'":                  2,
		"SELECT count(*) FROM athena_clients WHERE created_at = '2024-02-03T04:05:06Z'":                                           1,
		"SELECT count(*) FROM client_table_statistics WHERE last_operation_at = '2024-01-02T00:00:00Z'":                           1,
		"SELECT count(*) FROM gateway_operation_log WHERE error AND message = 'it broke' AND details = '\"no {JSON\"'":            1,
		"SELECT count(*) FROM api_key_auth_log WHERE remote_addr = '10.0.0.7' AND granted_rights = '\"{gateway.fetch.execute}\"'": 1,
		"SELECT count(*) FROM admin_audit_log WHERE before = '\"no {JSON\"' AND after = '[\"a\"]'":                                1,
		"SELECT count(*) FROM api_registry WHERE metadata = '\"no {JSON\"' OR name = '' AND metadata = '{}'":                      2,
		"SELECT count(*) FROM pg_proc WHERE proname LIKE 'athena%'":                                                               0,
	} {
		if n := ledgertest.Count(t, s.ledger, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}

	// The catalog: names are those of one client each, and what was deleted has made way.
	states := map[string]string{}
	for _, c := range s.admin(t, "GET", "/admin/clients?limit=500", 200)["clients"].([]any) {
		c := c.(map[string]any)
		states[c["client_name"].(string)] = fmt.Sprint(c["id"], " ", c["is_active"], c["is_frozen"], c["metadata"])
	}
	const id = "0198c0de-0000-7000-8000-00000000000"
	if got := states["kept"] + states["cold"] + states[id+"6"]; got != id+"1 true false map[]"+id+"2 true true map[]"+id+"6 true false map[]" {
		t.Errorf("clients %v", states)
	}
	as("PUT", "/admin/clients/cold/freeze", `{"is_frozen":false}`, 200)
	as("POST", "/admin/clients", `{"client_name":"brand-new-client-with-a-long-name","pg_uri":"postgres://app:pw@127.0.0.1:1/db"}`, 201)
	as("DELETE", "/admin/clients/kept", "", 200)
	as("GET", "/admin/client-configs/shop", "", 200)
	as("PUT", "/admin/client-configs/shop", `{"config":{"resilience_timeout_secs":11}}`, 200)

	// Routes and the catalogue of APIs.
	as("POST", "/public/crew/fetch", `{}`, 200)
	as("POST", "/admin/public-routes", `{"route_key":"more","client_name":"shop","table_name":"crew","allowed_ops":["fetch"]}`, 201)
	as("GET", "/admin/public-routes", "", 200)
	as("GET", "/admin/registry/"+id+"9", "", 200)
	as("POST", "/admin/registry", `{"name":"long","url":"https://example.com/a/long/path"}`, 201)
	if list := s.admin(t, "GET", "/admin/registry", 200)["entries"].([]any); len(list) != 3 {
		t.Errorf("%v", list)
	}

	// Logs, and the statistics that are counted with them.
	for i := range 20 {
		as("POST", "/gateway/fetch", `{"table_name":"crew"}`, 200)
		as("POST", "/gateway/query", fmt.Sprintf(`{"query":"SELECT %d"}`, i), 200)
	}
	if err := s.ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := s.ledger.Status(); status.Dropped != 0 || status.State != "ready" {
		t.Errorf("%+v", status)
	}
	counted := func() (requests string, tables []string) {
		t.Helper()
		answer := s.admin(t, "GET", "/admin/clients/shop/statistics", 200)
		for _, line := range answer["tables"].([]any) {
			line := line.(map[string]any)
			tables = append(tables, fmt.Sprint(line["table_name"], " ", line["operation"], " ", line["total_operations"]))
		}
		return fmt.Sprintf("%.0f", answer["statistics"].(map[string]any)["total_requests"]), tables
	}
	requests, tables := counted()
	// The refused key is a request too, and the route's fetch.
	if diff := cmp.Diff([]string{"4000000042", " ", " query 20", " sql 3", "crew fetch 24"}, append([]string{requests}, trim(tables)...)); diff != "" {
		t.Error(diff)
	}
	as("POST", "/admin/clients/statistics/refresh", "", 200)
	requests, tables = counted()
	if diff := cmp.Diff([]string{"52", " fetch 5", " query 20", "crew fetch 26"}, append([]string{requests}, tables...)); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string]float64{"table_name=&operation=fetch": 5, "table_name=crew&operation=fetch": 26, "table_name=&operation=fetch&status=errors": 1} {
		if answer := s.admin(t, "GET", "/admin/clients/shop/statistics/drilldown?"+query, 200); answer["total"] != want {
			t.Errorf("%s: %v rows, want %v", query, answer["total"], want)
		}
	}
	if answer := s.admin(t, "GET", "/admin/operations?limit=500", 200); answer["total"] != 52.0 {
		t.Errorf("%v operations", answer["total"])
	}
	if answer := s.admin(t, "GET", "/admin/audit?limit=500", 200); answer["total"].(float64) < 9 {
		t.Errorf("%v changes", answer["total"])
	}
	for end := time.Now().Add(30 * time.Second); ledgertest.Count(t, s.ledger, "SELECT count(*) FROM gateway_operation_log WHERE door IS NULL OR door = 'gateway' AND message IS NULL AND host IS NOT NULL") != 0; {
		if time.Now().After(end) {
			t.Fatal("older rows are not completed")
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()

	// A second start finds nothing to do.
	again := shop(t, uri)
	again.admin(t, "GET", "/admin/clients", 200)
	for table, least := range map[string]int64{"api_key_auth_log": 2, "admission_events": 1, "admin_audit_log": 9} {
		if n := ledgertest.Count(t, again.ledger, "SELECT count(*) FROM "+table+" WHERE id IS NOT NULL AND created_at IS NOT NULL"); n < least {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

func trim(lines []string) []string {
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], " 0")
	}
	return lines
}

// TestOlderRefused: what cannot be decided or converted is told with the rows or columns that
// it is about.
func TestOlderRefused(t *testing.T) {
	for setup, want := range map[string]string{
		`CREATE TABLE athena_clients (id uuid, client_name text); INSERT INTO athena_clients VALUES ('0198c0de-0000-7000-8000-000000000001', 'shop'), ('0198c0de-0000-7000-8000-000000000002', 'shop')`:                                    "shop (ids 0198c0de-0000-7000-8000-000000000001, 0198c0de-0000-7000-8000-000000000002)",
		`CREATE TABLE public_routes (id uuid, route_key text); INSERT INTO public_routes VALUES ('0198c0de-0000-7000-8000-000000000001', 'orders'), ('0198c0de-0000-7000-8000-000000000002', 'orders')`:                                    "orders (ids 0198c0de-0000-7000-8000-000000000001, 0198c0de-0000-7000-8000-000000000002)",
		`CREATE TABLE api_key_rights (id bigint PRIMARY KEY, api_key_rights_id uuid, name text); INSERT INTO api_key_rights VALUES (1, '0198c0de-0000-7000-8000-000000000001', 'own'), (2, '0198c0de-0000-7000-8000-000000000002', 'own')`: "own (ids 0198c0de-0000-7000-8000-000000000001, 0198c0de-0000-7000-8000-000000000002)",
		`CREATE TABLE gateway_operation_log (client_name varchar(8)); CREATE VIEW seen AS SELECT client_name FROM gateway_operation_log`:                                                                                                   `gateway_operation_log.client_name cannot become text: cannot alter type of a column used by a view or rule; rule _RETURN on view seen depends on column "client_name": drop what depends on it, start again`,
		`CREATE TABLE client_statistics (client_name varchar(8), long integer GENERATED ALWAYS AS (length(client_name)) STORED)`:                                                                                                           `client_statistics.client_name cannot become text: cannot alter type of a column used by a generated column`,
		`CREATE TABLE client_statistics (client_name text, updated_at text); INSERT INTO client_statistics VALUES ('shop', 'lately')`:                                                                                                      `client_statistics.updated_at cannot become timestamptz: invalid input syntax for type timestamp with time zone: "lately": correct its values`,
	} {
		_, err := ledger.Open(t.Context(), ledger.Options{URI: testenv.Database(t, setup), Logger: hclog.NewNullLogger(), Registry: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
