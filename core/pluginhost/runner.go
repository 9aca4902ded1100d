package pluginhost

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// A forker starts processes, all from one thread that lives as long as the forker: a
// plugin is killed by the kernel when the thread that forked it ends, and Go ends threads
// at will.
type forker struct {
	jobs chan func()
	done chan struct{}
}

func newForker() *forker {
	f := &forker{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range f.jobs {
			job()
		}
	}()
	return f
}

func (f *forker) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	f.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// close ends the thread, when no process that it started is alive.
func (f *forker) close() {
	close(f.jobs)
	<-f.done
}

// child is one plugin process with all processes that it starts: they are one process
// group and die together. It is go-plugin's runner. Its end is known when the process
// itself ends, whoever still holds its output open.
type child struct {
	forker *forker
	logs   *logs
	cmd    *exec.Cmd
	limits Limits
	// attached is a process that was not started here: cmd is not set, it is not killed, and
	// exited is closed when the host lets go of it.
	attached bool

	stdout, stderr *os.File       // our ends
	alive          *os.File       // our end of its lifeline: it closes when the gateway dies
	handshake      *io.PipeReader // the first line of stdout
	firstLine      string         // the same; to be read when exited is closed
	firstLog       uint64         // number of its first line in logs
	readers        sync.WaitGroup
	crash          []string // the first lines of a Go panic, secrets removed; to be read when exited is closed

	mu     sync.Mutex
	pid    int  // 0: not started
	killed bool // by us
	reaped bool // the pid may be another's by now

	exited chan struct{} // closed when it is reaped and its output is read
}

var _ runner.Runner = (*child)(nil)

// drainOutput is how long the output of a dead process is still read, when a process that
// left its group holds it open.
const drainOutput = 200 * time.Millisecond

func newChild(f *forker, l *logs, path string, env []string, limits Limits) *child {
	return &child{forker: f, logs: l, limits: limits, firstLog: l.mark(), exited: make(chan struct{}), cmd: &exec.Cmd{
		Path: path, Args: []string{path}, Env: env,
		SysProcAttr: sysProcAttr(),
	}}
}

// Start forks and no more: it returns before the plugin has said anything.
func (c *child) Start(context.Context) error {
	stdout, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outW.Close()
	stderr, errW, err := os.Pipe()
	if err != nil {
		stdout.Close()
		return err
	}
	defer errW.Close()
	widen(errW)
	lifeline, alive, err := os.Pipe() // one each: what a plugin does to it reaches no other
	if err != nil {
		stdout.Close()
		stderr.Close()
		return err
	}
	defer lifeline.Close()
	c.cmd.Stdout, c.cmd.Stderr, c.cmd.ExtraFiles = outW, errW, []*os.File{lifeline} // descriptor 3
	if err := c.forker.start(c.cmd); err != nil {
		stdout.Close()
		stderr.Close()
		alive.Close()
		return err
	}
	c.alive = alive
	if err := c.limits.apply(c.cmd.Process.Pid); err != nil {
		c.logs.add([]byte("its limits could not be set: " + err.Error()))
	}
	c.stdout, c.stderr = stdout, stderr
	var handshake *io.PipeWriter
	c.handshake, handshake = io.Pipe()
	c.readers.Go(func() { c.readStdout(handshake) })
	c.readers.Go(func() { readLines(&throttle{logs: c.logs, r: stderr, buffer: make([]byte, keptTail)}, c.readStderr) })
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	if c.killed { // while it was being forked
		c.signalGroup()
	}
	c.mu.Unlock()
	go c.await()
	return nil
}

// readStdout hands the first line to go-plugin and the others to the log. That go-plugin
// sees the end of both outputs early lets it wait for the process alone.
func (c *child) readStdout(handshake *io.PipeWriter) {
	first := true
	readLines(&throttle{logs: c.logs, r: c.stdout, buffer: make([]byte, keptTail)}, func(line []byte) {
		if !first {
			c.logs.add(line)
			return
		}
		first = false
		c.firstLine = strings.TrimSpace(string(line))
		handshake.Write([]byte(c.firstLine + "\n"))
		handshake.Close()
	})
	handshake.Close()
}

// readStderr hands a line to the log, and keeps it if it belongs to a Go panic.
func (c *child) readStderr(line []byte) {
	c.logs.add(line)
	if len(c.crash) < lastLines && (len(c.crash) > 0 || startsCrash(line)) {
		c.crash = append(c.crash, c.logs.secrets.clean(strings.TrimRight(string(line), "\r\n")))
	}
}

// await reaps the process when it ends, and with it its group.
func (c *child) await() {
	c.reap()
	deadline := time.Now().Add(drainOutput)
	c.stdout.SetReadDeadline(deadline)
	c.stderr.SetReadDeadline(deadline)
	c.handshake.Close()
	c.readers.Wait()
	c.stdout.Close()
	c.stderr.Close()
	c.alive.Close()
	close(c.exited)
}

// kill ends the process and its group at once, also when it is not started yet.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	if c.attached {
		c.reaped = true
		close(c.exited)
		return
	}
	c.killed = true
	if c.pid != 0 {
		c.signalGroup()
	}
}

func (c *child) signalGroup() { _ = syscall.Kill(-c.pid, syscall.SIGKILL) }

// Wait, Kill and the following methods are go-plugin's.
func (c *child) Wait(context.Context) error {
	<-c.exited
	return nil
}

func (c *child) Kill(context.Context) error {
	c.kill()
	return nil
}

func (c *child) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return ""
	}
	return strconv.Itoa(c.pid)
}

func (c *child) Name() string                    { return c.cmd.Path }
func (c *child) Diagnose(context.Context) string { return "" }
func (c *child) Stdout() io.ReadCloser           { return c.handshake }
func (c *child) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }

func (c *child) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (c *child) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
