package httpapi

import (
	"io"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// request is all that one gateway request needs, in one piece.
type request struct {
	payload    payload
	operation  gateway.Operation
	statements [1]sdk.Statement
}

// directTargets are headers that name a database by its address. They would override
// X-Athena-Client: ignoring them could read or write the wrong database.
var directTargets = []string{"X-Pg-Uri", "X-Athena-Jdbc-Url", "X-Jdbc-Url", "X-Supabase-Url"}

// handle answers one operation, of which who asks and how is filled in.
type handle func(*httpx.Request, *request) (*httpx.Response, error)

// operate answers a request by handle. What is refused before it is executed is an operation
// too, and told to Options.Refuse.
func (a *API) operate(r *httpx.Request, name string, writes bool, handle handle) (*httpx.Response, error) {
	q := a.newRequest(r, name, writes)
	response, err := handle(r, q)
	if err != nil {
		a.refuse(q, err)
	}
	return response, err
}

func (a *API) refuse(q *request, err error) {
	if a.options.Refuse != nil {
		a.options.Refuse(&q.operation, err)
	}
}

func (a *API) newRequest(r *httpx.Request, name string, writes bool) *request {
	q := &request{}
	op := &q.operation // field by field: an Operation is large to be copied
	op.Door, op.Name, op.Writes, op.Method, op.Path, op.Started = "gateway", name, writes, r.Method(), r.Route(), r.Started()
	op.Target.Named, op.UserID, op.OrganizationID = r.Header("X-Athena-Client"), r.Header("X-User-Id"), r.Header("X-Organization-Id")
	op.RequestID, op.Trace, op.Traced, op.Principal, op.Attempt = r.ID, r.Trace(), r.Traced(), r.Principal, &r.Attempt
	op.Call.Statements, op.Call.Result.NoColumns = q.statements[:], true // the rows name them
	if a.as != nil {
		op.Door, op.Path, op.Target = a.as.Door, a.as.Path, a.as.Target
	}
	q.payload.subject = a.subject
	return q
}

// statement is the one of the operation, once its target is known to be supported.
func (a *API) statement(r *httpx.Request, q *request) (*sdk.Statement, error) {
	for _, header := range directTargets {
		if r.Header(header) != "" {
			return nil, invalid("unsupported_target", "the header %s is not supported yet", header).
				WithHint("register the database as a client and name it in X-Athena-Client")
		}
	}
	target := &q.operation.Target
	if label := r.HostLabel(); label != "" && target.Named == "" && a.options.HostClient != nil {
		target.Host, target.Lost = a.options.HostClient(r, label)
		q.operation.Principal = r.Principal
	}
	return &q.statements[0], nil
}

// strips decides about null-valued members: the body, then the header, then no.
func (q *request) strips(r *httpx.Request) bool {
	if q.payload.stripNulls != nil {
		return *q.payload.stripNulls
	}
	return strings.EqualFold(r.Header("X-Strip-Nulls"), "true")
}

func (a *API) fetch(r *httpx.Request, q *request) (*httpx.Response, error) {
	if err := q.payload.decode(r.Body); err != nil {
		return nil, err
	}
	return a.fetchRows(r, q)
}

func (a *API) fetchRows(r *httpx.Request, q *request) (*httpx.Response, error) {
	s, err := a.statement(r, q)
	if err != nil {
		return nil, err
	}
	if err := q.payload.selectStatement(s); err != nil {
		return nil, err
	}
	q.operation.Call.Result.StripNulls = q.strips(r)
	result, err := a.options.Execute(r.Context(), r.Cancel(), &q.operation)
	if err != nil {
		return nil, err
	}
	if s.Verb == sdk.Count {
		total, err := counted(result)
		if err != nil {
			return nil, err
		}
		b := httpx.AppendSuccess([]byte(`{"data":[]`), "Counted "+strconv.FormatInt(total, 10)+" rows")
		return &httpx.Response{Bytes: append(number(b, "count", total), '}')}, nil
	}
	return rows(result, func(b []byte, tail *sdk.Tail) []byte {
		b = success(b, "Fetched ", tail.Rows)
		if tail.Total != nil {
			b = number(b, "count", *tail.Total)
		}
		return b
	}), nil
}

func (a *API) insert(r *httpx.Request, q *request) (*httpx.Response, error) {
	return a.write(r, q, "Inserted ", (*payload).insertStatement)
}

func (a *API) update(r *httpx.Request, q *request) (*httpx.Response, error) {
	return a.write(r, q, "Updated ", (*payload).updateStatement)
}

func (a *API) delete(r *httpx.Request, q *request) (*httpx.Response, error) {
	return a.write(r, q, "Deleted ", (*payload).deleteStatement)
}

// write executes an insert, update or delete.
func (a *API) write(r *httpx.Request, q *request, did string, fill func(*payload, *sdk.Statement) error) (*httpx.Response, error) {
	if err := q.payload.decode(r.Body); err != nil {
		return nil, err
	}
	s, err := a.statement(r, q)
	if err != nil {
		return nil, err
	}
	if err := fill(&q.payload, s); err != nil {
		return nil, err
	}
	options := &q.operation.Call.Result
	options.StripNulls = q.strips(r)
	if s.Verb == sdk.Insert && s.Rows.Payload[0] == '{' && s.Returning != sdk.ReturnNone {
		options.Format = sdk.FormatObject // an object in, an object out
	}
	result, err := a.options.Execute(r.Context(), r.Cancel(), &q.operation)
	if err != nil {
		return nil, err
	}
	return rows(result, func(b []byte, tail *sdk.Tail) []byte {
		affected := tail.Rows
		if tail.Affected != nil {
			affected = *tail.Affected
		}
		b = success(b, did, affected)
		b = number(number(b, "count", affected), "affected_rows", affected)
		switch c := s.Conflict; { // of an upsert
		case tail.Inserted != nil:
			b = number(b, "inserted_rows", *tail.Inserted)
		case c != nil && !c.Update: // what was written is new
			b = number(b, "inserted_rows", affected)
		}
		return b
	}), nil
}

// rows answers with the result's body as data, and after it what suffix appends.
func rows(result *gateway.Result, suffix func(b []byte, tail *sdk.Tail) []byte) *httpx.Response {
	prefix := `{"data":`
	if result.Head().Shape == sdk.ShapeVoid {
		prefix = `{"data":[]`
	}
	return &httpx.Response{Stream: result, Prefix: prefix, Suffix: func(b []byte) []byte {
		return append(suffix(b, result.Tail()), '}')
	}}
}

// success appends a message such as "Fetched 3 rows".
func success(b []byte, did string, n int64) []byte {
	b = append(b, `,"status":"success","message":"`...)
	b = append(b, did...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, ` rows"`...)
}

func number(b []byte, name string, n int64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, n, 10)
}

// maxScalar bounds the body of an answer that holds one number.
const maxScalar = 1 << 20

// counted reads the answer to a Count and closes it.
func counted(result *gateway.Result) (total int64, err error) {
	defer func() { result.Close(err) }()
	body, err := readBody(result, maxScalar, sdk.E(sdk.Invalid, "answer_too_large", "the answer holds far more than one number").
		WithHint("write a query that answers with one count"))
	if err != nil {
		return 0, err
	}
	if total := result.Tail().Total; total != nil {
		return *total, nil
	}
	return firstCount(body)
}

// readBody reads a result's body, of most bytes at most.
func readBody(result *gateway.Result, most int, tooLarge *sdk.Error) ([]byte, error) {
	var body []byte
	for {
		piece, err := result.Next()
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if body = append(body, piece...); len(body) > most {
			return nil, tooLarge
		}
	}
}
