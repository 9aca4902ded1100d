package httpx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	"github.com/athena-gateway/athena/sdk"
)

var errMiddle = &sdk.Error{Kind: sdk.Conflict, Reason: "division_by_zero", Source: sdk.FromDownstream, Code: "22012", Message: "division by zero"}

// decoded reads a body in a coding as far as it goes.
func decoded(t *testing.T, coding string, body io.Reader) (string, error) {
	t.Helper()
	switch coding {
	case "gzip":
		r, err := gzip.NewReader(body)
		if err != nil {
			return "", err
		}
		body = r
	case "zstd":
		r, err := zstd.NewReader(body)
		if err != nil {
			return "", err
		}
		defer r.Close()
		body = r
	case "br":
		body = brotli.NewReader(body)
	}
	b, err := io.ReadAll(body)
	return string(b), err
}

func TestStream(t *testing.T) {
	piece := func(n int) string {
		return fmt.Sprintf(`{"id":%d,"name":"Éowyn of Rohan","number":%d},`, n, n*n*7919%1_000_003)
	}
	for _, coding := range []string{"identity", "gzip", "zstd", "br"} {
		for _, c := range []struct {
			name   string
			pieces int
			end    error
		}{
			{"small", 2, io.EOF}, {"small broken", 2, errMiddle},
			{"middle", 1000, io.EOF}, {"large", 40_000, io.EOF}, {"large broken", 40_000, errMiddle},
		} {
			t.Run(coding+" "+c.name, func(t *testing.T) {
				n := 0
				body := newPieces(func() ([]byte, error) {
					if n++; n > c.pieces {
						return nil, c.end
					}
					return []byte(piece(n)), nil
				})
				_, url := start(t, Options{Routes: []Route{route("/x", func(*Request) (*Response, error) {
					return &Response{Stream: body, Prefix: `{"data":[`, Suffix: func(b []byte) []byte { return append(b, `null]}`...) }}, nil
				})}})
				request, _ := http.NewRequest("POST", url+"/x", nil)
				request.Header.Set("Accept-Encoding", coding)
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				small := c.pieces == 2
				used := response.Header.Get("Content-Encoding")
				if wantCoding := coding != "identity" && !small; wantCoding != (used == coding) {
					t.Errorf("Content-Encoding %q", used)
				}
				if vary := response.Header.Get("Vary"); (vary == "Accept-Encoding") == small {
					t.Errorf("Vary %q", vary)
				}
				var wire bytes.Buffer
				_, transfer := io.Copy(&wire, response.Body)
				got, decoding := decoded(t, used, &wire)
				closed := <-body.closed
				want := `{"data":[`
				if c.end == io.EOF {
					var b strings.Builder
					for n := range c.pieces {
						b.WriteString(piece(n + 1))
					}
					want += b.String() + `null]}`
				}
				switch {
				case c.end == io.EOF:
					if got != want || transfer != nil || decoding != nil || closed != nil || response.StatusCode != 200 {
						t.Errorf("status %d, %d bytes instead of %d, transfer %v, decoding %v, closed with %v", response.StatusCode, len(got), len(want), transfer, decoding, closed)
					}
					if known := response.ContentLength >= 0; known != (c.pieces < 10_000) {
						t.Errorf("Content-Length %d", response.ContentLength)
					}
				case small:
					if response.StatusCode != 409 || transfer != nil || !strings.Contains(got, "22012") || closed != errMiddle {
						t.Errorf("status %d, %s, %v", response.StatusCode, got, closed)
					}
				default:
					if response.StatusCode != 200 || transfer == nil || closed != errMiddle {
						t.Errorf("status %d, transfer %v, closed with %v", response.StatusCode, transfer, closed)
					}
					if coding != "identity" && decoding == nil {
						t.Error("the compressed body ends as if it were whole")
					}
				}
				if len(body.closed) > 0 {
					t.Error("closed twice")
				}
			})
		}
	}
}

