package core

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/httpx"
)

const walkersKey = "0123456789abcdef0123"

// walked is a gateway whose operators' routes only note that they were reached.
type walked struct {
	address string
	routes  []string // path and method of each operators' route, with parameters filled in
	reached atomic.Int64
}

// walk starts a gateway of its own, on a Unix socket: fuzzing would use up the ports.
func walk(t testing.TB) *walked {
	t.Helper()
	dir := t.TempDir()
	c := &config.Config{API: config.API{AdminKey: walkersKey}, Plugins: config.Plugins{Dir: dir, Verify: "dev"},
		Ledger: config.Ledger{URI: "sqlite://" + filepath.Join(dir, "ledger.db")}}
	w := &walked{address: filepath.Join(dir, "socket")}
	parameter := regexp.MustCompile(`:\w+`)
	serve(t, c, func(g *Gateway) {
		for i := range g.routes {
			if route := &g.routes[i]; route.Guard == httpx.Admin {
				w.routes = append(w.routes, parameter.ReplaceAllString(route.Path, "x")+" "+route.Method)
				route.Handle = func(*httpx.Request) (*httpx.Response, error) {
					w.reached.Add(1)
					return httpx.OK("reached", nil)
				}
			}
		}
		var err error
		if g.listener, err = net.Listen("unix", w.address); err != nil {
			t.Fatal(err)
		}
	})
	return w
}

// client sends requests as they are written.
type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
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
			if c.conn, err = net.Dial("unix", c.address); err != nil {
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

// TestNoWayAround asks for every operators' route without the key, by every method and in
// odd spellings: none is reached.
func TestNoWayAround(t *testing.T) {
	w := walk(t)
	c := &client{address: w.address}
	defer c.close()
	if len(w.routes) < 9 {
		t.Fatalf("only %d routes ask for the admin key", len(w.routes))
	}
	// With the key the plain spellings reach each route: else nothing is tested below.
	for _, route := range w.routes {
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
	for _, route := range w.routes {
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
	if asked[401] < 6*len(w.routes) {
		t.Errorf("only %d requests were refused for want of the key", asked[401])
	}
}

// FuzzAdminPaths sends whatever for a method, a target and a header: without the key no
// operators' route is reached, and the gateway stays up.
func FuzzAdminPaths(f *testing.F) {
	w := walk(f)
	for _, route := range w.routes[:2] {
		path, method, _ := strings.Cut(route, " ")
		for _, spelling := range spellings(path) {
			f.Add(method, spelling, "")
		}
		f.Add(method, "/ping", "X-HTTP-Method-Override: "+method)
		f.Add(method, path+" HTTP/1.1\r\nHost: localhost\r\n\r\nGET "+path, "X-Athena-Key: x")
		f.Add(method, path, "Content-Length: 0\r\nTransfer-Encoding: chunked")
		for _, line := range []string{"%0d%0aX-Injected: 1", "%0aX-Injected:%201", "\rX-Injected: 1", "%E5%98%8AX-Injected: 1"} {
			f.Add(method, path+line, "")
			for _, name := range []string{"X-Request-Id", "Traceparent", "Origin", "Accept-Encoding", "X-Athena-Client", "Host"} {
				f.Add("GET", "/health", name+": a"+line)
			}
		}
	}
	f.Fuzz(func(t *testing.T, method, target, header string) {
		if strings.Contains(method+target+header, walkersKey) {
			t.Skip("it has the key")
		}
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
		if head, _, _ := strings.Cut(string(answer), "\r\n\r\n"); strings.Contains(head, "\nX-Injected:") || strings.Contains(head, "\rX-Injected:") {
			t.Errorf("the answer has a header of the request's making: %q", head)
		}
	})
}
