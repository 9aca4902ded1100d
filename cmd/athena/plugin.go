package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func newPlugin(flags *serverFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Write, verify, list, lock and debug plugins",
		Long: "Write, verify, list, lock and debug plugins. A new one takes four commands:\n\n" +
			"  athena plugin new moons --kind backend && cd moons\n" +
			"  go test ./... && go build -o moons .\n" +
			"  athena plugin verify ./moons\n" +
			"  cp moons PLUGIN_DIRECTORY    # a running gateway takes it into use",
		SuggestionsMinimumDistance: 2,
		Args:                       noArgs,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPluginNew(), newPluginVerify(), newPluginList(flags), newPluginLock(flags), newPluginDev(flags))
	return cmd
}

// oneArg refuses anything but one word, which what names.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s needs one %s, not %d words; see %s --help", cmd.CommandPath(), what, len(args), cmd.CommandPath())}
		}
		return nil
	}
}

// pluginDir is the directory that a flag names, or else the configuration's.
func pluginDir(cmd *cobra.Command, flags *serverFlags, dir string) (string, error) {
	if dir == "" {
		cfg, err := flags.load(cmd, false)
		if err != nil {
			return "", err
		}
		dir = cfg.Plugins.Dir
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
		return "", usageError{fmt.Errorf("there is no plugin directory %s: make it, or name another one with --dir or plugins.dir", dir)}
	}
	return dir, err
}
