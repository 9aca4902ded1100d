package testenv

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BuildPlugins returns the absolute path of a folder with the binaries of all plugins,
// built from the sources as they are. They are built without -race.
func BuildPlugins(t testing.TB) string {
	t.Helper()
	dir, err := buildPlugins()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var buildPlugins = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if err := watchSources(filepath.Join(root, "plugins"), filepath.Join(root, "sdk")); err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "testplugins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // frees it
	if err := lockFile(lock); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./plugins/...")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugins: %w\n%s", err, output)
	}
	return dir, nil
})

// watchSources looks at every source file that the binaries are made of: go test reuses an
// old result unless a file that the test looked at has changed.
func watchSources(dirs ...string) error {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			_, err = os.Stat(path)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the folder of go.mod above the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working folder")
		}
		dir = parent
	}
}
