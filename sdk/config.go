package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ConfigSchema derives a JSON Schema (draft 2020-12) from a config struct, and the
// names of its secrets. Field names are the json tags. The athena tag lists, separated by
// commas: required, secret, path (relative paths start at the gateway's config file),
// default=V, enum=A|B, and last doc=TEXT, which may hold commas. Fields are strings,
// booleans, integers, floats, time.Duration (text such as 30s), slices of strings, maps of strings.
func ConfigSchema[C any]() (schema json.RawMessage, secrets []string) {
	t := reflect.TypeFor[C]()
	properties := map[string]any{}
	required := []string{}
	for _, f := range configFields(t) {
		p := map[string]any{}
		switch {
		case f.kind == reflect.TypeFor[time.Duration]():
			p["type"], p["pattern"] = "string", durationPattern
		case f.kind.Kind() == reflect.Bool:
			p["type"] = "boolean"
		case f.kind.Kind() >= reflect.Int && f.kind.Kind() <= reflect.Uint64:
			p["type"] = "integer"
		case f.kind.Kind() == reflect.Float32, f.kind.Kind() == reflect.Float64:
			p["type"] = "number"
		case f.kind.Kind() == reflect.Slice:
			p["type"], p["items"] = "array", map[string]any{"type": "string"}
		case f.kind.Kind() == reflect.Map:
			p["type"], p["additionalProperties"] = "object", map[string]any{"type": "string"}
		default:
			p["type"] = "string"
		}
		if f.doc != "" {
			p["description"] = f.doc
		}
		if f.secret {
			p["writeOnly"] = true
			secrets = append(secrets, f.name)
		}
		if f.path {
			p["format"] = "path"
		}
		if f.enum != nil {
			p["enum"] = f.enum
		}
		if f.def != "" {
			p["default"] = json.RawMessage(f.defaultJSON())
		}
		if f.required {
			required = append(required, f.name)
			if p["type"] == "string" {
				p["minLength"] = 1
			}
		}
		properties[f.name] = p
	}
	schema, err := json.Marshal(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"type":                 "object",
		"properties":           properties,
		"required":             required,
		"additionalProperties": false,
	})
	if err != nil {
		panic(fmt.Sprintf("config %s: %v", t, err)) // a default that is no JSON: a mistake of the plugin's author
	}
	return schema, secrets
}

// durationPattern is what time.ParseDuration reads.
const durationPattern = `^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$`

// configField is one field of a config struct as its tags describe it.
type configField struct {
	name, def, doc         string
	required, secret, path bool
	enum                   []string
	kind                   reflect.Type
	index                  int
}

func (f configField) defaultJSON() string {
	if f.kind.Kind() == reflect.String || f.kind == reflect.TypeFor[time.Duration]() {
		return strconv.Quote(f.def)
	}
	return f.def
}

func configFields(t reflect.Type) []configField {
	var fields []configField
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(sf.Name)
		}
		f := configField{name: name, kind: sf.Type, index: i}
		rest := sf.Tag.Get("athena")
		for rest != "" {
			if doc, ok := strings.CutPrefix(rest, "doc="); ok {
				f.doc = doc
				break
			}
			var word string
			word, rest, _ = strings.Cut(rest, ",")
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "required":
				f.required = true
			case "secret":
				f.secret = true
			case "path":
				f.path = true
			case "default":
				f.def = value
			case "enum":
				f.enum = strings.Split(value, "|")
			default:
				panic(fmt.Sprintf("config %s.%s: unknown word %q in its athena tag", t, sf.Name, key))
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// decodeConfig reads a config that the schema has accepted: defaults first, durations
// from text.
func decodeConfig[C any](raw json.RawMessage) (C, error) {
	var config C
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &given); err != nil {
			return config, E(Invalid, "invalid_config", "the config is not a JSON object")
		}
	}
	v := reflect.ValueOf(&config).Elem()
	for _, f := range configFields(v.Type()) {
		value, ok := given[f.name]
		delete(given, f.name)
		ok = ok && string(value) != "null"
		switch {
		case !ok && f.required:
			return config, E(Invalid, "invalid_config", fmt.Sprintf("the config lacks %q", f.name))
		case !ok && f.def == "":
			continue
		case !ok:
			value = json.RawMessage(f.defaultJSON())
		}
		target := v.Field(f.index)
		if f.kind == reflect.TypeFor[time.Duration]() {
			var text string
			d, err := time.Duration(0), json.Unmarshal(value, &text)
			if err == nil {
				d, err = time.ParseDuration(text)
			}
			if err != nil {
				return config, E(Invalid, "invalid_config", fmt.Sprintf("config key %q must be a duration such as 30s", f.name))
			}
			target.SetInt(int64(d))
			continue
		}
		if err := json.Unmarshal(value, target.Addr().Interface()); err != nil {
			return config, E(Invalid, "invalid_config", fmt.Sprintf("config key %q must be a %s", f.name, f.kind))
		}
		if f.kind.Kind() != reflect.String {
			continue
		}
		if f.enum != nil && !slices.Contains(f.enum, target.String()) {
			return config, E(Invalid, "invalid_config", fmt.Sprintf("config key %q must be one of %s", f.name, strings.Join(f.enum, ", ")))
		}
		if f.required && target.String() == "" {
			return config, E(Invalid, "invalid_config", fmt.Sprintf("config key %q must not be empty", f.name))
		}
	}
	for name := range given {
		return config, E(Invalid, "invalid_config", fmt.Sprintf("the config has an unknown key %q", name))
	}
	return config, nil
}
