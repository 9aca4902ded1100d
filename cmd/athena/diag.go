package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/athena-gateway/athena/core/config"
)

func newDiag(flags *serverFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "diag",
		Short: "Print what support needs to know of this machine and installation",
		Long: "Print what support needs to know of this machine and installation: the system, the build,\n" +
			"the configuration file and the plugins. It holds no secrets, and nothing is started or written.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load(cmd, false)
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, line := range append(systemLines(), configLines(cfg, err)...) {
				fmt.Fprintf(w, "%s:\t%s\n", line[0], line[1])
			}
			return w.Flush()
		},
	}
}

// systemLines are pairs of a label and what this process can tell of itself.
func systemLines() [][2]string {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	lines := [][2]string{
		{"athena", version},
		{"os", systemName()},
		{"arch", runtime.GOARCH},
		{"cpus", fmt.Sprintf("%d (%d in use)", runtime.NumCPU(), runtime.GOMAXPROCS(0))},
		{"go", runtime.Version()},
		{"hostname", hostname},
		{"locale", locale()},
	}
	if executable, err := os.Executable(); err == nil {
		lines = append(lines, [2]string{"executable", executable})
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range build.Settings {
			switch setting.Key {
			case "vcs.revision", "vcs.time", "vcs.modified", "CGO_ENABLED", "-race", "-trimpath":
				lines = append(lines, [2]string{"build " + setting.Key, setting.Value})
			}
		}
	}
	return lines
}

// systemName is the system with its release, where /etc/os-release tells it.
func systemName() string {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return runtime.GOOS
	}
	for line := range strings.Lines(string(release)) {
		if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return runtime.GOOS + " (" + strings.Trim(name, "\"\n") + ")"
		}
	}
	return runtime.GOOS
}

func locale() string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return "not set"
}

// configLines tell of the configuration, or of the error that kept it from being read.
func configLines(cfg *config.Config, err error) [][2]string {
	if err != nil {
		return [][2]string{{"config", "cannot be used: " + strings.ReplaceAll(err.Error(), "\n", " ")}}
	}
	lines := [][2]string{{"config", cfg.Path}}
	for _, warning := range cfg.Warnings {
		lines = append(lines, [2]string{"warning", warning})
	}
	lines = append(lines, [2]string{"listens on", cfg.API.Addr()}, [2]string{"ledger", fmt.Sprint(cfg.Ledger)})
	for _, client := range cfg.Clients {
		text := client.Backend
		if client.Problem != "" {
			text += ", unavailable: " + client.Problem
		}
		lines = append(lines, [2]string{"client " + client.Name, text})
	}
	return append(lines, pluginLines(cfg.Plugins.Dir)...)
}

func pluginLines(dir string) [][2]string {
	lines := [][2]string{{"plugins", dir}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return append(lines, [2]string{"", "cannot be read: " + err.Error() + "; set plugins.dir"})
	}
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(dir, entry.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		text := fmt.Sprintf("%.1f MB, %s", float64(info.Size())/1e6, info.ModTime().UTC().Format("2006-01-02 15:04:05Z"))
		if runtime.GOOS != "windows" && info.Mode()&0o111 == 0 {
			text += ", not executable: chmod +x it"
		}
		lines = append(lines, [2]string{"plugin " + entry.Name(), text})
	}
	return lines
}
