package pluginhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/athena-gateway/athena/sdk"
)

// program is what is executed: a copy of a plugin's file, and its SHA-256 in hex. With dev
// set it is a process that runs already.
type program struct {
	path, checksum string
	dev            *sdk.DevProcess
}

// A process is one run of a plugin. It is never started twice.
type process struct {
	program   program
	limits    Limits
	child     *child
	client    *goplugin.Client
	socketDir string
	remote    *sdk.Remote // nil until connected
	manifest  *sdk.Manifest
	schema    *configSchema
	started   time.Time
	served    atomic.Bool   // a call succeeded
	retired   atomic.Bool   // it gets no new calls and ends when it has none
	beats     atomic.Uint64 // heartbeats since the guard looked
	oomKills  uint64        // of the whole machine, before its start

	prepared map[*Instance]*opened // until it takes over

	lost     chan struct{} // closed when calls cannot reach it any more
	loseOnce sync.Once
	why      string // it was lost; to be read when lost is closed
}

// connections is how many there are to one plugin. A connection has one reader and one writer
// at either end: one alone bounds what a plugin of several processors gets through, and with
// one processor calls that share a connection share its system calls.
func connections() int { return min(pluginProcs(runtime.GOMAXPROCS(0)), 2) }

// launch starts a program of p and returns when it can open instances. It ends with ctx or
// after StartTimeout. Its error says what to do.
func (h *Host) launch(ctx context.Context, p *plugin, what program) (*process, *sdk.Error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.StartTimeout)
	defer cancel()
	if what.dev != nil {
		return h.attach(ctx, p, what)
	}
	limits := h.options.limits(p.name)
	proc := &process{
		program:  what,
		limits:   limits,
		child:    newChild(h.forker, p.logs, what.path, append(environ(h.options.Env, limits), sdk.LifelineEnv+"=3"), limits),
		lost:     make(chan struct{}),
		started:  time.Now(),
		oomKills: oomKills(),
	}
	proc.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          sdk.PluginSet(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     2 * h.options.StartTimeout, // ctx is first
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: h.run.sockets},
		SyncStdout:       p.logs,
		SyncStderr:       p.logs,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			proc.child.cmd.Env = append(proc.child.cmd.Env, cmd.Env...)
			proc.socketDir = socketDir
			return proc.child, nil
		},
	})
	stop := context.AfterFunc(ctx, proc.child.kill)
	err := proc.connect(ctx, p.name)
	if err == nil {
		p.mu.Lock()
		level := p.level
		p.mu.Unlock()
		err = proc.remote.SetLogLevel(ctx, level.String())
	}
	if stop() && err == nil {
		h.goes(func() { p.guard(proc) })
		return proc, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	proc.destroy()
	return nil, proc.startError(p.name, h.options.StartTimeout, err)
}

// connect forks, shakes hands, dials and asks the plugin who it is.
func (p *process) connect(ctx context.Context, name string) error {
	address, err := p.client.Start()
	if err != nil {
		return err
	}
	// go-plugin's own connection carries what the plugin prints: it would block in a
	// Println that nobody reads.
	if _, err := p.client.Client(); err != nil {
		return err
	}
	return p.dial(ctx, address, name)
}

// dial connects and asks the plugin who it is.
func (p *process) dial(ctx context.Context, address net.Addr, name string) error {
	var err error
	conns := make([]*grpc.ClientConn, connections())
	for i := range conns {
		if conns[i], err = dialConn(address); err != nil {
			return err
		}
	}
	p.remote = sdk.NewRemote(conns...)
	p.remote.CleanErrors(p.child.logs.secrets.cleanError)
	if p.manifest, err = p.remote.Describe(ctx); err != nil {
		return err
	}
	if p.manifest.Name != name {
		return fmt.Errorf("it calls itself %q: name the file so, or change Name in its sdk.Plugin", p.manifest.Name)
	}
	if p.schema, err = compileSchema(p.manifest.ConfigSchema); err != nil {
		return fmt.Errorf("its config schema is not a valid JSON Schema: %w", err)
	}
	return nil
}

func dialConn(address net.Addr) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///plugin", append(sdk.DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, address.Network(), address.String())
		}))...)
}

// lose tells the supervisor that the process is of no use any more.
func (p *process) lose(why string) {
	p.loseOnce.Do(func() {
		p.why = why
		close(p.lost)
	})
}

// over reports whether it gets no new calls.
func (p *process) over() bool {
	select {
	case <-p.lost:
		return true
	default:
		return p.retired.Load()
	}
}

// drain lets its calls end. A process that was started by hand may serve others, or this
// gateway again, and is not told to refuse calls.
func (p *process) drain(ctx context.Context) error {
	if p.child.attached {
		return p.remote.Rest(ctx)
	}
	return p.remote.Drain(ctx)
}

// stop asks the process to end, kills it and its group after grace, and frees everything.
func (p *process) stop(grace time.Duration) {
	timer := time.AfterFunc(grace, p.child.kill)
	defer timer.Stop()
	if p.child.attached {
		p.child.kill() // which it survives
	}
	if p.client != nil {
		p.client.Kill() // waits for the end, for ever if the plugin is frozen
	}
	if p.remote != nil {
		p.remote.Close()
	}
	if p.socketDir != "" {
		os.RemoveAll(p.socketDir)
	}
}

// destroy kills the process and its group at once and frees everything.
func (p *process) destroy() {
	p.child.kill()
	p.stop(0)
}
