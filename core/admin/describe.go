package admin

import (
	"math"
	"time"

	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/sdk"
)

// plugin is a plugin in an answer. What is unknown, or there is none of, is absent; numbers
// that count are there even when they are 0.
type plugin struct {
	Name         string        `json:"name"`
	State        string        `json:"state"`
	Version      string        `json:"version,omitempty"`
	Checksum     string        `json:"checksum,omitempty"`
	PID          int           `json:"pid,omitempty"`
	StartedAt    time.Time     `json:"started_at,omitzero"`
	Uptime       *float64      `json:"uptime_seconds,omitempty"`
	LogLevel     string        `json:"log_level,omitempty"`
	Instances    []instance    `json:"instances"`
	Calls        int           `json:"calls"`
	Waiting      int           `json:"waiting"`
	Restarts     uint64        `json:"restarts"`
	Failures     int           `json:"failures"`
	RetryAt      time.Time     `json:"retry_at,omitzero"`
	LastError    string        `json:"last_error,omitempty"`
	NotInUse     string        `json:"not_in_use,omitempty"`
	Finishing    int           `json:"finishing"`
	Exit         *exit         `json:"exit,omitempty"`
	LogsLost     uint64        `json:"logs_lost"`
	Memory       int64         `json:"memory_bytes,omitempty"`
	CPU          *float64      `json:"cpu_seconds,omitempty"`
	Limits       limits        `json:"limits,omitzero"`
	Capabilities *capabilities `json:"capabilities,omitempty"`
	Warning      string        `json:"warning,omitempty"`
}

// instance is a client that is open in a plugin, or is to be.
type instance struct {
	Client string `json:"client"`
	Open   bool   `json:"open"`
	Error  string `json:"error,omitempty"`
}

// exit is how a plugin's process ended.
type exit struct {
	Time        time.Time `json:"time"`
	Uptime      float64   `json:"uptime_seconds"`
	Code        *int      `json:"code,omitempty"`   // of one that exited by itself
	Signal      string    `json:"signal,omitempty"` // of one that did not
	OutOfMemory bool      `json:"out_of_memory"`
	Killed      bool      `json:"killed_by_gateway"`
	Why         string    `json:"why,omitempty"` // what the gateway noticed first
	Report      string    `json:"report"`        // all of it in words
	Output      []string  `json:"output"`        // the last lines, without secrets
}

type limits struct {
	Memory    int64  `json:"memory_bytes,omitempty"`
	OpenFiles uint64 `json:"open_files,omitempty"`
}

// capabilities are a plugin's abilities by name.
type capabilities struct {
	Verbs     []string `json:"verbs"`
	Operators []string `json:"operators"`
	Features  []string `json:"features"`
}

func describeAll(all []pluginhost.Status) []plugin {
	now := time.Now()
	list := make([]plugin, 0, len(all))
	for i := range all {
		list = append(list, describe(&all[i], now))
	}
	return list
}

func describe(s *pluginhost.Status, now time.Time) plugin {
	p := plugin{
		Name: s.Name, State: string(s.State), Version: s.Version, Checksum: s.Checksum, LogLevel: s.LogLevel, Instances: []instance{},
		Calls: s.Calls, Waiting: s.Waiting, Restarts: s.Restarts, Failures: s.Failures, RetryAt: stamp(s.RetryAt),
		LastError: s.LastError, NotInUse: s.NotInUse, Finishing: s.Finishing, LogsLost: s.LogsLost, Memory: s.Memory,
		Limits: limits{s.Limits.Memory, s.Limits.OpenFiles}, Warning: s.Warning,
	}
	if s.PID != 0 {
		uptime, cpu := seconds(now.Sub(s.Started)), math.Round(s.CPU*1000)/1000
		p.PID, p.StartedAt, p.Uptime, p.CPU = s.PID, stamp(s.Started), &uptime, &cpu
	}
	for _, i := range s.Instances {
		p.Instances = append(p.Instances, instance{i.Name, i.Open, i.Error})
	}
	if e := s.Exit; e != nil {
		p.Exit = &exit{Time: stamp(e.Time), Uptime: seconds(e.Uptime), Signal: e.Signal, OutOfMemory: e.OOM, Killed: e.Killed,
			Why: e.Why, Report: "plugin " + s.Name + " " + e.String(), Output: append([]string{}, e.Output...)}
		if e.Signal == "" {
			p.Exit.Code = &e.Code
		}
	}
	if s.Capabilities != nil {
		p.Capabilities = describeCapabilities(s.Capabilities)
	}
	return p
}

func describeCapabilities(c *sdk.Capabilities) *capabilities {
	d := &capabilities{Verbs: []string{}, Operators: []string{}, Features: []string{}}
	for _, verb := range c.Verbs {
		d.Verbs = append(d.Verbs, verb.String())
	}
	for _, operator := range c.Operators {
		d.Operators = append(d.Operators, string(operator))
	}
	for _, feature := range []struct {
		name string
		has  bool
	}{
		{"transactions", c.Transactions}, {"returning", c.Returning}, {"conflict", c.Conflict}, {"relations", c.Relations},
		{"json_paths", c.JSONPaths}, {"aggregates", c.Aggregates}, {"explain", c.Explain}, {"sessions", c.Sessions}, {"csv", c.CSV},
		{"geojson", c.GeoJSON}, {"raw", c.Raw}, {"sql_headers", c.SQLHeaders}, {"positions", c.Positions},
		{"ping", c.Ping}, {"introspect", c.Introspect},
	} {
		if feature.has {
			d.Features = append(d.Features, feature.name)
		}
	}
	return d
}

// stamp is a time as it is shown: UTC, to the millisecond.
func stamp(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
