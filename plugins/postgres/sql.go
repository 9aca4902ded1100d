package main

import (
	"context"
	"errors"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// newText reads a SQL text. several says that it shares its transaction.
func (x *execution) newText(t *task, several bool) error {
	s := &t.s.SQL
	t.script = readScript(s.Text)
	if err := checkScript(&t.script, s); err != nil {
		return err
	}
	text := &t.script
	t.query = &sqlbuild.Query{Text: text.text, Args: s.Args, Rows: true, Read: []string{"*"}}
	t.writes = s.Intent != sdk.IntentRead
	if t.writes {
		t.query.Written = []string{"*"}
	}
	// A query that writes in a function is shown as it runs.
	t.held = t.writes && !text.query
	t.safe = text.statements == 1 && !(text.plain && text.returning)
	// Without arguments it is not worth a place among the prepared ones. What may commit is
	// not run again, as an outdated statement is. And what strings in it mean as dates or
	// names is settled when it is prepared.
	t.prepared = len(s.Args) > 0 && !text.commits && !text.moment && !setsMeaning(&x.call.Session)
	if s.Schema != "" {
		more := x.call.Session.SearchPath
		if len(more) == 0 {
			more = []string{"public"}
		}
		t.path = pathOf(append([]string{s.Schema}, more...)...)
	}
	if text.controls && (several || x.wraps()) {
		return sdk.E(sdk.Invalid, "transaction_control", "a SQL text that begins or ends transactions cannot run inside the transaction of a call").
			WithHint("send it without a session, expectations and other statements in its transaction")
	}
	if text.controls && text.leaves && !x.db.caching.Load() {
		return sdk.E(sdk.Unsupported, "session_unsupported", "behind a pooler, a SQL text cannot both change its session and begin or end transactions").
			WithHint("leave out BEGIN and COMMIT: the statements of a text share a transaction; or say SET LOCAL")
	}
	return nil
}

// wraps reports whether the call needs a transaction around whatever it runs.
func (x *execution) wraps() bool {
	tx := x.call.Tx
	tx.Single = false
	return tx != (sdk.Tx{}) || hasSession(&x.call.Session) || hasExpectations(&x.call.Expect) || x.call.Result.SQLHeaders
}

// alone reports whether the unit is a SQL text that runs by itself: nothing asks for a
// transaction, and it might not run inside one.
func (u *unit) alone() bool {
	t := u.tasks[0]
	if t.s.Verb != sdk.SQL || t.s.Explain != nil || len(u.tasks) > 1 || u.wraps() || !t.writes || u.cleans {
		return false
	}
	text := &t.script
	if text.statements > 1 {
		return text.commits || t.path == ""
	}
	return !text.plain || !text.returning && t.path == "" && len(u.db.replicas) == 0
}

// checkScript refuses what cannot be run.
func checkScript(text *script, s *sdk.SQLText) error {
	switch {
	case text.statements == 0:
		return sdk.E(sdk.Invalid, "empty_sql", "the SQL text holds no statement")
	case text.copies:
		return sdk.E(sdk.Unsupported, "copy_unsupported", "COPY from or to the client cannot be run as SQL text").
			WithHint("insert rows with an insert, read them with a SELECT")
	case text.statements > 1 && len(s.Args) > 0:
		return sdk.E(sdk.Invalid, "arguments_of_several_statements", "arguments can be given to a single statement only").
			WithHint("send the statements one by one")
	case s.Intent == sdk.IntentRead && !text.reads:
		return sdk.E(sdk.Invalid, "not_a_read", "the SQL text is meant to read but holds a statement that is no query").
			WithHint("only SELECT, WITH, VALUES, TABLE, SHOW and EXPLAIN read")
	}
	return nil
}

// runAlone runs a SQL text that commits by itself. A search path is set for the session
// then, until the connection is cleaned.
func (u *unit) runAlone(t *task) error {
	if t.path != "" {
		if !u.db.caching.Load() {
			return sdk.E(sdk.Unsupported, "schema_unsupported", "behind a pooler, a schema cannot be given for a text that may not run inside a transaction").
				WithHint("write the schema before the names in the SQL text")
		}
		if err := u.c.setPath(t.path); err != nil {
			return err
		}
	}
	var err error
	if t.script.statements > 1 {
		err = u.runScript(t)
	} else {
		err = u.runText(t)
	}
	if err != nil {
		return err
	}
	if u.c.pg.TxStatus() != 'I' {
		return leftOpen()
	}
	u.execution.written = true
	if len(u.db.replicas) > 0 {
		if err := u.askPosition(); err != nil {
			return nil // it is written all the same
		}
	}
	return u.rows.Release()
}

// setPath sets the session's search path.
func (c *conn) setPath(path string) error {
	c.touched = true
	_, err := c.pg.ExecParams(context.Background(), "select pg_catalog.set_config('search_path', $1, false)", [][]byte{[]byte(path)}, nil, nil, nil).Close()
	if err != nil {
		return c.failed(err, true)
	}
	return nil
}

// askPosition asks for the position after what was committed by itself.
func (u *unit) askPosition() error {
	r, err := u.c.query(statementKey{text: positionSQL}, nil, nil)
	if err != nil {
		return err
	}
	if err := u.readPosition(&r); err != nil {
		return err
	}
	_, err = r.rr.Close()
	return err
}

// runText runs one statement. What may be a write is held until it is committed. A query
// may write too, so it runs to its end even if fewer rows are asked for: interrupted, it
// would be undone.
func (u *unit) runText(t *task) error {
	c, key, args := u.c, statementKey{text: t.query.Text, session: sessionKey("", t.path)}, t.query.Args
	prepared := t.prepared && c.keeps(key.text)
	var r result
	var err error
	switch {
	case prepared:
		r, err = c.query(key, args, nil)
	case hasArrays(args):
		r, err = c.queryArrays(key, args)
	default:
		r, err = c.queryOnce(key, args, nil)
	}
	if err != nil {
		return c.textFailed(t, err)
	}
	if t.held {
		u.rows.Hold()
	}
	if stopped := u.answer(t, &r); stopped != nil {
		c.interrupt()
		_, err = r.rr.Close()
		return c.textRefused(t, stopped, err)
	}
	tag, err := r.rr.Close()
	if err != nil {
		return c.textFailed(t, err)
	}
	if r.unknown { // the next time it will be known
		_ = c.db.catalogues.learn(c, r.rr.FieldDescriptions())
	}
	return u.answered(t, tag)
}

// queryArrays is queryOnce for arguments whose types decide what becomes of them.
func (c *conn) queryArrays(key statementKey, args []sdk.Value) (r result, err error) {
	desc, err := c.pg.Prepare(context.Background(), "", key.text, nil)
	if err != nil {
		return r, err
	}
	if err := checkArguments(args, desc); err != nil {
		return r, err
	}
	return c.queryTyped(key, args, desc.ParamOIDs, nil)
}

func (c *conn) textFailed(t *task, err error) error {
	return (&failure{err: err, ctx: c.ctx, several: t.script.commits, sql: true}).classify()
}

// textRefused is the error of a text that commits by itself and whose rows are refused;
// err is how it ended then.
func (c *conn) textRefused(t *task, refused, err error) error {
	var known *sdk.Error
	switch {
	case !errors.As(refused, &known):
		return refused // the reader's
	case err == nil:
		return writtenAnyway(refused)
	}
	e := *known
	e.Executed = sdk.AsError(c.textFailed(t, err)).Executed
	return &e
}
