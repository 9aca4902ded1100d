package core

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
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
			sql := func(s *server) string {
				return fmt.Sprint(s.request(t, "POST", "/gateway/query", `{"query":"select 1"}`, "X-Athena-Client", "late").status)
			}
			change(a, "PUT", "/admin/client-configs/late", `{"sql_enabled":false}`, 200)
			follows("it takes no SQL", sql, "403")
			change(b, "DELETE", "/admin/client-configs/late", "", 200)
			follows("it takes SQL again", sql, "200")
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

// TestLedgerOutage: the ledger hangs, then crashes, under load with keys asked for. No data
// request fails, and in the end the log has every request but those that are counted as lost.
func TestLedgerOutage(t *testing.T) {
	server := testenv.Server(t, testenv.ServerOptions{})
	s := shop(t, server.URI("postgres"))
	made := s.operate(t, "POST", "/admin/api-keys", `{"name":"one","rights":["gateway.fetch.execute"]}`, 201)
	key := made["api_key"].(string)
	s.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200)

	stop := make(chan struct{})
	var sent, failed atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				request, _ := http.NewRequest("POST", s.url+"/gateway/fetch", strings.NewReader(crew))
				request.Header.Set("X-Athena-Client", "shop")
				request.Header.Set("apikey", key)
				sent.Add(1)
				if response, err := client.Do(request); err != nil || response.StatusCode != 200 {
					failed.Add(1)
				} else {
					_ = response.Body.Close()
				}
			}
		})
	}
	ledger := func() string {
		_, body := s.send(t, "GET", "/health", "", "X-Athena-Key", adminKey)
		var members struct{ Ledger struct{ State string } }
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		return members.Ledger.State
	}
	server.Freeze(t)
	until(t, func() bool { return ledger() == "unavailable" })
	if _, metrics := s.send(t, "GET", "/metrics", ""); !strings.Contains(string(metrics), "\nathena_ledger_available 0\n") {
		t.Error("the metrics do not say that the ledger is down")
	}
	time.Sleep(outage)
	server.Kill()
	time.Sleep(outage)
	if state := ledger(); state != "unavailable" {
		t.Errorf("the ledger is %s", state)
	}
	server.Start(t)
	until(t, func() bool { return ledger() == "ready" })
	close(stop)
	load.Wait()
	if err := s.ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	lost := s.ledger.Status().Dropped
	logged := ledgertest.Count(t, s.ledger, "SELECT count(*) FROM gateway_operation_log WHERE operation = 'fetch'")
	t.Logf("%d requests, %d in the log, %d rows of all logs lost", sent.Load(), logged, lost)
	if logged+lost < sent.Load() || logged > sent.Load() || lost == 0 && logged != sent.Load() {
		t.Errorf("%d requests, %d in the log, %d lost", sent.Load(), logged, lost)
	}
	if n := requests(t, s); int64(n) != logged {
		t.Errorf("the statistics count %v requests, the log %d", n, logged)
	}
}
