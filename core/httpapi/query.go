package httpapi

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// maxParams bounds the parameters of SQL text; PostgreSQL takes no more.
const maxParams = math.MaxUint16

// sqlPayload is the body of the SQL routes. driver is not read: the client's own backend
// decides.
type sqlPayload struct {
	query, schema, database string
	table, tableSchema      string
	params                  []sdk.Value
	subject                 string // stands for a query that is missing
}

func (p *sqlPayload) read(r *reader, key []byte) {
	switch string(key) {
	case "query":
		p.query = r.text("query")
	case "schema_name":
		p.schema = r.text("schema_name")
	case "db_name":
		p.database = r.text("db_name")
	case "table_name":
		p.table = r.text("table_name")
	case "table_schema":
		p.tableSchema = r.text("table_schema")
	case "params":
		p.params = nil
		if r.wants("params", '[', "an array") {
			r.array(func() {
				if len(p.params) == maxParams {
					r.fail(invalid("too_many_params", "params holds more than %d values", maxParams))
				}
				if raw := r.value(); r.err == nil {
					p.params = append(p.params, scalar(raw))
				}
			})
		}
	default:
		r.value()
	}
}

// statement fills in the SQL text, without the semicolons at its end.
func (p *sqlPayload) statement(s *sdk.Statement) error {
	text := strings.TrimRight(p.query, "; \t\r\n")
	if text == "" {
		text = p.subject
	}
	if text == "" {
		return sdk.E(sdk.Invalid, "missing_query", "query is missing or empty").WithHint(`send SQL, as in {"query":"select 1"}`)
	}
	s.Verb = sdk.SQL
	s.SQL = sdk.SQLText{Text: text, Args: p.params, Schema: p.schema}
	return nil
}

func (a *API) query(r *httpx.Request, q *request) (*httpx.Response, error) {
	return a.execute(r, q, false)
}

// sql is query, on the client that db_name names unless X-Athena-Client does.
func (a *API) sql(r *httpx.Request, q *request) (*httpx.Response, error) {
	return a.execute(r, q, true)
}

func (a *API) execute(r *httpx.Request, q *request, byDatabase bool) (*httpx.Response, error) {
	p := sqlPayload{subject: a.subject}
	if err := readObject(r.Body, p.read); err != nil {
		return nil, err
	}
	if byDatabase && q.operation.Target.Named == "" {
		q.operation.Target.Named = p.database
	}
	s, err := a.statement(r, q)
	if err != nil {
		return nil, err
	}
	if err := p.statement(s); err != nil {
		return nil, err
	}
	result, err := a.options.Execute(r.Context(), r.Cancel(), &q.operation)
	if err != nil {
		return nil, err
	}
	return rows(result, func(b []byte, tail *sdk.Tail) []byte {
		affected := int64(0)
		if tail.Affected != nil {
			affected = *tail.Affected
		}
		b = httpx.AppendSuccess(b, "Query executed")
		if tail.Affected != nil {
			b = number(b, "affected_rows", affected)
		}
		b = append(b, `,"meta":{"backend":`...)
		b = sdk.AppendString(b, result.Backend())
		b = number(b, "returned_row_count", tail.Rows)
		b = number(b, "rows_affected", affected)
		b = number(b, "statement_count", int64(max(tail.Statements, 1)))
		return append(b, '}')
	}), nil
}

// count counts a table's rows, or reads the number that a query answers with.
func (a *API) count(r *httpx.Request, q *request) (*httpx.Response, error) {
	var p sqlPayload
	if err := readObject(r.Body, p.read); err != nil {
		return nil, err
	}
	if q.operation.Target.Named == "" {
		q.operation.Target.Named = p.database
	}
	s, err := a.statement(r, q)
	if err != nil {
		return nil, err
	}
	if p.query != "" {
		err = p.statement(s)
		s.SQL.Intent = sdk.IntentRead // counting writes nothing; the backend holds it to that
		q.operation.Call.Result.MaxRows, q.operation.Call.Result.CapRows = 1, true
	} else {
		table := payload{table: p.table, schema: p.tableSchema}
		s.Verb, s.Count = sdk.Count, sdk.CountExact
		s.Table, err = table.target()
	}
	if err != nil {
		return nil, err
	}
	started := time.Now()
	result, err := a.options.Execute(r.Context(), r.Cancel(), &q.operation)
	if err != nil {
		return nil, err
	}
	total, err := counted(result)
	if err != nil {
		return nil, err
	}
	return httpx.OK("Row count computed", struct {
		Count    int64  `json:"count"`
		Database string `json:"db_name"`
		Duration int64  `json:"duration_ms"`
		Cache    string `json:"cache_lookup_outcome"`
	}{total, q.operation.Client, time.Since(started).Milliseconds(), "bypass"})
}

// firstCount is the number in the first column of the first row, or the number that the
// body is.
func firstCount(body []byte) (int64, error) {
	var first []byte
	r := reader{b: body}
	value := func() {
		if raw := r.value(); first == nil {
			first = raw
		}
	}
	row := func() {
		if r.peek() == '{' {
			r.object(func([]byte) { value() })
		} else {
			value()
		}
	}
	if r.peek() == '[' {
		r.array(row)
	} else {
		row()
	}
	n, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil || r.err != nil {
		return 0, sdk.E(sdk.Invalid, "not_a_count", "the query's first column is not a whole number").WithHint("write a query such as select count(*) from users")
	}
	return n, nil
}
