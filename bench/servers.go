package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// poolSize is the number of connections that either side may open to PostgreSQL: the
// default of Athena's postgres plugin.
const poolSize = 16

// server is one of the two sides.
type server struct {
	name    string
	address string // host:port
	header  string // of every request: an API key; with its line break
	pid     int    // 0: somebody else started it
	log     string // path
	exited  chan struct{}
	stop    func() error
}

// start runs a program of ours in dir until stop, with its output in a log.
func start(ctx context.Context, name, address, dir, program string, args ...string) (*server, error) {
	if err := os.MkdirAll(resultsDir, 0o755); err != nil {
		return nil, err
	}
	s := &server{name: name, address: address, log: filepath.Join(resultsDir, name+".log")}
	output, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "ATHENA_KEY_12="+adminKey)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, errors.Join(err, output.Close())
	}
	s.pid = cmd.Process.Pid
	s.exited = make(chan struct{})
	go func() {
		err := cmd.Wait()
		fmt.Fprintf(output, "ended: %v, %v\n", cmd.ProcessState, err)
		close(s.exited)
	}()
	s.stop = func() error {
		cancel()
		<-s.exited
		return output.Close()
	}
	return s, nil
}

// ready waits until the server answers the case.
func (s *server) ready(ctx context.Context, use *benchCase) error {
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		body, err := s.answer(ctx, use)
		if err == nil {
			var text []byte
			text, err = io.ReadAll(body)
			if err = errors.Join(err, body.Close()); err == nil {
				err = use.check(text)
			}
		}
		if err == nil {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.exited:
			return fmt.Errorf("%s has ended: its log %s says why", s.name, s.log)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer %s: %w (its log is %s)", s.name, use.Name, last, s.log)
}

// plainTransport leaves it to the cases to ask for compression.
var plainTransport = &http.Transport{DisableCompression: true}

// answer asks for the case once, by its first key, and returns the body of the answer.
func (s *server) answer(ctx context.Context, use *benchCase) (io.ReadCloser, error) {
	raw, _ := use.request(s)
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	request.URL.Scheme, request.URL.Host, request.RequestURI = "http", s.address, ""
	response, err := plainTransport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
		return nil, errors.Join(fmt.Errorf("status %d: %s", response.StatusCode, text), response.Body.Close())
	}
	return response.Body, nil
}

// processes are the groups of processes whose CPU and memory count for the server.
func (s *server) processes() map[string][]int {
	switch {
	case s.pid == 0:
		return nil
	case s.name == "floor":
		return map[string][]int{s.name: {s.pid}}
	default: // an Athena
		return map[string][]int{"core": {s.pid}, "plugin": descendants(s.pid)}
	}
}

// startFloor builds and starts the floor.
func startFloor(ctx context.Context, dir, uri string) (*server, error) {
	program := filepath.Join(dir, "floor")
	if err := build(ctx, program, "./bench/floor"); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return start(ctx, "floor", address, dir, program, "-listen", address, "-uri", uri, "-pool", strconv.Itoa(poolSize))
}

// ledger is an Athena's own database, and whether its operations are recorded there and API
// keys asked for.
type ledger struct {
	uri     string
	control bool
}

// adminKey opens the operators' routes of the servers.
const adminKey = "the-admin-key-of-the-bench"

// createKey makes an API key, which every request to the server carries from then on.
func (s *server) createKey(ctx context.Context) error {
	var last error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		request, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.address+"/admin/api-keys",
			strings.NewReader(`{"name":"bench","client_name":"bench","rights":["gateway.fetch.execute"]}`))
		if err != nil {
			return err
		}
		request.Header.Set("X-Athena-Key", adminKey)
		response, err := plainTransport.RoundTrip(request)
		if err != nil {
			last = err // it is being started
			continue
		}
		var created struct {
			Key string `json:"api_key"`
		}
		err = errors.Join(json.NewDecoder(response.Body).Decode(&created), response.Body.Close())
		if err == nil && created.Key != "" {
			s.header = "X-Athena-Key: " + created.Key + "\r\n"
			return nil
		}
		last = fmt.Errorf("an API key is not made: status %d, %w", response.StatusCode, err)
	}
	return last
}

// startAthena builds bin/athena and its plugins as they are shipped, without the race
// detector, and starts the gateway with one client on the bench database.
func startAthena(ctx context.Context, dir, name, uri string, l ledger) (*server, error) {
	program, err := filepath.Abs("bin/athena")
	if err != nil {
		return nil, err
	}
	plugins := filepath.Join(filepath.Dir(program), "plugins")
	if err := errors.Join(os.MkdirAll(plugins, 0o755), build(ctx, program, "./cmd/athena"), build(ctx, plugins+"/", "./plugins/...")); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(dir, name+".yaml")
	text := fmt.Sprintf(`api: {host: 127.0.0.1, port: %[1]s, enforce_api_keys: %[5]t}
plugins: {dir: %[2]q, verify: dev}
ledger: {uri: %[3]q, operation_log: %[5]t}
clients:
  bench: {backend: postgres, config: {uri: %[4]q}}
`, port, plugins, l.uri, uri, l.control)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, name, address, dir, program, "server", "--config", config)
}

func build(ctx context.Context, output, packages string) error {
	// As make build does, but with the symbols that perf needs.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", output, packages)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", packages, err, text)
	}
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
