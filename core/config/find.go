package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const fileName = "config.yaml"

// environ is the process environment; empty variables are left out.
type environ map[string]string

func environment(pairs []string) environ {
	env := environ{}
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" {
			env[name] = value
		}
	}
	return env
}

func (e environ) lookup(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// searchDirs lists the folders that may hold the file, in order of preference.
func searchDirs(goos string, env environ, working string) []string {
	var dirs []string
	add := func(base string, rest ...string) {
		if base != "" {
			dirs = append(dirs, filepath.Join(append([]string{base}, rest...)...))
		}
	}
	if goos == "windows" {
		add(env["APPDATA"], "athena")
		add(env["LOCALAPPDATA"], "athena")
	}
	add(env["XDG_CONFIG_HOME"], "athena")
	home := env["HOME"]
	add(home, ".config", "athena")
	add(home, ".athena")
	if goos == "darwin" {
		add(home, "Library", "Application Support", "athena")
	}
	add(working)
	return dirs
}

// search returns the first file that exists. Where there is none it writes the default
// into the first folder that can be written, unless there is no default.
func (c *Config) search(dirs []string, fallback []byte) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, fileName)
		c.Searched = append(c.Searched, path)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if len(fallback) == 0 {
		return "", fmt.Errorf("no configuration file was found among %s", strings.Join(c.Searched, ", "))
	}
	for _, path := range c.Searched {
		if err := writeDefault(path, fallback); err == nil {
			c.Created = true
			return path, nil
		}
	}
	return "", fmt.Errorf("no configuration file was found and none of these places can be written: %s. "+
		"Name a file with --config or ATHENA_CONFIG_PATH", strings.Join(c.Searched, ", "))
}

// writeDefault puts the whole file in place at once, so that another process that starts
// at the same moment never reads half of it.
func writeDefault(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, fileName+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
