package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Tuning is how a client's calls are executed.
type Tuning struct {
	Policy   resilience.Policy
	ReadOnly bool // writes are refused
	NoSQL    bool // SQL texts are refused
}

// Overrides are a client's values of settings, by name, as Setting.read has accepted them.
type Overrides map[string]json.RawMessage

// Setting is something that clients can have values of their own for.
type Setting struct {
	Name string
	Type string // integer, boolean or duration, which is a text such as 30s
	// Min and Max bound an integer, or a duration in milliseconds.
	Min, Max int64

	// Of a setting of the gateway: its value in a Tuning, to be read or changed. Without them
	// it is a key of the backend's config, merged into that of the client.
	value func(*Tuning) any
	set   func(*Tuning, json.RawMessage)
}

// settings are all there are. Each takes one line here, and one in docs/clients.md, which says
// what it does.
var settings = []Setting{
	whole("resilience_timeout_secs", 1, 86400,
		func(t *Tuning) int64 { return int64(t.Policy.Timeout / time.Second) },
		func(t *Tuning, n int64) { t.Policy.Timeout = time.Duration(n) * time.Second }),
	whole("resilience_read_max_retries", 0, 10,
		func(t *Tuning) int64 { return int64(t.Policy.ReadRetries) },
		func(t *Tuning, n int64) { t.Policy.ReadRetries = int(n) }),
	whole("resilience_initial_backoff_ms", 0, 60000,
		func(t *Tuning) int64 { return t.Policy.Backoff.Milliseconds() },
		func(t *Tuning, n int64) { t.Policy.Backoff = time.Duration(n) * time.Millisecond }),
	flag("read_only",
		func(t *Tuning) bool { return t.ReadOnly }, func(t *Tuning, b bool) { t.ReadOnly = b }),
	flag("sql_enabled",
		func(t *Tuning) bool { return !t.NoSQL }, func(t *Tuning, b bool) { t.NoSQL = !b }),
	{Name: "max_connections", Type: "integer", Min: 1, Max: 10000},
	{Name: "min_connections", Type: "integer", Min: 0, Max: 10000},
	{Name: "connect_timeout", Type: "duration", Min: 1, Max: 3_600_000},
	{Name: "warmup_timeout", Type: "duration", Min: 0, Max: 3_600_000},
	{Name: "acquire_timeout", Type: "duration", Min: 1, Max: 3_600_000},
	{Name: "max_conn_idle", Type: "duration", Min: 1000, Max: 86_400_000},
	{Name: "max_conn_lifetime", Type: "duration", Min: 1000, Max: 604_800_000},
}

func whole(name string, low, high int64, get func(*Tuning) int64, set func(*Tuning, int64)) Setting {
	return Setting{Name: name, Type: "integer", Min: low, Max: high,
		value: func(t *Tuning) any { return get(t) },
		set: func(t *Tuning, v json.RawMessage) {
			if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
				set(t, n)
			}
		}}
}

func flag(name string, get func(*Tuning) bool, set func(*Tuning, bool)) Setting {
	return Setting{Name: name, Type: "boolean",
		value: func(t *Tuning) any { return get(t) },
		set:   func(t *Tuning, v json.RawMessage) { set(t, string(v) == "true") }}
}

// ofPlugin reports whether the setting is a key of the backend's config.
func (s *Setting) ofPlugin() bool { return s.value == nil }

// read checks a value and returns it in its plainest form.
func (s *Setting) read(v json.RawMessage) (json.RawMessage, error) {
	switch s.Type {
	case "boolean":
		if text := string(v); text == "true" || text == "false" {
			return v, nil
		}
		return nil, errors.New("want true or false")
	case "integer":
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= s.Min && n <= s.Max {
			return json.RawMessage(strconv.FormatInt(n, 10)), nil
		}
		return nil, fmt.Errorf("want a whole number from %d to %d", s.Min, s.Max)
	default:
		var text string
		if json.Unmarshal(v, &text) == nil {
			low, high := time.Duration(s.Min)*time.Millisecond, time.Duration(s.Max)*time.Millisecond
			if d, err := time.ParseDuration(text); err == nil && d >= low && d <= high {
				return json.Marshal(d.String())
			}
		}
		return nil, fmt.Errorf("want a text such as 30s, from %s to %s", time.Duration(s.Min)*time.Millisecond, time.Duration(s.Max)*time.Millisecond)
	}
}

// ReadOverrides checks the members of an object of settings; null is none. The mistakes are by
// name.
func ReadOverrides(object map[string]json.RawMessage) (Overrides, map[string]string) {
	overrides, wrong := Overrides{}, map[string]string{}
	for name, v := range object {
		at := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name })
		if at < 0 {
			near := nearestSetting(name)
			if CheckName(name) != "" { // it may be a secret
				name = "…"
			}
			wrong[name] = "unknown setting" + near
			continue
		}
		if string(v) == "null" {
			continue
		}
		value, err := settings[at].read(v)
		if err != nil {
			wrong[name] = err.Error()
			continue
		}
		overrides[name] = value
	}
	return overrides, wrong
}

