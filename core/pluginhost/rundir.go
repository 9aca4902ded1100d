package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A runDir is a gateway's private directory: sockets in s/, and in store/<sha256>/<name>
// the copies of plugins that are executed. It is locked for as long as its gateway lives,
// however that ends, so that the next gateway knows which directories are left over.
type runDir struct {
	path, sockets, store string
	lock                 *os.File
	made                 bool // by us: removed with everything in it
}

// A unix socket's path must fit sun_path: 104 bytes with its final zero on macOS and the
// BSDs, 108 on Linux. go-plugin appends two generated names.
const (
	maxSocketPath = 103
	socketSuffix  = len("/plugin-dir4294967295/plugin4294967295")
)

// openRunDir makes and locks the directory. With path "" it makes one under the system's
// temporary directory and removes those of gateways that are gone.
func openRunDir(path string) (*runDir, error) {
	if path == "" {
		return makeRunDir()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if !socketsFit(path) {
		return nil, fmt.Errorf("the run directory %s is too long a path: sockets in it would exceed the system's limit of %d bytes; choose one of at most %d bytes",
			path, maxSocketPath, maxSocketPath-socketSuffix-len("/s"))
	}
	_, err = os.Stat(path)
	made := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("the run directory cannot be made: %w", err)
	}
	lock, err := lockFile(path)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("the run directory %s is in use by another gateway; give each gateway its own", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the run directory cannot be locked: %w", err)
	}
	return newRunDir(path, lock, made)
}

func makeRunDir() (*runDir, error) {
	parent := os.TempDir()
	prefix := fmt.Sprintf("athena-%d-", os.Getuid())
	name := fmt.Sprintf("%s%d-", prefix, os.Getpid())
	if !socketsFit(filepath.Join(parent, name+"4294967295")) {
		parent = "/tmp"
	}
	sweep(parent, prefix)
	// Its final name, the one that sweep looks for, it gets when it is locked.
	path, err := os.MkdirTemp(parent, prefix+"new-")
	if err != nil {
		return nil, fmt.Errorf("no private directory for the plugins' sockets: %w; set TMPDIR to a directory that this user may write", err)
	}
	lock, err := lockFile(path)
	if err != nil {
		os.RemoveAll(path)
		return nil, err
	}
	final := strings.Replace(path, prefix+"new-", name, 1)
	if err := os.Rename(path, final); err != nil {
		lock.Close()
		os.RemoveAll(path)
		return nil, err
	}
	return newRunDir(final, lock, true)
}

func newRunDir(path string, lock *os.File, made bool) (*runDir, error) {
	d := &runDir{path: path, sockets: filepath.Join(path, "s"), store: filepath.Join(path, "store"), lock: lock, made: made}
	for _, dir := range []string{d.sockets, d.store} {
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
			d.close()
			return nil, fmt.Errorf("the run directory cannot be prepared: %w", err)
		}
	}
	return d, nil
}

// sweep removes the directories of gateways that no longer hold their lock.
func sweep(parent, prefix string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"[0-9]*"))
	for _, path := range left {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			continue // anybody may put anything into /tmp
		}
		if lock, err := lockFile(path); err == nil {
			os.RemoveAll(path)
			lock.Close()
		}
	}
}

func lockFile(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func socketsFit(path string) bool { return len(path)+len("/s")+socketSuffix <= maxSocketPath }

// stage copies the file src into the store, unless the same content is there already, and
// returns the copy's path and its SHA-256 in hex. What is hashed is what is executed, and
// replacing src does not touch it.
func (d *runDir) stage(src string) (path, checksum string, err error) {
	in, err := os.Open(src)
	if err != nil {
		return "", "", err
	}
	defer in.Close()
	temp, err := os.CreateTemp(d.store, "new-")
	if err != nil {
		return "", "", err
	}
	defer os.Remove(temp.Name())
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(temp, hash), in)
	err = errors.Join(err, temp.Chmod(0o700), temp.Close())
	if err != nil {
		return "", "", fmt.Errorf("no copy of %s for execution: %w", src, err)
	}
	// A process forked meanwhile holds the written file open until its exec, and executing
	// it would fail with "text file busy". The lock is free when those forks are done.
	syscall.ForkLock.RLock()
	//lint:ignore SA2001 only passing through
	syscall.ForkLock.RUnlock()

	checksum = hex.EncodeToString(hash.Sum(nil))
	path = filepath.Join(d.store, checksum, filepath.Base(src))
	if _, err := os.Stat(path); err == nil {
		return path, checksum, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", "", err
	}
	return path, checksum, os.Rename(temp.Name(), path)
}

func (d *runDir) close() error {
	err := errors.Join(os.RemoveAll(d.sockets), os.RemoveAll(d.store))
	if d.made {
		err = errors.Join(err, os.RemoveAll(d.path))
	}
	return errors.Join(err, d.lock.Close())
}
