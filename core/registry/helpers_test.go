package registry

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// testBinary is the plugin of pluginhost's tests: an SQL text tells it what to do, "path" is
// answered by a value of its config.
var testBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "registry")
	if err == nil {
		testBinary = filepath.Join(dir, "plugin")
		build := exec.Command("go", "build", "-o", testBinary, "../pluginhost/testdata/plugin")
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
	os.Exit(code)
}

// newHost makes a host with the test plugin under the names db and postgres.
func newHost(t *testing.T, logger hclog.Logger) *pluginhost.Host {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"db", "postgres"} {
		if err := os.Link(testBinary, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := pluginhost.New(pluginhost.Options{Dir: dir, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// gateway is a registry that is closed with the test, or by end.
type gateway struct {
	*Registry
	log *testenv.Output
	end func()
}

// start opens a registry on a ledger, nil for none, with these clients in its file.
func start(t *testing.T, l *ledger.Ledger, change func(*Options), definitions ...Definition) *gateway {
	t.Helper()
	log := &testenv.Output{}
	logger := hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace})
	o := Options{Host: newHost(t, logger), Logger: logger, Ledger: l,
		Tuning: Tuning{Policy: resilience.Policy{Timeout: 10 * time.Second, ReadRetries: 1, Backoff: 10 * time.Millisecond}}}
	if change != nil {
		change(&o)
	}
	g := &gateway{Registry: Open(context.Background(), definitions, o), log: log}
	g.end = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(g.end)
	return g
}

// inFile is a client of the file whose config has that path.
func inFile(name, path string) Definition {
	return Definition{Name: name, Backend: "db", Config: json.RawMessage(fmt.Sprintf(`{"path":%q}`, path))}
}

// ask sends an SQL text to a client and returns the answer's body.
func (g *gateway) ask(ctx context.Context, name, sql string) (string, error) {
	c, err := g.Client(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answer, _, err := c.Execute(ctx, cancel, &sdk.Call{Statements: []sdk.Statement{{Verb: sdk.SQL, SQL: sdk.SQLText{Text: sql}}}})
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

// path is the path in the config with which a client is open.
func (g *gateway) path(t *testing.T, name string) string {
	t.Helper()
	body, err := g.ask(context.Background(), name, "path")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(body, `[{"path":"`), `"}]`)
}

// refused fails the test unless a call to the client is refused with that reason.
func (g *gateway) refused(t *testing.T, name, reason string) *sdk.Error {
	t.Helper()
	body, err := g.ask(context.Background(), name, "path")
	e := sdk.AsError(err)
	if e == nil || e.Reason != reason || e.Executed != sdk.ExecutedNo {
		t.Fatalf("%s answers %s %v, want %s", name, body, err, reason)
	}
	return e
}

// change is the audit line of a test's change.
func change() *ledger.Audit { return &ledger.Audit{Actor: "tester", Action: "test"} }

// given is an edit with a config.
func given(config string) Edit {
	raw := json.RawMessage(config)
	backend := "db"
	return Edit{Config: Field[json.RawMessage]{true, &raw}, Backend: Field[string]{true, &backend}}
}

func value[T any](v T) Field[T] { return Field[T]{true, &v} }

func wantReason(t *testing.T, err error, reason string, says ...string) {
	t.Helper()
	e := sdk.AsError(err)
	if e == nil || e.Reason != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
	for _, text := range says {
		if all := e.Message + e.Detail + e.Hint; !strings.Contains(all, text) {
			t.Errorf("the error %s lacks %q: %s", reason, text, all)
		}
	}
}

// eventually polls a condition that has no event to wait for.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}
