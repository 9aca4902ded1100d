package httpx

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// TestNotStored: nobody is to keep an answer, or an error, unless the handler says otherwise.
func TestNotStored(t *testing.T) {
	answer := func(headers ...sdk.Pair) Handle {
		return func(*Request) (*Response, error) { return &Response{Header: headers, Bytes: []byte("{}")}, nil }
	}
	kept := []sdk.Pair{{Name: "cache-control", Value: "private"}, {Name: "Cache-Control", Value: "max-age=60"}}
	_, url := start(t, Options{Routes: []Route{route("/plain", answer()), route("/kept", answer(kept...)), route("/wrong", answer(sdk.Pair{Name: "Cache-Control", Value: "a\r\nb"})),
		route("/failing", func(*Request) (*Response, error) { return nil, sdk.E(sdk.NotFound, "x", "no") })}})
	for path, want := range map[string][]string{"/plain": {"no-store"}, "/kept": {"private", "max-age=60"}, "/wrong": {"no-store"}, "/failing": {"no-store"}, "/never": {"no-store"}} {
		if got := call(t, "POST", url+path, "").header.Values("Cache-Control"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// FuzzHeadersOfAnswers: whatever a handler makes of a database's words, an answer has the
// headers that were set and no others, and the body that was meant.
func FuzzHeadersOfAnswers(f *testing.F) {
	for _, injected := range []string{"", "\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\r\n\r\nbody", "\x00", "\x85X-Injected: 1", "\u2028X-Injected: 1", "\u560aX-Injected: 1", "\t", "\xff", ": "} {
		f.Add("X-Set", "a"+injected, "", int64(0))
		f.Add("X-Set"+injected, "a", "application/json", int64(1))
		f.Add("X-Set", "a", "text/plain"+injected, int64(1500))
	}
	for _, set := range [][2]string{{"Content-length", "4"}, {"transfer-encoding", "chunked"}, {"CONNECTION", "upgrade"}, {"Upgrade", "h2c"}, {"Trailer", "X-Set"}, {"Keep-Alive", "timeout=0"}, {"content-type", "text/html"},
		{"Set-Cookie", "a=b; HttpOnly"}, {"Date", "now"}, {"Server", "x"}, {"X-Request-Id", "other"}, {"Content-Range", "0-0/*"}, {"Retry-After", "5"}, {"Location", "//elsewhere"}, {"", "x"}, {" X-Set", "x"}, {"X Set", "x"}, {"X-Set", strings.Repeat("x", 20000)}} {
		f.Add(set[0], set[1], "", int64(-1))
	}
	var response atomic.Pointer[Response]
	var failure atomic.Pointer[sdk.Error]
	s, err := New(Options{Routes: []Route{
		route("/answers", func(*Request) (*Response, error) { copied := *response.Load(); return &copied, nil }),
		route("/fails", func(*Request) (*Response, error) { copied := *failure.Load(); return nil, &copied }),
	}})
	if err != nil {
		f.Fatal(err)
	}
	address := filepath.Join(f.TempDir(), "socket") // fuzzing would use up the ports
	listener, err := net.Listen("unix", address)
	if err != nil {
		f.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			f.Error(err)
		}
		if err := <-served; err != nil {
			f.Error(err)
		}
	})
	always := []string{"Date", "Content-Type", "Content-Length", "X-Request-Id", "X-Athena-Request-Id", "Connection", "Vary", "Cache-Control"}
	f.Fuzz(func(t *testing.T, name, value, contentType string, milliseconds int64) {
		// ask returns an answer that has no other headers than those that are always there and also.
		ask := func(path string, also ...string) (*http.Response, string) {
			conn, err := net.Dial("unix", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", path)
			raw, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(raw))), nil)
			if err != nil {
				t.Fatalf("%v in %q", err, raw)
			}
			_, body, _ := strings.Cut(string(raw), "\r\n\r\n")
			if answer.ContentLength != int64(len(body)) || !answer.Close || len(answer.Trailer) > 0 || len(answer.TransferEncoding) > 0 {
				t.Errorf("the answer does not end where its headers say: %q", raw)
			}
			for found, values := range answer.Header {
				if !slices.Contains(always, found) && !slices.Contains(also, found) {
					t.Errorf("the answer has the header %q: %q", found, values)
				}
			}
			if head, _, _ := strings.Cut(string(raw), "\r\n\r\n"); strings.ContainsAny(strings.ReplaceAll(head, "\r\n", ""), "\r\n\x00") {
				t.Errorf("the head is %q", head)
			}
			return answer, body
		}
		response.Store(&Response{Header: []sdk.Pair{{Name: name, Value: value}}, ContentType: contentType, Bytes: []byte("true body")})
		var set []string
		if !slices.Contains([]string{"content-length", "transfer-encoding", "connection", "keep-alive", "trailer", "upgrade"}, strings.ToLower(name)) {
			set = append(set, http.CanonicalHeaderKey(name))
		}
		if answer, body := ask("/answers", set...); body != "true body" || answer.StatusCode != 200 {
			t.Errorf("%d %q", answer.StatusCode, body)
		}
		failure.Store(&sdk.Error{Kind: sdk.RateLimited, Reason: name, Message: value, Hint: contentType, RetryAfter: time.Duration(milliseconds) * time.Millisecond})
		answer, body := ask("/fails", "Retry-After")
		if answer.StatusCode != 429 || !json.Valid([]byte(body)) {
			t.Errorf("%d %q", answer.StatusCode, body)
		}
		if after := answer.Header.Get("Retry-After"); after != "" {
			if n, err := strconv.ParseInt(after, 10, 64); err != nil || n < 1 {
				t.Errorf("Retry-After: %q", after)
			}
		}
	})
}
