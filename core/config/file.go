package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// legacy lists keys of earlier Athena servers that mean nothing here; a star ends a prefix.
// They are warned of, so that an old file still starts.
var legacy = []string{
	"gateway.admission_*", "gateway.deferred_*", "gateway.force_camel_case_to_snake_case",
	"gateway.logging_client", "gateway.auth_client", "gateway.database_backend",
	"logging.*", "logging_client", "logging_client_name", "auth.*", "auth_client", "auth_client_name",
	"redis_url", "cache.*", "camel_case_to_snake_case", "force_camel_case_to_snake_case",
}

var clientName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

const clientNameRule = "1 to 128 letters, digits, dots, dashes and underscores"

// file is what one config.yaml says.
type file struct {
	settings map[string]any // by dotted key
	clients  []Client
	warnings []string

	lookup   func(string) (string, bool)
	mistakes []error
}

// parseFile reads YAML. It reports every mistake, each with its key, beside what could be
// read; the file is nil if it is no YAML.
func parseFile(data []byte, lookup func(string) (string, bool)) (*file, error) {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(data), yaml.Parser()); err != nil {
		if strings.Contains(err.Error(), "cannot unmarshal") { // its text would quote the file
			err = errors.New("want a mapping of sections, such as api: {port: 4052}")
		}
		return nil, err
	}
	f := &file{settings: map[string]any{}, lookup: lookup}
	root := k.Raw()
	for _, name := range slices.Sorted(maps.Keys(root)) {
		f.section(name, root[name])
	}
	slices.SortFunc(f.clients, func(a, b Client) int { return strings.Compare(a.Name, b.Name) })
	return f, errors.Join(f.mistakes...)
}

