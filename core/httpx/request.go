package httpx

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/athena-gateway/athena/core/auth"
)

// Request is an HTTP request as a handler sees it. Body belongs to the request and may
// be kept; every string that a method returns is a copy. The methods may be called until
// the answer has been delivered, a streamed one included.
type Request struct {
	Body []byte
	ID   string // x-request-id: the caller's, or made here; trace_id of an error

	Principal *auth.Principal // who asks; nil: nobody who is known
	Attempt   auth.Attempt    // the same with what was decided, for gateway.Operation

	ctx     context.Context
	cancel  context.CancelCauseFunc
	fctx    *fasthttp.RequestCtx
	server  *Server
	route   *mounted
	params  []string // in the order of the route's parameters
	started time.Time
	open    Body // the handler's stream until it is closed
	ended   bool

	admitted bool // Admit was asked

	conn       *conn // nil when the transport cannot be watched
	prev, next *Request
}

// Context ends when the client leaves, when the answer has been delivered, and when a
// shutdown runs out of patience.
func (r *Request) Context() context.Context { return r.ctx }

// Cancel is what ends Context, and with it what the request has under way.
func (r *Request) Cancel() context.CancelCauseFunc { return r.cancel }

// Method is the request's method.
func (r *Request) Method() string {
	method := r.fctx.Method()
	if string(method) == r.route.Method {
		return r.route.Method
	}
	return string(method)
}

// Route is the path of the route that took the request, with the names of its parameters.
func (r *Request) Route() string { return r.route.Path }

// Started is when the request had arrived.
func (r *Request) Started() time.Time { return r.started }

// Place is the path for logs and the audit: that of the route, with those parameters that look
// like ids and names in their places. Anything else, such as a key where its id was meant, stays
// out, as does what the request presents as a key.
func (r *Request) Place() string {
	if len(r.route.params) == 0 {
		return r.route.Path
	}
	segments := strings.Split(r.route.Path, "/")
	for i, segment := range segments {
		name, isParam := strings.CutPrefix(segment, ":")
		if !isParam {
			continue
		}
		if text, err := url.PathUnescape(r.Param(name)); err == nil && looksLike(name, text) && !r.presents(text) {
			segments[i] = text
		}
	}
	return strings.Join(segments, "/")
}

// looksLike reports whether text has the form of the parameter's values: a UUID for an id, else a
// short name. That of an API key is none.
func looksLike(param, text string) bool {
	if param == "id" || strings.HasSuffix(param, "_id") {
		return uuid.Validate(text) == nil
	}
	return IsName(text)
}

// IsName reports whether text has the form of a short name, so that it may be logged and repeated
// though a caller has made it up. That of an API key is none.
func IsName(text string) bool {
	return plainName.MatchString(text) && !strings.HasPrefix(text, "ath_")
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

func (r *Request) presents(text string) bool {
	var array [carriers][]byte
	return slices.ContainsFunc(r.credentials(array[:0]), func(key []byte) bool { return string(key) == text })
}

// Remote is the address and port that the request came from, perhaps a proxy's.
func (r *Request) Remote() string { return r.fctx.RemoteAddr().String() }

// Header is the first value of a header, in any letter case, or "".
func (r *Request) Header(name string) string { return string(r.fctx.Request.Header.Peek(name)) }

// HostLabel is the label that the host name asked for has in front of Options.HostDomain,
// in lower case; "" for any other host name.
func (r *Request) HostLabel() string {
	return hostLabel(string(r.fctx.Host()), r.server.options.HostDomain)
}

// Query is the first value of a query parameter, or "".
func (r *Request) Query(name string) string { return string(r.fctx.QueryArgs().Peek(name)) }

// HasQuery reports whether a query parameter is there, even if empty.
func (r *Request) HasQuery(name string) bool { return r.fctx.QueryArgs().Has(name) }

// Param is a path parameter's value, or "".
func (r *Request) Param(name string) string {
	for i, param := range r.route.params {
		if param == name && i < len(r.params) {
			return r.params[i]
		}
	}
	return ""
}

// Trace is the request's W3C traceparent: the caller's if it is well formed, else a
// fresh one, which differs from call to call of this method.
func (r *Request) Trace() string {
	if sent := r.fctx.Request.Header.Peek("Traceparent"); validTrace(sent) {
		return string(sent)
	}
	var id [24]byte
	for i := 0; i < len(id); i += 8 {
		n := rand.Uint64() | 1 // an id must not be all zero
		for j := range 8 {
			id[i+j] = byte(n >> (8 * j))
		}
	}
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	return string(append(b, "-01"...))
}

// Traced reports whether Trace is the caller's.
func (r *Request) Traced() bool { return validTrace(r.fctx.Request.Header.Peek("Traceparent")) }

// validTrace checks the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>.
func validTrace(b []byte) bool {
	if len(b) != 55 || string(b[:2]) == "ff" || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return false
	}
	zero := [32]byte{}
	for i := range zero {
		zero[i] = '0'
	}
	if string(b[3:35]) == string(zero[:]) || string(b[36:52]) == string(zero[:16]) {
		return false
	}
	for i, c := range b {
		if i != 2 && i != 35 && i != 52 && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Request ids are a prefix of this process and a counter: they need to be unique, not
// secret, and cost no system call.
var (
	idPrefix  = strconv.FormatUint(rand.Uint64()>>24, 36) + "-"
	idCounter atomic.Uint64
)

func newID() string {
	var b [32]byte
	return string(strconv.AppendUint(append(b[:0], idPrefix...), idCounter.Add(1), 36))
}

// requestID takes the caller's id when it is harmless in logs and headers.
func requestID(fctx *fasthttp.RequestCtx) string {
	sent := fctx.Request.Header.Peek(fiber.HeaderXRequestID)
	if len(sent) == 0 || len(sent) > 128 {
		return newID()
	}
	for _, c := range sent {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return newID()
		}
	}
	return string(sent)
}

// takeBody copies the body out of Fiber's buffer. A large one is taken over with its
// buffer instead: no copy, and an idle connection does not keep it.
func takeBody(fctx *fasthttp.RequestCtx) []byte {
	body := fctx.Request.Body()
	if len(body) > 4<<10 {
		return fctx.Request.SwapBody(nil)
	}
	return append([]byte(nil), body...)
}

// takeParams copies the path parameters.
func takeParams(c *fiber.Ctx, names []string) []string {
	if len(names) == 0 {
		return nil
	}
	params := make([]string, len(names))
	for i, name := range names {
		params[i] = strings.Clone(c.Params(name))
	}
	return params
}
