package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestTLS(t *testing.T) {
	certificates, strangers := testenv.TLS(t), testenv.TLS(t)
	server := testenv.Server(t, testenv.ServerOptions{TLS: certificates, HBA: []string{
		"hostssl certified postgres all cert", "hostssl postgres postgres all trust",
	}})
	server.Exec(t, "postgres", "create database certified")
	uri := func(host, database string, params url.Values) string {
		u, err := url.Parse(server.URI(database))
		if err != nil {
			t.Fatal(err)
		}
		u.Host = host + ":" + u.Port()
		u.RawQuery = params.Encode()
		return u.String()
	}
	for name, test := range map[string]struct {
		database string
		params   url.Values
		reason   string // "": it connects
	}{
		"require":            {"postgres", url.Values{"sslmode": {"require"}}, ""},
		"prefer":             {"postgres", url.Values{"sslmode": {"prefer"}}, ""},
		"verify-ca":          {"postgres", url.Values{"sslmode": {"verify-ca"}, "sslrootcert": {certificates.CA}}, ""},
		"verify-full":        {"postgres", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {certificates.CA}}, ""},
		"unknown authority":  {"postgres", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {strangers.CA}}, "connect_failed"},
		"no authority given": {"postgres", url.Values{"sslmode": {"verify-full"}}, "connect_failed"},
		"no TLS":             {"postgres", url.Values{"sslmode": {"disable"}}, "authentication_failed"},
		"certificate":        {"certified", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {certificates.CA}, "sslcert": {certificates.ClientCert}, "sslkey": {certificates.ClientKey}}, ""},
		"no certificate":     {"certified", url.Values{"sslmode": {"require"}}, "authentication_failed"},
		"wrong certificate":  {"certified", url.Values{"sslmode": {"require"}, "sslcert": {strangers.ClientCert}, "sslkey": {strangers.ClientKey}}, "connect_failed"},
		"no such file":       {"postgres", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {"/nonexistent"}}, "invalid_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := tryOpen(t, uri("localhost", test.database, test.params), nil)
			if test.reason != "" {
				kind := sdk.Unavailable
				if test.reason == "invalid_uri" {
					kind = sdk.Invalid
				}
				wantError(t, answer{}, err, kind, test.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if got := must(t, db, sqlText("select ssl from pg_stat_ssl where pid = pg_backend_pid()")).body; got != `[{"ssl":true}]` {
				t.Error(got)
			}
		})
	}
}

// TestTLSDeadIdle: a write is not sent over a connection that the server has ended.
func TestTLSDeadIdle(t *testing.T) {
	server := testenv.Server(t, testenv.ServerOptions{TLS: testenv.TLS(t)})
	server.Exec(t, "postgres", "create table lines (note text)")
	db := openURI(t, withParam(t, server.URI("postgres"), "sslmode", "require"), map[string]any{"max_connections": 1})
	insert := sdk.Statement{Verb: sdk.Insert, Table: table("lines"), Rows: sdk.Rowset{Payload: []byte(`{"note":"x"}`), Columns: []string{"note"}}}
	pid := must(t, db, sqlText("select pg_backend_pid() as pid")).body
	for range 3 {
		must(t, db, insert)
	}
	if got := must(t, db, sqlText("select pg_backend_pid() as pid")).body; got != pid {
		t.Error("a connection that lives is taken for dead")
	}
	c, err := db.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, "postgres", "select pg_terminate_backend("+strconv.Itoa(int(c.pg.PID()))+")")
	func() {
		defer c.release()
		eventually(t, 5*time.Second, "it is seen to be dead", c.socket.isDead)
	}()
	must(t, db, insert)
}

// TestPasswordFile: a password that changes is read again when the server wants it.
func TestPasswordFile(t *testing.T) {
	server := testenv.Server(t, testenv.ServerOptions{HBA: []string{"host all secretive all scram-sha-256"}})
	server.Exec(t, "postgres", "create role secretive login password 'first'")
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	uri := withParam(t, server.URI("postgres"), "user", "secretive")
	write("wrong")
	_, err := tryOpen(t, uri, map[string]any{"password_file": file})
	wantError(t, answer{}, err, sdk.Unavailable, "authentication_failed")
	write("first")
	db := openURI(t, uri, map[string]any{"password_file": file})
	server.Exec(t, "postgres", "alter role secretive password 'second'")
	db.pool.Reset()
	fails(t, db, sqlText("select 1"), sdk.Unavailable, "authentication_failed")
	write("second")
	must(t, db, sqlText("select 1"))
	_, err = tryOpen(t, uri, map[string]any{"password_file": file + ".missing"})
	wantError(t, answer{}, err, sdk.Invalid, "invalid_config")
}
