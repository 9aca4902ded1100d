package publicroutes

import (
	"context"
	"io"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// call is one request of a public route.
type call struct {
	route *pinned
	op    string
	token *rate.Reservation  // nil: the route has no rate
	at    time.Time          // when it was taken
	log   func(e *sdk.Error) // gets what the caller must not see
}

// dispatch answers POST /public/{route_key}/{op}.
func (r *Routes) dispatch(q *httpx.Request) (*httpx.Response, error) {
	p, err := r.find(q.Param("route_key"))
	if err != nil {
		return nil, err
	}
	guard := httpx.Data
	if p != nil && p.open() {
		guard = httpx.Public
	}
	if err := q.Admit(guard); err != nil {
		return nil, err
	}
	if p == nil || p.gated() {
		// A wrong key counts whether there is such a route or not.
		if err := q.Insist(); err != nil || p == nil {
			return nil, notFound()
		}
	}
	c := &call{route: p, op: q.Param("op"), at: time.Now()}
	c.log = func(e *sdk.Error) {
		r.log.Debug("a public route failed", "route", p.Key, "operation", c.op, "client", p.Client, "error", e.Error(), "trace_id", q.ID)
	}
	as := &gateway.Operation{Door: "public", Name: c.op, Method: q.Method(), Path: "/public/" + p.Key + "/" + c.op, Started: q.Started(),
		Target: gateway.Target{Named: p.Client}, RequestID: q.ID, Principal: q.Principal}
	// Who may not use the route learns nothing of it, and does not use it up.
	if err := r.authorize(q, p, c.op); err != nil {
		c.log(sdk.AsError(err))
		r.refuse(as, err)
		return nil, notFound()
	}
	if err := c.admit(); err != nil {
		r.refuse(as, err)
		return nil, err
	}
	response, err := r.options.Serve(q, as, p.subject(c.op), func(ctx context.Context, cancel context.CancelCauseFunc, o *gateway.Operation) (*gateway.Result, error) {
		o.Target = as.Target // whatever else the request says of it
		o.Open, o.Right = p.open(), p.right()
		for i := range o.Call.Statements {
			if err := p.restrict(&o.Call.Statements[i]); err != nil {
				return nil, err
			}
		}
		result, err := r.options.Execute(ctx, cancel, o)
		if err != nil {
			return nil, c.mask(err)
		}
		return result, nil
	})
	if err == nil && response.Stream != nil {
		response.Stream = &stream{response.Stream, c}
	}
	return response, err
}

// refuse notes a refused operation. Another word than theirs is the caller's own, and none.
func (r *Routes) refuse(as *gateway.Operation, err error) {
	if slices.Contains(operations, as.Name) {
		r.options.Refuse(as, err)
	}
}

// rights are what the operations take of a key without the route's own right. A statement may
// take more: gateway.Execute decides about it.
var rights = map[string]string{opQuery: auth.Query, opFetch: auth.Fetch, opInsert: auth.Insert, opUpdate: auth.Update, opDelete: auth.Delete}

// authorize decides whether who asks may use the route's client for an operation.
func (r *Routes) authorize(q *httpx.Request, p *pinned, op string) error {
	if p.open() {
		return nil
	}
	right := p.right()
	if own, known := rights[op]; known && !q.Principal.Has(right) {
		right = own
	}
	return r.options.Keys.Use(&q.Attempt, p.Client, right)
}

// right is the right to use the route for all that it offers.
func (p *pinned) right() string { return "public." + p.Key + ".execute" }

// gated reports whether the route needs a key even where none is asked for.
func (p *pinned) gated() bool { return p.RequireKey != nil && *p.RequireKey }

// open reports whether everybody may use the route.
func (p *pinned) open() bool { return p.RequireKey != nil && !*p.RequireKey }

// admit refuses what the route does not offer, and what comes too often.
func (c *call) admit() error {
	if !c.route.allows(c.op) {
		return forbidden("operation_not_allowed", "this route does not offer that operation")
	}
	if c.route.limiter == nil {
		return nil
	}
	c.token = c.route.limiter.ReserveN(c.at, 1)
	if wait := c.token.DelayFrom(c.at); wait > 0 {
		c.token.CancelAt(c.at)
		return tooMany(wait)
	}
	return nil
}

// subject stands for the table or the SQL that a caller does not name. The table's own name
// is none of his business: he may write columns with the route's key before them.
func (p *pinned) subject(op string) string {
	switch {
	case op != opQuery:
		return p.Key
	case p.Query != nil:
		return *p.Query
	}
	return ""
}

// notFound is all that anybody learns of a route that he may not use.
func notFound() *sdk.Error {
	return sdk.E(sdk.NotFound, unknownRoute, "there is no such public route for this caller").
		WithHint("check the address; a route may need an API key, sent as X-Athena-Key")
}

const unknownRoute = "unknown_public_route"

// tooMany says when the next request may come.
func tooMany(wait time.Duration) *sdk.Error {
	e := sdk.E(sdk.RateLimited, "rate_limited", "this route gets too many requests").WithHint("wait as long as Retry-After says")
	e.RetryAfter = wait
	return e
}

// mask makes the error that a caller sees of one that came from behind the route. It keeps
// what tells him how to go on, and no text: texts name clients, tables, hidden columns and
// values of the filter.
func (c *call) mask(err error) *sdk.Error {
	e := sdk.AsError(err)
	c.log(e)
	if refused(e) {
		if c.token != nil {
			c.token.CancelAt(c.at) // who may not use the route does not use it up either
		}
		return notFound()
	}
	masked := &sdk.Error{Kind: e.Kind, Reason: e.Reason, Source: e.Source, Executed: e.Executed, Code: e.Code, RetryAfter: e.RetryAfter, Log: e.Error()}
	if c.op == opFetch {
		masked.Executed = sdk.ExecutedNo // whatever happened, nothing has changed
	}
	switch {
	case e.Kind == sdk.Internal && e.Code == "":
	case e.Reason == "unknown_client", e.Kind == sdk.Unavailable && e.Source != sdk.FromDownstream, e.Reason == "undefined_table" && c.route.table != nil,
		e.Kind == sdk.Unauthenticated && e.Source == sdk.FromDownstream:
		// The route is wrong, or what it leads to is away: no fault of the caller.
		masked.Kind, masked.Reason, masked.Code, masked.Source = sdk.Unavailable, "route_unavailable", "", sdk.FromHost
		masked.Message = "what is behind this route is not available"
	default:
		masked.Message = texts[e.Kind]
	}
	return masked
}

// refused reports whether the gateway does not let the caller use the route's client.
func refused(e *sdk.Error) bool {
	return e.Source != sdk.FromDownstream &&
		(e.Kind == sdk.Unauthenticated || e.Reason == "client_not_allowed" || e.Reason == "right_required")
}

// texts are the messages of masked errors by kind.
var texts = map[sdk.Kind]string{
	sdk.Internal:        "the database behind this route failed",
	sdk.Invalid:         "the database behind this route does not accept the request",
	sdk.Unauthenticated: "this route does not take the request",
	sdk.Forbidden:       "this route does not take the request",
	sdk.NotFound:        "the database behind this route does not have what the request names",
	sdk.Conflict:        "the request conflicts with data that is there",
	sdk.RateLimited:     "this route gets too many requests",
	sdk.Unavailable:     "what is behind this route is not available",
	sdk.Timeout:         "the database behind this route did not answer in time",
	sdk.Unsupported:     "the database behind this route cannot do that",
	sdk.Canceled:        "the request was given up",
}

// stream is an answer whose errors are masked.
type stream struct {
	httpx.Body
	call *call
}

func (s *stream) Next() ([]byte, error) {
	b, err := s.Body.Next()
	if err != nil && err != io.EOF {
		return nil, s.call.mask(err)
	}
	return b, err
}
