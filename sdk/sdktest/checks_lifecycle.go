package sdktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

var lifecycleChecks = []Check{
	{Name: "lifecycle/stream", Doc: "100 000 rows reach a slow reader whole, and the plugin does not hold them meanwhile", Run: withNumbers(streamCheck)},
	{Name: "lifecycle/cancel", Doc: "a cancelled call ends within a second, before its answer and in the middle of it", Run: withNumbers(cancelCheck)},
	{Name: "lifecycle/cancel_slow", Doc: "work in the database ends within a second when it is cancelled or its deadline passes",
		Needs: given("Slow", func(d *Dialect) *sdk.Statement { return d.Slow }), Run: with(cancelSlowCheck)},
	{Name: "lifecycle/concurrent", Doc: "64 callers at once each get their own answers", Needs: verbs(sdk.Insert, sdk.Select), Run: with(concurrentCheck)},
	{Name: "lifecycle/swap", Doc: "calls go on while the instance is replaced by new generations", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(swapCheck)},
	{Name: "lifecycle/drain", Doc: "a draining plugin refuses new calls and lets running ones end", Run: withNumbers(drainCheck)},
	{Name: "lifecycle/kill_reading", Doc: "a read whose plugin is killed fails with plugin_lost, never as if it were whole", Needs: killable, Run: withNumbers(killReadingCheck)},
	{Name: "lifecycle/kill_writing", Doc: "what a plugin acknowledged before it was killed is there afterwards", Needs: durable, Run: with(killWritingCheck)},
}

const second = time.Second

func killable(t *Target, _ sdk.Capabilities) string {
	if t.Process == nil {
		return "a process of its own"
	}
	return ""
}

func durable(t *Target, c sdk.Capabilities) string {
	if !t.Dialect.Durable {
		return "rows that survive the plugin"
	}
	if missing := killable(t, c); missing != "" {
		return missing
	}
	return verbs(sdk.Insert, sdk.Select)(t, c)
}

// withNumbers is with over a database in which Numbers can be selected.
func withNumbers(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return with(func(ctx context.Context, c *client) error {
		if err := c.each(ctx, c.Dialect.Fill); err != nil {
			return fmt.Errorf("fill the table of numbers: %w", err)
		}
		return f(ctx, c)
	})
}

// reading is an answer of Numbers that is being read, and what has come of it.
type reading struct {
	*sdk.Answer
	rows        int // by their opening braces: a label holds none
	first, last byte
}

// begin executes s and reads the first piece of its answer.
func (c *client) begin(ctx context.Context, s sdk.Statement) (*reading, error) {
	a, err := c.remote.Execute(ctx, c.call(s))
	if err != nil {
		return nil, err
	}
	r := &reading{Answer: a}
	if err := r.piece(); err != nil {
		a.Close()
		return nil, err
	}
	return r, nil
}

func (r *reading) piece() error {
	piece, err := r.Next()
	if err != nil {
		return err
	}
	if r.first == 0 {
		r.first = piece[0]
	}
	r.last = piece[len(piece)-1]
	r.rows += bytes.Count(piece, []byte("{"))
	return nil
}

