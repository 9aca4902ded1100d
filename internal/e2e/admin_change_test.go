//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPluginsComeAndGo changes the plugin directory of a running gateway: a client waits for
// a plugin that is not there yet, one is found by a reload, one is removed and comes back.
func TestPluginsComeAndGo(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsToRead)
	dir := copyPlugins(t)
	g := start(t, fmt.Sprintf("clients: {db: {backend: sqlite, config: {path: %q}}, later: {backend: later}}", path),
		"ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	if state := g.clientState(t, "later"); state["state"] != "unavailable" || state["reason"] != "unknown_backend" {
		t.Errorf("before its plugin came: %v", state)
	}
	g.query(t, "later", "pid").is(t, 503, `{"code": "client_unavailable"}`)
	addProbe(t, dir, "later")
	took := eventually(t, 20*time.Second, "the client serves", func() bool { return g.query(t, "later", "pid").status == 200 })
	t.Logf("a client serves %s after its plugin came", took)
	if state := g.clientState(t, "later"); state["state"] != "available" {
		t.Errorf("after its plugin came: %v", state)
	}

	addProbe(t, dir, "extra")
	g.ask(t, admin("POST", "/reload", "")).is(t, 200, `{"status": "success"}`)
	if state := g.pluginState(t, "extra"); state["state"] != "discovered" {
		t.Errorf("after the reload: %v", state)
	}

	process, ok := g.plugin("sqlite")
	if !ok {
		t.Fatal("sqlite does not run")
	}
	if err := os.Remove(filepath.Join(dir, "sqlite")); err != nil {
		t.Fatal(err)
	}
	a := g.ask(t, admin("POST", "/reload", ""))
	if removed := fmt.Sprint(a.value(t, "data", "removed")); removed != "[sqlite]" {
		t.Errorf("removed %s: %s", removed, a.body)
	}
	eventually(t, 20*time.Second, "the plugin has stopped", func() bool {
		return !process.alive() && g.pluginState(t, "sqlite")["state"] == "stopped"
	})
	if state := g.clientState(t, "db"); state["state"] != "unavailable" || state["reason"] != "plugin_removed" {
		t.Errorf("without its plugin: %v", state)
	}
	g.query(t, "db", "SELECT 1 AS one").is(t, 503, `{"code": "plugin_removed"}`)
	g.ask(t, admin("POST", "/sqlite/restart", "")).is(t, 503, `{"code": "plugin_removed"}`)
	put(t, filepath.Join(dir, "sqlite"), builtPlugin(t, "sqlite"))
	eventually(t, 20*time.Second, "the client serves again", func() bool { return g.query(t, "db", "SELECT 1 AS one").status == 200 })
}

// TestQuarantine: a plugin that crashes again and again is no longer started, says why, and
// works once it has been replaced and released.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script(t, dir, "broken", "echo cannot find libexample.so >&2; exit 1")
	addProbe(t, dir, "probe")
	config := "clients:\n  good: {backend: probe}\n"
	clients := []string{"bad", "worse", "third", "fourth", "fifth", "sixth"} // each tries to open it again and again
	for _, client := range clients {
		config += "  " + client + ": {backend: broken}\n"
	}
	g := start(t, config, "ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	g.query(t, "good", "pid").is(t, 200, `{"status": "success"}`)
	g.ask(t, admin("POST", "/broken/restart", "")).is(t, 503, `{"code": "plugin_start_failed"}`)
	eventually(t, 60*time.Second, "the plugin is in quarantine", func() bool { return g.pluginState(t, "broken")["state"] == "quarantined" })
	state := g.pluginState(t, "broken")
	contains(t, "last_error", fmt.Sprint(state["last_error"]), "exited with code 1")
	contains(t, "the lines", string(g.ask(t, admin("GET", "/broken/logs", "")).body), "cannot find libexample.so")
	eventually(t, 20*time.Second, "the client says that its plugin is in quarantine", func() bool {
		return g.clientState(t, "bad")["reason"] == "plugin_quarantined"
	})
	contains(t, "/metrics", string(g.ask(t, request{method: "GET", path: "/metrics"}).body), `athena_plugin_state{plugin="broken",state="quarantined"} 1`,
		`athena_client_available{backend="broken",client="bad"} 0`)

	addProbe(t, dir, "broken")
	g.ask(t, admin("POST", "/broken/release", "")).is(t, 200, `{"status": "success"}`)
	took := eventually(t, 20*time.Second, "the clients serve", func() bool {
		return !slices.ContainsFunc(clients, func(client string) bool { return g.query(t, client, "pid").status != 200 })
	})
	t.Logf("the clients serve %s after the release", took)
	if state := g.pluginState(t, "broken"); state["state"] != "ready" || fmt.Sprint(state["failures"]) != "0" {
		t.Errorf("after the release: %v", state)
	}
	g.query(t, "good", "pid").is(t, 200, `{"status": "success"}`)
}

// TestStrictPlugins: with verify: strict nothing runs that plugins.lock does not vouch for.
func TestStrictPlugins(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsToRead)
	dir := copyPlugins(t)
	addProbe(t, dir, "probe")
	text := builtPlugin(t, "sqlite")
	sum := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	lockPlugins(t, dir, map[string]string{"sqlite": sum(text)})
	g := start(t, fmt.Sprintf("plugins: {verify: strict}\nclients: {db: {backend: sqlite, config: {path: %q}}, probe: {backend: probe}}", path),
		"ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	g.query(t, "db", "SELECT 1 AS one").is(t, 200, `{"status": "success"}`)
	g.query(t, "probe", "pid").is(t, 503, `{"code": "client_unavailable"}`)
	if state := g.clientState(t, "probe"); state["reason"] != "plugin_rejected" {
		t.Errorf("/health: %v", state)
	}
	state := g.pluginState(t, "probe")
	contains(t, "last_error", fmt.Sprint(state["last_error"]), "plugins.lock", "athena plugin lock probe")
	if state["state"] != "rejected" {
		t.Errorf("not vouched for: %v", state)
	}
	g.ask(t, admin("POST", "/probe/restart", "")).is(t, 503, `{"code": "plugin_rejected"}`)

	// Another file does not take over until the lock vouches for it.
	pid := g.pluginState(t, "sqlite")["pid"]
	other := append(text, 0) // what follows a program does not change it
	put(t, filepath.Join(dir, "sqlite"), other)
	g.ask(t, admin("POST", "/reload", "")).is(t, 200, `{"status": "success"}`)
	state = g.pluginState(t, "sqlite")
	contains(t, "not_in_use", fmt.Sprint(state["not_in_use"]), sum(other), "plugins.lock")
	if state["state"] != "ready" || state["pid"] != pid || state["checksum"] != sum(text) {
		t.Errorf("with another file: %v", state)
	}
	lockPlugins(t, dir, map[string]string{"sqlite": sum(other)})
	g.ask(t, admin("POST", "/reload", "")).is(t, 200, `{"status": "success"}`)
	eventually(t, 20*time.Second, "the other file has taken over", func() bool {
		state = g.pluginState(t, "sqlite")
		return state["pid"] != pid && state["checksum"] == sum(other) && state["not_in_use"] == nil
	})
	g.query(t, "db", "SELECT 1 AS one").is(t, 200, `{"status": "success"}`)
}
