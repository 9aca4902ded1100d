//go:build unix

package sdktest

import "syscall"

// freeze stops the process: it lives and does nothing.
func (p *Process) freeze() error { return p.command.Process.Signal(syscall.SIGSTOP) }
