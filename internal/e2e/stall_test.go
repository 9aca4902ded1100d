//go:build linux && long

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// TestStalledReader stops reading and keeps its connection: after half a minute without
// progress the gateway drops it, and the database is free.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, wideSQL)
	g := start(t, fmt.Sprintf("clients: {one: {backend: postgres, config: {uri: %q, max_connections: 1}}}", uri))
	db := openPostgres(t, uri)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /gateway/fetch HTTP/1.1\r\nHost: x\r\nX-Athena-Client: one\r\nContent-Length: %d\r\n\r\n%s", len(fetchWide), fetchWide)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stalled := time.Now()
	eventually(t, 20*time.Second, "the database waits for the reader", func() bool {
		return db.waitsFor(t, "ClientWrite")
	})
	eventually(t, 60*time.Second, "the database is idle", func() bool { return db.busy(t) == "0" })
	if took := time.Since(stalled); took < 20*time.Second {
		t.Errorf("dropped after %s already", took)
	} else {
		t.Logf("dropped after %s", took)
	}
	if n, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Errorf("the transfer looks whole after %d bytes", n)
	}
	g.query(t, "one", "SELECT 1 AS one").is(t, 200, `{"data": [{"one": 1}]}`)
}
