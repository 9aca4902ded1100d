//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// steadyReader asks a client at an even pace and notes how long each answer takes.
type steadyReader struct {
	mu    sync.Mutex
	took  []time.Duration // since the last lap
	stop  chan struct{}
	ended sync.WaitGroup
}

// readSteadily reads client until stopped; a failure fails t.
func (g *gateway) readSteadily(t *testing.T, client string) *steadyReader {
	r := &steadyReader{stop: make(chan struct{})}
	for range 4 {
		r.ended.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-r.stop:
					return
				case <-pace.C:
				}
				began := time.Now()
				a, err := g.send(sqlRequest(client, "kilobyte"))
				if err != nil || a.status != 200 || len(a.body) < 1000 {
					t.Errorf("a read of another plugin failed: %v %+v", err, a)
					return
				}
				r.mu.Lock()
				r.took = append(r.took, time.Since(began))
				r.mu.Unlock()
			}
		})
	}
	return r
}

// lap returns how long the answers took since the last lap, at least so many of them: the
// middle one and the slowest.
func (r *steadyReader) lap(t *testing.T, least int) (middle, slowest time.Duration) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("%d reads", least), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.took) >= least
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.took)
	middle, slowest = r.took[len(r.took)/2], r.took[len(r.took)-1]
	r.took = nil
	return middle, slowest
}

// end stops the reads.
func (r *steadyReader) end() {
	close(r.stop)
	r.ended.Wait()
}

// misbehaving are plugins by what they do, with what their clients and operators are told.
var misbehaving = []struct {
	name, config string // of its client
	do           string // asked of the client, if it can be opened
	status       int    // of the last answer; 0: 502 when it died with the call, or 503 in between
	code         string
	state        string // that it comes to
	told         string // in the plugin's last_error or exit report, or why its client does not serve
	serves       bool   // afterwards, once it is released if it is quarantined
}{
	{name: "crashing", status: 503, code: "client_unavailable", state: "quarantined", told: "exited with code 3 before it was ready"},
	{name: "hanging", status: 503, code: "client_unavailable", state: "backoff or quarantined", told: "was not ready within 10s; it must call sdk.Serve at once"},
	{name: "chatty", status: 503, code: "client_unavailable", state: "quarantined", told: "nothing but sdk.Serve may write to stdout; print to stderr instead"},
	{name: "version", status: 503, code: "client_unavailable", state: "quarantined", told: "speaks version 99 of the plugin protocol, this gateway version 1: build it with the SDK of this gateway's version"},
	{name: "text", status: 503, code: "client_unavailable", state: "rejected", told: "neither a program nor a script"},
	{name: "plain", status: 503, code: "client_unavailable", state: "rejected", told: "chmod +x"},
	{name: "opencrash", config: "open: crash", status: 503, code: "client_unavailable", state: "quarantined", told: "exited with code 5"},
	{name: "openhang", config: "open: hang", status: 503, code: "client_unavailable", state: "ready", told: `did not open "openhang" within 10s`},
	{name: "callcrash", do: "exit 9", state: "quarantined", told: "exited with code 9", serves: true},
	{name: "callhang", do: "stuck", status: 504, state: "ready", serves: true},
	{name: "printing", do: "print 10000", status: 200, state: "ready", serves: true},
	{name: "leaking", do: "leak 4", status: 502, code: "outcome_unknown", state: "ready", told: "and may use 96 MiB", serves: true},
}

