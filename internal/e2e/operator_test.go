//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// TestRefusedStarts makes the mistakes that keep the gateway from starting. The message is
// one that a new operator can act upon, and comes at once.
func TestRefusedStarts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	const lite = "clients: {lite: {backend: sqlite, config: {path: lite.db, sample: true}}}\n"
	for _, test := range []struct {
		name, config string
		env, args    []string
		code         int
		says         []string
	}{
		{"port in use", lite, nil, []string{"--port", port}, 2, []string{port, "in use", "--port"}},
		{"unknown key", "api: {prot: 4052}\n" + lite, nil, nil, 2, []string{"config.yaml", "api.prot", "did you mean", "api.port"}},
		{"unknown section", "client: {}\n", nil, nil, 2, []string{"did you mean", "clients"}},
		{"unknown variable", lite, []string{"ATHENA_API__PROT=1"}, nil, 2, []string{"ATHENA_API__PROT", "ATHENA_API__PORT"}},
		{"not YAML", "api: {port: 1\n", nil, nil, 2, []string{"config.yaml", "line"}},
		{"wrong value", "gateway: {resilience_timeout_secs: soon}\n", nil, nil, 2, []string{"gateway.resilience_timeout_secs", "whole number"}},
		{"open to others", "api: {host: 0.0.0.0}\n" + lite, nil, nil, 2, []string{"0.0.0.0", "127.0.0.1", "allow_open"}},
		{"foreign address", "api: {host: 192.0.2.1, allow_open: true}\n" + lite, nil, nil, 2, []string{"192.0.2.1", "api.host"}},
		{"no plugins", lite, []string{"ATHENA_PLUGINS_DIR=/nowhere/plugins"}, nil, 1, []string{"/nowhere/plugins", "make build", "plugins.dir"}},
		{"no file", "", nil, []string{"--config", "/nowhere/config.yaml"}, 2, []string{"/nowhere/config.yaml", "--config"}},
		{"unknown flag", "", nil, []string{"--prot", "1"}, 2, []string{"--prot", "--help"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := launch(t, test.config, test.env, append([]string{"server"}, test.args...)...)
			if code := g.wait(t); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			lines := strings.Split(strings.TrimSpace(g.stderr.String()), "\n")
			contains(t, "the message", strings.Join(lines[max(0, len(lines)-2):], "\n"), test.says...)
			if left := g.runDirs(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestMistakenClients configures clients that cannot work beside two that can: these
// serve, each of the others says what to do, and no secret is told.
func TestMistakenClients(t *testing.T) {
	t.Parallel()
	const canary = "canary-9d41c7"
	uri := withPassword(t, testenv.Database(t), canary)
	lite, _ := makeSQLite(t, "CREATE TABLE items (id INTEGER PRIMARY KEY)")
	refusing := refusePasswords(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plugins := copyPlugins(t)
	script(t, plugins, "crashing", "echo cannot find libexample.so >&2; exit 3")
	script(t, plugins, "chatty", "echo Hello, I am a plugin; sleep 1")
	if err := os.WriteFile(filepath.Join(plugins, "notes.txt"), []byte("notes"), 0o644); err != nil {
		t.Fatal(err)
	}

	broken := []struct {
		name, definition string
		says             []string // in the log or in /health
	}{
		{"closed", fmt.Sprintf("{backend: postgres, config: {uri: 'postgres://app:%s@%s/db?sslmode=disable'}}", canary, closed.Addr()),
			[]string{closed.Addr().String(), "check that PostgreSQL runs"}},
		{"password", fmt.Sprintf("{backend: postgres, config: {uri: 'postgres://app:%s@%s/db?sslmode=disable'}}", canary, refusing),
			[]string{refusing, "password authentication failed", "check user and password"}},
		{"nodatabase", fmt.Sprintf("{backend: postgres, config: {uri: %q}}", withDatabase(t, uri, "athena_nowhere")),
			[]string{`database "athena_nowhere" does not exist`, "create that database"}},
		{"nouri", "{backend: postgres, config: {uri: 'psql:" + canary + "'}}", []string{"postgres://user:password@host:5432/database"}},
		{"unset", "{backend: postgres, config: {uri: '${E2E_NOT_SET}'}}", []string{"E2E_NOT_SET"}},
		{"misspelt", fmt.Sprintf("{backend: postgres, config: {url: 'postgres://app:%s@h/d'}}", canary), []string{"url", "uri"}},
		{"nobackend", "{backend: postgers, config: {uri: 'postgres://h/d'}}", []string{`did you mean "postgres"`}},
		{"nofile", "{backend: sqlite, config: {path: nowhere.db}}", []string{"nowhere.db", "sample: true"}},
		{"crash", "{backend: crashing, config: {token: " + canary + "}}", []string{"crashing", "exited with code 3", "cannot find libexample.so"}},
		{"chat", "{backend: chatty}", []string{"chatty", "Hello, I am a plugin", "stdout"}},
		{"notes", "{backend: notes.txt}", []string{"notes.txt", "chmod +x"}},
	}
	config := fmt.Sprintf("plugins: {dir: %q}\nclients:\n  pg: {backend: postgres, config: {uri: '${E2E_URI}'}}\n"+
		"  lite: {backend: sqlite, config: {path: %q}}\n", plugins, lite)
	for _, client := range broken {
		config += "  " + client.name + ": " + client.definition + "\n"
	}
	began := time.Now()
	g := start(t, config, "E2E_URI="+uri, "ATHENA_PLUGINS_DIR=")
	t.Logf("serves after %s", time.Since(began))

	var told strings.Builder
	tell := func(a *reply) *reply {
		fmt.Fprintln(&told, a.status, a.header, string(a.body))
		return a
	}
	for _, client := range []string{"pg", "lite"} {
		tell(g.query(t, client, "SELECT 1 AS one")).is(t, 200, `{"data": [{"one": 1}]}`)
		tell(g.query(t, client, "SELECT nothing")).is(t, 400, `{"status": "error"}`)
	}
	health := tell(g.ask(t, request{method: "GET", path: "/health"}))
	states := map[string]any{}
	for _, entry := range health.value(t, "clients", "list").([]any) {
		states[entry.(map[string]any)["name"].(string)] = entry
	}
	for _, client := range broken {
		t.Run(client.name, func(t *testing.T) {
			state, _ := states[client.name].(map[string]any)
			if state["state"] != "unavailable" {
				t.Errorf("/health shows %v", state)
			}
			// The line of the log that names the client, and the plugin's own words.
			var lines []string
			for line := range strings.Lines(g.stderr.String()) {
				if strings.Contains(line, "client="+client.name+" ") || strings.Contains(line, "said: ") {
					lines = append(lines, line)
				}
			}
			contains(t, "the log with /health", fmt.Sprint(state["error"])+"\n"+strings.Join(lines, ""), client.says...)
			a := tell(g.query(t, client.name, "SELECT 1"))
			a.is(t, 503, `{"status": "error"}`)
			contains(t, "the answer", string(a.body), client.name)
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	cluster := tell(g.ask(t, request{method: "GET", path: "/health/cluster"}))
	if cluster.status != 200 {
		t.Errorf("/health/cluster answered %d while two clients serve", cluster.status)
	}
	tell(g.ask(t, request{method: "GET", path: "/metrics"}))
	contains(t, "/metrics", told.String(), `athena_client_available{backend="postgres",client="pg"} 1`,
		`athena_client_available{backend="postgres",client="closed"} 0`)

	processes := g.plugins()
	if len(processes) < 2 {
		t.Errorf("plugins: %v", processes)
	}
	for _, p := range processes {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&told, "%s of %s: %s\n", file, p.name, text)
		}
	}
	diag := launch(t, config, []string{"E2E_URI=" + uri}, "diag")
	if code := diag.wait(t); code != 0 {
		t.Errorf("diag: exit code %d", code)
	}
	g.stop(t)
	for what, text := range map[string]string{"an answer or a plugin": told.String(), "stdout": g.stdout.String(),
		"the log": g.stderr.String(), "diag": diag.stdout.String() + diag.stderr.String()} {
		if at := strings.Index(text, canary); at >= 0 {
			t.Errorf("%s tells a secret: ...%s...", what, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// TestDatabaseAppears starts before its database exists.
func TestDatabaseAppears(t *testing.T) {
	t.Parallel()
	admin := openPostgres(t, testenv.Postgres(t))
	name := filepath.Base(tempDir) + "_late"
	uri := withDatabase(t, testenv.Postgres(t), name)
	drop := func() { admin.text(t, fmt.Sprintf("DROP DATABASE IF EXISTS %q WITH (FORCE)", name)) }
	t.Cleanup(drop)
	dir := t.TempDir()
	g := start(t, fmt.Sprintf("clients: {late: {backend: postgres, config: {uri: %q}}, file: {backend: sqlite, config: {path: '%s/late.db'}}}", uri, dir))
	for _, client := range []string{"late", "file"} {
		g.query(t, client, "SELECT 1 AS one").is(t, 503, `{"status": "error", "code": "client_unavailable"}`)
	}
	admin.text(t, fmt.Sprintf("CREATE DATABASE %q", name))
	if err := os.WriteFile(dir+"/late.db", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"late", "file"} {
		took := eventually(t, 20*time.Second, client+" serves", func() bool {
			return g.query(t, client, "SELECT 1 AS one").status == 200
		})
		t.Logf("%s serves %s after its database appeared", client, took)
	}
}
