package core

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const crew = `{"table_name":"crew","limit":1}`

// operate sends an operator's request and returns the members of its answer.
func (s *server) operate(t *testing.T, method, path, body string, want int) map[string]any {
	t.Helper()
	status, answer := s.send(t, method, path, body, "X-Athena-Key", adminKey, "Content-Type", "application/json")
	var members map[string]any
	if err := json.Unmarshal(answer, &members); err != nil || status != want {
		t.Fatalf("%s %s %s answers %d, want %d (%v): %s", method, path, body, status, want, err, answer)
	}
	return members
}

// code is the status of a fetch from a client, and the error's code.
func (s *server) code(t *testing.T, client, key string) string {
	t.Helper()
	headers := []string{"X-Athena-Client", client}
	if key != "" {
		headers = append(headers, "apikey", key)
	}
	status, body := s.send(t, "POST", "/gateway/fetch", crew, headers...)
	var members struct{ Code string }
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return strings.TrimSpace(fmt.Sprint(status, " ", members.Code))
}

// TestTwoGateways changes keys, clients, settings and routes through one gateway of a PostgreSQL
// ledger: a request that the other gets 2 s after the change was answered meets it. Without
// Redis they look every second; with it they look never, and are told.
func TestTwoGateways(t *testing.T) {
	for _, kind := range []string{"looking", "redis"} {
		t.Run(kind, func(t *testing.T) {
			uri, options := testenv.Database(t), Options{}
			configure := func(c *config.Config) { c.Ledger.AllowPlaintextSecrets = true }
			listening := func() {}
			if kind == "redis" {
				options.lookEvery = time.Hour
				server := testenv.Redis(t)
				configure = func(c *config.Config) { c.Ledger.AllowPlaintextSecrets, c.Redis.URL = true, config.Secret(server.URL) }
				listening = func() { until(t, func() bool { return server.Listeners(t, "athena:changes") == 2 }) }
			}
			a := serveWith(t, shopConfig(t, uri, configure), options)
			b := serveWith(t, shopConfig(t, uri, configure), options)
			listening()

			var told, other *server
			var answered time.Time
			change := func(on *server, method, path, body string, want int) map[string]any {
				t.Helper()
				made := on.operate(t, method, path, body, want)
				answered = time.Now()
				if told, other = a, b; on == b {
					told, other = b, a
				}
				return made
			}
			slowest := time.Duration(0)
			follows := func(what string, seen func(*server) string, want string) {
				t.Helper()
				if got := seen(told); got != want {
					t.Fatalf("%s: the gateway that was told answers %s, want %s", what, got, want)
				}
				for pause := time.NewTicker(10 * time.Millisecond); ; <-pause.C {
					after := time.Since(answered)
					got := seen(other)
					if got == want {
						pause.Stop()
						slowest = max(slowest, after)
						return
					}
					if after > 2*time.Second {
						t.Fatalf("%s: %v after the answer the other gateway answers %s, want %s", what, after, got, want)
					}
				}
			}
			fetch := func(client, key string) func(*server) string {
				return func(s *server) string { return s.code(t, client, key) }
			}

			made := change(a, "POST", "/admin/api-keys", `{"name":"one","client_name":"shop","rights":["gateway.fetch.execute"]}`, 201)
			key := made["api_key"].(string)
			id := made["record"].(map[string]any)["id"].(string)
			change(a, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200)
			follows("keys are asked for", fetch("shop", ""), "401 api_key_required")
			follows("a key was made", fetch("shop", key), "200")
			change(b, "PATCH", "/admin/api-keys/"+id, `{"rights":["gateway.insert.execute"]}`, 200)
			follows("it has another right", fetch("shop", key), "403 right_required")
			change(a, "PATCH", "/admin/api-keys/"+id, `{"rights":["gateway.fetch.execute"]}`, 200)
			follows("it has the right again", fetch("shop", key), "200")
			change(b, "PUT", "/admin/api-key-clients/shop", `{"enforce_api_keys":false}`, 200)
			follows("the client asks for none", fetch("shop", ""), "200")
			change(a, "DELETE", "/admin/api-key-clients/shop", "", 200)
			follows("the client asks as all do", fetch("shop", ""), "401 api_key_required")
			change(a, "DELETE", "/admin/api-keys/"+id, "", 200)
			follows("the key is revoked", fetch("shop", key), "401 invalid_api_key")
			change(b, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
			follows("keys are not asked for", fetch("shop", ""), "200")

			file := filepath.Join(t.TempDir(), "late.db")
			change(a, "POST", "/admin/clients", fmt.Sprintf(`{"client_name":"late","backend":"sqlite","config":{"path":%q,"sample":true}}`, file), 201)
			follows("a client was added", fetch("late", ""), "200")
			change(a, "PUT", "/admin/clients/late/freeze", `{"is_frozen":true}`, 200)
			follows("it is frozen", fetch("late", ""), "503 client_frozen")
			change(b, "PUT", "/admin/clients/late/freeze", `{"is_frozen":false}`, 200)
			follows("it is not frozen", fetch("late", ""), "200")
			change(a, "PATCH", "/admin/clients/late", fmt.Sprintf(`{"config":{"path":%q}}`, emptyFile(t)), 200)
			follows("it is another file", fetch("late", ""), "404 undefined_table")
			takesSQL := func(s *server) string {
				return fmt.Sprint(s.request(t, "POST", "/gateway/query", `{"query":"select 1"}`, "X-Athena-Client", "late").status)
			}
			change(a, "PUT", "/admin/client-configs/late", `{"sql_enabled":false}`, 200)
			follows("it takes no SQL", takesSQL, "403")
			change(b, "DELETE", "/admin/client-configs/late", "", 200)
			follows("it takes SQL again", takesSQL, "200")
			change(a, "DELETE", "/admin/clients/late", "", 200)
			follows("it is deleted", fetch("late", ""), "503 client_deleted")

			public := func(s *server) string {
				reply := s.request(t, "POST", "/public/shared/fetch", `{"limit":1}`)
				return strings.TrimSpace(fmt.Sprint(reply.status, " ", reply.code()))
			}
			change(a, "POST", "/admin/public-routes", `{"route_key":"shared","client_name":"shop","table_name":"crew","operation":"fetch"}`, 201)
			follows("a route was made", public, "200")
			change(b, "PATCH", "/admin/public-routes/shared", `{"operation":"insert"}`, 200)
			follows("it offers something else", public, "403 operation_not_allowed")
			change(a, "PATCH", "/admin/public-routes/shared", `{"operation":"fetch","is_active":false}`, 200)
			follows("it is not active", public, "404 unknown_public_route")
			change(b, "PATCH", "/admin/public-routes/shared", `{"is_active":true}`, 200)
			follows("it is active again", public, "200")
			change(a, "DELETE", "/admin/public-routes/shared", "", 200)
			follows("it is removed", public, "404 unknown_public_route")
			listed := func(s *server) string {
				return fmt.Sprint(strings.Count(s.request(t, "GET", "/registry", "").body, "books"))
			}
			entry := change(b, "POST", "/admin/registry", `{"name":"books"}`, 201)["entry"].(map[string]any)["id"].(string)
			follows("an API is in the catalogue", listed, "1")
			change(a, "DELETE", "/admin/registry/"+entry, "", 200)
			follows("it is not", listed, "0")
			t.Logf("the slowest change was met by a request %v after its answer", slowest)

			for _, s := range []*server{a, b} { // what came before is counted now
				if err := s.ledger.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			before := requests(t, a)
			for range 20 {
				a.code(t, "shop", "")
				b.code(t, "shop", "")
				b.code(t, "shop", "")
			}
			until(t, func() bool { return requests(t, a) == before+60 && requests(t, b) == before+60 })
			a.operate(t, "POST", "/admin/clients/statistics/refresh", "", 200)
			if n := requests(t, b); n != before+60 {
				t.Errorf("%v requests after the refresh, want %v", n, before+60)
			}
		})
	}
}

// requests is how many requests for the client shop the statistics count.
func requests(t *testing.T, s *server) float64 {
	t.Helper()
	return s.operate(t, "GET", "/admin/clients/shop/statistics", "", 200)["statistics"].(map[string]any)["total_requests"].(float64)
}

// load is requests that are sent one after the other until it stops.
type load struct {
	sent, failed atomic.Int64
	first        atomic.Pointer[string] // what the first failure was
	stop         func()
}

// fetches sends fetches to the client shop from four callers.
func (s *server) fetches(t *testing.T, key string) *load {
	l := &load{}
	stopped := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stopped:
					return
				default:
				}
				request, _ := http.NewRequest("POST", s.url+"/gateway/fetch", strings.NewReader(crew))
				request.Header.Set("X-Athena-Client", "shop")
				request.Header.Set("apikey", key)
				l.sent.Add(1)
				response, err := client.Do(request)
				problem := fmt.Sprint(err)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(response.Body)
					response.Body.Close()
					problem = fmt.Sprint(response.StatusCode, " ", err, " ", string(body))
					if err == nil && response.StatusCode == 200 {
						continue
					}
				}
				l.failed.Add(1)
				l.first.CompareAndSwap(nil, &problem)
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		close(stopped)
		callers.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// ledgerState is what /health and /metrics say of the ledger, which have to agree.
func (s *server) ledgerState(t *testing.T) (state string, queued float64) {
	t.Helper()
	var health struct {
		Status string
		Ledger struct{ State string }
	}
	reply := s.request(t, "GET", "/health", "", "X-Athena-Key", adminKey)
	if err := json.Unmarshal([]byte(reply.body), &health); err != nil || reply.status != 200 {
		t.Fatalf("%v: %d %s", err, reply.status, reply.body)
	}
	if (health.Status == "ok") != (health.Ledger.State == "ready") {
		t.Errorf("/health is %s while the ledger is %s", health.Status, health.Ledger.State)
	}
	return health.Ledger.State, s.metric(t, "athena_ledger_queued_rows")
}

// metric is the value of a metric with its labels.
func (s *server) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	text := s.request(t, "GET", "/metrics", "").body
	_, after, found := strings.Cut(text, "\n"+name+" ")
	line, _, _ := strings.Cut(after, "\n")
	if _, err := fmt.Sscan(line, &value); err != nil || !found {
		t.Fatalf("no %s in %.2000s", name, text)
	}
	return value
}

