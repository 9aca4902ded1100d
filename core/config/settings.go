package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// setting is one key outside the clients: its default and how a value reaches the Config.
type setting struct {
	key   string
	value any                          // default
	set   func(c *Config, v any) error // the error says what is wanted, without the value
}

var settings = []setting{
	text("api.host", "127.0.0.1", func(c *Config) *string { return &c.API.Host }),
	number("api.port", 4052, 0, 65535, func(c *Config, n int) { c.API.Port = n }),
	boolean("api.allow_open", false, func(c *Config) *bool { return &c.API.AllowOpen }),
	boolean("api.enforce_api_keys", false, func(c *Config) *bool { return &c.API.EnforceAPIKeys }),
	text("api.admin_key_file", "", func(c *Config) *string { return &c.API.AdminKeyFile }),
	number("api.body_limit_mb", 64, 1, 1024, func(c *Config, n int) { c.API.BodyLimit = n << 20 }),
	number("api.shutdown_delay_secs", 0, 0, 3600, func(c *Config, n int) {
		c.API.ShutdownDelay = time.Duration(n) * time.Second
	}),
	number("api.shutdown_timeout_secs", 30, 1, 3600, func(c *Config, n int) {
		c.API.ShutdownTimeout = time.Duration(n) * time.Second
	}),
	text("api.wildcard_host_pattern", "", func(c *Config) *string { return &c.API.HostDomain }),
	boolean("api.wildcard_host_routing_enabled", true, func(c *Config) *bool { return &c.API.HostRouting }),
	number("api.health_timeout_secs", 5, 1, 60, func(c *Config, n int) {
		c.API.HealthTimeout = time.Duration(n) * time.Second
	}),
	text("plugins.dir", "bin/plugins", func(c *Config) *string { return &c.Plugins.Dir }),
	oneOf("plugins.verify", "dev", func(c *Config) *string { return &c.Plugins.Verify }, "strict", "warn", "dev"),
	number("plugins.memory_mb", 0, 0, maxMemoryMB, func(c *Config, n int) { c.Plugins.Limits.Memory = int64(n) << 20 }),
	number("plugins.open_files", 0, 0, maxOpenFiles, func(c *Config, n int) { c.Plugins.Limits.OpenFiles = n }),
	{"plugins.pass_env", []any{}, setPassEnv},
	{"plugins.limits", map[string]any{}, setPluginLimits},
	text("ledger.uri", "sqlite://data/athena.db", func(c *Config) *string { return &c.Ledger.URI }),
	text("redis.url", "", func(c *Config) *string { return (*string)(&c.Redis.URL) }),
	boolean("ledger.operation_log", true, func(c *Config) *bool { return &c.Ledger.OperationLog }),
	number("ledger.operation_log_days", 30, 0, 36500, func(c *Config, n int) { c.Ledger.OperationLogKept = days(n) }),
	number("ledger.auth_log_days", 90, 0, 36500, func(c *Config, n int) { c.Ledger.AuthLogKept = days(n) }),
	number("ledger.audit_log_days", 0, 0, 36500, func(c *Config, n int) { c.Ledger.AuditLogKept = days(n) }),
	{"provision.allowed_hosts", []any{"localhost", "127.0.0.0/8", "::1"}, setAllowedHosts},
	boolean("ledger.allow_plaintext_secrets", false, func(c *Config) *bool { return &c.Ledger.AllowPlaintextSecrets }),
	text("gateway.default_client", "", func(c *Config) *string { return &c.Gateway.DefaultClient }),
	number("gateway.resilience_timeout_secs", 30, 1, 86400, func(c *Config, n int) {
		c.Gateway.ResilienceTimeout = time.Duration(n) * time.Second
	}),
	number("gateway.resilience_read_max_retries", 1, 0, 10, func(c *Config, n int) {
		c.Gateway.ResilienceReadMaxRetries = n
	}),
	number("gateway.resilience_initial_backoff_ms", 100, 0, 60000, func(c *Config, n int) {
		c.Gateway.ResilienceInitialBackoff = time.Duration(n) * time.Millisecond
	}),
	oneOf("log.level", "info", func(c *Config) *string { return &c.Log.Level }, "debug", "info", "warn", "error"),
	oneOf("log.format", "text", func(c *Config) *string { return &c.Log.Format }, "text", "json"),
}

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// shortNames are the environment variables that do not spell their key.
var shortNames = map[string]string{
	"ATHENA_HOST":        "api.host",
	"ATHENA_PORT":        "api.port",
	"ATHENA_LEDGER_URI":  "ledger.uri",
	"ATHENA_REDIS_URL":   "redis.url",
	"ATHENA_PLUGINS_DIR": "plugins.dir",
	"ATHENA_LOG_LEVEL":   "log.level",
	"ATHENA_LOG_FORMAT":  "log.format",

	"ATHENA_WILDCARD_HOST_PATTERN":         "api.wildcard_host_pattern",
	"ATHENA_WILDCARD_HOST_ROUTING_ENABLED": "api.wildcard_host_routing_enabled",
}

func settingKeys() []string {
	var keys []string
	for _, s := range settings {
		keys = append(keys, s.key)
	}
	return keys
}

// sections are the first parts of the keys.
func sections() []string {
	var names []string
	for _, s := range settings {
		section, _, _ := strings.Cut(s.key, ".")
		if !slices.Contains(names, section) {
			names = append(names, section)
		}
	}
	return names
}

