//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// TestDrain sends SIGTERM to a busy gateway: every request that reached it is answered,
// the long ones too, every write is there, and the exit code is 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, emptyWritten)
	g := start(t, fmt.Sprintf("clients: {db: {backend: postgres, config: {uri: %q}}}", uri))
	db := openPostgres(t, uri)
	plugins := g.plugins()

	var long sync.WaitGroup
	long.Go(func() {
		a, err := g.send(sqlRequest("db", "SELECT 'done' AS x FROM pg_sleep(2)"))
		if err != nil || a.status != 200 {
			t.Errorf("the sleeping request: %v, %v", err, a)
		}
	})
	streaming := make(chan struct{})
	long.Go(func() {
		const sql = "SELECT i, repeat('x', 100) AS filler FROM generate_series(1, 400000) i"
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		response, err := g.open(ctx, sqlRequest("db", sql))
		close(streaming)
		if err != nil {
			t.Errorf("the streaming request: %v", err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(newPacedReader(response.Body, 1<<20, 40*time.Millisecond)) // for about two seconds
		var got struct{ Data []struct{ I int } }
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if err != nil || len(got.Data) != 400_000 {
			t.Errorf("the streamed answer: %d bytes, %d rows, %v", len(body), len(got.Data), err)
		}
	})
	<-streaming

	var answered atomic.Int64
	var clients sync.WaitGroup
	outcomes := make([]map[string]outcome, 8)
	for n := range outcomes {
		outcomes[n] = map[string]outcome{}
		clients.Go(func() {
			// Half of them keep their connection, the others make one per request.
			own := &http.Transport{DisableKeepAlives: n%2 == 0, DisableCompression: true}
			defer own.CloseIdleConnections()
			for i := 0; ; i++ {
				token := fmt.Sprintf("%d-%d", n, i)
				status, err := insertVia(own, g.url, token)
				var dialing *net.OpError
				if errors.As(err, &dialing) && dialing.Op == "dial" {
					return // a connection that was not made carried no request
				}
				if err != nil || status != 200 {
					t.Errorf("a request was not answered: %d, %v", status, err)
					return
				}
				outcomes[n][token] = acknowledged
				answered.Add(1)
			}
		})
	}
	eventually(t, 20*time.Second, "clients are under way", func() bool { return answered.Load() > 300 && db.busy(t) != "0" })
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	clients.Wait()
	long.Wait()
	if code := g.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, p := range plugins {
		if p.alive() {
			t.Errorf("the plugin %s is left", p.name)
		}
	}
	t.Logf("writes: %v", compare(t, db, outcomes))
	if strings.Contains(g.stderr.String(), "[ERROR]") {
		t.Error("an orderly end logs errors")
	}
}

// insertVia writes a token over a client's own connections.
func insertVia(own *http.Transport, url, token string) (status int, err error) {
	body := fmt.Sprintf(`{"table_name": "written", "insert_body": {"token": %q}}`, token)
	r, err := http.NewRequest("PUT", url+"/gateway/insert", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-Athena-Client", "db")
	r.Header.Set("Content-Type", "application/json")
	response, err := own.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
