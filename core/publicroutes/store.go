package publicroutes

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

const columns = `id, route_key, client_name, table_name, allowed_ops, columns, filter, query, rate_limit, require_key,
	description, active, metadata, created_at, updated_at`

// list returns routes as the end of the query chooses them.
func list(ctx context.Context, c *sql.Conn, where string, args ...any) ([]*Route, error) {
	rows, err := c.QueryContext(ctx, "SELECT "+columns+" FROM public_routes "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	routes := []*Route{}
	for rows.Next() {
		r := &Route{}
		var ops, metadata string
		var shown, filter, limit *string
		if err := rows.Scan(&r.ID, &r.Key, &r.Client, &r.Table, &ops, &shown, &filter, &r.Query, &limit, &r.RequireKey,
			&r.Description, &r.Active, &metadata, &r.CreatedAt, &r.UpdatedAt); err != nil {
			return nil, err
		}
		r.Columns, r.Filter, r.Metadata = document(shown), document(filter), json.RawMessage(metadata)
		r.unread = map[string]string{}
		if err := json.Unmarshal([]byte(ops), &r.Ops); err != nil {
			r.unread["allowed_ops"] = err.Error()
		}
		if limit != nil {
			if err := json.Unmarshal([]byte(*limit), &r.RateLimit); err != nil {
				r.unread["rate_limit"] = err.Error()
			}
		}
		r.CreatedAt, r.UpdatedAt = r.CreatedAt.UTC(), r.UpdatedAt.UTC()
		r.settle()
		routes = append(routes, r)
	}
	return routes, rows.Err()
}

// settle fills in what follows from other members.
func (r *Route) settle() {
	if r.Operation = nil; len(r.Ops) == 1 {
		r.Operation = &r.Ops[0]
	}
	r.ActiveToo = r.Active
}

func document(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}

// argument is JSON as an argument of a query.
func argument(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}

// find returns the route of a key.
func find(ctx context.Context, c *sql.Conn, key string) (*Route, error) {
	var routes []*Route
	var err error
	if utf8.ValidString(key) && strings.IndexByte(key, 0) < 0 { // PostgreSQL knows no other texts
		routes, err = list(ctx, c, "WHERE route_key = $1 AND deleted_at IS NULL", key)
	}
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, sdk.E(sdk.NotFound, unknownRoute, "there is no public route of this key").WithHint("GET /admin/public-routes lists them")
	}
	return routes[0], nil
}

// values are the arguments for columns.
func (r *Route) values() ([]any, error) {
	ops, err := json.Marshal(r.Ops)
	var limit []byte
	if r.RateLimit != nil {
		var failed error
		limit, failed = json.Marshal(r.RateLimit)
		err = errors.Join(err, failed)
	}
	return []any{r.ID, r.Key, r.Client, r.Table, string(ops), argument(r.Columns), argument(r.Filter), r.Query, argument(limit), r.RequireKey,
		r.Description, r.Active, argument(r.Metadata), r.CreatedAt, r.UpdatedAt}, err
}

func insert(ctx context.Context, c *sql.Conn, r *Route) error {
	values, err := r.values()
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "INSERT INTO public_routes ("+columns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)", values...)
	return err
}

func update(ctx context.Context, c *sql.Conn, r *Route) error {
	values, err := r.values()
	if err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, `UPDATE public_routes SET route_key = $2, client_name = $3, table_name = $4, allowed_ops = $5, columns = $6, filter = $7,
		query = $8, rate_limit = $9, require_key = $10, description = $11, active = $12, metadata = $13, created_at = $14, updated_at = $15 WHERE id = $1`, values...)
	return err
}
