package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// A configSchema is the JSON Schema of a plugin's configs, ready to check one.
type configSchema struct {
	schema     *jsonschema.Schema
	properties map[string]property
	names      []string // of the properties, sorted
}

// property is what the host itself must know of a config key.
type property struct {
	Format    string          `json:"format"`
	WriteOnly bool            `json:"writeOnly"` // a secret
	Default   json.RawMessage `json:"default"`
}

// schema is that of a backend's configs, nil unless its plugin runs.
func (h *Host) schema(backend string) *configSchema {
	p := h.known(backend)
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return nil
	}
	return p.process.schema
}

// ConfigDefaults are the keys of a backend's configs with their defaults, nil for a key without
// one. The map is nil unless the backend's plugin runs.
func (h *Host) ConfigDefaults(backend string) map[string]json.RawMessage {
	schema := h.schema(backend)
	if schema == nil {
		return nil
	}
	defaults := make(map[string]json.RawMessage, len(schema.properties))
	for name, property := range schema.properties {
		defaults[name] = property.Default
	}
	return defaults
}

// RedactConfig is a config to be shown: with *** for its secrets, for texts that look like
// addresses or assignments, and for every value while the backend's plugin does not run or the
// config does not fit its schema.
func (h *Host) RedactConfig(backend string, config json.RawMessage) json.RawMessage {
	schema := h.schema(backend)
	if schema != nil {
		if _, _, err := schema.prepare(config, ""); err != nil {
			schema = nil
		}
	}
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil || values == nil {
		return json.RawMessage("{}")
	}
	for name, value := range values {
		if schema != nil && !schema.properties[name].WriteOnly {
			switch value := value.(type) {
			case bool, json.Number, nil:
				continue
			case string:
				if !strings.ContainsAny(value, ":=@") {
					continue
				}
			}
		}
		values[name] = "***"
	}
	shown, err := json.Marshal(values)
	if err != nil {
		return json.RawMessage("{}")
	}
	return shown
}

// CheckConfig checks a config as Open does, which starts the plugin if need be, but opens
// nothing. secret says that the config holds a secret.
func (h *Host) CheckConfig(ctx context.Context, backend string, config json.RawMessage) (secret bool, err error) {
	p, err := h.plugin(backend)
	if err != nil {
		return false, err
	}
	proc, err := p.ready(ctx)
	if err != nil {
		return false, err
	}
	_, secrets, err := proc.schema.prepare(config, h.options.ConfigDir)
	return len(secrets) > 0, err
}

// compileSchema reads a manifest's config schema. An empty one accepts any object.
func compileSchema(raw json.RawMessage) (*configSchema, error) {
	if len(raw) == 0 {
		raw = json.RawMessage(`{"type":"object"}`)
	}
	var top struct {
		Properties map[string]property `json:"properties"`
	}
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file and no network
	if err := c.AddResource("config", doc); err != nil {
		return nil, err
	}
	schema, err := c.Compile("config")
	if err != nil {
		return nil, err
	}
	s := &configSchema{schema: schema, properties: top.Properties}
	for name := range top.Properties {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return s, nil
}

// prepare checks a config and returns it with its relative paths resolved against dir,
// and its secrets. Its errors name keys, never values.
func (s *configSchema) prepare(config json.RawMessage, dir string) (json.RawMessage, []string, error) {
	if len(bytes.TrimSpace(config)) == 0 {
		config = json.RawMessage("{}")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return nil, nil, invalidConfig("the config is not valid JSON")
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, nil, invalidConfig("the config must be a JSON object")
	}
	if err := s.schema.Validate(doc); err != nil {
		var failed *jsonschema.ValidationError
		if !errors.As(err, &failed) {
			return nil, nil, invalidConfig("the config does not fit the plugin's schema")
		}
		messages := s.explain(failed, nil)
		slices.Sort(messages)
		return nil, nil, invalidConfig(strings.Join(slices.Compact(messages), "; "))
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(config, &keys); err != nil {
		return nil, nil, invalidConfig("the config is not valid JSON")
	}
	s.resolvePaths(keys, dir)
	resolved, err := json.Marshal(keys)
	if err != nil {
		return nil, nil, invalidConfig("the config is not valid JSON")
	}
	return resolved, s.secrets(doc.(map[string]any)), nil
}

func invalidConfig(message string) error {
	e := sdk.E(sdk.Invalid, "invalid_config", message)
	e.Source = sdk.FromHost
	return e
}

// resolvePaths makes the values of format path absolute, defaults too. What starts with a
// colon, such as SQLite's :memory:, or is a URL is no path.
func (s *configSchema) resolvePaths(keys map[string]json.RawMessage, dir string) {
	for name, p := range s.properties {
		if p.Format != "path" {
			continue
		}
		value, ok := keys[name]
		if !ok {
			value = p.Default
		}
		var path string
		if json.Unmarshal(value, &path) != nil || path == "" || filepath.IsAbs(path) ||
			strings.HasPrefix(path, ":") || strings.Contains(path, "://") {
			continue
		}
		if absolute, err := filepath.Abs(filepath.Join(dir, path)); err == nil {
			keys[name], _ = json.Marshal(absolute)
		}
	}
}

// explain turns the leaves of a validation error into sentences.
func (s *configSchema) explain(e *jsonschema.ValidationError, messages []string) []string {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			messages = s.explain(cause, messages)
		}
		return messages
	}
	at := strings.Join(e.InstanceLocation, ".")
	key := fmt.Sprintf("config key %q", at)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			messages = append(messages, fmt.Sprintf("config key %q is missing", below(at, name)))
		}
		return messages
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			messages = append(messages, s.unknownKey(at, name))
		}
		return messages
	case *kind.Type:
		return append(messages, fmt.Sprintf("%s must be %s, not %s", key, strings.Join(k.Want, " or "), k.Got))
	case *kind.Enum:
		allowed := make([]string, len(k.Want))
		for i, v := range k.Want {
			allowed[i] = fmt.Sprint(v)
		}
		return append(messages, fmt.Sprintf("%s must be one of %s", key, strings.Join(allowed, ", ")))
	case *kind.MinLength:
		if k.Want == 1 {
			return append(messages, key+" must not be empty")
		}
		return append(messages, fmt.Sprintf("%s must have at least %d characters", key, k.Want))
	case *kind.MaxLength:
		return append(messages, fmt.Sprintf("%s must have at most %d characters", key, k.Want))
	case *kind.Minimum:
		return append(messages, fmt.Sprintf("%s must be at least %s", key, k.Want.RatString()))
	case *kind.Maximum:
		return append(messages, fmt.Sprintf("%s must be at most %s", key, k.Want.RatString()))
	default:
		return append(messages, fmt.Sprintf("%s does not fit the plugin's schema (%s)", key, strings.Join(k.KeywordPath(), ".")))
	}
}

func (s *configSchema) unknownKey(at, name string) string {
	message := fmt.Sprintf("unknown key %q", below(at, name))
	if at != "" {
		return message
	}
	if near := sqlbuild.NearestName(name, s.names); near != "" {
		return message + fmt.Sprintf("; did you mean %q?", near)
	}
	if len(s.names) > 0 {
		message += "; known are " + strings.Join(s.names, ", ")
	}
	return message
}

func below(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
