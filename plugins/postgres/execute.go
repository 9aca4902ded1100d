package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

var capabilities = sdk.Capabilities{
	Verbs: []sdk.Verb{sdk.Select, sdk.Insert, sdk.Update, sdk.Delete, sdk.Count, sdk.SQL},
	Operators: []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.Match, sdk.IMatch,
		sdk.In, sdk.Is, sdk.IsDistinct, sdk.Contains, sdk.Contained},
	Returning: true,
	Conflict:  true,
}

// Execute runs the one statement of call.
func (db *database) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	if call.Session.StatementTimeout > 0 {
		limited, cancel := context.WithTimeout(ctx, call.Session.StatementTimeout)
		defer cancel()
		ctx = limited
	}
	s := &call.Statements[0]
	if s.Verb == sdk.SQL {
		return db.executeSQL(ctx, &s.SQL, rows)
	}
	known := db.catalogues.current.Load()
	err := db.executeTable(ctx, s, rows)
	if err == nil || rows.Head.Columns != nil || !isMiss(err) {
		return err
	}
	// The catalogue may be older than what the statement names.
	if failed := db.reload(ctx); failed != nil {
		return failed
	}
	if db.catalogues.current.Load() == known {
		return err
	}
	return db.executeTable(ctx, s, rows)
}

// isMiss reports whether err says that a name is not known.
func isMiss(err error) bool {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == "42P01" || e.Code == "42703" || e.Code == "42704"
}

// executeTable runs a statement on a table.
func (db *database) executeTable(ctx context.Context, s *sdk.Statement, rows *sdk.Rows) error {
	options := rows.Options()
	q, err := sqlbuild.Postgres.Build(&db.catalogues.current.Load().Catalogue, s, &options)
	if err != nil {
		return err
	}
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	switch {
	case s.Verb == sdk.Count:
		return c.count(q, rows)
	case s.Verb == sdk.Select && q.Count != nil:
		return c.readCounted(q, rows)
	case s.Verb == sdk.Select:
		return c.read(q, rows)
	case q.Rows && !fewRows(s, rows.Options()):
		return c.writeUndoably(q, rows)
	default:
		return c.write(q, rows)
	}
}

// result is what a statement answers with.
type result struct {
	rr      *pgconn.ResultReader
	plan    *plan
	more    bool // the reader is at a row
	unknown bool // a column's type is not in the catalogue: its values are written as text
}

// query runs a prepared statement by itself and reads up to its first row. The error is
// pgconn's, or says that there are too many or too few arguments.
func (c *conn) query(text string, args []sdk.Value) (r result, err error) {
	if !c.db.caching {
		return c.queryOnce(text, args)
	}
	for {
		s, cached, err := c.prepare(text)
		if err != nil {
			return r, err
		}
		if err := checkArguments(args, s.desc); err != nil {
			return r, err
		}
		r = result{plan: s.plan}
		r.rr = c.pg.ExecStatement(context.Background(), s.desc, c.bind(args, s.desc.ParamOIDs), nil, s.plan.formats)
		if r.more = r.rr.NextRow(); r.more {
			return r, nil
		}
		_, err = r.rr.Close()
		if err == nil || !cached || !c.outdated(s, err) {
			return r, err
		}
	}
}

// queryOnce is query for a statement that is parsed for this one use, in the same round
// trip. Nothing is expected to last from one trip to the next: behind a pooler, each may
// reach another session.
func (c *conn) queryOnce(text string, args []sdk.Value) (r result, err error) {
	var oids []uint32
	if hasArrays(args) { // the parameters' types decide what becomes of them
		desc, err := c.pg.Prepare(context.Background(), "", text, nil)
		if err != nil {
			return r, err
		}
		oids = desc.ParamOIDs
	}
	r.rr = c.pg.ExecParams(context.Background(), text, c.bind(args, oids), nil, nil, nil)
	if r.more = r.rr.NextRow(); !r.more {
		if _, err := r.rr.Close(); err != nil {
			return r, err
		}
	}
	r.plan, r.unknown = newPlan(r.rr.FieldDescriptions(), c.db.types(), false, false)
	return r, nil
}

// stream writes the rows of r. Its error is EndRow's.
func (r *result) stream(rows *sdk.Rows) error {
	r.plan.describe(rows)
	for ; r.more; r.more = r.rr.NextRow() {
		if err := r.plan.write(rows, r.rr.Values()); err != nil {
			return err
		}
	}
	return nil
}

// read answers with the rows of a query.
func (c *conn) read(q *sqlbuild.Query, rows *sdk.Rows) error {
	r, err := c.query(q.Text, q.Args)
	if err != nil {
		return c.failed(err, true)
	}
	return c.finishRead(&r, rows)
}

