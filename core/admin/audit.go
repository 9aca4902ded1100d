package admin

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
)

// auditRow is a row of admin_audit_log.
type auditRow struct {
	Time    time.Time       `json:"created_at"`
	Actor   *string         `json:"actor"`
	Action  *string         `json:"action"`
	Target  *string         `json:"target"`
	TraceID *string         `json:"trace_id"`
	Before  json.RawMessage `json:"before"` // null: there was nothing
	After   json.RawMessage `json:"after"`
}

// listAudit lists the changes that were made, the newest first.
func (a *API) listAudit(r *httpx.Request) (*httpx.Response, error) {
	p, err := readPage(r)
	if err != nil {
		return nil, err
	}
	wrong := map[string]string{}
	var conditions []string
	var args []any
	and := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, fmt.Sprintf(condition, len(args)))
	}
	for _, name := range []string{"actor", "action", "target", "trace_id"} {
		if value := r.Query(name); value != "" {
			and(name+" = $%d", value)
		}
	}
	if since := readTime(r, "since", wrong); !since.IsZero() {
		and("created_at >= $%d", since.UTC())
	}
	if until := readTime(r, "until", wrong); !until.IsZero() {
		and("created_at < $%d", until.UTC())
	}
	if err := invalidQuery(wrong); err != nil {
		return nil, err
	}
	where := ""
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	list, total := []auditRow{}, int64(0)
	err = a.ledger.Read(r.Context(), func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM admin_audit_log"+where, args...).Scan(&total); err != nil {
			return err
		}
		rows, err := c.QueryContext(ctx, fmt.Sprintf("SELECT created_at, actor, action, target, trace_id, before, after FROM admin_audit_log%s ORDER BY id DESC LIMIT $%d OFFSET $%d",
			where, len(args)+1, len(args)+2), append(args, p.limit, p.offset)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row auditRow
			var before, after []byte
			if err := rows.Scan(&row.Time, &row.Actor, &row.Action, &row.Target, &row.TraceID, &before, &after); err != nil {
				return err
			}
			row.Before, row.After = before, after
			list = append(list, row)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return p.answer("change", "audit", list, total)
}
