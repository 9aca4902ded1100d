//go:build unix

package node_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// plugin returns the bytes of the plugin's one file, made as the README says.
func plugin(t testing.TB) []byte {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var build = sync.OnceValues(func() ([]byte, error) {
	// The files that go test sees opened decide whether an old result of a test still holds.
	for _, pattern := range []string{"*.js*", "proto/*", "src/*", "src/athena/*", "../../sdk/pluginpb/plugin.proto"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if _, err := os.Stat(file); err != nil {
				return nil, err
			}
		}
	}
	lock, err := os.Open("package.json") // npm replaces node_modules: one at a time
	if err != nil {
		return nil, err
	}
	defer lock.Close() // frees it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	for _, command := range []string{"npm ci --prefer-offline --ignore-scripts --loglevel=error", "npm run --silent build"} {
		words := strings.Fields(command)
		if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: it needs npm, and Node 18 or newer\n%s", command, err, output)
		}
	}
	return os.ReadFile("dist/node-kv")
})

// install puts the plugin into a directory, as an operator does: never half of it.
func install(t testing.TB, dir string, file []byte) {
	t.Helper()
	temporary := filepath.Join(dir, ".new")
	if err := os.WriteFile(temporary, file, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, "node-kv")); err != nil {
		t.Fatal(err)
	}
}
