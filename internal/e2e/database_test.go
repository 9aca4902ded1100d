//go:build linux

package e2e

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"
)

// database is a connection of the test's own to what the gateway changes.
type database interface {
	// text runs a statement and returns the one value of its one row as text.
	text(t *testing.T, sql string) string
}

type postgres struct{ conn *pgx.Conn }

func openPostgres(t *testing.T, uri string) postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return postgres{conn}
}

func (p postgres) text(t *testing.T, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	result := p.conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatalf("%s: %v", sql, result.Err)
	}
	if len(result.Rows) == 0 {
		return ""
	}
	return string(result.Rows[0][0])
}

// busy is how many connections of gateways work in the database.
func (p postgres) busy(t *testing.T) string {
	t.Helper()
	return p.text(t, `select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'athena' and state <> 'idle'`)
}

// waitsFor reports whether a connection of a gateway's waits in the database for event. The
// one that listens for changes waits for its client.
func (p postgres) waitsFor(t *testing.T, event string) bool {
	t.Helper()
	return p.text(t, `select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'athena' and state <> 'idle' and wait_event = '`+event+`'`) == "1"
}

type sqliteFile struct{ db *sql.DB }

// makeSQLite makes a database file and returns its path and a way to read it.
func makeSQLite(t *testing.T, setup string) (string, sqliteFile) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec(setup); err != nil {
		t.Fatal(err)
	}
	return path, sqliteFile{db}
}

func (s sqliteFile) text(t *testing.T, query string) string {
	t.Helper()
	var value sql.NullString
	if err := s.db.QueryRow(query).Scan(&value); err != nil && err != sql.ErrNoRows {
		t.Fatalf("%s: %v", query, err)
	}
	return value.String
}
