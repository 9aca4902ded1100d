// Package sdktest is the conformance suite that every backend passes, and a Memory
// backend that passes it. The checks know nothing of testing.T, so that they can run
// outside go test, as Verify does; Run makes a subtest of each. A plugin's test is
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
	"slices"
	"testing"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Check is one thing that a backend must do. Run's error says what it did instead.
type Check struct {
	Name, Doc string
	// Needs says what the check needs that the target does not have or its backend does
	// not declare; "" means that it can run. A nil Needs needs nothing.
	Needs func(*Target, sdk.Capabilities) (missing string)
	Run   func(ctx context.Context, t *Target) error
	// Mandatory marks what every plugin must pass, in whatever language and whatever its
	// backend can do. These checks need no Dialect.
	Mandatory bool
}

// Target is a backend to check.
type Target struct {
	// Connect reaches the plugin: a new process, if it has one. Every check connects
	// anew and calls the function returned when it is done.
	Connect func(ctx context.Context) (*sdk.Remote, func(), error)
	// Config opens an instance on a database in which whatever is called athena_ and
	// something may be dropped and made again.
	Config  json.RawMessage
	Dialect Dialect
	// Process is the process of the latest Connect. Nil: there is none of its own.
	Process func() *Process
	// Held is how many bytes of memory the plugin of the latest Connect holds. Nil: not
	// to be measured.
	Held func() (int64, error)
	// Secrets are texts of Config that must never be seen, besides the values of the
	// keys that the config's schema marks as writeOnly.
	Secrets []string
	// SameProcess makes Run look for goroutines left behind.
	SameProcess bool
	// Timeout bounds each check; 0: two minutes.
	Timeout time.Duration
	// Coverage collects what the checks have used of the model. Nil: nothing does.
	Coverage *Coverage
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

	// Kinds are statements that fail as an error of a kind, with nothing executed.
	Kinds map[sdk.Kind]sdk.Statement

	// Family makes, or empties, athena_parents (id, name, boss: a parent), athena_profiles
	// (parent: the key, bio), athena_children (id, name, age, parent, guardian: parents),
	// athena_tags (id, label, weight: 3 by default) and athena_child_tags (child, tag: the key).
	Family []sdk.Statement
	// Values makes, or empties, athena_values (id, tags: an array of texts, at: a time without
	// a zone, span: a range of integers, if there are operators of ranges).
	Values []sdk.Statement
	// Deferred makes athena_deferred (id, other: an id, checked at the end of a transaction).
	Deferred []sdk.Statement
	// Functions makes athena_add(a, b = 1), athena_pick(number) and athena_pick(word), which
	// answer with their parameter's name, athena_total(variadic list), the sum, athena_echo, of
	// an unnamed json, athena_letters, of an unnamed text, athena_write(id, name), which adds an
	// item and returns nothing, and athena_items_over(floor), the items of a larger qty.
	Functions []sdk.Statement
	Elsewhere []sdk.Statement // makes athena_here (a) with the one row 'here' in the schema athena_other
	Role      []sdk.Statement // makes the role athena_stranger, which may do nothing
	Places    []sdk.Statement // makes athena_places (id, name, at: a geometry) of (1, One, a point at 1 2) and (2, Two, a point at 3 4.5)

	ShowSession *sdk.Statement // answers one row: role, who (the setting athena.who), path, zone
	ShowTx      *sdk.Statement // answers one row: isolation (such as repeatable read), read_only, deferrable (on or off)
	Headers     *sdk.Statement // sets the headers X-Athena: one, X-Athena: two and the status 202
	Position    *sdk.Statement // answers one row: the replication position

	IDType string            // what a head calls the type of an item's id
	Plan   map[string]string // what each option of an explain puts into the plan in JSON

	ExactNumbers bool // numbers keep all their digits
	Durable      bool // what was acknowledged survives a killed plugin
	Details      bool // an error about a relation or function says in Details what there is
	TellsNew     bool // an upsert tells how many of its rows are new
}

// NumbersRows is how many rows Dialect.Numbers answers with.
const NumbersRows = 100_000

// timeout bounds a check of a target without Timeout.
const timeout = 2 * time.Minute

// Checks lists all checks in the order in which to run them.
func Checks() []Check {
	return slices.Concat(protocolChecks, processChecks, configChecks, crudChecks, writeChecks, operatorChecks, expressionChecks, relationChecks,
		functionChecks, resultChecks, errorChecks, sessionChecks, textChecks, introspectChecks, lifecycleChecks)
}

// Run runs each check as a subtest. A check that the backend need not pass because it
// declares no such ability passes with a log line that says so. With groups, as in Verify,
// only their checks are run.
func Run(t *testing.T, target Target, groups ...string) {
	checks, err := choose(groups)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := target.manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		t.Run(check.Name, func(t *testing.T) {
			switch result := target.check(t.Context(), check, manifest.Capabilities); {
			case result.Missing != "":
				t.Logf("not declared: %s", result.Missing)
			case result.Err != nil:
				t.Errorf("%s: %v", check.Doc, result.Err)
			}
		})
	}
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

// all is a Needs for checks that need several things.
func all(needs ...func(*Target, sdk.Capabilities) string) func(*Target, sdk.Capabilities) string {
	return func(t *Target, c sdk.Capabilities) string {
		for _, need := range needs {
			if missing := need(t, c); missing != "" {
				return missing
			}
		}
		return ""
	}
}

// declares is a Needs for checks of an ability.
func declares(name string, declared func(*sdk.Capabilities) bool) func(*Target, sdk.Capabilities) string {
	return func(_ *Target, c sdk.Capabilities) string {
		if !declared(&c) {
			return name
		}
		return ""
	}
}

// made is a Needs for checks of what the dialect's statements make.
func made(name string, statements func(*Dialect) []sdk.Statement) func(*Target, sdk.Capabilities) string {
	return func(t *Target, _ sdk.Capabilities) string {
		if statements(&t.Dialect) == nil {
			return "the dialect's statements " + name
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
