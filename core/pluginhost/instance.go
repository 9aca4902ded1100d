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
	config json.RawMessage // as given
	now    atomic.Pointer[opened]
	turn   chan struct{} // held while it is being opened

	mu           sync.Mutex
	changed      chan struct{} // closed and replaced when now or openErr changes
	openErr      *sdk.Error    // why it is not open
	capabilities sdk.Capabilities
	closed       bool
}

// opened is where an instance is open.
type opened struct {
	process      *process
	instance     string
	generation   uint64
	capabilities sdk.Capabilities
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
			return nil, i.refusal(err)
		}
	}
	for attempt := 0; ; attempt++ {
		call.Instance, call.Generation = i.name, o.generation
		answer, err := o.process.remote.Execute(ctx, call)
		if err == nil {
			if !o.process.served.Load() {
				o.process.served.Store(true)
			}
			return answer, nil
		}
		if o = i.recover(ctx, o, err, call.Deadline); o == nil || attempt == maxMoves {
			return nil, i.refusal(err)
		}
	}
}

// refusal is err, or "instance_closed" for a call that met Close and was not executed: its
// client may be open in another instance.
func (i *Instance) refusal(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := sdk.AsError(err)
	if i.closed && e.Kind == sdk.Unavailable && e.Source != sdk.FromDownstream && e.Executed == sdk.ExecutedNo {
		return i.errClosed()
	}
	return err
}

func (i *Instance) errClosed() *sdk.Error {
	return unavailable(InstanceClosed, fmt.Sprintf("the client %q was closed", i.name))
}

// InstanceClosed is the reason of errors of calls that came after Close. Nothing was executed.
const InstanceClosed = "instance_closed"

// maxMoves is how often one call follows its instance to where it is open now.
const maxMoves = 3

// Ping asks the database for a sign of life.
func (i *Instance) Ping(ctx context.Context) error {
	o, err := i.wait(ctx, time.Time{})
	if err != nil {
		return i.refusal(err)
	}
	err = o.process.remote.Ping(ctx, i.name, o.generation)
	if err == nil {
		return nil
	}
	if o = i.recover(ctx, o, err, time.Time{}); o == nil {
		return i.refusal(err)
	}
	return o.process.remote.Ping(ctx, i.name, o.generation)
}

