package pluginhost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// A running plugin is replaced without a failed call: the new process starts and opens all
// instances beside the old one, then each instance's calls go to the new one, and the old
// one ends when its last call has. A new process that does not get so far changes nothing.

// change is what is due with a running process.
type change int

const (
	noChange change = iota
	changeProcess
	stopProcess
)

// due tells what is to be done with proc: another file is there, or none, or an operator
// wants it restarted.
func (p *plugin) due(proc *process) change {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
		return stopProcess
	case p.restart != nil:
		return changeProcess
	case p.file.Err == nil && p.file.Checksum != proc.program.checksum && p.file.Checksum != p.refused:
		return changeProcess
	}
	return noChange
}

// program returns what to execute: a copy of the file as it is now, or the last good one
// when the file cannot be used or has been refused.
func (p *plugin) program() (program, *sdk.Error) {
	p.mu.Lock()
	file, refused := p.file, p.refused
	p.mu.Unlock()
	vouched := p.good.checksum != "" && p.host.catalog.trust.check(p.name, p.good.checksum) == nil
	if vouched && file.Err == nil && file.Checksum == p.good.checksum && refused != p.good.checksum {
		return p.good, nil // not the file: it may be half written
	}
	what, err := p.host.stage(file)
	if err == nil && what.checksum != refused {
		p.mu.Lock()
		p.file.Checksum = what.checksum
		p.mu.Unlock()
		return what, nil
	}
	if vouched {
		return p.good, nil
	}
	if err == nil {
		return what, nil // refused, and there is no other
	}
	return program{}, unavailable("plugin_start_failed", fmt.Sprintf("plugin %q cannot be used: %v", p.name, err))
}

// stage makes the copy that is executed of a file that may be executed.
func (h *Host) stage(file Plugin) (program, error) {
	if file.dev != nil {
		return program{checksum: file.Checksum, dev: file.dev}, nil
	}
	info, err := os.Stat(file.Path)
	if err == nil {
		_, err = inspect(file.Path, info)
	}
	if err != nil {
		return program{}, err
	}
	copied, sum, err := h.run.stage(file.Path)
	if err == nil {
		err = h.catalog.trust.check(file.Name, sum)
	}
	return program{path: copied, checksum: sum}, err
}

// prepare starts the process that is to take over from old and opens all instances in it.
// It returns nil when that fails, which is logged and shown until the file changes again.
func (p *plugin) prepare(ctx context.Context, old *process) *process {
	p.mu.Lock()
	file := p.file
	p.mu.Unlock()
	what, err := p.host.stage(file)
	if err != nil {
		p.refuseFile(what.checksum, unavailable("plugin_start_failed", fmt.Sprintf("plugin %q cannot be used: %v", p.name, err)))
		return nil
	}
	p.mu.Lock()
	p.file.Checksum = what.checksum
	p.mu.Unlock()
	next, e := p.host.launch(ctx, p, what)
	if e == nil {
		e = p.openAll(ctx, next)
	}
	if e != nil {
		if next != nil {
			next.destroy()
		}
		if ctx.Err() == nil { // or else it is the old one's end that ended it
			p.refuseFile(what.checksum, e)
		}
		return nil
	}
	p.proven(what)
	return next
}

// proven remembers a program that works, for when a later one does not.
func (p *plugin) proven(what program) {
	if what.dev == nil {
		if before := p.good.path; before != "" && before != what.path { // who executes it keeps it
			os.Remove(before)
			os.Remove(filepath.Dir(before))
		}
		p.good = what
	}
}

// refuseFile notes that a file cannot take over.
func (p *plugin) refuseFile(checksum string, e *sdk.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused, p.refusedErr = checksum, e
	if checksum == "" {
		p.refused = p.file.Checksum
	}
	if a := p.restart; a != nil {
		p.restart = nil
		a.end(nil, e)
	}
	p.logger.Error("plugin not replaced: the one before serves on", "checksum", checksum, "error", cut(e.Error()), "said", cut(e.Log))
}

