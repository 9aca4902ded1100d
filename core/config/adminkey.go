package config

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// The admin key's variable, and the length below which a key is too easy to guess.
const (
	adminKeyVariable = "ATHENA_KEY_12"
	minAdminKey      = 16
	mostKeyFile      = 4 << 10 // bytes
)

// readAdminKey takes the admin key from the environment, else from the file that
// api.admin_key_file names, which it writes with a new key if it may and there is none.
func (c *Config) readAdminKey(env environ, create bool) error {
	path := c.API.AdminKeyFile
	c.API.AdminKeyFile = ""
	key, from := env[adminKeyVariable], adminKeyVariable
	if key == "" && path != "" {
		path = c.abs(path)
		from = "api.admin_key_file " + path
		var err error
		key, err = readKeyFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			if !create {
				return nil
			}
			c.API.AdminKeyCreated = true
			key, err = writeKeyFile(path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		c.API.AdminKeyFile = path
	}
	if err := checkAdminKey(key, from); err != nil {
		return err
	}
	c.API.AdminKey = Secret(key)
	return nil
}

// checkAdminKey refuses a key that is short, or does not fit a header as it is.
func checkAdminKey(key, from string) error {
	if (key != "" || from != adminKeyVariable) && len(key) < minAdminKey {
		return fmt.Errorf("%s is too short for a key that opens the operators' routes: set it to a random text of %d characters or more, "+
			"as `openssl rand -hex 32` makes, or leave it unset to keep them closed", from, minAdminKey)
	}
	for _, b := range []byte(key) {
		if b <= ' ' || b > '~' {
			return fmt.Errorf("%s holds a space, a line break or another character that no header carries: "+
				"set it to a text of letters, digits and signs, as `openssl rand -hex 32` makes", from)
		}
	}
	return nil
}

// readKeyFile reads a key from a file that nobody but its owner can read. What it looks at
// and what it reads is the same file, even if another takes its name meanwhile.
func readKeyFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > mostKeyFile {
		return "", errors.New("want a file that holds the admin key and nothing else")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" { // which has no such modes
		return "", fmt.Errorf("other users may read or change the file (mode %04o), so its key may be known: "+
			"run chmod 600 on it, or delete it to get a new key at the next start", mode)
	}
	content := make([]byte, info.Size())
	n, err := file.ReadAt(content, 0)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(content[:n])), nil
}

// writeKeyFile makes a key and writes it to a new file. Where another process was faster, its
// key is used.
func writeKeyFile(path string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	var random [32]byte
	rand.Read(random[:]) // never fails
	key := hex.EncodeToString(random[:])
	// The file has its name when it is whole: another start must not read a part of it.
	file, err := os.CreateTemp(filepath.Dir(path), ".admin-key-*") // of mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(key + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	if err := os.Link(file.Name(), path); errors.Is(err, fs.ErrExist) {
		return readKeyFile(path)
	} else if err != nil {
		return "", err
	}
	return key, nil
}
