package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// execution is a call on its way through one connection.
type execution struct {
	db   *database
	call *sdk.Call
	rows *sdk.Rows
	sql  map[int][]sqlStatement // texts of SQL statements, by statement

	c       *conn
	written bool // an earlier statement is committed
	// changing says that a SQL text has been executed in the transaction under way, and may
	// have changed the schema.
	changing bool
}

// Execute runs a call's statements on one connection: of the readers, unless a statement
// may write.
func (db *database) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	x := &execution{db: db, call: call, rows: rows, sql: map[int][]sqlStatement{}}
	write := false
	for i := range call.Statements {
		if err := x.check(i); err != nil {
			rows.Head.Statement = i
			return err
		}
		write = write || x.writes(i)
	}
	pool := db.readers
	if write && !call.Tx.ReadOnly {
		if db.writer == nil {
			return sdk.E(sdk.Forbidden, "read_only", "this client is opened read-only").
				WithHint("remove read_only from its config to write")
		}
		pool = db.writer
	}
	return db.with(ctx, pool, func(c *conn) error {
		x.c = c
		return x.run(ctx, pool)
	})
}

// check refuses what cannot be executed and reads SQL texts.
func (x *execution) check(i int) error {
	s := &x.call.Statements[i]
	text := s.SQL.Text
	if s.Explain != nil {
		if err := checkExplain(s.Explain); err != nil {
			return err
		}
		text = explainPrefix + text
	}
	if s.Verb != sdk.SQL {
		return nil
	}
	statements, err := splitSQL(text)
	switch {
	case err != nil:
		return err
	case len(statements) > 1 && s.Explain != nil:
		return sdk.E(sdk.Invalid, "explain_of_several_statements", "only a single statement can be explained").
			WithHint("send the statements one by one")
	case len(statements) == 0:
		return sdk.E(sdk.Invalid, "syntax_error", "the SQL text holds no statement")
	case len(statements) > 1 && len(s.SQL.Args) > 0:
		return sdk.E(sdk.Invalid, "several_statements", "a SQL text with arguments must be one statement").
			WithHint("send the statements one by one")
	}
	for _, one := range statements {
		if s.SQL.Intent == sdk.IntentRead && one.spoils {
			return sdk.E(sdk.Forbidden, "read_only", one.first+" changes something and was called a read")
		}
		if one.alone && !one.read && (len(statements) > 1 || len(x.call.Statements) > 1) {
			return sdk.E(sdk.Invalid, "not_in_transaction", one.first+" cannot run together with other statements").
				WithHint("send it alone")
		}
	}
	x.sql[i] = statements
	return nil
}

// writes reports whether a statement needs the writer.
func (x *execution) writes(i int) bool {
	s := &x.call.Statements[i]
	if s.Verb != sdk.SQL {
		return !s.ReadOnly() && s.Explain == nil
	}
	if s.SQL.Intent != sdk.IntentUnknown && s.Explain == nil {
		return s.SQL.Intent == sdk.IntentWrite
	}
	for _, one := range x.sql[i] {
		if !one.read {
			return true
		}
	}
	return false
}

// run executes the statements: all in one transaction, or each in its own.
func (x *execution) run(ctx context.Context, pool *sql.DB) error {
	size := 1
	if x.call.Tx.Single {
		size = len(x.call.Statements)
	}
	for first := 0; first < len(x.call.Statements); first += size {
		if first > 0 {
			if err := x.rows.Release(); err != nil {
				return err
			}
			if err := x.rows.NextStatement(); err != nil {
				return err
			}
		}
		write := pool == x.db.writer && x.anyWrites(first, size)
		if err := x.transaction(ctx, first, size, write); err != nil {
			return x.fail(ctx, err)
		}
		x.written = x.written || write && !x.call.Tx.Rollback
	}
	return nil
}

func (x *execution) anyWrites(first, size int) bool {
	for i := first; i < first+size; i++ {
		if x.writes(i) {
			return true
		}
	}
	return false
}

// fail classifies an error. What its own transaction did is rolled back.
func (x *execution) fail(ctx context.Context, err error) error {
	err = x.db.mapError(ctx, err)
	var e *sdk.Error
	if errors.As(err, &e) && e != sdk.ErrRowLimit {
		if known, err := x.db.known(context.WithoutCancel(ctx), x.c, true); err == nil {
			known.addHint(e)
		}
		if x.written {
			e.Executed = sdk.ExecutedYes
		}
	}
	return err
}

