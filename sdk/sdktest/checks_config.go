package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

var configChecks = []Check{
	{Name: "config/opens", Doc: "the target's config opens an instance, with its required keys alone too", Run: opensCheck},
	{Name: "config/required", Doc: "without any one required key, or with null for it, a config is Invalid", Run: configRefused(withoutRequired)},
	{Name: "config/unknown_key", Doc: "a config with an unknown key is Invalid", Run: configRefused(withUnknown)},
	{Name: "config/wrong_type", Doc: "a config with a value of a wrong type is Invalid", Run: configRefused(withWrongType)},
	{Name: "config/not_object", Doc: "a config that is no JSON object is Invalid", Run: configRefused(notObject)},
}

// configSchema is what the checks read of a config's JSON Schema.
type configSchema struct {
	Type                 string
	Properties           map[string]property
	Required             []string
	AdditionalProperties *bool
}

type property struct {
	Type      string
	Default   json.RawMessage
	WriteOnly bool
}

// connected gives f a connection and what the plugin says of itself.
func connected(ctx context.Context, t *Target, f func(*sdk.Remote, *sdk.Manifest, *configSchema) error) error {
	remote, disconnect, err := t.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer disconnect()
	manifest, err := remote.Describe(ctx)
	if err != nil {
		return err
	}
	var schema configSchema
	if err := json.Unmarshal(manifest.ConfigSchema, &schema); err != nil {
		return fmt.Errorf("the config schema is no JSON Schema object: %w", err)
	}
	return f(remote, manifest, &schema)
}

func manifestCheck(ctx context.Context, t *Target) error {
	return connected(ctx, t, func(remote *sdk.Remote, m *sdk.Manifest, schema *configSchema) error {
		config, err := t.config()
		switch {
		case err != nil:
			return err
		case m.Name == "" || m.Version == "" || m.SDK == "":
			return fmt.Errorf("name %q, version %q, SDK %q: none may be empty", m.Name, m.Version, m.SDK)
		case len(m.Capabilities.Verbs) == 0:
			return errors.New("no verb is declared")
		case schema.Type != "object":
			return fmt.Errorf("the config schema's type is %q, want object", schema.Type)
		case schema.AdditionalProperties == nil || *schema.AdditionalProperties:
			return errors.New("the config schema lets unknown keys pass: additionalProperties must be false")
		}
		for _, key := range schema.Required {
			if _, ok := schema.Properties[key]; !ok {
				return fmt.Errorf("the config schema requires %q, which is none of its properties", key)
			}
		}
		for key, p := range schema.Properties {
			if len(p.Default) > 0 && jsonType(p.Default) != p.Type && (jsonType(p.Default) != "integer" || p.Type != "number") {
				return fmt.Errorf("the default of %q is %s, but its type is %s", key, p.Default, p.Type)
			}
		}
		for key := range config {
			if _, ok := schema.Properties[key]; !ok {
				return fmt.Errorf("the config schema does not know %q of the target's config", key)
			}
		}
		again, err := remote.Describe(ctx)
		if err != nil {
			return fmt.Errorf("describe again: %w", err)
		}
		if !reflect.DeepEqual(m, again) {
			return fmt.Errorf("it describes itself as %+v, and then as %+v", m, again)
		}
		return nil
	})
}

func configRequiredCheck(ctx context.Context, t *Target) error {
	return connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, schema *configSchema) error {
		good, err := t.config()
		if err != nil {
			return err
		}
		for _, key := range schema.Required {
			err := openUnfit(ctx, remote, withoutKey(good, key))
			switch {
			case err == nil:
				return fmt.Errorf("a config without %q was accepted", key)
			case broken(err) || sdk.AsError(err).Kind == sdk.Internal:
				return fmt.Errorf("a config without %q: %w", key, err)
			case !strings.Contains(err.Error(), key):
				return fmt.Errorf("a config without %q: the error does not name the key: %w", key, err)
			}
		}
		return nil
	})
}

