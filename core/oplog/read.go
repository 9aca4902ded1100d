package oplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Statistics lists the statistics of the clients by name, from offset on, and counts them.
func (l *Log) Statistics(ctx context.Context, limit, offset int) (list []ClientStatistics, total int64, err error) {
	list = []ClientStatistics{}
	err = l.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM client_statistics").Scan(&total); err != nil {
			return err
		}
		list, err = listStatistics(ctx, c, " ORDER BY client_name LIMIT $1 OFFSET $2", limit, offset)
		return err
	})
	return list, total, err
}

// Client returns a client's statistics and those of its tables; nil when nothing has been
// counted and the catalog has no client of the name.
func (l *Log) Client(ctx context.Context, name string) (*ClientStatistics, []TableStatistics, error) {
	var found []ClientStatistics
	tables, known := []TableStatistics{}, false
	err := l.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) (err error) {
		if found, err = listStatistics(ctx, c, " WHERE client_name = $1", name); err != nil {
			return err
		}
		if known = len(found) > 0; !known {
			var n int
			err := c.QueryRowContext(ctx, "SELECT count(*) FROM athena_clients WHERE client_name = $1 AND deleted_at IS NULL", name).Scan(&n)
			known = n > 0
			return err
		}
		return each(ctx, c, `SELECT client_name, table_name, operation, total_operations, error_operations, last_operation_at, updated_at
			FROM client_table_statistics WHERE client_name = $1 ORDER BY table_name, operation`, []any{name}, func(rows *sql.Rows) error {
			var s TableStatistics
			err := rows.Scan(&s.Client, &s.Table, &s.Operation, &s.Operations, &s.Errors, &s.LastOperation, &s.Updated)
			tables = append(tables, s)
			return err
		})
	})
	switch {
	case err != nil || !known:
		return nil, nil, err
	case len(found) == 0:
		return &ClientStatistics{Client: name, Updated: time.Now().UTC()}, tables, nil
	}
	return &found[0], tables, nil
}

// listStatistics lists the statistics that the end of the query chooses.
func listStatistics(ctx context.Context, c *sql.Conn, where string, args ...any) ([]ClientStatistics, error) {
	list := []ClientStatistics{}
	err := each(ctx, c, `SELECT client_name, total_requests, successful_requests, failed_requests, total_cached_requests, total_operations,
		last_request_at, last_operation_at, updated_at FROM client_statistics`+where, args, func(rows *sql.Rows) error {
		var s ClientStatistics
		err := rows.Scan(&s.Client, &s.Requests, &s.Successful, &s.Failed, &s.Cached, &s.Operations, &s.LastRequest, &s.LastOperation, &s.Updated)
		list = append(list, s)
		return err
	})
	return list, err
}

// Row is a row of the log.
type Row struct {
	Time           time.Time       `json:"created_at"`
	RequestID      *string         `json:"request_id"`
	Operation      *string         `json:"operation"`
	Table          *string         `json:"table_name"`
	Client         *string         `json:"client_name"`
	Door           *string         `json:"door"`
	Method         *string         `json:"method"`
	Path           *string         `json:"path"`
	Status         *int64          `json:"status_code"`
	Duration       *int64          `json:"duration_ms"`
	Waited         *float64        `json:"operation_time_ms"`
	Rows           *int64          `json:"row_count"`
	Bytes          *int64          `json:"bytes"`
	Cached         *bool           `json:"cached"`
	CacheKey       *string         `json:"cache_key"`
	Error          *bool           `json:"error"`
	Message        *string         `json:"message"`
	KeyID          *string         `json:"api_key_id"`
	UserID         *string         `json:"user_id"`
	OrganizationID *string         `json:"organization_id"`
	Details        json.RawMessage `json:"details"`
}

// Query chooses rows of the log; what is "", nil or zero chooses nothing.
type Query struct {
	Client, Table, Operation *string // "" is a row without
	Door, RequestID, KeyID   string
	UserID, OrganizationID   string
	Reached                  bool  // only those for which the database was asked, or a cache in its place: the operations of the statistics
	Errors                   *bool // only failed ones, or only others
	Status                   int
	Since, Until             time.Time // from the one, before the other
	Limit, Offset            int
}

// where is the condition of a query, "" if it chooses all rows.
func (q *Query) where() (where string, args []any) {
	var conditions []string
	and := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(condition, len(args)))
	}
	for _, name := range []struct {
		column string
		value  *string
	}{{"client_name", q.Client}, {"table_name", q.Table}, {"operation", q.Operation}} {
		switch {
		case name.value == nil:
		case *name.value == "": // older rows may hold it so
			conditions = append(conditions, "("+name.column+" IS NULL OR "+name.column+" = '')")
		default:
			and(name.column+" = $%d", *name.value)
		}
	}
	for _, text := range []struct{ column, value string }{{"door", q.Door}, {"request_id", q.RequestID}, {"api_key_id", q.KeyID},
		{"user_id", q.UserID}, {"organization_id", q.OrganizationID}} {
		if text.value != "" {
			and(text.column+" = $%d", text.value)
		}
	}
	if q.Reached {
		conditions = append(conditions, wasReached)
	}
	if q.Errors != nil {
		and(isFailed+" = $%d", *q.Errors)
	}
	if q.Status != 0 {
		and("status_code = $%d", q.Status)
	}
	if !q.Since.IsZero() {
		and("created_at >= $%d", q.Since.UTC())
	}
	if !q.Until.IsZero() {
		and("created_at < $%d", q.Until.UTC())
	}
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	return where, args
}

// page is the statement for a page of rows.
func page(where string, args int) string {
	return `SELECT created_at, request_id, operation, table_name, client_name, door, method, path, status_code, duration_ms, operation_time_ms,
		row_count, bytes, cached, cache_key, error, message, api_key_id, user_id, organization_id, details FROM gateway_operation_log` +
		fmt.Sprintf("%s ORDER BY created_at DESC, id DESC LIMIT $%d OFFSET $%d", where, args+1, args+2)
}

// Rows returns a page of the rows that a query chooses, the newest first, and how many it
// chooses in all, as the ledger is at one time.
func (l *Log) Rows(ctx context.Context, q *Query) (list []Row, total int64, err error) {
	where, args := q.where()
	list = []Row{}
	err = l.ledger.View(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM gateway_operation_log"+where, args...).Scan(&total); err != nil {
			return err
		}
		return each(ctx, c, page(where, len(args)), append(args, q.Limit, q.Offset), func(rows *sql.Rows) error {
			var r Row
			var details []byte
			err := rows.Scan(&r.Time, &r.RequestID, &r.Operation, &r.Table, &r.Client, &r.Door, &r.Method, &r.Path, &r.Status, &r.Duration, &r.Waited,
				&r.Rows, &r.Bytes, &r.Cached, &r.CacheKey, &r.Error, &r.Message, &r.KeyID, &r.UserID, &r.OrganizationID, &details)
			if r.Details = details; len(details) == 0 {
				r.Details = json.RawMessage("{}")
			}
			list = append(list, r)
			return err
		})
	})
	return list, total, err
}

// Flush waits until what this gateway has recorded can be read, at most for a second: then
// what is there has to do.
func (l *Log) Flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = l.ledger.Flush(ctx) // an old answer is better than none
}
