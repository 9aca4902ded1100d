package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

// verify collects results by the names of their checks.
func verify(t *testing.T, target sdktest.Target, groups ...string) (map[string]sdktest.Result, *sdk.Manifest, error) {
	t.Helper()
	results := map[string]sdktest.Result{}
	manifest, err := sdktest.Verify(t.Context(), target, func(r sdktest.Result) { results[r.Check] = r }, groups...)
	return results, manifest, err
}

func TestVerify(t *testing.T) {
	results, manifest, err := verify(t, sdktest.MemoryTarget().InProcess(sdktest.Memory("memory")), "config", "crud/insert", "lifecycle/kill_reading")
	if err != nil || manifest == nil || manifest.Name != "memory" {
		t.Fatalf("%+v, %v", manifest, err)
	}
	for name, r := range results {
		if missing := "a process of its own"; name == "lifecycle/kill_reading" && r.Missing != missing || name != "lifecycle/kill_reading" && r.Missing != "" {
			t.Errorf("%s: missing %q", name, r.Missing)
		}
		if r.Err != nil || r.Doc == "" || r.Missing == "" && r.Took == 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if group, _, _ := strings.Cut(name, "/"); group != "config" && name != "start" && name != "crud/insert" && name != "lifecycle/kill_reading" {
			t.Errorf("%s was not asked for", name)
		}
	}
	if len(results) < 6 {
		t.Errorf("only %d results", len(results))
	}
}

