package core

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

const walkersKey = "0123456789abcdef0123"

// parameter is a parameter of a route's path.
var parameter = regexp.MustCompile(`:\w+`)

// walked is a gateway whose operators' and data routes only note that they were reached.
type walked struct {
	*server
	operators []string     // path and method of each operators' route, with parameters filled in
	data      []string     // the same of each data route
	reached   atomic.Int64 // how often an operators' route was
	asked     atomic.Int64 // how often a data route was
}

// walk starts a gateway of its own, on tcp or unix: fuzzing would use up the ports.
func walk(t testing.TB, network string, log io.Writer) *walked {
	t.Helper()
	dir := t.TempDir()
	c := &config.Config{API: config.API{Host: "127.0.0.1", AdminKey: walkersKey}, Plugins: config.Plugins{Dir: dir, Verify: "dev"},
		Ledger:  config.Ledger{URI: "sqlite://" + filepath.Join(dir, "ledger.db"), OperationLog: true},
		Clients: []config.Client{{Name: "shop", Backend: "sqlite", Problem: "it is not configured"}, {Name: "bank", Backend: "sqlite", Problem: "it is not configured"}}}
	w := &walked{}
	w.server = serveWith(t, c, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})}, func(g *Gateway) {
		for i := range g.routes {
			route := &g.routes[i]
			name := parameter.ReplaceAllString(route.Path, "x") + " " + route.Method
			reached := &w.reached
			switch route.Guard {
			case httpx.Admin:
				w.operators = append(w.operators, name)
			case httpx.Data:
				w.data, reached = append(w.data, name), &w.asked
			default:
				continue
			}
			route.Handle = func(*httpx.Request) (*httpx.Response, error) {
				reached.Add(1)
				return httpx.OK("reached", nil)
			}
		}
		if network != "unix" {
			return
		}
		var err error
		if g.listener, err = net.Listen(network, filepath.Join(dir, "socket")); err != nil {
			t.Fatal(err)
		}
	})
	return w
}

// key makes an API key with all built-in rights, for one client or for "", any.
func (w *walked) key(t testing.TB, client string) string {
	t.Helper()
	spec := auth.Spec{Name: "all of " + client, Active: true}
	if client != "" {
		spec.Client = &client
	}
	for _, right := range auth.Catalogue() {
		spec.Rights = append(spec.Rights, right.Name)
	}
	text, _, err := w.keys.CreateKey(t.Context(), &ledger.Audit{Actor: "test", Action: "create_api_key"}, spec)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// carriers are the five ways to send a key: a header, or a query.
func carriers(key string) [][2]string {
	return [][2]string{{"Authorization: Bearer " + key + "\r\n", ""}, {"apikey: " + key + "\r\n", ""}, {"x-api-key: " + key + "\r\n", ""},
		{"x-athena-key: " + key + "\r\n", ""}, {"", "?api_key=" + key}}
}

// client sends requests as they are written.
type client struct {
	network, address string
	from             net.IP // nil: any address of this machine
	conn             net.Conn
	reader           *bufio.Reader
}

func (c *client) dial() (net.Conn, error) {
	if c.from == nil || runtime.GOOS != "linux" { // elsewhere loopback is one address
		return net.Dial(c.network, c.address)
	}
	return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: c.from}}).Dial(c.network, c.address)
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// read returns the next answer that is final, without its body.
func (c *client) read(method string) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
		}
		if err != nil || response.StatusCode >= 200 {
			return response, err
		}
	}
}

// ask returns the status of the answer, 0 if the connection was closed without one.
func (c *client) ask(t *testing.T, method, target, header string) int {
	t.Helper()
	for {
		fresh := c.conn == nil
		if fresh {
			var err error
			if c.conn, err = c.dial(); err != nil {
				t.Fatal(err)
			}
			c.reader = bufio.NewReader(c.conn)
		}
		c.conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n%s\r\n{}", method, target, header)
		response, err := c.read(method)
		if err == nil && !response.Close {
			return response.StatusCode
		}
		c.close()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("%s %q is not answered", method, target)
		case err == nil:
			return response.StatusCode
		case fresh:
			return 0
		}
	}
}

