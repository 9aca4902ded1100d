package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestUnavailable: an instance says why it is not open.
func TestUnavailable(t *testing.T) {
	dir, flag := pluginDir(t, "alpha"), filepath.Join(t.TempDir(), "flag")
	h := newHost(t, Options{Dir: dir})
	i := mustOpen(t, h, "alpha", fmt.Sprintf(`{"flag": %q}`, flag))
	if e := i.Unavailable(); e != nil {
		t.Errorf("an open instance says %v", e)
	}
	reason := func(want string) {
		t.Helper()
		eventually(t, "the instance says "+want, func() bool {
			e := i.Unavailable()
			return e == nil && want == "" || e != nil && e.Reason == want
		})
	}
	pid := number(t, mustAsk(t, i, "pid"))
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	reason("plugin_backoff")
	if err := os.Remove(filepath.Join(dir, "alpha")); err != nil {
		t.Fatal(err)
	}
	h.Reload()
	reason("plugin_removed")
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(testBinary, filepath.Join(dir, "alpha")); err != nil {
		t.Fatal(err)
	}
	h.Reload()
	reason("")
}
