package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Calls wait for a plugin that is being started again, so many per plugin and so long.
const (
	maxWaiting = 1024
	maxWait    = 2 * time.Second
	retryAfter = time.Second // advice to those who waited in vain
)

// Instance is an opened client of a backend. It survives its plugin's crashes. Its
// methods are safe for concurrent use.
type Instance struct {
	plugin *plugin
	name   string
	config json.RawMessage // checked, paths resolved
	now    atomic.Pointer[opened]
	turn   chan struct{} // held while it is being opened

	mu           sync.Mutex
	changed      chan struct{} // closed and replaced when now or openErr changes
	openErr      *sdk.Error    // why it could not be opened again
	capabilities sdk.Capabilities
	closed       bool
}

// opened is where an instance is open.
type opened struct {
	process    *process
	generation uint64
}

func newInstance(p *plugin, name string, config json.RawMessage) *Instance {
	return &Instance{plugin: p, name: name, config: config, turn: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Execute sends call, whose Instance and Generation it sets, and returns once the first
// head is there. While the plugin is being started again the call waits, at most 2 s. The
// error is an *sdk.Error: Unavailable "plugin_unavailable" when nothing was sent, or the
// plugin's own; "plugin_lost" when it died with the call under way.
func (i *Instance) Execute(ctx context.Context, call *sdk.Call) (*sdk.Answer, error) {
	o := i.now.Load()
	if o == nil {
		var err error
		if o, err = i.wait(ctx, call.Deadline); err != nil {
			return nil, err
		}
	}
	for again := false; ; again = true {
		call.Instance, call.Generation = i.name, o.generation
		answer, err := o.process.remote.Execute(ctx, call)
		if err == nil {
			if !o.process.served.Load() {
				o.process.served.Store(true)
			}
			return answer, nil
		}
		if o = i.recover(ctx, o, err); o == nil || again {
			return nil, err
		}
	}
}

// Ping asks the database for a sign of life.
func (i *Instance) Ping(ctx context.Context) error {
	o, err := i.wait(ctx, time.Time{})
	if err != nil {
		return err
	}
	err = o.process.remote.Ping(ctx, i.name, o.generation)
	if err == nil {
		return nil
	}
	if o = i.recover(ctx, o, err); o == nil {
		return err
	}
	return o.process.remote.Ping(ctx, i.name, o.generation)
}

// Capabilities are what the opened database can do.
func (i *Instance) Capabilities() sdk.Capabilities {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.capabilities
}

// Close closes the instance when its running calls have ended, or when ctx ends.
func (i *Instance) Close(ctx context.Context) error {
	p := i.plugin
	p.mu.Lock()
	delete(p.instances, i)
	p.mu.Unlock()
	i.mu.Lock()
	i.closed = true
	o := i.now.Swap(nil)
	i.notify()
	i.mu.Unlock()
	defer p.logs.secrets.remove(i)
	if o == nil {
		return nil
	}
	err := o.process.remote.CloseInstance(ctx, i.name, o.generation)
	if err == nil || sdk.AsError(err).Reason == "plugin_lost" {
		return nil
	}
	return p.logs.secrets.cleanError(err)
}

// recover judges a failed call and returns where to send it again: only when the plugin
// did not know the instance, so that nothing was executed.
func (i *Instance) recover(ctx context.Context, o *opened, err error) *opened {
	switch sdk.AsError(err).Reason {
	case "plugin_lost":
		i.leave(o.process) // the next call waits for the new process
		o.process.lose("a call lost its connection")
	case "unknown_instance":
		if i.openAgain(ctx, o) == nil {
			return i.now.Load()
		}
	}
	return nil
}

// leave makes calls wait if the instance is open in proc.
func (i *Instance) leave(proc *process) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if o := i.now.Load(); o != nil && o.process == proc {
		i.now.Store(nil)
	}
}

// wait returns where the instance is open, when it is.
func (i *Instance) wait(ctx context.Context, deadline time.Time) (*opened, error) {
	if o := i.now.Load(); o != nil {
		return o, nil
	}
	p := i.plugin
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return nil, i.unavailable("too many calls wait for it already")
	}
	limit := maxWait
	if !deadline.IsZero() {
		limit = min(limit, time.Until(deadline))
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		i.mu.Lock()
		o, changed, closed := i.now.Load(), i.changed, i.closed
		i.mu.Unlock()
		if closed {
			return nil, unavailable("instance_closed", fmt.Sprintf("the client %q was closed", i.name))
		}
		if o != nil {
			return o, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, i.unavailable("it is being started again")
		case <-p.host.ctx.Done():
			return nil, errClosing()
		case <-ctx.Done():
			e := *sdk.AsError(context.Cause(ctx))
			e.Executed = sdk.ExecutedNo
			return nil, &e
		}
	}
}

func (i *Instance) unavailable(why string) *sdk.Error {
	e := unavailable("plugin_unavailable", fmt.Sprintf("the backend's plugin %q is not available: %s", i.plugin.name, why))
	e.RetryAfter = retryAfter
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.openErr != nil {
		e.Detail = i.openErr.Message
	}
	return e
}

// openIn opens the instance in proc under a new generation.
func (i *Instance) openIn(ctx context.Context, proc *process) error {
	generation := i.plugin.generation.Add(1)
	capabilities, err := proc.remote.OpenInstance(ctx, i.name, generation, i.config)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		i.openErr = i.plugin.logs.secrets.cleanError(err)
		return i.openErr
	}
	select {
	case <-proc.lost: // leave may have been called already
		return unavailable("plugin_lost", "the plugin was lost")
	default:
	}
	if i.closed {
		i.plugin.host.goes(func() { _ = proc.remote.CloseInstance(i.plugin.host.ctx, i.name, generation) })
		return unavailable("instance_closed", fmt.Sprintf("the client %q was closed", i.name))
	}
	i.capabilities, i.openErr = *capabilities, nil
	i.now.Store(&opened{process: proc, generation: generation})
	i.notify()
	return nil
}

func (i *Instance) notify() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// openAgain replaces o, which the plugin does not know, once for all callers.
func (i *Instance) openAgain(ctx context.Context, o *opened) error {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if now := i.now.Load(); now != o {
		return nil // somebody else has
	}
	return i.openIn(ctx, o.process)
}

// reopen opens the instance in a new process, again and again until it works or the
// process is lost.
func (i *Instance) reopen(proc *process) {
	ctx, cancel := context.WithCancel(i.plugin.host.ctx)
	defer cancel()
	for failures := 0; ; failures++ {
		attempt, done := context.WithTimeout(ctx, i.plugin.host.options.StartTimeout)
		err := i.openIn(attempt, proc)
		done()
		if err == nil {
			return
		}
		pause := backoff(failures)
		timer := time.NewTimer(pause)
		select {
		case <-proc.lost:
			timer.Stop()
			return
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		i.plugin.logger.Warn("instance not open yet", "instance", i.name, "error", err, "next_try_in", pause.String())
	}
}
