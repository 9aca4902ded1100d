package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/athena-gateway/athena/core"
	"github.com/athena-gateway/athena/core/config"
)

func newServer(flags *serverFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Start the gateway",
		Long: "Start the gateway. SIGTERM or SIGINT ends it after the requests that it has accepted;\n" +
			"a second signal ends it at once.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, flags) },
	}
	cmd.Flags().Bool("api-only", true, "accepted for scripts that use it: there is nothing but the API to start")
	return cmd
}

// gcPercent is higher than Go's default: a gateway's heap is a few megabytes that live and
// what requests leave behind, and the default would collect it dozens of times a second.
const gcPercent = 400

// tuneRuntime sets what the operator did not set by GOGC and GOMAXPROCS. On a machine with
// two processors the gateway takes one: its plugins need the other, and a second would
// mostly be woken in vain.
func tuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 2 {
		runtime.GOMAXPROCS(1)
	}
}

// serve runs the gateway until a signal or a failure ends it.
func serve(cmd *cobra.Command, flags *serverFlags) error {
	cfg, err := flags.load(cmd, true)
	if err != nil {
		return err
	}
	tuneRuntime()
	if err := cfg.API.CheckBind(); err != nil {
		return usageError{err}
	}
	logger := hclog.New(&hclog.LoggerOptions{
		Name:       "athena",
		Level:      hclog.LevelFromString(cfg.Log.Level),
		Output:     cmd.ErrOrStderr(),
		JSONFormat: cfg.Log.Format == "json",
		// A plugin's level can be changed while the gateway runs, and is its own.
		IndependentLevels: true,
	})
	logConfig(logger, cfg)

	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	gateway, err := core.Open(ctx, cfg, core.Options{Logger: logger, Version: version})
	if err != nil {
		return err
	}
	address, err := gateway.Listen()
	if err != nil {
		return errors.Join(explainListen(err, cfg.API), closeGateway(gateway, &cfg.API))
	}
	served := make(chan error, 1)
	go func() { served <- gateway.Serve() }()
	announce(cmd.OutOrStdout(), address, cfg)
	announceKey(cmd.OutOrStdout(), cfg.API)
	select {
	case err := <-served:
		return errors.Join(err, closeGateway(gateway, &cfg.API))
	case <-ctx.Done():
		logger.Info("ending after the requests under way; a second signal ends at once",
			"first serving on for", cfg.API.ShutdownDelay, "then at most", cfg.API.ShutdownTimeout)
		return closeGateway(gateway, &cfg.API)
	}
}

// closeGateway serves on for the delay and then lets accepted requests end, at most for the
// timeout; a signal ends both.
func closeGateway(gateway *core.Gateway, api *config.API) error {
	ctx, cancel := context.WithTimeout(context.Background(), api.ShutdownDelay+api.ShutdownTimeout)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	closed := make(chan error, 1)
	go func() { closed <- gateway.Close(ctx) }()
	var err error
	select {
	case err = <-closed:
	case <-ctx.Done():
		select {
		case err = <-closed:
		case <-time.After(5 * time.Second): // plugins that are left end when this process does
			err = errors.New("not everything could be closed")
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ended before every request was answered: %w", errors.Join(context.Cause(ctx), err))
	}
	return err
}

// logConfig says where the configuration came from, and what in it has no effect.
func logConfig(logger hclog.Logger, cfg *config.Config) {
	if cfg.Created {
		logger.Info("no configuration file was found, so the default one was written", "file", cfg.Path, "inspected", cfg.Searched)
	} else {
		logger.Info("configuration read", "file", cfg.Path)
	}
	for _, warning := range cfg.Warnings {
		logger.Warn(warning)
	}
}

// explainListen adds to a failure to listen what to do about it.
func explainListen(err error, api config.API) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return usageError{fmt.Errorf("port %d of %s is in use: stop the program that listens there, perhaps another athena "+
			"(`ss -ltnp` or `lsof -i :%d` shows it), or choose another port with --port or api.port", api.Port, api.Host, api.Port)}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return usageError{fmt.Errorf("%s is no address of this machine: correct --host or api.host", api.Host)}
	case errors.Is(err, syscall.EACCES):
		return usageError{fmt.Errorf("port %d needs rights that this process lacks: choose one above 1023 with --port or api.port", api.Port)}
	default:
		return fmt.Errorf("listening on %s: %w", api.Addr(), err)
	}
}

// announce prints where the gateway listens and, with the sample database, requests to paste.
func announce(w io.Writer, address net.Addr, cfg *config.Config) {
	url := "http://" + address.String()
	fmt.Fprintf(w, "Athena %s listens on %s\n", version, url)
	if !slices.ContainsFunc(cfg.Clients, func(c config.Client) bool { return c.Name == "demo" && c.Problem == "" }) {
		return
	}
	fmt.Fprintf(w, samples, url)
}

// announceKey says where the admin key is, if that is a file. A new key is shown where only
// the person at a terminal sees it.
func announceKey(w io.Writer, api config.API) {
	if api.AdminKeyFile == "" {
		return
	}
	fmt.Fprintf(w, "The key to the operators' routes is in %s\n", api.AdminKeyFile)
	if file, ok := w.(*os.File); ok && api.AdminKeyCreated && isatty.IsTerminal(file.Fd()) {
		fmt.Fprintf(w, "It is new: %s\n", string(api.AdminKey))
	}
}
