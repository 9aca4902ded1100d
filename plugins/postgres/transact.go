package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
)

// execution is a call on its way.
type execution struct {
	ctx     context.Context
	db      *database
	call    *sdk.Call
	rows    *sdk.Rows
	path    string // the session's search path, "" for the connection's own
	times   times  // of the session that statements are built for
	rebuilt bool   // because those of the session were others
	written bool   // an earlier transaction of the call is committed
}

func newExecution(ctx context.Context, db *database, call *sdk.Call, rows *sdk.Rows) *execution {
	x := &execution{ctx: ctx, db: db, call: call, rows: rows, path: pathOf(call.Session.SearchPath...)}
	x.times = x.expectedTimes()
	return x
}

// expectedTimes is how times are most likely shown in the call's transactions.
func (x *execution) expectedTimes() times {
	isText := func(s sdk.Statement) bool { return s.Verb == sdk.SQL } // which may set another zone
	zone, style := zoneOf(&x.call.Session), settingOf(&x.call.Session, "datestyle")
	switch {
	case slices.ContainsFunc(x.call.Statements, isText):
		return timesUnknown
	case zone == "" && style == "":
		return x.db.times()
	case style == "" && x.db.caching.Load():
		style = "ISO" // as conn asks for
	}
	return timesOf(zone, style)
}

// run runs the call's statements: all in one transaction, or each in its own.
func (x *execution) run() error {
	size := 1
	if x.call.Tx.Single {
		size = len(x.call.Statements)
	}
	for first := 0; first < len(x.call.Statements); first += size {
		if first > 0 {
			if err := x.rows.Release(); err != nil {
				return err
			}
		}
		if failed, err := x.unit(first, first+size); err != nil {
			x.rows.Head.Statement = failed
			return x.failure(failed, err)
		}
	}
	return nil
}

// failure adds to an error which statement it is of.
func (x *execution) failure(statement int, err error) error {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return err // the reader's
	}
	failed := *e
	failed.Statement = statement
	if x.written {
		failed.Executed = sdk.ExecutedYes
	}
	return &failed
}

// unit runs the statements from first to end, which share a transaction. It starts once
// more, while none of their rows is written, after a look at a newer catalogue, when
// prepared statements are outdated, and on the primary when a replica was of no use. An
// error is of the statement whose index is returned.
func (x *execution) unit(first, end int) (failed int, err error) {
	primary, missed, outdated := len(x.db.replicas) == 0, false, false
	for {
		u, failed, err := x.newUnit(first, end)
		if err == nil {
			failed, err = u.run(primary)
		}
		if err == errOtherTimes {
			continue
		}
		if err == nil || x.rows.Head.Statement > first || x.rows.Head.Columns != nil {
			return failed, err
		}
		switch {
		case !primary && u != nil && u.replica != nil && onPrimary(err):
			primary = true
		case !outdated && u != nil && u.outdated:
			outdated = true
		case !missed && isMiss(err) && x.call.Statements[failed].Verb != sdk.SQL:
			missed = true
			if changed, failing := x.db.refreshed(x.ctx); failing != nil || !changed {
				return failed, cmp.Or(failing, err)
			}
		default:
			return failed, err
		}
	}
}

// unit is the statements of one transaction.
type unit struct {
	*execution
	tasks    []*task
	c        *conn
	replica  *replica // that it ran on
	pipeline *pipeline
	path     string     // the search path in force
	hoisted  []sdk.Pair // settings in force that are one function's own
	outdated bool       // it failed because prepared statements were outdated

	writes bool // it may have effects
	held   bool // rows wait for the end
	shared bool // statements are not kept: its session may be another's afterwards
	cleans bool // so what it leaves there is taken back before its end
	// together says that the end goes to the server with the statements: nothing that is
	// known only then can change it.
	together bool
}

// newUnit reads the statements. The error is of the statement whose index is returned.
func (x *execution) newUnit(first, end int) (*unit, int, error) {
	u := &unit{execution: x, shared: !x.db.caching.Load()}
	checks := hasExpectations(&x.call.Expect) || x.call.Result.SQLHeaders
	u.held, u.together = checks, true
	for i := first; i < end; i++ {
		t, err := x.newTask(i, end-first > 1)
		if err != nil {
			return nil, i, err
		}
		u.tasks = append(u.tasks, t)
		u.writes = u.writes || t.writes
		u.held = u.held || t.held
		u.cleans = u.cleans || t.script.leaves && u.shared
		u.together = u.together && t.safe
	}
	u.path = u.tasks[0].path
	u.together = !u.writes || x.call.Tx.Rollback && !u.scripted() || u.together && !checks
	return u, first, nil
}

