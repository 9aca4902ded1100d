package admin

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// change is a handler that changes the control plane. It gives audit to ledger.Change, which
// writes it with the change, and fills in its Target, Before and After.
type change func(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error)

// recorded gives a change its row of the audit log.
func (a *API) recorded(action string, handle change) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		return handle(r, &ledger.Audit{Actor: actor(r), Action: action, TraceID: r.ID})
	}
}

// auditRow is a row of the audit log about something that changes nothing in the ledger.
type auditRow struct {
	at                             time.Time
	actor, action, target, traceID string
	outcome                        string
}

func newAudits(l *ledger.Ledger) *ledger.Log[auditRow] {
	if l == nil {
		return nil
	}
	return ledger.NewLog(l, ledger.LogOptions[auditRow]{
		Table:   "admin_audit_log",
		Columns: []string{"created_at", "actor", "action", "target", "trace_id", "after"},
		Values: func(v *auditRow, dst []any) []any {
			after, err := json.Marshal(map[string]string{"outcome": v.outcome})
			if err != nil {
				after = []byte("{}") // a text can always be written
			}
			return append(dst, v.at, v.actor, v.action, v.target, v.traceID, string(after))
		},
	})
}

// operated gives what an operator does to a plugin its row of the audit log. The ledger gets
// it later: an operator can act while the ledger is down.
func (a *API) operated(action string, handle httpx.Handle) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		response, err := handle(r)
		if a.audits != nil {
			target := "plugins"
			if name := r.Param("name"); name != "" {
				target += "/" + clean(unescaped(name))
			}
			a.audits.Append(auditRow{time.Now().UTC(), actor(r), action, target, r.ID, outcome(err)})
		}
		return response, err
	}
}

// audited logs in one line who asked for a change and what became of it.
func (a *API) audited(handle httpx.Handle) httpx.Handle {
	return func(r *httpx.Request) (*httpx.Response, error) {
		response, err := handle(r)
		a.log.Info("an operator's request", "who", actor(r), "what", r.Method()+" "+r.Path(), "outcome", outcome(err), "trace_id", r.ID)
		return response, err
	}
}

// actor is who asks, for logs and the audit.
func actor(r *httpx.Request) string { return r.Remote() + " with the admin key" }

// outcome is what became of a request, in one line.
func outcome(err error) string {
	e := sdk.AsError(err)
	if e == nil {
		return "done"
	}
	return "failed: " + strings.ReplaceAll(e.Reason+": "+e.Message, "\n", " ")
}

// clean is a caller's word as a row can hold it.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), 200)], "\x00", ""), "\uFFFD")
}