// rest reads to the end.
func (r *reading) rest() error {
	for {
		if err := r.piece(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// whole reads to the end and checks that nothing is missing.
func (r *reading) whole() error {
	if err := r.rest(); err != nil {
		return err
	}
	if r.rows != NumbersRows || r.Tail().Rows != NumbersRows || r.first != '[' || r.last != ']' {
		return fmt.Errorf("%d rows, %d by the tail, want %d, between %q and %q", r.rows, r.Tail().Rows, NumbersRows, r.first, r.last)
	}
	return nil
}

// maxHeld is how much more memory a plugin may hold while a reader of 40 MB stalls.
const maxHeld = 24 << 20

func streamCheck(ctx context.Context, c *client) error {
	var before int64
	var err error
	if c.Held != nil {
		if before, err = c.Held(); err != nil {
			return err
		}
	}
	a, err := c.begin(ctx, c.Dialect.Numbers)
	if err != nil {
		return err
	}
	defer a.Close()
	// Give the plugin the time to run ahead as far as it wants to.
	select {
	case <-time.After(second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.Held != nil {
		held, err := c.Held()
		if err != nil {
			return err
		}
		if held-before > maxHeld {
			return fmt.Errorf("the plugin holds %d MiB more while its reader stalls", (held-before)>>20)
		}
	}
	return a.whole()
}

func cancelCheck(ctx context.Context, c *client) error {
	canceled, cancel := context.WithCancel(ctx)
	a, err := c.begin(canceled, c.Dialect.Numbers)
	if err != nil {
		cancel()
		return err
	}
	cancel()
	// Let the cancellation arrive before the reader, who may be faster, takes the rest.
	if err := c.usable(ctx); err != nil {
		return err
	}
	start := time.Now()
	err = a.rest()
	a.Close()
	if err := ended(start, err, sdk.Canceled); err != nil {
		return fmt.Errorf("cancelled in the middle: %w", err)
	}
	if a, err = c.begin(ctx, c.Dialect.Numbers); err != nil {
		return err
	}
	a.Close() // a reader that has seen enough
	if err := c.usable(ctx); err != nil {
		return err
	}
	canceled, cancel = context.WithCancel(ctx)
	cancel()
	_, err = c.execute(canceled, c.call(c.Dialect.Numbers))
	if err := wantError(err, sdk.Canceled, ""); err != nil {
		return fmt.Errorf("cancelled before: %w", err)
	}
	return c.usable(ctx)
}

// ended checks that a call failed as kind, in time.
func ended(start time.Time, err error, kind sdk.Kind) error {
	var e *sdk.Error
	switch took := time.Since(start); {
	case took > second:
		return fmt.Errorf("it took %s: %w", took, err)
	case !errors.As(err, &e) || e.Kind != kind:
		return fmt.Errorf("answered %v, want %s", err, kind)
	}
	return nil
}

func cancelSlowCheck(ctx context.Context, c *client) error {
	// Cancelled at various moments: before the plugin knows of the call, and after.
	for _, after := range []time.Duration{0, 100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 200 * time.Millisecond} {
		canceled, cancel := context.WithCancel(ctx)
		start := time.Now().Add(after)
		timer := time.AfterFunc(after, cancel)
		_, err := c.execute(canceled, c.call(*c.Dialect.Slow))
		timer.Stop()
		cancel()
		if err := ended(start, err, sdk.Canceled); err != nil {
			return fmt.Errorf("cancelled after %s: %w", after, err)
		}
	}
	call := c.call(*c.Dialect.Slow)
	start := time.Now().Add(200 * time.Millisecond)
	call.Deadline = start
	_, err := c.execute(ctx, call)
	if err := ended(start, err, sdk.Timeout); err != nil {
		return fmt.Errorf("the call's deadline: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	start = time.Now().Add(200 * time.Millisecond)
	_, err = c.execute(limited, c.call(*c.Dialect.Slow))
	if err := ended(start, err, sdk.Timeout); err != nil {
		return fmt.Errorf("the caller's deadline: %w", err)
	}
	return c.usable(ctx)
}

func concurrentCheck(ctx context.Context, c *client) error {
	const callers, calls = 64, 4
	err := together(callers, func(n int) error {
		for i := range calls {
			id := n*calls + i + 1
			name := fmt.Sprintf("caller %d call %d", n, i)
			if _, err := c.do(ctx, insertOne(id, name)); err != nil {
				return fmt.Errorf("insert: %w", err)
			}
			want := fmt.Sprintf(`[{"id":%d,"name":"%s"}]`, id, name)
			if err := c.wantBody(ctx, byID(selectItems("id", "name"), id), sdk.ResultOptions{}, want); err != nil {
				return err
			}
			_, err := c.do(ctx, insertOne(id, "again"))
			if err := wantError(err, sdk.Conflict, "unique_violation"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	ids, err := c.ids(ctx, selectItems("id"))
	if err == nil && len(ids) != callers*calls {
		err = fmt.Errorf("%d rows of %d inserted", len(ids), callers*calls)
	}
	return err
}

// together runs f n times at once and returns what failed first.
func together(n int, f func(int) error) error {
	var wait sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wait.Go(func() { errs <- f(i) })
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// whileSwapped calls ask again and again, from several callers at once, while the instance is
// replaced by new generations. ask gets the generation, and late, which reports whether another
// has replaced it meanwhile.
func (c *client) whileSwapped(ctx context.Context, ask func(generation uint64, late func() bool) error) error {
	const callers, swaps = 8, 5
	var generation atomic.Uint64
	var stop atomic.Bool
	generation.Store(1)
	return together(callers+1, func(n int) error {
		if n == 0 {
			defer stop.Store(true)
			for next := uint64(2); next < 2+swaps; next++ {
				if _, err := c.remote.OpenInstance(ctx, instanceName, next, c.Config); err != nil {
					return fmt.Errorf("open generation %d: %w", next, err)
				}
				generation.Store(next)
				if err := c.remote.CloseInstance(ctx, instanceName, next-1); err != nil {
					return fmt.Errorf("close generation %d: %w", next-1, err)
				}
			}
			return nil
		}
		for !stop.Load() {
			asked := generation.Load()
			if err := ask(asked, func() bool { return asked != generation.Load() }); err != nil {
				return err
			}
		}
		return nil
	})
}

func swapCheck(ctx context.Context, c *client) error {
	return c.whileSwapped(ctx, func(generation uint64, late func() bool) error {
		call := c.call(selectItems("id"))
		call.Generation = generation
		answers, err := c.execute(ctx, call)
		if e := (*sdk.Error)(nil); errors.As(err, &e) && e.Reason == "unknown_instance" && late() {
			return nil // the caller asks the new generation
		}
		if err != nil {
			return err
		}
		if answers[0].tail.Rows != 6 {
			return fmt.Errorf("%d rows of 6", answers[0].tail.Rows)
		}
		return nil
	})
}

func drainCheck(ctx context.Context, c *client) error {
	a, err := c.begin(ctx, c.Dialect.Numbers)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			a.Close()
		}
	}()
	drained := make(chan error, 1)
	go func() { drained <- c.remote.Drain(ctx) }()
	var refused error
	for refused == nil {
		if ctx.Err() != nil {
			return errors.New("new calls are not refused")
		}
		_, refused = c.do(ctx, selectItems("id"))
	}
	if err := wantError(refused, sdk.Unavailable, ""); err != nil {
		return err
	}
	select {
	case err := <-drained:
		return fmt.Errorf("drained while a call was under way: %w", err)
	default:
	}
	if err := a.whole(); err != nil {
		return fmt.Errorf("the call under way: %w", err)
	}
	a.Close()
	closed = true
	return <-drained
}

func killReadingCheck(ctx context.Context, c *client) error {
	a, err := c.begin(ctx, c.Dialect.Numbers)
	if err != nil {
		return err
	}
	defer a.Close()
	watched := make(chan error, 1)
	go func() { watched <- c.remote.Watch(ctx, func() {}) }()
	c.Process().kill()
	for _, err := range []error{a.rest(), <-watched} {
		if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.Kind != sdk.Unavailable || e.Reason != "plugin_lost" {
			return fmt.Errorf("answered %v, want unavailable (plugin_lost)", err)
		}
	}
	_, err = c.do(ctx, selectItems("id"))
	if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.Kind != sdk.Unavailable {
		return fmt.Errorf("a call afterwards answered %v, want unavailable", err)
	}
	return nil
}

// killWritingCheck kills the plugin while rows are inserted one by one, and looks for the
// acknowledged ones with a new one.
func killWritingCheck(ctx context.Context, c *client) error {
	const before = 20
	process := c.Process()
	acknowledged := 0
	var lost error
	for lost == nil {
		if acknowledged == before {
			go process.kill()
		}
		if _, lost = c.do(ctx, insertOne(acknowledged+1, "row")); lost == nil {
			acknowledged++
		}
	}
	if e := (*sdk.Error)(nil); !errors.As(lost, &e) || e.Kind != sdk.Unavailable || e.Reason != "plugin_lost" {
		return fmt.Errorf("the write under way answered %w, want unavailable (plugin_lost)", lost)
	}
	remote, disconnect, err := c.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect again: %w", err)
	}
	defer disconnect()
	if _, err := remote.OpenInstance(ctx, instanceName, 1, c.Config); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	again := &client{Target: c.Target, remote: remote, capabilities: c.capabilities}
	ids, err := again.ids(ctx, orderBy(selectItems("id"), by("id")))
	if err != nil {
		return err
	}
	if len(ids) < acknowledged || len(ids) > acknowledged+1 {
		return fmt.Errorf("%d rows are there of %d acknowledged", len(ids), acknowledged)
	}
	return nil
}