// openAll opens all instances in next. One that is open now must be; one whose database
// does not answer either way is tried again later.
func (p *plugin) openAll(ctx context.Context, next *process) *sdk.Error {
	p.mu.Lock()
	instances := make([]*Instance, 0, len(p.instances))
	for i := range p.instances {
		instances = append(instances, i)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.host.options.StartTimeout)
	defer cancel()
	var mu sync.Mutex
	var failed *sdk.Error
	var all sync.WaitGroup
	next.prepared = make(map[*Instance]*opened, len(instances))
	for _, i := range instances {
		all.Go(func() {
			o, err := i.openIn(ctx, next)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				next.prepared[i] = o
			case i.now.Load() != nil && failed == nil:
				failed = p.logs.secrets.cleanError(err)
				failed.Message = fmt.Sprintf("client %q could not be opened in it: %s", i.name, failed.Message)
			}
		})
	}
	all.Wait()
	return failed
}

// swap lets next take over from old, whose calls end where they are.
func (p *plugin) swap(old, next *process) {
	old.retired.Store(true)
	p.mu.Lock()
	p.takeOver(next)
	var left []*opened
	for i := range p.instances {
		o := next.prepared[i]
		if o == nil {
			i.leave(old)
			p.host.goes(func() { i.reopen(next) })
			continue
		}
		if before := i.use(o); before != nil {
			left = append(left, before)
		}
		delete(next.prepared, i)
	}
	closed := next.prepared // instances that were closed meanwhile
	next.prepared = nil
	p.mu.Unlock()
	for i, o := range closed {
		p.logs.secrets.remove(i)
		p.host.goes(func() { _ = next.remote.CloseInstance(p.host.ctx, i.name, o.generation) })
	}
	p.finish(old, left)
}

// retire stops proc, which nothing replaces, when its calls have ended.
func (p *plugin) retire(proc *process) {
	proc.retired.Store(true)
	p.mu.Lock()
	p.process, p.state = nil, Stopped
	var left []*opened
	for i := range p.instances {
		if before := i.use(nil); before != nil {
			left = append(left, before)
		}
		i.fail(p.goneError())
	}
	p.mu.Unlock()
	p.finish(proc, left)
}

// finish lets the calls of a process end that gets no new ones, closes what was open in it
// and stops it, all in the background.
func (p *plugin) finish(proc *process, left []*opened) {
	p.mu.Lock()
	p.draining++
	p.mu.Unlock()
	finish := func() {
		ctx, cancel := context.WithTimeout(context.Background(), maxDrain)
		defer cancel()
		stop := context.AfterFunc(p.host.ctx, func() { // then there is less time
			select {
			case <-p.host.closeCtx.Done():
				cancel()
			case <-ctx.Done():
			}
		})
		defer stop()
		began := time.Now()
		if err := proc.drain(ctx); err != nil {
			p.logger.Warn("replaced plugin ends with calls under way", "pid", proc.child.ID(), "calls", proc.remote.Calls(), "error", err)
		}
		var all sync.WaitGroup
		for _, o := range left {
			all.Go(func() { _ = proc.remote.CloseInstance(ctx, o.instance, o.generation) })
		}
		all.Wait()
		proc.lose("it was replaced")
		proc.stop(p.host.options.KillGrace)
		p.logger.Info("replaced plugin has ended", "pid", proc.child.ID(), "drained_in", time.Since(began).String())
		p.mu.Lock()
		p.draining--
		p.mu.Unlock()
	}
	if !p.host.goes(finish) {
		finish()
	}
}

// Reload reads the plugin directory at once and tells what is in it. Files that changed are
// taken into use in the background.
func (h *Host) Reload() []Status {
	h.rescan(true)
	return h.Plugins()
}

// Restart replaces a plugin's process by a new one of its file, without a failed call, and
// returns when the new one is in use. Of a plugin that is not running it forgets what went
// wrong and starts it.
func (h *Host) Restart(ctx context.Context, name string) error {
	p, err := h.plugin(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.forgive()
	if p.process == nil {
		p.mu.Unlock()
		_, err := p.ready(ctx)
		return err
	}
	a := p.restart
	if a == nil {
		a = newAttempt()
		p.restart = a
	}
	p.mu.Unlock()
	p.notify()
	_, err = p.await(ctx, a)
	return err
}

// Release forgets what went wrong with a plugin: one in quarantine or backoff may start
// again, and does so when an instance needs it.
func (h *Host) Release(name string) error {
	p, err := h.plugin(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.forgive()
	p.mu.Unlock()
	h.changes.tell()
	return nil
}
