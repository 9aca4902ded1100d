// Package sdktest is the conformance suite that every backend passes, and a Memory
// backend that passes it. The checks know nothing of testing.T, so that they can run
// outside go test; Run makes a subtest of each. A plugin's test is
//
//	func TestConformance(t *testing.T) {
//		target := sdktest.Target{Config: json.RawMessage(`{"path": "` + path + `"}`), Dialect: sdktest.SQLite}
//		t.Run("in process", func(t *testing.T) { sdktest.Run(t, target.InProcess(plugin())) })
//		t.Run("binary", func(t *testing.T) { sdktest.Run(t, target.Binary(sdktest.Build(t, "."))) })
//	}
package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/sdk"
)

// Check is one thing that a backend must do. Run's error says what it did instead.
type Check struct {
	Name, Doc string
	// Needs says what the check needs that the target does not have or its backend does
	// not declare; "" means that it can run. A nil Needs needs nothing.
	Needs func(*Target, sdk.Capabilities) (missing string)
	Run   func(ctx context.Context, t *Target) error
}

// Target is a backend to check.
type Target struct {
	// Connect reaches the plugin: a new process, if it has one. Every check connects
	// anew and calls the function returned when it is done.
	Connect func(ctx context.Context) (*sdk.Remote, func(), error)
	// Config opens an instance on a database in which the tables athena_items and
	// athena_numbers may be dropped and made again.
	Config  json.RawMessage
	Dialect Dialect
	// Kill ends the process of the latest Connect at once, as SIGKILL does. Nil: there
	// is no process of its own.
	Kill func() error
	// Held is how many bytes of memory the plugin of the latest Connect holds. Nil: not
	// to be measured.
	Held func() (int64, error)
	// Secrets are texts of Config that must never be seen, besides the values of the
	// keys that the config's schema marks as writeOnly.
	Secrets []string
	// SameProcess makes Run look for goroutines left behind.
	SameProcess bool
}

// Dialect is what the checks must know of a backend beyond the protocol. Statements that
// are nil leave the checks out that need them.
//
// athena_items has the columns id (64-bit integer, primary key), name (text, not null),
// code (text, unique), qty (64-bit integer), price (number), active (boolean), made_at
// (a time), and doc (JSON).
type Dialect struct {
	// Prepare makes athena_items, or empties it.
	Prepare []sdk.Statement
	// Fill makes the table that Numbers selects: 100 000 rows of about 400 bytes.
	Fill    []sdk.Statement
	Numbers sdk.Statement

	Slow      *sdk.Statement // takes at least ten seconds unless it is stopped
	Panic     *sdk.Statement // makes the backend's own code panic
	Leak      *sdk.Statement // fails with a text that holds a secret, were it not removed
	Syntax    *sdk.Statement // a SQL text that is none
	Duplicate *sdk.Statement // answers one row: 1 and 2, both in a column named a
	Bytes     *sdk.Statement // answers one row: the bytes 00 ff 10 in a column named data

	ExactNumbers bool // numbers keep all their digits
	Durable      bool // what was acknowledged survives a killed plugin
}

// NumbersRows is how many rows Dialect.Numbers answers with.
const NumbersRows = 100_000

// timeout bounds a check.
const timeout = 2 * time.Minute

// Checks lists all checks in the order in which to run them.
func Checks() []Check {
	return slices.Concat(configChecks, crudChecks, operatorChecks, resultChecks, errorChecks, lifecycleChecks)
}

// Run runs each check as a subtest. A check that the backend need not pass because it
// declares no such ability passes with a log line that says so.
func Run(t *testing.T, target Target) {
	capabilities, err := target.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			if check.Needs != nil {
				if missing := check.Needs(&target, capabilities); missing != "" {
					t.Logf("not declared: %s", missing)
					return
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			before := goleak.IgnoreCurrent()
			if err := check.Run(ctx, &target); err != nil {
				t.Errorf("%s: %v", check.Doc, err)
			}
			if target.SameProcess {
				if err := goleak.Find(before); err != nil {
					t.Errorf("left behind: %v", err)
				}
			}
		})
	}
}

// Capabilities asks the plugin what it declares, for Check.Needs.
func (t *Target) Capabilities(ctx context.Context) (sdk.Capabilities, error) {
	remote, disconnect, err := t.Connect(ctx)
	if err != nil {
		return sdk.Capabilities{}, fmt.Errorf("connect: %w", err)
	}
	defer disconnect()
	manifest, err := remote.Describe(ctx)
	if err != nil {
		return sdk.Capabilities{}, fmt.Errorf("describe: %w", err)
	}
	return manifest.Capabilities, nil
}

// verbs is a Needs for checks of some verbs.
func verbs(list ...sdk.Verb) func(*Target, sdk.Capabilities) string {
	return func(_ *Target, c sdk.Capabilities) string {
		for _, verb := range list {
			if !slices.Contains(c.Verbs, verb) {
				return "the verb " + verb.String()
			}
		}
		return ""
	}
}

// given is a Needs for checks of one of the dialect's statements.
func given(name string, statement func(*Dialect) *sdk.Statement) func(*Target, sdk.Capabilities) string {
	return func(t *Target, _ sdk.Capabilities) string {
		if statement(&t.Dialect) == nil {
			return "the dialect's statement " + name
		}
		return ""
	}
}
