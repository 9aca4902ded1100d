package ledger

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// open makes the connections; none is used yet.
func (l *Ledger) open(ctx context.Context, uri string) error {
	path, lite := strings.CutPrefix(uri, "sqlite://")
	if l.postgres = !lite; lite {
		return l.openSQLite(path)
	}
	return l.openPostgres(ctx, uri)
}

// What a gateway has of connections to its ledger. Reads may take all but those that are for
// changes and logs, which on SQLite take turns at one.
const (
	liteConns  = 5
	liteWrites = 1
	leastConns = 8 // of PostgreSQL, however few its URI allows
	writes     = 4
)

// openSQLite opens a file. Commits reach the disk, readers do not wait for writers.
func (l *Ledger) openSQLite(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // the driver would let everybody read it
	if err != nil {
		return err
	}
	_ = file.Close()
	query := url.Values{"_time_format": {"sqlite"}, "_timezone": {"UTC"}, "_txlock": {"immediate"},
		"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "foreign_keys(1)"}}
	name := (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
	if l.db, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	if l.looks, err = sql.Open("sqlite", name); err != nil {
		return err
	}
	l.db.SetMaxOpenConns(liteConns)
	l.reads = make(chan struct{}, liteConns-liteWrites)
	l.lockFile, l.writer = path+".lock", make(chan struct{}, liteWrites)
	l.closed = func() { _, _ = l.looks.Close(), l.db.Close() }
	return nil
}

// openPostgres makes pools for uri. The error does not hold the URI, which holds a password.
func (l *Ledger) openPostgres(ctx context.Context, uri string) error {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return errors.New("ledger.uri is no PostgreSQL URI: want postgres://USER:PASSWORD@HOST/DATABASE")
	}
	config.MaxConns = max(config.MaxConns, leastConns)
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "athena"
	}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	// Looks need one connection and loads seldom a few more, but one that was given up in an
	// outage keeps its place for many seconds.
	looking := config.Copy()
	looking.MinConns, looking.MinIdleConns, looking.MaxConns = 0, 0, 32
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	looks, err := pgxpool.NewWithConfig(ctx, looking)
	if err != nil {
		pool.Close()
		return err
	}
	l.db, l.looks = stdlib.OpenDBFromPool(pool), stdlib.OpenDBFromPool(looks)
	l.reads = make(chan struct{}, config.MaxConns-writes)
	l.closed = func() {
		_, _ = l.looks.Close(), l.db.Close()
		looks.Close()
		pool.Close()
	}
	return nil
}