// transaction executes some statements in one transaction, or without one where a
// single statement needs none.
func (x *execution) transaction(ctx context.Context, first, size int, write bool) (err error) {
	s := &x.call.Statements[first]
	alone := size == 1 && len(x.sql[first]) == 1 && x.sql[first][0].alone
	if size == 1 && !write && s.Count == sdk.CountNone && len(x.sql[first]) < 2 || alone {
		affected, err := x.statement(ctx, first)
		if err != nil {
			return err
		}
		return x.expect(affected)
	}
	if err := x.c.begin(ctx, write); err != nil {
		x.c.spoiled = true // a begin that was cancelled may have begun
		return err
	}
	ended := false
	x.changing = false
	defer func() {
		if !ended {
			x.c.rollback()
		}
	}()
	if write {
		x.rows.Hold()
	}
	total := int64(0)
	for i := first; i < first+size; i++ {
		if i > first {
			if err := x.rows.NextStatement(); err != nil {
				return err
			}
		}
		affected, err := x.statement(ctx, i)
		if err != nil {
			return err
		}
		total += affected
	}
	if err := x.expect(total); err != nil {
		return err
	}
	if write && x.call.Tx.Rollback && x.c.violated() {
		return &sdk.Error{Kind: sdk.Conflict, Reason: "foreign_key_violation", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo,
			Code: "787", Message: "FOREIGN KEY constraint failed"} // as COMMIT would have it
	}
	if !write || x.call.Tx.Rollback {
		return nil
	}
	// Not cancelled: afterwards it must be known whether it is committed.
	if err := x.c.exec(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		e := *sdk.AsError(x.db.mapError(ctx, err)) // a deferred foreign key, a full disk: nothing is committed
		if e.Reason == "storage_failure" {
			e.Executed = sdk.ExecutedUnknown // the disk may have taken it before it failed
		}
		return &e
	}
	ended = true
	return nil
}

// expect checks what the call expects of the rows written, or read.
func (x *execution) expect(affected int64) error {
	expect := &x.call.Expect
	var e *sdk.Error
	switch {
	case expect.ExactlyOne && affected != 1:
		e = sdk.E(sdk.Invalid, "not_exactly_one", fmt.Sprintf("%d rows where exactly one was expected; nothing was changed", affected)).
			WithHint("narrow the filter to one row, or do not ask for exactly one")
	case expect.MaxAffected != nil && affected > *expect.MaxAffected:
		e = sdk.E(sdk.Invalid, "max_affected_exceeded", fmt.Sprintf("%d rows where at most %d were expected; nothing was changed", affected, *expect.MaxAffected)).
			WithHint("narrow the filter, or allow more rows")
	default:
		return nil
	}
	e.Details = json.RawMessage(`{"rows":` + strconv.FormatInt(affected, 10) + `}`)
	return e
}

// statement executes one statement and returns how many rows it wrote, or answered with.
func (x *execution) statement(ctx context.Context, i int) (int64, error) {
	s := &x.call.Statements[i]
	if s.Verb == sdk.SQL {
		return x.text(ctx, i)
	}
	known, err := x.db.known(ctx, x.c, !x.changing)
	if err != nil {
		return 0, err
	}
	s, t, err := known.resolve(s)
	if err != nil {
		return 0, err
	}
	e := x.encoder()
	if s, err = e.withKey(s, t, x.call.Expect.KeyEquals); err != nil {
		return 0, err
	}
	options := x.rows.Options()
	q, err := sqlbuild.SQLite.Build(&known.Catalogue, s, &options)
	if err != nil {
		return 0, err
	}
	if s.Explain != nil {
		return 0, x.explain(ctx, s.Explain, explainPrefix+q.Text, arguments(q.Args))
	}
	e.json = q.JSON
	x.rows.Tail.TablesRead, x.rows.Tail.TablesWritten = q.Read, q.Written
	switch s.Verb {
	case sdk.Count:
		total, err := x.count(ctx, q.Text, q.Args)
		x.rows.Scalar(strconv.AppendInt(nil, total, 10))
		return total, err
	case sdk.Select:
		return x.read(ctx, q, e)
	default:
		affected, err := x.write(ctx, q, s.Conflict, e)
		if err == nil && x.call.Expect.KeyEquals != nil {
			err = x.expectKey(ctx, known, s, e)
		}
		return affected, err
	}
}

// encoder is one for the rows of the next answer.
func (x *execution) encoder() *encoder {
	e := &encoder{rows: x.rows}
	e.countsCapped = x.call.Expect.ExactlyOne || x.call.Expect.MaxAffected != nil
	e.countsSecond = x.call.Expect.ExactlyOne
	return e
}

// count executes a statement that counts. The total may stand before a body.
func (x *execution) count(ctx context.Context, text string, args []sdk.Value) (int64, error) {
	total, err := x.c.integer(ctx, text, arguments(args)...)
	if err != nil {
		return 0, err
	}
	x.rows.Head.Total, x.rows.Tail.Total = &total, &total
	return total, nil
}

// read executes a Select.
func (x *execution) read(ctx context.Context, q *sqlbuild.Query, e *encoder) (int64, error) {
	if q.Count != nil {
		if _, err := x.count(ctx, q.Count.Text, q.Count.Args); err != nil {
			return 0, err
		}
	}
	err := x.c.query(ctx, q.Text, arguments(q.Args), e.begin, e.row)
	return e.seen, capped(err)
}

