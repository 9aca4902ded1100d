package pluginhost

import (
	"context"
	"fmt"
	"math/rand/v2"
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
	// starts at once, and its death is not counted.
	healthyLife = time.Second
	// A plugin of so many counted deaths within the window is quarantined.
	maxCrashes  = 5
	crashWindow = 10 * time.Minute
	// After the connection is lost, the exit code of a process that dies by itself is
	// worth this wait.
	exitWait = 100 * time.Millisecond
	// A process that was replaced may finish its calls for so long.
	maxDrain = 10 * time.Minute
)

// plugin supervises one file: at most one process that gets calls, the instances that are
// open in it, and processes that finish theirs.
type plugin struct {
	host       *Host
	name       string
	logger     hclog.Logger
	logs       *logs
	waiting    atomic.Int64  // calls that wait for an instance to be open again
	generation atomic.Uint64 // last given to an instance; never used twice
	wake       chan struct{} // something for the supervisor to look at; see due

	good program // the last one that became ready; the supervisor's alone

	mu         sync.Mutex
	file       Plugin // as last read from the directory
	gone       bool   // the file is no longer there
	level      hclog.Level
	state      State // while there is no process
	supervised bool
	process    *process // gets calls
	attempt    *attempt // what Open waits for; nil while there is a process and during a backoff
	restart    *attempt // asked for by an operator; nil: none
	retryAt    time.Time
	failures   int         // counted deaths in a row
	crashes    []time.Time // counted deaths within crashWindow
	refused    string      // checksum of a file that could not take over
	refusedErr *sdk.Error  // why not
	starts     uint64
	draining   int // processes that finish their calls
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

func newAttempt() *attempt { return &attempt{done: make(chan struct{})} }

func (a *attempt) end(proc *process, e *sdk.Error) {
	a.process, a.err = proc, e
	close(a.done)
}

func newPlugin(h *Host, file Plugin) *plugin {
	return &plugin{host: h, name: file.Name, file: file, state: file.State, level: initialLevel(h.options.Logger), wake: make(chan struct{}, 1),
		instances: map[*Instance]struct{}{}, logger: h.logger.With("plugin", file.Name), logs: newLogs(h.options.Logger.Named(file.Name))}
}

// initialLevel is the level of plugins' logs until somebody sets another: the gateway's.
func initialLevel(l hclog.Logger) hclog.Level {
	if level := l.GetLevel(); level >= hclog.Trace && level <= hclog.Error {
		return level
	}
	return hclog.Info
}

// ready returns the running process, starting it if need be. During a backoff and in
// quarantine it answers the last failure at once.
func (p *plugin) ready(ctx context.Context) (*process, error) {
	p.mu.Lock()
	if p.process != nil {
		defer p.mu.Unlock()
		return p.process, nil
	}
	if e := p.refusal(); e != nil {
		p.mu.Unlock()
		return nil, e
	}
	a := p.awaited()
	if !p.superviseLocked() {
		p.mu.Unlock()
		return nil, errClosing()
	}
	p.mu.Unlock()
	return p.await(ctx, a)
}

// refusal is why the plugin is not to be started now; p.mu is held.
func (p *plugin) refusal() *sdk.Error {
	switch wait := time.Until(p.retryAt); {
	case p.gone:
		return p.goneError()
	case p.state == Quarantined:
		e := unavailable("plugin_quarantined", fmt.Sprintf("plugin %q failed %d times within %s and is no longer started: %s", p.name, maxCrashes, crashWindow, p.lastErr.Message))
		e.Hint = fmt.Sprintf("mend its cause, then replace its file or release it: POST /admin/plugins/%s/release", p.name)
		e.Log = p.lastErr.Log
		return e
	case p.attempt == nil && wait > 0:
		e := *p.lastErr
		e.RetryAfter = wait
		return &e
	}
	return nil
}

func (p *plugin) goneError() *sdk.Error {
	e := unavailable("plugin_removed", fmt.Sprintf("plugin %q is no longer in %s", p.name, p.host.options.Dir))
	e.Hint = "put its file back, or remove the clients that use it"
	return e
}

func (p *plugin) await(ctx context.Context, a *attempt) (*process, error) {
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
		p.attempt = newAttempt()
	}
	return p.attempt
}

