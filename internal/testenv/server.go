//go:build unix

package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ServerOptions say how a PostgresServer differs from the one that all tests share.
type ServerOptions struct {
	// Version is a major version, such as 15 or 18; 0 is the shared server's.
	Version  int
	Settings map[string]string // of postgresql.conf
	// HBA are the lines of pg_hba.conf for TCP; none lets everybody in. The helpers of
	// this package come in by a Unix socket.
	HBA []string
	TLS *Certificates // nil: no TLS
}

// PostgresServer is a server of a test's own, on the loopback. It ends with the test.
type PostgresServer struct {
	bin, dir string // dir holds data, the socket and the log
	port     int
	as       *serverUser
	settings map[string]string
	process  *exec.Cmd     // nil: not running
	exited   chan struct{} // closed when process has ended
	frozen   []int         // the processes that Freeze stopped
}

// Server starts a PostgreSQL server for t.
func Server(t testing.TB, o ServerOptions) *PostgresServer {
	t.Helper()
	bin := postgresBin(t, o.Version)
	s := newServer(t, bin)
	copyTree(t, s.as, initialData(t, bin), s.data())
	s.settings = map[string]string{"fsync": "off", "full_page_writes": "off"}
	for name, value := range o.Settings {
		s.settings[name] = value
	}
	hba := append([]string{"local all all trust", "local replication all trust"}, o.HBA...)
	if len(o.HBA) == 0 {
		hba = append(hba, "host all all 127.0.0.1/32 trust")
	}
	s.writeFile(t, "pg_hba.conf", []byte(strings.Join(hba, "\n")+"\n"))
	if o.TLS != nil {
		for name, path := range map[string]string{"ssl_cert_file": o.TLS.ServerCert, "ssl_key_file": o.TLS.ServerKey, "ssl_ca_file": o.TLS.CA} {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s.writeFile(t, name+".pem", content)
			s.settings[name] = name + ".pem"
		}
		s.settings["ssl"] = "on"
	}
	s.Start(t)
	return s
}

// Replica starts a streaming replica of primary. What is written to primary from now on
// reaches it soon; see CatchUp.
func Replica(t testing.TB, primary *PostgresServer) *PostgresServer {
	t.Helper()
	s := newServer(t, primary.bin)
	admin := primary.admin(t)
	defer disconnect(admin)
	run(t, admin, "SELECT pg_backup_start('replica', true)")
	copyTree(t, s.as, primary.data(), s.data())
	stopped := run(t, admin, "SELECT labelfile FROM pg_backup_stop(false)")
	s.writeFile(t, "backup_label", stopped[0][0])
	s.writeFile(t, "standby.signal", nil)
	for _, name := range []string{"postmaster.pid", "postmaster.opts"} {
		if err := os.Remove(filepath.Join(s.data(), name)); err != nil {
			t.Fatal(err)
		}
	}
	s.settings = map[string]string{}
	for name, value := range primary.settings {
		s.settings[name] = value
	}
	s.settings["primary_conninfo"] = fmt.Sprintf("host=%s port=%d user=postgres", primary.dir, primary.port)
	s.Start(t)
	return s
}

// newServer makes the folder of a server, which is stopped and removed when t ends.
func newServer(t testing.TB, bin string) *PostgresServer {
	t.Helper()
	as := findServerUser(t)
	dir := as.tempDir(t)
	s := &PostgresServer{bin: bin, dir: dir, as: as, port: freePort()}
	t.Cleanup(func() { s.end(syscall.SIGQUIT) })
	return s
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }
func (s *PostgresServer) log() string  { return filepath.Join(s.dir, "log") }

// Address is the server's host and port.
func (s *PostgresServer) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URI names a database of the server, for its superuser postgres and without TLS.
func (s *PostgresServer) URI(database string) string {
	return "postgres://postgres@" + s.Address() + "/" + url.PathEscape(database) + "?sslmode=disable"
}

// SocketURI is URI by way of the Unix socket, where anybody may be anybody.
func (s *PostgresServer) SocketURI(database string) string {
	query := url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}, "sslmode": {"disable"}}
	return "postgres://postgres@/" + url.PathEscape(database) + "?" + query.Encode()
}

