package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/rawio"
)

// server is the connections to one server.
type server struct {
	pool           *pgxpool.Pool
	slots          chan struct{} // as many as the pool has connections
	acquireTimeout time.Duration
	password       *passwordFile // nil: the password is the uri's
	lastLoss       atomic.Int64  // second of the last connectionLost
	waits          atomic.Int64  // calls that waited for a slot
	timeouts       atomic.Int64  // and in vain
}

// newServer makes the pool of a server. It does not connect yet.
func newServer(ctx context.Context, uri string, config *Config, caching bool) (*server, error) {
	settings, err := poolConfig(uri, config, caching)
	if err != nil {
		return nil, err
	}
	s := &server{slots: make(chan struct{}, config.MaxConnections), acquireTimeout: config.AcquireTimeout}
	if config.PasswordFile != "" {
		s.password = &passwordFile{path: config.PasswordFile}
		if err := s.password.read(); err != nil {
			return nil, sdk.E(sdk.Invalid, "invalid_config", "the password_file cannot be read").
				WithHint("it must exist, and the user that Athena runs as must be allowed to read it")
		}
		settings.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			c.Password = s.password.current()
			return nil
		}
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		return nil, sdk.E(sdk.Invalid, "invalid_config", err.Error())
	}
	return s, nil
}

func poolConfig(uri string, config *Config, caching bool) (*pgxpool.Config, error) {
	settings, err := pgxpool.ParseConfig(uri)
	if err != nil || uri == "" { // the error's text may hold parts of the password
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
	if caching { // PgBouncer refuses parameters it does not track
		params["IntervalStyle"] = "postgres"
		params["bytea_output"] = "hex"
	}
	return settings, nil
}

// passwordFile is a password that is kept in a file, which may change.
type passwordFile struct {
	path string
	last atomic.Pointer[string]
}

// read reads the file.
func (p *passwordFile) read() error {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	password := strings.TrimRight(string(content), "\r\n")
	p.last.Store(&password)
	return nil
}

// current is the password as it was last read, "" without a file.
func (p *passwordFile) current() string {
	if p == nil {
		return ""
	}
	return *p.last.Load()
}

// changed reports whether err may be because of an outdated password: the server refused
// it, and the file holds another one by now.
func (p *passwordFile) changed(used string, err error) bool {
	return p != nil && isAuthentication(err) && p.read() == nil && p.current() != used
}

// acquire waits for a free connection, at most the acquire timeout; connecting has
// a timeout of its own. Who has a slot does not wait for others inside the pool, so that
// the usual case needs no timer. Whoever gives the connection back gives the slot back.
func (s *server) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	default:
		if err := s.waitForSlot(ctx); err != nil {
			return nil, err
		}
	}
	password := s.password.current()
	pooled, err := s.pool.Acquire(ctx)
	if err != nil && s.password.changed(password, err) {
		pooled, err = s.pool.Acquire(ctx)
	}
	if err == nil {
		return pooled, nil
	}
	<-s.slots
	if ctx.Err() != nil {
		return nil, neverStarted(ctx)
	}
	return nil, connectError(err, &s.pool.Config().ConnConfig.Config)
}

func isAuthentication(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "28")
}

func (s *server) waitForSlot(ctx context.Context) error {
	s.waits.Add(1)
	timer := time.NewTimer(s.acquireTimeout)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return neverStarted(ctx)
	case <-timer.C:
		s.timeouts.Add(1)
		e := sdk.E(sdk.Unavailable, "pool_exhausted", fmt.Sprintf("all %d connections to the database were busy for %s", cap(s.slots), s.acquireTimeout)).
			WithHint("try again later, or raise max_connections")
		e.RetryAfter = time.Second
		return e
	}
}

// connectionLost closes the idle connections too, at most once a second: when a server
// goes down all of them are dead, and a call that is tried again should not meet each.
func (s *server) connectionLost() {
	now := time.Now().Unix()
	if last := s.lastLoss.Load(); last != now && s.lastLoss.CompareAndSwap(last, now) {
		s.pool.Reset()
	}
}

// neverStarted is the error of a call whose context ended before it did anything.
func neverStarted(ctx context.Context) error {
	e := *sdk.AsError(context.Cause(ctx))
	e.Executed = sdk.ExecutedNo
	return &e
}
