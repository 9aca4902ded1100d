package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/athena-gateway/athena/core/pluginhost"
)

// listedPlugin is a file of the plugin directory, or an entry of plugins.lock without one.
type listedPlugin struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	Size    int64  `json:"size,omitempty"` // bytes
	SHA256  string `json:"sha256,omitempty"`
	Lock    string `json:"lock"`              // match, mismatch, none, or missing: the file is
	Version string `json:"version,omitempty"` // as the lock says
	Error   string `json:"error,omitempty"`   // why the file cannot be a plugin
}

func newPluginList(flags *serverFlags) *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the plugin directory, without executing anything",
		Long: "List the plugin directory: each file with its size, its SHA-256, and whether plugins.lock vouches\n" +
			"for it, or why it cannot be a plugin. Nothing is executed.",
		Example: "  athena plugin list\n  athena plugin list --dir bin/plugins --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := pluginDir(cmd, flags, dir)
			if err != nil {
				return err
			}
			plugins, err := listPlugins(dir)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(plugins)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSIZE\tSHA256\tLOCK")
			for _, p := range plugins {
				fmt.Fprintln(w, p.line())
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the plugin directory (default: plugins.dir of the configuration)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array, with paths and whole checksums")
	return cmd
}

// listPlugins returns the files of dir by name, and what plugins.lock has besides.
func listPlugins(dir string) ([]listedPlugin, error) {
	found, err := pluginhost.Scan(dir)
	if err != nil {
		return nil, err
	}
	locked, err := pluginhost.ReadLock(filepath.Join(dir, pluginhost.LockFile))
	if err != nil {
		return nil, err
	}
	plugins := []listedPlugin{}
	for _, file := range found {
		p := listedPlugin{Name: file.Name, Path: file.Path, SHA256: file.Checksum, Lock: "none"}
		if info, err := os.Stat(file.Path); err == nil {
			p.Size = info.Size()
		}
		if file.Err != nil {
			p.Error = file.Err.Error()
		}
		for _, entry := range locked {
			switch {
			case entry.Name != file.Name:
			case entry.SHA256 == file.Checksum:
				p.Lock, p.Version = "match", entry.Version
			case p.Lock == "none":
				p.Lock = "mismatch"
			}
		}
		plugins = append(plugins, p)
	}
	for _, entry := range locked {
		if !slices.ContainsFunc(found, func(file pluginhost.Plugin) bool { return file.Name == entry.Name }) {
			plugins = append(plugins, listedPlugin{Name: entry.Name, SHA256: entry.SHA256, Lock: "missing", Version: entry.Version})
		}
	}
	slices.SortStableFunc(plugins, func(a, b listedPlugin) int { return strings.Compare(a.Name, b.Name) })
	return plugins, nil
}

func (p *listedPlugin) line() string {
	size, lock := "-", ""
	if p.Lock != "missing" {
		size = fmt.Sprintf("%.1f MB", float64(p.Size)/1e6)
	}
	switch {
	case p.Error != "":
		lock = "no plugin: " + p.Error
	case p.Lock == "match":
		lock = "locked, version " + p.Version
	case p.Lock == "mismatch":
		lock = "changed since it was locked; if you meant that: athena plugin lock " + p.Name
	case p.Lock == "missing":
		lock = "locked as version " + p.Version + ", but its file is gone; to forget it: athena plugin lock --prune"
	default:
		lock = "not locked"
	}
	return strings.Join([]string{p.Name, size, shortSum(p.SHA256), lock}, "\t")
}

// shortSum is enough of a checksum to tell two by eye.
func shortSum(sum string) string {
	if sum == "" {
		return "-"
	}
	return sum[:min(12, len(sum))]
}