// scripted reports whether a statement is a text of several statements, which goes to the
// server by itself.
func (u *unit) scripted() bool {
	for _, t := range u.tasks {
		if t.script.statements > 1 {
			return true
		}
	}
	return false
}

// run runs the unit on a connection, and on a replica if it may. The error is of the
// statement whose index is returned.
func (u *unit) run(primary bool) (failed int, err error) {
	if !primary && !u.writes {
		if u.c = u.db.acquireReplica(u.ctx, u.call.MinPosition); u.c != nil {
			u.replica = u.c.replica
		}
	}
	if u.c == nil {
		acquire := u.db.acquire
		if u.writes {
			acquire = u.db.acquireLive
		}
		if u.c, err = acquire(u.ctx); err != nil {
			return u.tasks[0].index, err
		}
	}
	defer func() {
		switch {
		case u.replica == nil:
		case u.c.pg.IsClosed():
			u.replica.shun()
		default:
			u.replica.works()
		}
		u.c.release()
	}()
	if u.hasRecords() && !u.execution.times.serves(u.times()) {
		u.expectOtherTimes()
		return u.tasks[0].index, errOtherTimes
	}
	for _, t := range u.tasks {
		if t.s.Verb == sdk.SQL && (!t.script.plain || t.script.statements > 1) {
			u.c.touched = u.cleans || !u.shared
			defer u.db.catalogues.changing()()
		}
	}
	if t := u.tasks[0]; u.alone() {
		return t.index, u.runAlone(t)
	}
	u.pipeline = &pipeline{c: u.c, readOnly: !u.writes, utc: u.utc(), failed: u.tasks[0].index}
	if err = u.transaction(); err != nil {
		u.outdated = u.pipeline.outdated
		return u.pipeline.failed, err
	}
	return 0, nil
}

// utc reports whether times are shown in UTC inside the transaction.
func (u *unit) utc() bool {
	if zone := zoneOf(&u.call.Session); zone != "" {
		return isUTC(zone)
	}
	return u.c.utc()
}

// times is how times are shown inside the transaction.
func (u *unit) times() times {
	zone := cmp.Or(zoneOf(&u.call.Session), u.c.pg.ParameterStatus("TimeZone"))
	return timesOf(zone, cmp.Or(settingOf(&u.call.Session, "datestyle"), u.c.pg.ParameterStatus("DateStyle")))
}

// expectOtherTimes makes the next attempt build statements that its session serves: one like
// this, or, if they keep changing, any.
func (u *unit) expectOtherTimes() {
	other := u.c.times()
	u.db.otherTimes.Store(&other)
	x := u.execution
	if x.times = u.times(); x.rebuilt {
		x.times = timesUnknown
	}
	x.rebuilt = true
}

// zoneOf is the time zone that a session asks for, "" if it has the connection's own.
func zoneOf(s *sdk.Session) string { return cmp.Or(settingOf(s, "timezone"), s.TimeZone) }

// settingOf is what a session sets one of the server's settings to, "" if it does not.
func settingOf(s *sdk.Session, name string) (value string) {
	for _, p := range s.Settings {
		if strings.EqualFold(p.Name, name) {
			value = p.Value
		}
	}
	return value
}

// errOtherTimes says that statements were built for a session that shows times in another
// way, and have to be built anew. Nothing has been sent.
var errOtherTimes = errors.New("the session shows its times in another way")

func (u *unit) hasRecords() bool {
	return slices.ContainsFunc(u.tasks, func(t *task) bool { return t.query.Records != nil })
}

// transaction runs the statements between BEGIN and COMMIT, in one round trip if all are
// prepared and nothing has to be known before COMMIT.
func (u *unit) transaction() error {
	switch {
	case u.held && u.writes:
		u.rows.Hold()
	case u.held:
		u.rows.HoldRead()
	}
	if err := u.begin(); err != nil {
		return err
	}
	for _, t := range u.tasks {
		if err := u.add(t); err != nil {
			return err
		}
	}
	if u.call.Result.SQLHeaders {
		if err := u.pipeline.add(u.headersStep()); err != nil {
			return err
		}
	}
	if u.together {
		if err := unlessCapped(u.end()); err != nil { // it may send what was added so far
			return err
		}
	}
	if err := unlessCapped(u.pipeline.flush()); err != nil {
		return err
	}
	if err := u.expect(); err != nil {
		return err
	}
	if !u.together {
		if err := u.end(); err != nil {
			return err
		}
		if err := u.pipeline.flush(); err != nil {
			return err
		}
	}
	u.execution.written = u.written || u.writes && !u.call.Tx.Rollback
	return u.rows.Release()
}

