// Package pluginhost runs backend plugins: it finds them in a directory, starts each as a
// process of its own when it is first needed, sees within milliseconds when one dies and
// within seconds when one is frozen, starts it again and opens its instances anew. A changed
// file takes over from the running process without a failed call. It neither retries a call
// nor decides whether one may be retried: its errors say what was executed.
package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Options configure a Host. Only Dir is required.
type Options struct {
	Dir       string // plugin directory: one executable per plugin
	RunDir    string // private directory for sockets and copies of the plugins; "": a temporary one
	ConfigDir string // where relative paths in configs start; "": the working directory
	Logger    hclog.Logger
	Verify    Verify // "": VerifyDev
	Limits    Limits // of each plugin
	// PluginLimits, by name, come before Limits.
	PluginLimits map[string]Limits
	// Env are variables that plugins get besides the few harmless ones: names to pass on
	// from the gateway's environment, or NAME=value.
	Env          []string
	StartTimeout time.Duration // from the fork to the plugin's manifest; 0: 10 s
	KillGrace    time.Duration // a plugin that was asked to end is killed after this; 0: 2 s
}

// State is where a plugin stands.
type State string

// The states. Rejected: the file cannot be a plugin, or nobody vouches for it. Discovered:
// nobody needed it yet; Verified: nor that, and the lock vouches for it. Opening: the process
// runs and its instances are not all open yet; Degraded: one of them could not be opened.
// Backoff: it failed and is started again later, or, with no open instance, at the next
// Open. Quarantined: it failed too often. Draining: its last calls end. Stopped: its file is
// gone.
const (
	Rejected    State = "rejected"
	Discovered  State = "discovered"
	Verified    State = "verified"
	Starting    State = "starting"
	Opening     State = "opening"
	Ready       State = "ready"
	Degraded    State = "degraded"
	Lost        State = "lost"
	Backoff     State = "backoff"
	Quarantined State = "quarantined"
	Draining    State = "draining"
	Stopped     State = "stopped"
)

// Host owns the plugins of one directory. Its methods are safe for concurrent use.
type Host struct {
	options Options
	logger  hclog.Logger // the host's own messages; never blocks
	logs    *logs        // its way to options.Logger
	catalog catalog
	run     *runDir
	forker  *forker

	ctx       context.Context // ends when Close begins
	cancel    context.CancelFunc
	closeCtx  context.Context // of Close; to be read when ctx is done
	closeOnce sync.Once
	closeErr  error

	healthyLife time.Duration // see the constants; tests shorten them
	minBackoff  time.Duration
	changes     *changes

	scanning sync.Mutex           // held by a rescan
	last     []Plugin             // what it found; the rescan's
	absent   map[string]time.Time // files that were not there, since when; the rescan's
	warned   map[string]bool      // name and checksum; the rescan's

	mu      sync.Mutex
	closed  bool
	plugins map[string]*plugin // those that were opened once
	wg      sync.WaitGroup     // supervisors and reopeners
}

// New prepares a Host. It starts nothing. It fails when the plugin directory is missing.
func New(o Options) (*Host, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 10 * time.Second
	}
	if o.KillGrace == 0 {
		o.KillGrace = 2 * time.Second
	}
	if o.Verify == "" {
		o.Verify = VerifyDev
	}
	h := &Host{options: o, plugins: map[string]*plugin{}, healthyLife: healthyLife, minBackoff: minBackoff, changes: newChanges(),
		absent: map[string]time.Time{}, warned: map[string]bool{}}
	h.catalog.dir = o.Dir
	h.catalog.trust.mode, h.catalog.trust.path = o.Verify, filepath.Join(o.Dir, LockFile)
	if _, err := h.catalog.read(); err != nil {
		return nil, err
	}
	var err error
	if h.run, err = openRunDir(o.RunDir); err != nil {
		return nil, err
	}
	h.forker = newForker()
	h.logs = newLogs(o.Logger)
	h.logger = hclog.New(&hclog.LoggerOptions{Output: h.logs, JSONFormat: true, Level: hclog.Trace})
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.rescan(true)
	h.wg.Go(h.watchDir)
	return h, nil
}

