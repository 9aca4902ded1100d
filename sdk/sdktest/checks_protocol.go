package sdktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// protocolChecks need no more than a connection and a config: every plugin passes them.
var protocolChecks = mandatory(
	Check{Name: "protocol/manifest", Doc: "Describe answers, twice the same, a name, a version, verbs and a config schema that accepts the target's config", Run: manifestCheck},
	Check{Name: "protocol/config_required", Doc: "a config without a required key is answered with an error that names the key", Run: configRequiredCheck},
	Check{Name: "protocol/config_unfit", Doc: "a config that the schema refuses is answered, and the plugin goes on", Run: configUnfitCheck},
	Check{Name: "protocol/open", Doc: "an instance opens, closes and opens again; to close what is not open is harmless", Run: openCheck},
	Check{Name: "protocol/generations", Doc: "generations and instances are open side by side, and closing one leaves the others", Run: generationsCheck},
	Check{Name: "protocol/unknown_instance", Doc: "what asks an instance or generation that is not open, or not any more, is Unavailable unknown_instance, with nothing executed",
		Run: opened(unknownInstanceCheck)},
	Check{Name: "protocol/undeclared_verb", Doc: "a verb that is not declared is answered Unsupported", Run: opened(undeclaredVerbCheck)},
	Check{Name: "protocol/undeclared_operator", Doc: "an operator that is not declared is answered Unsupported, deep in a filter too",
		Needs: verbs(sdk.Select), Run: opened(undeclaredOperatorCheck)},
	Check{Name: "protocol/no_statement", Doc: "a call without a statement is Invalid", Run: opened(noStatementCheck)},
	Check{Name: "protocol/cancel_unknown", Doc: "to cancel a call that does not run is harmless", Run: opened(cancelUnknownCheck)},
	Check{Name: "protocol/deadline", Doc: "a call whose deadline has passed is Timeout, with nothing executed", Run: opened(deadlineCheck)},
	Check{Name: "protocol/swap", Doc: "no call fails while the instance is replaced by new generations", Run: opened(swapProbesCheck)},
	Check{Name: "protocol/heartbeat", Doc: "Watch sends a heartbeat at once and then one a second", Run: heartbeatCheck},
	Check{Name: "protocol/drain", Doc: "Drain answers when no call runs, and new calls are Unavailable from then on", Run: opened(drainIdleCheck)},
	Check{Name: "protocol/metrics", Doc: "CollectMetrics answers well-formed numbers of open instances, or is not offered", Run: opened(metricsCheck)},
	Check{Name: "protocol/log_level", Doc: "SetLogLevel takes every level, or is not offered", Run: opened(logLevelCheck)},
	Check{Name: "protocol/secrets", Doc: "no error, log line, metric, argument or environment shows a secret of a config", Run: secretsCheck},
)

// mandatory marks checks as such.
func mandatory(checks ...Check) []Check {
	for i := range checks {
		checks[i].Mandatory = true
	}
	return checks
}

// opened makes a check's Run of a function over an instance, whatever is in its database.
func opened(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		remote, disconnect, err := t.Connect(ctx)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer disconnect()
		capabilities, err := remote.OpenInstance(ctx, instanceName, 1, t.Config)
		if err != nil {
			return fmt.Errorf("open an instance: %w", err)
		}
		return f(ctx, &client{Target: t, remote: remote, capabilities: *capabilities})
	}
}

// probe is a statement of a verb that the backend declares: one that changes nothing, if
// there is such a verb.
func (c *client) probe() sdk.Statement {
	table := sdk.Table{Name: "athena_missing"}
	for _, s := range []sdk.Statement{
		{Verb: sdk.Select, Table: table},
		{Verb: sdk.Count, Table: table},
		*read(`SELECT 1`),
		{Verb: sdk.Function, Function: sdk.FunctionCall{Name: "athena_missing"}},
		{Verb: sdk.Delete, Table: table},
		{Verb: sdk.Update, Table: table, Set: []sdk.SetItem{{Column: "a", Value: number("1")}}},
	} {
		if slices.Contains(c.capabilities.Verbs, s.Verb) {
			return s
		}
	}
	return sdk.Statement{Verb: sdk.Insert, Table: table, Rows: sdk.Rowset{Payload: []byte(`[]`)}}
}