// begin adds BEGIN and the session's settings.
func (u *unit) begin() error {
	tx := u.call.Tx
	for _, t := range u.tasks {
		if tx.Isolation != sdk.IsolationDefault {
			break
		}
		tx.Isolation = t.isolation
	}
	if err := u.pipeline.add(&step{text: beginText(tx.Isolation, tx.ReadOnly || !u.writes, tx.Deferrable), prepared: true}); err != nil {
		return err
	}
	settings := settingsOf(&u.call.Session, u.path)
	if u.call.Result.SQLHeaders { // what a function has set for the session is not of this answer
		settings = append([]sdk.Pair{{Name: "response.headers"}, {Name: "response.status"}}, settings...)
	}
	if len(settings) == 0 {
		return nil
	}
	s := settingsStep(settings)
	s.changes = u.call.Session.Role != "" || u.path != "" || setsMeaning(&u.call.Session)
	return u.pipeline.add(s)
}

// end adds the end of the transaction.
func (u *unit) end() error {
	p := u.pipeline
	if u.cleans {
		for _, text := range cleanup {
			if err := p.add(&step{text: text}); err != nil {
				return err
			}
		}
	}
	if u.call.Tx.Rollback && u.writes {
		if err := p.add(&step{text: "set constraints all immediate"}); err != nil {
			return err
		}
		return p.add(&step{text: "rollback", prepared: true})
	}
	if err := p.add(&step{text: "commit", prepared: true, commits: u.writes}); err != nil {
		return err
	}
	if !u.writes || len(u.db.replicas) == 0 {
		return nil
	}
	err := p.add(&step{text: positionSQL, prepared: true, read: u.readPosition})
	if p.committed {
		return nil
	}
	return err
}

const positionSQL = "select pg_catalog.pg_current_wal_insert_lsn()"

func (u *unit) readPosition(r *result) error {
	if r.more {
		u.rows.Tail.Position = string(r.rr.Values()[0])
	}
	return nil
}

// add adds a statement with what it needs before it.
func (u *unit) add(t *task) error {
	p := u.pipeline
	if t.path != u.path {
		u.path = t.path
		s := &step{text: "set local search_path to default"}
		if t.path != "" {
			s = settingsStep([]sdk.Pair{{Name: "search_path", Value: t.path}})
		}
		s.index, s.changes = t.index, true
		if err := p.add(s); err != nil {
			return err
		}
	}
	for _, setting := range u.hoisted {
		if err := p.add(u.restoreStep(setting.Name)); err != nil {
			return err
		}
	}
	if u.hoisted = t.settings; len(t.settings) > 0 {
		s := settingsStep(t.settings)
		s.index = t.index
		if err := p.add(s); err != nil {
			return err
		}
	}
	session := sessionKey(u.call.Session.Role, u.path)
	main := &step{
		text: t.query.Text, args: t.query.Args, prepared: t.prepared, session: session, hidden: t.hidden, records: t.query.Records, index: t.index,
		sql: t.s.Verb == sdk.SQL, changes: t.s.Verb == sdk.SQL && !t.script.plain,
		read: func(r *result) error { return u.answer(t, r) },
		done: func(tag pgconn.CommandTag) error { return u.answered(t, tag) },
	}
	switch {
	case t.s.Explain != nil:
		return u.addExplain(t, main)
	case t.script.statements > 1:
		return u.script(t)
	case t.query.Count != nil:
		if err := u.addCounts(t, session); err != nil || t.s.Verb == sdk.Count {
			return err
		}
	}
	return p.add(main)
}

// restoreStep sets a setting to what it is for the call. The name is one of hoistedSettings.
func (u *unit) restoreStep(name string) *step {
	s := &step{text: "set local " + name + " to default"}
	for _, setting := range settingsOf(&u.call.Session, "") {
		if strings.EqualFold(setting.Name, name) {
			s = settingsStep([]sdk.Pair{setting})
		}
	}
	return s
}
