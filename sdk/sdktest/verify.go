package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/sdk"
)

// Result is what came of one check. With neither Err nor Missing it passed.
type Result struct {
	Check, Doc string
	Err        error         // what the plugin did instead
	Missing    string        // what the target or its backend lacks for the check, which was not run
	Took       time.Duration // zero if it was not run
}

// Verify runs checks one after the other outside go test and reports each as it ends. The
// first Result, of "start", says whether the plugin starts and tells what it is; if it does
// not, there is no other and no manifest. With groups, such as transactions or
// config/secrets, only their checks are run. The error is not of a check: a group that does
// not exist, a config that lacks what the plugin requires, or the end of ctx.
func Verify(ctx context.Context, target Target, report func(Result), groups ...string) (*sdk.Manifest, error) {
	checks, err := choose(groups)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	manifest, err := target.manifest(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	report(Result{Check: "start", Doc: "the plugin starts and says what it is", Err: err, Took: time.Since(began)})
	if err != nil {
		return nil, nil
	}
	if err := target.lacks(manifest); err != nil {
		return manifest, err
	}
	for _, check := range checks {
		result := target.check(ctx, check, manifest.Capabilities)
		if ctx.Err() != nil {
			return manifest, ctx.Err()
		}
		report(result)
	}
	return manifest, nil
}

// choose returns the checks of some groups, all without groups.
func choose(groups []string) ([]Check, error) {
	all := Checks()
	var names, known []string
	for _, check := range all {
		group, _, _ := strings.Cut(check.Name, "/")
		names = append(names, check.Name)
		if !slices.Contains(known, group) {
			known = append(known, group)
		}
	}
	for _, group := range groups {
		if !slices.Contains(known, group) && !slices.Contains(names, group) {
			return nil, fmt.Errorf("there is no group of checks %q; there are: %s", group, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(check Check) bool {
		group, _, _ := strings.Cut(check.Name, "/")
		return len(groups) > 0 && !slices.Contains(groups, group) && !slices.Contains(groups, check.Name)
	}), nil
}

// check runs one check, unless something is missing for it.
func (t *Target) check(ctx context.Context, check Check, capabilities sdk.Capabilities) Result {
	result := Result{Check: check.Name, Doc: check.Doc, Missing: t.missing(check, capabilities)}
	if result.Missing != "" {
		return result
	}
	limit := t.Timeout
	if limit == 0 {
		limit = timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began, before := time.Now(), goleak.IgnoreCurrent()
	result.Err = runSafely(ctx, t, check)
	if result.Err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		result.Err = fmt.Errorf("not done within %s: %w", limit, result.Err)
	}
	if t.SameProcess {
		if err := goleak.Find(before); err != nil {
			result.Err = errors.Join(result.Err, fmt.Errorf("left behind: %w", err))
		}
	}
	result.Took = time.Since(began)
	return result
}

func (t *Target) missing(check Check, capabilities sdk.Capabilities) string {
	if t.Dialect.Prepare == nil && !bare(check.Name) {
		return "a dialect, whose statements make the tables to check with"
	}
	if check.Needs == nil {
		return ""
	}
	return check.Needs(t, capabilities)
}

// bare tells of a check that it makes no tables, so that it needs no dialect.
func bare(name string) bool {
	group, _, _ := strings.Cut(name, "/")
	return group == "protocol" || group == "config"
}

// runSafely runs a check, whose own panic is a failure of it alone.
func runSafely(ctx context.Context, t *Target, check Check) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked, perhaps at an answer that nobody expected: %v\n%s", p, debug.Stack())
		}
	}()
	return check.Run(ctx, t)
}

// manifest starts the plugin and asks it what it is.
func (t *Target) manifest(ctx context.Context) (*sdk.Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	remote, disconnect, err := t.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer disconnect()
	manifest, err := remote.Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("it started, but does not answer Plugin.Describe: %w", err)
	}
	return manifest, nil
}

// lacks refuses a config without the keys that the plugin requires: no check could open an
// instance. A schema that cannot be read is for the checks to find.
func (t *Target) lacks(manifest *sdk.Manifest) error {
	config := map[string]json.RawMessage{}
	if len(t.Config) > 0 {
		if err := json.Unmarshal(t.Config, &config); err != nil || config == nil {
			return fmt.Errorf("the config to open instances with is no JSON object: %s", t.Config)
		}
	}
	var schema configSchema
	if json.Unmarshal(manifest.ConfigSchema, &schema) != nil {
		return nil
	}
	var missing []string
	for _, key := range schema.Required {
		if _, ok := config[key]; !ok {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the plugin's config must have the keys %s: give a config that opens an instance", strings.Join(missing, ", "))
	}
	return nil
}
