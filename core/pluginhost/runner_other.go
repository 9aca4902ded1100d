//go:build unix && !linux

package pluginhost

import (
	"os"
	"syscall"
)

// sysProcAttr gives a plugin a process group of its own. When the gateway is killed, the
// plugin sees the end of its lifeline.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the process and kills what is left of its group.
func (c *child) reap() {
	_ = c.cmd.Wait() // its error repeats the state
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaped = true
	c.signalGroup()
}

// widen does nothing: how much a pipe holds is the system's.
func widen(*os.File) {}
