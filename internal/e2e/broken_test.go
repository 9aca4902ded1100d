//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/athena-gateway/athena/internal/testenv"
)

// dividing fails at the row with that number.
func dividing(row int) request {
	return sqlRequest("db", fmt.Sprintf("select 1/(%d-i) as quotient, repeat(md5(i::text), 6) as filler from generate_series(1,200000) i", row))
}

// TestErrorInTheMiddle lets the database fail when much of the answer has been sent: with
// every coding the client must see that it is not whole.
func TestErrorInTheMiddle(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t)
	g := start(t, fmt.Sprintf("clients: {db: {backend: postgres, config: {uri: %q, max_connections: 1}}}", uri))
	decoders := map[string]func(io.Reader) (io.Reader, error){
		"identity": func(r io.Reader) (io.Reader, error) { return r, nil },
		"gzip":     func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":       func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd": func(r io.Reader) (io.Reader, error) {
			return zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		},
	}
	for encoding, decoder := range decoders {
		t.Run(encoding, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			r := dividing(100_000)
			r.header = []string{"Accept-Encoding", encoding}
			response, err := g.open(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := response.Header.Get("Content-Encoding"); response.StatusCode != 200 || got != encoding && encoding != "identity" {
				t.Fatalf("answered %d in %q", response.StatusCode, got)
			}
			body, err := io.ReadAll(response.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("the transfer of %d bytes ended with %v, not broken", len(body), err)
			}
			decoded, err := decoder(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(decoded)
			if encoding != "identity" && err == nil {
				t.Errorf("the %s stream looks whole", encoding)
			}
			if len(text) < 10<<20 || !bytes.HasPrefix(text, []byte(`{"data":[{"quotient":0,`)) || bytes.Contains(text, []byte(`"success"`)) {
				t.Errorf("%d bytes of the broken answer: %.60s ... %s", len(text), text, text[max(0, len(text)-60):])
			}
		})
	}

	t.Run("HTTP/1.0", func(t *testing.T) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		r := dividing(100_000)
		fmt.Fprintf(conn, "POST %s HTTP/1.0\r\nX-Athena-Client: db\r\nContent-Length: %d\r\n\r\n%s", r.path, len(r.body), r.body)
		n, err := io.Copy(io.Discard, bufio.NewReader(conn))
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %d bytes the connection ended with %v, not a reset", n, err)
		}
	})

	t.Run("early", func(t *testing.T) {
		for _, row := range []int{1, 2, 100, 4000} { // all in the first MiB
			a := g.ask(t, dividing(row))
			a.is(t, 400, `{"status": "error", "code": "division_by_zero", "message": "division by zero", "error": "division by zero"}`)
			if a.value(t, "data", "sqlstate") != "22012" || a.value(t, "trace_id") != a.header.Get("X-Request-Id") {
				t.Errorf("answered %s", a.body)
			}
		}
	})
	g.query(t, "db", "SELECT 1 AS one").is(t, 200, `{"data": [{"one": 1}]}`)
}
