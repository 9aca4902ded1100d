package sdktest

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// InProcess is the target with p served in this process, over the same protocol.
func (t Target) InProcess(p sdk.Plugin) Target {
	t.Connect = func(context.Context) (*sdk.Remote, func(), error) { return sdk.InProcess(p) }
	t.Held = func() (int64, error) {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC() // the first only retires what pools hold
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc), nil
	}
	t.SameProcess = true
	return t
}

// Binary is the target with the plugin run from the executable at path, a process per
// Connect, without the gateway's supervision.
func (t Target) Binary(path string) Target {
	var mu sync.Mutex
	var latest *Process
	t.Connect = func(ctx context.Context) (*sdk.Remote, func(), error) {
		process, remote, disconnect, err := startProcess(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		latest = process
		return remote, disconnect, nil
	}
	t.Process = func() *Process {
		mu.Lock()
		defer mu.Unlock()
		return latest
	}
	if runtime.GOOS == "linux" {
		t.Held = func() (int64, error) { return t.Process().resident() }
	}
	return t
}

// Build builds the plugin of a package, named as in go build, and returns the path of
// its executable, which lives as long as the test.
func Build(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}
