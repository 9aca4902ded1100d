package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/internal/testenv"
)

// pluginFolder is a plugin directory with sqlite, as a link, and the files given by name.
func pluginFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(testenv.BuildPlugins(t), "sqlite"), filepath.Join(dir, "sqlite")); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script is a file that is no plugin and says so when it is executed.
const script = "#!/bin/sh\ntouch \"$0.executed\"\necho no database >&2\nexit 3\n"

func TestPluginWrongUse(t *testing.T) {
	dir := pluginFolder(t, map[string]string{"dialect.json": `{"prepare": "x"}`})
	sqlite := filepath.Join(dir, "sqlite")
	for _, test := range []struct{ args, want string }{
		{"nwe", `unknown command "nwe"; see athena plugin --help; did you mean new?`},
		{"list --dir nowhere", "there is no plugin directory"},
		{"list everything", `unknown command "everything"`},
		{"lock --config nowhere.yaml", "correct --config"},
		{"verify", "needs one executable"},
		{"verify nothing", "there is no executable"},
		{"verify " + dir, "there is no executable"},
		{"verify " + sqlite + " --config {", "--config is no JSON"},
		{"verify " + sqlite + " --config @nowhere.json", "--config: open nowhere.json"},
		{"verify " + sqlite + " --config []", "no JSON object"},
		{"verify " + sqlite + " --config {}", "must have the keys path"},
		{"verify " + sqlite + " --dialect oracle", "neither postgres nor sqlite nor a file"},
		{"verify " + sqlite + " --dialect " + dir + "/dialect.json", "dialect.json: a dialect is a JSON object of SQL texts"},
		{"verify " + sqlite + " --run crude", `there is no group of checks "crude"; there are: `},
		{"verify " + sqlite + " --timeout -1s", "--timeout must be more than 0"},
		{"new", "needs one name"},
		{"new moons", "there is no kind of plugin \"\": give --kind backend"},
		{"new moons --kind storage", `there is no kind of plugin "storage": give --kind backend, the only one there is`},
		{"new Moons --kind backend", `"Moons" cannot be a plugin's name`},
		{"new ../moons --kind backend", "cannot be a plugin's name"},
		{"new moons --kind backend --module a..b//c", "is no Go module path"},
		{"new moons --kind backend", "name their folder with --sdk"},
		{"new moons --kind backend --sdk " + dir, "is no folder with Athena's sources"},
		{"new sqlite --kind backend --dir " + dir, "is there already"},
		{"dev", "needs one executable or folder"},
		{"dev nothing --dir " + dir, "there is no executable or folder"},
		{"dev " + dir + " --dir " + dir, "is a folder without Go files"},
		{"dev " + sqlite + " --dir nowhere", "there is no plugin directory"},
	} {
		stdout, stderr, code := execute(t, t.TempDir(), append([]string{"plugin"}, strings.Fields(test.args)...)...)
		if code != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("athena plugin %s: exit code %d, %q; want 2 and %q", test.args, code, stderr, test.want)
		}
		if stdout != "" && !strings.HasPrefix(test.args, "verify") {
			t.Errorf("athena plugin %s printed %q", test.args, stdout)
		}
	}
}

