//go:build unix

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestAdminKeyFile: the file is made where it may be, read by its owner alone, and gives way
// to the environment.
func TestAdminKeyFile(t *testing.T) {
	dir := t.TempDir()
	yaml := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(yaml, []byte("api: {admin_key_file: data/admin.key}"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "data", "admin.key")
	read := func(create bool, env ...string) (*Config, error) {
		return Load(Options{Path: yaml, Env: env, CreateKey: create})
	}
	if c, err := read(false); err != nil || c.API.AdminKey != "" || c.API.AdminKeyFile != "" {
		t.Fatalf("without a file the key is %q (%v)", string(c.API.AdminKey), err)
	}
	if c, err := read(true, "ATHENA_KEY_12=0123456789abcdef"); err != nil || c.API.AdminKey != "0123456789abcdef" || c.API.AdminKeyFile != "" {
		t.Fatalf("the environment's key is %q (%v)", string(c.API.AdminKey), err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Fatalf("a file was made that nobody needs: %v", err)
	}
	var started sync.WaitGroup
	keys := make([]string, 8)
	for i := range keys { // all at once
		started.Go(func() {
			c, err := read(true)
			if err != nil || !c.API.AdminKeyCreated && c.API.AdminKeyFile == "" {
				t.Errorf("%v", err)
				return
			}
			keys[i] = string(c.API.AdminKey)
		})
	}
	started.Wait()
	for _, key := range keys {
		if key != keys[0] || len(key) != 64 {
			t.Errorf("the keys are %q", keys)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v (%v)", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("beside it there are %v (%v)", entries, err)
	}
	c, err := read(false)
	if err != nil || string(c.API.AdminKey) != keys[0] || c.API.AdminKeyFile != file || c.API.AdminKeyCreated {
		t.Errorf("%q from %s (%v)", string(c.API.AdminKey), c.API.AdminKeyFile, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, c.API); strings.Contains(text, keys[0]) {
			t.Errorf("%s tells the key", verb)
		}
	}
	for _, test := range []struct {
		content string
		mode    os.FileMode
		says    string // "": it is read
	}{
		{"  0123456789abcdef\n\n", 0o400, ""},
		{keys[0], 0o640, "chmod 600"},
		{keys[0], 0o604, "mode 0604"},
		{"", 0o600, "too short"},
		{"s3cret", 0o600, "too short"},
		{"0123456789 abcdef", 0o600, "no header carries"},
		{strings.Repeat("x", mostKeyFile+1), 0o600, "nothing else"},
	} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(test.content), test.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, test.mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		c, err := read(true)
		switch {
		case test.says == "" && (err != nil || c.API.AdminKey != "0123456789abcdef"):
			t.Errorf("%q: %v", test.content, err)
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), file)):
			t.Errorf("%.30q with mode %o: %v, want %s", test.content, test.mode, err, test.says)
		case err != nil && test.content != "" && strings.Contains(err.Error(), test.content):
			t.Errorf("the message tells the key: %v", err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := read(true); err == nil || !strings.Contains(err.Error(), "nothing else") {
		t.Errorf("a folder: %v", err)
	}
}
