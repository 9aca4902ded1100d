// Package publicroutes is the gateway's public routes: named doors to one client, and mostly
// to a part of one table. Operators define them, others use them as POST /public/{key}/{op}
// without knowing what is behind, and a host name may name one to choose its client.
package publicroutes

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Route is a public route as operators see it.
type Route struct {
	ID     string `json:"id"`
	Key    string `json:"route_key"`
	Client string `json:"client_name"`

	Table     *string  `json:"table_name"` // null: the caller names the table
	Ops       []string `json:"allowed_ops"`
	Operation *string  `json:"operation"` // the one of Ops, if it is one

	Columns json.RawMessage `json:"columns"` // as in a fetch; null: all of them
	Filter  json.RawMessage `json:"filter"`  // conditions as in a fetch; null: all rows
	Query   *string         `json:"query"`   // what the operation query executes; null: the caller's SQL

	RateLimit *RateLimit `json:"rate_limit"` // null: none
	// RequireKey says whether callers need an API key; null: if the client's other routes
	// ask for one.
	RequireKey *bool `json:"require_key"`

	Description *string         `json:"description"`
	Active      bool            `json:"is_active"`
	ActiveToo   bool            `json:"active"`   // the same, under its other name
	Metadata    json.RawMessage `json:"metadata"` // an object, for the operator's own use
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`

	unread map[string]string // what the ledger has of it and cannot be read, with the reason
}

// The operations.
const (
	opQuery  = "query"
	opFetch  = "fetch"
	opInsert = "insert"
	opUpdate = "update"
	opDelete = "delete"
)

var operations = []string{opQuery, opFetch, opInsert, opUpdate, opDelete}

// RateLimit bounds the requests of a route, of all callers together, in one gateway. One of
// the rates is set.
type RateLimit struct {
	PerSecond int `json:"requests_per_second,omitempty"`
	PerMinute int `json:"requests_per_minute,omitempty"`
	Burst     int `json:"burst,omitempty"` // at once; 0: those of a second, at least one
}

// maxRate bounds each number of a RateLimit.
const maxRate = 1_000_000

// UnmarshalJSON refuses unknown members, and a limit that bounds nothing.
func (l *RateLimit) UnmarshalJSON(b []byte) error {
	type plain RateLimit
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode((*plain)(l)); err != nil {
		return err
	}
	for _, n := range []int{l.PerSecond, l.PerMinute, l.Burst} {
		if n < 0 || n > maxRate {
			return fmt.Errorf("%d is out of range", n)
		}
	}
	if (l.PerSecond == 0) == (l.PerMinute == 0) {
		return fmt.Errorf("one rate is needed")
	}
	return nil
}

func (l *RateLimit) limiter() *rate.Limiter {
	perSecond := float64(l.PerSecond) + float64(l.PerMinute)/60
	burst := l.Burst
	if burst == 0 {
		burst = max(1, int(perSecond))
	}
	return rate.NewLimiter(rate.Limit(perSecond), burst)
}

// Grammar reads what a route pins, as the JSON gateway reads it of a request.
type Grammar struct {
	Table      func(name string) (sdk.Table, error)
	Columns    func(columns json.RawMessage, table sdk.Table) ([]sdk.Item, error)
	Conditions func(conditions json.RawMessage, table sdk.Table) (*sdk.Filter, error)
}

// Options are what New needs.
type Options struct {
	Ledger  *ledger.Ledger
	Logger  hclog.Logger
	Keys    *auth.Keyring
	Grammar Grammar
	Execute gateway.Executor
	Refuse  func(*gateway.Operation, error) // notes an operation that is not executed
	// Serve answers a request as the JSON gateway does, see httpapi.API.Serve.
	Serve   func(r *httpx.Request, as *gateway.Operation, subject string, execute gateway.Executor) (*httpx.Response, error)
	Clients func() []string // the names of all clients
}

// Routes are the public routes, in memory.
type Routes struct {
	options Options
	log     hclog.Logger
	active  atomic.Pointer[map[string]*pinned] // by key
}

// New makes Routes that follow the ledger.
func New(o Options) *Routes {
	r := &Routes{options: o, log: o.Logger}
	r.active.Store(&map[string]*pinned{})
	o.Ledger.Follow(ledger.Routes, r.load)
	return r
}

// load takes the active routes into memory. One that makes no sense, because somebody wrote
// it into the ledger by hand, is left out.
func (r *Routes) load(ctx context.Context, c *sql.Conn) error {
	rows, err := list(ctx, c, "WHERE deleted_at IS NULL AND active")
	if err != nil {
		return err
	}
	before, now := *r.active.Load(), map[string]*pinned{}
	for _, row := range rows {
		p, wrong := compile(row, r.options.Grammar)
		if len(wrong) > 0 {
			r.log.Error("a public route of the ledger is not usable: correct it, PATCH /admin/public-routes/{route_key}",
				"route", row.Key, "mistakes", describe(wrong))
			continue
		}
		if old := before[row.Key]; old != nil && old.ID == row.ID && reflect.DeepEqual(old.RateLimit, row.RateLimit) {
			p.limiter = old.limiter // goes on counting
		}
		now[row.Key] = p
	}
	r.active.Store(&now)
	return nil
}

func describe(wrong map[string]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		lines = append(lines, name+": "+wrong[name])
	}
	return strings.Join(lines, "; ")
}

// find returns the active route of a key, nil if there is none.
func (r *Routes) find(key string) (*pinned, error) {
	if !r.options.Ledger.Loaded(ledger.Routes) && len(*r.active.Load()) == 0 {
		return nil, &sdk.Error{Kind: sdk.Unavailable, Reason: "ledger_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
			Message: "the gateway does not know its public routes yet", Hint: "try again", RetryAfter: time.Second}
	}
	return (*r.active.Load())[key], nil
}

// HostClient is the client of the active route with the key label. Error: NotFound
// "unknown_public_route": a name that leads nowhere must not lead to the default client. One with
// require_key leads nowhere for nobody.
func (r *Routes) HostClient(q *httpx.Request, label string) (string, error) {
	p, err := r.find(label)
	if err != nil {
		return "", err
	}
	if p == nil || p.gated() {
		// A wrong key counts whether there is such a route or not; who sends none is not refused.
		known := q.Principal != nil || !r.options.Keys.Asked() && q.Identify()
		if !known || p == nil {
			return "", sdk.E(sdk.NotFound, unknownRoute, "the host name stands for no public route").
				WithHint("check the host name, or name a client in the X-Athena-Client header")
		}
	}
	return p.Client, nil
}
