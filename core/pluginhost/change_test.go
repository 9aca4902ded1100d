package pluginhost

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// replaceFile puts another file in a plugin's place, as an operator does.
func replaceFile(t testing.TB, h *Host, name string, text []byte) {
	t.Helper()
	temp := filepath.Join(h.options.Dir, ".new")
	if err := os.WriteFile(temp, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(h.options.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

// variant is the test plugin as a file of another checksum: what follows a program does not
// change it.
func variant(t testing.TB, n byte) []byte {
	t.Helper()
	text, err := os.ReadFile(testBinary)
	if err != nil {
		t.Fatal(err)
	}
	return append(text, n)
}

// readers ask again and again until the function returned is called, which says how often.
func readers(t testing.TB, i *Instance) func() int64 {
	var stop atomic.Bool
	var asked atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for !stop.Load() {
				if body, err := ask(context.Background(), i, "kilobyte"); err != nil || len(body) < 1000 {
					t.Errorf("a read failed: %v %.50q", err, body)
					return
				}
				asked.Add(1)
			}
		})
	}
	end := func() int64 {
		stop.Store(true)
		all.Wait()
		return asked.Load()
	}
	t.Cleanup(func() { end() }) // before the host is closed
	return end
}

func TestUpgrade(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", `{"path":"/a"}`)
	stop := readers(t, i)
	for n := range byte(4) {
		before := status(t, h, "db")
		replaceFile(t, h, "db", variant(t, n))
		eventually(t, "another process", func() bool { s := status(t, h, "db"); return s.PID != before.PID && s.Checksum != before.Checksum })
		eventually(t, "the end of the one before", func() bool { return !alive(before.PID) && status(t, h, "db").Finishing == 0 })
	}
	t.Logf("%d reads", stop())
	if body := mustAsk(t, i, "path"); body != `[{"path":"/a"}]` {
		t.Errorf("got %s", body)
	}
	if s := status(t, h, "db"); s.Restarts != 4 || s.Failures != 0 || s.State != Ready || s.NotInUse != "" || s.Exit != nil {
		t.Errorf("got %+v", s)
	}
}

// TestUpgradeLetsCallsEnd: a call under way ends in the process where it began.
func TestUpgradeLetsCallsEnd(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	old := status(t, h, "db").PID
	ctx, cancel := context.WithCancel(testContext(t))
	ended := make(chan error, 1)
	go func() {
		_, err := ask(ctx, i, "wait")
		ended <- err
	}()
	eventually(t, "a call under way", func() bool { return status(t, h, "db").Calls == 1 })
	if err := h.Restart(testContext(t), "db"); err != nil {
		t.Fatal(err)
	}
	if pid := number(t, mustAsk(t, i, "pid")); pid == old {
		t.Error("no new process")
	}
	if s := status(t, h, "db"); !alive(old) || s.Finishing != 1 {
		t.Errorf("the call's process is gone: %+v", s)
	}
	select {
	case err := <-ended:
		t.Fatalf("the call ended: %v", err)
	default:
	}
	cancel()
	wantError(t, <-ended, sdk.Canceled, "canceled")
	eventually(t, "the end of the old process", func() bool { return !alive(old) })
}

// TestUpgradeRefused: a file that cannot take over changes nothing.
func TestUpgradeRefused(t *testing.T) {
	h := newHost(t, Options{StartTimeout: 5 * time.Second}, "db")
	i := mustOpen(t, h, "db", "")
	pid := status(t, h, "db").PID
	stop := readers(t, i)
	for text, want := range map[string]string{
		"#!/bin/sh\necho no libexample >&2; exit 3\n": "exited with code 3",
		"a text\n": "neither a program nor a script",
		"#!/bin/sh\necho '1|99|unix|/nowhere|grpc'; sleep 9\n": "version 99 of the plugin protocol",
		"#!/bin/sh\necho Hello\n":                              "nothing but sdk.Serve may write to stdout",
	} {
		replaceFile(t, h, "db", []byte(text))
		eventually(t, want, func() bool { return strings.Contains(status(t, h, "db").NotInUse, want) })
	}
	t.Logf("%d reads", stop())
	if s := status(t, h, "db"); s.PID != pid || s.Restarts != 0 || s.State != Ready {
		t.Errorf("got %+v", s)
	}
	// It crashes, and the last good program is started again.
	_, _ = ask(testContext(t), i, "exit 1")
	mustAsk(t, i, "kilobyte")
	replaceFile(t, h, "db", variant(t, 1))
	eventually(t, "the mended file", func() bool { s := status(t, h, "db"); return s.NotInUse == "" && s.Restarts == 2 })
	mustAsk(t, i, "kilobyte")
}

