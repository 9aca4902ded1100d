package pluginhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/athena-gateway/athena/sdk"
)

// Plugin is a file of the plugin directory. Its file name is its identity.
type Plugin struct {
	Name     string
	Path     string
	Checksum string // SHA-256 in hex; empty when Err is set
	State    State
	Err      error           // why it cannot be a plugin; nil otherwise
	Warning  string          // why nobody vouches for it, where that is no reason to refuse it
	dev      *sdk.DevProcess // a process that was started by hand and takes the file's place
}

// catalog is the plugin directory as last read. Files are hashed again only when they
// have changed. Nothing is executed.
type catalog struct {
	dir   string
	trust trust

	mu    sync.Mutex
	files map[string]catalogFile
}

type catalogFile struct {
	Plugin
	info os.FileInfo
}

// read returns the candidates in the order of their names. One that cannot be a plugin
// has its Err set.
func (c *catalog) read() ([]Plugin, error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no plugin directory %s: build the plugins with `make build`, or set plugins.dir to where they are", c.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the plugin directory cannot be read: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]catalogFile{}
	developed := map[string]*sdk.DevProcess{}
	for _, entry := range entries {
		name := entry.Name()
		if plugin, ok := strings.CutSuffix(name, sdk.DevSuffix); ok {
			if c.trust.mode == VerifyDev {
				developed[plugin] = readDevProcess(filepath.Join(c.dir, name))
			}
			continue
		}
		if strings.HasPrefix(name, ".") || ignoredExtension(name) {
			continue
		}
		path := filepath.Join(c.dir, name)
		info, err := os.Stat(path) // a link may lead to the file
		if err == nil && !info.Mode().IsRegular() {
			continue
		}
		file, known := c.files[name]
		if err != nil || !known || !unchanged(file.info, info) {
			file = catalogFile{Plugin: Plugin{Name: name, Path: path, State: Discovered}, info: info}
			if err == nil {
				file.Checksum, err = inspect(path, info)
			}
			if err != nil {
				file.State, file.Err = Rejected, err
			}
		}
		found[name] = file
	}
	for name, dev := range developed {
		if dev != nil { // else it is as if it were not there
			found[name] = catalogFile{Plugin: Plugin{Name: name, Path: dev.Address, State: Discovered, Checksum: fmt.Sprintf("dev:%d", dev.PID), dev: dev}}
		}
	}
	plugins := make([]Plugin, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		plugins = append(plugins, c.judge(found[name].Plugin))
	}
	c.files = found
	return plugins, nil
}

// judge asks the lock for a file.
func (c *catalog) judge(file Plugin) Plugin {
	if file.Err != nil {
		return file
	}
	if file.dev != nil {
		file.Warning = "it is a process under development, attached by " + file.Name + sdk.DevSuffix
		return file
	}
	switch err := c.trust.doubt(file.Name, file.Checksum); {
	case err != nil && c.trust.mode == VerifyStrict:
		file.State, file.Err = Rejected, err
	case err != nil:
		file.Warning = err.Error()
	case c.trust.mode == VerifyStrict || c.trust.mode == VerifyWarn:
		file.State = Verified
	}
	return file
}

// known returns the files as last read, in any order.
func (c *catalog) known() []Plugin {
	c.mu.Lock()
	defer c.mu.Unlock()
	plugins := make([]Plugin, 0, len(c.files))
	for _, file := range c.files {
		plugins = append(plugins, c.judge(file.Plugin))
	}
	return plugins
}

func ignoredExtension(name string) bool {
	switch filepath.Ext(name) {
	case ".json", ".lock", ".md":
		return true
	}
	return false
}

func unchanged(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime())
}

// inspect returns the checksum of a file that looks like a program.
func inspect(path string, info os.FileInfo) (string, error) {
	if info.Mode().Perm()&0o111 == 0 {
		return "", fmt.Errorf("%s is not executable: run `chmod +x %s`, or move it out of the plugin directory", path, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if !isProgram(head[:n]) {
		return "", fmt.Errorf("%s is neither a program nor a script that starts with #!: move it out of the plugin directory", path)
	}
	hash := sha256.New()
	hash.Write(head[:n])
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// isProgram knows scripts, ELF, and Mach-O in both byte orders and universal.
func isProgram(head []byte) bool {
	for _, magic := range []string{"#!", "\x7fELF", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xfe\xed\xfa\xcf", "\xfe\xed\xfa\xce", "\xca\xfe\xba\xbe"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}
