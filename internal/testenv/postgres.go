// Package testenv gives tests what they need from outside: databases on a PostgreSQL
// server, and the plugins' binaries. What is missing fails the test and says how to get it.
package testenv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const postgresVariable = "ATHENA_TEST_POSTGRES_URI"

// Postgres returns the URI of a server where tests may create databases.
func Postgres(t testing.TB) string {
	t.Helper()
	uri := os.Getenv(postgresVariable)
	if uri == "" {
		t.Fatalf("this test needs PostgreSQL: run it by `scripts/with-postgres.sh go test ...` or `make test`, "+
			"or set %s to the URI of a server where databases may be created, such as postgres://postgres@127.0.0.1:5432/postgres",
			postgresVariable)
	}
	if parsed, err := url.Parse(uri); err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
		t.Fatalf("%s must have the form postgres://user:password@host:port/database", postgresVariable)
	}
	return uri
}

// Database creates a database of its own for t, runs setupSQL in it and returns its URI.
// It is dropped, with whatever is still connected to it, when t ends.
//
// The setup runs once: its outcome is kept on the server as a template named by the
// setup's hash, so tests with the same setup cost a copy each, in every package and run.
func Database(t testing.TB, setupSQL ...string) string {
	t.Helper()
	uri := Postgres(t)
	name := "athena_test_" + strings.ToLower(rand.Text()[:16])
	template := "template0"
	admin := connect(t, uri)
	if len(setupSQL) > 0 {
		template = ensureTemplate(t, uri, admin, strings.Join(setupSQL, ";\n"))
	}
	run(t, admin, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template))
	disconnect(admin)
	t.Cleanup(func() {
		admin := connect(t, uri)
		defer disconnect(admin)
		run(t, admin, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name))
	})
	return withDatabase(uri, name)
}

// ensureTemplate returns the name of the database that holds the setup's outcome. The
// lock is for packages that are tested at the same time, the rename for a setup that
// fails half way.
func ensureTemplate(t testing.TB, uri string, admin *pgconn.PgConn, setup string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(setup))
	name := "athena_template_" + hex.EncodeToString(sum[:8])
	run(t, admin, "SELECT pg_advisory_lock(hashtext('athena_template'))")
	defer run(t, admin, "SELECT pg_advisory_unlock(hashtext('athena_template'))")
	if len(run(t, admin, fmt.Sprintf("SELECT 1 FROM pg_database WHERE datname = '%s'", name))) > 0 {
		return name
	}
	unfinished := name + "_new"
	run(t, admin, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", unfinished))
	run(t, admin, fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0", unfinished))
	conn := connect(t, withDatabase(uri, unfinished))
	defer disconnect(conn) // for a setup that fails
	run(t, conn, setup)
	disconnect(conn)
	run(t, admin, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", unfinished, name))
	return name
}

func withDatabase(uri, name string) string {
	parsed, err := url.Parse(uri)
	if err != nil {
		panic(err) // Postgres has parsed it before
	}
	parsed.Path = "/" + name
	return parsed.String()
}

func connect(t testing.TB, uri string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, uri)
	if err != nil {
		t.Fatalf("the PostgreSQL of %s: %v", postgresVariable, err)
	}
	return conn
}

// disconnect waits until the server has let go, so that a database can be copied at once.
func disconnect(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is closed either way
	<-conn.CleanupDone()
}

// run executes SQL text, which may hold several statements, and returns the last one's rows.
func run(t testing.TB, conn *pgconn.PgConn, sql string) [][][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%.200s: %v", sql, err)
	}
	if len(results) == 0 {
		return nil
	}
	return results[len(results)-1].Rows
}