// TestMisbehavingPlugins has plugins that crash or hang at their start, when a client is
// opened and at calls, that are none, print what they should not or take too much memory. It
// is told why each does not serve and what to do, those that can serve again do, and the
// reads of another plugin go on as they did before.
func TestMisbehavingPlugins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addProbe(t, dir, "steady")
	config := "gateway: {resilience_timeout_secs: 3}\nplugins: {limits: {leaking: {memory_mb: 96}}}\nclients:\n  steady: {backend: steady}\n"
	for _, m := range misbehaving {
		config += fmt.Sprintf("  %s: {backend: %s, config: {%s}}\n", m.name, m.name, m.config)
	}
	g := start(t, config, "ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	steady := g.pluginState(t, "steady")["pid"]
	reader := g.readSteadily(t, "steady")
	middle, slowest := reader.lap(t, 200)
	t.Logf("reads before: the middle one %s, the slowest %s", middle, slowest)

	for _, m := range misbehaving { // their clients wait for them
		switch m.name {
		case "version":
			script(t, dir, m.name, "echo '1|99|unix|/nowhere|grpc'; sleep 9")
		case "text":
			put(t, filepath.Join(dir, m.name), []byte("a text\n"))
		case "plain":
			if err := os.WriteFile(filepath.Join(dir, m.name), []byte("a text\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			addProbe(t, dir, m.name)
		}
	}
	g.ask(t, admin("POST", "/reload", "")).is(t, 200, `{"status": "success"}`)
	t.Run("each", func(t *testing.T) {
		for _, m := range misbehaving {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				if m.do != "" {
					eventually(t, 60*time.Second, "the client serves", func() bool { return g.query(t, m.name, "pid").status == 200 })
				}
				var last *reply
				var state map[string]any
				eventually(t, 120*time.Second, "the plugin is "+m.state, func() bool {
					if state = g.pluginState(t, m.name); last != nil && strings.Contains(m.state, state["state"].(string)) { // how far it is when it is looked at is chance
						return true
					}
					if m.do == "" || m.state == "quarantined" || last == nil {
						do := m.do
						if do == "" {
							do = "pid"
						}
						last = g.query(t, m.name, do)
					}
					return false
				})
				if m.code != "" && last.value(t, "code") != m.code || m.status != 0 && last.status != m.status {
					t.Errorf("answered %d, want %d %s: %s", last.status, m.status, m.code, last.body)
				}
				var told string
				defer func() { t.Log("it was told: ", told) }()
				eventually(t, 60*time.Second, m.told, func() bool { // a client that is being opened is so for a while
					state = g.pluginState(t, m.name)
					exit, _ := state["exit"].(map[string]any)
					told = fmt.Sprint(state["last_error"], "; ", exit["report"], "; ", g.clientState(t, m.name)["error"])
					return strings.Contains(told, m.told)
				})
				if !m.serves {
					return
				}
				if m.state == "quarantined" {
					g.query(t, m.name, "pid").is(t, 503, `{"code": "plugin_quarantined"}`)
					g.ask(t, admin("POST", "/"+m.name+"/release", "")).is(t, 200, `{"status": "success"}`)
				}
				eventually(t, 20*time.Second, "the client serves again", func() bool { return g.query(t, m.name, "pid").status == 200 })
				if restarts := fmt.Sprint(g.pluginState(t, m.name)["restarts"]); (m.state == "ready" && m.told == "") != (restarts == "0") {
					t.Errorf("%s restarts", restarts)
				}
			})
		}
	})
	// A call that cannot be stopped would keep the gateway from ending until its timeout.
	deaf, ok := g.plugin("callhang")
	if !ok {
		t.Fatal("the plugin of the call that hangs does not run")
	}
	if err := syscall.Kill(deaf.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "its client serves", func() bool { return !deaf.alive() && g.query(t, "callhang", "pid").status == 200 })
	middleNow, slowestNow := reader.lap(t, 200)
	t.Logf("reads beside: the middle one %s, the slowest %s", middleNow, slowestNow)
	// They share the processors, with other tests too, and no more than these.
	if middleNow > 5*middle+20*time.Millisecond || slowestNow > 5*slowest+2*time.Second {
		t.Errorf("reads of another plugin took %s, at most %s; before %s, at most %s", middleNow, slowestNow, middle, slowest)
	}
	reader.end()
	if state := g.pluginState(t, "steady"); state["pid"] != steady || fmt.Sprint(state["restarts"]) != "0" {
		t.Errorf("the other plugin: %v", state)
	}
}