func configUnfitCheck(ctx context.Context, t *Target) error {
	return connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, schema *configSchema) error {
		good, err := t.config()
		if err != nil {
			return err
		}
		for _, damage := range []func(*configSchema, configValues) map[string]any{withUnknown, withWrongType, notObject} {
			for what, config := range damage(schema, good) {
				err := openUnfit(ctx, remote, config)
				if broken(err) || err != nil && sdk.AsError(err).Kind == sdk.Internal {
					return fmt.Errorf("a config %s: %w", what, err)
				}
			}
		}
		_, err = remote.OpenInstance(ctx, instanceName, 1, []byte(`{"`))
		if broken(err) {
			return fmt.Errorf("a config that is no JSON: %w", err)
		}
		if _, err := remote.OpenInstance(ctx, instanceName, 2, t.Config); err != nil {
			return fmt.Errorf("the target's config afterwards: %w", err)
		}
		return nil
	})
}

// jsonType names a value's type as JSON Schema does.
func jsonType(value json.RawMessage) string {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return "nothing"
	}
	switch n := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if n == float64(int64(n)) {
			return "integer"
		}
		return "number"
	}
	return "null"
}

// configValues is a config: a JSON object.
type configValues map[string]json.RawMessage

func (t *Target) config() (configValues, error) {
	config := configValues{}
	if len(t.Config) == 0 {
		return config, nil
	}
	if err := json.Unmarshal(t.Config, &config); err != nil {
		return nil, fmt.Errorf("the target's config: %w", err)
	}
	return config, nil
}

func opensCheck(ctx context.Context, t *Target) error {
	return connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, schema *configSchema) error {
		config, err := t.config()
		if err != nil {
			return err
		}
		maps.DeleteFunc(config, func(key string, _ json.RawMessage) bool { return !slices.Contains(schema.Required, key) })
		least, err := json.Marshal(config)
		if err != nil {
			return err
		}
		for i, config := range []json.RawMessage{t.Config, least} {
			generation := uint64(i + 1)
			capabilities, err := remote.OpenInstance(ctx, instanceName, generation, config)
			if err != nil {
				return err
			}
			if capabilities.Ping {
				if err := remote.Ping(ctx, instanceName, generation); err != nil {
					return fmt.Errorf("ping: %w", err)
				}
			}
			if err := remote.CloseInstance(ctx, instanceName, generation); err != nil {
				return fmt.Errorf("close: %w", err)
			}
		}
		return nil
	})
}

// configRefused opens instances with the configs that damage makes of the target's: every
// one must be Invalid.
func configRefused(damage func(*configSchema, configValues) map[string]any) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		return connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, schema *configSchema) error {
			good, err := t.config()
			if err != nil {
				return err
			}
			for what, value := range damage(schema, good) {
				config, err := json.Marshal(value)
				if err != nil {
					return err
				}
				_, err = remote.OpenInstance(ctx, instanceName, 1, config)
				if err := wantError(err, sdk.Invalid, ""); err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
			}
			return nil
		})
	}
}

// openUnfit opens an instance with a config that may be refused, and closes it if it is
// not.
func openUnfit(ctx context.Context, remote *sdk.Remote, value any) error {
	config, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := remote.OpenInstance(ctx, "athena_unfit", 1, config); err != nil {
		return err
	}
	return remote.CloseInstance(ctx, "athena_unfit", 1)
}

func withoutKey(config configValues, key string) configValues {
	config = maps.Clone(config)
	delete(config, key)
	return config
}

func withKey(config configValues, key, value string) configValues {
	config = maps.Clone(config)
	config[key] = json.RawMessage(value)
	return config
}

func withoutRequired(schema *configSchema, good configValues) map[string]any {
	configs := map[string]any{}
	for _, key := range schema.Required {
		configs["without "+key] = withoutKey(good, key)
		configs["with null for "+key] = withKey(good, key, "null")
	}
	return configs
}

func withUnknown(_ *configSchema, good configValues) map[string]any {
	return map[string]any{"with athena_unknown": withKey(good, "athena_unknown", "1")}
}

func withWrongType(schema *configSchema, good configValues) map[string]any {
	configs := map[string]any{}
	for key, p := range schema.Properties {
		wrong := `[{"a":[]}]`
		if p.Type == "array" {
			wrong = `5`
		}
		configs["with "+wrong+" for "+key] = withKey(good, key, wrong)
	}
	return configs
}

func notObject(*configSchema, configValues) map[string]any {
	return map[string]any{"an array": []int{}, "a text": "text", "a number": 5}
}
