package sdktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/athena-gateway/athena/sdk"
)

// InProcess is the target with p served in this process, over the same protocol.
func (t Target) InProcess(p sdk.Plugin) Target {
	t.Connect = func(context.Context) (*sdk.Remote, func(), error) { return sdk.InProcess(p) }
	t.Held = func() (int64, error) {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC() // the first only retires what pools hold
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc), nil
	}
	t.SameProcess = true
	return t
}

// Binary is the target with the plugin run from the executable at path, a process per
// Connect, without the gateway's supervision.
func (t Target) Binary(path string) Target {
	var mu sync.Mutex
	var process *os.Process
	t.Connect = func(context.Context) (*sdk.Remote, func(), error) {
		command := exec.Command(path)
		ownGroup(command)
		var stderr said
		client := goplugin.NewClient(&goplugin.ClientConfig{
			HandshakeConfig:  sdk.Handshake,
			Plugins:          sdk.PluginSet(),
			Cmd:              command,
			AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
			GRPCDialOptions:  sdk.DialOptions(),
			Logger:           hclog.NewNullLogger(),
			Stderr:           &stderr,
			StartTimeout:     startTimeout,
		})
		end := func(within time.Duration) { // go-plugin waits for ever for a frozen one, and for its children
			if command.Process == nil {
				return
			}
			stubborn := time.AfterFunc(within, func() { killGroup(command.Process) })
			defer stubborn.Stop()
			client.Kill()
		}
		protocol, err := client.Client()
		if err != nil {
			end(0)
			return nil, nil, startError(path, stderr.String(), err)
		}
		conn, err := protocol.Dispense("athena")
		if err != nil {
			end(0)
			return nil, nil, startError(path, stderr.String(), err)
		}
		mu.Lock()
		process = command.Process
		mu.Unlock()
		remote := sdk.NewRemote(conn.(*grpc.ClientConn))
		return remote, func() {
			end(endTimeout)
			_ = remote.Close()
		}, nil
	}
	latest := func() *os.Process {
		mu.Lock()
		defer mu.Unlock()
		return process
	}
	t.Kill = func() error { return latest().Kill() }
	if runtime.GOOS == "linux" {
		t.Held = func() (int64, error) { return resident(latest().Pid) }
	}
	return t
}

// resident is how many bytes of a Linux process's memory are its own: not of files.
func resident(pid int) (int64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the process's status does not tell its memory")
}

// Build builds the plugin of a package, named as in go build, and returns the path of
// its executable, which lives as long as the test.
func Build(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}