// superviseLocked sees to it that somebody supervises; p.mu is held. It is false when the
// host is closing.
func (p *plugin) superviseLocked() bool {
	if !p.supervised {
		if p.supervised = p.host.goes(p.supervise); !p.supervised {
			p.refuse(errClosing())
		}
	}
	return p.supervised
}

// notify makes the supervisor look what is due.
func (p *plugin) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// supervise starts the plugin and starts it again whenever it dies, as long as an
// instance needs it.
func (p *plugin) supervise() {
	for {
		proc, e := p.start()
		var last *process
		for proc != nil {
			last = proc
			proc, e = p.attend(proc)
		}
		pause, again := p.ended(last, e)
		if !again {
			return
		}
		p.rest(pause)
	}
}

// rest waits for pause, or until the file has changed or an operator asks for a start.
func (p *plugin) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		p.mu.Lock()
		over := p.retryAt.IsZero() || p.gone
		p.mu.Unlock()
		if over {
			return
		}
		select {
		case <-timer.C:
			return
		case <-p.host.ctx.Done():
			return
		case <-p.wake:
		}
	}
}

// start makes one attempt. Those who wait for it learn of a success here, of a failure from
// ended.
func (p *plugin) start() (*process, *sdk.Error) {
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return nil, p.goneError()
	}
	p.awaited()
	p.state = Starting
	p.mu.Unlock()

	what, e := p.program()
	if e != nil {
		return nil, e
	}
	proc, e := p.host.launch(p.host.ctx, p, what)
	if e != nil {
		if p.good.checksum != "" && what.checksum != p.good.checksum {
			p.refuseFile(what.checksum, e) // the next attempt takes the good one
		}
		return nil, e
	}
	p.proven(what)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeOver(proc)
	for i := range p.instances {
		p.host.goes(func() { i.reopen(proc) })
	}
	return proc, nil
}

// takeOver lets proc get the calls from now on; p.mu is held.
func (p *plugin) takeOver(proc *process) {
	p.process, p.version, p.retryAt = proc, proc.manifest.Version, time.Time{}
	p.starts++
	p.logger.Info("plugin ready", "pid", proc.child.ID(), "version", p.version, "took", time.Since(proc.started).String())
	if a := p.attempt; a != nil {
		p.attempt = nil
		a.end(proc, nil)
	}
	if a := p.restart; a != nil {
		p.restart = nil
		a.end(proc, nil)
	}
}

// attend returns when proc gets no more calls: with the process that has taken over, or
// with why there is none.
func (p *plugin) attend(proc *process) (*process, *sdk.Error) {
	ctx, cancel := context.WithCancel(p.host.ctx)
	defer cancel()
	var successor chan *process // of a change under way
	abandon := func() {
		cancel()
		if successor == nil {
			return
		}
		if next := <-successor; next != nil {
			next.destroy()
		}
	}
	for {
		if successor == nil && p.due(proc) == changeProcess {
			successor = make(chan *process, 1)
			go func(c chan<- *process) { c <- p.prepare(ctx, proc) }(successor)
		}
		if p.due(proc) == stopProcess {
			abandon()
			p.retire(proc)
			return nil, p.goneError()
		}
		select {
		case <-p.wake:
		case next := <-successor:
			successor = nil
			if next != nil {
				p.swap(proc, next)
				return next, nil
			}
		case <-p.host.ctx.Done():
			abandon()
			p.shutDown(proc)
			return nil, errClosing()
		case <-proc.lost:
			abandon()
			return nil, p.bury(proc)
		case <-proc.child.exited:
			proc.lose("it ended")
			abandon()
			return nil, p.bury(proc)
		}
	}
}

