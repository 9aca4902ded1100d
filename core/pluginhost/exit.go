package pluginhost

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit is how a plugin process ended.
type Exit struct {
	Time   time.Time
	Uptime time.Duration
	Code   int      // -1 when a signal ended it
	Signal string   // "" when it exited by itself
	OOM    bool     // the kernel killed it for memory, or it could get no more
	Killed bool     // by the gateway, for Why
	Why    string   // what the gateway noticed first
	Output []string // its last lines, secrets removed; of a Go panic, from its message on

	detached bool // it was not started here: how it ended is not known
}

// String is a predicate: "exited with code 2".
func (e *Exit) String() string {
	switch {
	case e.detached:
		return "was a process under development, and is gone"
	case e.Killed:
		return "was killed by the gateway: " + e.Why
	case e.OOM && e.Signal != "":
		return "was killed by the kernel: the machine or its control group is out of memory"
	case e.OOM:
		return fmt.Sprintf("exited with code %d: it could get no more memory", e.Code)
	case e.Signal == syscall.SIGKILL.String():
		return "was killed from outside"
	case e.Signal != "":
		return "was ended by a signal: " + e.Signal
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

// exit reports on a process whose exited is closed.
func (c *child) exit(p *process) *Exit {
	p.lose("it ended")
	if c.attached {
		return &Exit{Time: time.Now(), Uptime: time.Since(p.started), Why: p.why, detached: true}
	}
	status := c.cmd.ProcessState
	e := &Exit{Time: time.Now(), Uptime: time.Since(p.started), Code: status.ExitCode(), Why: p.why, Output: c.crash}
	if e.Output == nil {
		e.Output = lastWords(c.logs.last(c.firstLog, lastLines))
	}
	if ws, ok := status.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal().String()
	}
	c.mu.Lock()
	e.Killed = c.killed && e.Signal != ""
	c.mu.Unlock()
	switch {
	case e.Killed:
	case e.Signal == syscall.SIGKILL.String():
		e.OOM = oomKills() > p.oomKills
	case e.Signal == "" && e.Code != 0:
		e.OOM = slices.ContainsFunc(e.Output, func(line string) bool {
			return strings.Contains(line, "cannot allocate memory") || strings.Contains(line, "out of memory")
		})
	}
	return e
}

// lastWords are the last ten lines above debugging.
func lastWords(lines []string) []string {
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "[DEBUG]") || strings.HasPrefix(line, "[TRACE]")
	})
	return lines[max(0, len(lines)-10):]
}
