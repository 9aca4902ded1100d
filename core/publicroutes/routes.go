package publicroutes

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Routes are the HTTP routes: the door of the public routes, and what operators do with them.
func (r *Routes) Routes() []httpx.Route {
	admin := func(method, path, operation, summary string, handle httpx.Handle) httpx.Route {
		return adminapi.Route(r.log, method, path, operation, summary, handle)
	}
	return []httpx.Route{
		{Method: "POST", Path: "/public/:route_key/:op", Guard: httpx.Own, Operation: "public", Summary: "Use a public route", Writes: true, Handle: r.dispatch},
		admin("GET", "/admin/public-routes", "list_public_routes", "All public routes", r.list),
		admin("POST", "/admin/public-routes", "create_public_route", "Define a public route", r.create),
		admin("GET", "/admin/public-routes/:route_key", "get_public_route", "A public route", r.get),
		admin("PATCH", "/admin/public-routes/:route_key", "update_public_route", "Change a public route", r.update),
		admin("DELETE", "/admin/public-routes/:route_key", "delete_public_route", "Remove a public route", r.delete),
	}
}

func (r *Routes) list(q *httpx.Request) (*httpx.Response, error) {
	page, err := adminapi.ReadPage(q)
	if err != nil {
		return nil, err
	}
	var total int64
	var routes []*Route
	err = r.options.Ledger.Read(q.Context(), func(ctx context.Context, c *sql.Conn) (err error) {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM public_routes WHERE deleted_at IS NULL").Scan(&total); err != nil {
			return err
		}
		routes, err = list(ctx, c, "WHERE deleted_at IS NULL ORDER BY route_key LIMIT $1 OFFSET $2", page.Limit, page.Offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page.Answer("public route", "routes", routes, total)
}

func (r *Routes) get(q *httpx.Request) (*httpx.Response, error) {
	var route *Route
	err := r.options.Ledger.Read(q.Context(), func(ctx context.Context, c *sql.Conn) (err error) {
		route, err = find(ctx, c, adminapi.Param(q, "route_key"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(200, "public route "+route.Key, route)
}

func answer(status int, message string, route *Route) (*httpx.Response, error) {
	return adminapi.Success(status, message, map[string]any{"route": route})
}

func (r *Routes) create(q *httpx.Request) (*httpx.Response, error) {
	var e edit
	fields := e.fields()
	fields["route_key"] = e.key.Required(keyRule, validKey.MatchString)
	fields["client_name"] = r.client(&e.client, e.client.Required)
	if err := adminapi.ReadBody(q.Body, fields); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	route := &Route{ID: id.String(), Key: *e.key.Value, Active: true, Metadata: json.RawMessage("{}"), CreatedAt: now, UpdatedAt: now}
	if err := e.apply(route, r.options.Grammar); err != nil {
		return nil, err
	}
	audit := adminapi.Audit(q, "public_route.create", route.Key)
	err = r.options.Ledger.Change(q.Context(), ledger.Routes, audit, func(ctx context.Context, c *sql.Conn) (err error) {
		if audit.After, err = json.Marshal(route); err != nil {
			return err
		}
		return insert(ctx, c, route)
	})
	if e := sdk.AsError(err); e != nil {
		if e.Reason == "already_exists" {
			return nil, sdk.E(sdk.Conflict, "already_exists", fmt.Sprintf("there is a public route %q already", route.Key)).
				WithHint("change it: PATCH /admin/public-routes/" + route.Key)
		}
		return nil, err
	}
	return answer(201, fmt.Sprintf("public route %s was created", route.Key), route)
}

func (r *Routes) update(q *httpx.Request) (*httpx.Response, error) {
	key := adminapi.Param(q, "route_key")
	var e edit
	fields := e.fields()
	fields["route_key"] = e.key.Optional("a route keeps its key: define another route", func(sent string) bool { return sent == key })
	fields["client_name"] = r.client(&e.client, e.client.Optional)
	fields["id"] = e.id.Optional("want the route's id, or leave it out", nil)
	fields["created_at"] = e.created.Optional("want the route's created_at, or leave it out", nil)
	fields["updated_at"] = e.updated.Nullable(adminapi.WantUpdated, nil)
	if err := adminapi.ReadBody(q.Body, fields); err != nil {
		return nil, err
	}
	var route *Route
	audit := adminapi.Audit(q, "public_route.update", key)
	err := r.options.Ledger.Change(q.Context(), ledger.Routes, audit, func(ctx context.Context, c *sql.Conn) (err error) {
		if route, err = find(ctx, c, key); err != nil {
			return err
		}
		if err := e.isOf(route); err != nil {
			return err
		}
		if audit.Before, err = json.Marshal(route); err != nil {
			return err
		}
		if err := e.apply(route, r.options.Grammar); err != nil {
			return err
		}
		route.UpdatedAt = time.Now().UTC().Truncate(time.Microsecond)
		if audit.After, err = json.Marshal(route); err != nil {
			return err
		}
		return update(ctx, c, route)
	})
	if err != nil {
		return nil, err
	}
	return answer(200, fmt.Sprintf("public route %s was changed", key), route)
}

func (r *Routes) delete(q *httpx.Request) (*httpx.Response, error) {
	if err := adminapi.NoBody(q); err != nil {
		return nil, err
	}
	key := adminapi.Param(q, "route_key")
	var route *Route
	audit := adminapi.Audit(q, "public_route.delete", key)
	err := r.options.Ledger.Change(q.Context(), ledger.Routes, audit, func(ctx context.Context, c *sql.Conn) (err error) {
		if route, err = find(ctx, c, key); err != nil {
			return err
		}
		if audit.Before, err = json.Marshal(route); err != nil {
			return err
		}
		route.Active, route.UpdatedAt = false, time.Now().UTC().Truncate(time.Microsecond)
		route.settle()
		_, err = c.ExecContext(ctx, "UPDATE public_routes SET active = $2, updated_at = $3, deleted_at = $3 WHERE id = $1", route.ID, route.Active, route.UpdatedAt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(200, fmt.Sprintf("public route %s was removed", key), route)
}

// Route keys are parts of paths and labels of host names.
var validKey = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`)

const keyRule = "want 1 to 63 lower case letters, digits, - or _, with a letter or digit at both ends"

// client reads client_name, which must be a client that there is.
func (r *Routes) client(f *adminapi.Field[string], read func(string, func(string) bool) func(json.RawMessage) error) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if err := read("want the name of a client", nil)(raw); err != nil || f.Value == nil {
			return err
		}
		names := r.options.Clients()
		if slices.Contains(names, *f.Value) {
			return nil
		}
		message := "there is no client of this name"
		if near := sqlbuild.NearestName(*f.Value, names); near != "" {
			message += fmt.Sprintf("; did you mean %q?", near)
		}
		return errors.New(message)
	}
}

// edit is the body of a creation or change.
type edit struct {
	key, client, table, operation, query, description adminapi.Field[string]
	ops                                               adminapi.Field[[]string]
	columns, filter, metadata                         adminapi.Field[json.RawMessage]
	rateLimit                                         adminapi.Field[RateLimit]
	requireKey, active, isActive                      adminapi.Field[bool]

	// What a route that is sent back as it was shown has besides.
	id               adminapi.Field[string]
	created, updated adminapi.Field[time.Time]
}

// isOf refuses an edit of another route, or of this one as it was before somebody changed it.
func (e *edit) isOf(r *Route) error {
	wrong := map[string]string{}
	if e.id.Or(r.ID) != r.ID {
		wrong["id"] = "is another route's: a route keeps its id"
	}
	if !e.created.Or(r.CreatedAt).Equal(r.CreatedAt) {
		wrong["created_at"] = "cannot be changed"
	}
	if err := adminapi.InvalidFields("invalid_body", "the request body has mistakes", wrong); err != nil {
		return err
	}
	return adminapi.Unchanged(e.updated.Value, r.UpdatedAt, "public_route_changed", "public route "+r.Key)
}

const (
	maxText = 2000     // characters
	maxJSON = 64 << 10 // bytes of each document
)

// fields are the members that creations and changes share.
func (e *edit) fields() adminapi.Members {
	document := func(raw json.RawMessage) bool { return len(raw) <= maxJSON }
	const rate = `want an object such as {"requests_per_second":5,"burst":10} or {"requests_per_minute":60}, of whole numbers up to 1000000`
	return adminapi.Members{
		"table_name":  e.table.Nullable("want a table's name, or null", adminapi.TextOf(1, 255)),
		"operation":   e.operation.Nullable("want one of query, fetch, insert, update, delete", nil),
		"allowed_ops": e.ops.Nullable("want a list of operations", nil),
		"columns":     e.columns.Nullable("want a list of columns of at most 64 KiB, or null", document),
		"filter":      e.filter.Nullable("want a list of conditions of at most 64 KiB, or null", document),
		"query":       e.query.Nullable("want SQL text of at most 64 KiB, or null", func(s string) bool { return len(s) <= maxJSON }),
		"rate_limit":  e.rateLimit.Nullable(rate, nil),
		"require_key": e.requireKey.Nullable("want true, false or null", nil),
		"description": e.description.Nullable(fmt.Sprintf("want a text of at most %d characters, or null", maxText), adminapi.TextOf(0, maxText)),
		"is_active":   e.isActive.Optional("want true or false", nil),
		"active":      e.active.Optional("want true or false", nil),
		"metadata": e.metadata.Nullable("want an object of at most 64 KiB", func(raw json.RawMessage) bool {
			return document(raw) && bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{"))
		}),
	}
}

// apply changes the route by the members that were sent, and checks all of it.
func (e *edit) apply(r *Route, g Grammar) error {
	if e.client.Sent {
		r.Client = *e.client.Value
	}
	if e.table.Sent {
		r.Table = e.table.Value
	}
	wrong := map[string]string{}
	switch {
	case e.ops.Sent && e.ops.Value != nil:
		r.Ops = *e.ops.Value
		if o := e.operation.Value; o != nil && (len(r.Ops) != 1 || r.Ops[0] != *o) {
			wrong["operation"] = "allowed_ops says something else: send one of the two"
		}
	case e.operation.Value != nil:
		r.Ops = []string{*e.operation.Value}
	}
	for _, document := range []struct {
		sent *adminapi.Field[json.RawMessage]
		to   *json.RawMessage
	}{{&e.columns, &r.Columns}, {&e.filter, &r.Filter}, {&e.metadata, &r.Metadata}} {
		if !document.sent.Sent {
			continue
		}
		if *document.to = nil; document.sent.Value != nil {
			*document.to = *document.sent.Value
		}
	}
	if r.Metadata == nil {
		r.Metadata = json.RawMessage("{}")
	}
	if e.query.Sent {
		r.Query = e.query.Value
	}
	if e.rateLimit.Sent {
		r.RateLimit = e.rateLimit.Value
		delete(r.unread, "rate_limit")
	}
	if e.requireKey.Sent {
		r.RequireKey = e.requireKey.Value
	}
	if e.description.Sent {
		r.Description = e.description.Value
	}
	if e.isActive.Sent && e.active.Sent && *e.isActive.Value != *e.active.Value {
		wrong["active"] = "is_active says something else: send one of the two"
	}
	r.Active = e.isActive.Or(e.active.Or(r.Active))
	if len(r.Ops) > 0 {
		delete(r.unread, "allowed_ops")
	}
	r.settle()
	_, mistakes := compile(r, g)
	for name, message := range mistakes {
		if name == "allowed_ops" && e.operation.Value != nil && !e.ops.Sent {
			name = "operation"
		}
		wrong[name] = message
	}
	return adminapi.InvalidFields("invalid_body", "the request body has mistakes", wrong)
}
