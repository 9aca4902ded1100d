package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// benchCase is one kind of request. Every request of it asks for another key, so that
// no cache of answers can serve it.
type benchCase struct {
	Name        string
	Title       string
	Method      string
	Path        string
	Body        string // with keyMark where the key stands
	KeyFrom     int
	KeyCount    int
	Rows        int
	Stream      bool
	Connections []int
	Goal        float64 // least ratio of throughputs at 32 connections, of a stream at any; 0: none
	// Logged measures an Athena that asks for API keys and records its operations beside one
	// that does neither, in the place of the floor.
	Logged bool
}

// keyMark is replaced by a key of as many digits.
const keyMark = "@@@@@@"

var usual = []int{1, 32, 256}

// rowByKey also tells when a server is ready.
var rowByKey = &benchCase{
	Name: "row", Title: "one row by key", Method: "POST", Path: "/gateway/fetch",
	Body:    `{"table_name":"items","columns":"*","conditions":[{"operator":"eq","column":"id","value":` + keyMark + `}]}`,
	KeyFrom: 100000, KeyCount: 100000, Rows: 1, Connections: usual, Goal: 0.58,
}

// cases are the requests of the bench, as the gateway's clients would send them. The
// stream is first: later the processes keep memory that other cases needed.
var cases = []*benchCase{
	{
		Name: "rowsMillion", Title: "1,000,000 rows streamed", Method: "POST", Path: "/gateway/fetch",
		Body: `{"table_name":"items","columns":"*","limit":1000000}`,
		Rows: 1000000, Stream: true, Connections: []int{1, 4}, Goal: 0.80,
	},
	rowByKey,
	{
		Name: "logged", Title: "one row, API keys, log", Method: "POST", Path: "/gateway/fetch", Body: rowByKey.Body,
		KeyFrom: 100000, KeyCount: 100000, Rows: 1, Connections: usual, Goal: 0.92, Logged: true,
	},
	{
		Name: "rows20", Title: "20 rows filtered, sorted", Method: "POST", Path: "/gateway/fetch",
		Body: `{"table_name":"items","columns":"*","conditions":[{"operator":"eq","column":"category","value":"category-` + keyMark + `"}],` +
			`"sort_by":{"field":"created_at","direction":"descending"},"limit":20}`,
		KeyCount: categories, Rows: 20, Connections: usual,
	},
	{
		Name: "rows1000", Title: "1,000 rows", Method: "POST", Path: "/gateway/fetch",
		Body: `{"table_name":"items","columns":"*","conditions":[{"operator":"gte","column":"id","value":` + keyMark + `}],` +
			`"sort_by":{"field":"id","direction":"ascending"},"limit":1000}`,
		KeyFrom: 100000, KeyCount: 100000, Rows: 1000, Connections: usual, Goal: 0.85,
	},
	{
		Name: "embed", Title: "1,000 rows, each with its 5 parts", Method: "POST", Path: "/gateway/fetch",
		Body: `{"table_name":"items","columns":"id,name,price,parts(id,name,quantity,made_at)","conditions":[{"operator":"gte","column":"id","value":` + keyMark + `}],` +
			`"sort_by":{"field":"id","direction":"ascending"},"limit":1000}`,
		KeyFrom: 100000, KeyCount: 100000, Rows: 1000, Connections: usual, Goal: 1.00,
	},
	{
		Name: "insert", Title: "one-row insert", Method: "PUT", Path: "/gateway/insert",
		Body: `{"table_name":"inserted","columns":"*","insert_body":` + newRow(1) + `}`,
		Rows: 1, Connections: usual, Goal: 0.58,
	},
	{
		Name: "insert1000", Title: "1,000-row insert", Method: "PUT", Path: "/gateway/insert",
		Body: `{"table_name":"inserted","columns":"*","insert_body":[` + newRows(1000) + `]}`,
		Rows: 1000, Connections: usual, Goal: 0.70,
	},
}

// hello is answered by the floor with helloBody, without PostgreSQL: it shows the load
// generator's own limit.
var hello = &benchCase{Name: "hello", Method: "POST", Path: "/gateway/fetch", Body: `{}`}

const helloBody = `{"data":[],"status":"success","message":"hello"}`

// newRow is the JSON object of a row to insert.
func newRow(i int) string {
	return fmt.Sprintf(`{"name":"Article %d of the spring collection","category":"category-%06d","price":%d.%02d,"quantity":%d,`+
		`"active":%t,"created_at":"2026-03-%02dT10:%02d:11.25Z","tags":["red","sale"]}`,
		100000+i, i%categories, 10+i%90, i%100, i%50, i%3 != 0, 1+i%28, i%60)
}

func newRows(n int) string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = newRow(i)
	}
	return strings.Join(rows, ",")
}

// goal is the least ratio to the floor that is asked for: 0 when there is none.
func (c *benchCase) goal(connections int) float64 {
	if c.Stream || connections == 32 {
		return c.Goal
	}
	return 0
}

// request makes the bytes of a request to a server, and the part of them
// that is the key: nil when the case has none.
func (c *benchCase) request(to *server) (request, key []byte) {
	request = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"X-Athena-Client: bench\r\nX-Bench-Case: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		c.Method, c.Path, to.address, c.Name, to.header, len(c.Body), c.Body)
	if at := bytes.Index(request, []byte(keyMark)); at >= 0 {
		key = request[at : at+len(keyMark)]
		copy(key, fmt.Sprintf("%0*d", len(keyMark), c.KeyFrom))
	}
	return request, key
}

// check looks into a body: it must be the envelope of a success with the case's rows.
func (c *benchCase) check(body []byte) error {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Status string          `json:"status"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("the body is no JSON: %w: %.200s", err, body)
	}
	if envelope.Status != "success" {
		return fmt.Errorf("status is %q: %.300s", envelope.Status, body)
	}
	if bytes.HasPrefix(envelope.Data, []byte("{")) && c.Rows == 1 {
		return nil
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(envelope.Data, &rows); err != nil || len(rows) != c.Rows {
		return fmt.Errorf("data has %d rows instead of %d: %.200s", len(rows), c.Rows, body)
	}
	return nil
}
