package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own, which end some seconds after their server or never.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// fake is a backend that answers by verb and table name.
type fake struct{}

func (fake) Close() error { return nil }

func (fake) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	s := &call.Statements[0]
	two := int64(2)
	switch {
	case s.Table.Name == "missing":
		return &sdk.Error{Kind: sdk.NotFound, Reason: "undefined_table", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Code: "42P01", Message: `relation "missing" does not exist`}
	case s.Table.Name == "taken":
		return &sdk.Error{Kind: sdk.Conflict, Reason: "unique_violation", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Code: "23505", Message: `duplicate key value violates unique constraint "taken_pkey"`}
	case s.Table.Name == "lost":
		return &sdk.Error{Kind: sdk.Unavailable, Reason: "connection_lost", Source: sdk.FromDownstream, Message: "the connection was lost"}
	case s.Table.Name == "slow":
		<-ctx.Done()
		return context.Cause(ctx)
	case s.Table.Name == "endless" || s.Table.Name == "broken":
		rows.Columns("id", "text")
		for i := range 200_000 {
			if err := rows.Row(i, "some text that takes its place"); err != nil {
				return err
			}
		}
		if s.Table.Name == "broken" {
			return &sdk.Error{Kind: sdk.Invalid, Reason: "division_by_zero", Source: sdk.FromDownstream, Code: "22012", Message: "division by zero"}
		}
		return nil
	case s.Verb == sdk.Count:
		rows.Head.Total, rows.Tail.Total = &two, &two
		rows.Scalar([]byte("2"))
		return nil
	case s.Verb == sdk.SQL:
		rows.Tail.Statements = 1 + strings.Count(s.SQL.Text, ";")
		if strings.HasPrefix(s.SQL.Text, "update") {
			rows.Tail.Affected = &two
			return nil
		}
		rows.Columns("one")
		one, ok := map[string]any{"nested": json.RawMessage(`{"n":[1]}`), "text": "1", "null": nil, "fraction": 1.5}[s.SQL.Text]
		if !ok {
			one = 1
		}
		return rows.Row(one)
	case s.Verb != sdk.Select && s.Returning == sdk.ReturnNone:
		rows.Tail.Affected = &two
		return nil
	case s.Verb == sdk.Insert && s.Rows.Payload[0] == '{':
		one := int64(1)
		rows.Tail.Affected = &one
		rows.Columns("id", "name")
		return rows.Row(1, nil)
	}
	if s.Verb != sdk.Select {
		rows.Tail.Affected = &two
	}
	if s.Count != sdk.CountNone {
		total := int64(41)
		rows.Tail.Total = &total
	}
	rows.Columns("id", "name")
	if err := rows.Row(1, "Ada"); err != nil {
		return err
	}
	return rows.Row(json.Number("9007199254740993"), nil)
}

// server is the routes on a real listener over fake.
type server struct {
	url   string
	calls chan *gateway.Operation // every operation that was executed
}

func serve(t testing.TB, more ...func(*Options)) *server {
	t.Helper()
	plugin := sdk.Plugin{Name: "fake", Version: "1", Backend: sdk.NewBackend(func(context.Context, struct{}) (fake, error) { return fake{}, nil },
		sdk.Capabilities{Relations: true, Totals: true, Verbs: []sdk.Verb{sdk.Select, sdk.Insert, sdk.Update, sdk.Delete, sdk.SQL, sdk.Count}, Returning: true, Conflict: true, Transactions: true,
			Operators: []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.In, sdk.Is, sdk.Contains, sdk.Contained}})}
	remote, stop, err := sdk.InProcess(plugin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if _, err := remote.OpenInstance(context.Background(), "i", 1, json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	s := &server{calls: make(chan *gateway.Operation, 1000)}
	o := Options{Metrics: prometheus.NewRegistry()}
	o.Execute = func(ctx context.Context, _ context.CancelCauseFunc, op *gateway.Operation) (*gateway.Result, error) {
		select {
		case s.calls <- op:
		default:
		}
		op.Client = op.Target.Named
		switch op.Client {
		case "":
			return nil, &sdk.Error{Kind: sdk.Invalid, Reason: "missing_client_header", Executed: sdk.ExecutedNo, Message: "Missing required header", Detail: "X-Athena-Client header is required and cannot be empty", Details: json.RawMessage(`{"missing_header":"X-Athena-Client"}`)}
		case "frozen":
			return nil, sdk.E(sdk.Unavailable, "client_frozen", "the client is frozen")
		}
		op.Call.Instance, op.Call.Generation = "i", 1
		answer, err := remote.Execute(ctx, &op.Call)
		if err != nil {
			return nil, err
		}
		return gateway.NewResult(op, "fake", answer), nil
	}
	for _, f := range more {
		f(&o)
	}
	h, err := httpx.New(httpx.Options{Routes: New(o).Routes()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { h.Serve(ln) })
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	s.url = "http://" + ln.Addr().String()
	return s
}

// call sends a request to the client demo unless headers say otherwise.
func (s *server) call(t testing.TB, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Athena-Client", "demo")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%v after %d bytes", err, len(b))
	}
	return response.StatusCode, string(b)
}

