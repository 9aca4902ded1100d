package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func target(t *testing.T, uri string) *Target {
	t.Helper()
	target, err := CallersTarget(uri)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// rows are the first columns that a query answers with.
func rows(t *testing.T, uri, query string) []string {
	t.Helper()
	db, err := sql.Open("pgx", uri)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var list []string
	for found.Next() {
		var text string
		if err := found.Scan(&text); err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestProvision: whoever comes first makes the tables, all of them; the others find them.
func TestProvision(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t)
	present, missing, err := target(t, uri).Inspect(t.Context())
	if err != nil || len(present) > 0 || !slices.Equal(missing, Tables()) {
		t.Errorf("before: %v, %v, %v", present, missing, err)
	}
	var all sync.WaitGroup
	made := make([]*Applied, 4)
	for i := range made {
		all.Go(func() {
			var err error
			if made[i], err = target(t, uri).Provision(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first := 0
	for _, applied := range made {
		if applied == nil {
			continue
		}
		if applied.Statements > len(Tables()) {
			first++
		} else if applied.Statements != 0 {
			t.Errorf("%d statements were executed", applied.Statements)
		}
		if d := cmp.Diff(Tables(), applied.Tables); d != "" {
			t.Error(d)
		}
	}
	if first != 1 {
		t.Errorf("%d made the tables", first)
	}
	there := rows(t, uri, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'athena_schema_versions' ORDER BY 1")
	if d := cmp.Diff(there, Tables()); d != "" {
		t.Errorf("Tables are not those that are made: %s", d)
	}
	present, missing, err = target(t, uri).Inspect(t.Context())
	if err != nil || len(missing) > 0 || !slices.Equal(present, Tables()) {
		t.Errorf("afterwards: %v, %v, %v", present, missing, err)
	}
}

// TestProvisionOlder: an older installation keeps what it has and gets what it lacks.
func TestProvisionOlder(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, `CREATE TABLE api_registry (id uuid PRIMARY KEY, name text);
		INSERT INTO api_registry VALUES ('0198c0de-0000-7000-8000-000000000001', 'kept')`)
	present, missing, err := target(t, uri).Inspect(t.Context())
	if err != nil || !slices.Equal(present, []string{"api_registry"}) || len(missing) != len(Tables())-1 {
		t.Errorf("before: %v, %v, %v", present, missing, err)
	}
	if _, err := target(t, uri).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, uri, "SELECT name || coalesce(version, '-') FROM api_registry"); !slices.Equal(got, []string{"kept-"}) {
		t.Errorf("%q", got)
	}
}

// speaks listens and answers each connection with a text, after the first bytes of the
// client's, and closes it; "" says nothing and closes nothing.
func speaks(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if text != "" {
				running.Go(func() {
					defer conn.Close()
					_, _ = conn.Read(make([]byte, 1000))
					_, _ = conn.Write([]byte(text))
				})
			}
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

// refusal is an error of PostgreSQL's as it is sent.
func refusal(code, message string) string {
	body := "SFATAL\x00VFATAL\x00C" + code + "\x00M" + message + "\x00\x00"
	return "E" + string([]byte{0, 0, 0, byte(len(body) + 4)}) + body
}

// TestTargetErrors: each way to fail has its code and status, and no password is told.
func TestTargetErrors(t *testing.T) {
	t.Parallel()
	const canary = "canary-41c9e7"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	at := func(address, query string) string {
		return fmt.Sprintf("postgres://app:%s@%s/db?sslmode=disable%s", canary, address, query)
	}
	real, err := url.Parse(testenv.Database(t, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`))
	if err != nil {
		t.Fatal(err)
	}
	role := "athena_provision_test_" + strings.ToLower(real.Path[len(real.Path)-8:])
	rows(t, real.String(), "CREATE ROLE "+role+" LOGIN PASSWORD '"+canary+"'")
	t.Cleanup(func() { rows(t, real.String(), "DROP ROLE "+role) })
	as := func(user *url.Userinfo, database, options string) string {
		u := *real
		u.User = user
		if database != "" {
			u.Path = database
		}
		query := u.Query()
		query.Set("options", options)
		u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
		return u.String()
	}
	for _, test := range []struct {
		name, uri    string
		kind         sdk.Kind
		reason, code string
	}{
		{"nothing listens", at(closed.Addr().String(), ""), sdk.Unavailable, "unreachable", ""},
		{"no such host", at("nowhere.invalid", ""), sdk.Unavailable, "unreachable", ""},
		{"silent", at(speaks(t, ""), "&connect_timeout=1"), sdk.Unavailable, "unreachable", ""},
		{"closes", at(speaks(t, "R"), ""), sdk.Unavailable, "unreachable", ""},
		{"a web server", at(speaks(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), ""), sdk.Invalid, "not_postgres", ""},
		{"a mail server, for TLS", strings.Replace(at(speaks(t, "220 mail ESMTP\r\n"), ""), "disable", "require", 1), sdk.Invalid, "not_postgres", ""},
		{"a shell server, for TLS", strings.Replace(at(speaks(t, "SSH-2.0-OpenSSH_9.9\r\n"), ""), "disable", "require", 1), sdk.Invalid, "not_postgres", ""},
		{"wrong password", at(speaks(t, refusal("28P01", "password "+canary+" is wrong")), ""), sdk.Invalid, "invalid_credentials", "28P01"},
		{"starting", at(speaks(t, refusal("57P03", "the database system is starting up")), ""), sdk.Unavailable, "unreachable", "57P03"},
		{"full", at(speaks(t, refusal("53300", "sorry, too many clients already")), ""), sdk.Unavailable, "unreachable", "53300"},
		{"a pooler without a server", at(speaks(t, refusal("08006", "server conn crashed?")), ""), sdk.Unavailable, "unreachable", "08006"},
		{"no database", as(url.UserPassword("postgres", canary), "/nowhere", ""), sdk.Invalid, "unknown_database", "3D000"},
		{"no right", as(url.UserPassword(role, canary), "", ""), sdk.Forbidden, "insufficient_privilege", "42501"},
		{"read only", as(url.UserPassword("postgres", canary), "", "-c default_transaction_read_only=on"), sdk.Invalid, "read_only", "25006"},
		{"wrong option", as(url.UserPassword("postgres", canary), "", "-c nothing.like.this-one"), sdk.Invalid, "provision_failed", "42601"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := target(t, test.uri).Provision(t.Context())
			e := sdk.AsError(err)
			if e == nil || e.Kind != test.kind || e.Reason != test.reason || e.Code != test.code || e.Message == "" {
				t.Errorf("%#v", e)
			}
			if test.kind == sdk.Unavailable && (e.Executed != sdk.ExecutedNo || e.RetryAfter == 0) {
				t.Errorf("nothing was executed, and it can be tried again: %#v", e)
			}
			if strings.Contains(fmt.Sprintf("%#v %v", e, err), canary) {
				t.Errorf("the error tells the password: %#v", e)
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if e := sdk.AsError(second(target(t, at(speaks(t, ""), "")).Provision(ctx))); e.Reason != "unreachable" {
			t.Errorf("%#v", e)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestCallersTarget: a caller's URI reads no file of this machine and names each of its hosts.
func TestCallersTarget(t *testing.T) {
	t.Setenv("PGPASSWORD", "canary-of-ours")
	t.Setenv("PGSSLMODE", "")
	passwords := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passwords, []byte("*:*:*:*:canary-of-ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", passwords)
	certificates := testenv.TLS(t)
	t.Setenv("PGSSLCERT", certificates.ClientCert)
	t.Setenv("PGSSLKEY", certificates.ClientKey)
	for _, uri := range []string{
		"", "host=localhost user=app", "mysql://app@localhost/db", "POSTGRES://localhost/db", "file:///etc/passwd", "postgres://app:pw@localhost:port/db",
		"postgres://localhost/db?service=x", "postgres://localhost/db?servicefile=/etc/passwd", "postgres://localhost/db?passfile=/etc/passwd",
		"postgres://localhost/db?sslkey=/etc/shadow", "postgres://localhost/db?sslcert=/etc/passwd", "postgres://localhost/db?sslrootcert=/etc/passwd",
		"postgres://localhost/db?sslpassword=x", "postgres://localhost/db?pool_max_conns=5", "postgres://localhost/db?hostaddr=10.0.0.1", "postgres://localhost/d%00b",
	} {
		if _, err := CallersTarget(uri); err == nil || sdk.AsError(err).Reason != "invalid_uri" || strings.Contains(err.Error(), "app:pw") {
			t.Errorf("%q: %v", uri, err)
		}
	}
	for uri, hosts := range map[string][]string{
		"postgres://app@db.example.com/db":                               {"db.example.com"},
		"postgresql://app@a:1,b:2,[::1]:3/db?sslmode=prefer":             {"a", "b", "::1"},
		"postgres://app@localhost/db?host=10.0.0.7":                      {"10.0.0.7"},
		"postgres://app@localhost/db?host=localhost,169.254.169.254":     {"localhost", "169.254.169.254"},
		"postgres:///db?host=/var/run/postgresql":                        {"/var/run/postgresql"},
		"postgres://app@%2Fvar%2Frun%2Fpostgresql/db":                    {"/var/run/postgresql"},
		"postgres://app@localhost/db?sslmode=disable&search_path=athena": {"localhost"},
		"postgres://host:5432/x":                                         {"host"},
		"postgres://app:@host:5432/x":                                    {"host"},
		"postgres://app@host/password?application_name=password":         {"host"},
		"postgres://app:pw@host/x?password=":                             {"host"},
	} {
		target, err := CallersTarget(uri)
		if err != nil {
			t.Errorf("%q: %v", uri, err)
			continue
		}
		if got := target.Hosts(); !slices.Equal(got, hosts) {
			t.Errorf("%q: %q", uri, got)
		}
		if target.config.Password != "" {
			t.Errorf("%q: a password of this process would be sent there", uri)
		}
		for _, end := range append(target.config.Fallbacks, &pgconn.FallbackConfig{TLSConfig: target.config.TLSConfig}) {
			if end.TLSConfig != nil && len(end.TLSConfig.Certificates) > 0 {
				t.Errorf("%q: a certificate of this process would be shown there", uri)
			}
		}
	}
	for _, uri := range []string{"postgres://app:mine@localhost/db", "postgres://app@localhost/db?password=mine", "postgres://app:mine@a,b/db",
		"postgres://app:theirs@localhost:5432?password=mine", "postgres://app@localhost/db?passwor%64=mine"} {
		if target, err := CallersTarget(uri); err != nil || target.config.Password != "mine" {
			t.Errorf("%q: %v", uri, err)
		}
	}
	target, err := ClientTarget("postgres://app:old@localhost/db?pool_max_conns=5", "new")
	if err != nil || target.config.Password != "new" || target.String() != "localhost:5432/db" {
		t.Errorf("%v, %v", target, err)
	}
}

// TestPin: what was looked up once is what is connected to.
func TestPin(t *testing.T) {
	t.Parallel()
	address, err := net.ResolveTCPAddr("tcp", speaks(t, refusal("57P03", "the pinned one")))
	if err != nil {
		t.Fatal(err)
	}
	for name, reason := range map[string]string{"db.invalid": "57P03", "other.invalid": ""} {
		target := target(t, fmt.Sprintf("postgres://app@%s:%d/db?sslmode=disable", name, address.Port))
		target.Pin(map[string][]string{"db.invalid": {"127.0.0.1"}})
		if _, err := target.Provision(t.Context()); sdk.AsError(err).Code != reason {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProvisionDamaged makes a table anew that was dropped, and leaves the others as they are.
func TestProvisionDamaged(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t)
	provision := func() (*Applied, error) { return target(t, uri).Provision(t.Context()) }
	if _, err := provision(); err != nil {
		t.Fatal(err)
	}
	rows(t, uri, `INSERT INTO api_registry (id, name) VALUES ('0198c0de-0000-7000-8000-000000000001', 'kept') RETURNING name`)
	rows(t, uri, `WITH k AS (INSERT INTO api_keys (name) VALUES ('old') RETURNING id), r AS (INSERT INTO api_key_rights (name) VALUES ('a.right') RETURNING id)
		INSERT INTO api_key_right_grants SELECT k.id, r.id FROM k, r RETURNING ''`)
	rows(t, uri, "DROP TABLE gateway_operation_log")
	if applied, err := provision(); err != nil || applied.Statements == 0 {
		t.Fatalf("%+v, %v", applied, err)
	}
	if got := rows(t, uri, "SELECT a.name || k.name || count(*) FROM api_registry a, api_keys k JOIN api_key_right_grants g ON g.api_key_id = k.id GROUP BY a.name, k.name"); !slices.Equal(got, []string{"keptold1"}) {
		t.Errorf("%q", got)
	}
	if again, err := provision(); err != nil || again.Statements != 0 {
		t.Errorf("%+v, %v", again, err)
	}

	// What is in use is not waited for.
	rows(t, uri, "DROP TABLE gateway_operation_log")
	db, err := sql.Open("pgx", uri)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec("LOCK TABLE api_registry IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	if _, err := provision(); sdk.AsError(err).Reason != "unreachable" || sdk.AsError(err).Executed != sdk.ExecutedNo {
		t.Errorf("while somebody reads: %v", err)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := provision(); err != nil {
		t.Error(err)
	}

	// Ids begin again in a new table: the grants of the old keys would be those of the new.
	rows(t, uri, "DROP TABLE api_keys CASCADE")
	if _, err := provision(); sdk.AsError(err).Reason != "provision_damaged" {
		t.Errorf("without the keys: %v", err)
	}
	if _, missing, err := target(t, uri).Inspect(t.Context()); err != nil || !slices.Equal(missing, []string{"api_keys"}) {
		t.Errorf("missing: %v, %v", missing, err)
	}
	rows(t, uri, "DROP TABLE api_key_rights, api_key_right_grants")
	if _, err := provision(); err != nil {
		t.Error(err)
	}
	if _, missing, err := target(t, uri).Inspect(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("missing: %v, %v", missing, err)
	}

	// What fails changes nothing, and keeps no gateway from starting.
	rows(t, uri, "ALTER TABLE gateway_operation_log RENAME TO gateway_operation_log_2025")
	if _, err := provision(); sdk.AsError(err).Reason != "provision_failed" {
		t.Errorf("an index has the name of a new one: %v", err)
	}
	if got := rows(t, uri, "SELECT max(version_id)::text FROM "+migrationsTable); !slices.Equal(got, []string{"1"}) {
		t.Errorf("version %q", got)
	}
}
