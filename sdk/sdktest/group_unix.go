//go:build unix

package sdktest

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes cmd the head of a process group, for killGroup.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills a process with those that it has started.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