// TestChildrenOfPlugins: what a plugin leaves behind in its process group ends with it. A
// process that left the group lives on, and keeps nobody waiting.
func TestChildrenOfPlugins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addProbe(t, dir, "probe")
	g := start(t, "clients: {probe: {backend: probe}}", "ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	for code, do := range []string{"child", "runaway"} { // both hold the plugin's output open
		rows, _ := g.query(t, "probe", do).value(t, "data").([]any)
		pid, err := strconv.Atoi(fmt.Sprint(rows[0].(map[string]any)["pid"]))
		if err != nil {
			t.Fatal(err)
		}
		child, _, ok := readProcess(pid)
		if !ok {
			t.Fatalf("%s: no process %d", do, pid)
		}
		t.Cleanup(func() {
			if child.alive() {
				_ = syscall.Kill(child.pid, syscall.SIGKILL)
			}
		})
		began := time.Now()
		g.query(t, "probe", fmt.Sprint("exit ", code+7)).is(t, 502, `{"code": "outcome_unknown"}`)
		eventually(t, 20*time.Second, "the exit report", func() bool {
			exit, _ := g.pluginState(t, "probe")["exit"].(map[string]any)
			return fmt.Sprint(exit["code"]) == fmt.Sprint(code+7)
		})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: the plugin's end was noticed after %s", do, took)
		}
		eventually(t, 20*time.Second, "the client serves again", func() bool { return g.query(t, "probe", "pid").status == 200 })
		if do == "child" {
			eventually(t, 20*time.Second, "the child has ended", func() bool { return !child.alive() })
		} else if !child.alive() {
			t.Error("the child that left the group has ended: say so in the documentation")
		}
	}
}

// TestLogFloods compares what the gateway spends on a plugin that logs 100 MB a second with
// what it spends on 1 MB, while another plugin is read at the same pace.
func TestLogFloods(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addProbe(t, dir, "steady")
	addProbe(t, dir, "flood")
	g := start(t, "clients: {steady: {backend: steady}, flood: {backend: flood}}", "ATHENA_PLUGINS_DIR="+dir, "ATHENA_KEY_12="+adminKey)
	reader := g.readSteadily(t, "steady")
	pour := func(way string, rate int) (cpu, lost float64, bytes int) {
		before := cpuTime(t, g.cmd.Process.Pid)
		rows, _ := g.query(t, "flood", fmt.Sprint(way, " ", rate)).value(t, "data").([]any)
		cpu = cpuTime(t, g.cmd.Process.Pid) - before
		bytes, _ = strconv.Atoi(fmt.Sprint(rows[0].(map[string]any)["poured"]))
		lost, _ = strconv.ParseFloat(fmt.Sprint(g.pluginState(t, "flood")["logs_lost"]), 64)
		middle, slowest := reader.lap(t, 50)
		t.Logf("%s %d MB/s: %d MB, %.2f s of the gateway's processor, %.0f lines lost, reads %s, at most %s", way, rate, bytes>>20, cpu, lost, middle, slowest)
		return cpu, lost, bytes
	}
	little, _, _ := pour("pour", 1)
	var all, lines float64
	for _, way := range []string{"pour", "gush"} { // written to stderr, and printed
		much, lost, poured := pour(way, 100)
		if more := much - little; more > 1 {
			t.Errorf("%s: 100 MB/s cost the gateway %.2f s of processor time in 3 s, 1 MB/s %.2f s", way, much, little)
		}
		all, lines = lost, lines+float64(poured/100)
	}
	reader.end()
	if all < lines/2 || all > lines+400_000 {
		t.Errorf("%.0f of %.0f lines were counted as lost", all, lines)
	}
	contains(t, "the log", g.stderr.String(), "lines were dropped")
	contains(t, "/metrics", string(g.ask(t, request{method: "GET", path: "/metrics"}).body), `athena_plugin_log_lines_dropped_total{plugin="flood"} `)
	if state := g.pluginState(t, "flood"); state["state"] != "ready" || fmt.Sprint(state["restarts"]) != "0" {
		t.Errorf("the flooding plugin: %v", state)
	}
}

// cpuTime is the processor time that a process has used, in seconds.
func cpuTime(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100 // Linux reports hundredths everywhere
}
