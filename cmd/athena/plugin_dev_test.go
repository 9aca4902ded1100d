package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// devProcess starts athena plugin dev with its output to read.
func devProcess(t *testing.T, cmd *exec.Cmd) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	// A file of our own, as a terminal is: it is open for as long as anybody has it.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		r.Close()
	})
	if err := r.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(r)
}

func TestPluginDev(t *testing.T) {
	home, plugins := t.TempDir(), t.TempDir()
	text := "#!/bin/sh\ntrap 'echo ended by TERM; exit 7' TERM\nsleep 600 &\necho \"$@\"\nwait\n"
	if err := os.WriteFile(filepath.Join(home, "moons"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd, output := devProcess(t, command(home, "plugin", "dev", "./moons", "--dir", plugins))
	if line, err := output.ReadString('\n'); err != nil || line != "--dev "+plugins+"\n" {
		t.Fatalf("started with %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(output) // to its end: the sleeping child holds the output too
	if err != nil || string(rest) != "ended by TERM\n" {
		t.Errorf("printed %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after a signal: %v", err)
	}

	if err := os.WriteFile(filepath.Join(home, "broken"), []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := execute(t, home, "plugin", "dev", "broken", "--dir", plugins); code != 1 || !strings.Contains(stderr, "broken ended: exit status 3") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestPluginDevBuildsAFolder runs a package, which tells how it was built and started.
func TestPluginDevBuildsAFolder(t *testing.T) {
	folder, plugins := filepath.Join(t.TempDir(), "moons"), t.TempDir()
	source := `package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

func main() {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-gcflags" {
			fmt.Println(filepath.Base(os.Args[0]), os.Args[1:], setting.Value)
		}
	}
}
`
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"main.go": source, "go.mod": "module moons\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func() string {
		temp := t.TempDir()
		cmd := exec.Command(os.Args[0], "plugin", "dev", ".", "--dir", plugins)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "ATHENA_TEST_AS_MAIN=1", "TMPDIR="+temp)
		output, _ := cmd.CombinedOutput()
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left over: %v, %v", left, err)
		}
		return string(output)
	}
	if got, want := run(), "moons [--dev "+plugins+"] all=-N -l\n"; got != want {
		t.Errorf("printed %q; want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte("package main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(); !strings.Contains(got, "main is undeclared") || !strings.Contains(got, "building "+folder) {
		t.Errorf("printed %q", got)
	}
}

// TestPluginDevUnderDlv looks at how dlv is called, with a script of its name.
func TestPluginDevUnderDlv(t *testing.T) {
	home, plugins := t.TempDir(), t.TempDir()
	plugin := filepath.Join(home, "moons")
	for path, text := range map[string]string{plugin: "#!/bin/sh\n", filepath.Join(home, "bin", "dlv"): "#!/bin/sh\necho \"$@\"\n"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for flag, address := range map[string]string{"--debug": "127.0.0.1:2345", "--debug=127.0.0.1:4000": "127.0.0.1:4000"} {
		cmd := command(home, "plugin", "dev", "moons", "--dir", plugins, flag)
		cmd.Env = append(cmd.Env, "PATH="+filepath.Join(home, "bin")+":"+os.Getenv("PATH"))
		output, err := cmd.CombinedOutput()
		if want := "exec --headless --listen " + address + " " + plugin + " -- --dev " + plugins + "\n"; err != nil || string(output) != want {
			t.Errorf("%q, %v; want %q", output, err, want)
		}
	}
	cmd := command(home, "plugin", "dev", "moons", "--dir", plugins, "--debug")
	cmd.Env = append(cmd.Env, "PATH="+home)
	if output, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(output, []byte("go install github.com/go-delve/delve/cmd/dlv@latest")) {
		t.Errorf("%q, %v", output, err)
	}
}
