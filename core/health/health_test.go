package health

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's own, which end some seconds after their server or never.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// serve answers with the routes on a real listener and returns the base URL.
func serve(t *testing.T, o Options) string {
	t.Helper()
	o.Version, o.Started = "4.0.0-test", time.Now()
	var routes []httpx.Route
	o.Routes = func() []httpx.Route { return routes }
	routes = New(o).Routes()
	server, err := httpx.New(httpx.Options{Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { server.Serve(ln) })
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return "http://" + ln.Addr().String()
}

// fixed are Options that answer the same always.
func fixed(ledger Ledger, clients []Client, plugins []Plugin, obstacles ...string) Options {
	return Options{
		Ledger:      func() Ledger { return ledger },
		Clients:     func() []Client { return clients },
		Plugins:     func() []Plugin { return plugins },
		Obstacles:   func() []string { return obstacles },
		PingTimeout: 30 * time.Second,
	}
}

func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if cache := response.Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("%s: Cache-Control is %q", url, cache)
	}
	return response.StatusCode, string(body)
}

const about = `"version":"4.0.0-test","athena_api":"online","athena_deadpool":"offline","athena_scylladb":"offline","cargo_toml_version":"4.0.0-test",`

var (
	working = Ledger{Backend: "sqlite", State: LedgerReady}
	demo    = Client{Name: "demo", Backend: "sqlite", State: Available}
	old     = Client{Name: "old", Backend: "postgres", State: Unavailable, Reason: "connection_refused", Error: "connection refused"}
	cold    = Client{Name: "cold", Backend: "postgres", State: "frozen"}
	sqlite  = Plugin{Name: "sqlite", Version: "1", State: "ready"}
)