func TestRestart(t *testing.T) {
	h := newHost(t, Options{}, "db", "crashing")
	i := mustOpen(t, h, "db", "")
	pid := number(t, mustAsk(t, i, "pid"))
	stop := readers(t, i)
	for range 3 {
		if err := h.Restart(testContext(t), "db"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if now := number(t, mustAsk(t, i, "pid")); now == pid {
		t.Error("no new process")
	}
	wantError(t, h.Restart(testContext(t), "crashing"), sdk.Unavailable, "plugin_start_failed", "exited with code 3")
	wantError(t, h.Restart(testContext(t), "none"), sdk.NotFound, "unknown_backend")
}

func TestRemoval(t *testing.T) {
	h := newHost(t, Options{}, "db", "other")
	i, other := mustOpen(t, h, "db", ""), mustOpen(t, h, "other", "")
	pid := status(t, h, "db").PID
	path := filepath.Join(h.options.Dir, "db")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, i, "kilobyte")
	changed := h.Changed()
	eventually(t, "its end", func() bool { return !alive(pid) && status(t, h, "db").State == Stopped })
	<-changed
	_, err := ask(testContext(t), i, "kilobyte")
	if e := wantError(t, err, sdk.Unavailable, "plugin_removed", "no longer in"); e.Executed != sdk.ExecutedNo {
		t.Errorf("got %+v", e)
	}
	_, err = h.Open(testContext(t), "db", "another", nil)
	wantError(t, err, sdk.Unavailable, "plugin_removed")
	mustAsk(t, other, "kilobyte")
	replaceFile(t, h, "db", variant(t, 1))
	eventually(t, "its return", func() bool { return status(t, h, "db").State == Ready })
	mustAsk(t, i, "kilobyte")
}

// TestReplacedInPlace: a file that is away for a moment, and is written slowly, is no removal
// and is not taken half written.
func TestReplacedInPlace(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	stop := readers(t, i)
	path := filepath.Join(h.options.Dir, "db")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	for piece := range bytes.SplitSeq(variant(t, 1), []byte("athena")) {
		if _, err := f.Write(append(piece, "athena"...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(variant(t, 1)))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new file in use", func() bool { return status(t, h, "db").Restarts == 1 })
	stop()
	if s := status(t, h, "db"); s.State != Ready || s.Failures != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestReload(t *testing.T) {
	h := newHost(t, Options{}, "db")
	changed := h.Changed()
	replaceFile(t, h, "new", variant(t, 1))
	names := func(all []Status) (names []string) {
		for _, s := range all {
			names = append(names, s.Name)
		}
		return names
	}
	if got := names(h.Reload()); strings.Join(got, " ") != "db new" {
		t.Errorf("got %v", got)
	}
	<-changed
	mustOpen(t, h, "new", "")
	if err := os.Remove(filepath.Join(h.options.Dir, "new")); err != nil {
		t.Fatal(err)
	}
	h.Reload() // at once
	eventually(t, "its end", func() bool { s := status(t, h, "new"); return s.PID == 0 && s.State == Stopped })
}

func TestQuarantine(t *testing.T) {
	h := newHost(t, Options{}, "db", "other")
	h.minBackoff = time.Millisecond
	other := mustOpen(t, h, "other", "")
	stop := readers(t, other)
	flag := filepath.Join(t.TempDir(), "crash")
	i := mustOpen(t, h, "db", fmt.Sprintf(`{"flag":%q}`, flag))
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = ask(testContext(t), i, "exit 6") // and from now on in open
	eventually(t, "quarantine", func() bool { return status(t, h, "db").State == Quarantined })
	s := status(t, h, "db")
	if s.Exit == nil || s.Exit.Code != 4 || !strings.Contains(s.LastError, "exited with code 4") || s.Failures != maxCrashes {
		t.Errorf("got %+v", s)
	}
	_, err := ask(testContext(t), i, "kilobyte")
	if e := wantError(t, err, sdk.Unavailable, "plugin_quarantined", "failed 5 times"); e.Executed != sdk.ExecutedNo || !strings.Contains(e.Hint, "/admin/plugins/db/release") {
		t.Errorf("got %+v", e)
	}
	_, err = h.Open(testContext(t), "db", "another", nil)
	wantError(t, err, sdk.Unavailable, "plugin_quarantined")
	starts := s.Restarts
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	changed := h.Changed()
	if s := status(t, h, "db"); s.State != Quarantined || s.Restarts != starts {
		t.Errorf("got %+v", s)
	}
	if err := h.Release("db"); err != nil {
		t.Fatal(err)
	}
	<-changed
	mustAsk(t, i, "kilobyte")

	// A new file releases it too.
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = ask(testContext(t), i, "exit 6")
	eventually(t, "quarantine again", func() bool { return status(t, h, "db").State == Quarantined })
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, h, "db", variant(t, 2))
	eventually(t, "its return", func() bool { return status(t, h, "db").State == Ready })
	mustAsk(t, i, "kilobyte")
	stop()
	if s := status(t, h, "other"); s.Restarts != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestFrozen(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	mustAsk(t, i, "kilobyte")
	pid := status(t, h, "db").PID
	began := time.Now()
	_, err := ask(testContext(t), i, "stop")
	if e := wantError(t, err, sdk.Unavailable, "plugin_lost"); e.Executed != sdk.ExecutedUnknown {
		t.Errorf("got %+v", e)
	}
	if took := time.Since(began); took > 3*missedBeats*heartbeat {
		t.Errorf("noticed after %s", took)
	}
	mustAsk(t, i, "kilobyte")
	if s := status(t, h, "db"); alive(pid) || s.Exit == nil || !s.Exit.Killed || !strings.Contains(s.Exit.String(), "frozen") || s.Failures != 0 {
		t.Errorf("got %+v, %+v", s, s.Exit)
	}
}

func TestStrict(t *testing.T) {
	dir := pluginDir(t, "db")
	log := &logBuffer{}
	h := newHost(t, Options{Dir: dir, Verify: VerifyStrict, Logger: log.logger()})
	_, err := h.Open(testContext(t), "db", "c", nil)
	wantError(t, err, sdk.Unavailable, "plugin_rejected", "athena plugin lock db")
	if s := status(t, h, "db"); s.State != Rejected || !strings.Contains(s.LastError, "athena plugin lock db") {
		t.Errorf("got %+v", s)
	}
	lock := filepath.Join(dir, LockFile)
	entry := Locked{Name: "db", Version: "1.2.3", SHA256: status(t, h, "db").Checksum}
	changed := h.Changed()
	if err := WriteLock(lock, []Locked{entry}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if s := status(t, h, "db"); s.State != Verified {
		t.Errorf("got %+v", s)
	}
	i := mustOpen(t, h, "db", "")
	pid := number(t, mustAsk(t, i, "pid"))
	replaceFile(t, h, "db", variant(t, 1))
	eventually(t, "the refusal", func() bool { return strings.Contains(status(t, h, "db").NotInUse, "somebody else did") })
	_, _ = ask(testContext(t), i, "exit 1")
	if now := number(t, mustAsk(t, i, "pid")); now == pid {
		t.Error("it did not crash")
	}
	if s := status(t, h, "db"); s.Checksum != entry.SHA256 {
		t.Errorf("an unknown file runs: %+v", s)
	}
	next := entry
	next.SHA256 = h.Discover()[0].Checksum
	if err := WriteLock(lock, []Locked{entry, next}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new file in use", func() bool { return status(t, h, "db").Checksum == next.SHA256 })
	mustAsk(t, i, "kilobyte")
	if err := os.WriteFile(lock, []byte(`{"plugins": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a damaged lock", func() bool { return strings.Contains(status(t, h, "db").NotInUse, "is damaged") })
	mustAsk(t, i, "kilobyte")
}

func TestWarn(t *testing.T) {
	log := &logBuffer{}
	h := newHost(t, Options{Verify: VerifyWarn, Logger: log.logger()}, "db")
	mustAsk(t, mustOpen(t, h, "db", ""), "kilobyte")
	eventually(t, "the warning", func() bool { return strings.Contains(log.String(), "is not vouched for") })
	if s := status(t, h, "db"); !strings.Contains(s.Warning, "athena plugin lock db") || s.State != Ready {
		t.Errorf("got %+v", s)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), LockFile)
	entries := []Locked{{"b", "1", "22"}, {"a", "2", "33"}, {"b", "1", "22"}, {"a", "1", "11"}}
	if err := WriteLock(path, entries); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLock(path)
	if err != nil || fmt.Sprint(got) != "[{a 1 11} {a 2 33} {b 1 22}]" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := ReadLock(path + "none"); got != nil || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestLogLevel(t *testing.T) {
	h := newHost(t, Options{}, "db") // a log that wants nothing: plugins tell from info on
	i := mustOpen(t, h, "db", "")
	said := func(text string) bool { return strings.Contains(strings.Join(h.Logs("db"), "\n"), text) }
	mustAsk(t, i, "debug one")
	if err := h.SetLogLevel(testContext(t), "db", "debug"); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, i, "debug two")
	eventually(t, "a debug line", func() bool { return said("two") })
	_, _ = ask(testContext(t), i, "exit 1")
	mustAsk(t, i, "debug three")
	eventually(t, "a debug line after a restart", func() bool { return said("three") })
	if said("one") || status(t, h, "db").LogLevel != "debug" {
		t.Errorf("got %q", h.Logs("db"))
	}
	wantError(t, h.SetLogLevel(testContext(t), "db", "loud"), sdk.Invalid, "invalid_log_level")
}

// TestAttach: a process that was started by hand takes the file's place while it runs.
func TestAttach(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", `{"path":"/a"}`)
	own := status(t, h, "db").PID
	stop := readers(t, i)
	run := exec.Command(filepath.Join(h.options.Dir, "db"), "--dev", h.options.Dir)
	run.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	t.Cleanup(func() { _ = run.Process.Kill() })
	eventually(t, "attached", func() bool { return status(t, h, "db").PID == run.Process.Pid })
	if body := mustAsk(t, i, "path"); body != `[{"path":"/a"}]` || number(t, mustAsk(t, i, "pid")) != run.Process.Pid {
		t.Errorf("got %s", body)
	}
	eventually(t, "the end of the file's process", func() bool { return !alive(own) })
	if err := run.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	eventually(t, "the file again", func() bool { s := status(t, h, "db"); return s.PID != run.Process.Pid && s.PID != 0 })
	t.Logf("%d reads", stop())

	// Killed at a breakpoint, it leaves its file behind.
	run = exec.Command(filepath.Join(h.options.Dir, "db"), "--dev", h.options.Dir)
	run.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "attached again", func() bool { return status(t, h, "db").PID == run.Process.Pid })
	mustAsk(t, i, "kilobyte")
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
	eventually(t, "the file once more", func() bool { s := status(t, h, "db"); return s.State == Ready && s.PID != run.Process.Pid })
	mustAsk(t, i, "kilobyte")
}
