package pluginhost

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// A file counts as written when nothing has changed for this long.
	settle = 300 * time.Millisecond
	// A file may be away for this long, while it is replaced by another.
	absence = 2 * time.Second
	// The directory is looked at this often, even if the system tells nothing.
	lookEvery = 10 * time.Second
)

// watchDir keeps up with the plugin directory until Close.
func (h *Host) watchDir() {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer watcher.Close()
		err = watcher.Add(h.options.Dir)
	}
	var events <-chan fsnotify.Event
	var errs <-chan error
	if err != nil {
		h.logger.Warn("changes of the plugin directory are seen late: the system does not tell them", "every", lookEvery.String(), "error", err)
	} else {
		events, errs = watcher.Events, watcher.Errors
	}
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-events:
			timer.Reset(settle)
		case <-errs: // events were lost: look
			timer.Reset(settle)
		case <-timer.C:
			if h.rescan(false) {
				timer.Reset(absence)
			} else {
				timer.Reset(lookEvery)
			}
		}
	}
}

// rescan reads the plugin directory and tells supervisors what has changed. A file that is
// gone counts as removed when it still is after absence, or at once if sure. It reports
// whether one is to be looked for again.
func (h *Host) rescan(sure bool) (again bool) {
	h.scanning.Lock()
	defer h.scanning.Unlock()
	found, err := h.catalog.read()
	if err != nil {
		h.logger.Error("the plugin directory cannot be read", "error", err)
		return false
	}
	changed := !slices.EqualFunc(found, h.last, func(a, b Plugin) bool {
		return a.Name == b.Name && a.Checksum == b.Checksum && fmt.Sprint(a.Err) == fmt.Sprint(b.Err)
	})
	h.last = found
	files := make(map[string]Plugin, len(found))
	for _, file := range found {
		files[file.Name] = file
		if file.Warning != "" && !h.warned[file.Name+file.Checksum] {
			h.warned[file.Name+file.Checksum] = true
			h.logger.Warn("plugin is not vouched for", "plugin", file.Name, "why", file.Warning)
		}
	}
	h.mu.Lock()
	plugins := make([]*plugin, 0, len(h.plugins))
	for _, p := range h.plugins {
		plugins = append(plugins, p)
	}
	h.mu.Unlock()
	for _, p := range plugins {
		file, there := files[p.name]
		if there {
			delete(h.absent, p.name)
			changed = p.found(file) || changed
			continue
		}
		since, missed := h.absent[p.name]
		switch {
		case !missed && !sure:
			h.absent[p.name] = time.Now()
			again = true
		case sure || time.Since(since) >= absence:
			changed = p.lost() || changed
		default:
			again = true
		}
	}
	if changed {
		h.changes.tell()
	}
	return again
}

// found takes note of the file as it is now. It reports whether that is news.
func (p *plugin) found(file Plugin) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	back := p.gone
	news := back || file.Checksum != p.file.Checksum || (file.Err == nil) != (p.file.Err == nil)
	p.file, p.gone = file, false
	if !news || file.Err != nil {
		return news
	}
	p.forgive()
	return true
}

// lost takes note that the file is gone. It reports whether that is news.
func (p *plugin) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := !p.gone
	p.gone = true
	if news {
		if p.process == nil && !p.supervised {
			p.state = Stopped
			p.failAll(p.goneError())
		}
		p.notify()
	}
	return news
}

// changes lets others wait for the next change of what can be opened.
type changes struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next change
}

func newChanges() *changes { return &changes{next: make(chan struct{})} }

func (c *changes) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.next)
	c.next = make(chan struct{})
}

// Changed returns a channel that is closed when a plugin came, changed, went or was released
// the next time: what could not be opened may be worth another try.
func (h *Host) Changed() <-chan struct{} {
	h.changes.mu.Lock()
	defer h.changes.mu.Unlock()
	return h.changes.next
}