func (f *file) mistake(key, format string, args ...any) {
	f.mistakes = append(f.mistakes, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

// section reads one top-level key.
func (f *file) section(name string, value any) {
	isClients := name == "clients" || name == "postgres_clients"
	if !isClients && !slices.Contains(sections(), name) {
		f.unknown(name)
		return
	}
	if value == nil {
		return // a key with nothing after it
	}
	entries, ok := f.entries(name, value)
	if !ok {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		path, value := name+"."+key, entries[key]
		switch {
		case isClients:
			f.client(name, key, value)
		case !slices.Contains(settingKeys(), path):
			f.unknown(path)
		case value != nil:
			f.settings[path] = f.settingValue(path, value)
		}
	}
}

// entries reads a mapping, or the list of one-key mappings that older files use for it.
func (f *file) entries(name string, value any) (map[string]any, bool) {
	list, isList := value.([]any)
	if !isList {
		m, ok := value.(map[string]any)
		if !ok {
			f.mistake(name, "want a mapping, not a %s", kind(value))
		}
		return m, ok
	}
	all := map[string]any{}
	for i, item := range list {
		m, ok := plain(item).(map[string]any)
		if !ok || len(m) != 1 {
			f.mistake(fmt.Sprintf("%s[%d]", name, i), "want a mapping with one key")
			return nil, false
		}
		for key, value := range m {
			if _, twice := all[key]; twice {
				f.mistake(name+"."+key, "is there twice")
			}
			all[key] = value
		}
	}
	return all, true
}

// unknown warns of a key of earlier servers and refuses any other.
func (f *file) unknown(path string) {
	for _, old := range legacy {
		prefix, isPrefix := strings.CutSuffix(old, "*")
		if path == old || isPrefix && strings.HasPrefix(path+".", prefix) {
			f.warnings = append(f.warnings, path+": a key of earlier versions, which has no effect here")
			return
		}
	}
	known := append(settingKeys(), sections()...)
	known = append(known, "clients", "postgres_clients")
	if section, key, ok := strings.Cut(path, "."); ok && slices.Contains(known, path) {
		f.mistake(path, "write it nested, as %s: {%s: ...}", section, key)
		return
	}
	f.mistake(path, "unknown key%s", didYouMean(nearest(path, known)))
}

// settingValue expands the variables of one setting.
func (f *file) settingValue(path string, value any) any {
	return eachText(path, value, func(path, text string) string {
		out, missing, err := expand(text, f.lookup)
		if err != nil {
			f.mistake(path, "%v", err)
		}
		for _, name := range missing {
			f.mistake(path, "the environment variable %s is not set; set it, or write ${%s:-default}", name, name)
		}
		return out
	})
}

// eachText is value with every text in it, however deep, replaced by what f makes of it. f gets
// the text's path too: lists count as a.b[0].
func eachText(path string, value any, f func(path, text string) string) any {
	switch value := plain(value).(type) {
	case string:
		return f(path, value)
	case map[string]any:
		out := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			out[key] = eachText(path+"."+key, value[key], f)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, item := range value {
			out[i] = eachText(fmt.Sprintf("%s[%d]", path, i), item, f)
		}
		return out
	default:
		return value
	}
}

// client reads one entry of clients or postgres_clients.
func (f *file) client(section, name string, value any) {
	path := section + "." + name
	if strings.HasPrefix(name, "ath_") && strings.Contains(name, ".") { // it may be a secret
		f.mistake(section+".ath_…", "a client's name has not the form of an API key, ath_ and later a point: names are shown and logged. Take another")
		return
	}
	if !clientName.MatchString(name) {
		f.mistake(path, "a client's name is %s", clientNameRule)
		return
	}
	if slices.ContainsFunc(f.clients, func(c Client) bool { return c.Name == name }) {
		f.mistake(path, "there is a client of this name in clients already")
		return
	}
	c := Client{Name: name, Backend: "postgres"}
	values := &clientValues{file: f}
	var config any
	if section == "clients" {
		backend, body, ok := f.clientBody(path, value)
		if !ok {
			return
		}
		c.Template, _ = body["uri"].(string)
		c.Backend, config = backend, values.expand(path+".config", body)
	} else {
		var isText bool
		if c.Template, isText = value.(string); !isText {
			f.mistake(path, `want a connection URI as text, such as "postgres://user@host/database"`)
			return
		}
		config = map[string]any{"uri": values.expand(path, value)}
	}
	raw, err := json.Marshal(config)
	if err != nil { // .nan and .inf
		f.mistake(path+".config", "holds a number that JSON does not have")
		return
	}
	if len(values.missing) > 0 {
		c.Problem = "set " + strings.Join(values.missing, ", ") + ", and start again"
	} else {
		c.Config = raw
	}
	f.clients = append(f.clients, c)
}

// clientBody reads {backend: NAME, config: {...}}.
func (f *file) clientBody(path string, value any) (backend string, config map[string]any, ok bool) {
	body, ok := value.(map[string]any)
	if !ok {
		f.mistake(path, "want a mapping such as {backend: sqlite, config: {path: data/demo.db}}")
		return "", nil, false
	}
	before := len(f.mistakes)
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if key != "backend" && key != "config" {
			f.mistake(path+"."+key, "unknown key%s", didYouMean(nearest(path+"."+key, []string{path + ".backend", path + ".config"})))
		}
	}
	backend, _ = body["backend"].(string)
	if backend == "" {
		f.mistake(path+".backend", "want the name of a plugin, such as sqlite or postgres")
	}
	config, isMap := body["config"].(map[string]any)
	if !isMap && body["config"] != nil {
		f.mistake(path+".config", "want a mapping of the backend's own keys")
	}
	if config == nil {
		config = map[string]any{}
	}
	return backend, config, len(f.mistakes) == before
}

// clientValues expands a client's config and collects the variables it lacks.
type clientValues struct {
	file    *file
	missing []string // "the environment variable X (in clients.a.config.uri)"
}

func (c *clientValues) expand(path string, value any) any {
	return eachText(path, value, func(path, text string) string {
		out, missing, err := expand(text, c.file.lookup)
		if err != nil {
			c.file.mistake(path, "%v", err)
		}
		for _, name := range missing {
			c.missing = append(c.missing, fmt.Sprintf("the environment variable %s (used by %s)", name, path))
		}
		return out
	})
}

// plain gives a mapping whose keys are not all texts the type of the others.
func plain(value any) any {
	m, ok := value.(map[any]any)
	if !ok {
		return value
	}
	out := map[string]any{}
	for key, value := range m {
		out[fmt.Sprint(key)] = value
	}
	return out
}
