//go:build unix

package testenv

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// PgBouncer starts a PgBouncer before uri's server and returns the URI that goes through
// it. It pools transactions on two server connections, so that clients do share them, and
// as its default is refuses startup parameters that it does not track.
func PgBouncer(t testing.TB, uri string) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("this test needs PgBouncer: install it (on Debian: scripts/install-debian.sh pgbouncer)")
		}
	}
	server, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	as := findServerUser(t)
	dir, port := as.tempDir(t), freePort()
	password, _ := server.User.Password()
	files := map[string]string{
		"users": fmt.Sprintf("%q %q\n", server.User.Username(), password),
		"pgbouncer.ini": fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
logfile = %s
pidfile = %s
`, server.Hostname(), server.Port(), port, filepath.Join(dir, "users"), filepath.Join(dir, "log"), filepath.Join(dir, "pid")),
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), as.own(path)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := as.command(binary, "-q", filepath.Join(dir, "pgbouncer.ini"))
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
		_ = cmd.Wait()
	})
	server.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	waitForPort(t, server.Host, filepath.Join(dir, "log"))
	return server.String()
}

// waitForPort waits until something accepts connections; log says why it does not.
func waitForPort(t testing.TB, address, log string) {
	t.Helper()
	for range 500 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("nothing accepts connections at %s\n%s", address, text)
}
