package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// withPassword is uri with a password, which the tests' server does not ask for.
func withPassword(t *testing.T, uri, password string) string {
	t.Helper()
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(parsed.User.Username(), password)
	return parsed.String()
}

// TestProvisioning goes through the routes' answers and refusals, on both ledgers.
func TestProvisioning(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		const key, canary = "0123456789abcdef", "canary-83fa1c"
		fresh, registered, filed := withPassword(t, testenv.Database(t), canary), withPassword(t, testenv.Database(t), canary), testenv.Database(t)
		passwords := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(passwords, []byte(canary+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		inFile := postgres(t, "filed", filed)
		inFile.Config = json.RawMessage(fmt.Sprintf(`{"uri": %q, "password_file": %q}`, filed, passwords))
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		missing := postgres(t, "missing", filed)
		missing.Config = json.RawMessage(fmt.Sprintf(`{"uri": %q, "password_file": %q}`, filed, passwords+"-missing"))
		s := serve(t, &config.Config{
			API:       config.API{Host: "127.0.0.1", AdminKey: key},
			Ledger:    config.Ledger{URI: ledgerURI, AllowPlaintextSecrets: true},
			Plugins:   config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
			Provision: config.Provision{AllowedHosts: []string{"localhost", "127.0.0.0/8"}},
			Clients:   []config.Client{postgres(t, "pg", registered), sqlite(t, "lite"), inFile, missing, {Name: "unset", Backend: "postgres", Problem: "the variable X is not set"}},
		})
		var told strings.Builder
		ask := func(method, path, body, key string) (int, map[string]any) {
			t.Helper()
			a := s.request(t, method, path, body, "X-Athena-Key", key)
			if a.status == 503 && a.header.Get("Retry-After") == "" {
				t.Errorf("%s %s %s does not say when to try again: %s", method, path, body, a.body)
			}
			var answer map[string]any
			if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
				t.Fatalf("%v in %s", err, a.body)
			}
			told.WriteString(a.body)
			return a.status, answer
		}
		uri := func(uri string) string { return fmt.Sprintf(`{"uri": %q}`, uri) }
		tables := len(ledger.Tables())

		for _, test := range []struct {
			name, body, key string
			status          int
			code, says      string
		}{
			{"no key", uri(fresh), "", 401, "admin_key_required", ""},
			{"nothing", ``, key, 400, "invalid_body", "want either uri or client_name"},
			{"no JSON", `{"uri"`, key, 400, "invalid_json", ""},
			{"a list", `[]`, key, 400, "invalid_json", ""},
			{"neither", `{}`, key, 400, "invalid_body", "want either uri or client_name"},
			{"both", `{"uri": "postgres://localhost/db", "client_name": "pg"}`, key, 400, "invalid_body", "want either uri or client_name"},
			{"wrong types", `{"uri": 5, "register": "yes"}`, key, 400, "invalid_body", "register: want true or false; uri: want a PostgreSQL URI"},
			{"misspelt", `{"ury": "postgres://localhost/db"}`, key, 400, "invalid_body", `ury: unknown field; did you mean "uri"?`},
			{"no name to register", `{"uri": "postgres://localhost/db", "register": true}`, key, 400, "invalid_body", "register_name"},
			{"a client to register", `{"uri": "postgres://localhost/db", "client_name": "x", "register": true}`, key, 400, "invalid_body", "client_name: leave it out, and send the name of the client to register as register_name"},
			{"registered already", `{"client_name": "pg", "register": true, "register_name": "x"}`, key, 400, "invalid_body", "registered already"},
			{"no URI", uri("host=localhost"), key, 400, "invalid_uri", ""},
			{"a file of ours", uri("postgres://localhost/db?service=x&servicefile=/etc/passwd"), key, 400, "invalid_uri", ""},
			{"another host", uri("postgres://app:" + canary + "@192.0.2.1/db"), key, 403, "host_not_allowed", "192.0.2.1"},
			{"another host beside", uri("postgres://app:" + canary + "@localhost,192.0.2.1/db"), key, 403, "host_not_allowed", "192.0.2.1"},
			{"another host as a parameter", uri("postgres://app:" + canary + "@localhost/db?host=192.0.2.1"), key, 403, "host_not_allowed", "192.0.2.1"},
			{"a socket", uri("postgres:///db?host=/var/run/postgresql"), key, 403, "host_not_allowed", "/var/run/postgresql"},
			{"no server", uri("postgres://app:" + canary + "@" + closed.Addr().String() + "/db"), key, 503, "unreachable", closed.Addr().String()},
			{"no database", uri(strings.Replace(fresh, "/athena_test_", "/nowhere_", 1)), key, 400, "unknown_database", "does not exist"},
			{"unknown client", `{"client_name": "nobody"}`, key, 400, "unknown_client", ""},
			{"no PostgreSQL", `{"client_name": "lite"}`, key, 400, "not_postgres", "sqlite"},
			{"no password", `{"client_name": "missing"}`, key, 503, "password_file", ""},
			{"starting", uri("postgres://app:" + canary + "@" + refusing(t, "57P03") + "/db?sslmode=disable"), key, 503, "unreachable", "refused"},
			{"full", uri("postgres://app:" + canary + "@" + refusing(t, "53300") + "/db?sslmode=disable"), key, 503, "unreachable", "refused"},
			{"not configured", `{"client_name": "unset"}`, key, 503, "not_configured", "the variable X is not set"},
		} {
			t.Run(test.name, func(t *testing.T) {
				status, answer := ask("POST", "/admin/provision", test.body, test.key)
				if status != test.status || answer["code"] != test.code || !strings.Contains(fmt.Sprint(answer["message"]), test.says) {
					t.Errorf("%d %v", status, answer)
				}
			})
		}
		if n := audited(t, s, "provision"); n != 0 {
			t.Errorf("refusals made %d audit rows", n)
		}
		for path, code := range map[string]string{"": "invalid_query", "?client_name=nobody": "unknown_client", "?client_name=lite": "not_postgres"} {
			if status, answer := ask("GET", "/admin/provision/status"+path, "", key); status != 400 || answer["code"] != code {
				t.Errorf("status%s: %d %v", path, status, answer)
			}
		}

		provisioned := func(client string, want bool) {
			t.Helper()
			status, answer := ask("GET", "/admin/provision/status?client_name="+client, "", key)
			data, _ := answer["data"].(map[string]any)
			present, _ := data["present_tables"].([]any)
			missing, _ := data["missing_tables"].([]any)
			expected := map[bool][2]int{false: {0, tables}, true: {tables, 0}}[want]
			if status != 200 || answer["status"] != "success" || data["client_name"] != client || data["provisioned"] != want || len(present) != expected[0] || len(missing) != expected[1] {
				t.Errorf("the status of %s: %d %v", client, status, answer)
			}
		}
		provision := func(body, client string, anew bool) {
			t.Helper()
			status, answer := ask("POST", "/admin/provision", body, key)
			data, _ := answer["data"].(map[string]any)
			made, _ := data["tables"].([]any)
			executed, _ := data["statements_executed"].(float64)
			if status != 200 || answer["status"] != "success" || !strings.HasPrefix(fmt.Sprint(data["client"]), client) || data["registered"] != nil || len(made) != tables || executed > 0 != anew {
				t.Errorf("%s: %d %v", body, status, answer)
			}
		}
		for _, client := range []string{"pg", "filed"} {
			provisioned(client, false)
			provision(`{"client_name": "`+client+`"}`, client, true)
			provisioned(client, true)
			provision(`{"client_name": "`+client+`"}`, client, false)
		}
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				request, _ := http.NewRequest("POST", s.url+"/admin/provision", strings.NewReader(uri(fresh)))
				request.Header.Set("X-Athena-Key", key)
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				defer response.Body.Close()
				if text, _ := io.ReadAll(response.Body); response.StatusCode != 200 {
					t.Errorf("two at once: %d %s", response.StatusCode, text)
				}
			})
		}
		both.Wait()
		provision(uri(fresh), "127.0.0.1:", false)
		if strings.HasPrefix(ledgerURI, "postgres") { // its own
			provision(uri(ledgerURI), "127.0.0.1:", false)
		}
		// Nothing is made for a client that cannot be registered.
		books := withPassword(t, testenv.Database(t), canary)
		register := fmt.Sprintf(`{"uri": %q, "register": true, "register_name": %%q}`, books)
		for name, want := range map[string]struct {
			status int
			code   string
		}{"pg": {409, "client_exists"}, "no name": {400, "invalid_body"}} {
			status, answer := ask("POST", "/admin/provision", fmt.Sprintf(register, name), key)
			if status != want.status || answer["code"] != want.code || name == "no name" && !strings.Contains(fmt.Sprint(answer["data"]), "fields:map[register_name:want 1 to 128") {
				t.Errorf("registering %q: %d %v", name, status, answer)
			}
		}
		if status, answer := ask("POST", "/admin/provision", `{"uri": "postgres://127.0.0.1:1/d?no_such=1", "register": true, "register_name": "bad"}`, key); status != 400 {
			t.Errorf("%d %v", status, answer)
		}
		nothingIn(t, books)
		// A new client serves at once; its name is taken then.
		status, answer := ask("POST", "/admin/provision", fmt.Sprintf(register, "books"), key)
		data, _ := answer["data"].(map[string]any)
		if status != 200 || data["registered"] != "books" || data["client"] != "books" {
			t.Errorf("registering: %d %v", status, answer)
		}
		provisioned("books", true)
		until(t, func() bool {
			client, err := s.registry.Client("books")
			return err == nil && client.Status().Available
		})
		for name, code := range map[string]string{"books": "client_exists", "pg": "client_exists"} {
			if status, answer := ask("POST", "/admin/provision", fmt.Sprintf(register, name), key); status/100 != 4 || answer["code"] != code {
				t.Errorf("registering %q: %d %v", name, status, answer)
			}
		}
		if n := audited(t, s, "create_client"); n != 1 {
			t.Errorf("%d clients were created", n)
		}
		want := 8
		if strings.HasPrefix(ledgerURI, "postgres") {
			want++
		}
		if n := audited(t, s, "provision"); n != want {
			t.Errorf("%d audit rows of %d", n, want)
		}
		rows := auditRows(t, s)
		for what, text := range map[string]string{"an answer": told.String(), "the log": s.log.String(), "the audit": rows} {
			if strings.Contains(text, canary) {
				t.Errorf("%s tells a password", what)
			}
			if len(text) < 100 {
				t.Errorf("%s is empty", what)
			}
		}
	})
}

