//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// gateway is an athena server process.
type gateway struct {
	cmd    *exec.Cmd
	dir    string // its working folder, with config.yaml
	url    string // http://127.0.0.1:port
	stdout testenv.Output
	stderr testenv.Output
	exited chan struct{}
}

// launch starts athena in a folder of its own with that config.yaml ("": none). It
// listens on a free port and has the built plugins unless env says otherwise.
func launch(t *testing.T, config string, env []string, args ...string) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir(), exited: make(chan struct{})}
	if config != "" {
		path := filepath.Join(g.dir, "config.yaml")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	g.cmd = exec.Command(athena(t), args...)
	g.cmd.Dir = g.dir
	g.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "TMPDIR=" + tempDir,
		"ATHENA_PORT=0", "ATHENA_PLUGINS_DIR=" + testenv.BuildPlugins(t)}, env...)
	g.cmd.Stdout, g.cmd.Stderr = &g.stdout, &g.stderr
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the test
	g.cmd.WaitDelay = 5 * time.Second                       // for a child that holds our pipes
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = g.cmd.Wait() // the exit code is in ProcessState
		close(g.exited)
	}()
	t.Cleanup(func() {
		if g.running() {
			_ = g.cmd.Process.Kill()
			<-g.exited
		}
		if t.Failed() {
			t.Logf("athena printed:\n%s\nand logged:\n%s", &g.stdout, &g.stderr)
		}
	})
	return g
}

var listensOn = regexp.MustCompile(`listens on (http://\S+)\n`)

// start launches athena as a server and waits until it serves. When t ends it must end in
// order.
func start(t *testing.T, config string, env ...string) *gateway {
	t.Helper()
	g := launch(t, config, env, "server")
	g.ready(t)
	t.Cleanup(func() {
		if g.running() {
			g.stop(t)
		}
	})
	return g
}

// ready waits for the line with the URL.
func (g *gateway) ready(t *testing.T) {
	t.Helper()
	eventually(t, 30*time.Second, "the gateway listens", func() bool {
		found := listensOn.FindStringSubmatch(g.stdout.String())
		if found == nil && !g.running() {
			t.Fatalf("athena ended with code %d", g.code())
		}
		if found != nil {
			g.url = found[1]
		}
		return found != nil
	})
}

func (g *gateway) running() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

// code is the exit code of a process that has ended.
func (g *gateway) code() int { return g.cmd.ProcessState.ExitCode() }

// wait returns the exit code.
func (g *gateway) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-g.exited:
	case <-time.After(45 * time.Second):
		t.Fatal("athena did not end")
	}
	return g.code()
}

// stop ends the gateway in order: it must exit with 0, leave no process and no file.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	plugins := g.plugins()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if code := g.wait(t); code != 0 {
		t.Errorf("after SIGTERM athena exited with %d", code)
	}
	for _, p := range plugins {
		if p.alive() {
			t.Errorf("the plugin %s (%d) is left", p.name, p.pid)
		}
	}
	if left := g.runDirs(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// runDirs are the gateway's private folders.
func (g *gateway) runDirs() []string {
	found, _ := filepath.Glob(filepath.Join(tempDir, fmt.Sprintf("athena-%d-%d-*", os.Getuid(), g.cmd.Process.Pid)))
	return found
}

// plugins are the gateway's plugin processes.
func (g *gateway) plugins() []process { return children(g.cmd.Process.Pid) }

// plugin returns the process of one plugin, false while there is none.
func (g *gateway) plugin(name string) (process, bool) {
	for _, p := range g.plugins() {
		if p.name == name {
			return p, true
		}
	}
	return process{}, false
}

// eventually waits until condition holds and returns how long that took.
func eventually(t *testing.T, within time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-poll.C
	}
	return time.Since(began)
}

// contains fails t unless text holds all of the parts.
func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}
