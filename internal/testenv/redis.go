//go:build unix

package testenv

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// RedisServer is a Redis that a test starts, stops and starts again.
type RedisServer struct {
	URL string // redis://127.0.0.1:PORT/0

	port int
	dir  string
	cmd  *exec.Cmd
}

// Redis starts a Redis server that keeps nothing on disk.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	port := freePort()
	s := &RedisServer{URL: "redis://127.0.0.1:" + strconv.Itoa(port) + "/0", port: port, dir: t.TempDir()}
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

// Start starts it, again if it was stopped.
func (s *RedisServer) Start(t testing.TB) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("this test needs Redis: install it (on Debian: scripts/install-debian.sh redis-server)")
	}
	log := filepath.Join(s.dir, "log")
	s.cmd = exec.Command(binary, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--logfile", log)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForPort(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), log)
}

// Listeners is how many connections have subscribed to a channel.
func (s *RedisServer) Listeners(t testing.TB, channel string) (n int) {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var name string
	if _, err = fmt.Fprintf(conn, "PUBSUB NUMSUB %s\r\n", channel); err == nil { // the answer: *2 $LENGTH CHANNEL :N
		_, err = fmt.Fscanf(conn, "*2\r\n$%d\r\n%s\r\n:%d\r\n", new(int), &name, &n)
	}
	if err != nil || name != channel {
		t.Fatalf("Redis tells no subscribers of %q: %v", channel, err)
	}
	return n
}

// Stop kills it.
func (s *RedisServer) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	_ = s.cmd.Wait()
}