func TestVerifyWithoutDialect(t *testing.T) {
	target := sdktest.MemoryTarget()
	target.Dialect = sdktest.Dialect{}
	results, _, err := verify(t, target.InProcess(sdktest.Memory("memory")))
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range sdktest.Checks() {
		group, _, _ := strings.Cut(check.Name, "/")
		r, ok := results[check.Name]
		bare := group == "protocol" || group == "config"
		if !ok || r.Err != nil || !bare && !strings.Contains(r.Missing, "a dialect") {
			t.Errorf("%s: %+v", check.Name, r)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	target := sdktest.MemoryTarget().InProcess(sdktest.Memory("memory"))
	if results, _, err := verify(t, target, "crude"); len(results) != 0 || err == nil || !strings.Contains(err.Error(), `no group of checks "crude"; there are: protocol, config, crud`) {
		t.Errorf("%v, %v", results, err)
	}
	target.Config = json.RawMessage(`{"tables": {}}`)
	if results, _, err := verify(t, target); len(results) != 1 || err == nil || !strings.Contains(err.Error(), "must have the keys database") {
		t.Errorf("%v, %v", results, err)
	}
	target.Config = json.RawMessage(`[]`)
	if _, _, err := verify(t, target); err == nil || !strings.Contains(err.Error(), "no JSON object") {
		t.Error(err)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last string
	_, err := sdktest.Verify(ctx, sdktest.MemoryTarget().InProcess(sdktest.Memory("memory")), func(r sdktest.Result) {
		if last = r.Check; last == "protocol/manifest" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || last != "protocol/manifest" {
		t.Errorf("%v after %s", err, last)
	}
}

// TestAPanicFailsOneCheck panics in one check by an answer that is none.
func TestAPanicFailsOneCheck(t *testing.T) {
	target := sdktest.MemoryTarget().InProcess(sdktest.Memory("memory"))
	connect, calls := target.Connect, 0
	target.Connect = func(ctx context.Context) (*sdk.Remote, func(), error) {
		if calls++; calls == 2 {
			panic("of a hook")
		}
		return connect(ctx)
	}
	results, _, err := verify(t, target, "protocol/manifest", "config/opens")
	if err != nil {
		t.Fatal(err)
	}
	if err := results["protocol/manifest"].Err; err == nil || !strings.Contains(err.Error(), "panicked") || !strings.Contains(err.Error(), "of a hook") {
		t.Errorf("protocol/manifest: %v", err)
	}
	if err := results["config/opens"].Err; err != nil {
		t.Errorf("config/opens: %v", err)
	}
}

func TestTimeoutFailsACheck(t *testing.T) {
	target := sdktest.MemoryTarget().InProcess(sdktest.Memory("memory"))
	target.Timeout = time.Nanosecond
	results, _, err := verify(t, target, "config/opens")
	if got := results["config/opens"].Err; err != nil || got == nil || !strings.Contains(got.Error(), "not done within 1ns") {
		t.Errorf("%v, %v", got, err)
	}
}

// TestWhatDoesNotStart verifies executables that are no plugins.
func TestWhatDoesNotStart(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"prints", "#!/bin/sh\necho hello there\nexec sleep 60\n", `printed "hello there" before its handshake`},
		{"exits", "#!/bin/sh\necho no database >&2\nexit 3\n", "before its handshake: its main must call sdk.Serve"},
		{"says", "#!/bin/sh\necho no database >&2\nexit 3\n", "it said:\nno database"},
		{"other", "#!/bin/sh\necho '1|7|unix|/none|grpc'\nsleep 60\n", "speaks another version of the protocol"},
		{"rpc", "#!/bin/sh\necho '1|1|unix|/none|netrpc'\nsleep 60\n", `cannot be used: unsupported plugin protocol "netrpc"`},
		{"loader", "#!/none/sh\n", "the interpreter or loader that it names is missing"},
		{"text", "hello\n", "add that line"},
		{"nothing", "", "cannot be executed: it is not there"},
		{"forbidden", "#!/bin/sh\n", "chmod +x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), test.name)
			mode := os.FileMode(0o700)
			if test.name == "forbidden" {
				mode = 0o600
			}
			if test.name != "nothing" {
				if err := os.WriteFile(path, []byte(test.content), mode); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			results, manifest, err := verify(t, sdktest.Target{}.Binary(path))
			if err != nil || manifest != nil || len(results) != 1 {
				t.Fatalf("%v, %v, %v", results, manifest, err)
			}
			if got := results["start"].Err; got == nil || !strings.Contains(got.Error(), test.want) || !strings.HasPrefix(got.Error(), path) {
				t.Errorf("%v; want %s", got, test.want)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s: a child was waited for", took)
			}
		})
	}
}

func TestParseDialect(t *testing.T) {
	const text = `{"prepare": ["a", "b"], "fill": ["c"], "numbers": "n", "slow": "d", "panic": "e", "leak": "f", "syntax": "g", "duplicate": "h",
		"bytes": "i", "kinds": {"conflict": "x"}, "family": ["j"], "values": ["k"], "deferred": ["l"], "functions": ["m"], "elsewhere": ["n"], "role": ["o"], "places": ["p"],
		"show_session": "q", "show_tx": "r", "headers": "s", "position": "t", "id_type": "u", "plan": {"v": "w"},
		"exact_numbers": true, "durable": true, "details": true, "tells_new": true}`
	d, err := sdktest.ParseDialect([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	fields := reflect.ValueOf(d)
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			t.Errorf("%s has no key in the file", fields.Type().Field(i).Name)
		}
	}
	slow := sdktest.SQL(sdk.IntentRead, "d")
	want := []any{[]sdk.Statement{sdktest.SQL(sdk.IntentWrite, "a"), sdktest.SQL(sdk.IntentWrite, "b")}, &slow,
		sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "n"}}}
	if diff := cmp.Diff(want, []any{d.Prepare, d.Slow, d.Numbers}); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		`{"prepare": ["a"], "fill": ["c"], "numbers": "n", "slwo": "x"}`: `unknown field "slwo"`,
		`{"prepare": ["a"], "numbers": "n"}`:                             `lacks "fill"`,
		`{"prepare": "a"}`:                                               "cannot unmarshal string",
		`[]`:                                                             "cannot unmarshal array",
		`{"prepare": ["a"], "fill": ["c"], "numbers": "n", "kinds": {"bad": "x"}}`: `unknown one, "bad": the kinds of errors are internal, invalid`,
		`{"prepare": ["a"], "fill": ["c"], "numbers": "n"} x`:                      "goes on after the end",
	} {
		if _, err := sdktest.ParseDialect([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}