// TestAnswers are whole requests with their whole answers.
func TestAnswers(t *testing.T) {
	s := serve(t)
	const rows = `[{"id":1,"name":"Ada"},{"id":9007199254740993,"name":null}]`
	const stripped = `[{"id":1,"name":"Ada"},{"id":9007199254740993}]`
	const fetched = `,"status":"success","message":"Fetched 2 rows"`
	cases := []struct {
		method, path, body string
		headers            []string
		status             int
		want               string // "…" at the end: a prefix
	}{
		{"POST", "/gateway/fetch", `{"table_name":"users"}`, nil, 200, `{"data":` + rows + fetched + `}`},
		{"POST", "/gateway/data", `{"view_name":"users"}`, nil, 200, `{"data":` + rows + fetched + `}`},
		{"POST", "/db/gateway/fetch", `{"table_name":"users","strip_nulls":true}`, nil, 200, `{"data":` + stripped + fetched + `}`},
		{"POST", "/gateway/fetch", `{"table_name":"users"}`, []string{"X-Strip-Nulls", "true"}, 200, `{"data":` + stripped + fetched + `}`},
		{"POST", "/gateway/fetch", `{"table_name":"users","strip_nulls":false}`, []string{"X-Strip-Nulls", "true"}, 200, `{"data":` + rows + fetched + `}`},
		{"POST", "/gateway/fetch", `{"table_name":"users","count":"exact","limit":1}`, nil, 200, `{"data":` + rows + fetched + `,"count":41}`},
		{"POST", "/gateway/fetch", `{"table_name":"users","count":"exact","head":true}`, nil, 200, `{"data":[],"status":"success","message":"Counted 2 rows","count":2}`},
		{"GET", "/data?view=users&eq_column=id&eq_value=1&limit=2", "", nil, 200, `{"data":` + rows + fetched + `}`},
		{"PUT", "/gateway/insert", `{"table_name":"users","insert_body":{"name":null}}`, nil, 200,
			`{"data":{"id":1,"name":null},"status":"success","message":"Inserted 1 rows","count":1,"affected_rows":1}`},
		{"POST", "/gateway/insert", `{"table_name":"users","insert_body":[{"name":"Ada"},{}],"columns":["id","name"]}`, []string{"X-Strip-Nulls", "True"}, 200,
			`{"data":` + stripped + `,"status":"success","message":"Inserted 2 rows","count":2,"affected_rows":2}`},
		// Of an upsert that leaves rows alone, all that was written is new; of another the backend tells, and this one does not.
		{"PUT", "/gateway/insert", `{"table_name":"users","insert_body":[{"id":1}],"update_body":{},"head":true}`, nil, 200,
			`{"data":[],"status":"success","message":"Inserted 2 rows","count":2,"affected_rows":2,"inserted_rows":2}`},
		{"PUT", "/gateway/insert", `{"table_name":"users","insert_body":[{"id":1}],"on_conflict":"id","head":true}`, nil, 200,
			`{"data":[],"status":"success","message":"Inserted 2 rows","count":2,"affected_rows":2}`},
		{"PUT", "/gateway/insert", `{"table_name":"users","insert_body":{"name":"x"},"head":true}`, nil, 200,
			`{"data":[],"status":"success","message":"Inserted 2 rows","count":2,"affected_rows":2}`},
		{"POST", "/gateway/update", `{"table_name":"users","update_body":{"name":"x"},"conditions":[{"eq_column":"id","eq_value":"1"}]}`, nil, 200,
			`{"data":[],"status":"success","message":"Updated 2 rows","count":2,"affected_rows":2}`},
		{"PATCH", "/gateway/update", `{"table_name":"users","update_body":{"name":"x"},"resource_id":"1","columns":"*"}`, nil, 200,
			`{"data":` + rows + `,"status":"success","message":"Updated 2 rows","count":2,"affected_rows":2}`},
		{"DELETE", "/gateway/delete", `{"table_name":"users","resource_id":"1"}`, nil, 200,
			`{"data":[],"status":"success","message":"Deleted 2 rows","count":2,"affected_rows":2}`},
		{"POST", "/gateway/delete", `{"table_name":"users","resource_id":7,"columns":"id"}`, nil, 200,
			`{"data":` + rows + `,"status":"success","message":"Deleted 2 rows","count":2,"affected_rows":2}`},
		{"POST", "/gateway/query", `{"query":"select 1 as one;","expectedShape":"rows"}`, nil, 200,
			`{"data":[{"one":1}],"status":"success","message":"Query executed","meta":{"backend":"fake","returned_row_count":1,"rows_affected":0,"statement_count":1}}`},
		{"POST", "/gateway/query", `{"query":"update t set a = 1"}`, nil, 200,
			`{"data":[],"status":"success","message":"Query executed","affected_rows":2,"meta":{"backend":"fake","returned_row_count":0,"rows_affected":2,"statement_count":1}}`},
		{"POST", "/query/sql", `{"query":"select 1","driver":"athena","db_name":"x"}`, []string{"X-Athena-Client", ""}, 200, `{"data":[{"one":1}],…`},
		{"POST", "/gateway/sql", `{"query":"select 1","driver":"postgresql","db_name":"x"}`, nil, 200, `{"data":[{"one":1}],…`},
		{"POST", "/query/count", `{"driver":"postgresql","db_name":"shop","table_name":"users"}`, []string{"X-Athena-Client", ""}, 200,
			`{"data":{"count":2,"db_name":"shop","duration_ms":…`},
		{"POST", "/query/count", `{"query":"select count(*) from users"}`, nil, 200, `{"data":{"count":1,"db_name":"demo",…`},
		// The header decides, and the answer says who was asked.
		{"POST", "/query/count", `{"driver":"postgresql","db_name":"shop","table_name":"users"}`, nil, 200, `{"data":{"count":2,"db_name":"demo",…`},

		{"POST", "/gateway/fetch", `{"table_name":"users"}`, []string{"X-Athena-Client", ""}, 400, `{"status":"error","code":"missing_client_header","message":"Missing required header","error":"Missing required header: X-Athena-Client header is required and cannot be empty",…`},
		{"POST", "/gateway/fetch", `{"table_name":"users"}`, []string{"X-Athena-Client", "frozen"}, 503, `{"status":"error","code":"client_frozen",…`},
		{"POST", "/gateway/fetch", `{"table_name":"missing"}`, nil, 404, `{"status":"error","code":"undefined_table","message":"relation \"missing\" does not exist",…`},
		{"PUT", "/gateway/insert", `{"table_name":"taken","insert_body":{"a":1}}`, nil, 409, `{"status":"error","code":"unique_violation",…`},
		{"PUT", "/gateway/insert", `{"table_name":"lost","insert_body":{"a":1}}`, nil, 502, `{"status":"error","code":"outcome_unknown",…`},
		{"POST", "/gateway/fetch", `{"table_name":"lost"}`, nil, 503, `{"status":"error","code":"connection_lost",…`},
		{"POST", "/gateway/fetch", `{"table_name":"users"}`, []string{"X-Pg-Uri", "postgres://u:p@h/d"}, 400, `{"status":"error","code":"unsupported_target",…`},
		{"POST", "/gateway/fetch", ``, nil, 400, `{"status":"error","code":"empty_body",…`},
		{"POST", "/gateway/fetch", `[]`, nil, 400, `{"status":"error","code":"invalid_body",…`},
		{"POST", "/gateway/fetch", `{"table_name":"users",}`, nil, 400, `{"status":"error","code":"invalid_json","message":"the request body is not valid JSON: unexpected '}' at byte 22",…`},
		{"GET", "/gateway/fetch", ``, nil, 405, `{"status":"error","code":"method_not_allowed",…`},
		{"POST", "/query/count", `{"query":"update t"}`, nil, 400, `{"status":"error","code":"not_a_count",…`},
		{"POST", "/query/count", `{"query":"nested"}`, nil, 400, `{"status":"error","code":"not_a_count",…`},
		{"POST", "/query/count", `{"query":"text"}`, nil, 400, `{"status":"error","code":"not_a_count",…`},
		{"POST", "/query/count", `{"query":"null"}`, nil, 400, `{"status":"error","code":"not_a_count",…`},
		{"POST", "/query/count", `{"query":"fraction"}`, nil, 400, `{"status":"error","code":"not_a_count",…`},
		{"POST", "/gateway/query", `{"query":" ;; "}`, nil, 400, `{"status":"error","code":"missing_query",…`},
		{"POST", "/gateway/query", `{}`, nil, 400, `{"status":"error","code":"missing_query",…`},
		{"GET", "/data", ``, nil, 400, `{"status":"error","code":"missing_view",…`},
		{"GET", "/data?view=users&limit=x", ``, nil, 400, `{"status":"error","code":"invalid_limit",…`},
		{"GET", "/data?view=users&group_by=a", ``, nil, 400, `{"status":"error","code":"unsupported_group_by",…`},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			status, got := s.call(t, c.method, c.path, c.body, c.headers...)
			want, prefix := strings.CutSuffix(c.want, "…")
			if status != c.status || prefix && !strings.HasPrefix(got, want) || !prefix && got != want {
				t.Errorf("%d %s\nwant %d %s", status, got, c.status, c.want)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("no JSON: %s", got)
			}
		})
	}
}

