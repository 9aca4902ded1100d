package main

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/valyala/fasthttp"
)

const columns = `id, name, category, price, quantity, active, created_at, tags`

const insert = `INSERT INTO inserted (name, category, price, quantity, active, created_at, tags)
	SELECT name, category, price, quantity, active, created_at, tags FROM json_to_recordset($1) AS
	r(name text, category text, price numeric, quantity integer, active boolean, created_at timestamptz, tags jsonb)
	RETURNING ` + columns

// statements are the SQL of the cases, by the value of the X-Bench-Case header.
var statements = map[string]string{
	"row":      `SELECT ` + columns + ` FROM items WHERE id = $1`,
	"rows20":   `SELECT ` + columns + ` FROM items WHERE category = $1 ORDER BY created_at DESC LIMIT 20`,
	"rows1000": `SELECT ` + columns + ` FROM items WHERE id >= $1 ORDER BY id LIMIT 1000`,
	"embed": `SELECT coalesce(json_agg(r), '[]') FROM (
		SELECT i.id, i.name, i.price, (SELECT coalesce(json_agg(p), '[]') FROM (SELECT id, name, quantity, made_at FROM parts WHERE item_id = i.id) AS p) AS parts
		FROM items AS i WHERE i.id >= $1 ORDER BY i.id LIMIT 1000) AS r`,
	"insert":      insert,
	"insert1000":  insert,
	"rowsMillion": `SELECT ` + columns + ` FROM items LIMIT 1000000`,
}

var (
	valueKey  = []byte(`"value":`)
	insertKey = []byte(`"insert_body":`)
	hello     = []byte(`{"data":[],"status":"success","message":"hello"}`)
)

func (f *floor) handle(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetContentType("application/json")
	var err error
	switch name := string(ctx.Request.Header.Peek("X-Bench-Case")); name {
	case "row", "rows20", "rows1000":
		err = f.fetch(ctx, name, valueOf(ctx.PostBody(), valueKey))
	case "embed":
		err = f.value(ctx, name, valueOf(ctx.PostBody(), valueKey))
	case "rowsMillion":
		err = f.stream(ctx)
	case "insert", "insert1000":
		err = f.insert(ctx, name, valueOf(ctx.PostBody(), insertKey))
	case "hello": // shows how fast the load generator is
		ctx.Response.SetBodyRaw(hello)
	default:
		ctx.SetStatusCode(fasthttp.StatusOK) // a health check
	}
	if err != nil {
		ctx.Response.Reset()
		ctx.Error(err.Error(), fasthttp.StatusInternalServerError)
	}
}

// fetch answers with the rows of a statement whose one argument is arg.
func (f *floor) fetch(ctx *fasthttp.RequestCtx, name string, arg []byte) error {
	if arg == nil {
		return errors.New("the body has no value")
	}
	arg = bytes.Trim(arg, `"`)
	body := append(ctx.Response.SwapBody(nil), `{"data":[`...)
	body, rows, err := f.query(body, name, arg)
	if err != nil {
		return err
	}
	body = append(body, `],"status":"success","message":"Fetched `...)
	body = strconv.AppendInt(body, int64(rows), 10)
	body = append(body, ` rows"}`...)
	ctx.Response.SwapBody(body)
	return nil
}

// value answers with the one JSON value that a statement makes.
func (f *floor) value(ctx *fasthttp.RequestCtx, name string, arg []byte) error {
	if arg == nil {
		return errors.New("the body has no value")
	}
	conn, err := f.pool.Acquire(context.Background())
	if err != nil {
		return err
	}
	defer conn.Release()
	body := append(ctx.Response.SwapBody(nil), `{"data":`...)
	result := f.execute(conn.Conn().PgConn(), name, arg)
	for result.NextRow() {
		body = append(body, result.Values()[0]...)
	}
	if _, err := result.Close(); err != nil {
		return err
	}
	ctx.Response.SwapBody(append(body, `,"status":"success","message":"Fetched 1000 rows"}`...))
	return nil
}

// insert inserts an object or an array of objects, and answers with what was inserted
// in the same shape.
func (f *floor) insert(ctx *fasthttp.RequestCtx, name string, value []byte) error {
	if value == nil {
		return errors.New("the body has no insert_body")
	}
	opening, closing := `{"data":[`, `],"count":`
	if value[0] == '{' {
		opening, closing = `{"data":`, `,"count":`
		value = append(append(append(make([]byte, 0, len(value)+2), '['), value...), ']')
	}
	body := append(ctx.Response.SwapBody(nil), opening...)
	body, rows, err := f.query(body, name, value)
	if err != nil {
		return err
	}
	body = append(body, closing...)
	body = strconv.AppendInt(body, int64(rows), 10)
	body = append(body, `,"affected_rows":`...)
	body = strconv.AppendInt(body, int64(rows), 10)
	body = append(body, `,"status":"success","message":"Inserted `...)
	body = strconv.AppendInt(body, int64(rows), 10)
	body = append(body, ` rows"}`...)
	ctx.Response.SwapBody(body)
	return nil
}

// query appends the rows of a statement, with commas between them, and counts them.
func (f *floor) query(body []byte, name string, arg []byte) ([]byte, int, error) {
	conn, err := f.pool.Acquire(context.Background())
	if err != nil {
		return nil, 0, err
	}
	defer conn.Release()
	rows := 0
	result := f.execute(conn.Conn().PgConn(), name, arg)
	for result.NextRow() {
		if rows > 0 {
			body = append(body, ',')
		}
		body = appendRow(body, result.Values())
		rows++
	}
	_, err = result.Close()
	return body, rows, err
}

func (f *floor) execute(conn *pgconn.PgConn, name string, args ...[]byte) *pgconn.ResultReader {
	return conn.ExecStatement(context.Background(), f.statement(name), args, nil, nil)
}

// valueOf finds the JSON value that follows key in a request body: nil without one.
func valueOf(body, key []byte) []byte {
	at := bytes.Index(body, key)
	if at < 0 {
		return nil
	}
	rest := body[at+len(key):]
	depth, quoted := 0, false
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
			if depth == 0 {
				return rest[:i+1]
			}
		case (c == ',' || c == '}' || c == ']') && depth == 0:
			return rest[:i]
		}
	}
	return nil
}
