package pluginhost

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

func TestDiscover(t *testing.T) {
	dir := pluginDir(t, "alpha", "beta")
	for name, mode := range map[string]os.FileMode{"notes": 0o755, "README.md": 0o755, "plugins.lock": 0o644, ".hidden": 0o755, "plain": 0o644, "empty": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(map[string]string{"notes": "just text\n"}[name]), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Options{Dir: dir})
	found := map[string]string{}
	for _, p := range h.Discover() {
		found[p.Name] = string(p.State)
		if (p.Err == nil) != (len(p.Checksum) == 64) {
			t.Errorf("%s: checksum %q with error %v", p.Name, p.Checksum, p.Err)
		}
	}
	want := map[string]string{"alpha": "discovered", "beta": "discovered", "script": "discovered",
		"notes": "rejected", "plain": "rejected", "empty": "rejected", "dangling": "rejected"}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	_, err := h.Open(testContext(t), "plain", "c", nil)
	wantError(t, err, sdk.Unavailable, "plugin_rejected", "chmod +x")
	_, err = h.Open(testContext(t), "alhpa", "c", nil)
	wantError(t, err, sdk.NotFound, "unknown_backend", `did you mean "alpha"?`, "beta")

	mustOpen(t, h, "alpha", "")
	if got := status(t, h, "alpha"); got.State != Ready || got.Version != "1.2.3" || got.PID == 0 || len(got.Instances) != 1 {
		t.Errorf("got %+v", got)
	}
	if got := status(t, h, "plain"); got.State != Rejected || got.LastError == "" {
		t.Errorf("got %+v", got)
	}
}

func TestMissingDirectory(t *testing.T) {
	_, err := New(Options{Dir: filepath.Join(t.TempDir(), "plugins")})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
}

