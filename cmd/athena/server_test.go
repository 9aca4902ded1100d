package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// server is an athena server process.
type server struct {
	cmd    *exec.Cmd
	url    string
	output *bufio.Reader // what it prints after its URL
	errors *strings.Builder
}

// startServer starts athena on a free port with the sample database, and ends it with t.
func startServer(t *testing.T, env ...string) *server {
	t.Helper()
	config := writeConfig(t, fmt.Sprintf("plugins: {dir: %q}\nclients: {demo: {backend: sqlite, config: {path: data/demo.db, sample: true}}}",
		testenv.BuildPlugins(t)))
	s := &server{cmd: command(filepath.Dir(config), "server", "--port", "0", "--config", config), errors: &strings.Builder{}}
	s.cmd.Env = append(s.cmd.Environ(), env...)
	s.cmd.Stderr = s.errors
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
	})
	s.output = bufio.NewReader(stdout)
	line, err := s.output.ReadString('\n')
	if err != nil {
		_ = s.cmd.Wait()
		t.Fatalf("the server did not start: %s", s.errors)
	}
	s.url = line[strings.Index(line, "http://") : len(line)-1]
	return s
}

// wait returns the exit code.
func (s *server) wait() int {
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

func (s *server) post(method, path, body string) (status int, answer string, err error) {
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-Athena-Client", "demo")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// waitFor reads /metrics until a gauge is at least so much.
func (s *server) waitFor(t *testing.T, gauge string, least int) {
	t.Helper()
	value := regexp.MustCompile(`(?m)^` + gauge + ` (\d+)`)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		_, metrics, err := s.post("GET", "/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if found := value.FindStringSubmatch(metrics); found != nil {
			_, _ = fmt.Sscan(found[1], &n)
		}
		if n >= least {
			return
		}
	}
	t.Fatalf("%s never was %d", gauge, least)
}

// TestPrintedRequests sends the requests that a start prints, as the shell would.
func TestPrintedRequests(t *testing.T) {
	s := startServer(t)
	request := regexp.MustCompile(`(?s)curl -sw '\\n' (?:-X (\w+) )?(\S+) -H 'X-Athena-Client: demo' -H 'Content-Type: application/json' -d '(.*?)'\n`)
	var printed strings.Builder
	for len(request.FindAllString(printed.String(), -1)) < 3 {
		line, err := s.output.ReadString('\n')
		if err != nil {
			t.Fatalf("printed only\n%s", printed.String())
		}
		printed.WriteString(line)
	}
	want := []string{`"name":"Ganymede"`, `"role":"pilot"`, `"moons":4`}
	for i, part := range request.FindAllStringSubmatch(printed.String(), -1) {
		method := part[1]
		if method == "" {
			method = "POST"
		}
		status, answer, err := s.post(method, strings.TrimPrefix(part[2], s.url), part[3])
		if err != nil || status < 200 || status > 201 || !json.Valid([]byte(answer)) || !strings.Contains(answer, want[i]) {
			t.Errorf("%s: %d %s %v; want %s", part[0], status, answer, err, want[i])
		}
	}
}

const slowQuery = `{"query": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) SELECT max(i) AS last FROM n"}`

func TestSIGTERMEndsAfterAcceptedRequests(t *testing.T) {
	s := startServer(t)
	type result struct {
		status int
		answer string
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		status, answer, err := s.post("POST", "/gateway/query", fmt.Sprintf(slowQuery, 2_000_000))
		answered <- result{status, answer, err}
	}()
	s.waitFor(t, "athena_http_requests_in_flight", 2) // the query and this one
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.err != nil || r.status != 200 || !strings.Contains(r.answer, `"last":2000000`) {
		t.Errorf("the request under way: %d %s %v", r.status, r.answer, r.err)
	}
	if code := s.wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, s.errors)
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	s := startServer(t)
	answered := make(chan error, 1)
	go func() {
		_, _, err := s.post("POST", "/gateway/query", fmt.Sprintf(slowQuery, 2_000_000_000))
		answered <- err
	}()
	s.waitFor(t, "athena_http_requests_in_flight", 2)
	exited := make(chan int, 1)
	go func() { exited <- s.wait() }()
	start := time.Now()
	var code int
	for ended := false; !ended; { // the second of them counts, whenever the first is seen
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case code = <-exited:
			ended = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if code != 1 || time.Since(start) > 15*time.Second {
		t.Errorf("exit code %d after %v: %s", code, time.Since(start), s.errors)
	}
	<-answered
}

// TestShutdownDelay: after SIGTERM the server says that it is not to be asked and answers all
// the same, longer than requests may take to end; a second signal ends that.
func TestShutdownDelay(t *testing.T) {
	s := startServer(t, "ATHENA_API__SHUTDOWN_DELAY_SECS=3600", "ATHENA_API__SHUTDOWN_TIMEOUT_SECS=1")
	if status, answer, err := s.post("GET", "/ready", ""); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		http.DefaultClient.CloseIdleConnections()
		status, answer, err := s.post("GET", "/ready", "")
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d %s %v: %s", status, answer, err, s.errors)
		}
		if status == 503 {
			break
		}
	}
	ask := time.NewTicker(100 * time.Millisecond)
	defer ask.Stop()
	for end := time.Now().Add(1100 * time.Millisecond); time.Now().Before(end); <-ask.C { // beyond what requests may take
		http.DefaultClient.CloseIdleConnections()
		if status, answer, err := s.post("POST", "/gateway/query", `{"query": "SELECT 1 AS one"}`); err != nil || status != 200 {
			t.Fatalf("while it waits: %d %s %v", status, answer, err)
		}
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != 1 {
		t.Errorf("exit code %d: %s", code, s.errors)
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, code := execute(t, t.TempDir(), "server", "--port", port, "--config", writeConfig(t, "plugins: {dir: .}"))
	if want := "port " + port + " of 127.0.0.1 is in use"; code != 2 || !strings.Contains(stderr, want) || !strings.Contains(stderr, "--port") {
		t.Errorf("exit code %d, %q; want 2 and %q", code, stderr, want)
	}
}
