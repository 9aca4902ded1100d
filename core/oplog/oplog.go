// Package oplog is the operation log: a row of gateway_operation_log for each request that
// asks a client's database for something, however it entered and whether or not it was
// refused, and the statistics that are counted from these rows.
package oplog

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Options are what a Log works with.
type Options struct {
	Ledger *ledger.Ledger
	Logger hclog.Logger
	Off    bool // nothing is recorded; what was can be read
}

// Log is the operation log. A nil Log records nothing.
type Log struct {
	ledger  *ledger.Ledger
	logger  hclog.Logger
	entries *ledger.Log[Entry] // nil: off
	turn    chan struct{}      // full while somebody refreshes the statistics
	stop    context.CancelFunc
	tasks   sync.WaitGroup
}

// New opens the log, and begins to complete rows that an older installation has left.
func New(o Options) *Log {
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{ledger: o.Ledger, logger: o.Logger, turn: make(chan struct{}, 1), stop: stop}
	if !o.Off {
		l.entries = ledger.NewLog(o.Ledger, ledger.LogOptions[Entry]{Table: "gateway_operation_log", Columns: columns,
			Values: (*Entry).values, Also: count})
	}
	l.tasks.Go(func() { l.backfill(ctx) })
	return l
}

// Close ends what the log does in the background. What is queued is the ledger's to write.
func (l *Log) Close() {
	l.stop()
	l.tasks.Wait()
}

// On reports whether operations are recorded.
func (l *Log) On() bool { return l != nil && l.entries != nil }

// Record queues an entry. It never waits, and changes e.
func (l *Log) Record(e *Entry) {
	e.tidy()
	l.entries.Append(e)
}

// Entry is an operation as the log keeps it. Empty texts are null in the table.
type Entry struct {
	Time               time.Time // when the request had arrived
	RequestID, TraceID string    // TraceID: of the caller's own trace; "": it sent none
	Client, Table      string    // a registered client, and a table that may be there
	// NamedClient and NamedTable are what the caller named instead, where nobody knows of
	// a client or a table of the name.
	NamedClient, NamedTable       string
	Operation, Door, Method, Path string
	Status                        int
	Duration                      time.Duration
	Backend                       string
	Reached                       bool          // the backend was asked
	Waited                        time.Duration // for the backend
	Retries, Statements           int
	Rows                          int64 // returned or written; -1: unknown
	Bytes                         int64 // of the body, before compression
	KeyID, UserID, OrganizationID string

	// Of a failed operation; see Failed.
	Error                 bool
	Message, Code, Native string
	Executed              string
}

// Failed notes an error, of whose texts only the message is kept, without what it may quote of the
// request. ofSQL says that a SQL text failed, after a client had been found for it.
func (e *Entry) Failed(err *sdk.Error, ofSQL bool) {
	e.Error, e.Message, e.Code, e.Native = true, message(err, ofSQL), err.Reason, err.Code
	if e.Code == "" {
		e.Code = err.Kind.String()
	}
	e.Executed = [...]string{sdk.ExecutedUnknown: "unknown", sdk.ExecutedNo: "no", sdk.ExecutedYes: "yes"}[min(err.Executed, sdk.ExecutedYes)]
}

// message is the public message of an error, if it is the gateway's or the plugin's own. One about
// a value, or about the form of a request, quotes what was sent: that is left out. Those that
// name what is missing or in the way quote names alone. What a database says may hold anything:
// parts of the SQL, values, and words of its own code, under whatever SQLSTATE that chooses.
func message(err *sdk.Error, ofSQL bool) string {
	switch {
	case err.Kind == sdk.Internal && err.Code == "":
		return "internal error"
	case err.Source == sdk.FromDownstream && err.Code != "":
		return standard(err, ofSQL)
	}
	switch err.Kind {
	case sdk.Unavailable, sdk.Timeout, sdk.Canceled:
		return err.Message
	}
	if ofSQL || err.Source == sdk.FromDownstream {
		return standard(err, ofSQL)
	}
	switch err.Kind {
	case sdk.NotFound, sdk.Conflict, sdk.Forbidden, sdk.RateLimited:
		return err.Message
	}
	for _, known := range []string{"undefined_", "ambiguous_", "unknown_client"} {
		if strings.HasPrefix(err.Reason, known) {
			return err.Message
		}
	}
	return unquoted(err.Message)
}

