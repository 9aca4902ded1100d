package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena"
	"github.com/athena-gateway/athena/core/config"
)

// TestMain makes this test binary an athena when it is started as one.
func TestMain(m *testing.M) {
	if os.Getenv("ATHENA_TEST_AS_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// command is an athena process with an environment of its own and home as its home.
func command(home string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = home
	cmd.Env = []string{"ATHENA_TEST_AS_MAIN=1", "HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "LC_ALL=C.UTF-8",
		"GORACE=atexit_sleep_ms=0"} // or every exit takes a second with -race
	return cmd
}

// execute runs athena to its end.
func execute(t *testing.T, home string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(home, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// writeConfig writes a config.yaml to a folder of its own and returns its path.
func writeConfig(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDefaultConfig holds the file that a first run writes to the built-in defaults.
func TestDefaultConfig(t *testing.T) {
	path := writeConfig(t, string(athena.DefaultConfig))
	got, err := config.Load(config.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := config.Load(config.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	want.Clients = []config.Client{{Name: "demo", Backend: "sqlite", Config: []byte(`{"path":"data/demo.db","sample":true}`)}}
	got.Given = want.Given // what is written, whatever it says
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCommentedSettings uncomments the default file's examples and reads them.
func TestCommentedSettings(t *testing.T) {
	var lines []string
	for line := range strings.Lines(string(athena.DefaultConfig)) {
		indented := strings.TrimLeft(line, " ")
		if text, ok := strings.CutPrefix(indented, "# "); ok && (strings.Contains(text, ": ") || strings.HasSuffix(text, ":\n")) &&
			!strings.HasPrefix(text, "Configuration") {
			line = line[:len(line)-len(indented)] + text
		}
		lines = append(lines, line)
	}
	path := writeConfig(t, strings.Join(lines, ""))
	got, err := config.Load(config.Options{Path: path, Env: []string{"REPORTING_URI=postgres://a"}})
	if err != nil {
		t.Fatal(err)
	}
	var clients []string
	for _, client := range got.Clients {
		clients = append(clients, client.Name+" "+client.Backend+" "+client.Problem)
	}
	want := []string{"demo sqlite ", "legacy postgres set the environment variable POSTGRES_LEGACY_URI " +
		"(used by postgres_clients.legacy), and start again", "reporting postgres "}
	if diff := cmp.Diff(want, clients); diff != "" {
		t.Error(diff)
	}
	got.Clients, got.Path, got.Dir = nil, "", ""
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defaults, err := config.Load(config.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defaults.Path, defaults.Dir = "", ""
	got.Given, defaults.Given = nil, nil // what is written, whatever it says
	if diff := cmp.Diff(defaults, got); diff != "" {
		t.Errorf("a comment of config.yaml shows another value than the default: %s", diff)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		stdout, _, code := execute(t, t.TempDir(), args...)
		if code != 0 || !strings.Contains(stdout, version) {
			t.Errorf("athena %v: exit code %d, %q", args, code, stdout)
		}
	}
}

func TestWrongUse(t *testing.T) {
	misspelt := writeConfig(t, "api: {prot: 1}")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--prot", "1"}, "unknown flag: --prot; see athena --help"},
		{[]string{"server", "--port", "x"}, "invalid argument"},
		{[]string{"server", "--port", "70000"}, "api.port (from a flag): want a whole number from 0 to 65535"},
		{[]string{"server", "--config", misspelt}, "api.prot: unknown key; did you mean api.port?"},
		{[]string{"--api-only", "--config-path", misspelt}, "api.prot: unknown key; did you mean api.port?"},
		{[]string{"server", "--config", "nowhere.yaml"}, "correct --config or ATHENA_CONFIG_PATH"},
		{[]string{"server", "--host", "0.0.0.0", "--config", writeConfig(t, "")}, "api.allow_open: true"},
		{[]string{"sevrer"}, `unknown command "sevrer"; see athena --help; did you mean server?`},
	} {
		stdout, stderr, code := execute(t, t.TempDir(), test.args...)
		if code != 2 || !strings.Contains(stderr, test.want) {
			t.Errorf("athena %v: exit code %d, %q; want 2 and %q", test.args, code, stderr, test.want)
		}
		if stdout != "" {
			t.Errorf("athena %v printed %q", test.args, stdout)
		}
	}
}

func TestDiag(t *testing.T) {
	plugins := t.TempDir()
	if err := os.WriteFile(filepath.Join(plugins, "hello"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := writeConfig(t, "plugins: {dir: "+plugins+"}\nledger: {uri: 'postgres://u:s3cret@h/d'}\n"+
		"postgres_clients: {a: 'postgres://u:s3cret@h/d', b: '${NOT_SET}'}\ncache: {ttl: 5}")
	stdout, stderr, code := execute(t, t.TempDir(), "diag", "--config", path)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		runtime.GOOS, runtime.GOARCH, runtime.Version(), "hostname:", "C.UTF-8", path, plugins,
		"plugin hello:", "chmod +x", "NOT_SET", "127.0.0.1:4052", "cache:",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "s3cret") {
		t.Errorf("a secret is in\n%s", stdout)
	}
}

func TestDiagWritesNothing(t *testing.T) {
	home := t.TempDir()
	stdout, _, code := execute(t, home, "diag")
	if want := filepath.Join(home, ".config", "athena", "config.yaml"); code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, %s is not in\n%s", code, want, stdout)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) != 0 {
		t.Errorf("written: %v, %v", left, err)
	}
}
