package pluginhost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

// Bounds of the pause before a plugin that keeps failing is started again.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
	// A process that lived this long and served a call died by accident: its successor
	// starts at once.
	healthyLife = time.Second
	// After the connection is lost, the exit code of a process that dies by itself is
	// worth this wait.
	exitWait = 100 * time.Millisecond
)

// plugin supervises one file: at most one process at a time, and the instances that are
// open in it.
type plugin struct {
	host       *Host
	name       string
	logger     hclog.Logger
	logs       *logs
	waiting    atomic.Int64  // calls that wait for an instance to be open again
	generation atomic.Uint64 // last given to an instance; never used twice

	staged     string      // the copy that is executed; the supervisor's alone
	stagedInfo os.FileInfo // of the file it is a copy of

	mu         sync.Mutex
	file       Plugin
	state      State
	supervised bool
	process    *process // while Ready
	attempt    *attempt // what Open waits for; nil while Ready and during a backoff
	retryAt    time.Time
	failures   int // in a row
	starts     uint64
	version    string
	lastErr    *sdk.Error
	exit       *Exit
	instances  map[*Instance]struct{}
}

// attempt is one start, to be waited for.
type attempt struct {
	done    chan struct{}
	process *process
	err     *sdk.Error
}

func newPlugin(h *Host, file Plugin) *plugin {
	return &plugin{host: h, name: file.Name, file: file, state: Discovered, instances: map[*Instance]struct{}{},
		logger: h.logger.With("plugin", file.Name), logs: newLogs(h.options.Logger.Named(file.Name))}
}

// ready returns the running process, starting it if need be. During a backoff it answers
// the last failure at once.
func (p *plugin) ready(ctx context.Context) (*process, error) {
	p.mu.Lock()
	if p.process != nil {
		defer p.mu.Unlock()
		return p.process, nil
	}
	if wait := time.Until(p.retryAt); p.attempt == nil && wait > 0 {
		e := *p.lastErr
		p.mu.Unlock()
		e.RetryAfter = wait
		return nil, &e
	}
	a := p.awaited()
	if !p.supervised {
		if p.supervised = p.host.goes(p.supervise); !p.supervised {
			p.attempt = nil
			p.mu.Unlock()
			return nil, errClosing()
		}
	}
	p.mu.Unlock()
	select {
	case <-a.done:
		if a.err != nil {
			return nil, a.err
		}
		return a.process, nil
	case <-ctx.Done():
		e := *sdk.AsError(ctx.Err())
		e.Executed, e.Source = sdk.ExecutedNo, sdk.FromHost
		e.Message = fmt.Sprintf("plugin %q was still starting", p.name)
		return nil, &e
	}
}

// awaited returns the attempt to wait for; p.mu is held.
func (p *plugin) awaited() *attempt {
	if p.attempt == nil {
		p.attempt = &attempt{done: make(chan struct{})}
	}
	return p.attempt
}

// supervise starts the plugin and starts it again whenever it dies, as long as an
// instance needs it.
func (p *plugin) supervise() {
	for {
		proc, err := p.start()
		if proc != nil {
			err = p.attend(proc)
		}
		pause, again := p.ended(proc, err)
		if !again {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.host.ctx.Done():
			timer.Stop()
		}
	}
}

// start makes one attempt. Those who wait for it learn of a success here, of a failure from
// ended.
func (p *plugin) start() (*process, *sdk.Error) {
	p.mu.Lock()
	a := p.awaited()
	p.state = Starting
	p.mu.Unlock()

	path, e := p.stage()
	if e != nil {
		return nil, e
	}
	proc, e := p.host.launch(p.host.ctx, p.name, path, p.logs)
	if e != nil {
		return nil, e
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process, p.state, p.version, p.attempt, p.retryAt = proc, Ready, proc.manifest.Version, nil, time.Time{}
	p.starts++
	for i := range p.instances {
		p.host.goes(func() { i.reopen(proc) })
	}
	p.logger.Debug("plugin ready", "pid", proc.child.ID(), "version", p.version, "took", time.Since(proc.started).String())
	a.process = proc
	close(a.done)
	return proc, nil
}

// stage returns the copy of the plugin's file to execute: a new one when the file has
// changed. When the file is gone, the last copy serves on.
func (p *plugin) stage() (string, *sdk.Error) {
	info, err := os.Stat(p.file.Path)
	if p.staged != "" && (err != nil || unchanged(p.stagedInfo, info)) {
		return p.staged, nil
	}
	if err == nil {
		_, err = inspect(p.file.Path, info)
	}
	path, sum := "", ""
	if err == nil {
		path, sum, err = p.host.run.stage(p.file.Path)
	}
	if err != nil {
		return "", unavailable("plugin_start_failed", fmt.Sprintf("plugin %q cannot be used: %v", p.name, err))
	}
	p.staged, p.stagedInfo = path, info
	p.mu.Lock()
	p.file.Checksum = sum
	p.mu.Unlock()
	return path, nil
}

// attend returns when proc is gone, dead and buried.
func (p *plugin) attend(proc *process) *sdk.Error {
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		err := proc.remote.Watch(ctx)
		why := "its connection was lost"
		if e := sdk.AsError(err); e.Reason != "plugin_lost" {
			why += ": " + e.Error()
		}
		proc.lose(why)
	}()
	defer func() {
		cancel()
		<-watched
	}()
	select {
	case <-proc.lost:
	case <-proc.child.exited:
		proc.lose("it ended")
	case <-p.host.ctx.Done():
		p.shutDown(proc)
		return errClosing()
	}
	p.drop(proc)
	timer := time.NewTimer(exitWait)
	select {
	case <-proc.child.exited:
	case <-timer.C:
	}
	timer.Stop()
	proc.destroy()
	exit := proc.child.exit(proc.started, proc.why)
	p.mu.Lock()
	p.exit = exit
	p.mu.Unlock()
	e := unavailable("plugin_lost", fmt.Sprintf("plugin %q %s", p.name, exit))
	e.Log = strings.Join(exit.Output, "\n")
	return e
}

