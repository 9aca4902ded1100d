package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

// Config is an instance's config.
type Config struct {
	URI              string        `json:"uri" athena:"required,secret,doc=connection URI: postgres://user:password@host:5432/database?sslmode=require"`
	PasswordFile     string        `json:"password_file" athena:"path,doc=file that holds the password, instead of the uri; it is read again when the server refuses the password"`
	Replicas         []string      `json:"replicas" athena:"secret,doc=connection URIs of streaming replicas, which answer reads"`
	ReplicaWait      time.Duration `json:"replica_wait" athena:"default=100ms,doc=how long a read waits for a replica to reach the position it asks for before it goes to the primary"`
	MaxConnections   int           `json:"max_connections" athena:"default=16,doc=connections to a server at most"`
	MinConnections   int           `json:"min_connections" athena:"default=0,doc=connections kept open when idle"`
	ConnectTimeout   time.Duration `json:"connect_timeout" athena:"default=5s,doc=how long connecting may take"`
	WarmupTimeout    time.Duration `json:"warmup_timeout" athena:"default=800ms,doc=how long the first connection may take before the client is held unavailable; 0: as long as connect_timeout"`
	AcquireTimeout   time.Duration `json:"acquire_timeout" athena:"default=10s,doc=how long a call waits for a free connection"`
	MaxConnIdle      time.Duration `json:"max_conn_idle" athena:"default=10m,doc=close a connection that was idle for so long"`
	MaxConnLifetime  time.Duration `json:"max_conn_lifetime" athena:"default=1h,doc=replace a connection that is so old"`
	ApplicationName  string        `json:"application_name" athena:"default=athena,doc=name shown in pg_stat_activity"`
	StatementCache   string        `json:"statement_cache" athena:"default=auto,enum=auto|prepare|off,doc=off for a pooler such as PgBouncer in transaction mode, which keeps neither prepared statements nor SET from one statement to the next; auto finds out"`
	CatalogueRefresh time.Duration `json:"catalogue_refresh" athena:"default=1m,doc=how often tables and types are read again; one that is missed is looked for at once"`
}

// database is an opened instance.
type database struct {
	*server     // the primary
	replicas    []*replica
	replicaWait time.Duration
	turn        atomic.Uint64         // of the replicas
	caching     atomic.Bool           // statements are prepared and kept
	otherTimes  atomic.Pointer[times] // how sessions show times, once one was met that does not in UTC
	auto        bool                  // caching ends when a pooler shows
	catalogues  catalogues

	stop context.CancelFunc // ends what runs in the background
	done sync.WaitGroup
}

var (
	_ sdk.Instance = (*database)(nil)
	_ sdk.Pinger   = (*database)(nil)
)

// open connects and reads the catalogue, so that a wrong config is an error now.
func open(ctx context.Context, config Config) (*database, error) {
	db := &database{
		replicaWait: config.ReplicaWait, auto: config.StatementCache == "auto",
		catalogues: newCatalogues(),
	}
	db.caching.Store(config.StatementCache != "off")
	if err := db.connect(ctx, &config); err != nil {
		return nil, err
	}
	err := db.watchCatalogue(ctx, config.CatalogueRefresh)
	if err == nil {
		err = db.openReplicas(ctx, &config)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// connect makes the primary's pool and its first connection. A pooler that refuses our
// parameters is asked again without them.
func (db *database) connect(ctx context.Context, config *Config) error {
	for {
		s, err := newServer(ctx, config.URI, config, db.caching.Load())
		if err != nil {
			return err
		}
		db.server = s
		err = db.warmUp(ctx, config.WarmupTimeout)
		if err == nil {
			return nil
		}
		s.pool.Close()
		var e *sdk.Error
		if !db.auto || !errors.As(err, &e) || e.Code != "08P01" || !strings.Contains(e.Message, "startup parameter") || !db.stopCaching(e.Message) {
			return err
		}
	}
}

// warmUp makes the first connection within limit; 0: within the connect timeout.
func (db *database) warmUp(ctx context.Context, limit time.Duration) error {
	limited := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	c, err := db.acquire(limited)
	if err == nil {
		c.release()
		return nil
	}
	if limited.Err() == nil || ctx.Err() != nil {
		return err
	}
	e := sdk.E(sdk.Unavailable, sdk.ReasonConnectFailed, fmt.Sprintf("the database did not answer within the %s of warmup_timeout", limit)).
		WithHint("check host and port in the uri and firewalls, or raise warmup_timeout for a server that is slow to connect to")
	e.Source, e.RetryAfter = sdk.FromDownstream, time.Second
	return e
}

// stopCaching ends the keeping of prepared statements, and reports whether it had not
// ended before.
func (db *database) stopCaching(why string) bool {
	if !db.caching.CompareAndSwap(true, false) {
		return false
	}
	hclog.Default().Warn("prepared statements are not kept: the database is behind a pooler that shares its sessions", "because", why)
	return true
}

// times is how sessions are expected to show times. Behind a pooler nobody knows which
// session a statement will reach.
func (db *database) times() times {
	switch other := db.otherTimes.Load(); {
	case !db.caching.Load():
		return timesUnknown
	case other != nil:
		return *other
	}
	return timesUTC
}

func (db *database) types() map[uint32]*typeInfo { return db.catalogues.current.Load().types }

// Ping asks the server for an answer.
func (db *database) Ping(ctx context.Context) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if err := c.pg.Exec(context.Background(), "-- ping").Close(); err != nil {
		return c.failed(err, true)
	}
	return nil
}

// Close closes all connections.
func (db *database) Close() error {
	db.stop()
	db.done.Wait()
	db.closePools()
	return nil
}

func (db *database) closePools() {
	db.pool.Close()
	for _, r := range db.replicas {
		r.pool.Close()
	}
}