// spellings are ways to write a path. The first are the plain ones.
func spellings(path string) []string {
	first, rest, _ := strings.Cut(path[1:], "/")
	return []string{
		path, "/db" + path, path + "/", path + "?a=b", "http://localhost" + path, "https://elsewhere/db" + path, // all of them are the route
		"/" + path, "//" + path, "/db/" + path, "/." + path, "/./" + path[1:], "/x/.." + path, "/db/.." + path, "/x/%2e%2e" + path, "/ping/../" + path[1:],
		"/%2e" + path, "/..%2f" + path[1:], "/%2f" + path[1:], "%2f" + path[1:], path[1:], "\\" + path[1:], "/\\" + path[1:],
		strings.ToUpper(path), "/" + strings.ToUpper(first[:1]) + path[2:], "/db" + strings.ToUpper(path), "/DB" + path, "/db/db" + path, "/db%2f" + path[1:],
		fmt.Sprintf("/%%%02x%s", path[1], path[2:]), fmt.Sprintf("/%%%02X%s/", path[1], path[2:]), fmt.Sprintf("/%%25%02x%s", path[1], path[2:]),
		"/" + first + "%2f" + rest, "/" + first + "//" + rest, "/" + first + "/./" + rest, "/" + first + "/x/../" + rest, "/" + first + "/%2e%2e/" + first + "/" + rest, "/" + first + ";a=b/" + rest,
		path + "//", path + "/.", path + "/..", path + "/x/..", path + "%20", path + "%00", path + ".json", path + ";a=b", path + "#a", path + "%3fa", path + "%2f", path + "/*", path + "/ping",
		"//localhost" + path, "http://localhost/" + path, "HTTP://LOCALHOST" + path, "http:" + path, "localhost" + path, "http://admin:" + "x@localhost" + path, "/?" + path, "/ping?" + path, "*", "/*",
		"/\u212admin" + path, "/%c0%af" + path[1:], "/%e2%80%8b" + path[1:], "/" + path[1:] + "\t", "\t" + path,
	}
}

// TestOpenRoutes: the routes that are open to everybody, or decide themselves, are these. A
// new one is to be thought about.
func TestOpenRoutes(t *testing.T) {
	g := open(t, "", t.TempDir())
	var found []string
	for _, route := range g.routes {
		switch route.Guard {
		case httpx.Admin, httpx.Data, httpx.Key:
		default:
			found = append(found, route.Guard.String()+" "+route.Method+" "+route.Path)
		}
	}
	slices.Sort(found)
	if want := []string{
		"own POST /public/:route_key/:op", "public GET /", "public GET /health", "public GET /health/cluster", "public GET /livez", "public GET /metrics",
		"public GET /ping", "public GET /ready", "public GET /readyz", "public GET /router/registry",
	}; !slices.Equal(found, want) {
		t.Errorf("they are %q", found)
	}
}

