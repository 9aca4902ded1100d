//go:build !unix

package sdktest

import "errors"

// freeze cannot stop a process here.
func (p *Process) freeze() error { return errors.ErrUnsupported }
