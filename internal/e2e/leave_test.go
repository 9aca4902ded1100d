//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// TestClientLeaves closes the client's connection in every state of a call: the database
// must stop working on it within a second, and its connection must be of use again.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, wideSQL)
	g := start(t, fmt.Sprintf("clients: {one: {backend: postgres, config: {uri: %q, max_connections: 1}}}", uri))
	db := openPostgres(t, uri)
	backend := func() any { return g.query(t, "one", "SELECT pg_backend_pid() AS pid").value(t, "data") }

	sleeping := sqlRequest("one", "SELECT pg_sleep(100)")
	streaming := request{method: "POST", path: "/gateway/fetch", client: "one", body: fetchWide}
	bySQL := sqlRequest("one", "SELECT * FROM wide")
	writing := sqlRequest("one", "CREATE TABLE never AS SELECT 1 AS one FROM pg_sleep(100)")
	for _, test := range []struct {
		name    string
		request request
		read    int64  // bytes, before the client leaves
		wait    string // what the backend then waits for
	}{
		{"sleeping", sleeping, 0, "PgSleep"},
		{"writing", writing, 0, "PgSleep"},
		{"streaming", streaming, 4 << 20, ""},
		{"streaming SQL", bySQL, 4 << 20, ""},
		{"stalled", streaming, 1, "ClientWrite"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := backend()
			// The fastest of three: another process may have the processor for a while.
			fastest := time.Hour
			for range 3 {
				fastest = min(fastest, leave(t, g, db, test.request, test.read, test.wait))
				if fastest < time.Second {
					break
				}
			}
			if t.Logf("cancelled within %s", fastest); fastest >= time.Second {
				t.Errorf("cancelled after %s only", fastest)
			}
			if after := backend(); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("another connection: %v, before %v", after, before)
			}
		})
	}
	if n := db.text(t, "SELECT count(*) FROM pg_tables WHERE tablename = 'never'"); n != "0" {
		t.Error("a cancelled statement had effects")
	}
}

// leave sends a request, reads so many bytes of its answer, waits until the database is in
// the middle of it, closes the connection and returns how long the database went on.
func leave(t *testing.T, g *gateway, db postgres, r request, read int64, wait string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended, received := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(ended)
		response, err := g.open(ctx, r)
		if err != nil {
			received <- err
			return
		}
		defer response.Body.Close()
		_, err = io.CopyN(io.Discard, response.Body, read)
		received <- err
		<-ctx.Done()
	}()
	if read > 0 {
		if err := <-received; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, "the database is busy", func() bool {
		if len(received) > 0 {
			t.Fatalf("answered already: %v", <-received)
		}
		return db.busy(t) == "1" && (wait == "" || db.waitsFor(t, wait))
	})
	cancel()
	took := eventually(t, 20*time.Second, "the database is idle", func() bool { return db.busy(t) == "0" })
	<-ended
	return took
}
