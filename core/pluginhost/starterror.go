package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

func unavailable(reason, message string) *sdk.Error {
	e := sdk.E(sdk.Unavailable, reason, message)
	e.Source = sdk.FromHost
	return e
}

// startError says why a plugin did not start and what to do. The process is dead.
func (p *process) startError(name string, timeout time.Duration, err error) *sdk.Error {
	message := fmt.Sprintf("plugin %q ", name)
	if p.child.ID() == "" {
		return unavailable("plugin_start_failed", message+forkError(p.child.cmd.Path, err))
	}
	p.lose("it did not start")
	exit := p.child.exit(p)
	line := p.child.logs.secrets.clean(p.child.firstLine)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		message += fmt.Sprintf("was not ready within %s", timeout)
		if line == "" {
			message += "; it must call sdk.Serve at once and connect to its database later, in open"
		}
	case errors.Is(err, context.Canceled):
		message += "was not started: the gateway is shutting down"
	case line != "" && strings.Count(line, "|") < 3:
		message += fmt.Sprintf("printed %.200q before its handshake: nothing but sdk.Serve may write to stdout; print to stderr instead", line)
	case strings.Contains(err.Error(), "ncompatible API version"):
		version := strings.Split(line, "|")[1]
		message += fmt.Sprintf("speaks version %s of the plugin protocol, this gateway version %d: build it with the SDK of this gateway's version", version, sdk.Handshake.ProtocolVersion)
	case !exit.Killed:
		message += exit.String() + " before it was ready"
	default:
		text, _, _ := strings.Cut(err.Error(), "\n")
		message += "cannot be used: " + text
	}
	e := unavailable("plugin_start_failed", message)
	if len(exit.Output) > 0 {
		e.Log = "it said: " + strings.Join(exit.Output, "\n")
	}
	return e
}

func forkError(path string, err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Sprintf("is not built for %s/%s: build it again, with `make build`", runtime.GOOS, runtime.GOARCH)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("may not be executed as %s: if that file system is mounted noexec, set TMPDIR to a directory on another one", path)
	case errors.Is(err, fs.ErrNotExist):
		return "cannot be executed: the interpreter or loader that it names is missing on this machine"
	default:
		return "could not be started: " + err.Error()
	}
}