func TestStartFailures(t *testing.T) {
	dir := pluginDir(t, "crashing", "chatty", "hanging", "misnamed")
	if err := os.WriteFile(filepath.Join(dir, "foreign"), []byte("\x7fELF\x02\x01\x01 of no machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Options{Dir: dir})
	for name, parts := range map[string][]string{
		"crashing": {"exited with code 3 before it was ready", "cannot find libexample.so"},
		"chatty":   {`printed "Hello, I am a plugin!" before its handshake`, "stderr"},
		"misnamed": {`calls itself "other"`, "name the file so"},
		"foreign":  {"not built for", "make build"},
		"script":   {"interpreter", "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Open(testContext(t), name, "c", nil)
			wantError(t, err, sdk.Unavailable, "plugin_start_failed", parts...)
			s := status(t, h, name)
			if s.State != Backoff || s.RetryAt.IsZero() || s.LastError == "" {
				t.Errorf("got %+v", s)
			}
			_, err = h.Open(testContext(t), name, "c", nil)
			e := wantError(t, err, sdk.Unavailable, "plugin_start_failed", parts...)
			if time.Now().Before(s.RetryAt) && e.RetryAfter == 0 {
				t.Error("no RetryAfter during the backoff")
			}
		})
	}
	t.Run("hanging", func(t *testing.T) {
		h := newHost(t, Options{Dir: dir, StartTimeout: 300 * time.Millisecond})
		_, err := h.Open(testContext(t), "hanging", "c", nil)
		wantError(t, err, sdk.Unavailable, "plugin_start_failed", "was not ready within 300ms", "sdk.Serve")
	})
	t.Run("hanging while the gateway ends", func(t *testing.T) {
		h := newHost(t, Options{Dir: dir})
		failed := make(chan error)
		go func() {
			_, err := h.Open(context.Background(), "hanging", "c", nil)
			failed <- err
		}()
		eventually(t, "starting", func() bool { return status(t, h, "hanging").State == Starting })
		if err := h.Close(testContext(t)); err != nil {
			t.Error(err)
		}
		if err := <-failed; err == nil {
			t.Error("no error")
		}
	})
}

func TestOneStartForAll(t *testing.T) {
	h := newHost(t, Options{}, "db")
	results := make(chan error)
	for range 20 {
		go func() {
			_, err := h.Open(testContext(t), "db", "client", nil)
			results <- err
		}()
	}
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if s := status(t, h, "db"); s.Restarts != 0 || len(s.Instances) != 20 {
		t.Errorf("got %+v", s)
	}
}

func TestConfigChecks(t *testing.T) {
	h := newHost(t, Options{ConfigDir: "/etc/athena"}, "db")
	for config, parts := range map[string][]string{
		`{"tokn":"canary-1"}`:                      {`unknown key "tokn"; did you mean "token"?`},
		`{"zzzzzzzz":1}`:                           {`unknown key "zzzzzzzz"; known are fail, flag, open, path, retries, token, uri`},
		`{"token":["canary-1"]}`:                   {`config key "token" must be string, not array`},
		`{"open":"canary-1"}`:                      {`config key "open" must be one of`},
		`{"retries":"canary-1","uri":17}`:          {`"retries" must be integer`, `"uri" must be string`},
		`["canary-1"]`:                             {"must be a JSON object"},
		`{"token":"canary-1"`:                      {"not valid JSON"},
		`{"open":"fail","uri":"x://u:canary-1@h"}`: {"no database at x://u:***@h"},
	} {
		_, err := h.Open(testContext(t), "db", "c", json.RawMessage(config))
		kind, reason := sdk.Invalid, "invalid_config"
		if strings.Contains(config, "fail") {
			kind, reason = sdk.Unavailable, "unreachable"
		}
		if e := wantError(t, err, kind, reason, parts...); strings.Contains(e.Error(), "canary") {
			t.Errorf("%v shows a value", e)
		}
	}
	for config, want := range map[string]string{
		`{"path":"data/x.db"}`: "/etc/athena/data/x.db",
		`{"path":"/abs/x.db"}`: "/abs/x.db",
		`{"path":":memory:"}`:  ":memory:",
		``:                     "/etc/athena/some/where",
	} {
		if got := mustAsk(t, mustOpen(t, h, "db", config), "path"); got != `[{"path":"`+want+`"}]` {
			t.Errorf("%s: got %s", config, got)
		}
	}
}

func TestRequiredKey(t *testing.T) {
	schema, err := compileSchema(json.RawMessage(`{"type":"object","required":["uri"],"properties":{
		"uri":{"type":"string","minLength":1},"pool":{"type":"object","properties":{"max":{"type":"integer","minimum":1}},"required":["max"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		`{}`:                            `config key "uri" is missing`,
		`{"uri":""}`:                    `config key "uri" must not be empty`,
		`{"uri":"x","pool":{}}`:         `config key "pool.max" is missing`,
		`{"uri":"x","pool":{"max":-5}}`: `config key "pool.max" must be at least 1`,
	} {
		_, _, err := schema.prepare(json.RawMessage(config), "")
		wantError(t, err, sdk.Invalid, "invalid_config", want)
	}
	kept, _, err := schema.prepare(json.RawMessage(`{"uri":"x","n":9007199254740993}`), "")
	if err != nil || !strings.Contains(string(kept), "9007199254740993") {
		t.Errorf("got %s, %v", kept, err)
	}
	if _, err := compileSchema(json.RawMessage(`{"$ref":"file:///etc/passwd"}`)); err == nil {
		t.Error("a schema reads files")
	}
}

func TestSecretsOfConfigs(t *testing.T) {
	schema, err := compileSchema(json.RawMessage(`{"properties":{"key":{"writeOnly":true}}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, secrets, err := schema.prepare(json.RawMessage(`{"key":"top\"secret","uri":"postgres://u:p%40ssw@h/db","dsn":"host=h password='it is' user=u",
		"deep":{"url":"https://h/?api_key=abc123&x=1"},"list":["redis://:foobared@h"]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	var set secretSet
	owner := &Instance{}
	set.add(owner, secrets)
	for text, want := range map[string]string{
		`key top"secret`:                `key ***`,
		`{"key":"top\"secret"}`:         `{"key":"***"}`,
		`password='it is' user=u`:       `password='***' user=u`,
		`?api_key=abc123&x=1`:           `?api_key=***&x=1`,
		`redis://:foobared@h`:           `redis://:***@h`,
		`plain p@ssw, coded p%40ssw`:    `plain ***, coded ***`,
		`nothing to hide in postgres:`:  `nothing to hide in postgres:`,
		`Basic dTpmb29iYXJlZA==`:        `Basic dTp***A==`,
		`"{\"key\":\"top\\\"secret\"}"`: `"{\"key\":\"***\"}"`,
		`p%40ssw, p%2540ssw`:            `***, ***`,
	} {
		if got := set.clean(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	set.remove(owner)
	if got := set.clean("redis://:foobared@h"); got != "redis://:***@h" {
		t.Errorf("when it is closed: %s", got)
	}
	for n := range pastSecrets {
		set.add(owner, []string{fmt.Sprint("another", n)})
		set.remove(owner)
	}
	if got := set.clean("foobared another0"); got != "foobared ***" {
		t.Errorf("after many others: %s", got)
	}
}

func TestOpenMisbehaves(t *testing.T) {
	h := newHost(t, Options{}, "db")
	_, err := h.Open(testContext(t), "db", "c", json.RawMessage(`{"open":"crash","token":"canary-tok","uri":"x://u:canary-pw@h"}`))
	e := wantError(t, err, sdk.Unavailable, "plugin_lost", `exited with code 5 while it opened "c"`, "about to crash with *** and x://u:***@h")
	if strings.Contains(e.Error(), "canary") {
		t.Errorf("%v shows a secret", e)
	}
	eventually(t, "the end of the backoff", func() bool {
		s := status(t, h, "db")
		return s.State == Backoff && time.Now().After(s.RetryAt)
	})
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := h.Open(ctx, "db", "c", json.RawMessage(`{"open":"hang"}`))
		failed <- err
	}()
	eventually(t, "the open", func() bool { return strings.Contains(strings.Join(h.Logs("db"), "\n"), "hanging") })
	cancel()
	if err := <-failed; err == nil || sdk.AsError(err).Kind != sdk.Canceled {
		t.Errorf("got %v", err)
	}
	if got := mustAsk(t, mustOpen(t, h, "db", ""), "kilobyte"); len(got) < 1000 {
		t.Errorf("got %s", got)
	}
}

func FuzzConfig(f *testing.F) {
	type config struct {
		URI   string            `json:"uri" athena:"required"`
		Token string            `json:"token" athena:"secret"`
		Path  string            `json:"path" athena:"path"`
		Max   int               `json:"max"`
		More  map[string]string `json:"more"`
	}
	raw, _ := sdk.ConfigSchema[config]()
	schema, err := compileSchema(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"uri":"postgres://u:p%zz@h?password='x","path":"a","max":9007199254740993}`))
	f.Add([]byte(`{"uri":1,"more":{"a":[]},"\u0000":null}`))
	f.Add([]byte(`{"uri":"x","uri":"y"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		prepared, secrets, err := schema.prepare(raw, "/base")
		if err == nil && !json.Valid(prepared) {
			t.Errorf("not JSON: %s", prepared)
		}
		var set secretSet
		set.add(&Instance{}, secrets)
		set.clean(string(raw))
	})
}