func TestLargeAnswers(t *testing.T) {
	s := serve(t)
	status, body := s.call(t, "POST", "/gateway/fetch", `{"table_name":"endless"}`)
	var answer struct {
		Data    []struct{ ID int }
		Message string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || len(answer.Data) != 200_000 || answer.Message != "Fetched 200000 rows" {
		t.Errorf("%d, %v, %d rows, %s", status, err, len(answer.Data), answer.Message)
	}
	response, err := http.Post(s.url+"/gateway/fetch", "application/json", strings.NewReader(`{"table_name":"broken"}`))
	if err == nil { // without the header
		response.Body.Close()
	}
	request, _ := http.NewRequest("POST", s.url+"/gateway/fetch", strings.NewReader(`{"table_name":"broken"}`))
	request.Header.Set("X-Athena-Client", "demo")
	if response, err = http.DefaultClient.Do(request); err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if b, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("a broken answer ends well after %d bytes", len(b))
	}
}

// TestClientLeaves wants the database's work cancelled.
func TestClientLeaves(t *testing.T) {
	cancelled := make(chan time.Time, 1)
	s := serve(t, func(o *Options) {
		execute := o.Execute
		o.Execute = func(ctx context.Context, cancel context.CancelCauseFunc, op *gateway.Operation) (*gateway.Result, error) {
			result, err := execute(ctx, cancel, op)
			cancelled <- time.Now()
			return result, err
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	request, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/gateway/fetch", strings.NewReader(`{"table_name":"slow"}`))
	request.Header.Set("X-Athena-Client", "demo")
	go func() {
		<-s.calls
		cancel()
	}()
	left := time.Now()
	if _, err := http.DefaultClient.Do(request); err == nil {
		t.Fatal("answered")
	}
	if took := (<-cancelled).Sub(left); took > 2*time.Second {
		t.Errorf("cancelled after %v", took)
	}
}

func TestRegistry(t *testing.T) {
	s := serve(t)
	if status, body := s.call(t, "GET", "/metrics", ""); status != 200 {
		t.Errorf("/metrics: %d %s", status, body)
	}
	var routes []httpx.RegistryEntry
	_, body := s.call(t, "GET", "/router/registry", "")
	if err := json.Unmarshal([]byte(body), &routes); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprint(r.Path, r.Methods))
		if r.Summary == "" {
			t.Errorf("%s has no summary", r.Path)
		}
	}
	want := []string{"/router/registry[GET]", "/gateway/fetch[POST]", "/gateway/data[POST]", "/data[GET]",
		"/gateway/insert[PUT POST]", "/gateway/update[POST PATCH]", "/gateway/delete[DELETE POST]", "/gateway/query[POST]", "/gateway/sql[POST]", "/query/sql[POST]", "/query/count[POST]",
		"/schema/tables[GET]", "/schema/columns[GET]", "/schema/migrations[GET]", "/metrics[GET]"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
