package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// silent is an address that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-accepted
	})
	return ln.Addr().String()
}

// postgres is a client of that URI.
func postgres(t *testing.T, name, uri string) config.Client {
	t.Helper()
	settings, err := json.Marshal(map[string]any{"uri": uri, "min_connections": 1})
	if err != nil {
		t.Fatal(err)
	}
	return config.Client{Name: name, Backend: "postgres", Config: settings}
}

// sqlite is a client of a new file.
func sqlite(t *testing.T, name string) config.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Client{Name: name, Backend: "sqlite", Config: json.RawMessage(fmt.Sprintf(`{"path": %q}`, path))}
}

// statusOf is the status and the members of a JSON answer.
func statusOf(t *testing.T, url string) (int, map[string]any) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 60 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var members map[string]any
	if err == nil {
		err = json.Unmarshal(body, &members)
	}
	if err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
	return response.StatusCode, members
}

// reasons of an answer of /ready, as they are printed.
func reasons(t *testing.T, url string) string {
	t.Helper()
	status, body := statusOf(t, url+"/ready")
	return fmt.Sprint(status, " ", body["status"], " ", body["reasons"])
}

// TestHangingClients: databases that take connections and say nothing, from the start or
// later, are offline within the deadline; the others are told as they are.
func TestHangingClients(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	c := &config.Config{
		API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second},
		Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Clients: []config.Client{
			sqlite(t, "lite"),
			postgres(t, "stuck", proxy.URI()),
			postgres(t, "silent", "postgres://app:canary-5d1@"+silent(t)+"/db?sslmode=disable"),
		},
	}
	url := serve(t, c).url
	states := func() (int, any, map[string]string) {
		status, body := statusOf(t, url+"/health/cluster")
		found := map[string]string{}
		for _, entry := range body["clients"].([]any) {
			client := entry.(map[string]any)
			found[client["client"].(string)] = fmt.Sprint(client["status"], " ", client["latency_ms"] != nil)
			if client["status"] == "offline" && client["error"] == nil {
				t.Errorf("nothing says why: %v", client)
			}
		}
		return status, body["status"], found
	}
	status, says, found := states()
	if status != 200 || says != "degraded" || found["lite"] != "online true" || found["stuck"] != "online true" || found["silent"] != "offline false" {
		t.Errorf("before: %d %v %v", status, says, found)
	}
	if got := reasons(t, url); got != "200 ready <nil>" {
		t.Errorf("/ready: %s", got)
	}
	proxy.Freeze()
	status, says, found = states()
	if status != 200 || says != "degraded" || found["lite"] != "online true" || found["stuck"] != "offline false" || found["silent"] != "offline false" {
		t.Errorf("while one hangs: %d %v %v", status, says, found)
	}
	proxy.Thaw()
}

// TestNoClientAvailable: a gateway whose only database is away gets no requests, and is
// not restarted for that.
func TestNoClientAvailable(t *testing.T) {
	t.Parallel()
	url := serve(t, &config.Config{
		API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second},
		Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Clients: []config.Client{postgres(t, "silent", "postgres://app@"+silent(t)+"/db?sslmode=disable")},
	}).url
	if got := reasons(t, url); got != "503 unavailable [no_client_available]" {
		t.Errorf("/ready: %s", got)
	}
	if status, body := statusOf(t, url+"/livez"); status != 200 || body["status"] != "ok" {
		t.Errorf("/livez: %d %v", status, body)
	}
	if status, body := statusOf(t, url+"/health"); status != 200 || body["status"] != "degraded" {
		t.Errorf("/health: %d %v", status, body)
	}
	if status, _ := statusOf(t, url+"/health/cluster"); status != 503 {
		t.Errorf("/health/cluster: %d", status)
	}
}

