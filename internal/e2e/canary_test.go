//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// A canary begins and ends with these, so that a part of one is found too. What is between
// them differs and is written otherwise in URLs, JSON and Go.
const canaryHead, canaryTail = "canary-", "-yranac"

func canary(between string) string { return canaryHead + between + canaryTail }

// canaries are what a canary shows of itself in any form: URLs, JSON and Go leave its head and
// tail as they are, base64 has three ways to write them.
func canaries() []string {
	found := []string{canaryHead, canaryTail, strings.ToUpper(canaryHead), strings.ToUpper(canaryTail)}
	for _, text := range []string{canaryHead, canaryTail} {
		for offset := range 3 {
			// Characters that hold bits of its neighbours are left out.
			coded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + text))
			found = append(found, coded[(offset*8+5)/6:(offset+len(text))*8/6])
		}
	}
	return found
}

// tellsCanary fails t if a text tells a part of a canary.
func tellsCanary(t *testing.T, what, text string) {
	t.Helper()
	for _, part := range canaries() {
		if at := strings.Index(text, part); at >= 0 {
			t.Errorf("%s tells a secret (%s): ...%q...", what, part, text[max(0, at-150):min(len(text), at+100)])
			return
		}
	}
}

// TestCanaries puts secrets into every place of a config that can hold one, beside plugins
// that tell what they know in every way they have, and looks for them in all that the
// gateway tells: answers, logs, metrics, exit reports, files, processes.
func TestCanaries(t *testing.T) {
	t.Parallel()
	const special = `9b"&/+=%é\<'~`
	token, password := canary("tok"+special), canary("pw"+special)
	admins := canary("adm1n")
	uri := (&url.URL{Scheme: "proto", User: url.UserPassword("app", password), Host: "db.example", Path: "/d"}).String()
	secretFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secretFile, []byte(canary("file")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := copyPlugins(t)
	for _, name := range []string{"probe", "failing", "crashes", "invalid", "empty"} {
		addProbe(t, dir, name)
	}
	own := testenv.Server(t, testenv.ServerOptions{}).URI("postgres") // it asks for no password, and gets one
	config := map[string]any{
		"log":    map[string]any{"level": "debug"},
		"ledger": map[string]any{"uri": strings.Replace(own, "postgres@", "postgres:"+canary("ledger")+"@", 1)},
		"clients": map[string]any{
			"good":    client("probe", "token", "${E2E_TOKEN}", "uri", uri),
			"failing": client("failing", "token", "${E2E_TOKEN}", "uri", uri, "open", "fail"),
			"crashes": client("crashes", "token", "${E2E_TOKEN}", "uri", uri, "open", "crash"),
			"invalid": client("invalid", "token", token, "uri", uri, "open", canary("enum")),
			"unknown": client("invalid", "tokn", token),
			"file":    client("postgres", "uri", "postgres://app@"+refusePasswords(t)+"/d?sslmode=disable", "password_file", secretFile),
			"refused": client("postgres", "uri", "postgres://app:"+canary("pg")+"@"+refusePasswords(t)+"/d?sslmode=disable"),
			"nouri":   client("postgres", "uri", "psql:"+canary("psql")),
			"nofile":  client("sqlite", "path", "nowhere.db", "key", canary("key")),
		},
	}
	text, err := json.Marshal(config) // which is YAML too
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"ATHENA_PLUGINS_DIR=" + dir, "ATHENA_KEY_12=" + admins, "E2E_TOKEN=" + token, "E2E_OTHER=" + canary("env"),
		"DATABASE_URL=" + uri, "PGPASSWORD=" + canary("pgpassword")}
	g := start(t, string(text), env...)

	ask := func(r request) *reply {
		t.Helper()
		r.header = append(r.header, "X-Athena-Key", admins)
		a, err := g.send(r)
		if a == nil {
			t.Errorf("%s %s: %v", r.method, r.path, err)
			return &reply{}
		}
		tellsCanary(t, fmt.Sprintf("%s %s for %q (%s)", r.method, r.path, r.client, r.body), fmt.Sprintln(a.status, a.header, string(a.body)))
		return a
	}
	told := func(text string) {
		eventually(t, 20*time.Second, "the log says "+text, func() bool { return strings.Contains(g.stderr.String(), text) })
	}
	for _, way := range []string{"log", "stderr", "stdout", "error", "late error", "panic"} {
		ask(sqlRequest("good", "tell "+way))
	}
	a := ask(sqlRequest("good", "tell error"))
	a.is(t, 400, `{"code": "told"}`)
	contains(t, "the error", string(a.body), "refused for proto://app:***@db.example/d")
	told("it is proto://app:***@db.example/d")
	metrics := ask(request{method: "GET", path: "/metrics"})
	contains(t, "/metrics", string(metrics.body), `athena_probe_opened{at="proto://app:***@db.example/d",client="good"} 1`)
	// A plugin's words come with its end, and are reported with it.
	ask(sqlRequest("good", "tell crash"))
	exited := func() bool {
		return ask(request{method: "GET", path: "/admin/plugins/probe"}).value(t, "data", "plugin", "exit") != nil
	}
	eventually(t, 20*time.Second, "the exit report", exited)
	contains(t, "the exit report", string(ask(request{method: "GET", path: "/admin/plugins/probe"}).body), "panic: proto://app:***@db.example/d")

	for _, name := range []string{"probe", "failing", "crashes", "invalid", "empty", "postgres", "sqlite"} {
		for _, r := range []request{{method: "GET", path: ""}, {method: "GET", path: "/logs"}, {method: "POST", path: "/restart"}, {method: "POST", path: "/release"},
			{method: "POST", path: "/log-level", body: `{"level":"trace"}`}} {
			r.path = "/admin/plugins/" + name + r.path
			ask(r)
		}
	}
	for name := range config["clients"].(map[string]any) {
		ask(sqlRequest(name, "SELECT 1"))
		ask(request{method: "POST", path: "/gateway/fetch", client: name, body: `{"table_name": "items"}`})
	}
	routes, _ := parse(t, ask(request{method: "GET", path: "/router/registry"}).body).([]any)
	if len(routes) < 10 {
		t.Errorf("%d routes", len(routes))
	}
	for _, route := range routes {
		path := strings.ReplaceAll(fmt.Sprint(route.(map[string]any)["path"]), "{name}", "probe")
		for _, name := range []string{"", "good", "failing"} {
			ask(request{method: "GET", path: path, client: name})
		}
	}
	ask(request{method: "POST", path: "/admin/plugins/reload"})

	for _, p := range append(g.plugins(), process{pid: g.cmd.Process.Pid, name: "gateway"}) {
		for _, file := range []string{"cmdline", "comm", "environ"} {
			if file == "environ" && p.name == "gateway" {
				continue // it got them there
			}
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, file))
			if err != nil && p.alive() {
				t.Error(err)
			}
			tellsCanary(t, file+" of "+p.name, string(text))
		}
	}
	for _, run := range g.runDirs() {
		err := filepath.WalkDir(run, func(path string, entry fs.DirEntry, err error) error {
			tellsCanary(t, "a name in the run directory", path)
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			tellsCanary(t, path, string(text))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	away := start(t, "ledger: {uri: 'postgres://app:"+canary("away")+"@127.0.0.1:1/d'}\nclients: {}")
	eventually(t, 20*time.Second, "the log tells of the ledger", func() bool { return strings.Contains(away.stderr.String(), "ledger") })
	for _, path := range []string{"/health", "/metrics"} {
		tellsCanary(t, path+" without a ledger", string(away.ask(t, request{method: "GET", path: path}).body))
	}
	away.stop(t)
	diag := launch(t, string(text), env, "diag")
	diag.wait(t)
	g.stop(t)
	for what, text := range map[string]string{"stdout": g.stdout.String(), "the log": g.stderr.String(), "the log without a ledger": away.stderr.String(),
		"diag": diag.stdout.String() + diag.stderr.String()} {
		for line := range strings.Lines(text) {
			tellsCanary(t, what, line)
		}
	}
}

// client is a client's definition with keys and values of its config in turn.
func client(backend string, config ...string) map[string]any {
	values := map[string]any{}
	for i := 0; i < len(config); i += 2 {
		values[config[i]] = config[i+1]
	}
	return map[string]any{"backend": backend, "config": values}
}