// bury ends a process that was lost and reports on its end.
func (p *plugin) bury(proc *process) *sdk.Error {
	p.drop(proc)
	timer := time.NewTimer(exitWait)
	select {
	case <-proc.child.exited:
	case <-timer.C:
	}
	timer.Stop()
	proc.destroy()
	exit := proc.child.exit(proc)
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
	p.supervised = false
	if p.host.ctx.Err() != nil {
		p.state = Stopped
		p.refuse(errClosing())
		return 0, false
	}
	p.lastErr = e
	if p.gone {
		p.state = Stopped
		p.refuse(e)
		p.failAll(p.goneError())
		p.logger.Info("plugin stopped: its file was removed")
		return 0, false
	}
	if proc != nil && proc.retired.Load() { // its file was away, and is back before it had ended
		p.failAll(nil)
		p.supervised = len(p.instances) > 0 || p.attempt != nil || p.restart != nil
		if !p.supervised {
			p.state = Discovered
		}
		return 0, p.supervised
	}
	if proc != nil && p.exit.Uptime >= p.host.healthyLife && (proc.served.Load() || proc.child.attached) {
		p.failures = 0
	} else {
		pause = p.countCrash()
	}
	// Without an instance or somebody who opens one, the next Open starts it.
	again = len(p.instances) > 0 || pause == 0
	if proc == nil {
		p.logger.Error("plugin did not start", "error", cut(e.Error()), "next_try_in", pause.String())
	} else {
		p.logger.Error("plugin lost", "pid", proc.child.ID(), "exit", p.exit.String(), "why", p.exit.Why,
			"uptime", p.exit.Uptime.String(), "restart_in", pause.String(), "output", cut(strings.Join(p.exit.Output, "\n")))
	}
	if p.state == Quarantined {
		p.logger.Error("plugin quarantined: it is started again when its file has changed or it is released", "failures", maxCrashes, "within", crashWindow.String())
		why := p.refusal()
		p.refuse(why)
		p.failAll(why)
		return 0, false
	}
	if pause > 0 {
		p.state, p.retryAt = Backoff, time.Now().Add(pause)
		p.refuse(e)
	}
	p.supervised = again
	return pause, again
}

// countCrash counts a death and returns the pause before the next start, or quarantines the
// plugin; p.mu is held.
func (p *plugin) countCrash() time.Duration {
	now := time.Now()
	kept := p.crashes[:0]
	for _, at := range append(p.crashes, now) {
		if now.Sub(at) < crashWindow {
			kept = append(kept, at)
		}
	}
	p.crashes = kept
	pause := backoff(p.host.minBackoff, p.failures)
	p.failures++
	if len(kept) >= maxCrashes {
		p.state, p.retryAt = Quarantined, time.Time{}
	}
	return pause
}

// failAll says why no instance is open, or that they are on their way again (nil); p.mu is
// held.
func (p *plugin) failAll(why *sdk.Error) {
	for i := range p.instances {
		i.fail(why)
	}
}

// pause is how long the plugin is not started.
func (p *plugin) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != Backoff {
		return 0
	}
	return time.Until(p.retryAt)
}

// forgive forgets what went wrong, so that the plugin starts at once; p.mu is held.
func (p *plugin) forgive() {
	p.failures, p.crashes, p.retryAt, p.refused, p.refusedErr = 0, nil, time.Time{}, "", nil
	if p.state == Quarantined || p.state == Backoff || p.state == Stopped || p.state == Rejected {
		p.state = Discovered
		p.failAll(nil)
	}
	if len(p.instances) > 0 && p.process == nil {
		p.superviseLocked()
	}
	p.notify()
}

// refuse tells those who wait for an attempt that there is none; p.mu is held.
func (p *plugin) refuse(e *sdk.Error) {
	if a := p.attempt; a != nil {
		p.attempt = nil
		a.end(nil, e)
	}
	if a := p.restart; a != nil {
		p.restart = nil
		a.end(nil, e)
	}
}

// cut bounds what a plugin said to what fits a line of the log.
func cut(text string) string { return text[:min(len(text), maxLine/2)] }

// backoff is the pause after so many failures in a row, spread by a fifth.
func backoff(first time.Duration, failures int) time.Duration {
	d := min(first<<min(failures, 10), maxBackoff)
	return d - time.Duration(rand.Int64N(int64(d)/5))
}

// shutDown ends proc in order: running calls end, instances are closed, then the process.
func (p *plugin) shutDown(proc *process) {
	p.mu.Lock()
	p.process, p.state = nil, Draining
	instances := make([]*Instance, 0, len(p.instances))
	for i := range p.instances {
		instances = append(instances, i)
	}
	p.mu.Unlock()
	ctx := p.host.closeCtx
	if err := proc.drain(ctx); err != nil {
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
// proc, in which i was opened, gets no more calls.
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
	exit := proc.child.exit(proc)
	crashed := unavailable("plugin_lost", fmt.Sprintf("plugin %q %s while it opened %q", p.name, exit, i.name))
	crashed.Log = strings.Join(exit.Output, "\n")
	return crashed
}
