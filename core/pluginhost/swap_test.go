package pluginhost

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// TestFileBackAtOnce: a file that is back before its process has been put aside is none that
// has crashed.
func TestFileBackAtOnce(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	p := h.known("db")
	for range 50 {
		eventually(t, "a process", func() bool { return status(t, h, "db").PID != 0 })
		p.mu.Lock()
		file := p.file
		p.mu.Unlock()
		p.lost()
		for status(t, h, "db").PID != 0 {
			runtime.Gosched()
		}
		p.found(file)
	}
	mustAsk(t, i, "pid")
	if s := status(t, h, "db"); s.Failures != 0 || s.Exit != nil {
		t.Errorf("got %+v", s)
	}
}

// TestOpenDuringSwap: an Open that meets a replaced process goes on to its successor, also
// while a long call holds the old one.
func TestOpenDuringSwap(t *testing.T) {
	h := newHost(t, Options{}, "db")
	first := mustOpen(t, h, "db", "")
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = ask(ctx, first, "wait")
	}()
	defer func() { cancel(); <-ended }()
	eventually(t, "a call under way", func() bool { return status(t, h, "db").Calls == 1 })
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			i, err := h.Open(ctx, "db", "second", json.RawMessage("{}"))
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			_ = i.Close(ctx)
		}
	}()
	for range 10 {
		if err := h.Restart(testContext(t), "db"); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

// TestClosedStaysClosed: an instance that is closed while it cannot be opened is let go.
func TestClosedStaysClosed(t *testing.T) {
	h := newHost(t, Options{}, "db")
	flag := filepath.Join(t.TempDir(), "fail")
	i, other := mustOpen(t, h, "db", `{"fail":"`+flag+`"}`), mustOpen(t, h, "db", "")
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Restart(testContext(t), "db"); err == nil {
		t.Error("a process took over that could not open an instance that was open")
	}
	_, _ = ask(testContext(t), other, "exit 1")
	mustAsk(t, other, "pid")
	eventually(t, "a failure", func() bool { return i.status().Error != "" })
	if err := i.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	before := h.known("db").generation.Load()
	time.Sleep(3 * minBackoff)
	if tries := h.known("db").generation.Load() - before; tries > 1 {
		t.Errorf("opened %d times more", tries)
	}
	other.plugin.logs.secrets.mu.Lock()
	defer other.plugin.logs.secrets.mu.Unlock()
	if _, kept := other.plugin.logs.secrets.byOwner[i]; kept {
		t.Error("its secrets are kept as those of an open one")
	}
}

// attached starts the test plugin by hand for a host and waits until it is in use.
func attached(t *testing.T, h *Host) *exec.Cmd {
	t.Helper()
	run := exec.Command(filepath.Join(h.options.Dir, "db"), "--dev", h.options.Dir)
	run.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	eventually(t, "attached", func() bool { return status(t, h, "db").PID == run.Process.Pid })
	return run
}

// TestAttachedIsShared: a process that was started by hand serves on after a restart, and
// after another host has let go of it.
func TestAttachedIsShared(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	attached(t, h)
	if err := h.Restart(testContext(t), "db"); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, i, "pid")
	another := newHost(t, Options{Dir: h.options.Dir})
	if _, err := another.Describe(testContext(t), "db"); err != nil {
		t.Fatal(err)
	}
	if err := another.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		mustAsk(t, i, "pid")
	}
	files, err := Scan(h.options.Dir)
	if err != nil || len(files) != 1 || len(files[0].Checksum) != 64 {
		t.Errorf("a scan sees %v, %v", files, err)
	}
}

// TestStaleNote: what is not the note of a living process changes nothing.
func TestStaleNote(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	pid := number(t, mustAsk(t, i, "pid"))
	note := filepath.Join(h.options.Dir, "db"+sdk.DevSuffix)
	text, err := json.Marshal(sdk.DevProcess{PID: os.Getpid(), Address: filepath.Join(t.TempDir(), "none"), Protocol: sdk.Handshake.ProtocolVersion})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{string(text), "{", "{}"} {
		if err := os.WriteFile(note, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		h.Reload()
		if now := number(t, mustAsk(t, i, "pid")); now != pid || status(t, h, "db").NotInUse != "" {
			t.Errorf("%s: %+v", content, status(t, h, "db"))
		}
	}
}

// TestCrashWhileWritten: what runs after a crash is the program that ran before, not half of
// the one that is being written. Copies that nobody needs are removed.
func TestCrashWhileWritten(t *testing.T) {
	h := newHost(t, Options{}, "db")
	h.healthyLife = 0
	i := mustOpen(t, h, "db", "")
	mustAsk(t, i, "pid")
	path, text := filepath.Join(h.options.Dir, "db"), variant(t, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text[:len(text)/2]); err != nil {
		t.Fatal(err)
	}
	_, _ = ask(testContext(t), i, "exit 1")
	mustAsk(t, i, "pid")
	if s := status(t, h, "db"); s.Failures != 0 || s.Restarts != 1 {
		t.Errorf("got %+v", s)
	}
	if _, err := f.Write(text[len(text)/2:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new file in use", func() bool { s := status(t, h, "db"); return s.Restarts == 2 && s.NotInUse == "" })
	mustAsk(t, i, "pid")
	eventually(t, "one copy", func() bool { entries, err := os.ReadDir(h.run.store); return err == nil && len(entries) == 1 })
}

// TestEnvironmentIsAsAsked: what is set for plugins comes before what the gateway has.
func TestEnvironmentIsAsAsked(t *testing.T) {
	t.Setenv("TZ", "UTC")
	h := newHost(t, Options{Env: []string{"TZ=Asia/Tokyo", "GOMAXPROCS=3"}}, "db")
	env := mustAsk(t, mustOpen(t, h, "db", ""), "env")
	for _, want := range []string{`"TZ=Asia/Tokyo"`, `"GOMAXPROCS=3"`} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in %s", want, env)
		}
	}
}
