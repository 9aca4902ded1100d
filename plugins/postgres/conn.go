package main

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	maxStatements = 512      // how many prepared statements a connection keeps
	maxKeptText   = 64 << 10 // how long the text of one may be
)

// patience is how long a cancelled statement may take to end before its connection is
// closed.
const patience = 2 * time.Second

// conn is a server connection: what the pool's connection keeps between uses, and while
// it is in use, the use.
//
// pgconn gets context.Background() everywhere: watching a context costs it a goroutine
// per statement. The conn watches for the end of the call's context itself.
type conn struct {
	pg      *pgconn.PgConn
	pooled  *pgxpool.Conn
	db      *database
	server  *server
	replica *replica        // the server's, nil for the primary
	ctx     context.Context // the call's
	socket  *liveness

	statements map[statementKey]*list.Element // of *statement
	recent     list.List                      // most recently used first
	prefix     string                         // of the statements' names, not to meet another's behind a pooler
	named      int                            // names given so far
	touched    bool                           // the session may not be as it was
	params     [][]byte                       // reused

	gaveUp    bool   // we closed it, not the server
	onEnd     func() // cancel; made once, not for each call
	stopWatch func() bool
	watched   bool
	ended     chan struct{} // tells cancel that there is nothing to cancel any more
	canceled  chan struct{} // tells unwatch that cancel has returned
}

// statementKey is what a prepared statement is found by: its text, and what decides what
// names in it mean and who may use them.
type statementKey struct {
	text    string
	session string // role and search path, "" for the connection's own
	hidden  hiddenColumns
	records bool // columns of records are asked for in binary
}

// hiddenColumns are how many columns of a result, at either end, are not shown.
type hiddenColumns struct{ first, last uint8 }

// statement is a prepared statement.
type statement struct {
	key     statementKey
	desc    *pgconn.StatementDescription
	plan    *plan   // of the columns shown
	formats []int16 // of all columns
	mark    string  // of the catalogue when it was prepared
}

const connKey = "athena"

// acquire takes a connection to the primary from its pool and cancels what runs on it when
// ctx ends. The caller releases it.
func (db *database) acquire(ctx context.Context) (*conn, error) {
	return db.acquireOf(ctx, db.server)
}

// acquireLive is acquire for a write: not to learn only from its failure, when nobody knows
// what became of it, that the connection had ended before.
func (db *database) acquireLive(ctx context.Context) (*conn, error) {
	for {
		c, err := db.acquire(ctx)
		if err != nil || !c.socket.isDead() {
			return c, err
		}
		_ = c.pg.Close(context.Background())
		c.release()
	}
}

// acquireOf is acquire for the connections of s.
func (db *database) acquireOf(ctx context.Context, s *server) (*conn, error) {
	pooled, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	pg := pooled.Conn().PgConn()
	c, _ := pg.CustomData()[connKey].(*conn)
	if c == nil {
		c = &conn{
			pg: pg, db: db, server: s, socket: newLiveness(pg.Conn()), statements: map[statementKey]*list.Element{}, prefix: "athena_" + rand.Text()[:12] + "_",
			ended: make(chan struct{}), canceled: make(chan struct{}),
		}
		c.onEnd = c.cancel
		pg.CustomData()[connKey] = c
	}
	c.pooled = pooled
	c.watch(ctx)
	return c, nil
}

// watch cancels what runs when ctx ends, until unwatch.
func (c *conn) watch(ctx context.Context) {
	c.ctx = ctx
	if c.watched = ctx.Done() != nil; c.watched {
		c.stopWatch = context.AfterFunc(ctx, c.onEnd)
	}
}

// release gives the connection back to the pool, which closes it if it is broken.
func (c *conn) release() {
	c.unwatch()
	if !c.pg.IsClosed() && c.pg.TxStatus() != 'I' {
		c.rollback()
	}
	if c.touched && !c.pg.IsClosed() {
		c.reset()
	}
	if c.pg.IsClosed() && !c.gaveUp {
		c.server.connectionLost()
	}
	c.pooled.Release()
	<-c.server.slots
}

