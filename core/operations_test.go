package core

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const adminKey = "0123456789abcdef"

// shop starts a gateway with the client shop, the sample database on SQLite, and the client
// broken, which cannot be opened.
func shop(t *testing.T, ledgerURI string, change ...func(*config.Config)) *server {
	t.Helper()
	return serve(t, shopConfig(t, ledgerURI, change...))
}

// shopConfig is the configuration of shop.
func shopConfig(t *testing.T, ledgerURI string, change ...func(*config.Config)) *config.Config {
	t.Helper()
	file, err := json.Marshal(map[string]any{"path": filepath.Join(t.TempDir(), "shop.db"), "sample": true})
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Config{
		API:     config.API{Host: "127.0.0.1", AdminKey: adminKey},
		Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Ledger:  config.Ledger{URI: ledgerURI, OperationLog: true},
		Gateway: config.Gateway{ResilienceTimeout: 30 * time.Second},
		Clients: []config.Client{{Name: "broken", Backend: "sqlite", Problem: "the variable X is not set"}, {Name: "shop", Backend: "sqlite", Config: file}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// send sends a request with headers in pairs and returns status and body.
func (s *server) send(t *testing.T, method, path, body string, headers ...string) (int, []byte) {
	t.Helper()
	a := s.request(t, method, path, body, headers...)
	return a.status, []byte(a.body)
}

// admin asks an operators' route and returns what it answers.
func (s *server) admin(t *testing.T, method, path string, want int) map[string]any {
	t.Helper()
	status, body := s.send(t, method, path, "", "X-Athena-Key", adminKey)
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil || status != want {
		t.Fatalf("%s %s answers %d, want %d (%v): %s", method, path, status, want, err, body)
	}
	return answer
}

// logged are the rows of the log for a request id.
func (s *server) logged(t *testing.T, id string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	for _, row := range s.admin(t, "GET", "/admin/operations?request_id="+id, 200)["operations"].([]any) {
		rows = append(rows, row.(map[string]any))
	}
	return rows
}

// TestOperations sends every kind of request and of refusal: each is one row, and counts.
func TestOperations(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		type row = map[string]any
		type details = map[string]any
		// A failed operation that the database was asked for, and one that it was not.
		failed := func(status float64, message string, d details) row {
			return row{"status_code": status, "error": true, "message": message, "details": d}
		}
		sqlite := func(d details) details { d["backend"] = "sqlite"; return d }
		host := func(code string) details { return details{"code": code, "executed": "no"} }
		cases := []struct {
			name, method, path, body string
			headers                  []string
			want                     row // what differs from a success without a table
		}{
			{"fetch", "POST", "/gateway/fetch", `{"table_name":"crew","limit":2}`, nil,
				row{"table_name": "crew", "row_count": 2.0}},
			{"data", "POST", "/gateway/data", `{"view_name":"crew","limit":1}`, []string{"X-User-Id", "u1", "X-Organization-Id", "o1"},
				row{"table_name": "crew", "operation": "fetch", "row_count": 1.0, "user_id": "u1", "organization_id": "o1"}},
			{"get", "GET", "/data?view=crew&limit=1&api_key=canary", "", nil,
				row{"table_name": "crew", "operation": "fetch", "path": "/data", "row_count": 1.0}},
			{"head", "HEAD", "/data?view=crew&limit=1", "", nil,
				row{"table_name": "crew", "operation": "fetch", "path": "/data", "row_count": 1.0}},
			{"prefixed", "POST", "/db/gateway/fetch", `{"table_name":"crew","limit":1}`, nil,
				row{"table_name": "crew", "operation": "fetch", "path": "/gateway/fetch", "row_count": 1.0}},
			{"insert", "PUT", "/gateway/insert", `{"table_name":"crew","insert_body":[{"name":"canary","role":"canary"},{"name":"canary","role":"canary"}]}`, nil,
				row{"table_name": "crew", "row_count": 2.0}},
			{"update", "POST", "/gateway/update", `{"table_name":"crew","conditions":[{"eq_column":"name","eq_value":"canary"}],"update_body":{"name":"canary2"}}`, nil,
				row{"table_name": "crew", "row_count": 2.0}},
			{"delete", "DELETE", "/gateway/delete", `{"table_name":"crew","conditions":[{"eq_column":"name","eq_value":"canary2"}]}`, nil,
				row{"table_name": "crew", "row_count": 2.0}},
			{"query", "POST", "/gateway/query", `{"query":"select 'canary' as x"}`, nil, row{"row_count": 1.0}},
			{"sql", "POST", "/gateway/sql", `{"query":"select ?1 as x","params":["canary"],"db_name":"shop"}`, []string{"X-Athena-Client", ""}, row{"row_count": 1.0}},
			{"count", "POST", "/query/count", `{"table_name":"crew"}`, nil, row{"table_name": "crew", "row_count": 7.0}},

			{"column", "POST", "/gateway/fetch", `{"table_name":"crew","columns":"nam"}`, nil, row{"table_name": "crew", "operation": "fetch", "status_code": 400.0, "error": true,
				"message": "*nam*", "details": sqlite(details{"code": "undefined_column", "executed": "no"}), "operation_time_ms": "float"}},
			{"missing", "POST", "/gateway/fetch", `{"table_name":"no_such"}`, nil, row{"operation": "fetch", "status_code": 404.0, "error": true,
				"message": "*no_such*", "details": sqlite(details{"code": "undefined_table", "executed": "no", "table": "no_such"}), "operation_time_ms": "float"}},
			{"conflict", "PUT", "/gateway/insert", `{"table_name":"crew","insert_body":{"id":1,"name":"canary","role":"canary"}}`, nil, row{"table_name": "crew", "operation": "insert", "status_code": 409.0, "error": true,
				"message": "*", "details": sqlite(details{"code": "unique_violation", "executed": "no", "sqlstate": "*"}), "operation_time_ms": "float"}},
			{"syntax", "POST", "/gateway/query", `{"query":"select 'canary' frm canary canary"}`, nil, row{"operation": "query", "status_code": 400.0, "error": true,
				"message": "*", "details": sqlite(details{"code": "syntax_error", "executed": "no", "sqlstate": "*"}), "operation_time_ms": "float"}},
			{"quoted", "POST", "/gateway/query", `{"query":"select * from crew where name = canary"}`, nil, row{"operation": "query", "status_code": 400.0, "error": true,
				"message": "database error undefined_column", "details": sqlite(details{"code": "undefined_column", "executed": "no", "sqlstate": "*"}), "operation_time_ms": "float"}},
			{"notcount", "POST", "/query/count", `{"query":"select 'canary'"}`, nil, row{"operation": "count", "status_code": 400.0, "error": true, "row_count": 1.0,
				"message": "database error not_a_count", "details": sqlite(host("not_a_count")), "operation_time_ms": "float"}},

			{"json", "POST", "/gateway/fetch", `{"table_name":"crew",canary}`, nil, failed(400, "*", host("invalid_json"))},
			{"field", "POST", "/gateway/fetch", `{"table_name":"crew","limit":"canary"}`, nil, failed(400, "*", host("*"))},
			{"body", "PUT", "/gateway/insert", `{"table_name":"crew"}`, nil, failed(400, "insert_body is missing", details{"code": "missing_insert_body", "executed": "no"})},
			{"encoding", "POST", "/gateway/fetch", `canary`, []string{"Content-Encoding", "gzip"}, failed(400, "the request body is compressed", host("unsupported_content_encoding"))},
			{"site", "POST", "/gateway/fetch", `{"table_name":"crew"}`, []string{"Origin", "http://canary.example"}, failed(403, "web pages of other sites may not use this gateway", host("cross_site_request"))},
			{"target", "POST", "/gateway/query", `{"query":"select 1"}`, []string{"X-Pg-Uri", "postgres://canary:canary"}, failed(400, "*", host("unsupported_target"))},
			{"broken", "POST", "/gateway/fetch", `{"table_name":"crew"}`, []string{"X-Athena-Client", "broken"}, row{"client_name": "broken", "status_code": 503.0, "error": true,
				"message": `client "broken" is not available`, "details": sqlite(details{"code": "client_unavailable", "executed": "no", "table": "crew"}), "operation_time_ms": nil}},
			{"unknown", "POST", "/gateway/fetch", `{"table_name":"crew"}`, []string{"X-Athena-Client", "nobody"}, row{"client_name": nil, "status_code": 400.0, "error": true,
				"message": `there is no client "nobody"`, "details": details{"code": "unknown_client", "executed": "no", "client": "nobody", "table": "crew"}}},
			{"keyed", "POST", "/gateway/fetch", `{"table_name":"crew"}`, []string{"Authorization", "Bearer ath_canarycanarycana.canarycanarycanarycanarycanarycanarycanaryc"}, row{"operation": "fetch", "status_code": 401.0, "error": true,
				"message": "*", "details": host("invalid_api_key"), "operation_time_ms": nil}},
			{"unnamed", "POST", "/gateway/fetch", `{"table_name":"crew"}`, []string{"X-Athena-Client", ""}, row{"client_name": nil, "status_code": 400.0, "error": true,
				"message": "Missing required header", "details": details{"code": "missing_client_header", "executed": "no", "table": "crew"}}},
		}
		operations := map[string]string{"json": "fetch", "field": "fetch", "body": "insert", "encoding": "fetch", "site": "fetch", "target": "query", "broken": "fetch", "unknown": "fetch", "unnamed": "fetch"}
		operations["keyed"] = "fetch"
		total, bad := map[string]int{}, map[string]int{}
		for _, c := range cases {
			headers := append([]string{"X-Athena-Client", "shop", "X-Request-Id", c.name, "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, c.headers...)
			status, body := s.send(t, c.method, c.path, c.body, headers...)
			got := s.logged(t, c.name)
			if len(got) != 1 {
				t.Errorf("%s: %d rows", c.name, len(got))
				continue
			}
			operation := c.name
			if o := operations[c.name]; o != "" {
				operation = o
			}
			want := row{"request_id": c.name, "client_name": "shop", "table_name": nil, "operation": operation, "door": "gateway", "method": c.method, "path": strings.Split(c.path, "?")[0],
				"status_code": 200.0, "duration_ms": "float", "operation_time_ms": "float", "row_count": nil, "bytes": "float", "cached": false, "cache_key": nil, "error": false, "message": nil,
				"api_key_id": nil, "user_id": nil, "organization_id": nil, "details": sqlite(details{}), "created_at": "*"}
			if d, ok := c.want["details"].(details); ok && d["backend"] == nil {
				want["operation_time_ms"] = nil
			}
			for name, value := range c.want {
				want[name] = value
			}
			want["details"].(details)["trace_id"] = "4bf92f3577b34da6a3ce929d0e0e4736"
			if diff := cmp.Diff(want, patterned(want, got[0])); diff != "" {
				t.Errorf("%s, which was answered %d %.200s (-want +got):\n%s", c.name, status, body, diff)
			}
			if int(got[0]["status_code"].(float64)) != status {
				t.Errorf("%s: the log says %v, the answer %d", c.name, got[0]["status_code"], status)
			}
			if text := fmt.Sprint(got[0]); strings.Contains(text, "canary") {
				t.Errorf("%s: the log tells what was sent: %s", c.name, text)
			}
			if got[0]["error"] == false && got[0]["bytes"].(float64) == 0 && c.method != "HEAD" && c.name != "count" && c.name != "update" && c.name != "delete" {
				t.Errorf("%s: no bytes", c.name)
			}
			if client, ok := got[0]["client_name"].(string); ok {
				total[client]++
				if got[0]["error"].(bool) {
					bad[client]++
				}
			}
		}

		check := func(answer map[string]any) {
			t.Helper()
			data := answer["data"].(map[string]any)
			if diff := cmp.Diff(data["statistics"], answer["statistics"]); diff != "" || answer["status"] != "success" {
				t.Errorf("%v: %s", answer["status"], diff)
			}
			names := map[string]bool{}
			for _, entry := range data["statistics"].([]any) {
				n := entry.(map[string]any)
				name := n["client_name"].(string)
				names[name] = true
				if n["total_requests"] != float64(total[name]) || n["failed_requests"] != float64(bad[name]) || n["successful_requests"] != float64(total[name]-bad[name]) ||
					n["total_cached_requests"] != 0.0 || n["last_request_at"] == nil || n["updated_at"] == nil {
					t.Errorf("%v; %d requests, %d failed", n, total[name], bad[name])
				}
			}
			if len(names) != len(total) {
				t.Errorf("clients %v", names)
			}
		}
		check(s.admin(t, "GET", "/admin/clients/statistics", 200))
		before := s.admin(t, "GET", "/admin/clients/shop/statistics", 200)
		check(s.admin(t, "POST", "/admin/clients/statistics/refresh", 200))
		after := s.admin(t, "GET", "/admin/clients/shop/statistics", 200)
		for _, answer := range []map[string]any{before, after} {
			forget(answer, "updated_at")
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("a refresh counts otherwise (-before +after):\n%s", diff)
		}
		var lines []string
		operationsOf := after["statistics"].(map[string]any)["total_operations"].(float64)
		for _, table := range after["tables"].([]any) {
			n := table.(map[string]any)
			lines = append(lines, fmt.Sprint(n["table_name"], " ", n["operation"], " ", n["total_operations"], " ", n["error_operations"]))
			operationsOf -= n["total_operations"].(float64)
		}
		if diff := cmp.Diff([]string{" count 1 1", " fetch 1 1", " query 3 2", " sql 1 0", "crew count 1 0", "crew delete 1 0", "crew fetch 6 1", "crew insert 2 1", "crew update 1 0"}, lines); diff != "" || operationsOf != 0 {
			t.Errorf("%v operations are of no table; tables (-want +got):\n%s", operationsOf, diff)
		}

		// Each line of the tables can be looked into.
		for _, c := range []struct {
			query string
			total float64
			ids   string
		}{
			{"table_name=crew&operation=fetch", 6, "column prefixed head get data fetch"},
			{"table_name=crew&operation=fetch&limit=2&offset=1", 6, "prefixed head"},
			{"table_name=crew&operation=fetch&status=all", 6, "column prefixed head get data fetch"},
			{"table_name=crew&operation=fetch&status=errors", 1, "column"},
			{"table_name=crew&operation=insert&status=normal", 1, "insert"},
			{"table_name=&operation=query", 3, "quoted syntax query"}, // the fourth was refused, and asked nobody
			{"table_name=other&operation=fetch", 0, ""},
		} {
			answer := s.admin(t, "GET", "/admin/clients/shop/statistics/drilldown?"+c.query, 200)
			data := answer["data"].(map[string]any)
			var ids []string
			for _, entry := range data["rows"].([]any) {
				ids = append(ids, entry.(map[string]any)["request_id"].(string))
			}
			if data["total"] != c.total || strings.Join(ids, " ") != c.ids || data["client_name"] != "shop" || answer["status"] != "success" || data["status"] == "success" {
				t.Errorf("%s: %v of %v", c.query, ids, data["total"])
			}
		}
		for path, field := range map[string]string{
			"/admin/clients/shop/statistics/drilldown?operation=fetch":                         "table_name",
			"/admin/clients/shop/statistics/drilldown?table_name=crew":                         "operation",
			"/admin/clients/shop/statistics/drilldown?table_name=crew&operation=x&status=good": "status",
			"/admin/clients/shop/statistics/drilldown?table_name=crew&operation=x&limit=501":   "limit",
			"/admin/clients/shop/statistics/drilldown?table_name=crew&operation=x&offset=-1":   "offset",
			"/admin/operations?status_code=7":                                                  "status_code",
			"/admin/operations?status=x":                                                       "status",
			"/admin/operations?since=yesterday":                                                "since",
			"/admin/audit?until=tomorrow":                                                      "until",
			"/admin/audit?limit=0":                                                             "limit",
		} {
			answer := s.admin(t, "GET", path, 400)
			if told := fmt.Sprint(answer["data"]); !strings.Contains(told, "fields:map["+field+":want") {
				t.Errorf("%s: %s", path, told)
			}
		}
		s.admin(t, "GET", "/admin/clients/nobody/statistics", 404)

		// A frozen client's requests are its own.
		if status, body := s.send(t, "PUT", "/admin/clients/shop/freeze", `{"is_frozen":true}`, "X-Athena-Key", adminKey); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		s.send(t, "POST", "/gateway/fetch", `{"table_name":"crew"}`, "X-Athena-Client", "shop", "X-Request-Id", "frozen")
		if got := s.logged(t, "frozen"); len(got) != 1 || got[0]["client_name"] != "shop" || got[0]["status_code"] != 503.0 || got[0]["operation_time_ms"] != nil ||
			got[0]["details"].(map[string]any)["code"] != "client_frozen" {
			t.Errorf("a request to a frozen client: %v", got)
		}

		// The refresh is in the audit log, once.
		audit := s.admin(t, "GET", "/admin/audit?action=refresh_statistics", 200)
		if list := audit["audit"].([]any); audit["total"] != 1.0 || len(list) != 1 || !strings.Contains(list[0].(map[string]any)["actor"].(string), "admin key") {
			t.Errorf("%v", audit)
		}
		if audit := s.admin(t, "GET", "/admin/audit?target=client_statistics", 200); audit["total"] != 1.0 {
			t.Errorf("%v", audit)
		}
		if audit := s.admin(t, "GET", "/admin/audit?action=other", 200); audit["total"] != 0.0 {
			t.Errorf("%v", audit)
		}
	})
}

// patterned is got with what matches a pattern of want replaced by it: "*" is any text,
// "*part*" one with the part, "float" any number.
func patterned(want, got map[string]any) map[string]any {
	shown := map[string]any{}
	for name, value := range got {
		shown[name] = value
		switch pattern := want[name].(type) {
		case map[string]any:
			if inner, ok := value.(map[string]any); ok {
				shown[name] = patterned(pattern, inner)
			}
		case string:
			text, isText := value.(string)
			_, isNumber := value.(float64)
			if isText && pattern != "" && pattern[0] == '*' && strings.Contains(text, strings.Trim(pattern, "*")) || isNumber && pattern == "float" {
				shown[name] = pattern
			}
		}
	}
	return shown
}

// forget removes a member wherever it is.
func forget(v any, name string) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, name)
		for _, inner := range v {
			forget(inner, name)
		}
	case []any:
		for _, inner := range v {
			forget(inner, name)
		}
	}
}