// settle ends the load and compares what was sent with what the log has and what the metric of
// the log counts as lost.
func (s *server) settle(t *testing.T, l *load) (logged, lost int64) {
	t.Helper()
	l.stop()
	if err := s.ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first with %s", l.failed.Load(), l.sent.Load(), *l.first.Load())
	}
	logged = ledgertest.Count(t, s.ledger, "SELECT count(*) FROM gateway_operation_log WHERE operation = 'fetch'")
	lost = int64(s.metric(t, `athena_ledger_dropped_rows_total{log="gateway_operation_log"}`))
	t.Logf("%d requests, %d in the log, %d lost", l.sent.Load(), logged, lost)
	if logged+lost != l.sent.Load() {
		t.Errorf("%d requests, but %d in the log and %d lost", l.sent.Load(), logged, lost)
	}
	if n := ledgertest.Count(t, s.ledger, "SELECT count(DISTINCT request_id) FROM gateway_operation_log WHERE operation = 'fetch'"); n != logged {
		t.Errorf("%d rows of %d requests", logged, n)
	}
	if n := requests(t, s); int64(n) != logged {
		t.Errorf("the statistics count %v requests, the log %d", n, logged)
	}
	return logged, lost
}

// healthy leaves out the client that cannot be opened.
func healthy(c *config.Config) {
	c.Clients = slices.DeleteFunc(c.Clients, func(client config.Client) bool { return client.Problem != "" })
}