// Discover reads the plugin directory anew. Files that cannot be plugins are listed with
// the reason and hide nothing. Nothing is executed.
func (h *Host) Discover() []Plugin {
	found, err := h.catalog.read()
	if err != nil {
		h.logger.Error("no plugins", "error", err)
		return nil
	}
	for i := range found {
		if p := h.known(found[i].Name); p != nil && found[i].Err == nil {
			found[i].State = p.status().State
		}
	}
	return found
}

func (h *Host) known(name string) *plugin {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plugins[name]
}

// Open opens an instance of a backend: it starts the plugin if need be, checks config
// against the plugin's schema, resolves its relative paths, and lets the plugin open it.
// instance names it in the plugin's logs. Errors are *sdk.Error: NotFound
// "unknown_backend", Invalid "invalid_config", Unavailable "plugin_start_failed" or
// whatever the plugin answers.
func (h *Host) Open(ctx context.Context, backend, instance string, config json.RawMessage) (*Instance, error) {
	p, err := h.plugin(backend)
	if err != nil {
		return nil, err
	}
	for {
		proc, err := p.ready(ctx)
		if err != nil {
			return nil, err
		}
		i := newInstance(p, instance, config)
		if err := i.openNow(ctx, proc); err != nil {
			if proc.retired.Load() && ctx.Err() == nil && sdk.AsError(err).Reason == "plugin_lost" {
				p.logs.secrets.remove(i)
				continue // it was replaced meanwhile
			}
			e := p.openError(ctx, i, proc, err)
			p.logs.secrets.remove(i)
			return nil, e
		}
		if p.adopt(i, proc) {
			return i, nil
		}
		_ = i.Close(ctx) // the process was lost or replaced meanwhile
	}
}

// plugin returns the named plugin, from the directory if it is new.
func (h *Host) plugin(name string) (*plugin, error) {
	if p := h.known(name); p != nil {
		return p, nil
	}
	found, err := h.catalog.read()
	if err != nil {
		return nil, unavailable("plugin_start_failed", err.Error())
	}
	var names []string
	for _, file := range found {
		if file.Name == name && file.Err != nil {
			return nil, unavailable("plugin_rejected", fmt.Sprintf("plugin %q cannot be used: %v", name, file.Err))
		}
		if file.Name == name {
			return h.addPlugin(file)
		}
		if file.Err == nil {
			names = append(names, file.Name)
		}
	}
	message := fmt.Sprintf("there is no plugin %q in %s", name, h.options.Dir)
	if near := sqlbuild.NearestName(name, names); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 {
		message += "; it is empty: build the plugins with `make build`"
	} else {
		message += "; there are: " + strings.Join(names, ", ")
	}
	e := sdk.E(sdk.NotFound, "unknown_backend", message)
	e.Source = sdk.FromHost
	return nil, e
}

func (h *Host) addPlugin(file Plugin) (*plugin, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosing()
	}
	p := h.plugins[file.Name]
	if p == nil {
		p = newPlugin(h, file)
		h.plugins[file.Name] = p
	}
	return p, nil
}

func errClosing() *sdk.Error {
	return unavailable("shutting_down", "the gateway is shutting down")
}

// goes runs f as one of the goroutines that Close waits for, unless Close has begun.
func (h *Host) goes(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}

// Close lets running calls end until ctx does, closes all instances, ends all plugins,
// the stubborn ones by force, and removes the run directory. New calls are refused.
func (h *Host) Close(ctx context.Context) error {
	h.closeOnce.Do(func() {
		h.mu.Lock()
		h.closed = true
		h.closeCtx = ctx
		plugins := h.plugins
		h.mu.Unlock()
		h.cancel()
		h.wg.Wait()
		for _, p := range plugins {
			p.logs.close()
		}
		h.logs.close()
		h.forker.close()
		h.closeErr = h.run.close()
	})
	return h.closeErr
}