// TestStreamedOperations: an answer that streams is recorded when it ends, however it does.
func TestStreamedOperations(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := shop(t, uri)
		const rows = `with recursive n(i) as (select 1 union all select i + 1 from n where i < %d) select i, 'some text to fill the rows with' as t%s from n`
		ask := func(id, query string) *http.Request {
			body, err := json.Marshal(map[string]string{"query": query})
			if err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequest("POST", s.url+"/gateway/query", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-Athena-Client", "shop")
			request.Header.Set("X-Request-Id", id)
			return request
		}
		wait := func(id string) map[string]any {
			t.Helper()
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if list := s.logged(t, id); len(list) == 1 {
					return list[0]
				} else if len(list) > 1 {
					t.Fatalf("%s: %d rows", id, len(list))
				}
				if time.Now().After(end) {
					t.Fatalf("%s was not recorded", id)
				}
			}
		}

		response, err := http.DefaultClient.Do(ask("whole", fmt.Sprintf(rows, 100_000, "")))
		if err != nil {
			t.Fatal(err)
		}
		size, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if row := wait("whole"); err != nil || row["status_code"] != 200.0 || row["row_count"] != 100_000.0 || row["error"] != false ||
			row["bytes"].(float64) > float64(size) || row["bytes"].(float64) < float64(size)-300 || row["operation_time_ms"].(float64) <= 0 {
			t.Errorf("%d bytes (%v): %v", size, err, row)
		}

		response, err = http.DefaultClient.Do(ask("fails", fmt.Sprintf(rows, 100_000, ", case when i = 90000 then json('canary') end as j")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.Copy(io.Discard, response.Body); err == nil {
			t.Error("a broken answer ends well")
		}
		response.Body.Close()
		if row := wait("fails"); row["status_code"] == 200.0 || row["error"] != true || row["row_count"] != nil || row["bytes"].(float64) < 1<<20 || strings.Contains(fmt.Sprint(row), "canary") {
			t.Errorf("%v", row)
		}

		// Its client leaves in the middle of a stream.
		c, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		if err := ask("leaves", fmt.Sprintf(rows, 10_000_000, "")).Write(c); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if row := wait("leaves"); row["status_code"] != 499.0 || row["error"] != true || row["details"].(map[string]any)["code"] != "client_left" {
			t.Errorf("%v", row)
		}

		// Its client leaves before there is an answer.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := http.DefaultClient.Do(ask("impatient", `with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000000) select count(*) from n`).WithContext(ctx)); err == nil {
			t.Error("answered")
		}
		if row := wait("impatient"); row["status_code"] != 499.0 || row["error"] != true {
			t.Errorf("%v", row)
		}

		statistics := s.admin(t, "GET", "/admin/clients/shop/statistics", 200)["statistics"].(map[string]any)
		if statistics["total_requests"] != 4.0 || statistics["failed_requests"] != 3.0 || statistics["total_operations"] != 4.0 {
			t.Errorf("%v", statistics)
		}
	})
}

