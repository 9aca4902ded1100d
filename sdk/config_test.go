package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

type exampleConfig struct {
	URI     string            `json:"uri" athena:"required,secret,doc=Where the database is, with its password"`
	File    string            `json:"file,omitempty" athena:"path"`
	Mode    string            `json:"mode" athena:"default=fast,enum=fast|safe"`
	Size    int               `json:"size" athena:"default=10"`
	Ratio   float64           `json:"ratio" athena:"default=0.5"`
	Strict  bool              `json:"strict" athena:"default=true"`
	Timeout time.Duration     `json:"timeout" athena:"default=30s,doc=How long, at most"`
	Hosts   []string          `json:"hosts"`
	Labels  map[string]string `json:"labels"`
	Hidden  string            `json:"-"`
	Plain   string
	//lint:ignore U1000 an unexported field must not become a key
	private string
}

func exampleSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	raw, secrets := ConfigSchema[exampleConfig]()
	if diff := cmp.Diff([]string{"uri"}, secrets); diff != "" {
		t.Errorf("secrets (-want +got)\n%s", diff)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat() // a schema must hold for validators that check formats, too
	if err := compiler.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestConfigSchema(t *testing.T) {
	exampleSchema(t)
	raw, _ := ConfigSchema[exampleConfig]()
	var got struct {
		Properties map[string]map[string]any
		Required   []string
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"uri"}, got.Required); diff != "" {
		t.Errorf("required (-want +got)\n%s", diff)
	}
	types := map[string]string{}
	for name, p := range got.Properties {
		types[name] = p["type"].(string)
	}
	want := map[string]string{"uri": "string", "file": "string", "mode": "string", "size": "integer", "ratio": "number",
		"strict": "boolean", "timeout": "string", "hosts": "array", "labels": "object", "plain": "string"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("types (-want +got)\n%s", diff)
	}
	if doc := got.Properties["uri"]["description"]; doc != "Where the database is, with its password" {
		t.Errorf("the description is %q", doc)
	}
	if got.Properties["uri"]["writeOnly"] != true || got.Properties["size"]["default"] != 10.0 || got.Properties["timeout"]["default"] != "30s" {
		t.Errorf("properties: %v", got.Properties)
	}
}

func TestConfigSchemaRefusesUnknownTags(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an athena tag with a word that means nothing is accepted")
		}
	}()
	ConfigSchema[struct {
		A string `athena:"requried"`
	}]()
}

