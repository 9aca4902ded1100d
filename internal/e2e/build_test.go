//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// tempDir holds the gateways' sockets. Its path is short: a socket's may have about a
// hundred bytes.
var tempDir string

func TestMain(m *testing.M) {
	var err error
	if tempDir, err = os.MkdirTemp("", "e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(tempDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// athena returns the path of the gateway's binary, built from the sources as they are,
// without -race: what it costs is part of what is tested.
func athena(t *testing.T) string {
	t.Helper()
	path, err := buildAthena()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildAthena = sync.OnceValues(func() (string, error) {
	const root = "../.."
	// go test reuses an old result unless a file that the test looked at has changed.
	for _, dir := range []string{"cmd", "core", "sdk", "config.yaml"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !slices.Contains([]string{".go", ".yaml", ".tmpl"}, filepath.Ext(path)) {
				return err
			}
			_, err = os.Stat(path)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	path, err := filepath.Abs(filepath.Join(root, "bin", "teste2e", "athena")) // kept: linking takes seconds
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", path, "./cmd/athena")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building athena: %w\n%s", err, output)
	}
	return path, nil
})
