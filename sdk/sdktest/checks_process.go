package sdktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// processChecks look at the plugin's process from outside.
var processChecks = mandatory(
	Check{Name: "protocol/stdout", Doc: "nothing but the handshake is printed to stdout", Needs: killable, Run: stdoutCheck},
	Check{Name: "protocol/killed", Doc: "Watch and a waiting call end with plugin_lost when the process is killed", Needs: killable, Run: killedCheck},
	Check{Name: "protocol/lifeline", Doc: "the process ends within two seconds when the gateway does: its lifeline is closed", Needs: killable, Run: lifelineCheck},
	Check{Name: "protocol/children", Doc: "what a plugin has started ends with it", Needs: onLinux, Run: childrenCheck},
	Check{Name: "protocol/descriptors", Doc: "opening and closing instances leaves no descriptor open", Needs: onLinux, Run: descriptorsCheck},
)

func onLinux(t *Target, c sdk.Capabilities) string {
	if runtime.GOOS != "linux" {
		return "a look at processes, which only Linux gives"
	}
	return killable(t, c)
}

// soon is how long an end may take.
const soon = 2 * second

// eventually asks until there is no error, for at most limit, and returns the last.
func eventually(ctx context.Context, limit time.Duration, ask func() error) error {
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ask()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// settle waits until what the plugin has printed is here: a heartbeat that it sends later.
func settle(ctx context.Context, remote *sdk.Remote) {
	ctx, cancel := context.WithTimeout(ctx, 3*second)
	defer cancel()
	beats := 0
	_ = remote.Watch(ctx, func() { // its error says no more than that it is over
		if beats++; beats == 2 {
			cancel()
		}
	})
}

func stdoutCheck(ctx context.Context, t *Target) error {
	var process *Process
	err := opened(func(ctx context.Context, c *client) error {
		process = t.Process()
		if err := c.isOpen(ctx, instanceName, 1); err != nil {
			return err
		}
		if _, err := c.remote.Metrics(ctx); err != nil {
			return err
		}
		if err := c.remote.CloseInstance(ctx, instanceName, 1); err != nil {
			return err
		}
		settle(ctx, c.remote)
		return nil
	})(ctx, t)
	if err != nil {
		return err
	}
	if text := process.stdout.String(); text != "" {
		return fmt.Errorf("it printed %.200q: stdout belongs to the protocol, print to stderr or log", text)
	}
	return nil
}

func killedCheck(ctx context.Context, t *Target) error {
	return opened(func(ctx context.Context, c *client) error {
		beat, watched, called := make(chan struct{}, 1), make(chan error, 1), make(chan error, 1)
		go func() {
			watched <- c.remote.Watch(ctx, func() {
				select {
				case beat <- struct{}{}:
				default:
				}
			})
		}()
		select {
		case <-beat:
		case err := <-watched:
			return fmt.Errorf("watch: %w", err)
		case <-time.After(heartbeatPause): // another check's concern
		}
		waiting := map[string]<-chan error{"Watch": watched}
		process := t.Process()
		if err := process.freeze(); err == nil {
			go func() { // one call after another until one has to wait: it freezes a little later
				for {
					if _, err := c.ask(ctx, instanceName, 1); broken(err) {
						called <- err
						return
					}
				}
			}()
			waiting["a call"] = called
			if err := eventually(ctx, soon, func() error {
				if c.remote.Calls() == 0 {
					return errors.New("the call is not sent")
				}
				return nil
			}); err != nil {
				return err
			}
		} else if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		process.kill()
		timer := time.NewTimer(soon)
		defer timer.Stop()
		for what, end := range waiting {
			select {
			case err := <-end:
				if e := sdk.AsError(err); e == nil || e.Reason != "plugin_lost" {
					return fmt.Errorf("%s ended as %w, want unavailable (plugin_lost)", what, err)
				}
			case <-timer.C:
				return fmt.Errorf("%s still waits %s after the plugin was killed", what, soon)
			}
		}
		return nil
	})(ctx, t)
}

func lifelineCheck(ctx context.Context, t *Target) error {
	return opened(func(ctx context.Context, _ *client) error {
		process := t.Process()
		process.closeLifeline()
		select {
		case <-process.exited:
			return nil
		case <-time.After(soon):
			return fmt.Errorf("it still runs: a plugin must read the descriptor that %s names and exit at its end", sdk.LifelineEnv)
		case <-ctx.Done():
			return ctx.Err()
		}
	})(ctx, t)
}

func childrenCheck(ctx context.Context, t *Target) error {
	var process *Process
	err := opened(func(ctx context.Context, c *client) error {
		process = t.Process()
		if err := c.isOpen(ctx, instanceName, 1); err != nil {
			return err
		}
		return c.remote.CloseInstance(ctx, instanceName, 1)
	})(ctx, t)
	if err != nil {
		return err
	}
	var left []relative
	err = eventually(ctx, soon, func() error {
		if left, err = process.relatives(); err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("these processes outlive the plugin: %v", left)
		}
		return nil
	})
	for _, r := range left {
		if child, findErr := os.FindProcess(r.pid); findErr == nil {
			_ = child.Kill()
		}
	}
	return err
}

// more lists what is open more often after than before, such as /dev/null or socket.
func more(before, after []string) []string {
	counts := map[string]int{}
	for i, list := range [][]string{after, before} {
		for _, target := range list {
			kind, _, _ := strings.Cut(target, ":[") // without the number of a socket or pipe
			counts[kind] += 1 - 2*i
		}
	}
	maps.DeleteFunc(counts, func(_ string, n int) bool { return n <= 0 })
	return slices.Sorted(maps.Keys(counts))
}

// maxDescriptors is how many more descriptors may be open after rounds of opening and
// closing than before.
const maxDescriptors = 8

func descriptorsCheck(ctx context.Context, t *Target) error {
	return opened(func(ctx context.Context, c *client) error {
		round := func(generation uint64) error {
			if _, err := c.remote.OpenInstance(ctx, "athena_other", generation, c.Config); err != nil {
				return err
			}
			if err := c.isOpen(ctx, "athena_other", generation); err != nil {
				return err
			}
			return c.remote.CloseInstance(ctx, "athena_other", generation)
		}
		const warm, rounds = 2, 20
		var before []string
		for generation := uint64(1); generation <= warm+rounds; generation++ {
			if err := round(generation); err != nil {
				return fmt.Errorf("round %d: %w", generation, err)
			}
			if generation == warm {
				var err error
				if before, err = t.Process().descriptors(); err != nil {
					return err
				}
			}
		}
		return eventually(ctx, 5*second, func() error {
			after, err := t.Process().descriptors()
			if err == nil && len(after) > len(before)+maxDescriptors {
				err = fmt.Errorf("%d descriptors are open after %d rounds of opening and closing an instance, %d before; more than before: %s",
					len(after), rounds, len(before), strings.Join(more(before, after), ", "))
			}
			return err
		})
	})(ctx, t)
}
