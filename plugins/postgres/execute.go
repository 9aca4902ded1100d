package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

var capabilities = sdk.Capabilities{
	Verbs: []sdk.Verb{sdk.Select, sdk.Insert, sdk.Update, sdk.Delete, sdk.Function, sdk.Count, sdk.SQL},
	Operators: []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.Match, sdk.IMatch,
		sdk.In, sdk.Is, sdk.IsDistinct, sdk.Contains, sdk.Contained, sdk.Overlaps, sdk.FTS, sdk.PlainFTS, sdk.PhraseFTS, sdk.WebFTS,
		sdk.StrictLeft, sdk.StrictRght, sdk.NotRight, sdk.NotLeft, sdk.Adjacent},
	Transactions: true,
	Sessions:     true,
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
	GeoJSON:      true,
	Raw:          true,
	SQLHeaders:   true,
	Positions:    true,
}

// Execute runs the statements of call: in one transaction, or each in its own.
func (db *database) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	if err := checkPosition(call.MinPosition); err != nil {
		return err
	}
	if !db.isPlain(call) {
		return newExecution(ctx, db, call, rows).run()
	}
	err := db.executePlain(ctx, call, rows)
	if err == nil || rows.Head.Columns != nil || !isMiss(err) {
		return err
	}
	if changed, failed := db.refreshed(ctx); failed != nil || !changed {
		return cmp.Or(failed, err)
	}
	return db.executePlain(ctx, call, rows)
}

// isMiss reports whether err says that a name is not known: the catalogue may be older
// than what the statement names.
func isMiss(err error) bool {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == "42P01" || e.Code == "42703" || e.Code == "42704" || e.Code == "42883" || e.Reason == "undefined_relation"
}

// refreshed looks for a newer catalogue and reports whether there is one, perhaps since a
// moment ago.
func (db *database) refreshed(ctx context.Context) (bool, error) {
	known := db.catalogues.current.Load()
	err := db.catalogues.reload(ctx, false)
	return db.catalogues.current.Load() != known || time.Since(known.read) < 10*time.Second, err
}

// isPlain reports whether a call is one statement on a table that needs nothing around
// it: no transaction of more than itself, no session, nothing to check before it is
// committed.
func (db *database) isPlain(call *sdk.Call) bool {
	s, tx := &call.Statements[0], call.Tx
	tx.Single = false
	if len(call.Statements) > 1 || tx != (sdk.Tx{}) || hasSession(&call.Session) || hasExpectations(&call.Expect) ||
		call.Result.SQLHeaders || s.Explain != nil || len(db.replicas) > 0 {
		return false
	}
	switch s.Verb {
	case sdk.Select:
		return s.Count == sdk.CountNone
	case sdk.Count:
		return s.Count <= sdk.CountExact
	case sdk.Insert, sdk.Update, sdk.Delete:
		return s.Conflict == nil && s.Returning != sdk.ReturnKeys && (s.Returning == sdk.ReturnNone || fewRows(s, &call.Result))
	default:
		return false
	}
}

func hasExpectations(e *sdk.Expect) bool {
	return e.ExactlyOne || e.MaxAffected != nil || e.KeyEquals != nil
}

func hasRelations(s *sdk.Selection) bool {
	for i := range s.Items {
		if s.Items[i].Relation != nil {
			return true
		}
	}
	return false
}

// smallPayload is a size of inserted rows whose returned rows are surely small enough to
// be held.
const smallPayload = 1 << 20

// fewRows reports whether a write is bound to return so few rows that they pass the
// call's bounds: it can then be committed before its rows are read, in one round trip.
func fewRows(s *sdk.Statement, o *sdk.ResultOptions) bool {
	if s.Conflict != nil && s.Conflict.Update || hasRelations(&s.Selection) { // it returns the rows that were there, of any size
		return false
	}
	if len(s.Key) > 0 {
		return true
	}
	if s.Verb != sdk.Insert || len(s.Rows.Payload) > smallPayload || o.MaxBytes > 0 {
		return false
	}
	one := s.Rows.Format == sdk.RowsJSON && bytes.HasPrefix(s.Rows.Payload, []byte("{"))
	return one || o.MaxRows == 0 && o.Format != sdk.FormatObject
}

// executePlain runs a plain statement, by itself and in one round trip.
func (db *database) executePlain(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	s := &call.Statements[0]
	known, expected := db.catalogues.current.Load(), db.times()
	q, err := known.dialects[expected].Build(&known.Catalogue, s, &call.Result)
	if err != nil {
		return err
	}
	if err := checkCount(q.Args); err != nil {
		return err
	}
	if q.Hidden != sqlbuild.HiddenNone { // it is not so plain
		return newExecution(ctx, db, call, rows).run()
	}
	acquire := db.acquire
	if !s.ReadOnly() {
		acquire = db.acquireLive
	}
	c, err := acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if times := c.times(); q.Records != nil && !expected.serves(times) {
		db.otherTimes.Store(&times)
		if q, err = known.dialects[times].Build(&known.Catalogue, s, &call.Result); err != nil {
			return err
		}
	}
	rows.Tail.TablesRead, rows.Tail.TablesWritten = q.Read, q.Written
	switch s.Verb {
	case sdk.Count:
		return c.count(q, rows)
	case sdk.Select:
		return c.read(q, rows)
	default:
		return c.write(q, rows)
	}
}