func TestPluginHelp(t *testing.T) {
	for _, name := range []string{"new", "verify", "list", "lock", "dev"} {
		stdout, _, code := execute(t, t.TempDir(), "plugin", name, "--help")
		if code != 0 || !strings.Contains(stdout, "Examples:\n  athena plugin "+name) {
			t.Errorf("exit code %d, no example in\n%s", code, stdout)
		}
	}
	if stdout, _, code := execute(t, t.TempDir(), "plugin"); code != 0 || !strings.Contains(stdout, "athena plugin verify ./moons") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

func TestPluginListAndLock(t *testing.T) {
	dir, home := pluginFolder(t, map[string]string{"broken": script, "text": "hello"}), t.TempDir()
	lock := filepath.Join(dir, pluginhost.LockFile)
	list := func() map[string]listedPlugin {
		t.Helper()
		stdout, stderr, code := execute(t, home, "plugin", "list", "--dir", dir, "--json")
		var all []listedPlugin
		if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != 0 {
			t.Fatalf("exit code %d, %v, %s%s", code, err, stdout, stderr)
		}
		byName := map[string]listedPlugin{}
		for _, p := range all {
			byName[p.Name] = p
		}
		return byName
	}
	want := func(stdout string, lines ...string) {
		t.Helper()
		if got := strings.Split(strings.TrimSpace(stdout), "\n"); len(got) != len(lines) {
			t.Errorf("printed\n%s; want %q", stdout, lines)
		}
		for _, line := range lines {
			if !strings.Contains(stdout, line) {
				t.Errorf("printed\n%s; want %q", stdout, line)
			}
		}
	}

	found := list()
	sqlite := found["sqlite"]
	if sqlite.Lock != "none" || len(sqlite.SHA256) != 64 || sqlite.Size < 1e6 || sqlite.Error != "" || sqlite.Path != filepath.Join(dir, "sqlite") {
		t.Errorf("%+v", sqlite)
	}
	if text := found["text"]; !strings.Contains(text.Error, "neither a program nor a script") || text.SHA256 != "" || len(found) != 3 {
		t.Errorf("%+v", found)
	}
	if _, err := os.Stat(filepath.Join(dir, "broken.executed")); err == nil {
		t.Fatal("list executes")
	}

	// Locking all locks what starts, and says what does not.
	stdout, stderr, code := execute(t, home, "plugin", "lock", "--dir", dir)
	want(stdout, "sqlite 0.1.0 sha256:"+sqlite.SHA256[:12]+" added")
	if code != 1 || !strings.Contains(stderr, `plugin "broken" exited with code 3`) || !strings.Contains(stderr, "no database") || !strings.Contains(stderr, `plugin "text" cannot be used`) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if got := list()["sqlite"]; got.Lock != "match" || got.Version != "0.1.0" {
		t.Errorf("%+v", got)
	}
	stdout, _, code = execute(t, home, "plugin", "lock", "sqlite", "--dir", dir)
	want(stdout, "sqlite 0.1.0 sha256:"+sqlite.SHA256[:12]+" unchanged")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}

	// Another file was locked, and one is gone.
	old := pluginhost.Locked{Name: "sqlite", Version: "0.0.9", SHA256: strings.Repeat("ab", 32)}
	gone := pluginhost.Locked{Name: "gone", Version: "1.0.0", SHA256: strings.Repeat("cd", 32)}
	now := pluginhost.Locked{Name: "sqlite", Version: "0.1.0", SHA256: sqlite.SHA256}
	write := func() {
		t.Helper()
		if err := pluginhost.WriteLock(lock, []pluginhost.Locked{old, gone}); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(entries ...pluginhost.Locked) {
		t.Helper()
		got, err := pluginhost.ReadLock(lock)
		if err != nil || len(got) != len(entries) {
			t.Fatalf("locked %+v, %v; want %+v", got, err, entries)
		}
		for i := range got {
			if got[i] != entries[i] {
				t.Errorf("locked %+v; want %+v", got[i], entries[i])
			}
		}
	}
	write()
	found = list()
	if found["sqlite"].Lock != "mismatch" || found["gone"].Lock != "missing" {
		t.Errorf("%+v", found)
	}
	stdout, _, _ = execute(t, home, "plugin", "list", "--dir", dir)
	want(stdout, "NAME ", "changed since it was locked; if you meant that: athena plugin lock sqlite", "its file is gone", "not locked", "no plugin: ")
	stdout, _, _ = execute(t, home, "plugin", "lock", "sqlite", "--dir", dir)
	want(stdout, "sqlite 0.0.9 sha256:abababababab -> 0.1.0 sha256:"+sqlite.SHA256[:12])
	holds(gone, now)
	write()
	stdout, _, _ = execute(t, home, "plugin", "lock", "sqlite", "--replace=false", "--prune", "--dir", dir)
	want(stdout, "sqlite 0.1.0 sha256:"+sqlite.SHA256[:12]+" added", "gone 1.0.0 sha256:cdcdcdcdcdcd -> forgotten")
	holds(old, now)

	// A damaged lock is made anew when all are locked, and only then.
	if err := os.WriteFile(lock, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := execute(t, home, "plugin", "lock", "sqlite", "--dir", dir); code != 1 || !strings.Contains(stderr, "make it anew with `athena plugin lock`") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	stdout, _, _ = execute(t, home, "plugin", "lock", "--dir", dir)
	want(stdout, "made anew: ", "added")
	holds(now)
}

// TestPluginDirOfTheConfiguration lists the directory that the configuration names.
func TestPluginDirOfTheConfiguration(t *testing.T) {
	config := writeConfig(t, "plugins: {dir: "+pluginFolder(t, nil)+"}")
	stdout, stderr, code := execute(t, t.TempDir(), "plugin", "list", "--config", config)
	if code != 0 || !strings.Contains(stdout, "sqlite") || !strings.Contains(stdout, "not locked") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}
