//go:build unix

package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// host is a gateway's plugin host over a directory with the plugin in it.
type host struct {
	*pluginhost.Host
	dir string
	log testenv.Output
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir()}
	install(t, h.dir, plugin(t))
	var err error
	h.Host, err = pluginhost.New(pluginhost.Options{Dir: h.dir, Logger: hclog.New(&hclog.LoggerOptions{Output: &h.log, Level: hclog.Trace})})
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

// status is that of the plugin.
func (h *host) status(t *testing.T) pluginhost.Status {
	t.Helper()
	all := h.Plugins()
	if len(all) != 1 {
		t.Fatalf("there are the plugins %+v", all)
	}
	return all[0]
}

const password = "canary-51b0c4"

func (h *host) open(t *testing.T) *pluginhost.Instance {
	t.Helper()
	config, err := json.Marshal(map[string]string{"path": filepath.Join(t.TempDir(), "kv"), "password": password})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := h.Open(t.Context(), "node-kv", "store", config)
	if err != nil {
		t.Fatal(err)
	}
	return instance
}

func TestHost(t *testing.T) {
	h := newHost(t)
	_, err := h.Open(t.Context(), "node-kv", "store", json.RawMessage(`{"pasword": "`+password+`"}`))
	if e := sdk.AsError(err); e == nil || e.Reason != "invalid_config" || !strings.Contains(e.Message, `did you mean "password"?`) {
		t.Errorf("a misspelt key answers %v", err)
	}
	store := h.open(t)
	if c := store.Capabilities(); len(c.Verbs) != 2 || len(c.Operators) != 1 || c.Transactions || !c.Ping {
		t.Errorf("it can do %+v", c)
	}
	wantBody(t, store, insert("t", `{"key":"a","value":12345678901234567890.12345678901234567890}`), `[]`)
	wantBody(t, store, selectKey("t", "a"), `[{"key":"a","value":12345678901234567890.12345678901234567890}]`)
	if err := store.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if s := h.status(t); s.State != pluginhost.Ready || s.Version != "0.1.0" {
		t.Errorf("its status is %+v", s)
	}
	if metrics := h.Metrics(t.Context())["node-kv"]["store"]; len(metrics) != 2 {
		t.Errorf("its metrics are %+v", metrics)
	}
	if err := h.SetLogLevel(t.Context(), "node-kv", "warn"); err != nil {
		t.Error(err)
	}
}

// TestKilled kills the process and finds everything again that was acknowledged.
func TestKilled(t *testing.T) {
	h := newHost(t)
	store := h.open(t)
	wantBody(t, store, insert("t", `{"key":"a","value":1}`), `[]`)
	for n := range 3 {
		before := h.status(t)
		if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is started again", func() bool {
			now := h.status(t)
			return now.State == pluginhost.Ready && now.PID != before.PID
		})
		wantBody(t, store, selectKey("t", "a"), `[{"key":"a","value":1}]`)
		if s := h.status(t); s.Restarts != uint64(n+1) || s.Exit == nil {
			t.Errorf("after %d deaths: %+v", n+1, s)
		}
	}
	wantNoSecret(t, h)
}