// TestShutdownDelay: a gateway that is told to end says so at once and serves on, new
// connections too, until the delay is over; here until nobody wants to wait any longer.
func TestShutdownDelay(t *testing.T) {
	c := &config.Config{
		API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second, ShutdownDelay: time.Hour},
		Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Ledger:  config.Ledger{URI: "sqlite://" + filepath.Join(t.TempDir(), "ledger.db")},
		Clients: []config.Client{sqlite(t, "lite")},
	}
	g, err := Open(t.Context(), c, Options{Logger: hclog.NewNullLogger(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	address, err := g.Listen()
	if err != nil {
		t.Fatal(err)
	}
	served, closed := make(chan error, 1), make(chan error, 1)
	go func() { served <- g.Serve() }()
	url := "http://" + address.String()
	if got := reasons(t, url); got != "200 ready <nil>" {
		t.Errorf("/ready before: %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { closed <- g.Close(ctx) }()
	for end := time.Now().Add(30 * time.Second); ; {
		if got := reasons(t, url); got == "503 unavailable [shutting_down]" {
			break
		} else if got != "200 ready <nil>" || time.Now().After(end) {
			t.Fatalf("/ready while it ends: %s", got)
		}
	}
	if status, body := statusOf(t, url+"/health"); status != 503 || fmt.Sprint(body["obstacles"]) != "[shutting_down]" {
		t.Errorf("/health: %d %v", status, body)
	}
	if status, _ := statusOf(t, url+"/livez"); status != 200 {
		t.Errorf("/livez: %d", status)
	}
	if status, body := statusOf(t, url+"/health/cluster"); status != 200 || body["status"] != "ok" {
		t.Errorf("its clients are gone too early: %d %v", status, body)
	}
	cancel()
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if conn, err := net.Dial("tcp", address.String()); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
}

// TestNamesInHealth: once keys are asked for, /health and /metrics show names to operators and to
// keys for all clients alone, and until then to everybody but web pages of other sites. Operators
// and such keys are shown them under any host name.
func TestNamesInHealth(t *testing.T) {
	const admin = config.Secret("0123456789abcdef")
	for _, mode := range []struct{ enforced, open, elsewhere bool }{{}, {open: true}, {elsewhere: true}, {enforced: true}} {
		s := serve(t, &config.Config{
			API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second, AdminKey: admin, EnforceAPIKeys: mode.enforced, AllowOpen: mode.open},
			Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
			Clients: []config.Client{sqlite(t, "internal-name")},
		})
		key := func(name string, client *string) string {
			text, _, err := s.keys.CreateKey(t.Context(), &ledger.Audit{Actor: "test", Action: "test"}, auth.Spec{Name: name, Client: client, Active: true})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if mode.elsewhere {
			if _, err := s.keys.EnforceClient(t.Context(), &ledger.Audit{Actor: "test", Action: "test"}, "another", true); err != nil {
				t.Fatal(err)
			}
		}
		bound := "internal-name"
		s.request(t, "POST", "/gateway/fetch", "{}", "X-Athena-Client", bound, "X-Athena-Key", string(admin)) // makes metrics of the client
		for _, test := range []struct {
			who     string
			headers []string
			sees    bool
		}{
			{"nobody", nil, !mode.enforced},
			{"a wrong key", []string{"X-Athena-Key", "ath_0123456789abcdef.0123456789abcdef0123456789abcdef"}, !mode.enforced},
			{"a key of one client", []string{"X-Athena-Key", key("bound", &bound)}, !mode.enforced},
			{"a key", []string{"Authorization", "Bearer " + key("free", nil)}, true},
			{"an operator", []string{"Authorization", "Bearer " + string(admin)}, true},
			{"a page of another name", []string{"Host", "evil.example"}, mode.open},
			{"a page of another site", []string{"Origin", "http://evil.example"}, mode.open},
			{"a guess at the admin key", []string{"Host", "evil.example", "X-Athena-Key", "a guess"}, mode.open},
			{"an operator by a name", []string{"Host", "host.docker.internal:4052", "X-Athena-Key", string(admin)}, true},
			{"an operator's page of another site", []string{"Origin", "http://evil.example", "X-Athena-Key", string(admin)}, true},
			{"a key by a name", []string{"Host", "host.docker.internal:4052", "Authorization", "Bearer " + key("named", nil)}, true},
			{"a key of one client by a name", []string{"Host", "host.docker.internal:4052", "apikey", key("bound by a name", &bound)}, mode.open},
			{"a program at the address", []string{"Host", "192.0.2.1:4052"}, !mode.enforced},
		} {
			for path, always := range map[string]string{"/health": `"total":1`, "/health/cluster": `"total":1`, "/metrics": "\nathena_http_requests_total{"} {
				a := s.request(t, "GET", path, "", test.headers...)
				if a.status != 200 || strings.Contains(a.body, bound) != test.sees || !strings.Contains(a.body, always) {
					t.Errorf("%+v: %s tells %s: %d %s", mode, path, test.who, a.status, a.body)
				}
				if path == "/metrics" && strings.Contains(a.body, `="sqlite"`) != test.sees {
					t.Errorf("%+v: %s tells %s of plugins: %s", mode, path, test.who, a.body)
				}
			}
		}
	}
}

// TestGuessesAtNames: where /health and /metrics show names to the admin key and not to everybody, a
// wrong one is a guess, once, and nothing is one where everybody is shown them.
func TestGuessesAtNames(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := newStorefront(t, uri, func(c *config.Config) { c.API.HealthTimeout = time.Minute })
		inactive := s.newKey(`{"name":"inactive","is_active":false}`)
		refused := func() int64 {
			if err := s.keys.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			return ledgertest.Count(t, s.ledger, "SELECT coalesce(sum(attempts), 0) FROM api_key_auth_log WHERE failure_reason IS NOT NULL")
		}
		for _, setting := range []string{"nobody asks", "another client asks", "the gateway asks"} {
			switch setting {
			case "another client asks":
				s.admin("PUT", "/admin/api-key-clients/broken", `{"enforce_api_keys":true}`)
			case "the gateway asks":
				s.admin("PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`)
			}
			for _, test := range []struct {
				host, key string
				counts    bool
			}{
				{"localhost", "", false},
				{"localhost", "a guess", setting == "the gateway asks"},
				{"gateway.example", "", false},
				{"gateway.example", "a guess", true},
				{"gateway.example", inactive, true},
				{"gateway.example", testAdminKey, false},
			} {
				for _, path := range []string{"/health", "/health/cluster", "/metrics"} {
					before, want := refused(), int64(0)
					if test.counts {
						want = 1
					}
					if a := s.ask("GET", path, "", "Host", test.host, "apikey", test.key); a.status != 200 {
						t.Errorf("%s, %s: %d %s", setting, path, a.status, a.body)
					}
					if n := refused() - before; n != want {
						t.Errorf("%s: %s of %s with %q counts %d times, want %d", setting, path, test.host, test.key, n, want)
					}
				}
			}
		}
	})
}

// TestStoppedClients: who was stopped by an operator is shown so, is not asked, and is no
// failure.
func TestStoppedClients(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		s := serve(t, &config.Config{
			API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second},
			Ledger:  config.Ledger{URI: ledgerURI},
			Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
			Clients: []config.Client{sqlite(t, "lite")},
		})
		url := s.url
		states := func(paused bool) {
			t.Helper()
			want := map[bool][3]string{false: {"available", "online", "0"}, true: {"frozen", "frozen", "1"}}[paused]
			_, health := statusOf(t, url+"/health")
			clients := health["clients"].(map[string]any)
			state := clients["list"].([]any)[0].(map[string]any)["state"]
			status, cluster := statusOf(t, url+"/health/cluster")
			probed := cluster["clients"].([]any)[0].(map[string]any)["status"]
			if health["status"] != "ok" || state != want[0] || fmt.Sprint(clients["paused"]) != want[2] || status != 200 || probed != want[1] {
				t.Errorf("%v\n%d %v", health, status, cluster)
			}
			if got := reasons(t, url); got != "200 ready <nil>" {
				t.Errorf("/ready: %s", got)
			}
		}
		states(false)
		for _, frozen := range []bool{true, false} {
			if _, err := s.registry.SetFrozen(t.Context(), &ledger.Audit{Actor: "test", Action: "test"}, "lite", frozen); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool {
				client, err := s.registry.Client("lite")
				return err == nil && client.Status().Available != frozen
			})
			states(frozen)
		}
	})
}

