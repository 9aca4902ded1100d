package httpapi

import (
	"strings"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// data is fetch by query parameters.
func (a *API) data(r *httpx.Request, q *request) (*httpx.Response, error) {
	if err := q.payload.fromQuery(r); err != nil {
		return nil, err
	}
	return a.fetchRows(r, q)
}

func (p *payload) fromQuery(r *httpx.Request) (err error) {
	for name := range unsupported {
		if value := r.Query(name); value != "" && value != "false" {
			return invalid("unsupported_"+strings.ToLower(name), "%s is not supported yet", name)
		}
	}
	p.view, p.table, p.schema = r.Query("view"), r.Query("table_name"), r.Query("schema_name")
	if p.view == "" && p.table == "" {
		return sdk.E(sdk.Invalid, "missing_view", "the query parameter view is missing").WithHint("name the table or view, as in /data?view=users")
	}
	if list := r.Query("columns"); strings.TrimSpace(list) != "" {
		if p.items, err = p.columns.read(nil, list); err != nil {
			return err
		}
	}
	switch column := r.Query("eq_column"); {
	case column != "" && r.HasQuery("eq_value"):
		// A query string does not know types: the column decides.
		p.filters = []sdk.Filter{{Column: sdk.Column{Name: column}, Operator: sdk.Eq, Compare: sdk.Lenient, Values: []sdk.Value{{Text: r.Query("eq_value")}}}}
	case column != "" || r.HasQuery("eq_value"):
		return invalid("invalid_condition", "eq_column and eq_value go together")
	}
	for name, to := range map[string]**int64{"limit": &p.limit, "offset": &p.offset, "current_page": &p.page, "page_size": &p.pageSize} {
		if text := r.Query(name); text != "" {
			n, err := parseCount(name, text)
			if err != nil {
				return err
			}
			*to = n
		}
	}
	if field := r.Query("sort_by"); field != "" {
		if p.order, err = sortBy(field, r.Query("sort_direction")); err != nil {
			return err
		}
	}
	if text := r.Query("strip_nulls"); text != "" {
		strip := strings.EqualFold(text, "true")
		p.stripNulls = &strip
	}
	p.count, err = countMode(r.Query("count"))
	return err
}