// TestBrokenForHTTP10 has no chunks to show the break by.
func TestBrokenForHTTP10(t *testing.T) {
	body := newPieces(repeat(strings.Repeat("x", 1<<16), 40, errMiddle))
	_, url := start(t, Options{Routes: []Route{route("/x", func(*Request) (*Response, error) { return &Response{Stream: body}, nil })}})
	c := dial(t, url)
	io.WriteString(c, "POST /x HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
	if b, err := io.ReadAll(c); err == nil {
		t.Errorf("%d bytes and a clean end", len(b))
	}
	<-body.closed
}

// TestClientLeaves wants the call cancelled, before the answer and while it streams.
func TestClientLeaves(t *testing.T) {
	ended := make(chan error, 1)
	entered := make(chan struct{})
	wait := func(r *Request) error {
		entered <- struct{}{}
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
		return context.Cause(r.Context())
	}
	_, url := start(t, Options{Routes: []Route{
		route("/before", func(r *Request) (*Response, error) { return nil, wait(r) }),
		route("/within", func(r *Request) (*Response, error) {
			first := repeat(strings.Repeat("x", 1<<16), 20, nil)
			return &Response{Stream: newPieces(func() ([]byte, error) {
				if piece, _ := first(); piece != nil {
					return piece, nil
				}
				return nil, wait(r)
			})}, nil
		}),
	}})
	for _, path := range []string{"/before", "/within"} {
		c := dial(t, url)
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if path == "/within" {
			io.CopyN(io.Discard, c, 1<<20)
		}
		<-entered
		left := time.Now()
		c.Close()
		if err := <-ended; !errors.Is(err, errClientLeft) {
			t.Errorf("%s: cause %v", path, err)
		}
		if took := time.Since(left); took > time.Second { // 250 ms on an idle machine
			t.Errorf("%s: noticed after %v", path, took)
		}
	}
}

// TestStalledReader wants a reader that stops dropped, and one that is slow served.
func TestStalledReader(t *testing.T) {
	const total = 40 << 20
	piece := strings.Repeat("x", 1<<16)
	bodies := make(chan *pieces, 3)
	_, url := start(t, Options{WriteTimeout: 1500 * time.Millisecond, Routes: []Route{route("/x", func(*Request) (*Response, error) {
		b := newPieces(repeat(piece, total/len(piece), io.EOF))
		bodies <- b
		return &Response{Stream: b}, nil
	})}})
	ask := func() *net.TCPConn {
		c := dial(t, url)
		c.SetReadBuffer(64 << 10)
		io.WriteString(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		return c
	}
	t.Run("stalled", func(t *testing.T) {
		began := time.Now()
		ask()
		if err := <-(<-bodies).closed; err == nil {
			t.Error("closed as delivered")
		}
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("dropped after %v", took)
		}
	})
	t.Run("slow", func(t *testing.T) {
		response, err := http.ReadResponse(bufio.NewReader(ask()), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		// About 1 MiB per 60 ms: longer than the write timeout in all.
		pace := time.NewTicker(60 * time.Millisecond)
		defer pace.Stop()
		read := int64(0)
		for err == nil {
			<-pace.C
			var n int64
			n, err = io.CopyN(io.Discard, response.Body, 1<<20)
			read += n
		}
		if err != io.EOF || read != total {
			t.Errorf("read %d of %d bytes: %v", read, total, err)
		}
		if err := <-(<-bodies).closed; err != nil {
			t.Errorf("closed with %v", err)
		}
	})
	t.Run("very slow", func(t *testing.T) {
		// So slow that the kernel takes new bytes only now and then.
		c := ask()
		c.SetReadBuffer(1 << 20)
		body := <-bodies
		io.CopyN(io.Discard, c, 8<<20) // lets the kernel's queue grow
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for range 60 {
			<-pace.C
			if _, err := io.CopyN(io.Discard, c, 16<<10); err != nil {
				t.Fatalf("dropped: %v", err)
			}
		}
		select {
		case err := <-body.closed:
			t.Fatalf("closed with %v", err)
		default:
		}
		c.Close()
		if err := <-body.closed; err == nil {
			t.Error("closed as delivered")
		}
	})
}

func TestSlowRequestIsDropped(t *testing.T) {
	_, url := start(t, Options{HeaderTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond, Routes: []Route{
		route("/x", func(*Request) (*Response, error) { return &Response{Bytes: []byte("{}")}, nil }),
	}})
	for name, text := range map[string]string{
		"head": "POST /x HTTP/1.1\r\nHost:",
		"body": "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
	} {
		c := dial(t, url)
		io.WriteString(c, text)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		b, err := io.ReadAll(c)
		if err != nil || !bytes.Contains(b, []byte("request_timeout")) {
			t.Errorf("%s: %v %s", name, err, b)
		}
	}
	c := dial(t, url)
	io.WriteString(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if b, err := io.ReadAll(c); err != nil || bytes.Count(b, []byte("HTTP/1.1")) != 1 {
		t.Errorf("idle: %v %s", err, b)
	}
}

// TestIdleTimeout: a connection between requests is held to the idle timeout, whatever deadline
// an earlier request had.
func TestIdleTimeout(t *testing.T) {
	const request = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	routes := []Route{route("/x", func(*Request) (*Response, error) { return &Response{Bytes: []byte("{}")}, nil })}
	ask := func(c net.Conn, r *bufio.Reader) {
		t.Helper()
		io.WriteString(c, request)
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
	}

	_, url := start(t, Options{HeaderTimeout: 50 * time.Millisecond, Routes: routes})
	c := dial(t, url)
	r := bufio.NewReader(c)
	for range 2 {
		ask(c, r)
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("an idle connection: %v", err)
		}
		c.SetReadDeadline(time.Time{})
	}
	ask(c, r)

	_, url = start(t, Options{HeaderTimeout: 50 * time.Millisecond, IdleTimeout: 200 * time.Millisecond, Routes: routes})
	c = dial(t, url)
	r = bufio.NewReader(c)
	ask(c, r)
	ask(c, r)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := r.Peek(1); err != io.EOF {
		t.Errorf("a connection idle for too long: %v", err)
	}
}

// TestDrain keeps clients busy on kept-alive and on fresh connections and shuts down
// among them: every request that was sent must be answered.
func TestDrain(t *testing.T) {
	var handled, answered atomic.Int64
	slow := make(chan struct{})
	slowEntered := make(chan struct{})
	s, url := start(t, Options{Routes: []Route{
		route("/x", func(r *Request) (*Response, error) {
			handled.Add(1)
			return &Response{Bytes: []byte(`{}`)}, nil
		}),
		route("/slow", func(r *Request) (*Response, error) {
			close(slowEntered)
			<-slow
			return &Response{Stream: newPieces(repeat(strings.Repeat("y", 1<<16), 50, io.EOF))}, nil
		}),
	}})
	idle := dial(t, url) // must not hold the drain up
	slowDone := make(chan answer, 1)
	go func() { slowDone <- call(t, "POST", url+"/slow", "") }()
	<-slowEntered

	var clients sync.WaitGroup
	failed := make(chan error, 100)
	for i := range 16 {
		clients.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0}
			client := &http.Client{Transport: transport}
			defer transport.CloseIdleConnections()
			for {
				response, err := client.Post(url+"/x", "application/json", strings.NewReader(`{"a":1}`))
				if err != nil {
					// A connection that was not accepted carried no request.
					fresh := i%2 == 0 && errors.Is(err, syscall.ECONNRESET)
					var dialing *net.OpError
					if !fresh && !(errors.As(err, &dialing) && dialing.Op == "dial") {
						failed <- err
					}
					return
				}
				io.Copy(io.Discard, response.Body)
				response.Body.Close()
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 500 {
		time.Sleep(time.Millisecond) // the clients are under way
	}
	shutdown := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() { shutdown <- s.Shutdown(ctx) }()
	clients.Wait()
	select {
	case err := <-shutdown:
		t.Fatalf("Shutdown returned (%v) before the slow request was answered", err)
	default:
	}
	close(slow)
	if a := <-slowDone; a.err != nil || len(a.body) != 50<<16 {
		t.Errorf("slow request: %v, %d bytes", a.err, len(a.body))
	}
	if err := <-shutdown; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	close(failed)
	for err := range failed {
		t.Errorf("a request was lost: %v", err)
	}
	if handled.Load() != answered.Load() {
		t.Errorf("%d requests handled, %d answered", handled.Load(), answered.Load())
	}
	if n, err := idle.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the idle connection ended with %d, %v", n, err)
	}
}

// TestDrainRunsOut cancels what does not end in time.
func TestDrainRunsOut(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	s, url := start(t, Options{Routes: []Route{route("/x", func(r *Request) (*Response, error) {
		close(entered)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
		return nil, context.Cause(r.Context())
	})}})
	done := make(chan answer, 1)
	go func() { done <- call(t, "POST", url+"/x", "") }()
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "shutting_down") {
		t.Errorf("cause %v", err)
	}
	<-done
}

func TestNegotiate(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "gzip, deflate": "gzip", "deflate": "", "br": "br", "zstd": "zstd",
		"gzip, deflate, br, zstd": "zstd", "gzip;q=1.0, zstd;q=0.5": "gzip", "gzip;q=0": "", "*": "zstd", "*;q=0": "",
		"*, zstd;q=0": "gzip", "gzip;q=0.3, identity;q=0.5": "", "GZIP ; Q=0.2": "gzip", "x-gzip": "gzip", "gzip;q=x": "", "gzip;q=2, br": "br", ",;,": "",
	} {
		got := ""
		if c := negotiate([]byte(header)); c != nil {
			got = c.name
		}
		if got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// TestForbidden parses the sources: these two end a broken body as if it were whole.
func TestForbidden(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // not ours to judge
		}
		for _, i := range file.Imports {
			if strings.Contains(i.Path.Value, "fiber/v2/middleware/compress") {
				t.Errorf("%s imports %s", path, i.Path.Value)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.SelectorExpr); ok && call.Sel.Name == "SetBodyStreamWriter" {
				t.Errorf("%s calls SetBodyStreamWriter", set.Position(call.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, size := range []int{200, 100 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			piece := bytes.Repeat([]byte("x"), min(size, 64<<10))
			_, url := start(b, Options{Routes: []Route{route("/x", func(*Request) (*Response, error) {
				left := size
				return &Response{Stream: &pieces{closed: make(chan error, 1), next: func() ([]byte, error) {
					if left <= 0 {
						return nil, io.EOF
					}
					left -= len(piece)
					return piece, nil
				}}, Prefix: `{"data":`, Suffix: func(dst []byte) []byte { return append(AppendSuccess(dst, "Fetched 1 rows"), '}') }}, nil
			})}})
			c := dial(b, url)
			reader := bufio.NewReaderSize(c, 64<<10)
			b.ReportAllocs()
			for b.Loop() {
				io.WriteString(c, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, response.Body)
			}
		})
	}
}

// BenchmarkHandler is what a request costs here, without the socket.
func BenchmarkHandler(b *testing.B) {
	for _, size := range []int{200, 100 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			piece := bytes.Repeat([]byte("x"), min(size, 64<<10))
			s, err := New(Options{Routes: []Route{route("/x", func(r *Request) (*Response, error) {
				left := size
				return &Response{Stream: &pieces{closed: make(chan error, 1), next: func() ([]byte, error) {
					if left <= 0 {
						return nil, io.EOF
					}
					left -= len(piece)
					return piece, nil
				}}, Prefix: `{"data":`, Suffix: func(dst []byte) []byte { return append(AppendSuccess(dst, "Fetched 1 rows"), '}') }}, nil
			})}})
			if err != nil {
				b.Fatal(err)
			}
			var fctx fasthttp.RequestCtx
			fctx.Request.Header.SetMethod("POST")
			fctx.Request.SetRequestURI("/x")
			fctx.Request.SetBodyString(`{"table_name":"users"}`)
			handler := s.app.Server().Handler
			b.ReportAllocs()
			for b.Loop() {
				handler(&fctx)
				fctx.Response.Reset()
			}
		})
	}
}
