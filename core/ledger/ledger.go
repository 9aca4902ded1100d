// Package ledger is the gateway's own database: who may ask, which clients there are, what
// was done. It is PostgreSQL, which several gateways may share, or an embedded SQLite.
//
// What is kept in memory of it is loaded by Follow and stays in use while the ledger is down;
// what is only appended goes through a Log, off the way of requests. One set of queries
// serves both databases: parameters are $1, times are UTC time.Time values and columns
// declared TIMESTAMP, ids are UUIDs made in Go, JSON is passed as string, and upserts are
// ON CONFLICT. The differences between the two are in this package alone.
package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/sdk"
)

// Options are what Open needs.
type Options struct {
	URI      string // sqlite:// and an absolute path, or postgres://...
	Logger   hclog.Logger
	Registry prometheus.Registerer // gets the ledger's metrics
	// Publish tells other gateways that a subject has changed, so that they need not wait
	// for their next look; nil where nothing carries such notices. What it hears of others
	// goes to Wake.
	Publish func(Subject)
	// LookEvery is how often the ledger is asked for changes of other gateways; 0: every second.
	LookEvery time.Duration
	// Retention is how long rows of tables that have a created_at are kept; a table that is
	// absent, or 0, keeps them for ever.
	Retention map[string]time.Duration
}

// Ledger is the gateway's own database.
type Ledger struct {
	db        *sql.DB       // of reads and changes
	looks     *sql.DB       // of looks and loads, which wait for neither
	reads     chan struct{} // full while there are as many reads as may be: changes and logs need connections too
	postgres  bool
	log       hclog.Logger
	publish   func(Subject)
	retention map[string]time.Duration
	metrics   *metrics

	ready    chan struct{} // closed when the tables are there
	state    atomic.Pointer[state]
	stop     context.CancelFunc
	tasks    sync.WaitGroup
	wake     chan struct{} // looks for changes at once
	every    time.Duration // how often it looks without that
	closed   func()
	lockFile string // of SQLite: held while its tables are made

	writer chan struct{} // of SQLite, whose one writer is taken in turn: full while somebody has it

	mu        sync.Mutex
	followers []*follower
	logs      []flusher
}

// state is what the last use of the ledger told.
type state struct {
	up      bool
	problem string // without secrets
}

// Status is the ledger's state for /health.
type Status struct {
	Backend string // sqlite or postgres
	State   string // starting until the tables are there, then ready or unavailable
	Error   string // why it is not ready; without secrets
	Queued  int64  // rows of logs that wait to be written
	Dropped int64  // rows of logs that were lost because the queue was full
}

// deadline bounds one use of the ledger that has no deadline of its own.
const deadline = 10 * time.Second

// Open opens the ledger and brings its tables up to date. For SQLite that is done when it
// returns, and what fails fails Open. A PostgreSQL that cannot be reached is tried again in
// the background.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Ledger{log: o.Logger, publish: o.Publish, retention: o.Retention, ready: make(chan struct{}), stop: stop, wake: make(chan struct{}, 1), every: cmp.Or(o.LookEvery, lookEvery)}
	l.state.Store(&state{problem: "it has not been reached yet"})
	l.metrics = newMetrics(l, o.Registry)
	if err := l.open(background, o.URI); err != nil {
		stop()
		return nil, err
	}
	if err := l.migrate(ctx); err == nil {
		l.up()
		close(l.ready)
	} else if !l.postgres || ctx.Err() != nil || !isUnavailable(err) || refusesLogin(err) {
		stop()
		l.closed()
		return nil, fmt.Errorf("ledger: %w", err)
	} else {
		l.down(err)
	}
	l.tasks.Go(func() { l.watch(background) })
	l.tasks.Go(func() { l.prune(background) })
	return l, nil
}

// closingTime is what the logs get to write their queues however late it is, and all that
// they get while the ledger is down.
const closingTime = 3 * time.Second