// TestReadyWithoutLedger: a gateway that has never read its ledger gets no requests; one whose
// ledger goes away later serves on and says so.
func TestReadyWithoutLedger(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	proxy.Refuse()
	s := serve(t, &config.Config{
		API:     config.API{Host: "127.0.0.1", HealthTimeout: time.Second, AdminKey: "0123456789abcdef"},
		Ledger:  config.Ledger{URI: proxy.URI()},
		Plugins: config.Plugins{Dir: testenv.BuildPlugins(t), Verify: "dev"},
		Clients: []config.Client{sqlite(t, "lite")},
	})
	url := s.url
	ledgerIs := func() (int, any, any) {
		status, health := statusOf(t, url+"/health")
		return status, health["status"], health["ledger"].(map[string]any)["state"]
	}
	if got := reasons(t, url); !strings.HasPrefix(got, "503 unavailable [ledger_unavailable") {
		t.Errorf("/ready at first: %s", got)
	}
	if status, says, state := ledgerIs(); status != 503 || says != "degraded" || state != "starting" {
		t.Errorf("/health at first: %d %v %v", status, says, state)
	}
	for key, sees := range map[string]bool{"0123456789abcdef": true, "a guess": false, "": false} {
		if a := s.request(t, "GET", "/health", "", "X-Athena-Key", key); strings.Contains(a.body, `"name":"sqlite"`) != sees {
			t.Errorf("/health at first with the key %q: %s", key, a.body)
		}
	}
	if status, _ := statusOf(t, url+"/livez"); status != 200 {
		t.Errorf("/livez: %d", status)
	}
	proxy.Accept(t)
	until(t, func() bool { return reasons(t, url) == "200 ready <nil>" })
	if status, says, state := ledgerIs(); status != 200 || says != "ok" || state != "ready" {
		t.Errorf("/health: %d %v %v", status, says, state)
	}
	proxy.Refuse()
	proxy.CutAll()
	until(t, func() bool { _, _, state := ledgerIs(); return state == "unavailable" })
	if status, says, _ := ledgerIs(); status != 200 || says != "degraded" {
		t.Errorf("/health without the ledger: %d %v", status, says)
	}
	if got := reasons(t, url); got != "200 ready <nil>" {
		t.Errorf("/ready without the ledger: %s", got)
	}
	proxy.Accept(t)
	until(t, func() bool { _, _, state := ledgerIs(); return state == "ready" })
}