// finishRead streams r to its end, or to the end of what is asked for.
func (c *conn) finishRead(r *result, rows *sdk.Rows) error {
	if stopped := r.stream(rows); stopped != nil {
		c.interrupt()
		_, _ = r.rr.Close()
		return unlessCapped(stopped)
	}
	if _, err := r.rr.Close(); err != nil {
		return c.failed(err, true)
	}
	return nil
}

// unlessCapped is nil for the error that says that there are rows enough.
func unlessCapped(err error) error {
	if err == error(sdk.ErrRowLimit) {
		return nil
	}
	return err
}

func (c *conn) failed(err error, readOnly bool) error {
	return (&failure{err: err, ctx: c.ctx, readOnly: readOnly}).classify()
}

// count answers with the number that a query counts.
func (c *conn) count(q *sqlbuild.Query, rows *sdk.Rows) error {
	r, err := c.query(q.Text, q.Args)
	if err != nil {
		return c.failed(err, true)
	}
	total := readTotal(&r)
	if _, err := r.rr.Close(); err != nil {
		return c.failed(err, true)
	}
	rows.Scalar(strconv.AppendInt(nil, total, 10))
	rows.Head.Total, rows.Tail.Total = &total, &total
	return nil
}

// readTotal reads the one number of a count.
func readTotal(r *result) int64 {
	var total int64
	for ; r.more; r.more = r.rr.NextRow() {
		total, _ = strconv.ParseInt(string(r.rr.Values()[0]), 10, 64) // the server's own bigint
	}
	return total
}

// readCounted counts first and reads then, in one snapshot and one round trip.
func (c *conn) readCounted(q *sqlbuild.Query, rows *sdk.Rows) error {
	t := &transaction{
		begin:  "begin isolation level repeatable read read only",
		steps:  []step{{text: q.Count.Text, args: q.Count.Args, prepared: true}, {text: q.Text, args: q.Args, prepared: true}},
		commit: true, readOnly: true,
	}
	_, err := c.transact(t, func(i int, r *result) error {
		if i > 0 {
			return r.stream(rows)
		}
		total := readTotal(r)
		rows.Head.Total, rows.Tail.Total = &total, &total
		return nil
	})
	return unlessCapped(err)
}

// smallPayload is a size of inserted rows whose returned rows are surely small enough to
// be held.
const smallPayload = 1 << 20

// fewRows reports whether a write is bound to return so few rows that they pass the
// call's bounds: it can then be committed before its rows are read, in one round trip.
func fewRows(s *sdk.Statement, o sdk.ResultOptions) bool {
	if s.Conflict != nil && s.Conflict.Update { // it returns the rows that were there, of any size
		return false
	}
	if len(s.Key) > 0 {
		return true
	}
	if s.Verb != sdk.Insert || len(s.Rows.Payload) > smallPayload || o.MaxBytes > 0 {
		return false
	}
	return s.Rows.Payload[0] == '{' || o.MaxRows == 0 && o.Format != sdk.FormatObject
}

// write runs a write that commits by itself.
func (c *conn) write(q *sqlbuild.Query, rows *sdk.Rows) error {
	rows.Hold()
	r, err := c.query(q.Text, q.Args)
	if err != nil {
		return c.failed(err, false)
	}
	var stopped error
	if q.Rows {
		stopped = unlessCapped(r.stream(rows))
	}
	tag, err := r.rr.Close()
	if err != nil {
		return c.failed(err, false)
	}
	if stopped != nil { // against all odds; see fewRows
		e := *sdk.AsError(stopped)
		e.Executed = sdk.ExecutedYes
		e.Message = "the rows were written but are too many or too large to be returned"
		e.Hint = "do not write them again: read them, or fewer columns of them"
		return &e
	}
	setAffected(rows, tag)
	return rows.Release()
}

// writeUndoably runs a write whose rows may be too many or too large to be returned.
func (c *conn) writeUndoably(q *sqlbuild.Query, rows *sdk.Rows) error {
	t := &transaction{begin: "begin", steps: []step{{text: q.Text, args: q.Args, prepared: true}}}
	return c.commitAfter(t, rows)
}

// commitAfter runs t, streams the rows of its last step, and commits when they have been
// held.
func (c *conn) commitAfter(t *transaction, rows *sdk.Rows) error {
	rows.Hold()
	tag, err := c.transact(t, func(i int, r *result) error {
		if i < len(t.steps)-1 {
			return nil
		}
		return unlessCapped(r.stream(rows))
	})
	if err != nil {
		return err
	}
	setAffected(rows, tag)
	if err := c.pg.Exec(context.Background(), "commit").Close(); err != nil {
		return c.failed(err, false)
	}
	return rows.Release()
}

// setAffected tells how many rows a write wrote.
func setAffected(rows *sdk.Rows, tag pgconn.CommandTag) {
	if n, ok := writtenRows(tag); ok {
		rows.Tail.Affected = &n
	}
}