// keyed makes a key and asks for keys.
func (s *server) keyed(t *testing.T) (key string) {
	t.Helper()
	made := s.operate(t, "POST", "/admin/api-keys", `{"name":"one","rights":["gateway.fetch.execute"]}`, 201)
	s.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200)
	return made["api_key"].(string)
}

// TestLedgerOutage: under load with keys asked for the ledger hangs, then all of its processes
// are killed as they hang, and it recovers. No data request fails, /health and the metrics say
// what is the matter, and in the end the log has every request but those that are counted as
// lost.
func TestLedgerOutage(t *testing.T) {
	postgres := testenv.Server(t, testenv.ServerOptions{})
	s := shop(t, postgres.URI("postgres"), healthy)
	l := s.fetches(t, s.keyed(t))
	answers := func(state string, available float64) func() bool {
		return func() bool {
			is, _ := s.ledgerState(t)
			return is == state && s.metric(t, "athena_ledger_available") == available
		}
	}
	until(t, answers("ready", 1))
	away := func(during time.Duration) { // it says so all the time, and what is to be logged waits
		t.Helper()
		until(t, answers("unavailable", 0))
		queued := 0.0
		for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if !answers("unavailable", 0)() {
				t.Fatal("it is not said that the ledger is away")
			}
			_, n := s.ledgerState(t)
			queued = max(queued, n)
		}
		if queued == 0 {
			t.Error("nothing waits to be written")
		}
	}
	postgres.Freeze(t)
	away(outage)
	postgres.Crash(t)
	away(outage)
	if reply := s.request(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, "X-Athena-Key", adminKey); reply.status != 503 || reply.code() != "ledger_unavailable" {
		t.Errorf("a change without the ledger: %d %s", reply.status, reply.body)
	}
	if reply := s.request(t, "GET", "/ready", ""); reply.status != 200 {
		t.Errorf("/ready: %d %s", reply.status, reply.body)
	}
	const written = `athena_ledger_written_rows_total{log="gateway_operation_log"}`
	before := s.metric(t, written)
	postgres.Start(t)
	if !postgres.LogContains("automatic recovery in progress") {
		t.Error("there was nothing to recover from")
	}
	until(t, answers("ready", 1))
	until(t, func() bool { return s.metric(t, written) > before })
	s.settle(t, l)
}