// TestUpgrade replaces the file while rows are read and written: no call fails, and every
// acknowledged row is there, once.
func TestUpgrade(t *testing.T) {
	h := newHost(t)
	store := h.open(t)
	wantBody(t, store, insert("t", `{"key":"first"}`), `[]`)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var written atomic.Int64
	var callers sync.WaitGroup
	call := func(s sdk.Statement) {
		if _, _, err := ask(t.Context(), store, &sdk.Call{Statements: []sdk.Statement{s}}); err != nil {
			t.Error(err)
			cancel()
		}
	}
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				call(selectKey("t", "first"))
			}
		})
	}
	for range 2 {
		callers.Go(func() {
			for ctx.Err() == nil {
				call(insert("t", fmt.Sprintf(`{"key":"row %d"}`, written.Add(1))))
			}
		})
	}
	for _, version := range []string{"0.2.0", "0.3.0"} {
		install(t, h.dir, bytes.Replace(plugin(t), []byte(`version: "0.1.0"`), []byte(`version: "`+version+`"`), 1))
		h.Reload()
		eventually(t, version+" has taken over", func() bool {
			s := h.status(t)
			return s.Version == version && s.Finishing == 0 || ctx.Err() != nil
		})
	}
	cancel()
	callers.Wait()
	body, tail, err := ask(t.Context(), store, &sdk.Call{Statements: []sdk.Statement{selectAll("t")}})
	if err != nil {
		t.Fatal(err)
	}
	if tail.Rows != written.Load()+1 {
		t.Errorf("%d rows are there of %d: %.300s", tail.Rows, written.Load()+1, body)
	}
	if s := h.status(t); s.Restarts != 2 || s.Failures != 0 || s.LastError != "" || s.NotInUse != "" {
		t.Errorf("its status is %+v", s)
	}
	wantNoSecret(t, h)
}

// wantNoSecret looks for the password in all that the host tells of the plugin.
func wantNoSecret(t *testing.T, h *host) {
	t.Helper()
	status, err := json.Marshal(h.status(t))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"the log": h.log.String(), "the status": string(status), "its lines": strings.Join(h.Logs("node-kv"), "\n")} {
		if strings.Contains(text, password) {
			t.Errorf("%s shows the password: %s", what, text)
		}
	}
	if !strings.Contains(h.log.String(), "opened") {
		t.Errorf("the log lacks the plugin's lines: %s", h.log.String())
	}
}

// TestTwoProcesses writes to one file from two processes, as while a plugin is replaced, and
// after one that was killed in the middle of a line.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	one, two := start(t), start(t)
	for _, p := range []*process{one, two} {
		p.open(t, fmt.Sprintf(`{"path": %q}`, path))
	}
	wantBody(t, one, insert("t", `{"key":"a"}`), `[]`)
	wantError(t, two, sdk.Call{Statements: []sdk.Statement{insert("t", `{"key":"a"}`)}}, sdk.Conflict, "unique_violation", "")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"id":"x","name":"t","pairs":[["b","\"` + "\xc3"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	wantBody(t, two, insert("t", `{"key":"c","value":"é"}`), `[]`)
	wantBody(t, one, insert("t", `{"key":"d"}`), `[]`)
	for _, p := range []*process{one, two} {
		wantBody(t, p, selectAll("t"), `[{"key":"a","value":null},{"key":"c","value":"é"},{"key":"d","value":null}]`)
	}
	// All write the same keys at once: each is written once.
	var callers sync.WaitGroup
	var taken atomic.Int64
	for _, p := range []*process{one, two, one, two} {
		callers.Go(func() {
			for n := range 50 {
				_, _, err := ask(t.Context(), p, &sdk.Call{Statements: []sdk.Statement{insert("race", fmt.Sprintf(`{"key":"%d"}`, n))}})
				if err == nil {
					taken.Add(1)
				} else if sdk.AsError(err).Reason != "unique_violation" {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if taken.Load() != 50 {
		t.Errorf("%d inserts of 50 keys were acknowledged", taken.Load())
	}
}

// TestByHand runs the file as if it were a command.
func TestByHand(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, plugin(t))
	output, err := exec.Command(filepath.Join(dir, "node-kv")).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "put this file into the gateway's plugin directory") {
		t.Errorf("it said %s (%v)", output, err)
	}
}

// TestLifeline ends the process when its gateway is gone. Until then the pipe, which all
// plugins of a gateway have inherited, stays as it was: they wait in a read of it.
func TestLifeline(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	raw, err := p.theirs.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 && runtime.GOOS == "linux" {
			t.Errorf("the pipe has become non-blocking (flags %x, %v)", flags, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.lifeline.Close()
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Error("it lives on without its gateway")
	}
}