// Schema and decodeConfig must agree on what is a config.
func TestDecodeConfig(t *testing.T) {
	schema := exampleSchema(t)
	defaults := exampleConfig{URI: "x", Mode: "fast", Size: 10, Ratio: 0.5, Strict: true, Timeout: 30 * time.Second}
	with := func(change func(*exampleConfig)) *exampleConfig {
		config := defaults
		change(&config)
		return &config
	}
	for config, want := range map[string]*exampleConfig{
		`{"uri":"x"}`: &defaults,
		`{"uri":"x","file":"f","mode":"safe","size":-3,"ratio":2,"strict":false,"timeout":"1m30s","hosts":["a","b"],"labels":{"k":"v"},"plain":"p"}`: {
			URI: "x", File: "f", Mode: "safe", Size: -3, Ratio: 2, Timeout: 90 * time.Second,
			Hosts: []string{"a", "b"}, Labels: map[string]string{"k": "v"}, Plain: "p"},
		`{"uri":"x","size":0}`:             with(func(c *exampleConfig) { c.Size = 0 }),
		`{"uri":"x","size":1234567890123}`: with(func(c *exampleConfig) { c.Size = 1234567890123 }),
		`{"uri":"x","timeout":"0s"}`:       with(func(c *exampleConfig) { c.Timeout = 0 }),
		`{}`:                               nil,
		`{"uri":null}`:                     nil,
		`{"uri":""}`:                       nil,
		`{"uri":5}`:                        nil,
		`{"uri":"x","URI":"y"}`:            nil,
		`{"uri":"x","unknown":1}`:          nil,
		`{"uri":"x","hidden":"1"}`:         nil,
		`{"uri":"x","private":"1"}`:        nil,
		`{"uri":"x","mode":"other"}`:       nil,
		`{"uri":"x","size":"10"}`:          nil,
		`{"uri":"x","size":1.5}`:           nil,
		`{"uri":"x","strict":"true"}`:      nil,
		`{"uri":"x","timeout":30}`:         nil,
		`{"uri":"x","hosts":"a"}`:          nil,
		`{"uri":"x","hosts":[1]}`:          nil,
		`{"uri":"x","labels":{"k":1}}`:     nil,
		`{"uri":"x","labels":["k"]}`:       nil,
		`[]`:                               nil,
		`"text"`:                           nil,
		`null`:                             nil,
	} {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(document); (err == nil) != (want != nil) {
			t.Errorf("schema: %s: %v", config, err)
		}
		got, err := decodeConfig[exampleConfig](json.RawMessage(config))
		if (err == nil) != (want != nil) {
			t.Errorf("decode: %s: error %v", config, err)
		}
		if err != nil && AsError(err).Kind != Invalid {
			t.Errorf("decode: %s: %v is not Invalid", config, err)
		}
		if err == nil && want != nil {
			if diff := cmp.Diff(*want, got, cmp.AllowUnexported(exampleConfig{})); diff != "" {
				t.Errorf("decode: %s (-want +got)\n%s", config, diff)
			}
		}
	}
	for _, config := range []string{`{"uri":"x","timeout":"soon"}`, `{`, `{"uri":"x"}{}`} {
		if _, err := decodeConfig[exampleConfig](json.RawMessage(config)); err == nil || AsError(err).Kind != Invalid {
			t.Errorf("decode: %s: %v", config, err)
		}
	}
}

// A message about a config must not repeat its values: they may be secret.
func TestDecodeConfigKeepsSecrets(t *testing.T) {
	for _, config := range []string{`{"uri":["canary"]}`, `{"uri":"canary","unknown":1}`, `{"uri":"canary","size":"canary"}`,
		`{"uri":"x","timeout":"canary"}`, `{"uri":"x","mode":"canary"}`, `canary`} {
		_, err := decodeConfig[exampleConfig](json.RawMessage(config))
		if err == nil {
			t.Errorf("%s is accepted", config)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// FuzzDecodeConfig holds that a decoded config keeps what its tags promise and that the
// others are Invalid.
func FuzzDecodeConfig(f *testing.F) {
	for _, s := range []string{`{"uri":"x"}`, `{"uri":"x","size":5,"timeout":"1s","hosts":["a"],"labels":{"a":"b"}}`, `{"uri":null}`, `[]`, ``, `{"uri":"x","mode":"safe"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		config, err := decodeConfig[exampleConfig](raw)
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != Invalid {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		if config.URI == "" || config.Mode != "fast" && config.Mode != "safe" {
			t.Fatalf("%q was accepted as %+v", raw, config)
		}
	})
}

func TestAsError(t *testing.T) {
	own := E(Conflict, "r", "m").WithHint("h")
	if AsError(errors.Join(errors.New("outer"), own)) != own {
		t.Error("an Error within another error is not found")
	}
	if AsError(nil) != nil {
		t.Error("no error is an error")
	}
	if e := AsError(errors.New("password=x")); e.Kind != Internal || e.Message != "" || e.Log != "password=x" || e.Executed != ExecutedUnknown {
		t.Errorf("a foreign error: %+v", e)
	}
	if own.Executed != ExecutedNo || own.Error() != "conflict (r): m" {
		t.Errorf("%+v %s", own, own)
	}
	for kind := Internal; kind <= Canceled; kind++ {
		if kind != Internal && kind.String() == "internal" {
			t.Errorf("the kind %d has no name", kind)
		}
	}
}
