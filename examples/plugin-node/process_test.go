//go:build unix

package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// process is a run of the plugin without a gateway around it.
type process struct {
	*sdk.Remote
	conn     *grpc.ClientConn // what Remote goes over
	command  *exec.Cmd
	lifeline *os.File // our end
	theirs   *os.File // what it has inherited, as all plugins of a gateway do
	stdout   *bufio.Reader
	stderr   testenv.Output
	ended    chan struct{} // closed when the process has ended
}

// start runs the plugin as a gateway does and connects to it.
func start(t *testing.T) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "kv") // short: the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	install(t, dir, plugin(t))
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{lifeline: ours, theirs: theirs, ended: make(chan struct{}), command: &exec.Cmd{
		Path: filepath.Join(dir, "node-kv"), Args: []string{"node-kv"}, ExtraFiles: []*os.File{theirs},
		Env: []string{"PATH=" + os.Getenv("PATH"), sdk.Handshake.MagicCookieKey + "=" + sdk.Handshake.MagicCookieValue,
			"PLUGIN_UNIX_SOCKET_DIR=" + dir, sdk.LifelineEnv + "=3"},
	}}
	p.command.Stderr = &p.stderr
	stdout, stdoutW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.command.Stdout, p.stdout = stdoutW, bufio.NewReader(stdout)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	stdoutW.Close()
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
		_ = p.command.Process.Kill()
		<-p.ended
		stdout.Close()
	})
	_ = stdout.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("no handshake: %v: %s", err, p.stderr.String())
	}
	socket, found := strings.CutPrefix(strings.TrimSuffix(line, "|grpc\n"), "1|1|unix|"+dir+"/")
	if !found || !strings.HasSuffix(line, "|grpc\n") {
		t.Fatalf("the handshake is %q", line)
	}
	conn, err := grpc.NewClient("passthrough:plugin", append(sdk.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, socket))
		}))...)
	if err != nil {
		t.Fatal(err)
	}
	p.conn, p.Remote = conn, sdk.NewRemote(conn)
	t.Cleanup(func() { p.Remote.Close() })
	return p
}

// open opens an instance, named kv, of generation 1.
func (p *process) open(t *testing.T, config string) {
	t.Helper()
	if _, err := p.OpenInstance(t.Context(), "kv", 1, json.RawMessage(config)); err != nil {
		t.Fatal(err)
	}
}

// executor is an instance in a gateway, or a plugin without one.
type executor interface {
	Execute(ctx context.Context, call *sdk.Call) (*sdk.Answer, error)
}

// ask makes a call of statements and returns the body and the tail of the last answer.
func ask(ctx context.Context, on executor, call *sdk.Call) (string, *sdk.Tail, error) {
	if call.Instance == "" {
		call.Instance, call.Generation = "kv", 1
	}
	answer, err := on.Execute(ctx, call)
	if err != nil {
		return "", nil, err
	}
	defer answer.Close()
	var body bytes.Buffer
	for {
		piece, err := answer.Next()
		if errors.Is(err, io.EOF) {
			return body.String(), answer.Tail(), nil
		}
		if err != nil {
			return "", nil, err
		}
		body.Write(piece)
	}
}

// wantBody makes a call of one statement and compares the body.
func wantBody(t testing.TB, on executor, s sdk.Statement, want string) *sdk.Tail {
	t.Helper()
	body, tail, err := ask(t.Context(), on, &sdk.Call{Statements: []sdk.Statement{s}})
	if err != nil || body != want {
		t.Fatalf("answered %.500s (%v), want %s", body, err, want)
	}
	return tail
}

// wantError makes a call and compares its error.
func wantError(t testing.TB, on executor, call sdk.Call, kind sdk.Kind, reason, message string) {
	t.Helper()
	body, _, err := ask(t.Context(), on, &call)
	if err == nil {
		t.Fatalf("answered %.500s, want %s %s", body, kind, reason)
	}
	if e := sdk.AsError(err); e.Kind != kind || e.Reason != reason || !strings.Contains(e.Message, message) || e.Executed != sdk.ExecutedNo {
		t.Errorf("answered %v (executed: %d), want %s %s: %s", err, e.Executed, kind, reason, message)
	}
}

// eventually polls a condition that has no event to wait for.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

// The statements.

func insert(table, payload string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: table}, Rows: sdk.Rowset{Payload: []byte(payload), Columns: []string{"key", "value"}}}
}

func selectAll(table string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: table}}
}

func selectKey(table, key string) sdk.Statement {
	s := selectAll(table)
	s.Filter = &sdk.Filter{Column: sdk.Column{Name: "key"}, Operator: sdk.Eq, Values: []sdk.Value{{Hint: sdk.String, Text: key}}}
	return s
}
