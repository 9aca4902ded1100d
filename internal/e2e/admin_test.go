//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

const adminKey = "canary-8e20-operators"

// admin is a request for operators, with the key.
func admin(method, path, body string) request {
	return request{method: method, path: "/admin/plugins" + path, body: body, header: []string{"Authorization", "Bearer " + adminKey}}
}

// plugin asks how a plugin is doing.
func (g *gateway) pluginState(t *testing.T, name string) map[string]any {
	t.Helper()
	a := g.ask(t, admin("GET", "/"+name, ""))
	state, ok := a.value(t, "data", "plugin").(map[string]any)
	if a.status != 200 || !ok {
		t.Fatalf("answered %d: %s", a.status, a.body)
	}
	return state
}

// clientState is a client in /health.
func (g *gateway) clientState(t *testing.T, name string) map[string]any {
	t.Helper()
	list, _ := g.ask(t, request{method: "GET", path: "/health"}).value(t, "clients", "list").([]any)
	for _, entry := range list {
		if client, _ := entry.(map[string]any); client["name"] == name {
			return client
		}
	}
	t.Fatalf("/health shows no client %s", name)
	return nil
}

// addProbe puts the plugin of pluginhost's tests into a plugin directory: "log X" as SQL
// makes it log X, "env" answers its environment.
func addProbe(t *testing.T, dir, name string) {
	t.Helper()
	binary, err := buildProbe()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, name), text)
}

// put makes or replaces an executable file at once.
func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new.md", text, 0o755); err != nil { // which is no plugin
		t.Fatal(err)
	}
	if err := os.Rename(path+".new.md", path); err != nil {
		t.Fatal(err)
	}
}

var buildProbe = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs("../../bin/teste2e/probe")
	if err != nil {
		return "", err
	}
	const source = "core/pluginhost/testdata/plugin"
	if _, err := os.Stat("../../" + source + "/main.go"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", path, "./"+source)
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the probe: %w\n%s", err, output)
	}
	return path, nil
})

// TestAdminKey: without the variable the operators' routes are closed, with it they ask for
// the key, and a key that is too easy keeps the gateway from starting.
func TestAdminKey(t *testing.T) {
	t.Parallel()
	closed := start(t, "clients: {}")
	for _, r := range []request{{method: "GET", path: "/admin/plugins"}, admin("GET", "", ""), admin("POST", "/reload", "")} {
		a := closed.ask(t, r)
		a.is(t, 403, `{"status": "error", "code": "admin_disabled"}`)
		contains(t, "the answer", string(a.body), "ATHENA_KEY_12")
	}
	open := start(t, "clients: {}", "ATHENA_KEY_12="+adminKey)
	open.ask(t, request{method: "GET", path: "/admin/plugins"}).is(t, 401, `{"code": "admin_key_required"}`)
	open.ask(t, request{method: "GET", path: "/admin/plugins", header: []string{"apikey", adminKey + "x"}}).is(t, 401, `{"code": "invalid_admin_key"}`)
	a := open.ask(t, request{method: "GET", path: "/admin/plugins", header: []string{"X-Athena-Key", adminKey}})
	a.is(t, 200, `{"status": "success", "message": "2 plugins"}`)
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %s", a.header.Get("Cache-Control"))
	}
	contains(t, "the log", open.stderr.String(), "a request was refused", "code=invalid_admin_key", "remote=127.0.0.1 ")

	for _, test := range []struct{ config, variable, says string }{
		{"clients: {}", "ATHENA_KEY_12=canary-9d41", "16 characters"},
		{"clients: {}", "ATHENA_KEY_12=canary-9d41 canary-9d41", "no header carries"},
		{"plugins: {pass_env: [ATHENA_KEY_12]}", "ATHENA_KEY_12=" + adminKey, "the gateway's own"},
	} {
		g := launch(t, test.config, []string{test.variable}, "server")
		if code := g.wait(t); code != 2 {
			t.Errorf("with %s: exit code %d", test.variable, code)
		}
		contains(t, "the message", g.stderr.String(), "ATHENA_KEY_12", test.says)
		if strings.Contains(g.stderr.String(), "canary") {
			t.Errorf("the message tells the key: %s", &g.stderr)
		}
	}
}