// standard says which error of a database it is, in none of its words. The names are the
// catalogue's, but where a SQL text failed they may be words of that.
func standard(err *sdk.Error, ofSQL bool) string {
	text := "database error " + cmp.Or(err.Reason, err.Kind.String())
	if ofSQL {
		return text
	}
	for _, name := range []struct{ what, name string }{{"constraint", err.Constraint}, {"column", err.Column}, {"table", err.Table}} {
		if name.name != "" {
			text += fmt.Sprintf(", %s %q", name.what, name.name)
		}
	}
	return text
}

// unquoted leaves out everything from the first quote to the last: what is quoted may hold
// quotes itself.
func unquoted(text string) string {
	first, last := strings.IndexByte(text, '"'), strings.LastIndexByte(text, '"')
	if first < 0 {
		return text
	}
	if last == first {
		return text[:first] + "…"
	}
	return text[:first] + `"…` + text[last:]
}

// The most bytes of texts that come from callers.
const (
	maxName    = 200
	maxMessage = 2000
)

// tidy bounds the texts that come from outside and makes them fit for both databases.
func (e *Entry) tidy() {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	for _, text := range [...]*string{&e.RequestID, &e.TraceID, &e.Client, &e.Table, &e.NamedClient, &e.NamedTable, &e.UserID, &e.OrganizationID, &e.Code, &e.Native} {
		*text = clean(*text, maxName)
	}
	e.Message = clean(e.Message, maxMessage)
}

// clean is text of at most limit bytes, without zero bytes and invalid UTF-8, neither of
// which PostgreSQL takes. What is cut off does not keep the rest in memory.
func clean(text string, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = strings.Clone(text[:limit])
	}
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
}

var columns = []string{"created_at", "request_id", "client_name", "table_name", "operation", "door", "method", "path", "status_code",
	"duration_ms", "operation_time_ms", "row_count", "bytes", "cached", "error", "message",
	"api_key_id", "user_id", "organization_id", "details"}

// values appends the row, in the order of columns.
func (e *Entry) values(row *ledger.Row) {
	row.Time(e.Time)
	row.TextOrNull(e.RequestID)
	row.TextOrNull(e.Client)
	row.TextOrNull(e.Table)
	row.Text(e.Operation)
	row.Text(e.Door)
	row.TextOrNull(e.Method)
	row.TextOrNull(e.Path)
	row.Int(int64(e.Status))
	row.Int(e.Duration.Milliseconds())
	if e.Reached {
		row.Float(float64(e.Waited) / float64(time.Millisecond))
	} else {
		row.Null()
	}
	if e.Rows >= 0 {
		row.Int(e.Rows)
	} else {
		row.Null()
	}
	row.Int(e.Bytes)
	row.Bool(false)
	row.Bool(e.Error)
	row.TextOrNull(e.Message)
	row.TextOrNull(e.KeyID)
	row.TextOrNull(e.UserID)
	row.TextOrNull(e.OrganizationID)
	row.TextOrNull(e.details())
}

// details is the JSON object of what has no column, "" if nothing has. A success of which there is nothing to
// tell but its client's backend has none: documents are what costs most in a row.
func (e *Entry) details() string {
	if !e.Error && e.TraceID == "" && e.Retries == 0 && e.Statements <= 1 {
		return ""
	}
	dst := make([]byte, 1, 256)
	dst[0] = '{'
	name := func(name string) {
		dst = append(append(append(dst, ',', '"'), name...), '"', ':')
	}
	text := func(member, value string) {
		if value != "" {
			name(member)
			dst = sdk.AppendString(dst, value)
		}
	}
	text("trace_id", e.TraceID)
	text("backend", e.Backend)
	text("client", e.NamedClient)
	text("table", e.NamedTable)
	text("code", e.Code)
	text("sqlstate", e.Native)
	text("executed", e.Executed)
	if e.Retries > 0 {
		name("retries")
		dst = strconv.AppendInt(dst, int64(e.Retries), 10)
	}
	if e.Statements > 1 {
		name("statements")
		dst = strconv.AppendInt(dst, int64(e.Statements), 10)
	}
	dst = append(dst, '}')
	dst[1] = '{' // the first member needs no comma
	return string(dst[1:])
}