// capped forgives the end of the rows that the caller asked for.
func capped(err error) error {
	if err == sdk.ErrRowLimit {
		return nil
	}
	return err
}

// write executes an Insert, Update or Delete. SQLite has written all rows before it
// returns the first.
func (x *execution) write(ctx context.Context, q *sqlbuild.Query, conflict *sdk.OnConflict, e *encoder) (int64, error) {
	begin, row := e.begin, e.row
	if !q.Rows {
		begin, row = nil, nil
	}
	run := func() error { return capped(x.c.query(ctx, q.Text, arguments(q.Args), begin, row)) }
	var err error
	if conflict == nil {
		err = run()
	} else {
		var inserted int64
		inserted, err = x.c.insertions(run)
		x.rows.Tail.Inserted = &inserted
	}
	if err != nil {
		return 0, err
	}
	affected, err := x.c.integer(ctx, "SELECT changes()")
	x.rows.Tail.Affected = &affected
	if affected == 1 {
		x.rows.Tail.Keys = e.keys()
	}
	return affected, err
}

// expectKey checks the primary key of the written row. Texts that differ are left to
// SQLite to compare: 01 may be 1.
func (x *execution) expectKey(ctx context.Context, known *catalogue, s *sdk.Statement, e *encoder) error {
	want := x.call.Expect.KeyEquals
	if e.seen == 0 {
		return nil
	}
	same := e.seen == 1
	if same && !slices.EqualFunc(e.found, want, func(a, b sdk.Value) bool { return a.Text == b.Text && b.Hint != sdk.Null }) {
		both := &sdk.Statement{Verb: sdk.Count, Table: s.Table, Key: want, Filter: &sdk.Filter{Kind: sdk.FilterAnd}}
		for i, name := range e.key {
			both.Filter.Children = append(both.Filter.Children,
				sdk.Filter{Column: sdk.Column{Name: name}, Operator: sdk.Eq, Values: []sdk.Value{e.found[i]}})
		}
		q, err := sqlbuild.SQLite.Build(&known.Catalogue, both, &sdk.ResultOptions{})
		if err != nil {
			return err
		}
		n, err := x.c.integer(ctx, q.Text, arguments(q.Args)...)
		if err != nil {
			return err
		}
		same = n == 1
	}
	if same {
		return nil
	}
	mismatch := sdk.E(sdk.Invalid, "key_mismatch", "the row's primary key is not the one that is expected; nothing was changed").
		WithHint("give the key's columns the values by which the row is addressed")
	mismatch.Table = s.Table.Name
	return mismatch
}

// text executes the statements of a SQL text. The last one that answers with rows is the
// answer.
func (x *execution) text(ctx context.Context, index int) (int64, error) {
	statements, args := x.sql[index], textArguments(x.call.Statements[index].SQL.Args)
	if e := x.call.Statements[index].Explain; e != nil {
		x.c.spoiled = x.c.spoiled || statements[0].spoils
		return 0, x.explain(ctx, e, statements[0].text, args)
	}
	x.changing = x.changing || x.writes(index)
	last := -1
	for i := range statements {
		if statements[i].query {
			last = i
		}
	}
	written, seen := int64(0), int64(0)
	for i := range statements {
		one := &statements[i]
		text := x.storedTimes(one)
		x.c.spoiled = x.c.spoiled || one.spoils
		e := x.encoder()
		begin, row := e.begin, e.row
		if i != last {
			begin, row = nil, nil
		}
		if one.first == "VACUUM" {
			x.c.attachable(1)
			defer x.c.attachable(0) // it is alone
		}
		if err := capped(x.c.query(ctx, text, args, begin, row)); err != nil {
			return 0, err
		}
		seen = max(seen, e.seen) // only the last one's are counted
		if one.counts {
			n, err := x.c.integer(ctx, "SELECT changes()")
			if err != nil {
				return 0, err
			}
			written += n
		}
	}
	tail := &x.rows.Tail
	tail.Statements = len(statements)
	tail.TablesRead = []string{"*"}
	if !x.writes(index) {
		return seen, nil
	}
	tail.TablesWritten, tail.Affected = []string{"*"}, &written
	return written, nil
}

// storedTimes wraps a query whose columns are declared as times, so that they come as
// they were stored and not as the driver reads and rewrites them.
func (x *execution) storedTimes(s *sqlStatement) string {
	if !s.read || s.first == "EXPLAIN" || s.first == "PRAGMA" {
		return s.text
	}
	described, err := x.c.Conn.(columnInformer).ColumnInfo(s.text)
	if err != nil {
		return s.text // executing it says why
	}
	return wrapTimes(s.text, described)
}