// ask sends a probe to a generation of an instance and says what came of it: an answer, or
// the kind and reason of an error.
func (c *client) ask(ctx context.Context, instance string, generation uint64) (string, error) {
	call := c.call(c.probe())
	call.Instance, call.Generation = instance, generation
	_, err := c.execute(ctx, call)
	if err == nil {
		return "an answer", nil
	}
	var e *sdk.Error
	if !errors.As(err, &e) {
		return "", err
	}
	return e.Kind.String() + " " + e.Reason, err
}

// isOpen checks that an instance is reached, whatever it thinks of a probe.
func (c *client) isOpen(ctx context.Context, instance string, generation uint64) error {
	came, err := c.ask(ctx, instance, generation)
	if came == "" || sdk.AsError(err) != nil && (sdk.AsError(err).Reason == "unknown_instance" || broken(err)) {
		return fmt.Errorf("generation %d of %s, which is open, answered %w", generation, instance, err)
	}
	if !c.capabilities.Ping {
		return nil
	}
	if err := c.remote.Ping(ctx, instance, generation); err != nil {
		return fmt.Errorf("a ping of generation %d of %s, which is open: %w", generation, instance, err)
	}
	return nil
}

// isUnknown checks that an instance is not reached.
func (c *client) isUnknown(ctx context.Context, instance string, generation uint64) error {
	_, err := c.ask(ctx, instance, generation)
	if err := wantError(err, sdk.Unavailable, "unknown_instance"); err != nil {
		return fmt.Errorf("a call of generation %d of %s, which is not open: %w", generation, instance, err)
	}
	err = c.remote.Ping(ctx, instance, generation)
	if e := (*sdk.Error)(nil); errors.As(err, &e) && e.Kind == sdk.Unsupported && !c.capabilities.Ping {
		return nil
	}
	if err := wantError(err, sdk.Unavailable, "unknown_instance"); err != nil {
		return fmt.Errorf("a ping of generation %d of %s, which is not open: %w", generation, instance, err)
	}
	return nil
}

// broken reports whether err is no answer of the plugin: it was lost, or broke the protocol.
func broken(err error) bool {
	var e *sdk.Error
	return err != nil && (!errors.As(err, &e) || e.Source == sdk.FromHost)
}

func openCheck(ctx context.Context, t *Target) error {
	return opened(func(ctx context.Context, c *client) error {
		for generation := uint64(1); generation <= 3; generation++ {
			if generation > 1 {
				if _, err := c.remote.OpenInstance(ctx, instanceName, generation, c.Config); err != nil {
					return fmt.Errorf("open generation %d: %w", generation, err)
				}
			}
			if err := c.isOpen(ctx, instanceName, generation); err != nil {
				return err
			}
			for range 2 {
				if err := c.remote.CloseInstance(ctx, instanceName, generation); err != nil {
					return fmt.Errorf("close generation %d: %w", generation, err)
				}
			}
		}
		if err := c.remote.CloseInstance(ctx, "athena_none", 1); err != nil {
			return fmt.Errorf("close an instance that never was: %w", err)
		}
		return nil
	})(ctx, t)
}

func generationsCheck(ctx context.Context, t *Target) error {
	return opened(func(ctx context.Context, c *client) error {
		type key struct {
			instance   string
			generation uint64
		}
		open := []key{{instanceName, 1}, {instanceName, 2}, {"athena_other", 2}, {"athena_other", 3}}
		for _, k := range open[1:] {
			if _, err := c.remote.OpenInstance(ctx, k.instance, k.generation, c.Config); err != nil {
				return fmt.Errorf("open generation %d of %s: %w", k.generation, k.instance, err)
			}
		}
		for len(open) > 0 {
			for _, k := range open {
				if err := c.isOpen(ctx, k.instance, k.generation); err != nil {
					return err
				}
			}
			k := open[0]
			open = open[1:]
			if err := c.remote.CloseInstance(ctx, k.instance, k.generation); err != nil {
				return fmt.Errorf("close generation %d of %s: %w", k.generation, k.instance, err)
			}
		}
		return nil
	})(ctx, t)
}

func unknownInstanceCheck(ctx context.Context, c *client) error {
	if err := c.isUnknown(ctx, "athena_none", 1); err != nil {
		return err
	}
	if err := c.isUnknown(ctx, instanceName, 99); err != nil {
		return err
	}
	if err := c.remote.CloseInstance(ctx, instanceName, 1); err != nil {
		return err
	}
	return c.isUnknown(ctx, instanceName, 1)
}

