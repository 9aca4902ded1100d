// Command athena is the gateway and its helpers. Exit codes: 0 done, 1 failed, 2 called in a
// wrong way or with a configuration that cannot be used.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/athena-gateway/athena"
	"github.com/athena-gateway/athena/core/config"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(newRoot()))
}

// run executes the command line and returns the exit code.
func run(root *cobra.Command) int {
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(root.ErrOrStderr(), "athena:", err)
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// usageError is a mistake in flags or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// noArgs refuses words that are no command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("%s: unknown command %q; see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += "; did you mean " + near[0] + "?"
	}
	return usageError{errors.New(message)}
}

// serverFlags are the flags that choose a configuration and override it.
type serverFlags struct {
	config, host string
	port         int
}

func newRoot() *cobra.Command {
	var flags serverFlags
	var apiOnly bool
	root := &cobra.Command{
		Use:                        "athena",
		Short:                      "A database gateway: HTTP and JSON in, any database out",
		Version:                    version,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		Args:                       noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !apiOnly {
				return cmd.Help()
			}
			return serve(cmd, &flags)
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	persistent := root.PersistentFlags()
	persistent.StringVar(&flags.config, "config", "", "the configuration file, also --config-path (default: the usual places, see athena diag)")
	persistent.StringVar(&flags.host, "host", "", "address to listen on, overrides api.host")
	persistent.IntVar(&flags.port, "port", 0, "port to listen on, overrides api.port")
	root.Flags().BoolVar(&apiOnly, "api-only", false, "start the server, as the command server does")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "config-path" {
			name = "config"
		}
		return pflag.NormalizedName(name)
	})
	root.AddCommand(newServer(&flags), newPlugin(&flags), newDiag(&flags), newVersion())
	return root
}

// load reads the configuration as the flags and the environment ask. Without create a
// first run writes nothing.
func (f *serverFlags) load(cmd *cobra.Command, create bool) (*config.Config, error) {
	options := config.Options{Path: f.config, Env: os.Environ(), Flags: map[string]string{}, CreateKey: create}
	if create {
		options.Default = athena.DefaultConfig
	}
	if cmd.Flags().Changed("host") {
		options.Flags["api.host"] = f.host
	}
	if cmd.Flags().Changed("port") {
		options.Flags["api.port"] = strconv.Itoa(f.port)
	}
	cfg, err := config.Load(options)
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}