// TestLedgerLocked: another process keeps the SQLite ledger's lock for writing, under load with
// keys asked for. No data request fails, and the log has all of them afterwards.
func TestLedgerLocked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.db")
	s := shop(t, "sqlite://"+file, healthy)
	l := s.fetches(t, s.keyed(t))
	unlock := lockFile(t, file)
	before := l.sent.Load()
	until(t, func() bool { _, queued := s.ledgerState(t); return queued > 0 && l.sent.Load() > before+100 })
	written := s.metric(t, `athena_ledger_written_rows_total{log="gateway_operation_log"}`)
	reply := s.request(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, "X-Athena-Key", adminKey)
	if reply.status != 503 || reply.code() != "ledger_unavailable" {
		t.Errorf("a change while another writes: %d %s", reply.status, reply.body)
	}
	if n := s.metric(t, `athena_ledger_written_rows_total{log="gateway_operation_log"}`); n != written {
		t.Errorf("it is not locked: %v rows were written", n-written)
	}
	unlock()
	until(t, func() bool {
		return s.metric(t, `athena_ledger_written_rows_total{log="gateway_operation_log"}`) > written
	})
	if _, lost := s.settle(t, l); lost != 0 {
		t.Errorf("%d rows were lost", lost)
	}
	s.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
}

// lockFile makes another process take the lock for writing of a SQLite file, until unlock.
func lockFile(t *testing.T, file string) (unlock func()) {
	t.Helper()
	holder := exec.Command(os.Args[0], "-test.run=^TestHoldLock$")
	holder.Env = append(os.Environ(), "ATHENA_TEST_LOCK="+file)
	holder.Stderr = os.Stderr
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() {
		stdin.Close()
		if err := holder.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(unlock)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("%q %v", line, err)
	}
	return unlock
}

// TestHoldLock is the process that lockFile starts, and tests nothing.
func TestHoldLock(t *testing.T) {
	file := os.Getenv("ATHENA_TEST_LOCK")
	if file == "" {
		return
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is told to end
	if _, err := c.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
}
