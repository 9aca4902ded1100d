package pluginhost

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// orphanEnv makes the test binary a gateway over the plugin directory that it names.
const orphanEnv = "PLUGINHOST_TEST_DIR"

// beGateway opens an instance, tells the plugin's pid, and waits for its death.
func beGateway(dir string) {
	h, err := New(Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	i, err := h.Open(context.Background(), "db", "c", nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(i.now.Load().process.child.ID(), h.run.path)
	select {}
}

func TestKilledGatewayLeavesNoPlugin(t *testing.T) {
	gateway := exec.Command(os.Args[0])
	gateway.Env = append(os.Environ(), orphanEnv+"="+pluginDir(t, "db"))
	gateway.Stderr = os.Stderr
	out, err := gateway.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	var runDir string
	if _, err := fmt.Sscan(line, &pid, &runDir); err != nil || !alive(pid) {
		t.Fatalf("%q: %v", line, err)
	}
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gateway.Wait()
	eventually(t, "the plugin's death", func() bool { return !alive(pid) })
	if !isDir(runDir) {
		t.Fatal("the killed gateway has removed its run directory")
	}
	newHost(t, Options{}, "db")
	if isDir(runDir) {
		t.Errorf("%s is not swept", runDir)
	}
}

// TestLifeline is how a plugin learns of the gateway's death where the kernel does not tell.
func TestLifeline(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	proc := i.now.Load().process
	proc.child.alive.Close()
	<-proc.child.exited
	if exit := proc.child.exit(proc); exit.Code != 1 || exit.Killed {
		t.Errorf("got %+v", exit)
	}
	if err := i.Close(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentHoldsNoSecrets(t *testing.T) {
	t.Setenv("POSTGRES_URI", "postgres://u:canary@h")
	t.Setenv("ATHENA_KEY", "canary")
	t.Setenv("WANTED", "yes")
	t.Setenv("LC_TIME", "C")
	h := newHost(t, Options{Env: []string{"WANTED", "EXTRA=1"}}, "db")
	env := mustAsk(t, mustOpen(t, h, "db", `{"token":"canary-in-config"}`), "env")
	if strings.Contains(env, "canary") {
		t.Errorf("a secret in %s", env)
	}
	for _, want := range []string{"PATH=", "WANTED=yes", "EXTRA=1", "LC_TIME=C", "ATHENA_PLUGIN_LIFELINE=3"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in %s", want, env)
		}
	}
}

func TestRunDirectory(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 80))
	if _, err := New(Options{Dir: t.TempDir(), RunDir: long}); err == nil || !strings.Contains(err.Error(), "too long a path") {
		t.Errorf("got %v", err)
	}
	dir, err := os.MkdirTemp("", "ph")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run := filepath.Join(dir, "run")
	h := newHost(t, Options{RunDir: run}, "db")
	if _, err := New(Options{Dir: t.TempDir(), RunDir: run}); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Errorf("got %v", err)
	}
	mustOpen(t, h, "db", "")
	for _, name := range []string{"", "s", "store"} {
		info, err := os.Stat(filepath.Join(run, name))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestNewFileIsUsedAtTheNextStart replaces a plugin while it runs.
func TestNewFileIsUsedAtTheNextStart(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	old := status(t, h, "db").Checksum
	path := filepath.Join(h.options.Dir, "db")
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, _ = ask(testContext(t), i, "exit 1")
	mustAsk(t, i, "kilobyte") // from the copy
	if err := os.WriteFile(path, append(binary, "changed"...), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _ = ask(testContext(t), i, "exit 1")
	mustAsk(t, i, "kilobyte")
	s := status(t, h, "db")
	if s.Checksum == old || s.Restarts != 2 {
		t.Errorf("got %+v", s)
	}
	if found := h.Discover(); found[0].Checksum != s.Checksum {
		t.Errorf("got %+v", found)
	}
}

// stuckLog is a log whose sink takes nothing until it is freed.
type stuckLog struct{ free chan struct{} }

func (s stuckLog) Write(p []byte) (int, error) {
	<-s.free
	return len(p), nil
}

func TestLogFloodBlocksNothing(t *testing.T) {
	stuck := stuckLog{make(chan struct{})}
	h := newHost(t, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: stuck, Level: hclog.Debug})}, "db")
	t.Cleanup(func() { close(stuck.free) }) // before the host is closed
	i := mustOpen(t, h, "db", `{"token":"canary"}`)
	mustAsk(t, i, "flood 1000")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const lines = 100_000 // of 300 bytes
	took := number(t, mustAsk(t, i, "flood "+strconv.Itoa(lines)))
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d lines in %d ms", lines, took)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	eventually(t, "all lines read", func() bool { return status(t, h, "db").LogsLost >= lines-logLines })
	eventually(t, "the last line", func() bool {
		last := h.Logs("db")
		return len(last) == lastLines && strings.HasSuffix(last[len(last)-1], "n="+strconv.Itoa(lines-1))
	})
}

func TestDroppedLinesAreTold(t *testing.T) {
	var log logBuffer
	l := newLogs(log.logger())
	l.mu.Lock()
	for range 5 {
		l.dropped++
	}
	l.mu.Unlock()
	l.add([]byte("plain\n"))
	l.add([]byte(`{"@level":"warn","@message":"m","@timestamp":"2026-01-01T00:00:00.000000Z","b":9007199254740993,"a":"x"}`))
	l.add([]byte(`{"@level":7}`))
	l.add([]byte("panic: no\n"))
	l.close()
	for _, want := range []string{"dropped=5", "[INFO]  plain", "[WARN]  m: a=x b=9007199254740993", `{"@level":7}`, "[ERROR] panic: no"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, log.String())
		}
	}
}

// TestPrintsAreRead: what is printed after the handshake goes through go-plugin's streams.
func TestPrintsAreRead(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := ask(ctx, i, "print 10000"); err != nil { // 1 MB, far beyond any pipe
		t.Error(err)
	}
	eventually(t, "the lines", func() bool {
		last := h.Logs("db")
		return len(last) > 0 && strings.HasPrefix(last[len(last)-1], "pppp")
	})
}

func TestLongLines(t *testing.T) {
	var got []int
	readLines(strings.NewReader("short\n"+strings.Repeat("x", 3*maxLine)+"\nafter\nend"), func(line []byte) { got = append(got, len(line)) })
	if fmt.Sprint(got) != fmt.Sprint([]int{6, maxLine, 6, 3}) {
		t.Error(got)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"m","k":[1,{"a":null}]}`))
	f.Add([]byte(`{"@level":"trace"`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var log logBuffer
		l := newLogs(log.logger())
		l.add(line)
		l.last(0, lastLines)
		l.close()
	})
}
