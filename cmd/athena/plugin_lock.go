package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/sdk"
)

func newPluginLock(flags *serverFlags) *cobra.Command {
	var dir string
	var replace, prune bool
	cmd := &cobra.Command{
		Use:   "lock [NAME...]",
		Short: "Vouch for plugins as they are now, in plugins.lock",
		Long: "Write the version and SHA-256 of the named plugins, or of all, to plugins.lock in the plugin\n" +
			"directory. With plugins.verify: strict the gateway starts nothing else. Each is started once to ask\n" +
			"it for its version: lock only files whose origin you know.",
		Example: "  athena plugin lock\n" +
			"  athena plugin lock postgres sqlite\n" +
			"  athena plugin lock postgres --replace=false    # keep the entries for other machines\n" +
			"  athena plugin lock --prune                     # forget the plugins whose files are gone",
		RunE: func(cmd *cobra.Command, names []string) error {
			dir, err := pluginDir(cmd, flags, dir)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return lockPlugins(ctx, cmd.OutOrStdout(), dir, names, replace, prune)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the plugin directory (default: plugins.dir of the configuration)")
	cmd.Flags().BoolVar(&replace, "replace", true, "drop the other entries of a name; with =false they stay, for versions and machines besides")
	cmd.Flags().BoolVar(&prune, "prune", false, "drop the entries whose files are gone")
	return cmd
}

// lockPlugins vouches for the named files of dir, all without names, and prints what changes.
// One that does not start is left as it was and is an error when the others are done.
func lockPlugins(ctx context.Context, w io.Writer, dir string, names []string, replace, prune bool) error {
	path := filepath.Join(dir, pluginhost.LockFile)
	entries, err := pluginhost.ReadLock(path)
	switch {
	case err != nil && len(names) > 0:
		return err
	case err != nil:
		fmt.Fprintf(w, "made anew: %v\n", err)
	}
	files, err := pluginhost.Scan(dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		for _, file := range files {
			names = append(names, file.Name)
		}
	}
	described, failed := describe(ctx, dir, names)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, now := range described {
		entries = relock(w, entries, now, replace)
	}
	if prune {
		entries = slices.DeleteFunc(entries, func(entry pluginhost.Locked) bool {
			gone := !slices.ContainsFunc(files, func(file pluginhost.Plugin) bool { return file.Name == entry.Name })
			if gone {
				fmt.Fprintf(w, "%s -> forgotten: its file is gone\n", entryText(entry))
			}
			return gone
		})
	}
	if err := pluginhost.WriteLock(path, entries); err != nil {
		return fmt.Errorf("plugins.lock cannot be written: %w", err)
	}
	return errors.Join(failed...)
}

// relock puts an entry among others and prints what that changes.
func relock(w io.Writer, entries []pluginhost.Locked, now pluginhost.Locked, replace bool) []pluginhost.Locked {
	var before []string
	known := slices.Contains(entries, now)
	kept := slices.DeleteFunc(slices.Clone(entries), func(entry pluginhost.Locked) bool {
		other := entry.Name == now.Name && entry != now && replace
		if other {
			before = append(before, strings.TrimPrefix(entryText(entry), now.Name+" "))
		}
		return other
	})
	text := entryText(now)
	switch {
	case len(before) > 0:
		fmt.Fprintf(w, "%s %s -> %s\n", now.Name, strings.Join(before, ", "), strings.TrimPrefix(text, now.Name+" "))
	case known:
		fmt.Fprintf(w, "%s unchanged\n", text)
	default:
		fmt.Fprintf(w, "%s added\n", text)
	}
	if known {
		return kept
	}
	return append(kept, now)
}

func entryText(entry pluginhost.Locked) string {
	return fmt.Sprintf("%s %s sha256:%s", entry.Name, entry.Version, shortSum(entry.SHA256))
}

// describe starts plugins, asks for their versions and ends them.
func describe(ctx context.Context, dir string, names []string) (described []pluginhost.Locked, failed []error) {
	host, err := pluginhost.New(pluginhost.Options{Dir: dir, Verify: pluginhost.VerifyWarn})
	if err != nil {
		return nil, []error{err}
	}
	for _, name := range names {
		if _, err := host.Describe(ctx, name); err != nil {
			e := sdk.AsError(err)
			failed = append(failed, fmt.Errorf("not locked: %s", strings.TrimSpace(e.Message+"\n"+e.Log)))
			continue
		}
		for _, status := range host.Plugins() {
			if status.Name == name {
				described = append(described, pluginhost.Locked{Name: name, Version: status.Version, SHA256: status.Checksum})
			}
		}
	}
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := host.Close(closing); err != nil {
		failed = append(failed, err)
	}
	return described, failed
}
