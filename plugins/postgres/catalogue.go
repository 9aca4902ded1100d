package main

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// catalogue is what is known of a database. It is never changed, only replaced whole.
type catalogue struct {
	sqlbuild.Catalogue
	mark  string    // what markSQL said when it was read
	read  time.Time // when it came into use
	types map[uint32]*typeInfo
	named []sdk.SchemaType    // enums and domains
	rules map[uint32]viewRule // what the views show, by the id of their rewrite rule
	// dialects are those for its types, by how a session shows times.
	dialects [timesUTC + 1]*sqlbuild.Dialect
}

const (
	loadTimeout  = 2 * time.Minute        // how long a load may take
	loadAttempts = 6                      // when the schema changes underneath
	loadPause    = 10 * time.Millisecond  // before the second attempt; twice, before the third; and so on
	burst        = 100 * time.Millisecond // changes that are told within this time are read in one load
	// A look whether the schema has changed is taken at most so often after a miss, and
	// so rarely that it takes a tenth of the server's time at most.
	minPause   = 100 * time.Millisecond
	lookFactor = 10
	// And the catalogue is read for a quarter of the time at most.
	restFactor = 3
	maxRest    = loadTimeout / 4
)

// yieldRows is after how many rows a load lets requests run: every 100 us or so.
const yieldRows = 128

// catalogues holds the current catalogue of a database and says when it is to be read
// again. One goroutine reads it; see database.watchCatalogue.
type catalogues struct {
	current atomic.Pointer[catalogue]
	wake    chan struct{} // holds an element when next has changed

	mu      sync.Mutex
	next    *round    // nil: none is planned
	running *round    // nil: none
	looked  time.Time // when the last round began
	pause   time.Duration
	rested  time.Time // until then the catalogue is not read again
	expired bool      // the schema may have changed since
	changes int       // statements under way that may change it
}

// round is one look at the schema, and a load if it has changed.
type round struct {
	at    time.Time // when it is due
	force bool      // load even if nothing seems to have changed
	now   bool      // and without a rest
	done  chan struct{}
	err   error // once done is closed
}

func newCatalogues() catalogues { return catalogues{wake: make(chan struct{}, 1)} }

// plan makes sure that a round begins within after.
func (s *catalogues) plan(after time.Duration, force bool) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.planLocked(after, force)
}

func (s *catalogues) planLocked(after time.Duration, force bool) *round {
	at := time.Now().Add(after)
	switch {
	case s.next == nil:
		s.next = &round{at: at, done: make(chan struct{})}
	case at.Before(s.next.at):
		s.next.at = at
	}
	s.next.force = s.next.force || force
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.next
}

// changing is called before a statement that may change the schema, and what it returns
// afterwards. Until then every miss is looked after: the statement's answer may have been
// sent.
func (s *catalogues) changing() (done func()) {
	s.mu.Lock()
	s.changes++
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.changes--
		s.mu.Unlock()
		s.expire()
	}
}

// expire makes the next miss look at once, and has it done in the background before long.
func (s *catalogues) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = true
	s.planLocked(max(burst, s.pause), false)
}

// told plans a load because somebody says that the schema has changed.
func (s *catalogues) told() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planLocked(burst, true)
}

// reload waits for a catalogue that is newer than the call, unless the last look was taken
// a moment ago and nothing is known to have changed since. With force it always waits for
// a load.
func (s *catalogues) reload(ctx context.Context, force bool) error {
	s.mu.Lock()
	r := s.running
	recent := !s.expired && s.changes == 0 && time.Since(s.looked) < s.pause
	if force || !recent {
		r = s.planLocked(0, force)
		r.now = r.now || force
	}
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.wait(ctx)
}

// look waits for a look at the schema that begins after the call, and for a load, without a
// rest before it, if it has changed. All who wait for the next look share it.
func (s *catalogues) look(ctx context.Context) error {
	s.mu.Lock()
	r := s.planLocked(0, false)
	r.now = true
	s.mu.Unlock()
	return r.wait(ctx)
}

// wait waits for the end of the round.
func (r *round) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return neverStarted(ctx)
	}
}

// begin takes the planned round when it is due. Else it says how long to wait, 0 when
// none is planned.
func (s *catalogues) begin() (r *round, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		return nil, 0
	}
	if wait = time.Until(s.next.at); wait > 0 {
		return nil, wait
	}
	r, s.next = s.next, nil
	s.running, s.looked, s.expired = r, time.Now(), false
	return r, 0
}

// end ends the round that is running.
func (s *catalogues) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running.err = err
	close(s.running.done)
	s.running = nil
}

// watchCatalogue reads the catalogue, and keeps it current until db is closed: when the
// server notifies, when a name is missed, and every so often (0: not). If it fails, db
// must be closed.
func (db *database) watchCatalogue(ctx context.Context, every time.Duration) error {
	var background context.Context
	background, db.stop = context.WithCancel(context.WithoutCancel(ctx))
	first := db.catalogues.plan(0, true)
	db.done.Go(func() { db.keepCatalogue(background, every) })
	select {
	case <-first.done:
	case <-ctx.Done():
		return neverStarted(ctx)
	}
	if first.err != nil {
		return first.err
	}
	db.done.Go(func() { db.listen(background) })
	return nil
}

// keepCatalogue runs the rounds until ctx ends. A load that fails leaves the catalogue as
// it was and is logged, once until one works.
func (db *database) keepCatalogue(ctx context.Context, every time.Duration) {
	s := &db.catalogues
	failing := false
	for ctx.Err() == nil {
		r, wait := s.begin()
		if r == nil {
			if !s.sleep(ctx, wait, every) {
				s.plan(0, false)
			}
			continue
		}
		err := db.look(ctx, r)
		if err != nil && !failing && ctx.Err() == nil && s.current.Load() != nil {
			hclog.Default().Warn("the database's catalogue could not be read: the last one stays in use", "error", err)
		}
		failing = err != nil
		s.end(err)
	}
	last := s.plan(0, false) // others may wait for it
	last.err = neverStarted(ctx)
	close(last.done)
}