// TestAdminOfPlugins uses the routes on plugins that work, and looks for the key in all that
// the gateway tells.
func TestAdminOfPlugins(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsToRead)
	dir := copyPlugins(t)
	addProbe(t, dir, "probe")
	g := start(t, fmt.Sprintf("plugins: {pass_env: [E2E_PASSED], open_files: 500, limits: {sqlite: {memory_mb: 700}, sqlte: {memory_mb: 1}}}\n"+
		"clients: {db: {backend: sqlite, config: {path: %q}}, probe: {backend: probe}}", path),
		"ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey, "E2E_PASSED=on", "E2E_KEPT=canary")
	var told strings.Builder
	tell := func(r request) *reply {
		a := g.ask(t, r)
		fmt.Fprintln(&told, a.status, a.header, string(a.body))
		return a
	}

	tell(admin("GET", "", "")).is(t, 200, `{"status": "success", "message": "3 plugins"}`)
	sqlite, _ := tell(admin("GET", "/sqlite", "")).value(t, "data", "plugin").(map[string]any)
	if sqlite["state"] != "ready" || sqlite["pid"] == nil || sqlite["memory_bytes"] == nil || sqlite["capabilities"] == nil || sqlite["exit"] != nil ||
		fmt.Sprint(sqlite["limits"]) != "map[memory_bytes:734003200 open_files:500]" || fmt.Sprint(sqlite["instances"]) != "[map[client:db open:true]]" {
		t.Errorf("sqlite: %v", sqlite)
	}
	if state := g.pluginState(t, "postgres"); state["state"] != "discovered" || state["pid"] != nil || state["version"] != nil {
		t.Errorf("postgres: %v", state)
	}
	tell(admin("GET", "/sqlit", "")).is(t, 404, `{"code": "unknown_plugin", "hint": "did you mean \"sqlite\"?"}`)
	contains(t, "the log", g.stderr.String(), "plugins.limits names a plugin that is not there (yet): plugin=sqlte")

	environment := string(g.query(t, "probe", "env").body)
	contains(t, "the plugin's environment", environment, "E2E_PASSED=on")
	if strings.Contains(environment, "ATHENA_KEY") || strings.Contains(environment, "canary") {
		t.Errorf("the plugin's environment: %s", environment)
	}

	// What is below the level does not reach the log, what is above it does.
	level := func(level string) {
		t.Helper()
		a := tell(admin("POST", "/probe/log-level", fmt.Sprintf(`{"level": %q}`, level)))
		if state, _ := a.value(t, "data", "plugin").(map[string]any); a.status != 200 || state["log_level"] != level {
			t.Errorf("answered %d: %s", a.status, a.body)
		}
	}
	tell(admin("POST", "/probe/log-level", `{"level": "loud"}`)).is(t, 400, `{"code": "invalid_body"}`)
	level("error")
	eventually(t, 20*time.Second, "the gateway's own level is as it was", func() bool {
		return strings.Contains(g.stderr.String(), `what="POST /admin/plugins/probe/log-level" outcome=done`)
	})
	g.query(t, "probe", "log a-quiet-line").is(t, 200, `{"status": "success"}`)
	level("debug")
	g.query(t, "probe", "log a-loud-line").is(t, 200, `{"status": "success"}`)
	eventually(t, 20*time.Second, "the line is in the log", func() bool { return strings.Contains(g.stderr.String(), "athena.plugins.probe: a-loud-line") })
	if strings.Contains(g.stderr.String(), "a-quiet-line") {
		t.Error("a line below the level is in the log")
	}
	lines, _ := tell(admin("GET", "/probe/logs?lines=1", "")).value(t, "data", "lines").([]any)
	if len(lines) != 1 || lines[0] != "[INFO] a-loud-line" {
		t.Errorf("the last line is %v", lines)
	}

	g.restartUnderLoad(t, tell)
	metrics := tell(request{method: "GET", path: "/metrics"})
	contains(t, "/metrics", string(metrics.body), `athena_plugin_state{plugin="sqlite",state="ready"} 1`, `athena_plugin_restarts_total{plugin="sqlite"} 3`,
		`athena_plugin_open_instances{plugin="sqlite"} 1`, `athena_plugin_failures{plugin="sqlite"} 0`, `athena_plugin_log_lines_dropped_total{plugin="sqlite"} 0`,
		`athena_plugin_calls{plugin="sqlite"} 0`, `athena_plugin_waiting_calls{plugin="sqlite"} 0`, `athena_plugin_memory_bytes{plugin="sqlite"} `,
		`athena_plugin_cpu_seconds_total{plugin="sqlite"} `, `athena_plugin_finishing_processes{plugin="sqlite"} `, `athena_plugin_state{plugin="postgres",state="discovered"} 1`)
	contains(t, "the log", g.stderr.String(), `what="POST /admin/plugins/sqlite/restart" outcome=done`, `outcome="failed: invalid_body: `, "with the admin key")

	for _, p := range g.plugins() {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
			if err != nil {
				t.Error(err)
			}
			told.Write(text)
		}
	}
	g.stop(t)
	if strings.Contains(told.String()+g.stdout.String()+g.stderr.String(), "canary") {
		t.Error("the gateway or a plugin tells the admin key")
	}
}

// restartUnderLoad restarts the sqlite plugin three times while the client db is read: each
// time another process answers, and no read fails.
func (g *gateway) restartUnderLoad(t *testing.T, tell func(request) *reply) {
	t.Helper()
	stop := make(chan struct{})
	var reads atomic.Int64
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := g.send(request{method: "POST", path: "/gateway/fetch", client: "db", body: `{"table_name": "items", "columns": "name", "limit": 3}`})
				if err != nil || a.status != 200 {
					t.Errorf("a read failed: %v %+v", err, a)
					return
				}
				reads.Add(1)
			}
		})
	}
	pids := map[any]bool{g.pluginState(t, "sqlite")["pid"]: true}
	for range 3 {
		before := reads.Load()
		eventually(t, 20*time.Second, "reads", func() bool { return reads.Load() > before+50 })
		a := tell(admin("POST", "/sqlite/restart", ""))
		a.is(t, 200, `{"status": "success"}`)
		pid := a.value(t, "data", "plugin", "pid")
		if pid == nil || pids[pid] {
			t.Errorf("after the restart the plugin's process is %v, one of %v", pid, pids)
		}
		pids[pid] = true
	}
	close(stop)
	readers.Wait()
}

// lockPlugins writes a plugins.lock that vouches for a plugin with that content.
func lockPlugins(t *testing.T, dir string, sums map[string]string) {
	t.Helper()
	var entries []map[string]string
	for name, sum := range sums {
		entries = append(entries, map[string]string{"name": name, "version": "1", "sha256": sum})
	}
	text, err := json.Marshal(map[string]any{"plugins": entries})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugins.lock"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// builtPlugin is the content of a built plugin.
func builtPlugin(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.BuildPlugins(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
