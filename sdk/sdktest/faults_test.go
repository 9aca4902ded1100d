package sdktest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk/sdktest"
)

// faults are what the plugin ./internal/faulty can do wrong, and the one check that finds it.
var faults = map[string]string{
	"":                         "",
	"changes its mind":         "protocol/manifest",
	"requires nothing":         "protocol/config_required",
	"trusts its config":        "protocol/config_unfit",
	"closes once":              "protocol/open",
	"closes by generation":     "protocol/generations",
	"ignores names":            "protocol/unknown_instance",
	"ignores generations":      "protocol/unknown_instance",
	"does any verb":            "protocol/undeclared_verb",
	"knows any operator":       "protocol/undeclared_operator",
	"answers nothing":          "protocol/no_statement",
	"cancels only calls":       "protocol/cancel_unknown",
	"ignores deadlines":        "protocol/deadline",
	"pauses for an open":       "protocol/swap",
	"sends no heartbeat":       "protocol/heartbeat",
	"sends one heartbeat":      "protocol/heartbeat",
	"ignores a drain":          "protocol/drain",
	"never drains":             "protocol/drain",
	"misnames a counter":       "protocol/metrics",
	"knows no trace":           "protocol/log_level",
	"shows its secret":         "protocol/secrets",
	"logs its secret":          "protocol/secrets",
	"counts its secret":        "protocol/secrets",
	"tells a child its secret": "protocol/secrets",
	"prints":                   "protocol/stdout",
	"is another process":       "protocol/killed",
	"survives":                 "protocol/lifeline",
	"leaves a child":           "protocol/children",
	"leaks a descriptor":       "protocol/descriptors",
}

// TestFaults: each fault of a plugin fails the check made for it and no other.
func TestFaults(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Fatal("this test needs Linux, where processes can be looked at")
	}
	faulty := sdktest.Build(t, "./internal/faulty")
	for _, check := range sdktest.Checks() {
		if check.Mandatory != strings.HasPrefix(check.Name, "protocol/") {
			t.Errorf("%s: the checks of the protocol are mandatory, and no others", check.Name)
		}
		if found := slices.Collect(maps.Values(faults)); check.Mandatory && !slices.Contains(found, check.Name) {
			t.Errorf("no fault shows that %s can fail", check.Name)
		}
	}
	names := slices.Sorted(maps.Keys(faults))
	failures := make([]string, len(names))
	slots := make(chan struct{}, 12) // they wait more than they work
	done := make(chan struct{})
	for i, fault := range names {
		script := filepath.Join(t.TempDir(), "plugin")
		command := fmt.Sprintf("exec %q %q", faulty, fault)
		if fault == "is another process" { // a wrapper: what is killed is not what serves
			command = fmt.Sprintf("setsid %q\nexit $?", faulty)
		}
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+command+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer func() { done <- struct{}{} }()
			slots <- struct{}{}
			defer func() { <-slots }()
			target := sdktest.Target{Config: []byte(`{"path": "none", "token": "token-of-faulty"}`)}.Binary(script)
			_, err := sdktest.Verify(t.Context(), target, func(r sdktest.Result) {
				if err := r.Err; err != nil && r.Check != faults[fault] {
					failures[i] += fmt.Sprintf("%s fails too: %v\n", r.Check, err)
				} else if err == nil && r.Check == faults[fault] {
					failures[i] += r.Check + " does not find it\n"
				}
			}, "protocol")
			if err != nil {
				failures[i] += err.Error()
			}
		}()
	}
	for range names {
		<-done
	}
	for i, failure := range failures {
		if failure != "" {
			t.Errorf("a plugin that %q: %s", names[i], failure)
		}
	}
}