// Close writes what the logs have queued, at most until ctx ends but at least for
// closingTime, and closes the ledger.
func (l *Ledger) Close(ctx context.Context) error {
	if end, ok := ctx.Deadline(); !l.state.Load().up || ctx.Err() != nil || ok && time.Until(end) < closingTime {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), closingTime)
		defer cancel()
	}
	err := l.Flush(ctx)
	l.stop()
	for _, g := range l.allLogs() {
		g.end()
	}
	l.tasks.Wait()
	l.closed()
	if err != nil {
		return fmt.Errorf("the ledger's logs were not written to the end: %w", err)
	}
	return nil
}

// Postgres reports whether the ledger is PostgreSQL.
func (l *Ledger) Postgres() bool { return l.postgres }

// Status is the ledger's state.
func (l *Ledger) Status() Status {
	s := Status{Backend: "sqlite", State: "starting"}
	if l.postgres {
		s.Backend = "postgres"
	}
	now := l.state.Load()
	s.Error = now.problem
	if l.isReady() {
		if s.State = "unavailable"; now.up {
			s.State, s.Error = "ready", ""
		}
	}
	for _, g := range l.allLogs() {
		queued, dropped := g.counts()
		s.Queued, s.Dropped = s.Queued+queued, s.Dropped+dropped
	}
	return s
}

func (l *Ledger) isReady() bool {
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// Read runs f on a connection of its own, of which there are few: it does not read within
// another read. Errors are *sdk.Error: Unavailable with the reason ledger_unavailable when
// the ledger is down or too slow, Conflict with already_exists for a value that has to be
// unique, and those of f as they are.
func (l *Ledger) Read(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case l.reads <- struct{}{}:
		defer func() { <-l.reads }()
	case <-ctx.Done():
		return Classify(ctx.Err())
	}
	return l.use(ctx, l.db, f)
}

// View is a Read whose queries all see the same state of the ledger, and which may not write.
func (l *Ledger) View(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	return l.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		return l.transact(ctx, c, l.reading(), func() error { return f(ctx, c) })
	})
}

// Subject is a part of the control plane that gateways keep in memory.
type Subject string

// The subjects.
const (
	Clients  Subject = "clients"
	Configs  Subject = "configs"
	Keys     Subject = "keys"
	Routes   Subject = "routes"
	Registry Subject = "registry"
)

// Audit is a row of admin_audit_log: who did what. Before and After are JSON objects without
// secrets, or empty.
type Audit struct {
	Actor, Action, Target, TraceID string
	Before, After                  []byte
}