// Exec runs SQL text as the superuser, and returns the last statement's rows as text.
func (s *PostgresServer) Exec(t testing.TB, database, sql string) [][]string {
	t.Helper()
	conn := connect(t, s.SocketURI(database))
	defer disconnect(conn)
	var rows [][]string
	for _, values := range run(t, conn, sql) {
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows
}

func (s *PostgresServer) admin(t testing.TB) *pgconn.PgConn {
	t.Helper()
	return connect(t, s.SocketURI("postgres"))
}

// Start starts the server, which is not running, and waits until it takes connections.
func (s *PostgresServer) Start(t testing.TB) {
	t.Helper()
	var err error
	for range 100 {
		if err = s.start(); err == nil {
			return
		}
		if log := s.lastLog(); !strings.Contains(log, "could not bind") && !strings.Contains(log, "is still in use") {
			break
		}
		time.Sleep(50 * time.Millisecond) // the port, or memory that a crash has left, is in use for a moment
	}
	t.Fatalf("PostgreSQL did not start: %v\n%s", err, s.lastLog())
}

func (s *PostgresServer) start() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-h", "127.0.0.1", "-k", s.dir}
	for name, value := range s.settings {
		args = append(args, "-c", name+"="+value)
	}
	cmd := s.as.command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir, cmd.Stderr = s.dir, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the log says why
		close(exited)
	}()
	s.process, s.exited = cmd, exited
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := pgconn.Connect(ctx, s.SocketURI("postgres"))
		cancel()
		if err == nil {
			disconnect(conn)
			return nil
		}
		select {
		case <-exited:
			s.process = nil
			return errors.New("it has ended")
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.end(syscall.SIGQUIT)
	return errors.New("it takes no connections")
}

// Stop shuts the server down: connections are ended, transactions rolled back.
func (s *PostgresServer) Stop() { s.end(syscall.SIGINT) }

// Kill ends the server at once, as a crash does.
func (s *PostgresServer) Kill() { s.end(syscall.SIGQUIT) }

// Crash kills every process of the server as it is, also where Freeze has stopped it: nothing
// is written any more, and the next start has to recover.
func (s *PostgresServer) Crash(t testing.TB) {
	t.Helper()
	if s.frozen == nil {
		s.Freeze(t)
	}
	for _, pid := range s.frozen { // the postmaster first, which would clean up
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	<-s.exited
	s.process, s.frozen = nil, nil
}

// Restart crashes the server and starts it again at the same address.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.Start(t)
}

func (s *PostgresServer) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	s.Thaw()
	_ = s.process.Process.Signal(signal) // it may have ended
	<-s.exited
	s.process = nil
}

// Freeze stops every process of the server, as a machine that hangs does: connections
// stay open and nothing answers. Thaw, or the test's end, lets them go on.
func (s *PostgresServer) Freeze(t testing.TB) {
	t.Helper()
	admin := s.admin(t)
	defer disconnect(admin)
	postmaster := s.process.Process.Pid
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil { // from now on there are no new ones
		t.Fatal(err)
	}
	s.frozen = []int{postmaster}
	for _, row := range run(t, admin, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()") {
		pid, err := strconv.Atoi(string(row[0]))
		if err != nil {
			t.Fatal(err)
		}
		if syscall.Kill(pid, syscall.SIGSTOP) == nil { // else it has ended
			s.frozen = append(s.frozen, pid)
		}
	}
}

// Thaw undoes Freeze.
func (s *PostgresServer) Thaw() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.frozen = nil
}

// LogContains reports whether the server has logged text.
func (s *PostgresServer) LogContains(text string) bool {
	log, err := os.ReadFile(s.log())
	return err == nil && strings.Contains(string(log), text)
}

func (s *PostgresServer) lastLog() string {
	log, _ := os.ReadFile(s.log())
	return string(log[max(0, len(log)-2000):])
}

// PauseReplay makes a replica keep what it receives to itself until ResumeReplay.
func (s *PostgresServer) PauseReplay(t testing.TB) {
	t.Helper()
	admin := s.admin(t)
	defer disconnect(admin)
	run(t, admin, "SELECT pg_wal_replay_pause()")
	for range 1000 {
		if state := run(t, admin, "SELECT pg_get_wal_replay_pause_state()"); string(state[0][0]) == "paused" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the replica goes on replaying")
}

// ResumeReplay undoes PauseReplay.
func (s *PostgresServer) ResumeReplay(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_wal_replay_resume()")
}

// CatchUp waits until a replica shows what primary holds now.
func (s *PostgresServer) CatchUp(t testing.TB, primary *PostgresServer) {
	t.Helper()
	position := primary.Exec(t, "postgres", "SELECT pg_current_wal_flush_lsn()")[0][0]
	admin := s.admin(t)
	defer disconnect(admin)
	for range 2000 {
		if done := run(t, admin, "SELECT pg_last_wal_replay_lsn() >= '"+position+"'"); string(done[0][0]) == "t" {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the replica has not replayed %s\n%s", position, s.lastLog())
}

// writeFile writes a file of the data folder.
func (s *PostgresServer) writeFile(t testing.TB, name string, content []byte) {
	t.Helper()
	path := filepath.Join(s.data(), name)
	if err := errors.Join(os.WriteFile(path, content, 0o600), s.as.own(path)); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port that is free now, below those that the system hands out to
// outgoing connections.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		if listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			listener.Close()
			return port
		}
	}
}

// serverUser is who servers run as: PostgreSQL and PgBouncer refuse root.
type serverUser struct {
	uid, gid int
	root     bool // we are root, and not the server's user
}

func findServerUser(t testing.TB) *serverUser {
	t.Helper()
	if os.Getuid() != 0 {
		return &serverUser{uid: os.Getuid(), gid: os.Getgid()}
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatalf("PostgreSQL refuses to run as root: %v", err)
	}
	uid, err := strconv.Atoi(account.Uid)
	gid, err2 := strconv.Atoi(account.Gid)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return &serverUser{uid: uid, gid: gid, root: true}
}

// command is a command that runs as u.
func (u *serverUser) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	if u.root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}}
	}
	return cmd
}

