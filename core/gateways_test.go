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

// TestTwoGateways changes keys and clients through one gateway of a PostgreSQL ledger; the
// other follows, with notices over Redis and without.
func TestTwoGateways(t *testing.T) {
	for name, redis := range map[string]func(t *testing.T) string{
		"looking": func(*testing.T) string { return "" },
		"redis":   func(t *testing.T) string { return testenv.Redis(t).URL },
	} {
		t.Run(name, func(t *testing.T) {
			uri, url := testenv.Database(t), redis(t)
			configure := func(c *config.Config) {
				c.Redis.URL = config.Secret(url)
				c.Ledger.AllowPlaintextSecrets = true
			}
			a, b := shop(t, uri, configure), shop(t, uri, configure)
			slowest := time.Duration(0)
			follows := func(what, client, key, want string) {
				t.Helper()
				if got := a.code(t, client, key); got != want {
					t.Fatalf("%s: the gateway that was told answers %s, want %s", what, got, want)
				}
				started := time.Now()
				until(t, func() bool { return b.code(t, client, key) == want })
				slowest = max(slowest, time.Since(started))
			}

			made := a.operate(t, "POST", "/admin/api-keys", `{"name":"one","client_name":"shop","rights":["gateway.fetch.execute"]}`, 201)
			key := made["api_key"].(string)
			id := made["record"].(map[string]any)["id"].(string)
			a.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200)
			follows("keys are asked for", "shop", "", "401 api_key_required")
			follows("a key was made", "shop", key, "200")
			a.operate(t, "DELETE", "/admin/api-keys/"+id, "", 200)
			follows("it is revoked", "shop", key, "401 invalid_api_key")
			a.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
			follows("keys are not asked for", "shop", "", "200")

			file := filepath.Join(t.TempDir(), "late.db")
			body := fmt.Sprintf(`{"client_name":"late","backend":"sqlite","config":{"path":%q,"sample":true}}`, file)
			a.operate(t, "POST", "/admin/clients", body, 201)
			follows("a client was added", "late", "", "200")
			a.operate(t, "PUT", "/admin/clients/late/freeze", `{"is_frozen":true}`, 200)
			follows("it is frozen", "late", "", "503 client_frozen")
			a.operate(t, "PUT", "/admin/clients/late/freeze", `{"is_frozen":false}`, 200)
			follows("it is not frozen", "late", "", "200")
			a.operate(t, "PATCH", "/admin/clients/late", fmt.Sprintf(`{"config":{"path":%q}}`, emptyFile(t)), 200)
			follows("it is another file", "late", "", "404 undefined_table")
			a.operate(t, "PUT", "/admin/client-configs/late", `{"sql_enabled":false}`, 200)
			until(t, func() bool {
				status, _ := b.send(t, "POST", "/gateway/query", `{"query":"select 1"}`, "X-Athena-Client", "late")
				return status == 403
			})
			a.operate(t, "DELETE", "/admin/clients/late", "", 200)
			follows("it is deleted", "late", "", "503 client_deleted")
			t.Logf("the slowest change was seen by the other gateway after %v", slowest)

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