func nearestSetting(name string) string {
	var names []string
	for _, s := range settings {
		names = append(names, s.Name)
	}
	if near := sqlbuild.NearestName(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return "; known are " + strings.Join(names, ", ")
}

// tune applies the overrides of the gateway's settings.
func (o Overrides) tune(t Tuning) Tuning {
	for i := range settings {
		if v, ok := o[settings[i].Name]; ok && !settings[i].ofPlugin() {
			settings[i].set(&t, v)
		}
	}
	return t
}

// merge puts the overrides of the backend's settings into a config.
func (o Overrides) merge(config json.RawMessage) json.RawMessage {
	own := map[string]json.RawMessage{}
	for i := range settings {
		if v, ok := o[settings[i].Name]; ok && settings[i].ofPlugin() {
			own[settings[i].Name] = v
		}
	}
	keys := map[string]json.RawMessage{}
	if len(own) == 0 || len(config) > 0 && json.Unmarshal(config, &keys) != nil {
		return config
	}
	maps.Copy(keys, own)
	merged, err := json.Marshal(keys)
	if err != nil {
		return config // its members were JSON a moment ago
	}
	return merged
}

// Effective is a setting's value for a client, and where it comes from: "default", "config"
// or "client". The value of a backend's setting whose plugin does not run may be unknown: nil.
type Effective struct {
	Value  any    `json:"value"`
	Source string `json:"source"`
}

// Effective are the settings of a client that is there, by name. Settings that its backend
// does not know are left out.
func (r *Registry) Effective(name string) map[string]Effective {
	r.mu.Lock()
	overrides := r.overrides[name]
	d, _ := r.connection(name)
	r.mu.Unlock()
	var given map[string]json.RawMessage
	if len(d.Config) > 0 {
		_ = json.Unmarshal(d.Config, &given) // no object: then nothing is given
	}
	defaults := r.options.Host.ConfigDefaults(d.Backend)
	found := map[string]Effective{}
	for i := range settings {
		s := &settings[i]
		value, known := defaults[s.Name]
		own, isOwn := overrides[s.Name]
		inConfig, isGiven := given[s.Name]
		switch {
		case s.ofPlugin() && defaults != nil && !known && !isOwn:
		case isOwn:
			found[s.Name] = Effective{own, "client"}
		case !s.ofPlugin():
			source := "default"
			if r.options.Configured(s.Name) {
				source = "config"
			}
			found[s.Name] = Effective{s.value(&r.options.Tuning), source}
		case isGiven:
			found[s.Name] = Effective{inConfig, "config"}
		case value != nil:
			found[s.Name] = Effective{value, "default"}
		default:
			found[s.Name] = Effective{nil, "default"}
		}
	}
	return found
}

// permit refuses what the client's settings do not allow. A SQL text for a client that is
// read only is called a read: the backend holds it to that.
func (t *Tuning) permit(client string, call *sdk.Call) *sdk.Error {
	for i := range call.Statements {
		s := &call.Statements[i]
		if s.Verb == sdk.SQL && t.NoSQL {
			e := sdk.E(sdk.Forbidden, "sql_disabled", fmt.Sprintf("client %q executes no SQL texts", client)).
				WithHint("use fetch, insert, update and delete, or ask an operator to set sql_enabled for the client")
			e.Source = sdk.FromHost
			return e
		}
		if !t.ReadOnly {
			continue
		}
		if s.Verb == sdk.SQL && s.SQL.Intent == sdk.IntentUnknown {
			s.SQL.Intent = sdk.IntentRead
		}
		if !s.ReadOnly() {
			return errReadOnly(client)
		}
	}
	return nil
}

func errReadOnly(client string) *sdk.Error {
	e := sdk.E(sdk.Forbidden, "client_read_only", fmt.Sprintf("client %q is read only", client)).
		WithHint("an operator can change that: read_only in PUT /admin/client-configs/{client_name}")
	e.Source = sdk.FromHost
	return e
}

// explain says of an error of a backend that refused to write that the client is read only.
func (t *Tuning) explain(client string, e *sdk.Error) *sdk.Error {
	if e.Reason != "not_a_read" && e.Reason != "read_only" && e.Code != sqlstateReadOnly {
		return e
	}
	refused := errReadOnly(client)
	refused.Detail, refused.Source, refused.Executed = e.Message, e.Source, e.Executed
	return refused
}

// sqlstateReadOnly is read_only_sql_transaction.
const sqlstateReadOnly = "25006"
