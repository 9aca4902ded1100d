package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	if x.call.Expect.KeyEquals != nil {
		return sdk.E(sdk.Unsupported, "unsupported_key_equals", "a SQLite backend cannot check the key of the written row yet")
	}
	if s.Verb != sdk.SQL {
		return nil
	}
	statements, err := splitSQL(s.SQL.Text)
	switch {
	case err != nil:
		return err
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
		return !s.ReadOnly()
	}
	if s.SQL.Intent != sdk.IntentUnknown {
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
		addHint(x.c, e)
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
	e := &x.call.Expect
	switch {
	case e.ExactlyOne && affected != 1:
		return sdk.E(sdk.Invalid, "not_exactly_one", fmt.Sprintf("%d rows where exactly one was expected; nothing was changed", affected))
	case e.MaxAffected != nil && affected > *e.MaxAffected:
		return sdk.E(sdk.Invalid, "max_affected_exceeded", fmt.Sprintf("%d rows where at most %d were expected; nothing was changed", affected, *e.MaxAffected))
	}
	return nil
}

// statement executes one statement and returns how many rows it wrote, or answered with.
func (x *execution) statement(ctx context.Context, i int) (int64, error) {
	s := &x.call.Statements[i]
	if s.Verb == sdk.SQL {
		return x.text(ctx, i)
	}
	t, err := x.db.catalogue.table(ctx, x.c, s.Table)
	if err != nil {
		return 0, err
	}
	known := &sqlbuild.Catalogue{Tables: map[sdk.Table]*sqlbuild.Table{s.Table: &t.Table}, Path: []string{s.Table.Schema}}
	options := x.rows.Options()
	q, err := sqlbuild.SQLite.Build(known, s, &options)
	if err != nil {
		return 0, err
	}
	name := t.Schema + "." + t.Name
	if s.ReadOnly() {
		if t.view {
			name = "*"
		}
		x.rows.Tail.TablesRead = []string{name}
		if s.Verb == sdk.Count {
			total, err := x.count(ctx, q.Text, q.Args)
			x.rows.Scalar(strconv.AppendInt(nil, total, 10))
			return total, err
		}
		return x.read(ctx, q)
	}
	if !t.alone {
		name = "*"
	}
	x.rows.Tail.TablesWritten = []string{name}
	return x.write(ctx, q, t)
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
func (x *execution) read(ctx context.Context, q *sqlbuild.Query) (int64, error) {
	if q.Count != nil {
		if _, err := x.count(ctx, q.Count.Text, q.Count.Args); err != nil {
			return 0, err
		}
	}
	e := &encoder{rows: x.rows}
	err := x.c.query(ctx, q.Text, arguments(q.Args), e.begin, e.row)
	return x.rows.Tail.Rows, capped(err)
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
func (x *execution) write(ctx context.Context, q *sqlbuild.Query, t *table) (int64, error) {
	e := &encoder{rows: x.rows, key: t.Key}
	begin, row := e.begin, e.row
	if !q.Rows {
		begin, row = nil, nil
	}
	if err := capped(x.c.query(ctx, q.Text, arguments(q.Args), begin, row)); err != nil {
		return 0, err
	}
	affected, err := x.c.integer(ctx, "SELECT changes()")
	x.rows.Tail.Affected = &affected
	if affected == 1 {
		x.rows.Tail.Keys = e.found
	}
	return affected, err
}

// text executes the statements of a SQL text. The last one that answers with rows is the
// answer.
func (x *execution) text(ctx context.Context, index int) (int64, error) {
	statements, args := x.sql[index], arguments(x.call.Statements[index].SQL.Args)
	last := -1
	for i := range statements {
		if statements[i].query {
			last = i
		}
	}
	written := int64(0)
	for i := range statements {
		one := &statements[i]
		text := x.storedTimes(one)
		x.c.spoiled = x.c.spoiled || one.spoils
		e := &encoder{rows: x.rows}
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
		return tail.Rows, nil
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
