package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own, which end some seconds after their server or never.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// start serves routes on a real listener and returns the base URL.
func start(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if !s.draining.Load() {
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, "http://" + ln.Addr().String()
}

// route is a POST route that anybody may call.
func route(path string, handle Handle) Route {
	return Route{Method: "POST", Path: path, Guard: Public, Operation: "test", Handle: handle}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the transfer
}

// call sends a request with headers given as name, value.
func call(t testing.TB, method, url, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity") // no transparent gzip of net/http
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(b), err: err}
}

// pieces is a Body made of a function.
type pieces struct {
	next   func() ([]byte, error)
	closed chan error
}

func newPieces(next func() ([]byte, error)) *pieces {
	return &pieces{next: next, closed: make(chan error, 2)}
}

func (p *pieces) Next() ([]byte, error) { return p.next() }
func (p *pieces) Close(err error)       { p.closed <- err }

// repeat yields piece n times, then end.
func repeat(piece string, n int, end error) func() ([]byte, error) {
	return func() ([]byte, error) {
		if n == 0 {
			return nil, end
		}
		n--
		return []byte(piece), nil
	}
}

func TestErrorEnvelope(t *testing.T) {
	boom := func(e error) Handle { return func(*Request) (*Response, error) { return nil, e } }
	cases := []struct {
		name   string
		err    error
		writes bool
		status int
		retry  string
		body   string // without trace_id
	}{
		{"invalid", sdk.E(sdk.Invalid, "missing_table_name", "table_name is missing").WithHint("add it"), false, 400, "",
			`{"status":"error","code":"missing_table_name","message":"table_name is missing","error":"table_name is missing","hint":"add it","data":{"operation":"test"}}`},
		{"half done", &sdk.Error{Kind: sdk.Conflict, Reason: "unique_violation", Source: sdk.FromDownstream, Message: "duplicate"}, true, 409, "",
			`{"status":"error","code":"unique_violation","message":"duplicate","error":"duplicate","data":{"operation":"test","executed":"unknown"}}`},
		{"constraint", &sdk.Error{Kind: sdk.Conflict, Reason: "unique_violation", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Code: "23505",
			Message: `duplicate key value violates unique constraint "users_email_key"`, Detail: "Key (email)=(a) already exists.", Table: "users", Constraint: "users_email_key"}, true, 409, "",
			`{"status":"error","code":"unique_violation","message":"duplicate key value violates unique constraint \"users_email_key\"",
			"error":"duplicate key value violates unique constraint \"users_email_key\": Key (email)=(a) already exists.","details":"Key (email)=(a) already exists.",
			"data":{"operation":"test","sqlstate":"23505","table":"users","constraint":"users_email_key"}}`},
		{"details", &sdk.Error{Kind: sdk.Invalid, Reason: "missing_client_header", Message: "Missing required header",
			Detail: "X-Athena-Client header is required and cannot be empty", Details: json.RawMessage(`{"missing_header":"X-Athena-Client"}`)}, false, 400, "",
			`{"status":"error","code":"missing_client_header","message":"Missing required header","error":"Missing required header: X-Athena-Client header is required and cannot be empty",
			"details":"X-Athena-Client header is required and cannot be empty","data":{"operation":"test","details":{"missing_header":"X-Athena-Client"}}}`},
		{"our own", errors.New("secret of ours"), false, 500, "",
			`{"status":"error","code":"internal","message":"internal error","error":"internal error","data":{"operation":"test"}}`},
		{"internal of the database", &sdk.Error{Kind: sdk.Internal, Reason: "data_corrupted", Source: sdk.FromDownstream, Code: "XX001", Message: "invalid page"}, false, 500, "",
			`{"status":"error","code":"data_corrupted","message":"invalid page","error":"invalid page","data":{"operation":"test","sqlstate":"XX001"}}`},
		{"unauthenticated", sdk.E(sdk.Unauthenticated, "", "no key"), false, 401, "",
			`{"status":"error","code":"unauthenticated","message":"no key","error":"no key","data":{"operation":"test"}}`},
		{"refused by the database", &sdk.Error{Kind: sdk.Unauthenticated, Reason: "invalid_password", Source: sdk.FromDownstream, Code: "28P01", Message: "password authentication failed"}, false, 503, "1",
			`{"status":"error","code":"invalid_password","message":"password authentication failed","error":"password authentication failed","data":{"operation":"test","sqlstate":"28P01"}}`},
		{"forbidden", sdk.E(sdk.Forbidden, "x", "no"), false, 403, "", ""},
		{"not found", sdk.E(sdk.NotFound, "x", "no"), false, 404, "", ""},
		{"rate limited", &sdk.Error{Kind: sdk.RateLimited, RetryAfter: 1500 * time.Millisecond}, false, 429, "2", ""},
		{"unavailable", sdk.E(sdk.Unavailable, "frozen", "the client is frozen"), true, 503, "1", ""},
		{"lost read", &sdk.Error{Kind: sdk.Unavailable, Reason: "plugin_lost", Message: "lost"}, false, 503, "1", ""},
		{"lost write", &sdk.Error{Kind: sdk.Unavailable, Reason: "plugin_lost", Message: "lost"}, true, 502, "",
			`{"status":"error","code":"outcome_unknown","message":"lost","error":"lost","data":{"operation":"test","executed":"unknown"}}`},
		{"stored, but not loaded", &sdk.Error{Kind: sdk.Unavailable, Reason: "ledger_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedYes, Message: "stored", RetryAfter: time.Second}, false, 502, "",
			`{"status":"error","code":"ledger_unavailable","message":"stored","error":"stored","data":{"operation":"test","executed":"yes"}}`},
		{"timeout", context.DeadlineExceeded, true, 504, "",
			`{"status":"error","code":"deadline_exceeded","message":"the deadline passed before the answer","error":"the deadline passed before the answer","data":{"operation":"test","executed":"unknown"}}`},
		{"unsupported", sdk.E(sdk.Unsupported, "x", "no"), false, 400, "", ""},
		{"cancelled", context.Canceled, false, 499, "", ""},
		{"long", &sdk.Error{Kind: sdk.Invalid, Reason: "x", Message: strings.Repeat("é", 1<<20)}, false, 400, "",
			`{"status":"error","code":"x","message":"` + strings.Repeat("é", 4<<10) + `…","error":"` + strings.Repeat("é", 4<<10) + `…","data":{"operation":"test"}}`},
		{"unknown kind", &sdk.Error{Kind: 200, Message: "x"}, false, 500, "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := route("/fail", boom(c.err))
			r.Writes = c.writes
			_, url := start(t, Options{Routes: []Route{r}})
			got := call(t, "POST", url+"/fail", "", "X-Request-Id", "abc-1")
			if got.status != c.status || got.header.Get("Retry-After") != c.retry {
				t.Errorf("status %d, Retry-After %q; want %d, %q", got.status, got.header.Get("Retry-After"), c.status, c.retry)
			}
			var body map[string]any
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				t.Fatalf("%v in %s", err, got.body)
			}
			if body["trace_id"] != "abc-1" || got.header.Get("X-Request-Id") != "abc-1" || got.header.Get("X-Athena-Request-Id") != "abc-1" {
				t.Errorf("ids: %v, %v", body["trace_id"], got.header)
			}
			if c.body != "" {
				delete(body, "trace_id")
				var want map[string]any
				if err := json.Unmarshal([]byte(c.body), &want); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, body); d != "" {
					t.Error(d)
				}
			}
			if strings.Contains(got.body, "secret") {
				t.Error("an internal text is shown")
			}
		})
	}
}

