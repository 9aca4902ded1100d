package admin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/oplog"
	"github.com/athena-gateway/athena/sdk"
)

func (a *API) listStatistics(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	a.operations.Flush(r.Context())
	return a.answerStatistics(r, p)
}

// answerStatistics has a page of the clients' statistics.
func (a *API) answerStatistics(r *httpx.Request, p adminapi.Page) (*httpx.Response, error) {
	list, total, err := a.operations.Statistics(r.Context(), p.Limit, p.Offset)
	if err != nil {
		return nil, err
	}
	return p.Answer("client", "statistics", list, total)
}

// refreshStatistics counts the whole log anew, and answers as listStatistics does.
func (a *API) refreshStatistics(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	audit.Target = "client_statistics"
	if err := a.operations.Refresh(r.Context(), audit); err != nil {
		return nil, err
	}
	return a.answerStatistics(r, p)
}

func (a *API) clientStatistics(r *httpx.Request) (*httpx.Response, error) {
	name := client(r)
	if !a.registry.IsName(name) {
		return nil, unknownClient()
	}
	a.operations.Flush(r.Context())
	s, tables, err := a.operations.Client(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, unknownClient()
	}
	return adminapi.Success(http.StatusOK, "statistics of client "+name, map[string]any{"statistics": s, "tables": tables})
}

func unknownClient() *sdk.Error {
	return sdk.E(sdk.NotFound, "unknown_client", "there is no client of this name").WithHint("GET /admin/clients lists them")
}

// drilldown lists the operations of one kind on one table of a client. The table "" stands
// for operations without one.
func (a *API) drilldown(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	name, wrong := client(r), map[string]string{}
	if !a.registry.IsName(name) {
		return nil, unknownClient()
	}
	q := &oplog.Query{Client: &name, Table: given(r, "table_name", wrong), Operation: given(r, "operation", wrong), Reached: true, Errors: readErrors(r, wrong), Limit: p.Limit, Offset: p.Offset}
	for name, value := range map[string]*string{"table_name": q.Table, "operation": q.Operation} {
		if value == nil {
			wrong[name] = "want it, as GET /admin/clients/{client_name}/statistics lists it"
		}
	}
	if err := invalidQuery(wrong); err != nil {
		return nil, err
	}
	rows, total, err := a.rows(r, q)
	if err != nil {
		return nil, err
	}
	status := r.Query("status")
	if status == "" {
		status = "all"
	}
	return adminapi.Success(http.StatusOK, count(int(total), "operation"), map[string]any{"client_name": name, "table_name": *q.Table, "operation": *q.Operation,
		"status": status, "limit": p.Limit, "offset": p.Offset, "total": total, "rows": rows})
}

// listOperations lists the operation log, the newest first.
func (a *API) listOperations(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	wrong := map[string]string{}
	text := func(name string) string { return adminapi.QueryText(r, name, wrong) }
	q := &oplog.Query{Client: given(r, "client_name", wrong), Table: given(r, "table_name", wrong), Operation: given(r, "operation", wrong),
		Door: text("door"), RequestID: text("request_id"), KeyID: text("api_key_id"), UserID: text("user_id"), OrganizationID: text("organization_id"),
		Errors: readErrors(r, wrong), Since: readTime(r, "since", wrong), Until: readTime(r, "until", wrong), Limit: p.Limit, Offset: p.Offset}
	if text := r.Query("status_code"); text != "" {
		if q.Status, err = strconv.Atoi(text); err != nil || q.Status < 100 || q.Status > 599 {
			wrong["status_code"] = "want a whole number from 100 to 599"
		}
	}
	if err := invalidQuery(wrong); err != nil {
		return nil, err
	}
	rows, total, err := a.rows(r, q)
	if err != nil {
		return nil, err
	}
	return p.Answer("operation", "operations", rows, total)
}

func (a *API) rows(r *httpx.Request, q *oplog.Query) ([]oplog.Row, int64, error) {
	a.operations.Flush(r.Context())
	return a.operations.Rows(r.Context(), q)
}

// given is a query parameter that is there, even if empty, else nil.
func given(r *httpx.Request, name string, wrong map[string]string) *string {
	if !r.HasQuery(name) {
		return nil
	}
	value := adminapi.QueryText(r, name, wrong)
	return &value
}

// readErrors reads the query parameter status: all, errors or normal.
func readErrors(r *httpx.Request, wrong map[string]string) *bool {
	var failed bool
	switch r.Query("status") {
	case "", "all":
		return nil
	case "errors":
		failed = true
	case "normal":
	default:
		wrong["status"] = "want all, errors or normal"
	}
	return &failed
}

func readTime(r *httpx.Request, name string, wrong map[string]string) (t time.Time) {
	if text := r.Query(name); text != "" {
		var err error
		if t, err = time.Parse(time.RFC3339, text); err != nil {
			wrong[name] = "want a time such as 2026-03-01T12:00:00Z"
		}
	}
	return t
}

func invalidQuery(wrong map[string]string) error {
	return adminapi.InvalidFields("invalid_query", "the query parameters have mistakes", wrong)
}