func (u *serverUser) own(path string) error {
	if !u.root {
		return nil
	}
	return os.Chown(path, u.uid, u.gid)
}

// tempDir makes a folder of u's that is removed when t ends, or at the latest when this
// process does, together with the server in it.
func (u *serverUser) tempDir(t testing.TB) string {
	t.Helper()
	dir, lifeline, err := u.guardedDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer lifeline.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// guardedDir makes a folder of u's. When lifeline is closed, by the end of this process if
// nobody did it before, the server whose data it holds is killed and the folder removed.
func (u *serverUser) guardedDir() (dir string, lifeline *os.File, err error) {
	dir, err = os.MkdirTemp("", "athena-server-")
	if err != nil {
		return "", nil, err
	}
	if err := errors.Join(os.Chmod(dir, 0o711), u.own(dir)); err != nil {
		return "", nil, err
	}
	ours, lifeline, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer ours.Close()
	guard := exec.Command("sh", "-c", `read -r _
		for file in "$0"/data/postmaster.pid "$0"/pid; do
			if [ -f "$file" ]; then kill -QUIT "$(head -n 1 "$file")"; sleep 0.2; fi
		done
		rm -rf "$0"`, dir)
	guard.Stdin = ours
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for us, not for it
	if err := guard.Start(); err != nil {
		return "", nil, err
	}
	return dir, lifeline, guard.Process.Release()
}

// postgresBin returns the folder of the binaries of a version, of the shared server for 0.
func postgresBin(t testing.TB, version int) string {
	t.Helper()
	bin, err := findBin(version)
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var (
	bins   = map[int]string{}
	binsMu sync.Mutex
)

func findBin(version int) (string, error) {
	if shared := os.Getenv("ATHENA_TEST_POSTGRES_BIN"); version == 0 && shared != "" {
		return shared, nil
	}
	binsMu.Lock()
	defer binsMu.Unlock()
	if bin := bins[version]; bin != "" {
		return bin, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	find := exec.Command(filepath.Join(root, "scripts", "postgres-bin.sh"))
	if version != 0 {
		find.Args = append(find.Args, strconv.Itoa(version))
	}
	var said strings.Builder
	find.Stderr = &said
	output, err := find.Output()
	if err != nil {
		return "", fmt.Errorf("this test starts a PostgreSQL of its own: %w\n%s", err, said.String())
	}
	bins[version] = strings.TrimSpace(string(output))
	return bins[version], nil
}

var (
	initial   = map[string]string{} // by bin
	initialMu sync.Mutex
)

// initialData returns a data folder as initdb makes it, which takes a second: it is made
// once for a process and copied for each server.
func initialData(t testing.TB, bin string) string {
	t.Helper()
	initialMu.Lock()
	defer initialMu.Unlock()
	if dir := initial[bin]; dir != "" {
		return dir
	}
	as := findServerUser(t)
	dir, lifeline, err := as.guardedDir()
	if err != nil {
		t.Fatal(err)
	}
	keptLifelines = append(keptLifelines, lifeline)
	data := filepath.Join(dir, "data")
	initdb := as.command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
	initdb.Dir = dir
	if output, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	initial[bin] = data
	return data
}

// keptLifelines keeps the garbage collector from closing them.
var keptLifelines []*os.File

// copyTree copies a folder and what is in it, for the server's user alone. What vanishes
// meanwhile is left out.
func copyTree(t testing.TB, as *serverUser, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return errors.Join(os.Mkdir(target, 0o700), as.own(target))
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, os.WriteFile(target, content, 0o600), as.own(target))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// HasExtension reports whether an extension can be created on the server.
func HasExtension(t testing.TB, uri, name string) bool {
	t.Helper()
	conn := connect(t, uri)
	defer disconnect(conn)
	return slices.ContainsFunc(run(t, conn, "SELECT name FROM pg_available_extensions"), func(row [][]byte) bool {
		return string(row[0]) == name
	})
}
