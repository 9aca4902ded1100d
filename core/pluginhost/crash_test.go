package pluginhost

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

func TestCrashUnderLoad(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", `{"token":"canary-token"}`)
	first := number(t, mustAsk(t, i, "pid"))
	eventually(t, "a healthy age", func() bool { return time.Since(i.now.Load().process.started) > healthyLife })

	const callers = 16
	var calls, lost atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// What a caller of a read does: try again when the plugin was lost.
				_, err := ask(context.Background(), i, "kilobyte")
				if err != nil && sdk.AsError(err).Reason == "plugin_lost" {
					lost.Add(1)
					_, err = ask(context.Background(), i, "kilobyte")
				}
				if err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	before := calls.Load()
	eventually(t, "calls", func() bool { return calls.Load() > before+100 })
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	eventually(t, "a new process", func() bool { return status(t, h, "db").Restarts == 1 })
	t.Logf("restarted within %s", time.Since(killed))
	before = calls.Load()
	eventually(t, "calls after the crash", func() bool { return calls.Load() > before+100 })
	close(stop)
	wg.Wait()
	if n := lost.Load(); n > callers {
		t.Errorf("%d calls of %d callers saw one crash", n, callers)
	}
	s := status(t, h, "db")
	if s.Failures != 0 || s.Exit == nil || s.Exit.Signal != "killed" || s.Exit.Killed || s.State != Ready || s.PID == first {
		t.Errorf("got %+v", s)
	}
}

func TestExitReport(t *testing.T) {
	var log logBuffer
	h := newHost(t, Options{Logger: log.logger()}, "db")
	i := mustOpen(t, h, "db", `{"token":"canary-token"}`)
	_, err := ask(testContext(t), i, "panic")
	if e := wantError(t, err, sdk.Unavailable, "plugin_lost"); e.Executed != sdk.ExecutedUnknown {
		t.Errorf("got %v", e)
	}
	eventually(t, "a report", func() bool { return status(t, h, "db").Exit != nil })
	exit := status(t, h, "db").Exit
	if exit.Code != 2 || exit.Killed || exit.String() != "exited with code 2" || len(exit.Output) < 3 || exit.Output[0] != "panic: the end of ***" {
		t.Errorf("got %+v", exit)
	}
	// It had served nothing: a pause, during which calls wait, then it goes on.
	if got := mustAsk(t, i, "pid"); number(t, got) == 0 {
		t.Error(got)
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "plugin lost") })
	if strings.Contains(log.String(), "canary") || strings.Contains(strings.Join(h.Logs("db"), "\n"), "canary") {
		t.Errorf("a secret in the log:\n%s", log.String())
	}
	if !strings.Contains(log.String(), `opening: token="***"`) {
		t.Errorf("the plugin's own log is missing:\n%s", log.String())
	}
}

func TestUnknownInstanceIsOpenedAgain(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	for range 3 {
		o := i.now.Load()
		if err := o.process.remote.CloseInstance(testContext(t), i.name, o.generation); err != nil {
			t.Fatal(err)
		}
		results := make(chan error)
		for range 8 {
			go func() {
				_, err := ask(testContext(t), i, "kilobyte")
				results <- err
			}()
		}
		for range 8 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if now := i.now.Load(); now.generation != o.generation+1 {
			t.Errorf("generation %d after %d", now.generation, o.generation)
		}
		if err := i.Ping(testContext(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitingForAPluginThatIsDown(t *testing.T) {
	h := newHost(t, Options{}, "db")
	flag := filepath.Join(t.TempDir(), "flag")
	config, _ := json.Marshal(map[string]string{"flag": flag})
	i := mustOpen(t, h, "db", string(config))
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(testContext(t), i, "exit 7"); err == nil {
		t.Fatal("no error")
	}

	started := time.Now()
	call := sqlCall("kilobyte")
	call.Deadline = started.Add(100 * time.Millisecond)
	_, err := i.Execute(testContext(t), call)
	e := wantError(t, err, sdk.Unavailable, "plugin_unavailable")
	// If the pause before the next start is known already, and is longer, it does not wait.
	if e.Executed != sdk.ExecutedNo || e.RetryAfter <= 0 || e.RetryAfter > time.Second || e.Source != sdk.FromHost {
		t.Errorf("got %+v", e)
	}
	if took := time.Since(started); took > maxWait {
		t.Errorf("waited %s for a deadline of 100 ms", took)
	}

	ctx, cancel := context.WithCancel(context.Background())
	waiters := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() {
			_, err := i.Execute(ctx, sqlCall("kilobyte"))
			waiters <- err
		}()
	}
	eventually(t, "a full queue", func() bool { return i.plugin.waiting.Load() == maxWaiting })
	_, err = i.Execute(testContext(t), sqlCall("kilobyte"))
	wantError(t, err, sdk.Unavailable, "plugin_unavailable", "too many calls wait")
	cancel()
	for range maxWaiting {
		if e := sdk.AsError(<-waiters); e.Executed != sdk.ExecutedNo {
			t.Fatalf("got %v", e)
		}
	}

	eventually(t, "more failures", func() bool { return status(t, h, "db").Failures >= 2 })
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { _, err := ask(testContext(t), i, "kilobyte"); return err == nil })
	if s := status(t, h, "db"); s.Failures < 2 || s.State != Ready {
		t.Errorf("got %+v", s)
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		for range 20 {
			if got := backoff(minBackoff, failures); got > want*time.Millisecond || got < want*time.Millisecond*4/5 {
				t.Errorf("after %d failures %s, want about %d ms", failures, got, want)
			}
		}
	}
	if got := backoff(minBackoff, 100000); got > maxBackoff {
		t.Error(got)
	}
}

func TestChildrenDieWithTheirPlugin(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	child := number(t, mustAsk(t, i, "child")) // holds the plugin's stderr open
	crashed := time.Now()
	if _, err := ask(testContext(t), i, "exit 7"); err == nil {
		t.Fatal("no error")
	}
	eventually(t, "the report", func() bool { return status(t, h, "db").Exit != nil })
	if s := status(t, h, "db"); s.Exit.Code != 7 || time.Since(crashed) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(crashed), s.Exit)
	}
	eventually(t, "the child's death", func() bool { return !alive(child) })

	child = number(t, mustAsk(t, i, "child"))
	if err := h.Close(testContext(t)); err != nil {
		t.Error(err)
	}
	eventually(t, "the child's death", func() bool { return !alive(child) })
}