// TestStates are the states of the gateway's parts, and what the routes say of them.
func TestStates(t *testing.T) {
	const ready = `{"status":"ready"}`
	for _, test := range []struct {
		name    string
		options Options
		health  int
		says    string // in /health, from uptime_seconds on; "" to leave it
		status  string
		ready   int
		reasons string
	}{
		{"nothing", fixed(working, nil, nil), 200,
			`"ledger":{"backend":"sqlite","state":"ready","queued":0,"dropped":0},"clients":{"total":0,"available":0,"unavailable":0,"paused":0,"list":[]},"plugins":[]}`, "ok", 200, ready},
		{"all well", fixed(working, []Client{demo}, []Plugin{sqlite}), 200,
			`"ledger":{"backend":"sqlite","state":"ready","queued":0,"dropped":0},"clients":{"total":1,"available":1,"unavailable":0,"paused":0,` +
				`"list":[{"name":"demo","backend":"sqlite","state":"available"}]},"plugins":[{"name":"sqlite","version":"1","state":"ready","restarts":0}]}`, "ok", 200, ready},
		{"a client is down", fixed(working, []Client{demo, old}, []Plugin{sqlite}), 200,
			`"ledger":{"backend":"sqlite","state":"ready","queued":0,"dropped":0},"clients":{"total":2,"available":1,"unavailable":1,"paused":0,` +
				`"list":[{"name":"demo","backend":"sqlite","state":"available"},{"name":"old","backend":"postgres","state":"unavailable","reason":"connection_refused","error":"connection refused"}]},` +
				`"plugins":[{"name":"sqlite","version":"1","state":"ready","restarts":0}]}`, "degraded", 200, ready},
		{"every client is down", fixed(working, []Client{old}, nil), 200, "", "degraded", 503, `{"status":"unavailable","reasons":["no_client_available"]}`},
		{"one is frozen", fixed(working, []Client{demo, cold}, nil), 200, "", "ok", 200, ready},
		{"all that are not frozen are down", fixed(working, []Client{cold, old}, nil), 200, "", "degraded", 503, `{"status":"unavailable","reasons":["no_client_available"]}`},
		{"all are frozen", fixed(working, []Client{cold}, nil), 200, "", "ok", 200, ready},
		{"a plugin fails", fixed(working, []Client{demo}, []Plugin{{Name: "sqlite", State: "backoff", Restarts: 3, Error: "it ended", Failing: true}}), 200,
			"", "degraded", 200, ready},
		{"the ledger is away", fixed(Ledger{Backend: "postgres", State: "unavailable", Error: "no route to host", Queued: 7, Dropped: 2}, []Client{demo}, nil), 200,
			`"ledger":{"backend":"postgres","state":"unavailable","error":"no route to host","queued":7,"dropped":2},"clients":{"total":1,"available":1,"unavailable":0,"paused":0,` +
				`"list":[{"name":"demo","backend":"sqlite","state":"available"}]},"plugins":[]}`, "degraded", 200, ready},
		{"it ends", fixed(working, []Client{demo}, nil, "shutting_down"), 503, "", "degraded", 503, `{"status":"unavailable","reasons":["shutting_down"]}`},
		{"it ends without clients", fixed(working, []Client{old}, nil, "ledger_unavailable", "shutting_down"), 503, "", "degraded", 503,
			`{"status":"unavailable","reasons":["ledger_unavailable","shutting_down","no_client_available"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			url := serve(t, test.options)
			status, body := get(t, url+"/health")
			begins := `{"status":"` + test.status + `","message":"athena is online",` + about + `"uptime_seconds":`
			if status != test.health || !strings.HasPrefix(body, begins) || !strings.HasSuffix(body, test.says) {
				t.Errorf("/health: %d %s\nwant %d %s0,%s", status, body, test.health, begins, test.says)
			}
			if obstacles := strings.Contains(body, `"obstacles":[`); obstacles != (test.health == 503) {
				t.Errorf("/health: %s", body)
			}
			for _, path := range []string{"/ready", "/readyz", "/db/ready"} {
				if status, body := get(t, url+path); status != test.ready || body != test.reasons {
					t.Errorf("%s: %d %s, want %d %s", path, status, body, test.ready, test.reasons)
				}
				if status := head(t, url+path); status != test.ready {
					t.Errorf("HEAD %s: %d", path, status)
				}
			}
			if status, body := get(t, url+"/livez"); status != 200 || body != `{"status":"ok"}` {
				t.Errorf("/livez: %d %s", status, body)
			}
			if status := head(t, url+"/livez"); status != 200 {
				t.Errorf("HEAD /livez: %d", status)
			}
		})
	}
}

func head(t *testing.T, url string) int {
	t.Helper()
	response, err := http.Head(url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestRoot(t *testing.T) {
	url := serve(t, fixed(working, nil, nil))
	want := `{"status":"success","message":"athena is online",` + about[:len(about)-1] + `,"routes":[{"path":"/","methods":["GET"],"summary":"`
	for _, path := range []string{"/", "/db/"} {
		if status, body := get(t, url+path); status != 200 || !strings.HasPrefix(body, want) || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := get(t, url+"/ping"); status != 200 || body != "pong" {
		t.Errorf("/ping: %d %s", status, body)
	}
}

// TestCluster: each client is asked except for those that an operator has stopped.
func TestCluster(t *testing.T) {
	const one = `{"client":"demo","backend":"sqlite","status":"online","available":true,"latency_ms":…}`
	const dead = `{"client":"old","backend":"postgres","status":"offline","available":false,"latency_ms":null,"error":"connection refused"}`
	const paused = `{"client":"cold","backend":"postgres","status":"frozen","available":false,"latency_ms":null}`
	for _, test := range []struct {
		name           string
		clients        []Client
		status         int
		says, message  string
		summary, lists string
	}{
		{"none", nil, 200, "ok", "athena is online", `{"total":0,"online":0,"offline":0,"paused":0}`, ``},
		{"all", []Client{demo}, 200, "ok", "athena is online", `{"total":1,"online":1,"offline":0,"paused":0}`, one},
		{"some", []Client{demo, old, cold}, 200, "degraded", "some clients do not answer", `{"total":3,"online":1,"offline":1,"paused":1}`, one + "," + dead + "," + paused},
		{"frozen", []Client{cold}, 200, "ok", "athena is online", `{"total":1,"online":0,"offline":0,"paused":1}`, paused},
		{"none answers", []Client{cold, old}, 503, "error", "no client answers", `{"total":2,"online":0,"offline":1,"paused":1}`, paused + "," + dead},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := fixed(working, test.clients, nil)
			o.Ping = func(_ context.Context, client string) error {
				switch client {
				case "demo":
					return nil
				case "old":
					return sdk.E(sdk.Unavailable, "connection_refused", "connection refused")
				}
				t.Errorf("%s was asked", client)
				return nil
			}
			status, body := get(t, serve(t, o)+"/health/cluster")
			want := `{"status":"` + test.says + `","message":"` + test.message + `",` + about + `"summary":` + test.summary + `,"clients":[` + test.lists + `],"mirrors":[]}`
			if status != test.status || !alike(want, body) {
				t.Errorf("%d %s\nwant %d %s", status, body, test.status, want)
			}
		})
	}
}

// alike compares texts; … in want stands for whatever is there before the next brace.
func alike(want, got string) bool {
	for {
		before, after, more := strings.Cut(want, "…")
		rest, ok := strings.CutPrefix(got, before)
		if !ok || !more {
			return ok && rest == ""
		}
		want, got = after, rest[max(0, strings.IndexByte(rest, '}')):]
	}
}

// TestHangingDatabase: one that never answers costs the deadline and hides no other.
func TestHangingDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := fixed(working, []Client{demo, old}, nil)
		o.Ping = func(ctx context.Context, client string) error {
			if client == "demo" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		probes, err := New(o).probe(t.Context())
		if err != nil || time.Since(began) != o.PingTimeout {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		if probes[0].Status != online || *probes[0].LatencyMS != 0 || probes[1].Status != offline || probes[1].LatencyMS != nil || probes[1].Error != "no answer within 30s" {
			t.Errorf("%+v", probes)
		}
	})
}

// TestSharedProbes: whoever asks while the databases are being asked gets that answer, also
// when the one who asked first has left.
func TestSharedProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := fixed(working, []Client{demo}, nil)
		asked, answer := 0, make(chan struct{})
		o.Ping = func(ctx context.Context, _ string) error {
			asked++
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		a := New(o)
		left := errors.New("the first has left")
		first, leave := context.WithCancelCause(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := a.probe(first); err != left {
				t.Errorf("the first got %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			all.Go(func() {
				if probes, err := a.probe(t.Context()); err != nil || len(probes) != 1 || probes[0].Status != online {
					t.Errorf("%v, %v", probes, err)
				}
			})
		}
		synctest.Wait() // all of them wait
		leave(left)
		close(answer)
		all.Wait()
		if asked != 1 {
			t.Errorf("the database was asked %d times", asked)
		}
		if _, err := a.probe(t.Context()); err != nil || asked != 2 {
			t.Errorf("%v; a later caller was told what was true before", err)
		}
	})
}

// TestAnonymous: names and reasons are for those who may see them.
func TestAnonymous(t *testing.T) {
	o := fixed(Ledger{Backend: "postgres", State: "unavailable", Error: "secret reason"}, []Client{{Name: "secret", Backend: "secret", State: Unavailable, Reason: "secret", Error: "secret"}},
		[]Plugin{{Name: "secret", State: "ready"}})
	o.Ping = func(context.Context, string) error { return sdk.E(sdk.Unavailable, "x", "secret") }
	o.Reveals = func(r *httpx.Request) bool { return r.Header("X-Test") == "known" }
	url := serve(t, o)
	for path, want := range map[string]string{
		"/health":         `"ledger":{"backend":"postgres","state":"unavailable","queued":0,"dropped":0},"clients":{"total":1,"available":0,"unavailable":1,"paused":0}}`,
		"/health/cluster": `"summary":{"total":1,"online":0,"offline":1,"paused":0},"mirrors":[]}`,
		"/ready":          `{"status":"unavailable","reasons":["no_client_available"]}`,
	} {
		if _, body := get(t, url+path); strings.Contains(body, "secret") || !strings.HasSuffix(body, want) {
			t.Errorf("%s tells anybody %s, want ...%s", path, body, want)
		}
		if _, body := get(t, url+path, "X-Test", "known"); path != "/ready" && strings.Count(body, "secret") < 2 {
			t.Errorf("%s tells those who may know only %s", path, body)
		}
	}
}
