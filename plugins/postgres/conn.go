package main

import (
	"container/list"
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxStatements is how many prepared statements a connection keeps.
const maxStatements = 512

// patience is how long a cancelled statement may take to end before its connection is
// closed.
const patience = 2 * time.Second

// conn is a server connection: what the pool's connection keeps between uses, and while
// it is in use, the use.
//
// pgconn gets context.Background() everywhere: watching a context costs it a goroutine
// per statement. The conn watches for the end of the call's context itself.
type conn struct {
	pg     *pgconn.PgConn
	pooled *pgxpool.Conn
	db     *database
	ctx    context.Context // the call's

	statements map[string]*list.Element // of *statement, by SQL text
	recent     list.List                // most recently used first
	named      int                      // names given so far
	touched    bool                     // the session may not be as it was
	params     [][]byte                 // reused

	gaveUp    bool // we closed it, not the server
	stopWatch func() bool
	watched   bool
	ended     chan struct{} // tells cancel that there is nothing to cancel any more
	canceled  chan struct{} // tells unwatch that cancel has returned
}

// statement is a prepared statement.
type statement struct {
	text string
	desc *pgconn.StatementDescription
	plan *plan
}

const connKey = "athena"

// acquire takes a connection from the pool and cancels what runs on it when ctx ends. The
// caller releases it.
func (db *database) acquire(ctx context.Context) (*conn, error) {
	pooled, err := db.acquirePooled(ctx)
	if err != nil {
		return nil, err
	}
	pg := pooled.Conn().PgConn()
	c, _ := pg.CustomData()[connKey].(*conn)
	if c == nil {
		c = &conn{pg: pg, db: db, statements: map[string]*list.Element{}, ended: make(chan struct{}), canceled: make(chan struct{})}
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
		c.stopWatch = context.AfterFunc(ctx, c.cancel)
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
		c.db.connectionLost()
	}
	c.pooled.Release()
	<-c.db.slots
}

// connectionLost closes the idle connections too, at most once a second: when a server
// goes down all of them are dead, and a call that is tried again should not meet each.
func (db *database) connectionLost() {
	now := time.Now().Unix()
	if last := db.lastLoss.Load(); last != now && db.lastLoss.CompareAndSwap(last, now) {
		db.pool.Reset()
	}
}

// reset makes the session as good as new, or closes it.
func (c *conn) reset() {
	c.touched = false
	c.forget()
	if err := c.pg.Exec(context.Background(), "discard all").Close(); err != nil {
		c.gaveUp = true
		_ = c.pg.Close(context.Background())
	}
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
	_ = c.pg.Exec(context.Background(), "-- cancelled").Close()
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
// is still in one.
func (c *conn) rollback() {
	_ = c.pg.Exec(context.Background(), "rollback").Close()
}

// forget drops the statement cache, after the server has dropped the statements.
func (c *conn) forget() {
	clear(c.statements)
	c.recent.Init()
}

// drop removes one statement from the cache, on both sides.
func (c *conn) drop(s *statement) {
	if e := c.statements[s.text]; e != nil {
		c.recent.Remove(e)
		delete(c.statements, s.text)
	}
	_ = c.pg.Deallocate(context.Background(), s.desc.Name)
}

// prepare returns the prepared statement for text; cached says that it was there already.
func (c *conn) prepare(text string) (s *statement, cached bool, err error) {
	utc := isUTC(c.pg.ParameterStatus("TimeZone"))
	if e := c.statements[text]; e != nil {
		c.recent.MoveToFront(e)
		s = e.Value.(*statement)
		if s.plan.utc != utc {
			s.plan, _ = newPlan(s.desc.Fields, c.db.types(), true, utc)
		}
		return s, true, nil
	}
	if len(c.statements) >= maxStatements {
		c.drop(c.recent.Back().Value.(*statement))
	}
	c.named++
	desc, err := c.pg.Prepare(context.Background(), "athena_"+strconv.Itoa(c.named), text, nil)
	if err != nil {
		return nil, false, err
	}
	s = &statement{text: text, desc: desc}
	var unknown bool
	if s.plan, unknown = newPlan(desc.Fields, c.db.types(), true, utc); unknown {
		if err := c.db.catalogues.reload(c); err != nil {
			return nil, false, err
		}
		s.plan, _ = newPlan(desc.Fields, c.db.types(), true, utc)
	}
	c.statements[text] = c.recent.PushFront(s)
	return s, false, nil
}

// isUTC reports whether a session's TimeZone shows times as +00 whatever their date.
func isUTC(zone string) bool {
	switch zone {
	case "UTC", "Etc/UTC", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "Universal", "Etc/Universal":
		return true
	}
	return false
}
