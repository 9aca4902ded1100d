package httpx

import (
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

// statusOutcomeUnknown answers a write of which nobody knows whether it happened.
const statusOutcomeUnknown = 502

// The three tables by kind of error: status, advice to retry, log level.
var (
	statusByKind = [...]int{
		sdk.Internal:        500,
		sdk.Invalid:         400,
		sdk.Unauthenticated: 401,
		sdk.Forbidden:       403,
		sdk.NotFound:        404,
		sdk.Conflict:        409,
		sdk.RateLimited:     429,
		sdk.Unavailable:     503,
		sdk.Timeout:         504,
		sdk.Unsupported:     400, // not 501: clients retry whatever is 500 or above
		sdk.Canceled:        499, // nobody reads it: for logs and metrics
	}
	// retryByKind is the default of Retry-After; 0: no advice.
	retryByKind = [...]time.Duration{
		sdk.RateLimited: time.Second,
		sdk.Unavailable: time.Second,
		sdk.Canceled:    0,
	}
	levelByKind = [...]hclog.Level{
		sdk.Internal:        hclog.Error,
		sdk.Invalid:         hclog.Debug,
		sdk.Unauthenticated: hclog.Debug,
		sdk.Forbidden:       hclog.Debug,
		sdk.NotFound:        hclog.Debug,
		sdk.Conflict:        hclog.Debug,
		sdk.RateLimited:     hclog.Debug,
		sdk.Unavailable:     hclog.Warn,
		sdk.Timeout:         hclog.Warn,
		sdk.Unsupported:     hclog.Debug,
		sdk.Canceled:        hclog.Debug,
	}
)

// failure is an error as the client gets it.
type failure struct {
	*sdk.Error
	status     int
	level      hclog.Level
	code       string
	retryAfter time.Duration // 0: no header
}

// classify reads the tables.
func classify(e *sdk.Error, writes bool) failure {
	kind := e.Kind
	if int(kind) >= len(statusByKind) {
		kind = sdk.Internal
	}
	f := failure{Error: e, status: statusByKind[kind], level: levelByKind[kind], code: e.Reason, retryAfter: e.RetryAfter}
	if f.code == "" {
		f.code = kind.String()
	}
	if f.retryAfter == 0 {
		f.retryAfter = retryByKind[kind]
	}
	writes = writes || wrote(e)
	switch {
	case kind == sdk.Unauthenticated && e.Source == sdk.FromDownstream:
		// The database refused the gateway's credentials, not the caller's.
		f.status, f.level, f.retryAfter = 503, hclog.Warn, time.Second
	case kind == sdk.Unavailable && writes && e.Executed != sdk.ExecutedNo:
		f.status, f.retryAfter = statusOutcomeUnknown, 0
		if e.Executed == sdk.ExecutedUnknown {
			f.code = "outcome_unknown"
		}
	case f.status == 504 && writes && e.Executed != sdk.ExecutedNo:
		f.retryAfter = 0
	}
	return f
}

// wrote reports whether the gateway itself says that it has stored something, which it does
// on routes that write to no client's database too.
func wrote(e *sdk.Error) bool { return e.Source == sdk.FromHost && e.Executed == sdk.ExecutedYes }

// Status is the status of an answer with the error, of a route that writes or not.
func Status(e *sdk.Error, writes bool) int {
	f := classify(e, writes)
	return f.status
}

// masked reports whether the error is our own and says nothing to callers.
func (f *failure) masked() bool { return f.Kind == sdk.Internal && f.Code == "" }

// maxText bounds each text of an answer and of a line of the log, in bytes: a database may repeat
// all of a request.
const maxText = 8 << 10

func bounded(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// appendEnvelope appends the error envelope. error repeats the text of message with its
// detail, because old clients read the one and new clients the other.
func (f *failure) appendEnvelope(dst []byte, traceID, operation string, writes bool) []byte {
	message, detail := bounded(f.Message), bounded(f.Detail)
	code := f.code
	if f.masked() {
		message, detail, code = "internal error", "", "internal"
	}
	if message == "" {
		message = f.Kind.String()
	}
	text := message
	if detail != "" {
		text += ": " + detail
	}
	dst = append(dst, `{"status":"error","code":`...)
	dst = sdk.AppendString(dst, code)
	dst = member(dst, "message", message)
	dst = member(dst, "error", text)
	dst = member(dst, "trace_id", traceID)
	if !f.masked() {
		if f.Hint != "" {
			dst = member(dst, "hint", bounded(f.Hint))
		}
		if detail != "" {
			dst = member(dst, "details", detail)
		}
	}
	dst = append(dst, `,"data":{`...)
	dst = f.appendData(dst, operation, writes)
	return append(dst, "}}"...)
}

// appendData appends the members of the envelope's data.
func (f *failure) appendData(dst []byte, operation string, writes bool) []byte {
	start := len(dst)
	text := func(name, value string) {
		if value == "" {
			return
		}
		dst = member(dst, name, bounded(value))
	}
	text("operation", operation)
	// A refusal says by its status that nothing was done; a database may have done a part.
	partly := f.Executed == sdk.ExecutedYes || f.Source == sdk.FromDownstream && f.Executed == sdk.ExecutedUnknown
	if (writes || wrote(f.Error)) && (f.status >= 499 || partly) {
		text("executed", [...]string{sdk.ExecutedUnknown: "unknown", sdk.ExecutedNo: "no", sdk.ExecutedYes: "yes"}[min(f.Executed, sdk.ExecutedYes)])
	}
	if !f.masked() {
		text("sqlstate", f.Code)
		text("schema", f.Schema)
		text("table", f.Table)
		text("column", f.Column)
		text("constraint", f.Constraint)
		if f.Position > 0 {
			dst = append(dst, `,"position":`...)
			dst = strconv.AppendInt(dst, int64(f.Position), 10)
		}
		if len(f.Details) > 0 {
			dst = append(dst, `,"details":`...)
			dst = append(dst, f.Details...)
		}
	}
	if len(dst) > start { // the first member needs no comma
		dst = append(dst[:start], dst[start+1:]...)
	}
	return dst
}

// member appends a further member of an object.
func member(dst []byte, name, value string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return sdk.AppendString(dst, value)
}
