package testenv

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestDatabasesAreApart(t *testing.T) {
	const setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (1)"
	for _, name := range []string{"a", "b", "c", "d"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, Database(t, setup))
			defer disconnect(conn)
			run(t, conn, "INSERT INTO t VALUES (2)")
			if rows := run(t, conn, "SELECT n FROM t"); len(rows) != 2 {
				t.Errorf("%d rows, want the setup's and one more", len(rows))
			}
		})
	}
}

func TestDatabaseIsDroppedThoughInUse(t *testing.T) {
	var uri string
	t.Run("user", func(t *testing.T) {
		uri = Database(t)
		conn := connect(t, uri)
		run(t, conn, "CREATE TABLE t ()")
	})
	admin := connect(t, Postgres(t))
	defer disconnect(admin)
	name := path.Base(uri[:strings.IndexByte(uri+"?", '?')])
	if rows := run(t, admin, "SELECT 1 FROM pg_database WHERE datname = '"+name+"'"); len(rows) != 0 {
		t.Errorf("%s is still there", name)
	}
}

func TestBuildPlugins(t *testing.T) {
	dir := BuildPlugins(t)
	for _, name := range []string{"postgres", "sqlite"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInstalledBinaries wants PostgreSQL found where packages put it, also when nothing of it
// is in PATH.
func TestInstalledBinaries(t *testing.T) {
	bare := t.TempDir()
	for _, name := range []string{"bash", "dirname", "ls", "sort"} {
		target, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(bare, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		installed, _ := filepath.Glob(pattern + "/initdb")
		if len(installed) == 0 {
			continue
		}
		script := exec.Command(filepath.Join(bare, "bash"), "../../scripts/postgres-bin.sh")
		script.Env = []string{"PATH=" + bare}
		found, err := script.Output()
		if dir := strings.TrimSpace(string(found)); err != nil || !filepath.IsAbs(dir) {
			t.Errorf("%v, and not %s but %q", err, installed, dir)
		}
	}
}
