package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/rawio"
)

// Config is an instance's config.
type Config struct {
	URI              string        `json:"uri" athena:"required,secret,doc=connection URI: postgres://user:password@host:5432/database?sslmode=require"`
	MaxConnections   int           `json:"max_connections" athena:"default=16,doc=connections to the server at most"`
	MinConnections   int           `json:"min_connections" athena:"default=0,doc=connections kept open when idle"`
	ConnectTimeout   time.Duration `json:"connect_timeout" athena:"default=5s,doc=how long connecting may take"`
	AcquireTimeout   time.Duration `json:"acquire_timeout" athena:"default=10s,doc=how long a call waits for a free connection"`
	MaxConnIdle      time.Duration `json:"max_conn_idle" athena:"default=10m,doc=close a connection that was idle for so long"`
	MaxConnLifetime  time.Duration `json:"max_conn_lifetime" athena:"default=1h,doc=replace a connection that is so old"`
	ApplicationName  string        `json:"application_name" athena:"default=athena,doc=name shown in pg_stat_activity"`
	StatementCache   string        `json:"statement_cache" athena:"default=prepare,enum=prepare|off,doc=off for a pooler such as PgBouncer in transaction mode, which keeps neither prepared statements nor SET from one statement to the next"`
	CatalogueRefresh time.Duration `json:"catalogue_refresh" athena:"default=1m,doc=how often tables and types are read again; one that is missed is looked for at once"`
}

// database is an opened instance.
type database struct {
	pool           *pgxpool.Pool
	slots          chan struct{} // as many as the pool has connections
	acquireTimeout time.Duration
	caching        bool
	catalogues     catalogues
	lastLoss       atomic.Int64 // second of the last connectionLost

	stop context.CancelFunc // ends refresh
	done sync.WaitGroup
}

var (
	_ sdk.Instance = (*database)(nil)
	_ sdk.Pinger   = (*database)(nil)
)

// open connects and reads the catalogue, so that a wrong config is an error now.
func open(ctx context.Context, config Config) (*database, error) {
	settings, err := poolConfig(config)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, settings)
	if err != nil {
		return nil, sdk.E(sdk.Invalid, "invalid_config", err.Error())
	}
	db := &database{
		pool: pool, slots: make(chan struct{}, config.MaxConnections), acquireTimeout: config.AcquireTimeout,
		caching:    config.StatementCache != "off",
		catalogues: catalogues{loading: make(chan struct{}, 1)},
	}
	if err := db.reload(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	refreshing, stop := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = stop
	db.done.Go(func() { db.refresh(refreshing, config.CatalogueRefresh) })
	return db, nil
}

func poolConfig(config Config) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(config.URI)
	if err != nil || config.URI == "" { // the error's text may hold parts of the password
		return nil, sdk.E(sdk.Invalid, "invalid_uri", "the uri is not a PostgreSQL connection URI").
			WithHint("it reads postgres://user:password@host:5432/database; percent-encode special characters of the password, and see that sslmode and files named in it are right")
	}
	if config.MaxConnections < 1 || config.MinConnections < 0 || config.MinConnections > config.MaxConnections {
		return nil, sdk.E(sdk.Invalid, "invalid_config", "max_connections must be at least 1 and min_connections between 0 and max_connections")
	}
	if config.ConnectTimeout <= 0 || config.AcquireTimeout <= 0 {
		return nil, sdk.E(sdk.Invalid, "invalid_config", "connect_timeout and acquire_timeout must be more than 0")
	}
	settings.MaxConns = int32(config.MaxConnections)
	settings.MinConns = int32(config.MinConnections)
	settings.MaxConnIdleTime = config.MaxConnIdle
	settings.MaxConnLifetime = config.MaxConnLifetime
	settings.MaxConnLifetimeJitter = config.MaxConnLifetime / 10
	settings.PingTimeout = config.ConnectTimeout
	settings.ConnConfig.ConnectTimeout = config.ConnectTimeout
	dial := settings.ConnConfig.DialFunc
	settings.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return rawio.Wrap(c), nil
	}
	settings.ConnConfig.StatementCacheCapacity = 0
	settings.ConnConfig.DescriptionCacheCapacity = 0
	params := settings.ConnConfig.RuntimeParams
	params["application_name"] = config.ApplicationName
	// The encoder reads these forms.
	params["client_encoding"] = "UTF8"
	params["DateStyle"] = "ISO"
	// And readScript takes a backslash for itself.
	params["standard_conforming_strings"] = "on"
	if config.StatementCache != "off" { // PgBouncer refuses parameters it does not track
		params["IntervalStyle"] = "postgres"
		params["bytea_output"] = "hex"
	}
	return settings, nil
}

// reload reads the catalogue over a connection of its own.
func (db *database) reload(ctx context.Context) error {
	// Not to wait for others' loads with a connection in hand.
	if err := db.catalogues.settle(ctx); err != nil {
		return err
	}
	if db.catalogues.fresh() {
		return nil
	}
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	return db.catalogues.reload(c)
}

// refresh reloads the catalogue from time to time until ctx ends. A load that fails is
// tried again the next time; calls meanwhile say what is wrong with the database.
func (db *database) refresh(ctx context.Context, every time.Duration) {
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = db.reload(ctx)
		}
	}
}

func (db *database) types() map[uint32]*typeInfo { return db.catalogues.current.Load().types }

// acquirePooled waits for a free connection, at most the acquire timeout; connecting has
// a timeout of its own. Who has a slot does not wait for others inside the pool, so that
// the usual case needs no timer. Whoever gives the connection back gives the slot back.
func (db *database) acquirePooled(ctx context.Context) (*pgxpool.Conn, error) {
	select {
	case db.slots <- struct{}{}:
	default:
		if err := db.waitForSlot(ctx); err != nil {
			return nil, err
		}
	}
	pooled, err := db.pool.Acquire(ctx)
	if err == nil {
		return pooled, nil
	}
	<-db.slots
	if ctx.Err() != nil {
		return nil, neverStarted(ctx)
	}
	return nil, connectError(err, &db.pool.Config().ConnConfig.Config)
}

func (db *database) waitForSlot(ctx context.Context) error {
	timer := time.NewTimer(db.acquireTimeout)
	defer timer.Stop()
	select {
	case db.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return neverStarted(ctx)
	case <-timer.C:
		e := sdk.E(sdk.Unavailable, "pool_exhausted", fmt.Sprintf("all %d connections to the database were busy for %s", cap(db.slots), db.acquireTimeout)).
			WithHint("try again later, or raise max_connections")
		e.RetryAfter = time.Second
		return e
	}
}

// neverStarted is the error of a call whose context ended before it did anything.
func neverStarted(ctx context.Context) error {
	e := *sdk.AsError(context.Cause(ctx))
	e.Executed = sdk.ExecutedNo
	return &e
}

// Ping asks the server for an answer.
func (db *database) Ping(ctx context.Context) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if err := c.pg.Exec(context.Background(), "-- ping").Close(); err != nil {
		return (&failure{err: err, ctx: ctx, readOnly: true}).classify()
	}
	return nil
}

// Close closes all connections.
func (db *database) Close() error {
	db.stop()
	db.done.Wait()
	db.pool.Close()
	return nil
}
