package pluginhost

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sysProcAttr gives a plugin a process group of its own, and lets the kernel kill it when
// the gateway dies, even by SIGKILL.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the process and kills what is left of its group while its pid is still
// taken, so that the signal can reach no stranger.
func (c *child) reap() {
	for errors.Is(unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalGroup()
	_ = c.cmd.Wait() // its error repeats the state
	c.reaped = true
}

// outputPipe is how much of a plugin's output the kernel holds until it is read, in bytes.
const outputPipe = 1 << 20

// widen lets a pipe hold more, if the system allows it: a flood is read in fewer pieces.
func widen(pipe *os.File) {
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, outputPipe) })
	}
}