// refusing is the address of a server that refuses connections with a SQLSTATE, as PostgreSQL does.
func refusing(t *testing.T, code string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	body := "SFATAL\x00VFATAL\x00C" + code + "\x00Mrefused\x00\x00"
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1000))
			_, _ = conn.Write(append([]byte{'E', 0, 0, 0, byte(len(body) + 4)}, body...))
			conn.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

// nothingIn fails the test if a database has any of the ledger's tables.
func nothingIn(t *testing.T, uri string) {
	t.Helper()
	target, err := ledger.CallersTarget(uri)
	if err != nil {
		t.Fatal(err)
	}
	if present, _, err := target.Inspect(t.Context()); err != nil || len(present) != 0 {
		t.Errorf("it has %v: %v", present, err)
	}
}

// audited counts the audit rows of an action.
func audited(t *testing.T, s *server, action string) (n int) {
	t.Helper()
	if err := s.ledger.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT count(*) FROM admin_audit_log WHERE action = $1", action).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// auditRows are all audit rows in one text.
func auditRows(t *testing.T, s *server) string {
	t.Helper()
	var text strings.Builder
	if err := s.ledger.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, "SELECT actor, action, target, trace_id, before, after FROM admin_audit_log")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row [6]sql.NullString
			if err := rows.Scan(&row[0], &row[1], &row[2], &row[3], &row[4], &row[5]); err != nil {
				return err
			}
			fmt.Fprintln(&text, row)
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
