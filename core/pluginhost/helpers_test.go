package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// testBinary is the built testdata/plugin.
var testBinary string

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanEnv); dir != "" {
		beGateway(dir)
		return
	}
	dir, err := os.MkdirTemp("", "ph")
	if err == nil {
		testBinary = filepath.Join(dir, "plugin")
		build := exec.Command("go", "build", "-o", testBinary, "./testdata/plugin")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		var output []byte
		if output, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("building the test plugin: %w\n%s", err, output)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// pluginDir makes a plugin directory that holds the test plugin under these names.
func pluginDir(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.Link(testBinary, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// newHost makes a Host over a new plugin directory. It is closed, and checked for
// leftovers, at the end of the test.
func newHost(t testing.TB, o Options, names ...string) *Host {
	t.Helper()
	if o.Dir == "" {
		o.Dir = pluginDir(t, names...)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(h.run.path); err == nil {
			t.Errorf("%s is left over", h.run.path)
		}
	})
	return h
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t testing.TB, h *Host, backend, config string) *Instance {
	t.Helper()
	i, err := h.Open(testContext(t), backend, "client", json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func sqlCall(text string) *sdk.Call {
	return &sdk.Call{Statements: []sdk.Statement{{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text}}}}
}

// ask makes one call and returns its whole body.
func ask(ctx context.Context, i *Instance, text string) (string, error) {
	answer, err := i.Execute(ctx, sqlCall(text))
	if err != nil {
		return "", err
	}
	defer answer.Close()
	var body bytes.Buffer
	for {
		piece, err := answer.Next()
		if errors.Is(err, io.EOF) {
			return body.String(), nil
		}
		if err != nil {
			return "", err
		}
		body.Write(piece)
	}
}

func mustAsk(t testing.TB, i *Instance, text string) string {
	t.Helper()
	body, err := ask(testContext(t), i, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return body
}

// number is the one value of the one row of a body.
func number(t testing.TB, body string) int {
	t.Helper()
	var rows []map[string]int
	if err := json.Unmarshal([]byte(body), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("not one number: %s", body)
	}
	for _, n := range rows[0] {
		return n
	}
	return 0
}

// eventually polls a condition that has no event to wait for.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

// alive reports whether a process runs; a zombie, which only its parent can bury, does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !isDir("/proc/self")
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") && !strings.HasPrefix(after, "X")
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func status(t testing.TB, h *Host, name string) Status {
	t.Helper()
	for _, s := range h.Plugins() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no plugin %q", name)
	return Status{}
}

// wantError checks an error's kind, reason and parts of its text.
func wantError(t testing.TB, err error, kind sdk.Kind, reason string, parts ...string) *sdk.Error {
	t.Helper()
	var e *sdk.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *sdk.Error %v (%s)", err, kind, reason)
	}
	if e.Kind != kind || e.Reason != reason {
		t.Fatalf("got %v, want %v (%s)", err, kind, reason)
	}
	for _, part := range parts {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q lacks %q", e.Error(), part)
		}
	}
	return e
}

// logBuffer is a log that tests read while it is written.
type logBuffer struct{ testenv.Output }

func (b *logBuffer) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: b, Level: hclog.Debug})
}
