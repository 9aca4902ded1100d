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
	db, closed, err := openPostgres(ctx, uri)
	if err != nil {
		return err
	}
	l.db, l.closed = db, closed
	return nil
}

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
	l.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return err
	}
	l.db.SetMaxOpenConns(4)
	l.lockFile, l.writer = path+".lock", make(chan struct{}, 1)
	l.closed = func() { _ = l.db.Close() }
	return nil
}

// openPostgres makes a pool for uri. The error does not hold the URI, which holds a password.
func openPostgres(ctx context.Context, uri string) (*sql.DB, func(), error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, nil, errors.New("ledger.uri is no PostgreSQL URI: want postgres://USER:PASSWORD@HOST/DATABASE")
	}
	config.MaxConns = max(config.MaxConns, 6)
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "athena"
	}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(pool)
	return db, func() {
		_ = db.Close()
		pool.Close()
	}, nil
}
