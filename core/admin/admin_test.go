package admin

import (
	"context"
	"encoding/json"
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
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const testKey = "0123456789abcdef"

// server is the routes over a host, on a real listener.
type server struct {
	host *pluginhost.Host
	url  string
}

func serve(t *testing.T, o pluginhost.Options, logger hclog.Logger) *server {
	t.Helper()
	return serveWith(t, o, auth.New(auth.Options{AdminKey: testKey}), func(host *pluginhost.Host) []httpx.Route {
		return New(Options{Host: host, Logger: logger}).Routes()
	})
}

func serveWith(t *testing.T, o pluginhost.Options, keys *auth.Keyring, routes func(*pluginhost.Host) []httpx.Route) *server {
	t.Helper()
	host, err := pluginhost.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h, err := httpx.New(httpx.Options{Routes: routes(host), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for what, err := range map[string]error{"Shutdown": h.Shutdown(ctx), "Serve": <-served, "Close": host.Close(ctx)} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	return &server{host, "http://" + ln.Addr().String()}
}

// call sends a request with the admin key.
func (s *server) call(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Athena-Key", testKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestMistakes: what cannot be done says why, and what was tried is in the log.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	script(t, filepath.Join(dir, "crashing"), "echo cannot find libexample.so >&2; exit 3")
	if err := os.WriteFile(filepath.Join(dir, "notes"), []byte("just text"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log testenv.Output
	s := serve(t, pluginhost.Options{Dir: dir}, hclog.New(&hclog.LoggerOptions{Output: &log}))
	for _, test := range []struct {
		method, path, body string
		status             int
		says               []string
	}{
		{"GET", "/admin/plugins/crahsing", "", 404, []string{"unknown_plugin", `did you mean \"crashing\"?`}},
		{"GET", "/admin/plugins/zebra/logs", "", 404, []string{"unknown_plugin", "/admin/plugins/reload"}},
		{"POST", "/admin/plugins/zebra/restart", "", 404, []string{"unknown_plugin"}},
		{"POST", "/admin/plugins/zebra/release", "", 404, []string{"unknown_plugin"}},
		{"POST", "/admin/plugins/zebra/log-level", `{"level":"debug"}`, 404, []string{"unknown_plugin"}},
		{"POST", "/admin/plugins/a%2Fb%0Ac/restart", "", 404, []string{"unknown_plugin"}},
		{"POST", "/admin/plugins/crashing/restart", "", 503, []string{"exited with code 3 before it was ready", "/admin/plugins/crashing/logs"}},
		{"POST", "/admin/plugins/notes/restart", "", 503, []string{"plugin_rejected", "neither a program nor a script"}},
		{"POST", "/admin/plugins/notes/release", "", 503, []string{"plugin_rejected"}},
		{"POST", "/admin/plugins/crashing/restart", `{"force":true}`, 400, []string{"invalid_body", `"force":"unknown field"`}},
		{"POST", "/admin/plugins/reload", `[]`, 400, []string{"invalid_json"}},
		{"POST", "/admin/plugins/reload", `{"a":`, 400, []string{"invalid_json"}},
		{"POST", "/admin/plugins/crashing/log-level", ``, 400, []string{"invalid_body", `"level":"want one of trace, debug, info, warn, error"`}},
		{"POST", "/admin/plugins/crashing/log-level", `{"level":"debgu"}`, 400, []string{`did you mean \"debug\"?`}},
		{"POST", "/admin/plugins/crashing/log-level", `{"level":7}`, 400, []string{"want one of"}},
		{"POST", "/admin/plugins/crashing/log-level", `{"level":"off"}`, 400, []string{"want one of"}},
		{"GET", "/admin/plugins/crashing/logs?lines=0", "", 400, []string{"invalid_lines"}},
		{"GET", "/admin/plugins/crashing/logs?lines=1", "", 200, []string{`"lines":["cannot find libexample.so"]`, "1 line"}},
		{"GET", "/admin/plugins/crashing", "", 200, []string{`"state":"backoff"`, `"retry_at":"`, `"failures":1`, `"last_error":"plugin \"crashing\" exited with code 3`}},
		{"POST", "/admin/plugins/crashing/release", "{}", 200, []string{`"state":"discovered"`, "was backoff"}},
		{"GET", "/admin/plugins/notes", "", 200, []string{`"state":"rejected"`, "neither a program"}},
	} {
		status, answer := s.call(t, test.method, test.path, test.body)
		if status != test.status {
			t.Errorf("%s %s %s: %d, want %d: %s", test.method, test.path, test.body, status, test.status, answer)
		}
		for _, text := range test.says {
			if !strings.Contains(answer, text) {
				t.Errorf("%s %s %s lacks %q: %s", test.method, test.path, test.body, text, answer)
			}
		}
	}
	text := log.String()
	if n := strings.Count(text, "an operator's request"); n != 15 || n != strings.Count(text, "\n") || strings.Count(text, "with the admin key") != n {
		t.Errorf("%d requests are in the log, of 15:\n%s", n, text)
	}
	for _, want := range []string{`what="POST /admin/plugins/crashing/restart" outcome="failed: plugin_start_failed: `, `what="POST /admin/plugins/crashing/release" outcome=done`, `who="127.0.0.1:`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
}

// TestReload tells what has changed in the directory.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, pluginhost.Options{Dir: dir}, hclog.NewNullLogger())
	reload := func(want string) {
		t.Helper()
		status, answer := s.call(t, "POST", "/admin/plugins/reload", "")
		var said struct {
			Message string
			Data    struct{ Plugins []plugin }
		}
		if err := json.Unmarshal([]byte(answer), &said); status != 200 || err != nil || said.Message != want {
			t.Errorf("%d %s (%v), want %s", status, answer, err, want)
		}
	}
	reload("0 plugins in the directory")
	script(t, filepath.Join(dir, "alpha"), "exit 1")
	script(t, filepath.Join(dir, "beta"), "exit 1")
	s.host.Discover() // as the watch of the directory does, it sees them first
	script(t, filepath.Join(dir, "gamma"), "exit 1")
	reload("3 plugins in the directory; added: gamma")
	script(t, filepath.Join(dir, "beta"), "exit 22")
	if err := os.Remove(filepath.Join(dir, "alpha")); err != nil {
		t.Fatal(err)
	}
	reload("2 plugins in the directory; changed: beta; removed: alpha")
	reload("2 plugins in the directory")
}

// TestDescribe: what is unknown is absent, what is told is readable.
func TestDescribe(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("", 3600))
	for _, test := range []struct {
		status pluginhost.Status
		want   string
	}{
		{pluginhost.Status{Name: "a", State: pluginhost.Discovered},
			`{"name":"a","state":"discovered","instances":[],"calls":0,"waiting":0,"restarts":0,"failures":0,"finishing":0,"logs_lost":0}`},
		{pluginhost.Status{Name: "b", State: pluginhost.Backoff, RetryAt: at, LastError: "gone", Failures: 2, Warning: "who?", NotInUse: "no",
			Limits:    pluginhost.Limits{Memory: 64, OpenFiles: 9},
			Instances: []pluginhost.InstanceStatus{{Name: "c", Error: "closed"}},
			Exit:      &pluginhost.Exit{Time: at, Uptime: 1500 * time.Millisecond, Code: 0, Why: "it ended"}},
			`{"name":"b","state":"backoff","instances":[{"client":"c","open":false,"error":"closed"}],"calls":0,"waiting":0,"restarts":0,"failures":2,` +
				`"retry_at":"2026-01-02T02:04:05.678Z","last_error":"gone","not_in_use":"no","finishing":0,` +
				`"exit":{"time":"2026-01-02T02:04:05.678Z","uptime_seconds":1.5,"code":0,"out_of_memory":false,"killed_by_gateway":false,"why":"it ended",` +
				`"report":"plugin b exited with code 0","output":[]},"logs_lost":0,"limits":{"memory_bytes":64,"open_files":9},"warning":"who?"}`},
		{pluginhost.Status{Name: "d", State: pluginhost.Ready, PID: 7, Started: at, CPU: .12345, Memory: 5,
			Exit:         &pluginhost.Exit{Time: at, Code: -1, Signal: "killed", Killed: true, Why: "no heartbeat", Output: []string{"x"}},
			Capabilities: &sdk.Capabilities{Verbs: []sdk.Verb{sdk.Select, sdk.SQL}, Operators: []sdk.Operator{sdk.Eq}, JSONPaths: true, Ping: true}},
			`{"name":"d","state":"ready","pid":7,"started_at":"2026-01-02T02:04:05.678Z","uptime_seconds":2,"instances":[],"calls":0,"waiting":0,"restarts":0,` +
				`"failures":0,"finishing":0,"exit":{"time":"2026-01-02T02:04:05.678Z","uptime_seconds":0,"signal":"killed","out_of_memory":false,` +
				`"killed_by_gateway":true,"why":"no heartbeat","report":"plugin d was killed by the gateway: no heartbeat","output":["x"]},"logs_lost":0,` +
				`"memory_bytes":5,"cpu_seconds":0.123,"capabilities":{"verbs":["select","sql"],"operators":["eq"],"features":["json_paths","ping"]}}`},
	} {
		got, err := json.Marshal(describe(&test.status, at.Add(2*time.Second)))
		if err != nil || string(got) != test.want {
			t.Errorf("%s (%v)\ngot  %s\nwant %s", test.status.Name, err, got, test.want)
		}
	}
}