func noStatementCheck(ctx context.Context, c *client) error {
	_, err := c.execute(ctx, c.call())
	return wantError(err, sdk.Invalid, "")
}

func cancelUnknownCheck(ctx context.Context, c *client) error {
	before, _ := c.ask(ctx, instanceName, 1)
	for _, id := range []uint64{0, 1 << 63, math.MaxUint64} { // of no call: sdk.Remote counts up from below
		if err := c.remote.Cancel(ctx, id); err != nil {
			return err
		}
	}
	after, err := c.ask(ctx, instanceName, 1)
	if after != before || broken(err) {
		return fmt.Errorf("a call came to %s before, and to %s afterwards: %w", before, after, err)
	}
	return nil
}

func deadlineCheck(ctx context.Context, c *client) error {
	call := c.call(c.probe())
	call.Deadline = time.Now().Add(-second)
	_, err := c.execute(ctx, call)
	if err := wantError(err, sdk.Timeout, ""); err != nil {
		return err
	}
	return c.isOpen(ctx, instanceName, 1)
}

// swapProbesCheck is swapCheck for any backend.
func swapProbesCheck(ctx context.Context, c *client) error {
	want, err := c.ask(ctx, instanceName, 1)
	if want == "" {
		return err
	}
	return c.whileSwapped(ctx, func(generation uint64, late func() bool) error {
		came, err := c.ask(ctx, instanceName, generation)
		if came == want || came == "unavailable unknown_instance" && late() {
			return nil
		}
		return fmt.Errorf("a call came to %q, and to %q before the swap: %w", came, want, err)
	})
}

// heartbeatPause is the longest time between two heartbeats that the check lets pass. The
// gateway ends a plugin that sends none for three seconds.
const heartbeatPause = 2 * second

func heartbeatCheck(ctx context.Context, t *Target) error {
	return connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, _ *configSchema) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		const enough = 3
		beats := 0
		done := errors.New("enough")
		timer := time.AfterFunc(heartbeatPause, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
		err := remote.Watch(ctx, func() {
			timer.Reset(heartbeatPause)
			if beats++; beats == enough {
				cancel(done)
			}
		})
		if beats < enough {
			return fmt.Errorf("%d heartbeats, then none for %s: %w", beats, heartbeatPause, err)
		}
		return nil
	})
}

func drainIdleCheck(ctx context.Context, c *client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*second)
	defer cancel()
	for range 2 {
		if err := c.remote.Drain(ctx); err != nil {
			return err
		}
		_, err := c.ask(ctx, instanceName, 1)
		if err := wantError(err, sdk.Unavailable, ""); err != nil {
			return fmt.Errorf("a call to a drained plugin: %w", err)
		}
	}
	return nil
}

var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func metricsCheck(ctx context.Context, c *client) error {
	if err := c.isOpen(ctx, instanceName, 1); err != nil { // something to count
		return err
	}
	metrics, err := c.remote.Metrics(ctx)
	if err != nil {
		return err
	}
	for instance, list := range metrics {
		if instance != instanceName {
			return fmt.Errorf("metrics of %q, which is not open", instance)
		}
		seen := map[string]bool{}
		for _, m := range list {
			key := fmt.Sprint(m.Name, m.Labels)
			switch {
			case !metricName.MatchString(m.Name):
				return fmt.Errorf("a metric's name is %q: want small letters, digits and underscores", m.Name)
			case m.Counter != strings.HasSuffix(m.Name, "_total"):
				return fmt.Errorf("the name of the metric %s: those of counters end in _total, and no others", m.Name)
			case m.Help == "":
				return fmt.Errorf("the metric %s has no help", m.Name)
			case seen[key]:
				return fmt.Errorf("the metric %s is there twice with the labels %v", m.Name, m.Labels)
			}
			seen[key] = true
		}
	}
	return nil
}

func logLevelCheck(ctx context.Context, c *client) error {
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		if err := c.remote.SetLogLevel(ctx, level); err != nil {
			return fmt.Errorf("%s: %w", level, err)
		}
	}
	return c.isOpen(ctx, instanceName, 1)
}