// Change runs f in a transaction that also writes the audit row, which f may complete, and
// raises the subject's version; changes of one subject follow each other, whichever gateway
// makes them. When it returns nil this gateway has loaded the subject anew. A subject of ""
// is one that nobody keeps in memory. Errors are as Read's; with one, nothing has changed
// unless it says executed=unknown, or executed=yes: then the change is stored, but this
// gateway could not load it and tries that again until it can.
func (l *Ledger) Change(ctx context.Context, s Subject, a *Audit, f func(context.Context, *sql.Conn) error) error {
	err := l.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
		if s != "" {
			if _, err := c.ExecContext(ctx, `INSERT INTO control_versions (subject, version) VALUES ($1, 1)
				ON CONFLICT (subject) DO UPDATE SET version = control_versions.version + 1`, string(s)); err != nil {
				return err
			}
		}
		if err := f(ctx, c); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, `INSERT INTO admin_audit_log (created_at, actor, action, target, trace_id, before, after)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, time.Now().UTC(), a.Actor, a.Action, a.Target, a.TraceID, document(a.Before), document(a.After))
		return err
	})
	if err != nil || s == "" {
		return err
	}
	if l.publish != nil {
		l.publish(s)
	}
	if err := l.reload(context.WithoutCancel(ctx), s); err != nil {
		e := unavailable(err.Error())
		e.Executed, e.Message = sdk.ExecutedYes, "the change is stored, but this gateway could not load it yet"
		e.Hint = "do not repeat it: it is in use as soon as the gateway's own database answers again, see /health"
		return e
	}
	return nil
}

// Version is the version of a subject as c sees it, 0 before its first change. Within a Change
// of the subject it is the one that the change makes.
func Version(ctx context.Context, c *sql.Conn, s Subject) (version int64, err error) {
	err = c.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM control_versions WHERE subject = $1", string(s)).Scan(&version)
	return version, err
}

// document is JSON as an argument of a query.
func document(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return string(b)
}

// bounded is ctx with a deadline.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, deadline)
}

// use runs f on a connection of db and classifies its error. Only an error of the connection
// says that the ledger is down: a single statement may be slow, or meet another.
func (l *Ledger) use(ctx context.Context, db *sql.DB, f func(context.Context, *sql.Conn) error) error {
	if !l.isReady() {
		return unavailable(l.state.Load().problem)
	}
	err := on(ctx, db, f)
	e := Classify(err)
	switch {
	case e == nil:
		return nil
	case isConnection(err):
		l.down(err)
	case e.Kind == sdk.Internal, e.Reason == valueRefused:
		l.log.Error("the ledger refused a statement", "error", err)
	}
	return e
}

// on runs f on a connection.
func on(ctx context.Context, db *sql.DB, f func(context.Context, *sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // what is wrong with it f has told
	return f(ctx, conn)
}

// transaction runs f between BEGIN and COMMIT, and is like use else. On SQLite transactions
// follow each other in the order in which they ask: a log that catches up would else leave a
// change no gap.
func (l *Ledger) transaction(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if l.writer != nil {
		select {
		case l.writer <- struct{}{}:
			defer func() { <-l.writer }()
		case <-ctx.Done():
			return Classify(ctx.Err())
		}
	}
	return l.use(ctx, l.db, func(ctx context.Context, c *sql.Conn) error {
		return l.transact(ctx, c, l.writing(), func() error { return f(ctx, c) })
	})
}

// writing begins a transaction that changes something. On SQLite it is a writer's from its
// beginning, so that it never fails in the middle because another came first.
func (l *Ledger) writing() string {
	if l.postgres {
		return "BEGIN"
	}
	return "BEGIN IMMEDIATE"
}

// reading begins a transaction whose queries all see the same state of the ledger.
func (l *Ledger) reading() string {
	if l.postgres {
		return "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
	}
	return "BEGIN"
}

// transact runs f on c between begin, which is writing() or reading(), and COMMIT. Nobody gets
// a connection that may be in a transaction, whatever f did.
func (l *Ledger) transact(ctx context.Context, c *sql.Conn, begin string, f func() error) error {
	discard := func() { _ = c.Raw(func(any) error { return driver.ErrBadConn }) }
	if _, err := c.ExecContext(ctx, begin); err != nil {
		discard() // it may have begun
		return err
	}
	ended := false
	defer func() {
		if ended {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := c.ExecContext(ctx, "ROLLBACK"); err != nil {
			discard()
		}
	}()
	if err := f(); err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, "COMMIT"); err != nil && begin == l.writing() {
		return fmt.Errorf("%w: %w", errCommit, err)
	} else if err != nil { // what was read is right
		discard()
	}
	ended = true
	return nil
}

// errCommit marks a COMMIT without an answer: nobody knows whether it happened.
var errCommit = errors.New("the ledger did not confirm the change")

func (l *Ledger) up() {
	if before := l.state.Swap(&state{up: true}); !before.up {
		l.log.Info("the ledger is available", "backend", l.Status().Backend)
	}
}

func (l *Ledger) down(err error) {
	problem := Classify(err).Log
	if before := l.state.Swap(&state{problem: problem}); before.up || before.problem != problem {
		l.log.Warn("the ledger is unavailable; what is known of it stays in use, and it is tried again until it answers", "error", problem)
	}
}
