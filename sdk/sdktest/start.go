package sdktest

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Bounds of a plugin's start, from the fork to its manifest, and of its end.
const (
	startTimeout = 10 * time.Second
	endTimeout   = 5 * time.Second
)

// startError says why the executable at path did not become a plugin and what to do. err is
// go-plugin's, stderr what the process said; it is dead.
func startError(path, stderr string, err error) error {
	message := path + " " + startProblem(err)
	if stderr != "" {
		message += "; it said:\n" + stderr
	}
	return errors.New(message)
}

func startProblem(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	line, unrecognized := strings.CutPrefix(text, "Unrecognized remote plugin message: ")
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Sprintf("is not built for %s/%s, or is a script without #! in its first line: build it again, or add that line", runtime.GOOS, runtime.GOARCH)
	case errors.Is(err, fs.ErrPermission):
		return "may not be executed: run `chmod +x` on it; if its file system is mounted noexec, copy it to another one"
	case errors.Is(err, fs.ErrNotExist):
		return "cannot be executed: it is not there, or the interpreter or loader that it names is missing on this machine"
	case unrecognized && line != "":
		return fmt.Sprintf("printed %.200q before its handshake: nothing but sdk.Serve may write to stdout; print to stderr instead", line)
	case unrecognized, strings.HasPrefix(text, "plugin exited"):
		return "ended, or closed its stdout, before its handshake: its main must call sdk.Serve, in other languages print the handshake line 1|1|unix|SOCKET|grpc"
	case strings.HasPrefix(text, "timeout while waiting"):
		return fmt.Sprintf("was not ready within %s: it must call sdk.Serve at once and connect to its database later, in open", startTimeout)
	case strings.HasPrefix(text, "incompatible API version"), strings.HasPrefix(text, "incompatible core API version"):
		return "speaks another version of the protocol: build it with the sdk of this Athena's version (" + text + ")"
	default:
		return "cannot be used: " + text
	}
}