// result is what a statement answers with.
type result struct {
	rr      *pgconn.ResultReader
	plan    *plan // of the columns that are shown
	hidden  hiddenColumns
	records records
	more    bool // the reader is at a row
	unknown bool // a column's type is not in the catalogue: its values are written as text
}

// records are how the records of a result are read whose columns have these.
func (c *conn) records(shapes []*sqlbuild.Record, utc bool) records {
	return records{shapes: shapes, catalogues: &c.db.catalogues, utc: utc}
}

// query runs a prepared statement by itself and reads up to its first row. shapes are the
// records of its columns. The error is pgconn's, or says that there are too many or too few
// arguments.
func (c *conn) query(key statementKey, args []sdk.Value, shapes []*sqlbuild.Record) (r result, err error) {
	key.records = shapes != nil
	for c.keeps(key.text) {
		utc := c.utc()
		s := c.cached(key, utc)
		cached := s != nil
		if !cached {
			if s, err = c.prepare(key, utc); err != nil {
				return r, err
			}
		}
		if err := checkArguments(args, s.desc); err != nil {
			return r, err
		}
		r = result{plan: s.plan, hidden: key.hidden, records: c.records(shapes, utc)}
		r.rr = c.pg.ExecStatement(context.Background(), s.desc, c.bind(args, s.desc.ParamOIDs), nil, s.formats)
		if r.more = r.rr.NextRow(); r.more {
			return r, nil
		}
		if !cached {
			s = nil
		}
		_, err = r.rr.Close()
		if err == nil || !c.outdated(err, s) || !cached && c.db.caching.Load() {
			return r, err
		}
	}
	return c.queryOnce(key, args, shapes)
}

// queryOnce is query for a statement that is parsed for this one use, in the same round
// trip. Nothing is expected to last from one trip to the next: behind a pooler, each may
// reach another session.
func (c *conn) queryOnce(key statementKey, args []sdk.Value, shapes []*sqlbuild.Record) (result, error) {
	return c.queryTyped(key, args, nil, shapes)
}

// queryTyped is queryOnce with the parameters' types, which decide what becomes of arrays.
func (c *conn) queryTyped(key statementKey, args []sdk.Value, oids []uint32, shapes []*sqlbuild.Record) (r result, err error) {
	r.hidden, r.records = key.hidden, c.records(shapes, c.utc())
	r.rr = c.pg.ExecParams(context.Background(), key.text, c.bind(args, oids), oids, nil, r.records.formats(key.hidden))
	if r.more = r.rr.NextRow(); !r.more {
		if _, err := r.rr.Close(); err != nil {
			return r, err
		}
	}
	r.plan, r.unknown = newPlan(key.hidden.shown(r.rr.FieldDescriptions()), c.db.types(), false, false, shapes != nil)
	return r, nil
}

// stream writes the rows of r. Its error is EndRow's.
func (r *result) stream(rows *sdk.Rows) error {
	r.plan.describe(rows)
	for ; r.more; r.more = r.rr.NextRow() {
		if err := r.plan.write(rows, r.rr.Values(), &r.records); err != nil {
			return err
		}
	}
	return nil
}

// read answers with the rows of a query.
func (c *conn) read(q *sqlbuild.Query, rows *sdk.Rows) error {
	r, err := c.query(statementKey{text: q.Text}, q.Args, q.Records)
	if err != nil {
		return c.failed(err, true)
	}
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

// count answers with the number that a query counts.
func (c *conn) count(q *sqlbuild.Query, rows *sdk.Rows) error {
	r, err := c.query(statementKey{text: q.Text}, q.Args, q.Records)
	if err != nil {
		return c.failed(err, true)
	}
	total := readTotal(&r)
	if _, err := r.rr.Close(); err != nil {
		return c.failed(err, true)
	}
	showTotal(rows, total)
	return nil
}

// showTotal answers with a count.
func showTotal(rows *sdk.Rows, total int64) {
	rows.Scalar(strconv.AppendInt(nil, total, 10))
	rows.Head.Total, rows.Tail.Total = &total, &total
}

// readTotal reads the one number of a count.
func readTotal(r *result) int64 {
	var total int64
	for ; r.more; r.more = r.rr.NextRow() {
		total = parseCount(r.rr.Values()[0])
	}
	return total
}

// parseCount reads the server's own bigint.
func parseCount(text []byte) int64 {
	n, _ := strconv.ParseInt(string(text), 10, 64)
	return n
}

// write runs a write that commits by itself.
func (c *conn) write(q *sqlbuild.Query, rows *sdk.Rows) error {
	rows.Hold()
	r, err := c.query(statementKey{text: q.Text}, q.Args, q.Records)
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
	if stopped != nil {
		return writtenAnyway(stopped)
	}
	affected := tag.RowsAffected()
	rows.Tail.Affected = &affected
	return rows.Release()
}

// writtenAnyway is the error of rows that are refused though they have been committed,
// against all odds; see fewRows.
func writtenAnyway(stopped error) error {
	e := *sdk.AsError(stopped)
	e.Executed = sdk.ExecutedYes
	e.Message = "the statement was executed, but its rows are too many or too large to be returned"
	e.Hint = "do not repeat what it wrote: read the rows, or fewer columns of them"
	return &e
}