// TestOperationLogOff records nothing.
func TestOperationLogOff(t *testing.T) {
	s := shop(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), func(c *config.Config) { c.Ledger.OperationLog = false })
	if status, body := s.send(t, "POST", "/gateway/fetch", `{"table_name":"crew"}`, "X-Athena-Client", "shop"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if answer := s.admin(t, "GET", "/admin/operations", 200); answer["total"] != 0.0 {
		t.Errorf("%v", answer)
	}
}

// TestOperationsOutliveLedger: requests go on while the ledger is gone, and are in the log
// once it is back; a gateway that ends has written all of them.
func TestOperationsOutliveLedger(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	s := shop(t, proxy.URI())
	ask := func(id string) {
		t.Helper()
		if status, body := s.send(t, "POST", "/gateway/fetch", `{"table_name":"crew"}`, "X-Athena-Client", "shop", "X-Request-Id", id); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	proxy.Freeze()
	ask("frozen")
	proxy.Refuse()
	proxy.CutAll()
	for i := range 50 {
		ask(fmt.Sprint("gone-", i))
	}
	if status, _ := s.send(t, "GET", "/admin/clients/statistics", "", "X-Athena-Key", adminKey); status != 503 {
		t.Errorf("statistics of a dead ledger answer %d", status)
	}
	proxy.Thaw()
	proxy.Accept(t)
	ask("back")
	s.stop()
	again := shop(t, proxy.URI())
	if answer := again.admin(t, "GET", "/admin/clients/statistics", 200); fmt.Sprint(answer["statistics"].([]any)[0].(map[string]any)["total_requests"]) != "52" {
		t.Errorf("%v", answer)
	}
	for _, id := range []string{"frozen", "gone-0", "gone-49", "back", url.QueryEscape("gone-25")} {
		if len(again.logged(t, id)) != 1 {
			t.Errorf("%s is not in the log once", id)
		}
	}
}
