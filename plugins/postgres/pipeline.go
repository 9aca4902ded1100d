package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// maxPipelined is how many statements go to the server in one round trip at most.
const maxPipelined = 64

// step is one statement of a transaction.
type step struct {
	text     string
	args     []sdk.Value
	prepared bool // it is worth a place among the prepared ones
	session  string
	hidden   hiddenColumns
	records  []*sqlbuild.Record // of its columns
	index    int                // of the call's statement it belongs to
	sql      bool               // the text is the caller's own
	offset   int                // characters of ours before it
	changes  bool               // statements that come later may mean something else once it has run
	commits  bool

	// read gets the result and need not read it to the end; done is called at the end. An
	// error of theirs, which is returned as it is, stops the work.
	read func(r *result) error
	done func(tag pgconn.CommandTag) error

	statement *statement // prepared
	cached    bool       // before
}

// pipeline sends the statements of a transaction in as few round trips as it can.
type pipeline struct {
	c        *conn
	utc      bool // times are shown in UTC
	readOnly bool // none can have an effect
	batch    pgconn.Batch
	steps    []*step
	changed  bool // a step that changes was added and is not sent yet
	commits  bool // COMMIT was added

	committed bool // the server said so
	outdated  bool // it failed because cached statements were outdated
	failed    int  // the call's statement that failed
}

// add adds a step. What has to be asked before it can be sent, its parameters' types or
// those of its columns, is asked now: after the steps that it depends on.
func (p *pipeline) add(s *step) error {
	if len(p.steps) >= maxPipelined {
		if err := p.flush(); err != nil {
			return err
		}
	}
	var err error
	if s.prepared && p.c.keeps(s.text) {
		err = p.addPrepared(s)
	} else {
		err = p.addOnce(s)
	}
	if err != nil {
		p.failed = s.index
		return err
	}
	p.steps = append(p.steps, s)
	p.changed = p.changed || s.changes
	p.commits = p.commits || s.commits
	return nil
}

func (p *pipeline) addPrepared(s *step) error {
	key := statementKey{text: s.text, session: s.session, hidden: s.hidden, records: s.records != nil}
	s.statement = p.c.cached(key, p.utc)
	if s.cached = s.statement != nil; !s.cached {
		if p.changed {
			if err := p.flush(); err != nil {
				return err
			}
		}
		var err error
		if s.statement, err = p.c.prepare(key, p.utc); err != nil {
			p.outdated = p.c.outdated(err, nil)
			return p.classify(s, err)
		}
	}
	if err := checkArguments(s.args, s.statement.desc); err != nil {
		return err
	}
	p.batch.ExecStatement(s.statement.desc, p.c.bind(s.args, s.statement.desc.ParamOIDs), nil, s.statement.formats)
	return nil
}

// addOnce adds a step that is parsed for this one use.
func (p *pipeline) addOnce(s *step) error {
	var oids []uint32
	if s.sql && hasArrays(s.args) { // the parameters' types decide what becomes of them
		if p.changed {
			if err := p.flush(); err != nil {
				return err
			}
		}
		desc, err := p.c.pg.Prepare(context.Background(), "", s.text, nil)
		if err != nil {
			return p.classify(s, err)
		}
		if err := checkArguments(s.args, desc); err != nil {
			return err
		}
		oids = desc.ParamOIDs
	}
	records := records{shapes: s.records}
	p.batch.ExecParams(s.text, p.c.bind(s.args, oids), nil, nil, records.formats(s.hidden))
	return nil
}

// flush sends what was added and reads the results. What fails after COMMIT does not
// count.
func (p *pipeline) flush() error {
	steps, batch := p.steps, &p.batch
	p.steps, p.changed = nil, false
	if len(steps) == 0 {
		return nil
	}
	all := p.c.pg.ExecBatch(context.Background(), batch)
	at, stopped := p.results(all, steps)
	err := all.Close()
	p.batch = pgconn.Batch{}
	if p.committed && stopped == nil {
		return nil
	}
	if at < len(steps) {
		p.failed = steps[at].index
	}
	switch {
	case err != nil && (stopped == nil || p.commits && !p.readOnly):
		s := steps[min(at, len(steps)-1)]
		switch {
		case s.cached:
			p.outdated = p.c.outdated(err, s.statement)
		case s.statement != nil:
			p.outdated = p.c.outdated(err, nil)
		}
		return p.classify(s, err)
	case stopped != nil && p.commits && !p.readOnly:
		return writtenAnyway(stopped)
	default:
		return stopped
	}
}

// results reads the results of steps and returns where it ended: at the end, at the step
// that the server refused, or where stopped says that no more is wanted. What commits at
// its end runs on nevertheless.
func (p *pipeline) results(all *pgconn.MultiResultReader, steps []*step) (at int, stopped error) {
	for at = 0; at < len(steps) && all.NextResult(); at++ {
		s, rr := steps[at], all.ResultReader()
		if err := p.result(s, rr); err != nil {
			return at, p.stop(rr, err)
		}
		tag, err := rr.Close()
		if err != nil {
			return at, nil // all.Close has it
		}
		if s.done != nil {
			if err := s.done(tag); err != nil {
				return at, p.stop(rr, err)
			}
		}
		p.committed = p.committed || s.commits
	}
	return at, nil
}

// stop ends what runs, unless it commits.
func (p *pipeline) stop(rr *pgconn.ResultReader, why error) error {
	if !p.commits || p.readOnly {
		p.c.interrupt()
	}
	_, _ = rr.Close()
	return why
}

// result reads one step's result.
func (p *pipeline) result(s *step, rr *pgconn.ResultReader) error {
	if s.read == nil {
		return nil
	}
	r := result{rr: rr, hidden: s.hidden, more: rr.NextRow(), records: p.c.records(s.records, p.utc)}
	if !r.more {
		if _, err := rr.Close(); err != nil {
			return nil
		}
	}
	if s.statement != nil {
		r.plan = s.statement.plan
	} else {
		r.plan, _ = newPlan(s.hidden.shown(rr.FieldDescriptions()), p.c.db.types(), false, false, s.records != nil)
	}
	return s.read(&r)
}

func (p *pipeline) classify(s *step, err error) error {
	var known *sdk.Error
	if errors.As(err, &known) {
		return known
	}
	// Without COMMIT nothing can have happened. Whether a batch has been sent, its error
	// does not tell.
	return (&failure{err: err, ctx: p.c.ctx, readOnly: p.readOnly || !p.commits, sent: true, sql: s.sql, offset: s.offset}).classify()
}