// TestKeysAreNoAdminKey asks for every operators' route with valid API keys of all built-in
// rights, by every carrier, wherever keys are asked for: none is reached.
func TestKeysAreNoAdminKey(t *testing.T) {
	w := walk(t, "tcp", io.Discard)
	keys := map[string]string{"any client": w.key(t, ""), "one client": w.key(t, "shop")}
	audit := func() *ledger.Audit { return &ledger.Audit{Actor: "test", Action: "test"} }
	c := &client{address: w.address, network: "tcp"}
	defer c.close()
	admin, addresses := "X-Athena-Key: "+walkersKey+"\r\n", 0
	if status := c.ask(t, "GET", "/admin/plugins", admin); status != 200 {
		t.Fatalf("the admin key: %d", status)
	}
	for _, mode := range []struct {
		name string
		set  func() error
		data int // what a data route answers to nobody
	}{
		{"not at all", func() error { return nil }, 200},
		{"for a client", func() error { _, err := w.keys.EnforceClient(t.Context(), audit(), "shop", true); return err }, 200},
		{"for all but one", func() error {
			_, err := w.keys.Enforce(t.Context(), audit(), true)
			_, other := w.keys.EnforceClient(t.Context(), audit(), "bank", false)
			return errors.Join(err, other)
		}, 200},
		{"for all", func() error { return w.keys.UnenforceClient(t.Context(), audit(), "bank") }, 401},
	} {
		if err := mode.set(); err != nil {
			t.Fatal(err)
		}
		if status := c.ask(t, "POST", "/gateway/fetch", ""); status != mode.data {
			t.Errorf("keys are asked for %s: nobody gets %d", mode.name, status)
		}
		for whose, key := range keys {
			for _, carrier := range carriers(key) {
				if status := c.ask(t, "POST", "/gateway/fetch"+carrier[1], carrier[0]); status != 200 {
					t.Errorf("keys are asked for %s: the key of %s as %q: %d", mode.name, whose, carrier, status)
				}
				before := w.reached.Load()
				for _, route := range w.operators {
					path, method, _ := strings.Cut(route, " ")
					for _, prefix := range []string{"", "/db"} {
						// Each from an address of its own: one that has sent wrong keys might only have to wait.
						addresses++
						c := &client{address: w.address, network: "tcp", from: net.IPv4(127, 1, byte(addresses>>8), byte(addresses))}
						status := c.ask(t, method, prefix+path+carrier[1], carrier[0])
						c.close()
						if status != 401 && status != 403 || w.reached.Load() != before {
							t.Errorf("keys are asked for %s: %s %s%s with the key of %s as %q: %d", mode.name, method, prefix, path, whose, carrier, status)
							before = w.reached.Load()
						}
					}
				}
			}
		}
	}
	// A right key beside a wrong one.
	for _, key := range keys {
		for _, carrier := range carriers(key) {
			before := w.reached.Load()
			if status := c.ask(t, "GET", "/admin/plugins"+carrier[1], carrier[0]+"X-Athena-Key: "+walkersKey[1:]+"\r\n"); status/100 != 4 || w.reached.Load() != before {
				t.Errorf("a key and a wrong admin key: %d", status)
			}
		}
	}
}

