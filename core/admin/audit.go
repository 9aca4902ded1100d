package admin

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
)

// change is a handler that changes the control plane. It gives audit to ledger.Change, which
// writes it with the change, and fills in its Target, Before and After.
type change func(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error)

// recorded gives a change its row of the audit log.
func (a *API) recorded(what string, handle change) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		return handle(r, adminapi.Audit(r, what, ""))
	}
}

// action is a row of the audit log about something that changes nothing in the ledger.
type action struct {
	at                           time.Time
	actor, what, target, traceID string
	before, after                []byte // JSON; no before: there was nothing
}

func newActions(l *ledger.Ledger) *ledger.Log[action] {
	if l == nil {
		return nil
	}
	return ledger.NewLog(l, ledger.LogOptions[action]{
		Table:   "admin_audit_log",
		Columns: []string{"created_at", "actor", "action", "target", "trace_id", "before", "after"},
		Values: func(v *action, row *ledger.Row) {
			row.Time(v.at)
			for _, text := range [...]string{v.actor, v.what, v.target, v.traceID} {
				row.Text(text)
			}
			row.TextOrNull(string(v.before))
			row.Text(string(v.after))
		},
	})
}

// operation is a handler that changes nothing in the ledger. It may say in done what it has
// changed from what to what.
type operation func(r *httpx.Request, done *difference) (*httpx.Response, error)

// difference is what an operation has changed: members of the audit row's before and after.
type difference struct{ before, after map[string]string }

// operated gives what an operator does its row of the audit log. The ledger gets
// it later: an operator can act while the ledger is down.
func (a *API) operated(what string, handle operation) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		var done difference
		response, err := handle(r, &done)
		if a.actions == nil {
			return response, err
		}
		row := &action{at: time.Now().UTC(), actor: adminapi.Actor(r), what: what, target: r.Place(), traceID: r.ID}
		after := map[string]string{"outcome": adminapi.Outcome(err)}
		maps.Copy(after, done.after)
		row.after, _ = json.Marshal(after) // texts can always be written
		if done.before != nil {
			row.before, _ = json.Marshal(done.before)
		}
		a.actions.Append(row)
		return response, err
	}
}

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
	p, err := adminapi.ReadPage(r)
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
		if value := adminapi.QueryText(r, name, wrong); value != "" {
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
			where, len(args)+1, len(args)+2), append(args, p.Limit, p.Offset)...)
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
	return p.Answer("change", "audit", list, total)
}
