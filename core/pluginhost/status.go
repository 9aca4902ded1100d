package pluginhost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

// Status is a plugin for operators.
type Status struct {
	Name         string
	State        State
	PID          int    // 0: not running
	Version      string // as the plugin says; "" before its first start
	Checksum     string // of what runs, or of the file
	Warning      string // why nobody vouches for it
	Started      time.Time
	LogLevel     string
	Instances    []InstanceStatus // by name
	Calls        int              // under way
	Waiting      int              // calls that wait for the plugin to come back
	Restarts     uint64           // starts after the first
	Failures     int              // starts and lives in a row that were of no use
	RetryAt      time.Time        // in Backoff
	LastError    string
	NotInUse     string  // why the file as it is now has not taken over; "": it has
	Finishing    int     // processes that were replaced and finish their calls
	Exit         *Exit   // the last one; nil: none
	LogsLost     uint64  // lines that the gateway's log was too slow for
	Memory       int64   // bytes that the process holds; 0: unknown
	CPU          float64 // seconds that the process has used
	Limits       Limits
	Capabilities *sdk.Capabilities // nil before its first start
}

// InstanceStatus is an open client of a plugin.
type InstanceStatus struct {
	Name  string
	Open  bool
	Error string // why not
}

func (p *plugin) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Name: p.name, State: p.state, Version: p.version, Checksum: p.file.Checksum, Warning: p.file.Warning, LogLevel: p.level.String(),
		Waiting: int(p.waiting.Load()), Restarts: max(p.starts, 1) - 1, Failures: p.failures, Exit: p.exit, Finishing: p.draining,
		LogsLost: p.logs.droppedLines(), Limits: p.host.options.limits(p.name)}
	failed := false
	for i := range p.instances {
		one := i.status()
		failed = failed || one.Error != ""
		s.Instances = append(s.Instances, one)
	}
	slices.SortFunc(s.Instances, func(a, b InstanceStatus) int { return strings.Compare(a.Name, b.Name) })
	if proc := p.process; proc != nil {
		s.PID, s.Started, s.Checksum, s.Calls = proc.child.pid, proc.started, proc.program.checksum, proc.remote.Calls()
		s.Memory, s.CPU, s.Capabilities = residentBytes(s.PID), cpuSeconds(s.PID), &proc.manifest.Capabilities
		switch {
		case failed:
			s.State = Degraded
		case slices.ContainsFunc(s.Instances, func(i InstanceStatus) bool { return !i.Open }):
			s.State = Opening
		default:
			s.State = Ready
		}
	}
	if p.state == Backoff {
		s.RetryAt = p.retryAt
	}
	switch {
	case p.file.Err != nil:
		s.NotInUse = p.file.Err.Error()
	case p.refusedErr != nil:
		s.NotInUse = p.refusedErr.Message
	}
	if p.lastErr != nil {
		s.LastError = p.lastErr.Message
	}
	return s
}

func (i *Instance) status() InstanceStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := InstanceStatus{Name: i.name, Open: i.now.Load() != nil}
	if !s.Open && i.openErr != nil {
		s.Error = i.openErr.Message
	}
	return s
}

// Plugins tells how each plugin of the directory is doing, in the order of names.
func (h *Host) Plugins() []Status {
	h.mu.Lock()
	opened := make(map[string]*plugin, len(h.plugins))
	for name, p := range h.plugins {
		opened[name] = p
	}
	h.mu.Unlock()
	all := make([]Status, 0, len(opened))
	for _, p := range opened {
		all = append(all, p.status())
	}
	for _, file := range h.catalog.known() {
		if opened[file.Name] != nil {
			continue
		}
		s := Status{Name: file.Name, State: file.State, Checksum: file.Checksum, Warning: file.Warning, Limits: h.options.limits(file.Name)}
		if file.Err != nil {
			s.LastError = file.Err.Error()
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Logs returns the last lines of a plugin's output, secrets removed; nil if it never ran.
func (h *Host) Logs(backend string) []string {
	if p := h.known(backend); p != nil {
		return p.logs.last(0, lastLines)
	}
	return nil
}

// SetLogLevel says which of a plugin's lines reach the gateway's log, until the gateway ends:
// trace, debug, info, warn or error.
func (h *Host) SetLogLevel(ctx context.Context, backend, level string) error {
	to := hclog.LevelFromString(level)
	if to == hclog.NoLevel || to == hclog.Off {
		return sdk.E(sdk.Invalid, "invalid_log_level", fmt.Sprintf("there is no log level %q: it is trace, debug, info, warn or error", level))
	}
	p, err := h.plugin(backend)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.level = to
	proc := p.process
	p.mu.Unlock()
	p.logs.setLevel(to)
	if proc == nil {
		return nil
	}
	return proc.remote.SetLogLevel(ctx, to.String())
}

// Metrics asks every running plugin for the numbers of its instances: by plugin, then by
// instance. One that does not answer before ctx ends has none.
func (h *Host) Metrics(ctx context.Context) map[string]map[string][]sdk.Metric {
	h.mu.Lock()
	plugins := slices.Collect(maps.Values(h.plugins))
	h.mu.Unlock()
	var mu sync.Mutex
	var all sync.WaitGroup
	found := map[string]map[string][]sdk.Metric{}
	for _, p := range plugins {
		p.mu.Lock()
		running := p.process
		p.mu.Unlock()
		if running == nil {
			continue
		}
		all.Go(func() {
			metrics, err := running.remote.Metrics(ctx)
			if err != nil {
				p.logger.Warn("no metrics", "error", err)
				return
			}
			for _, one := range metrics {
				p.logs.secrets.cleanMetrics(one)
			}
			mu.Lock()
			defer mu.Unlock()
			found[p.name] = metrics
		})
	}
	all.Wait()
	return found
}
