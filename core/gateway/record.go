package gateway

import (
	"slices"
	"time"

	"github.com/athena-gateway/athena/core/oplog"
	"github.com/athena-gateway/athena/sdk"
)

// outcome is what became of an operation.
type outcome struct {
	client  string // its registered client; "": there is none
	backend string // kind of database; "": none was chosen
	retries int
	waited  time.Duration // for the backend
	bytes   int64         // of the body
	tail    *sdk.Tail     // nil: the answer did not end
	err     *sdk.Error    // nil: the answer was delivered
}

// reached reports whether the backend was asked. An error of the host's own which says that
// nothing was executed comes from before: of a client that is not open, of the breaker.
func (o *outcome) reached() bool {
	return o.backend != "" && (o.err == nil || o.err.Source != sdk.FromHost || o.err.Executed != sdk.ExecutedNo)
}

// end closes the books of an operation, once.
func (g *Gateway) end(op *Operation, o *outcome) {
	took := time.Since(op.Started)
	g.options.Metrics.observe(op, o.client, took, o.err)
	g.record(op, o, took)
}

// record writes the operation's row of the log. Names that nobody vouches for, of clients
// and of tables that may not exist, are kept apart: a caller could make up any number of
// them, and each would be counted for ever.
func (g *Gateway) record(op *Operation, o *outcome, took time.Duration) {
	if !g.options.Log.On() {
		return
	}
	e := oplog.Entry{
		Time: op.Started, RequestID: op.RequestID, Client: o.client, Table: tableName(op), Operation: op.Name, Door: op.Door,
		Method: op.Method, Path: op.Path, Status: 200, Duration: took, Backend: o.backend, Reached: o.reached(), Waited: o.waited,
		Retries: o.retries, Statements: len(op.Call.Statements), Rows: -1, Bytes: o.bytes,
		KeyID: op.keyID(), UserID: op.UserID, OrganizationID: op.OrganizationID,
	}
	if op.Traced && len(op.Trace) == len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01") {
		e.TraceID = op.Trace[3:35]
	}
	if o.client == "" {
		e.NamedClient = op.Client
	}
	if t := o.tail; t != nil {
		e.Rows = t.Rows
		switch {
		case t.Affected != nil:
			e.Rows = *t.Affected
		case t.Total != nil && op.Call.Statements[0].Verb == sdk.Count:
			e.Rows = *t.Total
		}
		e.Statements = max(e.Statements, t.Statements)
	}
	if o.err != nil {
		e.Status = g.options.Status(o.err, op.Writes)
		e.Failed(o.err, o.backend != "" && executesSQL(&op.Call))
		if !vouches(o.err) {
			e.Table, e.NamedTable = "", e.Table
		}
	}
	g.options.Log.Record(&e)
}

// executesSQL reports whether a call has SQL text of its own.
func executesSQL(call *sdk.Call) bool {
	return slices.ContainsFunc(call.Statements, func(s sdk.Statement) bool { return s.Verb == sdk.SQL })
}

// vouches reports whether an error tells that the operation's table is there: the database
// has looked at it and complains about something else.
func vouches(e *sdk.Error) bool {
	switch e.Kind {
	case sdk.NotFound, sdk.Unavailable, sdk.Unauthenticated, sdk.Forbidden:
		return false
	}
	return e.Source == sdk.FromDownstream || e.Reason == "undefined_column"
}

// tableName is the table of an operation's first statement, with its schema if one was
// named.
func tableName(op *Operation) string {
	if len(op.Call.Statements) == 0 {
		return ""
	}
	t := &op.Call.Statements[0].Table
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}