// Introspect asks what the database holds. It is Unsupported where the backend cannot tell.
func (i *Instance) Introspect(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	o, err := i.wait(ctx, time.Time{})
	if err != nil {
		return nil, i.refusal(err)
	}
	for attempt := 0; ; attempt++ {
		if !o.capabilities.Introspect {
			return nil, sdk.E(sdk.Unsupported, "unsupported", "this backend does not support telling what its database holds")
		}
		schema, err := o.process.remote.Introspect(ctx, i.name, o.generation, q)
		if err == nil {
			return schema, nil
		}
		if o = i.recover(ctx, o, err, time.Time{}); o == nil || attempt == maxMoves {
			return nil, i.refusal(err)
		}
	}
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
// did not take it, so that nothing was executed. It may wait for that until the deadline.
func (i *Instance) recover(ctx context.Context, o *opened, err error, deadline time.Time) *opened {
	e := sdk.AsError(err)
	switch e.Reason {
	case "plugin_lost":
		if o.process.retired.Load() { // it ended, and another has taken over
			if e.Executed == sdk.ExecutedNo {
				return i.moved(ctx, o, deadline)
			}
			return nil
		}
		i.leave(o.process) // the next call waits for the new process
		o.process.lose("a call lost its connection")
	case "draining":
		return i.moved(ctx, o, deadline)
	case "unknown_instance":
		if now := i.now.Load(); now != o {
			return now
		}
		if i.openAgain(ctx, o) == nil {
			return i.now.Load()
		}
	}
	return nil
}

// moved returns where the instance is open instead of o; nil if it is still there, or is not
// open in time.
func (i *Instance) moved(ctx context.Context, o *opened, deadline time.Time) *opened {
	now := i.now.Load()
	if now == nil {
		now, _ = i.wait(ctx, deadline) // the error at hand says that nothing was executed
	}
	if now == o {
		return nil
	}
	return now
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
	if pause := p.pause(); pause > limit {
		e := i.unavailable("it fails, and is started again later")
		e.RetryAfter = pause
		return nil, e
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		i.mu.Lock()
		o, changed, closed, openErr := i.now.Load(), i.changed, i.closed, i.openErr
		i.mu.Unlock()
		if closed {
			return nil, i.errClosed()
		}
		if o != nil {
			return o, nil
		}
		if openErr != nil && (openErr.Reason == "plugin_removed" || openErr.Reason == "plugin_quarantined") {
			return nil, openErr
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

// fail says why the instance is open nowhere, or that it is on its way again (nil).
func (i *Instance) fail(e *sdk.Error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.openErr = e
	i.notify()
}

// openIn opens the instance in proc under a new generation, not yet for use. The config is
// checked against the schema of proc. A plugin that takes longer than StartTimeout has failed.
func (i *Instance) openIn(ctx context.Context, proc *process) (*opened, error) {
	prepared, secrets, err := proc.schema.prepare(i.config, i.plugin.host.options.ConfigDir)
	if err != nil {
		return nil, i.couldNot(err)
	}
	i.plugin.logs.secrets.add(i, secrets)
	generation := i.plugin.generation.Add(1)
	limit := i.plugin.host.options.StartTimeout
	attempt, done := context.WithTimeout(ctx, limit)
	defer done()
	capabilities, err := proc.remote.OpenInstance(attempt, i.name, generation, prepared)
	if err != nil && attempt.Err() != nil && ctx.Err() == nil {
		e := unavailable("open_timeout", fmt.Sprintf("plugin %q did not open %q within %s", i.plugin.name, i.name, limit))
		e.Hint = fmt.Sprintf("what it printed meanwhile is in GET /admin/plugins/%s/logs", i.plugin.name)
		return nil, i.couldNot(e)
	}
	if err != nil {
		return nil, i.couldNot(i.plugin.logs.secrets.cleanError(err))
	}
	return &opened{process: proc, instance: i.name, generation: generation, capabilities: *capabilities}, nil
}

// couldNot notes why the instance could not be opened, for those who wait until it is.
func (i *Instance) couldNot(err error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.now.Load() == nil {
		i.openErr = sdk.AsError(err)
	}
	return err
}

// openNow is openIn for use at once.
func (i *Instance) openNow(ctx context.Context, proc *process) error {
	o, err := i.openIn(ctx, proc)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if proc.over() { // leave may have been called already
		return unavailable("plugin_lost", "the plugin was lost")
	}
	if i.closed {
		i.plugin.host.goes(func() { _ = proc.remote.CloseInstance(i.plugin.host.ctx, i.name, o.generation) })
		return i.errClosed()
	}
	i.put(o)
	return nil
}

// use sends calls to o from now on, to nowhere if it is nil, and returns where they went.
func (i *Instance) use(o *opened) *opened {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.now.Load()
	if o == nil {
		i.now.Store(nil)
	} else {
		i.put(o)
	}
	return before
}

// put stores o; i.mu is held.
func (i *Instance) put(o *opened) {
	i.capabilities, i.openErr = o.capabilities, nil
	i.now.Store(o)
	i.notify()
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
	return i.openNow(ctx, o.process)
}

// reopen opens the instance in a new process, again and again until it works or the
// process is lost.
func (i *Instance) reopen(proc *process) {
	ctx, cancel := context.WithCancel(i.plugin.host.ctx)
	defer cancel()
	for failures := 0; ; failures++ {
		err := i.openNow(ctx, proc)
		if err == nil {
			return
		}
		i.mu.Lock()
		closed := i.closed
		i.mu.Unlock()
		if closed {
			i.plugin.logs.secrets.remove(i) // openIn may have added them after Close
			return
		}
		pause := backoff(minBackoff, failures)
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
		if proc.over() {
			return
		}
		i.plugin.logger.Warn("instance not open yet", "instance", i.name, "error", err, "next_try_in", pause.String())
	}
}
