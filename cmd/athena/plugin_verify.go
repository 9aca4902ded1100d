package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/athena-gateway/athena/sdk/sdktest"
)

// verifyFlags are the flags of plugin verify.
type verifyFlags struct {
	config, dialect, junit string
	groups                 []string
	asJSON                 bool
	timeout                time.Duration
}

func newPluginVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify BINARY",
		Short: "Run the conformance checks over a plugin, in whatever language it is written",
		Long: "Run the conformance checks over a plugin, in whatever language it is written, and print a line for\n" +
			"each: ok, FAIL, or -- for what the plugin does not declare and so need not do. Without --dialect the\n" +
			"checks that make tables are left out. With it the config must open a database in which whatever is\n" +
			"called athena_ and something may be dropped and made again. The group protocol is what every plugin\n" +
			"must pass, whatever its backend can do.\n\n" +
			"The plugin runs with this process's environment. Exit code 1: a check failed.",
		Example: "  athena plugin verify ./moons\n" +
			"  athena plugin verify bin/plugins/sqlite --config '{\"path\": \"/tmp/check.db\"}' --dialect sqlite\n" +
			"  athena plugin verify ./mine --config @config.json --dialect mysql.json --run errors,transactions\n" +
			"  athena plugin verify ./moons --run protocol --json --junit report.xml",
		Args: oneArg("executable"),
		RunE: func(cmd *cobra.Command, args []string) error { return verifyPlugin(cmd, args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "{}", "the client's config, in JSON, or @ and the file that holds it")
	flags.StringVar(&f.dialect, "dialect", "", "postgres, sqlite, or a JSON file of SQL texts as sdktest.ParseDialect describes it")
	flags.StringSliceVar(&f.groups, "run", nil, "only these groups of checks or checks, such as config,errors/panic")
	flags.BoolVar(&f.asJSON, "json", false, "print a JSON object per line and check")
	flags.StringVar(&f.junit, "junit", "", "also write a JUnit XML report to this file")
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "of each check")
	return cmd
}

// target makes what the flags say of a binary into a target.
func (f *verifyFlags) target(binary string) (sdktest.Target, error) {
	target := sdktest.Target{Config: json.RawMessage(f.config), Timeout: f.timeout}
	if f.timeout <= 0 {
		return target, errors.New("--timeout must be more than 0")
	}
	if file, ok := strings.CutPrefix(f.config, "@"); ok {
		text, err := os.ReadFile(file)
		if err != nil {
			return target, fmt.Errorf("--config: %w", err)
		}
		target.Config = text
	}
	if !json.Valid(target.Config) {
		return target, errors.New("--config is no JSON: give an object such as '{\"path\": \"check.db\"}', or @ and a file's name")
	}
	switch f.dialect {
	case "":
	case "postgres":
		target.Dialect = sdktest.Postgres
	case "sqlite":
		target.Dialect = sdktest.SQLite
	default:
		text, err := os.ReadFile(f.dialect)
		if err != nil {
			return target, fmt.Errorf("--dialect is neither postgres nor sqlite nor a file: %w", err)
		}
		if target.Dialect, err = sdktest.ParseDialect(text); err != nil {
			return target, fmt.Errorf("--dialect %s: %w", f.dialect, err)
		}
	}
	path, err := filepath.Abs(binary)
	if err != nil {
		return target, err
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return target, fmt.Errorf("there is no executable %s: build the plugin first, with `go build -o NAME .`", path)
	}
	return target.Binary(path), nil
}

func verifyPlugin(cmd *cobra.Command, binary string, f *verifyFlags) error {
	target, err := f.target(binary)
	if err != nil {
		return usageError{err}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	out := cmd.OutOrStdout()
	var results []sdktest.Result
	var failed, missing int
	manifest, err := sdktest.Verify(ctx, target, func(r sdktest.Result) {
		results = append(results, r)
		switch {
		case r.Err != nil:
			failed++
		case r.Missing != "":
			missing++
		}
		if f.asJSON {
			printJSON(out, r)
		} else {
			printResult(out, r)
		}
	}, f.groups...)
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	case err != nil:
		err = usageError{err}
	case failed > 0:
		err = fmt.Errorf("%d of %d checks failed", failed, len(results)-missing)
	}
	if f.junit != "" {
		err = errors.Join(err, writeJUnit(f.junit, binary, results))
	}
	if f.asJSON || manifest == nil {
		return err
	}
	fmt.Fprintf(out, "\n%s %s: %d passed, %d failed, %d not declared\n", manifest.Name, manifest.Version, len(results)-failed-missing, failed, missing)
	if name := filepath.Base(binary); name != manifest.Name {
		fmt.Fprintf(out, "The plugin calls itself %s: name its file so in the plugin directory, not %s.\n", manifest.Name, name)
	}
	return err
}

func printResult(w io.Writer, r sdktest.Result) {
	switch {
	case r.Missing != "":
		fmt.Fprintf(w, "--    %-32s not declared: %s\n", r.Check, r.Missing)
	case r.Err != nil:
		fmt.Fprintf(w, "FAIL  %-32s %s\n      want: %s\n      got:  %s\n", r.Check, seconds(r), r.Doc, strings.ReplaceAll(r.Err.Error(), "\n", "\n            "))
	default:
		fmt.Fprintf(w, "ok    %-32s %s\n", r.Check, seconds(r))
	}
}

func seconds(r sdktest.Result) string { return fmt.Sprintf("%.2fs", r.Took.Seconds()) }

// printJSON prints a result as one line.
func printJSON(w io.Writer, r sdktest.Result) {
	line := struct {
		Check   string  `json:"check"`
		Doc     string  `json:"doc"`
		Result  string  `json:"result"` // ok, failed or not_declared
		Error   string  `json:"error,omitempty"`
		Missing string  `json:"missing,omitempty"`
		Seconds float64 `json:"seconds"`
	}{Check: r.Check, Doc: r.Doc, Result: "ok", Missing: r.Missing, Seconds: r.Took.Seconds()}
	switch {
	case r.Err != nil:
		line.Result, line.Error = "failed", r.Err.Error()
	case r.Missing != "":
		line.Result = "not_declared"
	}
	_ = json.NewEncoder(w).Encode(line) // a struct of texts always encodes
}