func TestRequest(t *testing.T) {
	var seen *Request
	var method, path, header, query, param, trace string
	handle := func(r *Request) (*Response, error) {
		seen, method, path, header = r, r.Method(), r.Place(), r.Header("x-athena-client")
		query, param, trace = r.Query("a"), r.Param("name"), r.Trace()
		return OK("done", map[string]int{"n": 1})
	}
	_, url := start(t, Options{Routes: []Route{route("/things/:name", handle)}})
	body := strings.Repeat("x", 10_000)
	got := call(t, "POST", url+"/db/things/b%20c?a=%C3%A4", body, "X-Athena-Client", "demo",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Request-Id", "no good")
	if got.body != `{"data":{"n":1},"status":"success","message":"done"}` || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("answer %q, %v", got.body, got.header)
	}
	want := []string{"POST", "/things/:name", "demo", "ä", "b%20c", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", body}
	if d := cmp.Diff(want, []string{method, path, header, query, param, trace, string(seen.Body)}); d != "" {
		t.Error(d)
	}
	if seen.ID == "" || strings.Contains(seen.ID, " ") || seen.ID != got.header.Get("X-Request-Id") {
		t.Errorf("id %q", seen.ID)
	}
	first := seen.ID
	call(t, "POST", url+"/things/x", "", "Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")
	if !validTrace([]byte(trace)) || seen.ID == first {
		t.Errorf("made trace %q, id %q after %q", trace, seen.ID, first)
	}
}

func TestRefusals(t *testing.T) {
	ok := func(*Request) (*Response, error) { return &Response{Bytes: []byte(`{}`)}, nil }
	guarded := func(path string, g Guard) Route {
		return Route{Method: "GET", Path: path, Guard: g, Handle: ok}
	}
	_, url := start(t, Options{BodyLimit: 1 << 20, Routes: []Route{
		route("/x", ok), guarded("/key", Key), guarded("/admin", Admin), guarded("/right", Right("a.b")),
	}})
	code := func(a answer) string {
		t.Helper()
		var e struct{ Code, Status, Hint, Trace_ID string }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Fatalf("%v in %q (%v)", err, a.body, a.err)
		}
		if e.Status != "error" || e.Trace_ID == "" || e.Trace_ID != a.header.Get("X-Request-Id") {
			t.Errorf("envelope %s", a.body)
		}
		return e.Code
	}
	for _, c := range []struct {
		a      answer
		status int
		code   string
	}{
		{call(t, "POST", url+"/nowhere", ""), 404, "route_not_found"},
		{call(t, "GET", url+"/x", ""), 405, "method_not_allowed"},
		{call(t, "FOO", url+"/x", ""), 405, "method_not_allowed"},
		{call(t, "POST", url+"/x", strings.Repeat("x", 1<<20+1)), 413, "body_too_large"},
		{call(t, "POST", url+"/x", strings.Repeat("x", 40<<20)), 413, "body_too_large"},
		{call(t, "POST", url+"/x", "", "X-Long", strings.Repeat("x", 20<<10)), 431, "headers_too_large"},
		{call(t, "GET", url+"/admin", ""), 403, "admin_disabled"},
		{call(t, "GET", url+"/right", ""), 401, "api_key_required"},
		{call(t, "POST", url+"/x", "x", "Content-Encoding", "gzip"), 400, "unsupported_content_encoding"},
	} {
		if got := code(c.a); c.a.status != c.status || got != c.code {
			t.Errorf("status %d, code %q; want %d, %q", c.a.status, got, c.status, c.code)
		}
	}
	if a := call(t, "GET", url+"/x", ""); a.header.Get("Allow") != "POST" || !strings.Contains(a.body, "use POST") {
		t.Errorf("405 does not say what to do: %s", a.body)
	}
	if a := call(t, "GET", url+"/key", ""); a.status != 200 {
		t.Errorf("a Key route is closed: %d", a.status)
	}
	if a := call(t, "HEAD", url+"/key/", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	raw := dial(t, url)
	io.WriteString(raw, "POST /x HTTP/1.1\r\nSecret-Thing\r\n\r\n")
	b, _ := io.ReadAll(raw)
	if !bytes.Contains(b, []byte("400 Bad Request")) || !bytes.Contains(b, []byte(`"code":"malformed_request"`)) || bytes.Contains(b, []byte("Secret")) {
		t.Errorf("malformed HTTP: %s", b)
	}
}

func dial(t testing.TB, url string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func TestRoutesAreChecked(t *testing.T) {
	ok := func(*Request) (*Response, error) { return &Response{}, nil }
	for name, routes := range map[string][]Route{
		"no guard":  {{Method: "GET", Path: "/", Handle: ok}},
		"no right":  {{Method: "GET", Path: "/", Guard: Right(""), Handle: ok}},
		"no handle": {{Method: "GET", Path: "/", Guard: Public}},
		"twice":     {route("/x", ok), route("/x", ok)},
		"method":    {{Method: "get", Path: "/", Guard: Public, Handle: ok}},
		"path":      {{Method: "GET", Path: "x", Guard: Public, Handle: ok}},
	} {
		if _, err := New(Options{Routes: routes}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOrigins: without API keys, no web page of another site reaches a database.
func TestOrigins(t *testing.T) {
	ok := func(*Request) (*Response, error) { return OK("done", nil) }
	routes := []Route{{Method: "POST", Path: "/x", Guard: Key, Handle: ok}, route("/public", ok)}
	_, url := start(t, Options{Routes: routes, HostDomain: "db.example"})
	_, open := start(t, Options{Routes: routes, AnyOrigin: true})
	for _, c := range []struct {
		name, value string
		code        string // "": accepted
	}{
		{"X-Nothing", "x", ""},
		{"Sec-Fetch-Site", "same-origin", ""},
		{"Sec-Fetch-Site", "none", ""},
		{"Sec-Fetch-Mode", "cors", ""}, // what Node sends
		{"Origin", url, ""},
		{"Host", "localhost:4052", ""},
		{"Host", "[::1]:4052", ""},
		{"Host", "Shop.DB.example:4052", ""},
		{"Host", "db.example:4052", "host_not_allowed"},
		{"Host", "a.shop.db.example:4052", "host_not_allowed"},
		{"Host", "shop.db.example.evil.example", "host_not_allowed"},
		{"Sec-Fetch-Site", "cross-site", "cross_site_request"},
		{"Sec-Fetch-Site", "same-site", "cross_site_request"},
		{"Origin", "http://evil.example", "cross_site_request"},
		{"Origin", "null", "cross_site_request"},
		{"Host", "rebound.example:4052", "host_not_allowed"},
	} {
		for _, server := range []string{url, open} {
			request, err := http.NewRequest("POST", server+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set(c.name, c.value)
			if c.name == "Host" {
				request.Host = c.value
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			want := 200
			if c.code != "" && server == url {
				want = 403
			}
			if response.StatusCode != want || want == 403 && !strings.Contains(string(body), c.code) {
				t.Errorf("%s %s: %d %s, want %d %s", c.name, c.value, response.StatusCode, body, want, c.code)
			}
		}
	}
	if a := call(t, "POST", url+"/public", "", "Sec-Fetch-Site", "cross-site"); a.status != 200 {
		t.Errorf("a public route: %d", a.status)
	}
}

func TestPanic(t *testing.T) {
	var log bytes.Buffer
	closed := newPieces(func() ([]byte, error) { panic("in the body") })
	_, url := start(t, Options{
		Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Info}),
		Routes: []Route{
			route("/x", func(*Request) (*Response, error) { panic("oh no") }),
			route("/body", func(*Request) (*Response, error) { return &Response{Stream: closed}, nil }),
		},
	})
	a := call(t, "POST", url+"/x", "", "X-Request-Id", "t1")
	if a.status != 500 || strings.Contains(a.body, "oh no") || !strings.Contains(a.body, `"trace_id":"t1"`) {
		t.Errorf("answer %d %s", a.status, a.body)
	}
	if a := call(t, "POST", url+"/body", ""); a.status != 500 {
		t.Errorf("answer %d %s", a.status, a.body)
	}
	if err := <-closed.closed; err == nil {
		t.Error("the body was closed as if it were whole")
	}
	if s := log.String(); !strings.Contains(s, "oh no") || !strings.Contains(s, "TestPanic") || !strings.Contains(s, "t1") {
		t.Errorf("log: %s", s)
	}
}

// twice is a collector whose metric contradicts itself.
type twice struct{}

func (twice) Describe(chan<- *prometheus.Desc) {}
func (twice) Collect(ch chan<- prometheus.Metric) {
	for n := range 2 {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("twice", "Help.", nil, nil), prometheus.GaugeValue, float64(n))
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(twice{}) // the rest is shown all the same
	release := make(chan struct{})
	entered := make(chan struct{})
	_, url := start(t, Options{Registry: registry, Routes: []Route{
		MetricsRoute(registry, nil),
		route("/x", func(r *Request) (*Response, error) { return &Response{Bytes: r.Body}, nil }),
		route("/wait", func(*Request) (*Response, error) {
			close(entered)
			<-release
			return nil, sdk.E(sdk.NotFound, "x", "x")
		}),
	}})
	call(t, "POST", url+"/x", "12345")
	done := make(chan answer)
	go func() { done <- call(t, "POST", url+"/wait", "") }()
	<-entered
	during := call(t, "GET", url+"/metrics", "")
	close(release)
	<-done
	after := call(t, "GET", url+"/metrics", "")
	for text, want := range map[string]string{
		during.body: "athena_http_requests_in_flight 2\n",
		after.body:  `athena_http_requests_total{method="POST",route="/wait",status="404"} 1` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	for _, want := range []string{
		`athena_http_requests_total{method="POST",route="/x",status="200"} 1`,
		`athena_http_request_bytes_total{route="/x"} 5`, `athena_http_response_bytes_total{route="/x"} 5`,
		`twice 0`, `athena_http_requests_in_flight_peak 2`, `athena_http_request_duration_seconds_count{route="/x"} 1`,
	} {
		if !strings.Contains(after.body, want+"\n") {
			t.Errorf("no %q in %s", want, after.body)
		}
	}
	if !strings.HasPrefix(after.header.Get("Content-Type"), "text/plain") {
		t.Error(after.header)
	}
}

// TestMetricsLeftOut: what cannot be gathered is named with its labels only to who may see them.
func TestMetricsLeftOut(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(clash{})
	_, url := start(t, Options{Registry: registry, Routes: []Route{
		MetricsRoute(registry, func(r *Request) bool { return r.Header("X-Test") == "known" })}})
	if a := call(t, "GET", url+"/metrics", "", "X-Test", "known"); !strings.Contains(a.body, "# left out: ") || !strings.Contains(a.body, "shop") {
		t.Errorf("%s", a.body)
	}
	if a := call(t, "GET", url+"/metrics", ""); !strings.Contains(a.body, "# something was left out\n") || strings.Contains(a.body, "shop") {
		t.Errorf("%s", a.body)
	}
}

// clash collects a client's metric twice, which is an error that quotes its labels.
type clash struct{}

func (clash) Describe(chan<- *prometheus.Desc) {}

func (clash) Collect(ch chan<- prometheus.Metric) {
	for n := range 2 {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("clash", "Help.", []string{"client"}, nil), prometheus.GaugeValue, float64(n), "shop")
	}
}

// TestShutdownAtTheStart ends servers that have hardly begun, which the race detector looks at.
func TestShutdownAtTheStart(t *testing.T) {
	for range 100 {
		s, _ := start(t, Options{})
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