// sleep waits until the planned round may be due: for wait, or with none planned until one
// is. It is false when there was none for as long as every.
func (s *catalogues) sleep(ctx context.Context, wait, every time.Duration) bool {
	var due <-chan time.Time
	limit := wait
	if wait == 0 {
		limit = every
	}
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
		return wait > 0
	case <-s.wake:
	case <-ctx.Done():
	}
	return true
}

// look reads the catalogue over a connection of its own if it has changed.
func (db *database) look(ctx context.Context, r *round) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	began := time.Now()
	pg, err := db.connectAlone(ctx)
	if err != nil {
		return err
	}
	defer closeAlone(pg)
	stop := context.AfterFunc(ctx, func() { _ = pg.Conn().Close() })
	defer stop()
	for attempt := 1; ; attempt++ {
		known := db.catalogues.current.Load()
		l := &loader{pg: pg, known: known, trusting: attempt == loadAttempts}
		err := l.begin()
		if attempt == 1 {
			db.catalogues.setPause(max(minPause, lookFactor*time.Since(began)))
		}
		if err == nil && known != nil && known.mark == l.c.mark && !r.force {
			return nil
		}
		if err == nil && attempt == 1 && !r.now {
			err = db.catalogues.rest(ctx, l)
		}
		if attempt == 1 {
			began = time.Now()
		}
		if err == nil {
			err = l.load()
		}
		db.catalogues.setRested(time.Now().Add(min(maxRest, restFactor*time.Since(began))))
		if err == nil {
			l.c.read = time.Now()
			db.catalogues.current.Store(l.c)
			return nil
		}
		var server *pgconn.PgError
		if attempt == loadAttempts || pg.IsClosed() || !errors.As(err, &server) {
			return (&failure{err: err, ctx: ctx, readOnly: true}).classify()
		}
		// The server's functions look at the schema as it is now, not as it was when the
		// transaction began, and may find nothing.
		_ = pg.Exec(context.Background(), "rollback").Close()
		select {
		case <-time.After(time.Duration(attempt) * loadPause):
		case <-ctx.Done():
		}
	}
}

func (s *catalogues) setPause(d time.Duration) {
	s.mu.Lock()
	s.pause = d
	s.mu.Unlock()
}

// rest waits until the catalogue may be read again; the loader then begins anew.
func (s *catalogues) rest(ctx context.Context, l *loader) error {
	s.mu.Lock()
	wait := time.Until(s.rested)
	s.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	if err := l.pg.Exec(context.Background(), "rollback").Close(); err != nil {
		return err
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	if s.next != nil && !s.next.now { // what has been told so far is in what is read now
		s.next.force = false
	}
	s.mu.Unlock()
	return l.begin()
}

func (s *catalogues) setRested(at time.Time) {
	s.mu.Lock()
	s.rested = at
	s.mu.Unlock()
}

// connectAlone makes a connection outside the pool, so that loads take none from requests.
func (db *database) connectAlone(ctx context.Context) (*pgconn.PgConn, error) {
	config := db.pool.Config()
	config.ConnConfig.OnNotification = db.notified
	connect := func() (*pgconn.PgConn, error) {
		if config.BeforeConnect != nil {
			if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
				return nil, err
			}
		}
		return pgconn.ConnectConfig(ctx, &config.ConnConfig.Config)
	}
	password := db.password.current()
	pg, err := connect()
	if err != nil && db.password.changed(password, err) {
		pg, err = connect()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, neverStarted(ctx)
		}
		return nil, connectError(err, &config.ConnConfig.Config)
	}
	return pg, nil
}

// closeAlone closes a connection of connectAlone. It does not wait for a server that is
// silent.
func closeAlone(pg *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = pg.Close(ctx)
}

// learn adds the types of fields to the catalogue that it does not have: those of tables'
// rows, and newer ones. It runs a statement on c.
func (s *catalogues) learn(c *conn, fields []pgconn.FieldDescription) error {
	var missing []uint32
	known := s.current.Load().types
	for i := range fields {
		if known[fields[i].DataTypeOID] == nil {
			missing = append(missing, fields[i].DataTypeOID)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows := map[uint32]*pgTypeRow{}
	if err := readTypes(c.pg, rows, missing); err != nil {
		return c.failed(err, true)
	}
	for {
		old := s.current.Load()
		learned := *old
		learned.types = maps.Clone(old.types)
		for oid := range rows {
			learned.types[oid] = resolveType(rows, oid)
		}
		if s.current.CompareAndSwap(old, &learned) {
			return nil
		}
	}
}

// markSQL says what the schema is known by. A change of it inserts rows into one of these
// tables or deletes some, which their number shows, or replaces some by newer ones, which
// the sum of the transactions that wrote them shows.
var markSQL = func() string {
	var b strings.Builder
	b.WriteString("select pg_catalog.concat_ws(' ', current_user, pg_catalog.current_schemas(false)")
	for _, table := range []string{"namespace", "class", "attribute where attnum > 0", "attrdef", "constraint", "index", "inherits",
		"proc", "type", "enum", "cast", "rewrite", "trigger", "description", "auth_members"} {
		b.WriteString(", (select pg_catalog.concat(count(*), '/', sum(xmin::text::int8)) from pg_catalog.pg_" + table + ")")
	}
	b.WriteString("), pg_catalog.array_to_json(pg_catalog.current_schemas(false))")
	return b.String()
}()
