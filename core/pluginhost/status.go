package pluginhost

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Status is a plugin for operators.
type Status struct {
	Name      string
	State     State
	PID       int    // 0: not running
	Version   string // as the plugin says; "" before its first start
	Checksum  string
	Instances int // open
	Waiting   int // calls that wait for the plugin to come back
	Restarts  uint64
	Failures  int       // starts and lives in a row that were of no use
	RetryAt   time.Time // in Backoff
	LastError string
	Exit      *Exit  // the last one; nil: none
	LogsLost  uint64 // lines that the gateway's log was too slow for
}

func (p *plugin) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Name: p.name, State: p.state, Version: p.version, Checksum: p.file.Checksum, Instances: len(p.instances),
		Waiting: int(p.waiting.Load()), Restarts: max(p.starts, 1) - 1, Failures: p.failures, Exit: p.exit, LogsLost: p.logs.droppedLines()}
	if p.process != nil {
		s.PID = p.process.child.cmd.Process.Pid
	}
	if p.state == Backoff {
		s.RetryAt = p.retryAt
	}
	if p.lastErr != nil {
		s.LastError = p.lastErr.Message
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
		s := Status{Name: file.Name, State: file.State, Checksum: file.Checksum}
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
		return p.logs.last(0)
	}
	return nil
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
			mu.Lock()
			defer mu.Unlock()
			found[p.name] = metrics
		})
	}
	all.Wait()
	return found
}