// reset makes the session as good as new, or closes it. One that is shared has been cleaned
// in its transaction, and what remains is that a pooler takes the parameters that came of
// that for the connection's own.
func (c *conn) reset() {
	c.touched = false
	c.forget()
	if !c.db.caching.Load() || c.tidy("discard all") != nil {
		c.gaveUp = true
		_ = c.pg.Close(context.Background())
	}
}

// cleanup is DISCARD ALL inside a transaction: behind a pooler, after it would be in another
// session. Deferred triggers run first, as the role that has woken them.
var cleanup = []string{
	"set constraints all immediate", "close all", "set session authorization default", "reset role", "reset all", "deallocate all",
	"unlisten *", "select pg_catalog.pg_advisory_unlock_all()", "discard temp", "discard sequences",
}

// unwatch ends the watch. No cancel request is on its way any more when
// it returns.
func (c *conn) unwatch() {
	if !c.watched {
		return
	}
	c.watched = false
	if c.stopWatch() {
		return
	}
	c.ended <- struct{}{}
	<-c.canceled
	// The server has dealt with the requests. A statement of no effect takes what a proxy
	// may deliver late.
	_ = c.tidy("-- cancelled")
}

// cancel asks the server to cancel what runs, until unwatch says that it has ended. A
// request that comes before its statement is lost, hence more than one. When the server
// has not answered in time the connection is closed.
func (c *conn) cancel() {
	defer func() { c.canceled <- struct{}{} }()
	patient, done := context.WithTimeout(context.Background(), patience)
	defer done()
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		if err := c.pg.CancelRequest(patient); err != nil {
			break
		}
		select {
		case <-c.ended:
			return
		case <-time.After(pause):
			continue
		case <-patient.Done():
		}
		break
	}
	c.gaveUp = true
	_ = c.pg.Conn().Close()
	<-c.ended
}

// interrupt ends what runs before its result has been read to the end.
func (c *conn) interrupt() {
	if c.watched && !c.stopWatch() {
		return // under way already
	}
	c.watched, c.stopWatch = true, func() bool { return false }
	go c.cancel()
}

// rollback ends a transaction that failed, best effort: the pool closes a connection that
// is still in one. Locks and prepared statements of a session outlive it.
func (c *conn) rollback() {
	sql := "rollback"
	if c.touched && !c.db.caching.Load() {
		sql += "; " + strings.Join(cleanup, "; ")
	}
	_ = c.tidy(sql)
}

// tidy runs what nobody waits for long: the connection is closed when the server does not
// answer in time.
func (c *conn) tidy(sql string) error {
	_ = c.pg.Conn().SetDeadline(time.Now().Add(patience))
	err := c.pg.Exec(context.Background(), sql).Close()
	_ = c.pg.Conn().SetDeadline(time.Time{})
	return err
}

// forget drops the statement cache, after the server has dropped the statements.
func (c *conn) forget() {
	clear(c.statements)
	c.recent.Init()
}

// drop removes one statement from the cache, on both sides.
func (c *conn) drop(s *statement) {
	if e := c.statements[s.key]; e != nil {
		c.recent.Remove(e)
		delete(c.statements, s.key)
	}
	_ = c.pg.Deallocate(context.Background(), s.desc.Name)
}

// keeps reports whether it is worth preparing text: not on a connection that is to forget
// its statements.
func (c *conn) keeps(text string) bool {
	return c.db.caching.Load() && !c.touched && len(text) <= maxKeptText
}

// cached returns the prepared statement for key, nil if there is none. utc says that times
// will be shown in UTC.
func (c *conn) cached(key statementKey, utc bool) *statement {
	e := c.statements[key]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	s := e.Value.(*statement)
	if s.plan.utc != utc {
		s.describe(c.db, utc)
	}
	return s
}

