package pluginhost

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/athena-gateway/athena/sdk"
)

// A process is one run of a plugin. It is never started twice.
type process struct {
	child     *child
	client    *goplugin.Client
	socketDir string
	remote    *sdk.Remote // nil until connected
	manifest  *sdk.Manifest
	schema    *configSchema
	started   time.Time
	served    atomic.Bool // a call succeeded

	lost     chan struct{} // closed when calls cannot reach it any more
	loseOnce sync.Once
	why      string // it was lost; to be read when lost is closed
}

// connections to one plugin: one alone bounds what many callers get through.
const connections = 2

// launch starts the program at path and returns when it can open instances. It ends with
// ctx or after StartTimeout. Its error says what to do.
func (h *Host) launch(ctx context.Context, name, path string, l *logs) (*process, *sdk.Error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.StartTimeout)
	defer cancel()
	p := &process{
		child:   newChild(h.forker, l, path, append(environ(h.options.Env), sdk.LifelineEnv+"=3"), h.lifeline),
		lost:    make(chan struct{}),
		started: time.Now(),
	}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          sdk.PluginSet(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     2 * h.options.StartTimeout, // ctx is first
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: h.run.sockets},
		SyncStdout:       l,
		SyncStderr:       l,
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.child.cmd.Env = append(p.child.cmd.Env, cmd.Env...)
			p.socketDir = socketDir
			return p.child, nil
		},
	})
	stop := context.AfterFunc(ctx, p.child.kill)
	err := p.connect(ctx, name)
	if stop() && err == nil {
		return p, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	p.destroy()
	return nil, p.startError(name, h.options.StartTimeout, err)
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
	conns := make([]*grpc.ClientConn, connections)
	for i := range conns {
		if conns[i], err = dial(address); err != nil {
			return err
		}
	}
	p.remote = sdk.NewRemote(conns...)
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

func dial(address net.Addr) (*grpc.ClientConn, error) {
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

// stop asks the process to end, kills it and its group after grace, and frees everything.
func (p *process) stop(grace time.Duration) {
	timer := time.AfterFunc(grace, p.child.kill)
	defer timer.Stop()
	p.client.Kill() // waits for the end, for ever if the plugin is frozen
	if p.remote != nil {
		p.remote.Close()
	}
	os.RemoveAll(p.socketDir)
}

// destroy kills the process and its group at once and frees everything.
func (p *process) destroy() {
	p.child.kill()
	p.stop(0)
}