// TestNoWayAround asks for every operators' route without the key, by every method and in
// odd spellings: none is reached.
func TestNoWayAround(t *testing.T) {
	w := walk(t, "unix", io.Discard)
	c := &client{network: "unix", address: w.address}
	defer c.close()
	if len(w.operators) < 9 {
		t.Fatalf("only %d routes ask for the admin key", len(w.operators))
	}
	// With the key the plain spellings reach each route: else nothing is tested below.
	for _, route := range w.operators {
		path, method, _ := strings.Cut(route, " ")
		for _, spelling := range spellings(path)[:6] {
			before := w.reached.Load()
			if status := c.ask(t, method, spelling, "X-Athena-Key: "+walkersKey+"\r\n"); status != 200 || w.reached.Load() != before+1 {
				t.Errorf("%s %s with the key: %d", method, spelling, status)
			}
		}
	}
	before := w.reached.Load()
	asked := map[int]int{}
	refused := func(method, target, header string) {
		status := c.ask(t, method, target, header)
		asked[status]++
		if w.reached.Load() != before {
			t.Errorf("%s %q %q reaches an operators' route: %d", method, target, header, status)
			before = w.reached.Load()
		}
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
	for _, route := range w.operators {
		path, method, _ := strings.Cut(route, " ")
		for _, spelling := range spellings(path) {
			refused(method, spelling, "")
		}
		for _, other := range append(methods, strings.ToLower(method), method[:1]+strings.ToLower(method[1:]), "PROPFIND", "X") {
			refused(other, path, "")
		}
		for _, header := range []string{
			"X-HTTP-Method-Override: " + method, "X-HTTP-Method: " + method, "X-Method-Override: " + method, "X-Original-URL: " + path, "X-Rewrite-URL: " + path,
			"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Forwarded-Prefix: " + path, "Authorization: Basic YWRtaW46YWRtaW4=",
			"Authorization: Bearer", "X-Athena-Key:", "X-Athena-Key: ", "X-Athena-Key: " + walkersKey[1:], "Cookie: X-Athena-Key=" + walkersKey, "X-Athena-Client: " + walkersKey,
			"X_Athena_Key: " + walkersKey, "X-Athena-Key : " + walkersKey, "Connection: X-Athena-Key", "Transfer-Encoding: chunked", "Upgrade: h2c\r\nConnection: Upgrade", "Expect: 100-continue",
		} {
			refused(method, path, header+"\r\n")
			for _, open := range []string{"/", "/ping", "/health"} {
				refused(method, open, header+"\r\n")
			}
		}
		refused(method, path+"?apikey="+walkersKey, "")
		refused(method, path+"?X-Athena-Key="+walkersKey, "")
	}
	t.Logf("answers by status: %v", asked)
	if asked[401] < 6*len(w.operators) {
		t.Errorf("only %d requests were refused for want of the key", asked[401])
	}
}

// events are what a logger writes, an event at a time: each is to be one line.
type events struct {
	mu     sync.Mutex
	broken string // the first that is not
	told   string // the first that tells a key
	keys   []string
}

var eventStart = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+ \[[A-Z]+\] +[a-z]+`)

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	line, whole := bytes.CutSuffix(p, []byte("\n"))
	if !whole || bytes.ContainsFunc(line, unicode.IsControl) || !eventStart.Match(line) {
		e.broken = cmp.Or(e.broken, string(p))
	}
	for _, key := range e.keys {
		if bytes.Contains(p, []byte(key)) {
			e.told = cmp.Or(e.told, string(p))
		}
	}
	return len(p), nil
}

// labels are the names and values of the labels of all metrics, but for numbers.
func (w *walked) labels(t testing.TB) map[string]bool {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if _, err := strconv.ParseFloat(label.GetValue(), 64); err != nil {
					found[label.GetName()+"="+label.GetValue()] = true
				}
			}
		}
	}
	return found
}

// FuzzAdminPaths sends whatever for a method, a target and a header, where keys are asked for;
// {key} stands for an API key of all built-in rights. Without the admin key no operators'
// route is reached, without an API key no data route. No text becomes a line of the log, a
// metric, a header or a row of its own, and the gateway stays up.
func FuzzAdminPaths(f *testing.F) {
	log := &events{keys: []string{walkersKey}}
	w := walk(f, "unix", log)
	key := w.key(f, "")
	_, secret, _ := strings.Cut(key, ".")
	log.mu.Lock()
	log.keys = append(log.keys, secret)
	log.mu.Unlock()
	if _, err := w.keys.Enforce(f.Context(), &ledger.Audit{Actor: "test", Action: "enforce"}, true); err != nil {
		f.Fatal(err)
	}
	lines := []string{"%0d%0aX-Injected: 1", "%0aX-Injected:%201", "\rX-Injected: 1", "%E5%98%8AX-Injected: 1", "%0a2026-01-01T00:00:00.000Z [INFO]  http: forged",
		"\x1b[2J", "\u2028forged", "\x85forged", "\"} 1\nforged{a=\"", "%22%7d%201%0aforged%201", "%00", "\xff", "'; DROP TABLE api_keys; --"}
	for i, name := range []string{"X-Request-Id", "Traceparent", "Origin", "Accept-Encoding", "X-Athena-Client", "Host", "X-User-Id", "X-Athena-Key", "Authorization", "X-Forwarded-For"} {
		path, method, _ := strings.Cut([]string{w.operators[0], w.data[0], "/health GET"}[i%3], " ")
		for _, line := range lines {
			f.Add(method, path, "apikey: {key}\r\n"+name+": a"+line)
		}
	}
	for _, route := range []string{w.operators[1], w.data[1], "/public/x/fetch POST", "/admin/clients/x GET"} {
		path, method, _ := strings.Cut(route, " ")
		for _, line := range lines {
			f.Add(method, path+line, "")
		}
		for _, carrier := range carriers("{key}") {
			f.Add(method, path+carrier[1], strings.TrimSuffix(carrier[0], "\r\n"))
		}
		f.Add(method, "/ping", "X-HTTP-Method-Override: "+method)
		f.Add(method, path+" HTTP/1.1\r\nHost: localhost\r\n\r\nGET "+path, "X-Athena-Key: x")
		f.Add(method, path, "Content-Length: 0\r\nTransfer-Encoding: chunked")
	}
	path, method, _ := strings.Cut(w.operators[0], " ")
	for _, spelling := range spellings(path) {
		f.Add(method, spelling, "")
	}
	until(f, func() bool { // the file's clients are put into the catalog in the background
		return ledgertest.Count(f, w.ledger, "SELECT count(*) FROM athena_clients") == 2 && w.labels(f)["client=shop"]
	})
	before, audited := w.labels(f), ledgertest.Count(f, w.ledger, "SELECT count(*) FROM admin_audit_log")
	known := map[string]bool{"route=unmatched": true, "method=any": true, "client=shop": true, "client=bank": true, "client=": true}
	for _, route := range w.routes {
		known["route="+route.Path], known["path="+route.Path], known["method="+route.Method] = true, true, true
	}
	rows := func(t testing.TB) {
		if err := w.keys.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := ledgertest.Count(t, w.ledger, "SELECT count(*) FROM admin_audit_log"); n != audited {
			t.Errorf("the audit has %d rows, want %d", n, audited)
		}
		if n := ledgertest.Count(t, w.ledger, "SELECT count(*) FROM api_keys"); n != 1 {
			t.Errorf("there are %d API keys", n)
		}
		err := w.ledger.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
			read, err := c.QueryContext(ctx, "SELECT coalesce(path, ''), coalesce(method, ''), coalesce(failure_reason, ''), coalesce(client_name, ''), succeeded FROM api_key_auth_log")
			if err != nil {
				return err
			}
			defer read.Close()
			for read.Next() {
				var path, method, reason, client string
				var succeeded bool
				if err := read.Scan(&path, &method, &reason, &client, &succeeded); err != nil {
					return err
				}
				if !known["path="+path] || !known["method="+method] || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "" || succeeded != (reason == "") {
					t.Errorf("a row of the log of attempts is %q %q %q %q", path, method, reason, client)
				}
			}
			return read.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.Cleanup(func() { rows(f) })
	var sent atomic.Int64
	f.Fuzz(func(t *testing.T, method, target, header string) {
		if strings.Contains(method+target+header, walkersKey) {
			return // it may
		}
		named := strings.Contains(target+header, "{key}")
		target, header = strings.ReplaceAll(target, "{key}", key), strings.ReplaceAll(header, "{key}", key)
		conn, err := net.Dial("unix", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n\r\n", method, target, header)
		conn.(*net.UnixConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is neither answered nor closed")
		}
		if n := w.reached.Load(); n != 0 {
			t.Fatalf("%d operators' routes were reached without the key", n)
		}
		if n := w.asked.Swap(0); n != 0 && !named {
			t.Fatalf("%d data routes were reached without a key", n)
		}
		if head, _, _ := strings.Cut(string(answer), "\r\n\r\n"); strings.Contains(head, "\nX-Injected:") || strings.Contains(head, "\rX-Injected:") {
			t.Errorf("the answer has a header of the request's making: %q", head)
		}
		if bytes.Contains(answer, []byte(secret)) {
			t.Errorf("the answer tells the key: %q", answer)
		}
		log.mu.Lock()
		broken, told := log.broken, log.told
		log.broken, log.told = "", ""
		log.mu.Unlock()
		if broken != "" {
			t.Errorf("an event of the log is %q", broken)
		}
		if told != "" {
			t.Errorf("the log tells a key: %q", told)
		}
		if n := sent.Add(1); n%16 == 0 {
			for label := range w.labels(t) {
				if name, value, _ := strings.Cut(label, "="); !before[label] && !known[label] && (name != "reason" || strings.Trim(value, "abcdefghijklmnopqrstuvwxyz_") != "") {
					t.Errorf("there is a metric of %q", label)
				}
			}
		} else if n%401 == 0 {
			rows(t)
		}
	})
}
