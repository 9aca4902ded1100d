package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func newPluginDev(flags *serverFlags) *cobra.Command {
	var dir, debug string
	cmd := &cobra.Command{
		Use:   "dev BINARY",
		Short: "Run a plugin in the foreground, for the running gateway to use, also under a debugger",
		Long: "Run a plugin in the foreground, its output on this terminal. It leaves a note in the plugin\n" +
			"directory, and the running gateway uses it instead of the file of its name until it ends.\n" +
			"BINARY may also be a folder with Go files, which is built first, for debugging.\n\n" +
			"With --debug it runs under dlv: connect your editor, or `dlv connect 127.0.0.1:2345`, and continue.",
		Example: "  athena plugin dev ./moons\n  athena plugin dev . --debug\n  athena plugin dev . --debug=127.0.0.1:4000",
		Args:    oneArg("executable or folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := pluginDir(cmd, flags, dir)
			if err != nil {
				return err
			}
			return runDev(cmd, args[0], dir, debug)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the plugin directory (default: plugins.dir of the configuration)")
	cmd.Flags().StringVar(&debug, "debug", "", "run under dlv, which listens on this address")
	cmd.Flags().Lookup("debug").NoOptDefVal = "127.0.0.1:2345"
	return cmd
}

// runDev runs a plugin until it ends or a signal does.
func runDev(cmd *cobra.Command, binary, dir, debug string) error {
	path, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	var dlv string
	if debug != "" {
		if dlv, err = exec.LookPath("dlv"); err != nil {
			return errors.New("--debug needs dlv, which is not in PATH: install it with `go install github.com/go-delve/delve/cmd/dlv@latest`, " +
				"and add the bin folder of `go env GOPATH` to PATH")
		}
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return usageError{fmt.Errorf("there is no executable or folder %s", path)}
	case info.IsDir():
		temp, err := os.MkdirTemp("", "athena-dev-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		if path, err = buildForDebugging(cmd, path, temp); err != nil {
			return err
		}
	}
	plugin := exec.Command(path, "--dev", dir)
	if debug != "" {
		plugin = exec.Command(dlv, "exec", "--headless", "--listen", debug, path, "--", "--dev", dir)
	}
	plugin.Stdout, plugin.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	// A group of its own: a ^C of the terminal reaches it once, through this process.
	plugin.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := plugin.Start(); err != nil {
		return fmt.Errorf("%s cannot be started: %w", path, err)
	}
	return await(plugin, signals, debug != "")
}

// buildForDebugging builds the package in folder into temp, named as the folder is.
func buildForDebugging(cmd *cobra.Command, folder, temp string) (string, error) {
	if files, err := filepath.Glob(filepath.Join(folder, "*.go")); err != nil || len(files) == 0 {
		return "", usageError{fmt.Errorf("%s is a folder without Go files: name one with a plugin's main package, or an executable", folder)}
	}
	path := filepath.Join(temp, filepath.Base(folder))
	build := exec.Command("go", "build", "-gcflags", "all=-N -l", "-o", path, ".")
	build.Dir = folder
	build.Stdout, build.Stderr = cmd.ErrOrStderr(), cmd.ErrOrStderr()
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", folder, err)
	}
	return path, nil
}

// await passes signals on and returns when the process has ended, with none of its group left.
// How it ends after a signal is no error. A debugger ends its program at an interrupt alone.
func await(plugin *exec.Cmd, signals <-chan os.Signal, debugger bool) error {
	ended := make(chan error, 1)
	go func() { ended <- plugin.Wait() }()
	signalled := false
	for {
		select {
		case s := <-signals:
			signalled = true
			if debugger {
				s = os.Interrupt
			}
			_ = plugin.Process.Signal(s) // it may have ended
		case err := <-ended:
			_ = syscall.Kill(-plugin.Process.Pid, syscall.SIGKILL)
			if err != nil && !signalled {
				return fmt.Errorf("%s ended: %w", filepath.Base(plugin.Path), err)
			}
			return nil
		}
	}
}