// prepare makes the prepared statement for key, in one round trip. The error is the
// server's, or an *sdk.Error that says that nothing was executed.
func (c *conn) prepare(key statementKey, utc bool) (*statement, error) {
	if len(c.statements) >= maxStatements {
		c.drop(c.recent.Back().Value.(*statement))
	}
	c.named++
	s := &statement{key: key, mark: c.db.catalogues.current.Load().mark}
	desc, err := c.pg.Prepare(context.Background(), c.prefix+strconv.Itoa(c.named), key.text, nil)
	if err != nil {
		if c.pg.IsClosed() {
			err = c.failed(err, true)
		}
		return nil, err
	}
	s.desc = desc
	if unknown := s.describe(c.db, utc); unknown {
		if err := c.db.catalogues.learn(c, desc.Fields); err != nil {
			return nil, err
		}
		s.describe(c.db, utc)
	}
	c.statements[key] = c.recent.PushFront(s)
	return s, nil
}

// describe plans how the rows are written. unknown is newPlan's.
func (s *statement) describe(db *database, utc bool) (unknown bool) {
	first, shown := int(s.key.hidden.first), s.key.hidden.shown(s.desc.Fields)
	s.plan, unknown = newPlan(shown, db.types(), true, utc, s.key.records)
	s.formats = s.plan.formats
	if len(shown) < len(s.desc.Fields) {
		s.formats = make([]int16, len(s.desc.Fields))
		copy(s.formats[first:], s.plan.formats)
	}
	return unknown
}

func (h hiddenColumns) shown(fields []pgconn.FieldDescription) []pgconn.FieldDescription {
	if len(fields) < int(h.first)+int(h.last) {
		return nil // a statement that answers with no rows
	}
	return fields[h.first : len(fields)-int(h.last)]
}

// utc reports whether the session shows times in UTC.
func (c *conn) utc() bool { return isUTC(c.pg.ParameterStatus("TimeZone")) }

// times is how the session shows times.
func (c *conn) times() times {
	return timesOf(c.pg.ParameterStatus("TimeZone"), c.pg.ParameterStatus("DateStyle"))
}

// outdated reports whether err may mean that cached statements must be prepared again, and
// then drops what has to go: the one that failed, nil if it was none of the cache, or all
// when the server does not know them any more.
func (c *conn) outdated(err error, s *statement) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	old := false
	switch {
	case server.Code == "26000", server.Code == "42P05":
		c.forget() // somebody deallocated it, and surely not it alone
		if c.db.auto {
			c.db.stopCaching(server.Message)
		}
		return true
	case s == nil:
	case server.Code == "0A000":
		old = server.Routine == "RevalidateCachedQuery" // the columns have changed
	case strings.HasPrefix(server.Code, "42"): // a parameter has another type now, where it once fitted
		old = server.Code != "42501"
	case strings.HasPrefix(server.Code, "22"): // a bad value, or that
		old = s.mark != c.db.catalogues.current.Load().mark
	}
	if old {
		if c.pg.TxStatus() != 'I' {
			c.rollback()
		}
		c.drop(s)
	}
	return old
}

func (c *conn) failed(err error, readOnly bool) error {
	return (&failure{err: err, ctx: c.ctx, readOnly: readOnly}).classify()
}

// times is how a session shows times. Statements are built for it, so that those in records
// can be read.
type times uint8

const (
	timesUnknown times = iota // to_json has to show them
	timesISO                  // as text: in any zone, but as ISO 8601 writes them
	timesUTC                  // in binary: in UTC
)

// serves reports whether a statement that is built for sessions of one kind can be sent to one
// of another.
func (t times) serves(actual times) bool { return t == actual || t == timesUnknown }

// timesOf is how a session shows times whose TimeZone and DateStyle are given; "" is unknown.
func timesOf(zone, style string) times {
	switch {
	case isUTC(zone):
		return timesUTC
	case zone != "" && strings.HasPrefix(style, "ISO"):
		return timesISO
	}
	return timesUnknown
}

// isUTC reports whether a session's TimeZone shows times as +00 whatever their date.
func isUTC(zone string) bool {
	switch zone {
	case "UTC", "Etc/UTC", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal", "Etc/Universal":
		return true
	}
	return false
}
