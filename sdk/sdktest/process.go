package sdktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/athena-gateway/athena/sdk"
)

// Process is one run of a plugin, as the checks see it from outside. It is go-plugin's
// runner.
type Process struct {
	command   *exec.Cmd
	mark      string         // in the environment of it and of what it starts
	lifeline  *os.File       // closed: its gateway is gone
	handshake *io.PipeReader // the first line of stdout
	stdout    printed        // but for the handshake
	stderr    printed
	exited    chan struct{} // closed when it has ended and its output is read

	mu     sync.Mutex
	reaped bool // the pid may be another's by now
}

var _ runner.Runner = (*Process)(nil)

// markEnv names the variable by which the processes of one run are found.
const markEnv = "ATHENA_SDKTEST_RUN"

// drainOutput is how long the output of a dead process is still read, when another holds it
// open.
const drainOutput = 200 * time.Millisecond

// startProcess runs the executable at path, shakes hands and connects, without the
// gateway's supervision. The function returned ends the process.
func startProcess(ctx context.Context, path string) (*Process, *sdk.Remote, func(), error) {
	p := &Process{exited: make(chan struct{}), mark: rand.Text()}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          sdk.PluginSet(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		GRPCDialOptions:  sdk.DialOptions(),
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &p.stdout,
		SyncStderr:       &p.stderr,
		StartTimeout:     startTimeout,
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.command = exec.Command(path)
			ownGroup(p.command)
			p.command.Env = append(spec.Env, markEnv+"="+p.mark, sdk.LifelineEnv+"=3")
			return p, nil
		},
	})
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	end := func(within time.Duration) {
		stubborn := time.AfterFunc(within, p.kill)
		defer stubborn.Stop()
		client.Kill() // waits for the end, for ever if the plugin is frozen
		p.closeLifeline()
	}
	protocol, err := client.Client()
	if err == nil {
		var conn any
		if conn, err = protocol.Dispense("athena"); err == nil {
			remote := sdk.NewRemote(conn.(*grpc.ClientConn))
			return p, remote, func() {
				end(endTimeout)
				_ = remote.Close()
			}, nil
		}
	}
	end(0)
	return nil, nil, nil, startError(path, p.stderr.tail(), err)
}

// Start starts the process and returns before it has said anything.
func (p *Process) Start(context.Context) error {
	var ends []*os.File // the process's
	defer func() {
		for _, f := range ends {
			f.Close()
		}
	}()
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			ends = append(ends, w)
		}
		return r, w, err
	}
	stdout, outW, err := pipe()
	if err != nil {
		return err
	}
	stderr, errW, err := pipe()
	if err != nil {
		stdout.Close()
		return err
	}
	lifeR, lifeline, err := os.Pipe()
	if err != nil {
		stdout.Close()
		stderr.Close()
		return err
	}
	ends = append(ends, lifeR)
	p.command.Stdout, p.command.Stderr, p.command.ExtraFiles = outW, errW, []*os.File{lifeR}
	p.mu.Lock()
	err = p.command.Start()
	p.mu.Unlock()
	if err != nil {
		stdout.Close()
		stderr.Close()
		lifeline.Close()
		return err
	}
	p.lifeline = lifeline
	var line *io.PipeWriter
	p.handshake, line = io.Pipe()
	var readers sync.WaitGroup
	readers.Go(func() { p.readStdout(stdout, line) })
	readers.Go(func() { _, _ = io.Copy(&p.stderr, stderr) })
	go func() {
		p.reap()
		deadline := time.Now().Add(drainOutput)
		_ = stdout.SetReadDeadline(deadline)
		_ = stderr.SetReadDeadline(deadline)
		p.handshake.Close()
		readers.Wait()
		stdout.Close()
		stderr.Close()
		close(p.exited)
	}()
	return nil
}

// readStdout hands the first line to go-plugin and keeps the others.
func (p *Process) readStdout(stdout *os.File, first *io.PipeWriter) {
	defer first.Close()
	var line []byte
	for one := make([]byte, 1); len(line) < maxHandshake; {
		if _, err := stdout.Read(one); err != nil {
			break
		}
		line = append(line, one[0])
		if one[0] == '\n' {
			break
		}
	}
	_, _ = first.Write(line)
	first.Close()
	_, _ = io.Copy(&p.stdout, stdout)
}

// maxHandshake is the longest first line that is taken for a handshake.
const maxHandshake = 4 << 10

// reap waits for the end of the process.
func (p *Process) reap() {
	_ = p.command.Wait() // its error repeats the state
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
}

// kill ends the process and its group at once, as SIGKILL does.
func (p *Process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command != nil && p.command.Process != nil && !p.reaped {
		killGroup(p.command.Process)
	}
}

// closeLifeline is what the end of the gateway looks like to the process.
func (p *Process) closeLifeline() {
	if p.lifeline != nil {
		_ = p.lifeline.Close()
	}
}

func (p *Process) pid() int { return p.command.Process.Pid }

// Wait, Kill and the following methods are go-plugin's.
func (p *Process) Wait(context.Context) error {
	<-p.exited
	return nil
}

func (p *Process) Kill(context.Context) error {
	p.kill()
	return nil
}

func (p *Process) ID() string {
	if p.command == nil || p.command.Process == nil {
		return ""
	}
	return strconv.Itoa(p.pid())
}

func (p *Process) Name() string                    { return p.command.Path }
func (p *Process) Diagnose(context.Context) string { return "" }
func (p *Process) Stdout() io.ReadCloser           { return p.handshake }
func (p *Process) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }

func (p *Process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *Process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// printed keeps what a process prints, up to maxPrinted bytes.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxPrinted = 16 << 20

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if room := maxPrinted - p.text.Len(); room > 0 {
		p.text.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// tail is the end of it.
func (p *printed) tail() string {
	text := p.String()
	return strings.TrimSpace(text[max(0, len(text)-maxTail):])
}

const maxTail = 4 << 10
