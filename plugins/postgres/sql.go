package main

import (
	"context"

	"github.com/athena-gateway/athena/sdk"
)

// executeSQL runs a SQL text.
func (db *database) executeSQL(ctx context.Context, s *sdk.SQLText, rows *sdk.Rows) error {
	text := readScript(s.Text)
	if err := checkScript(&text, s); err != nil {
		return err
	}
	// A search path of the session serves texts that cannot run inside a transaction, and
	// arguments whose types are asked for before it begins.
	session := s.Schema != "" && (!text.plain || text.statements > 1 || hasArrays(s.Args))
	if session && !db.caching {
		return sdk.E(sdk.Unsupported, "schema_unsupported", "behind a pooler, a schema can be given for a single SELECT, INSERT, UPDATE or DELETE without array arguments only").
			WithHint("write the schema before the names in the SQL text")
	}
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if !text.plain || text.statements > 1 {
		c.touched = true
		defer db.catalogues.expire()
	}
	if session {
		c.touched = true
		if err := c.setPath(s.Schema); err != nil {
			return err
		}
	}
	rows.Tail.Statements = text.statements
	return c.runSQL(s, &text, s.Schema != "" && !session, rows)
}

// runSQL chooses how to run a text. With local its schema is set for a transaction.
func (c *conn) runSQL(s *sdk.SQLText, text *script, local bool, rows *sdk.Rows) error {
	main := step{text: text.text, args: s.Args, prepared: len(s.Args) > 0 && !local}
	t := &transaction{begin: "begin", steps: []step{main}, sql: true}
	if local {
		t.steps = []step{pathStep(s.Schema, "true"), main}
	}
	switch {
	case text.statements > 1:
		return c.script(text, s.Intent == sdk.IntentRead, rows)
	case s.Intent == sdk.IntentRead:
		t.begin, t.commit, t.readOnly = "begin read only", true, true
		return c.runIn(t, text, rows)
	case text.plain && text.returning:
		return c.commitAfter(t, rows)
	case local:
		t.commit = true
		return c.runIn(t, text, rows)
	default:
		return c.runAlone(&main, text, rows)
	}
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

// pathStep sets the search path, for the transaction if local is true.
func pathStep(schema, local string) step {
	// set_config reads the path as SET does: names in quotes are taken as they are.
	path := quoteName(schema) + ", public"
	return step{text: "select pg_catalog.set_config('search_path', $1, " + local + ")", args: []sdk.Value{{Text: path}}}
}

func quoteName(name string) string {
	b := []byte{'"'}
	for i := 0; i < len(name); i++ {
		if name[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, name[i])
	}
	return string(append(b, '"'))
}

// setPath sets the session's search path.
func (c *conn) setPath(schema string) error {
	s := pathStep(schema, "false")
	if _, err := c.pg.ExecParams(context.Background(), s.text, c.bind(s.args, nil), nil, nil, nil).Close(); err != nil {
		return c.failed(err, true)
	}
	return nil
}

func (c *conn) sqlFailed(err error, text *script) error {
	return (&failure{err: err, ctx: c.ctx, several: text.commits, sql: true}).classify()
}

// runIn runs a query, or a plain statement that returns no rows of a write, in t.
func (c *conn) runIn(t *transaction, text *script, rows *sdk.Rows) error {
	if !text.query && !t.readOnly {
		rows.Hold()
	}
	tag, err := c.transact(t, func(i int, r *result) error {
		if i < len(t.steps)-1 {
			return nil
		}
		if t.readOnly {
			return r.stream(rows)
		}
		return unlessCapped(r.stream(rows)) // see finishSQL
	})
	if err = unlessCapped(err); err != nil {
		return err
	}
	setAffected(rows, tag)
	return rows.Release()
}

// runAlone runs a statement that commits by itself. Without arguments it is not worth a
// place among the prepared ones.
func (c *conn) runAlone(s *step, text *script, rows *sdk.Rows) error {
	var r result
	var err error
	if s.prepared {
		r, err = c.query(s.text, s.args)
	} else {
		r, err = c.queryOnce(s.text, s.args)
	}
	if err != nil {
		return c.sqlFailed(err, text)
	}
	err = c.finishSQL(&r, text, rows)
	if r.unknown { // the next time it will be known
		_ = c.db.catalogues.reload(c)
	}
	return err
}

// finishSQL streams a result. What may be a write is held until it is committed. A query
// may write too, so it runs to its end even if fewer rows are asked for: interrupted, it
// would be undone.
func (c *conn) finishSQL(r *result, text *script, rows *sdk.Rows) error {
	if !text.query {
		rows.Hold()
	}
	if stopped := unlessCapped(r.stream(rows)); stopped != nil {
		c.interrupt()
		_, _ = r.rr.Close()
		return stopped
	}
	tag, err := r.rr.Close()
	if err != nil {
		return c.sqlFailed(err, text)
	}
	setAffected(rows, tag)
	return rows.Release()
}