// applyLayers merges defaults, file, environment and flags, all by dotted key, and fills c.
func (c *Config) applyLayers(file map[string]any, env environ, flags map[string]string) error {
	defaults, flagValues := map[string]any{}, map[string]any{}
	for _, s := range settings {
		defaults[s.key] = s.value
	}
	origin := map[string]string{} // where a value of the two upper layers comes from
	fromEnv, err := env.settings(origin)
	if err != nil {
		return err
	}
	for key, value := range flags {
		if !slices.Contains(settingKeys(), key) {
			return fmt.Errorf("flag for %s: unknown key", key)
		}
		flagValues[key], origin[key] = value, "a flag"
	}
	k := koanf.New(".")
	for _, layer := range []map[string]any{defaults, file, fromEnv, flagValues} {
		if err := k.Load(confmap.Provider(layer, "."), nil); err != nil {
			return err
		}
	}
	for _, layer := range []map[string]any{file, fromEnv, flagValues} {
		for key := range layer {
			if c.Given == nil {
				c.Given = map[string]bool{}
			}
			c.Given[key] = true
		}
	}
	var mistakes []error
	for _, s := range settings {
		if err := s.set(c, k.Get(s.key)); err != nil {
			where := s.key
			if from := origin[s.key]; from != "" {
				where += " (from " + from + ")"
			}
			mistakes = append(mistakes, fmt.Errorf("%s: %w", where, err))
		}
	}
	return errors.Join(mistakes...)
}

// settings returns the keys that the environment sets.
func (e environ) settings(origin map[string]string) (map[string]any, error) {
	values := map[string]any{}
	for name, key := range shortNames {
		if value, ok := e[name]; ok {
			values[key], origin[key] = value, name
		}
	}
	var mistakes []error
	for name, value := range e {
		rest, ok := strings.CutPrefix(name, "ATHENA_")
		if !ok || !strings.Contains(rest, "__") {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "__", "."))
		section, _, _ := strings.Cut(key, ".")
		switch {
		case slices.Contains(settingKeys(), key):
			values[key], origin[key] = value, name
		case section == "clients" || section == "postgres_clients":
			mistakes = append(mistakes, fmt.Errorf("%s: clients are defined in the file alone; write ${VAR} there", name))
		default:
			hint := nearest(key, settingKeys())
			mistakes = append(mistakes, fmt.Errorf("%s: unknown key %s%s", name, key, didYouMean(variableName(hint))))
		}
	}
	slices.SortFunc(mistakes, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return values, errors.Join(mistakes...)
}

func variableName(key string) string {
	if key == "" {
		return ""
	}
	return "ATHENA_" + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

func text(key, value string, field func(*Config) *string) setting {
	return setting{key, value, func(c *Config, v any) error {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("want a text, not a %s", kind(v))
		}
		*field(c) = s
		return nil
	}}
}

func oneOf(key, value string, field func(*Config) *string, words ...string) setting {
	return setting{key, value, func(c *Config, v any) error {
		s, _ := v.(string)
		if !slices.Contains(words, s) {
			return fmt.Errorf("want one of %s%s", strings.Join(words, ", "), didYouMean(nearest(s, words)))
		}
		*field(c) = s
		return nil
	}}
}

func boolean(key string, value bool, field func(*Config) *bool) setting {
	return setting{key, value, func(c *Config, v any) error {
		switch v {
		case true, "true":
			*field(c) = true
		case false, "false":
			*field(c) = false
		default:
			return errors.New("want true or false")
		}
		return nil
	}}
}

// number takes an integer of YAML, or its text as variables and flags bring it.
func number(key string, value, low, high int, set func(*Config, int)) setting {
	return setting{key, value, func(c *Config, v any) error {
		n, err := wholeNumber(v, low, high)
		if err == nil {
			set(c, n)
		}
		return err
	}}
}

func wholeNumber(v any, low, high int) (int, error) {
	n := int64(math.MinInt64)
	switch v := v.(type) {
	case int:
		n = int64(v)
	case int64:
		n = v
	case string:
		if parsed, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			n = parsed
		}
	}
	if n < int64(low) || n > int64(high) {
		return 0, fmt.Errorf("want a whole number from %d to %d", low, high)
	}
	return int(n), nil
}

// kind names the type of a value of the file for a message.
func kind(v any) string {
	switch v.(type) {
	case map[string]any, map[any]any:
		return "mapping"
	case []any:
		return "list"
	case string:
		return "text"
	case bool:
		return "true or false"
	case time.Time:
		return "date"
	default:
		return "number"
	}
}

// setAllowedHosts reads a list, or a text with commas.
func setAllowedHosts(c *Config, v any) error {
	list, ok := v.([]any)
	if text, isText := v.(string); isText {
		for host := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(host))
		}
	} else if !ok {
		return errors.New("want a list of hosts, such as [db.example.com, 10.0.0.0/8]")
	}
	for _, item := range list {
		host, _ := item.(string)
		if host == "" {
			return errors.New("want names of hosts, addresses, ranges such as 10.0.0.0/8, or folders of sockets")
		}
		c.Provision.AllowedHosts = append(c.Provision.AllowedHosts, host)
	}
	return nil
}