// drop makes calls wait from now on instead of using proc.
func (p *plugin) drop(proc *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process, p.state = nil, Lost
	p.awaited()
	for i := range p.instances {
		i.leave(proc)
	}
}

// ended decides when the plugin is started again, and whether at all.
func (p *plugin) ended(proc *process, e *sdk.Error) (pause time.Duration, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.host.ctx.Err() != nil {
		p.state, p.supervised = Discovered, false
		p.refuse(errClosing())
		return 0, false
	}
	p.lastErr = e
	if proc != nil && proc.served.Load() && p.exit.Uptime >= p.host.healthyLife {
		p.failures = 0
	} else {
		pause = backoff(p.failures)
		p.failures++
	}
	// Without an instance or somebody who opens one, the next Open starts it.
	again = len(p.instances) > 0 || pause == 0
	if proc == nil {
		p.logger.Error("plugin did not start", "error", cut(e.Error()), "next_try_in", pause.String())
	} else {
		p.logger.Error("plugin lost", "pid", proc.child.ID(), "exit", p.exit.String(), "why", p.exit.Why,
			"uptime", p.exit.Uptime.String(), "restart_in", pause.String(), "output", cut(strings.Join(p.exit.Output, "\n")))
	}
	if pause > 0 {
		p.state, p.retryAt = Backoff, time.Now().Add(pause)
		p.refuse(e)
	}
	p.supervised = again
	return pause, again
}

// refuse tells those who wait for an attempt that there is none.
func (p *plugin) refuse(e *sdk.Error) {
	if p.attempt != nil {
		p.attempt.err = e
		close(p.attempt.done)
		p.attempt = nil
	}
}

// cut bounds what a plugin said to what fits a line of the log.
func cut(text string) string { return text[:min(len(text), maxLine/2)] }

// backoff is the pause after so many failures in a row, spread by a fifth.
func backoff(failures int) time.Duration {
	d := min(minBackoff<<min(failures, 10), maxBackoff)
	return d - time.Duration(rand.Int64N(int64(d)/5))
}

// shutDown ends proc in order: running calls end, instances are closed, then the process.
func (p *plugin) shutDown(proc *process) {
	ctx := p.host.closeCtx
	p.mu.Lock()
	p.process, p.state = nil, Discovered
	instances := make([]*Instance, 0, len(p.instances))
	for i := range p.instances {
		instances = append(instances, i)
	}
	p.mu.Unlock()
	if err := proc.remote.Drain(ctx); err != nil {
		p.logger.Warn("plugin ends with calls under way", "error", err)
	}
	var wg sync.WaitGroup
	for _, i := range instances {
		wg.Go(func() { _ = i.Close(ctx) })
	}
	wg.Wait()
	proc.stop(p.host.options.KillGrace)
}

// adopt makes i one of the instances that are opened again after a crash. It is false when
// proc, in which i was opened, is gone already.
func (p *plugin) adopt(i *Instance, proc *process) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != proc {
		return false
	}
	p.instances[i] = struct{}{}
	return true
}

// openError explains a failed OpenInstance; a crash with the exit and the last words.
func (p *plugin) openError(ctx context.Context, i *Instance, proc *process, err error) *sdk.Error {
	e := p.logs.secrets.cleanError(err)
	if e.Reason != "plugin_lost" {
		return e
	}
	proc.lose("it was lost while it opened " + i.name)
	select {
	case <-proc.child.exited:
	case <-ctx.Done():
		return e
	}
	exit := proc.child.exit(proc.started, proc.why)
	crashed := unavailable("plugin_lost", fmt.Sprintf("plugin %q %s while it opened %q", p.name, exit, i.name))
	crashed.Log = strings.Join(exit.Output, "\n")
	return crashed
}
