package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Config is what opens an instance.
type Config struct {
	Path           string        `json:"path" athena:"required,path,doc=The database file"`
	ReadOnly       bool          `json:"read_only" athena:"doc=Refuse every write"`
	Sample         bool          `json:"sample" athena:"doc=When the file does not exist, create it with a small sample database"`
	BusyTimeout    time.Duration `json:"busy_timeout" athena:"default=5s,doc=How long to wait for a lock that another process holds"`
	MaxConnections int           `json:"max_connections" athena:"default=8,doc=How many reads run at a time; writes run one at a time"`
}

var capabilities = sdk.Capabilities{
	Verbs: []sdk.Verb{sdk.Select, sdk.Insert, sdk.Update, sdk.Delete, sdk.Count, sdk.SQL},
	Operators: []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.In, sdk.Is,
		sdk.IsDistinct},
	Transactions: true,
	Returning:    true,
	Conflict:     true,
	Relations:    true,
	JSONPaths:    true,
	Aggregates:   true,
	Distinct:     true,
	Quantifiers:  true,
	Totals:       true,
	Defaults:     true,
	Explain:      true,
	CSV:          true,
	Raw:          true,
}

// database is one opened file. In WAL mode its readers see the last commit while a
// write is under way, and there is one writer at a time: waiting for its one connection
// is how writes queue.
type database struct {
	path      string
	readers   *sql.DB
	writer    *sql.DB // nil: read-only
	catalogue atomic.Pointer[catalogue]
}

var (
	_ sdk.Instance = (*database)(nil)
	_ sdk.Pinger   = (*database)(nil)
)

func open(ctx context.Context, config Config) (*database, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(config.Path); errors.Is(err, fs.ErrNotExist) {
		if !config.Sample {
			return nil, sdk.E(sdk.Unavailable, "database_missing", fmt.Sprintf("there is no database file %s", config.Path)).
				WithHint("create it, correct the path, or set sample: true for a small sample database")
		}
		if err := createSample(ctx, config.Path); err != nil {
			return nil, sdk.E(sdk.Unavailable, "cannot_create", fmt.Sprintf("the sample database %s cannot be created: %s", config.Path, err)).
				WithHint("give a path in a folder that the gateway may write to")
		}
	}
	db := &database{path: config.Path}
	if !config.ReadOnly {
		// The writer comes first: it turns WAL mode on, which readers cannot.
		db.writer = openPool(config.dsn("journal_mode(wal)"), 1)
		if err := db.ping(ctx, db.writer); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	db.readers = openPool(config.dsn("query_only(1)"), config.MaxConnections)
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (c *Config) check() error {
	switch {
	case c.Path == "" || strings.Contains(c.Path, ":memory:"):
		return sdk.E(sdk.Invalid, "invalid_config", "path must name a file: every connection would have a memory database of its own")
	case c.MaxConnections < 1:
		return sdk.E(sdk.Invalid, "invalid_config", "max_connections must be at least 1")
	case c.BusyTimeout < 0:
		return sdk.E(sdk.Invalid, "invalid_config", "busy_timeout must not be negative")
	}
	return nil
}

// dsn is the driver's name for the file. Opening never creates it.
func (c *Config) dsn(pragma string) string {
	q := url.Values{"mode": {"rw"}, "_defensive": {"1"}, "_error_rc": {"1"}}
	if c.ReadOnly {
		q.Set("mode", "ro")
	}
	q["_pragma"] = []string{fmt.Sprintf("busy_timeout(%d)", c.BusyTimeout.Milliseconds()), "foreign_keys(1)", pragma}
	path := (&url.URL{Path: c.Path}).EscapedPath()
	return "file:" + path + "?" + q.Encode()
}

// Ping reads the file's header.
func (db *database) Ping(ctx context.Context) error { return db.ping(ctx, db.readers) }

func (db *database) ping(ctx context.Context, pool *sql.DB) error {
	return db.with(ctx, pool, func(c *conn) error {
		_, err := c.integer(ctx, "PRAGMA schema_version")
		return db.mapError(ctx, err)
	})
}

// Close closes the connections. The writer goes last and folds the log into the file.
func (db *database) Close() error {
	var err error
	if db.readers != nil {
		err = db.readers.Close()
	}
	if db.writer != nil {
		err = errors.Join(err, db.writer.Close())
	}
	return err
}

// with runs f with a connection of pool, waiting for a free one.
func (db *database) with(ctx context.Context, pool *sql.DB, f func(*conn) error) error {
	c, err := pool.Conn(ctx)
	if err != nil {
		return db.mapError(ctx, err)
	}
	defer c.Close()
	return c.Raw(func(driverConn any) error { return f(driverConn.(*conn)) })
}
