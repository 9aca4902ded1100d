package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// LockFile is the name of the lock in the plugin directory.
const LockFile = "plugins.lock"

// Locked is an entry of plugins.lock: a file that somebody has vouched for. A name may have
// several, for versions and machines.
type Locked struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// ReadLock reads the entries of a plugins.lock. A file that is not there has none.
func ReadLock(path string) ([]Locked, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lock struct {
		Plugins []Locked `json:"plugins"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; make it anew with `athena plugin lock`", path, err)
	}
	return lock.Plugins, nil
}

// WriteLock writes a plugins.lock, sorted, an entry per line.
func WriteLock(path string, entries []Locked) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Locked) int {
		return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.SHA256, b.Name+"\x00"+b.Version+"\x00"+b.SHA256)
	})
	entries = slices.Compact(entries)
	var text strings.Builder
	text.WriteString("{\"plugins\": [\n")
	for n, entry := range entries {
		line, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		text.WriteString("  " + string(line))
		if n < len(entries)-1 {
			text.WriteString(",")
		}
		text.WriteString("\n")
	}
	text.WriteString("]}\n")
	temp, err := os.CreateTemp(filepath.Dir(path), ".plugins-lock-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(text.String())
	if err = errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// Verify says what happens to a plugin that plugins.lock does not vouch for.
type Verify string

// The modes: such a plugin is not started, is started with a warning, or nobody looks.
const (
	VerifyStrict Verify = "strict"
	VerifyWarn   Verify = "warn"
	VerifyDev    Verify = "dev"
)

// trust compares files with the lock, which it reads again when it has changed.
type trust struct {
	mode Verify
	path string

	mu      sync.Mutex
	info    os.FileInfo
	entries []Locked
	err     error
}

// check refuses what the lock does not vouch for, in strict mode.
func (t *trust) check(name, checksum string) error {
	if t.mode != VerifyStrict {
		return nil
	}
	return t.doubt(name, checksum)
}

// doubt says why the lock does not vouch for a file; nil when it does, or when nobody asks.
func (t *trust) doubt(name, checksum string) error {
	if t.mode == VerifyDev {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		t.info, t.entries, t.err = nil, nil, nil
	} else if !unchanged(t.info, info) {
		t.info = info
		t.entries, t.err = ReadLock(t.path)
	}
	if t.err != nil {
		return t.err
	}
	known := false
	for _, entry := range t.entries {
		if entry.Name == name && entry.SHA256 == checksum {
			return nil
		}
		known = known || entry.Name == name
	}
	if known {
		return fmt.Errorf("its SHA-256 is %s, which is not the one in %s: if you meant to change the file, run `athena plugin lock %s`; if not, somebody else did",
			checksum, t.path, name)
	}
	return fmt.Errorf("it is not in %s: when you know where the file comes from, run `athena plugin lock %s`", t.path, name)
}