func TestFrozenPluginIsKilledOnClose(t *testing.T) {
	h := newHost(t, Options{KillGrace: 200 * time.Millisecond}, "db")
	i := mustOpen(t, h, "db", "")
	pid := number(t, mustAsk(t, i, "pid"))
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	started := time.Now()
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("Close took %s", took)
	}
	if alive(pid) {
		t.Error("the plugin is alive")
	}
}

func TestCloseLetsCallsEnd(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan error, 1)
	go func() {
		_, err := ask(ctx, i, "wait")
		waiting <- err
	}()
	eventually(t, "the call", func() bool { return strings.Contains(strings.Join(h.Logs("db"), "\n"), "waiting") })
	proc := i.now.Load().process
	closed := make(chan error, 1)
	go func() { closed <- h.Close(testContext(t)) }()
	eventually(t, "refusal", func() bool {
		_, err := ask(testContext(t), i, "kilobyte")
		return err != nil && sdk.AsError(err).Executed == sdk.ExecutedNo
	})
	select {
	case <-closed:
		t.Fatal("Close did not wait for a call")
	case <-proc.child.exited:
		t.Error("the plugin ended with a call under way")
	case err := <-waiting:
		t.Fatalf("the call ended: %v", err)
	default:
	}
	cancel()
	if err := <-waiting; err == nil || sdk.AsError(err).Kind != sdk.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if exit := proc.child.exit(proc); exit.Killed {
		t.Errorf("it ended by force: %+v", exit)
	}
	_, err := h.Open(testContext(t), "db", "c", nil)
	wantError(t, err, sdk.Unavailable, "shutting_down")
	_, err = i.Execute(testContext(t), sqlCall("kilobyte"))
	if sdk.AsError(err).Executed != sdk.ExecutedNo {
		t.Errorf("got %v", err)
	}
}

func TestInstancesAreOpenedAgainAfterACrash(t *testing.T) {
	h := newHost(t, Options{}, "db")
	var instances []*Instance
	for _, path := range []string{"/a", "/b", "/c"} {
		instances = append(instances, mustOpen(t, h, "db", `{"path":"`+path+`"}`))
	}
	if err := instances[1].Close(testContext(t)); err != nil {
		t.Error(err)
	}
	_, err := instances[1].Execute(testContext(t), sqlCall("kilobyte"))
	wantError(t, err, sdk.Unavailable, "instance_closed")
	lost := instances[0].now.Load().process
	_, _ = ask(testContext(t), instances[0], "exit 1")
	for n, want := range map[int]string{0: "/a", 2: "/c"} {
		// A call that is sent before the loss is seen is lost too.
		eventually(t, "loss", func() bool { o := instances[n].now.Load(); return o == nil || o.process != lost })
		if got := mustAsk(t, instances[n], "path"); got != `[{"path":"`+want+`"}]` {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if s := status(t, h, "db"); len(s.Instances) != 2 || s.Restarts != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestRestartsLeakNothing(t *testing.T) {
	h := newHost(t, Options{}, "db")
	h.healthyLife = 0 // restarts at once
	i := mustOpen(t, h, "db", "")
	crash := func() {
		var body string
		eventually(t, "an answer", func() (ok bool) { // of a machine that may be busy
			var err error
			body, err = ask(testContext(t), i, "pid")
			return err == nil
		})
		pid, proc := number(t, body), i.now.Load().process
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "loss", func() bool { o := i.now.Load(); return o == nil || o.process != proc })
	}
	for range 3 {
		crash()
	}
	mustAsk(t, i, "pid")
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 200 {
		crash()
	}
	mustAsk(t, i, "pid")
	if s := status(t, h, "db"); s.Restarts != 203 || s.Failures != 0 {
		t.Errorf("got %+v", s)
	}
	eventually(t, "as many files as before", func() bool { return openFiles(t) <= fds })
	// A few come and go with what is under way; a leak would be one for each restart.
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() < goroutines+25 })
	if dirs, _ := os.ReadDir(h.run.sockets); len(dirs) != 1 {
		t.Errorf("%d socket directories", len(dirs))
	}
}

func openFiles(t testing.TB) int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
