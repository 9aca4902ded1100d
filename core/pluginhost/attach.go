package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// A plugin that was started by hand, perhaps under a debugger, serves on a socket and says
// so in the plugin directory: NAME.dev. The host then connects to it instead of starting the
// file. Such a process is nobody's child: it is neither killed nor held to heartbeats, since
// it may stand at a breakpoint.

// readDevProcess reads NAME.dev; nil if it tells of no living process.
func readDevProcess(path string) *sdk.DevProcess {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var dev sdk.DevProcess
	if json.Unmarshal(text, &dev) != nil || dev.PID <= 0 || dev.Protocol != sdk.Handshake.ProtocolVersion || syscall.Kill(dev.PID, 0) != nil {
		return nil
	}
	// The process may be another one by now.
	if conn, err := net.Dial("unix", dev.Address); err != nil || conn.Close() != nil {
		return nil
	}
	return &dev
}

// attach connects to a process that was started by hand. It ends with ctx.
func (h *Host) attach(ctx context.Context, p *plugin, what program) (*process, *sdk.Error) {
	proc := &process{
		program: what,
		child:   &child{attached: true, logs: p.logs, firstLog: p.logs.mark(), pid: what.dev.PID, exited: make(chan struct{})},
		lost:    make(chan struct{}),
		started: time.Now(),
	}
	address, err := net.ResolveUnixAddr("unix", what.dev.Address)
	if err == nil {
		err = proc.dial(ctx, address, p.name)
	}
	if err == nil {
		h.goes(func() { p.guard(proc) })
		return proc, nil
	}
	proc.destroy()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, unavailable("plugin_start_failed", fmt.Sprintf("the process %d of %s%s cannot be reached: %v", what.dev.PID, p.name, sdk.DevSuffix, err))
}
