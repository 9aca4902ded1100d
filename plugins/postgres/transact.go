package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
)

// transaction is a BEGIN and statements that go to the server in one round trip.
type transaction struct {
	begin    string
	steps    []step
	commit   bool // ends in COMMIT, else the caller ends the transaction
	readOnly bool
	sql      bool // the last step is the caller's own text
}

// step is one statement of a transaction.
type step struct {
	text      string
	args      []sdk.Value
	prepared  bool // else it is parsed for this one use
	statement *statement
	cached    bool
}

// transact runs t. each gets the steps' results in order and need not read them to the
// end; its error, which is returned as it is, stops the work. release rolls back what
// stays open. The tag is the last step's.
func (c *conn) transact(t *transaction, each func(i int, r *result) error) (pgconn.CommandTag, error) {
	for retried := false; ; retried = true {
		batch, err := c.batch(t)
		if err != nil {
			return pgconn.CommandTag{}, (&failure{err: err, ctx: c.ctx, readOnly: true, sql: t.sql}).classify()
		}
		run := running{conn: c, transaction: t, each: each}
		tag, err := run.batch(batch)
		switch {
		case err == nil:
			return tag, nil
		case run.stopped:
			return tag, err
		case retried || run.reached == len(t.steps) || !isOutdated(err):
			// Without COMMIT nothing can have happened.
			return tag, (&failure{err: err, ctx: c.ctx, readOnly: t.readOnly || !t.commit, sql: t.sql}).classify()
		}
		c.rollback()
		for i := range t.steps {
			if t.steps[i].cached {
				c.outdated(t.steps[i].statement, err)
			}
		}
	}
}

// batch prepares t's steps and puts them together. Errors are as query's.
func (c *conn) batch(t *transaction) (*pgconn.Batch, error) {
	batch := &pgconn.Batch{}
	batch.ExecParams(t.begin, nil, nil, nil, nil)
	for i := range t.steps {
		s := &t.steps[i]
		if !s.prepared || !c.db.caching { // there is only one unnamed statement
			batch.ExecParams(s.text, c.bind(s.args, nil), nil, nil, nil)
			continue
		}
		var err error
		if s.statement, s.cached, err = c.prepare(s.text); err != nil {
			return nil, err
		}
		if err := checkArguments(s.args, s.statement.desc); err != nil {
			return nil, err
		}
		batch.ExecStatement(s.statement.desc, c.bind(s.args, s.statement.desc.ParamOIDs), nil, s.statement.plan.formats)
	}
	if t.commit {
		batch.ExecParams("commit", nil, nil, nil, nil)
	}
	return batch, nil
}

// running is a transaction under way.
type running struct {
	*conn
	*transaction
	each    func(i int, r *result) error
	reached int  // steps whose result each has seen
	stopped bool // by an error of each
}

func (r *running) batch(batch *pgconn.Batch) (tag pgconn.CommandTag, err error) {
	all := r.pg.ExecBatch(context.Background(), batch)
	for i := -1; err == nil && all.NextResult(); i++ { // -1 is BEGIN
		if i >= 0 && i < len(r.steps) {
			tag, err = r.step(i, all.ResultReader())
		}
	}
	if closed := all.Close(); err == nil {
		err = closed
	}
	return tag, err
}

func (r *running) step(i int, rr *pgconn.ResultReader) (pgconn.CommandTag, error) {
	answer := result{rr: rr, more: rr.NextRow()}
	if !answer.more {
		if tag, err := rr.Close(); err != nil {
			return tag, err
		}
	}
	if s := r.steps[i].statement; s != nil {
		answer.plan = s.plan
	} else {
		answer.plan, _ = newPlan(rr.FieldDescriptions(), r.db.types(), false, false)
	}
	r.reached = i + 1
	if err := r.each(i, &answer); err != nil {
		r.stopped = true
		r.interrupt()
		_, _ = rr.Close()
		return pgconn.CommandTag{}, err
	}
	return rr.Close()
}

// isOutdated reports whether err may mean that a cached statement must be prepared again.
func isOutdated(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == "0A000" || server.Code == "26000")
}

// outdated drops a cached statement if err says so, and reports whether it did.
func (c *conn) outdated(s *statement, err error) bool {
	if !isOutdated(err) {
		return false
	}
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "26000" {
		c.forget() // somebody deallocated it, and surely not it alone
	} else {
		c.drop(s) // cached plan must not change result type
	}
	return true
}
