package config

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load writes yaml to a file of its own and loads it.
func load(t *testing.T, yaml string, o Options) (*Config, error) {
	t.Helper()
	o.Path = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(o.Path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.Executable == "" {
		o.Executable = filepath.Join(t.TempDir(), "athena")
	}
	return Load(o)
}

func TestDefaults(t *testing.T) {
	c, err := load(t, "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		API:     API{Host: "127.0.0.1", Port: 4052, BodyLimit: 64 << 20, ShutdownTimeout: 30 * time.Second, HealthTimeout: 5 * time.Second, HostRouting: true},
		Plugins: Plugins{Dir: filepath.Join(c.Dir, "bin/plugins"), Verify: "dev"},
		Ledger: Ledger{URI: "sqlite://" + filepath.Join(c.Dir, "data/athena.db"), OperationLog: true,
			OperationLogKept: 30 * 24 * time.Hour, AuthLogKept: 90 * 24 * time.Hour},
		Provision: Provision{AllowedHosts: []string{"localhost", "127.0.0.0/8", "::1"}},
		Gateway:   Gateway{ResilienceTimeout: 30 * time.Second, ResilienceReadMaxRetries: 1, ResilienceInitialBackoff: 100 * time.Millisecond},
		Log:       Log{Level: "info", Format: "text"},
		Path:      c.Path,
		Dir:       filepath.Dir(c.Path),
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestLayers(t *testing.T) {
	file := "api: {port: 1000, host: '::1'}\nlog: {level: warn}\n"
	env := []string{"ATHENA_PORT=2000", "ATHENA_LOG__LEVEL=error", "ATHENA_LOG_LEVEL=debug", "ATHENA_HOST="}
	for _, test := range []struct {
		name  string
		env   []string
		flags map[string]string
		port  int
		level string
	}{
		{"file", nil, nil, 1000, "warn"},
		{"environment", env, nil, 2000, "error"},
		{"flags", env, map[string]string{"api.port": "3000"}, 3000, "error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := load(t, file, Options{Env: test.env, Flags: test.flags})
			if err != nil {
				t.Fatal(err)
			}
			if c.API.Port != test.port || c.Log.Level != test.level || c.API.Host != "::1" {
				t.Errorf("port %d, level %s, host %s; want %d, %s, ::1", c.API.Port, c.Log.Level, c.API.Host, test.port, test.level)
			}
		})
	}
}

func TestClients(t *testing.T) {
	c, err := load(t, `
clients:
  reporting: {backend: postgres, config: {uri: "${REPORTING_URI}", ca: "${CA}"}}
  a.b-c_D: {backend: sqlite, config: {path: data/x.db, sample: true, pool: 9007199254740993, list: ["${ONE}", 2], nested: {k: "$${x}"}}}
  bare: {backend: memory}
postgres_clients:
  - legacy: "${LEGACY_URI}"
  - other: "postgres://${USER_X:-me}@host/db"
`, Options{Env: []string{"ONE=1", "LEGACY_URI=postgres://u:s3cret@h/d", "CA="}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Client{
		{Name: "a.b-c_D", Backend: "sqlite", Config: json.RawMessage(
			`{"list":["1",2],"nested":{"k":"${x}"},"path":"data/x.db","pool":9007199254740993,"sample":true}`)},
		{Name: "bare", Backend: "memory", Config: json.RawMessage(`{}`)},
		{Name: "legacy", Backend: "postgres", Config: json.RawMessage(`{"uri":"postgres://u:s3cret@h/d"}`), Template: "${LEGACY_URI}"},
		{Name: "other", Backend: "postgres", Config: json.RawMessage(`{"uri":"postgres://me@host/db"}`), Template: "postgres://${USER_X:-me}@host/db"},
		{Name: "reporting", Backend: "postgres", Template: "${REPORTING_URI}", Problem: "set the environment variable CA (used by clients.reporting.config.ca), " +
			"the environment variable REPORTING_URI (used by clients.reporting.config.uri), and start again"},
	}
	if diff := cmp.Diff(want, c.Clients); diff != "" {
		t.Error(diff)
	}
}

func TestPostgresClientsAsMap(t *testing.T) {
	c, err := load(t, `postgres_clients: {legacy: "postgres://h/d"}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Client{{Name: "legacy", Backend: "postgres", Config: json.RawMessage(`{"uri":"postgres://h/d"}`), Template: "postgres://h/d"}}
	if diff := cmp.Diff(want, c.Clients); diff != "" {
		t.Error(diff)
	}
}

func TestMistakes(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, test := range []struct {
		yaml string
		want string // in the error
	}{
		{"api: {prot: 1}", "api.prot: unknown key; did you mean api.port?"},
		{"port: 1", "port: unknown key; did you mean api.port?"},
		{"client: {}", "client: unknown key; did you mean clients?"},
		{"pluginz: {}", "pluginz: unknown key; did you mean plugins?"},
		{"zebra: 1", "zebra: unknown key"},
		{"api.port: 1", "api.port: write it nested, as api: {port: ...}"},
		{"api: {port: 70000}", "api.port: want a whole number from 0 to 65535"},
		{"api: {port: -1}", "api.port: want a whole number from 0 to 65535"},
		{"api: {port: 1.5}", "api.port: want a whole number"},
		{"api: {port: many}", "api.port: want a whole number"},
		{"api: {port: [1]}", "api.port: want a whole number"},
		{"api: {allow_open: maybe}", "api.allow_open: want true or false"},
		{"api: {host: 127}", "api.host: want a text, not a number"},
		{"api: {host: {a: b}}", "api.host: want a text, not a mapping"},
		{"api: 4052", "api: want a mapping, not a number"},
		{"api: [{port: 1, host: b}]", "api[0]: want a mapping with one key"},
		{"api: [{port: 1}, {port: 2}]", "api.port: is there twice"},
		{"api: {port: 1, port: 2}", `"port" already defined`},
		{"plugins: {verify: stict}", "plugins.verify: want one of strict, warn, dev; did you mean strict?"},
		{"plugins: {memory_mb: -1}", "plugins.memory_mb: want a whole number from 0"},
		{"plugins: {open_file: 10}", "plugins.open_file: unknown key; did you mean plugins.open_files?"},
		{"plugins: {pass_env: {A: 1}}", "plugins.pass_env: want a list of variables' names"},
		{"plugins: {pass_env: [A=s3cret]}", "plugins.pass_env: want names of variables"},
		{"plugins: {pass_env: [1]}", "plugins.pass_env: want names of variables"},
		{"plugins: {pass_env: [ATHENA_KEY_12]}", "plugins.pass_env: ATHENA_KEY_12 is the gateway's own"},
		{"plugins: {limits: 5}", "plugins.limits: want, in the file, a mapping such as"},
		{"plugins: {limits: {postgres: 5}}", "plugins.limits: postgres: want a mapping such as"},
		{"plugins: {limits: {postgres: {memory_md: 5}}}", "plugins.limits: postgres.memory_md: unknown key; did you mean memory_mb?"},
		{"plugins: {limits: {postgres: {memory_mb: 0}}}", "plugins.limits: postgres.memory_mb: want a whole number from 1"},
		{"plugins: {limits: {a: {x: 1}, b: {open_files: many}}}", "plugins.limits: a.x: unknown key; b.open_files: want a whole number from 1"},
		{"plugins: {dir: 'x${ATHENA_KEY_12}'}", "plugins.dir: the admin key in ATHENA_KEY_12 is for no value"},
		{"clients: {a: {backend: b, config: {key: '${ATHENA_SECRET_KEY:-s3cret}'}}}", "clients.a.config.key: the keys in ATHENA_SECRET_KEY"},
		{"ledger: {allow_plaintext_secrets: maybe}", "ledger.allow_plaintext_secrets: want true or false"},
		{"clients: {a: {backend: b, config: {key: '${ATHENA_KEY_12:-s3cret}'}}}", "clients.a.config.key: the admin key in ATHENA_KEY_12 is for no value"},
		{"ledger: {uri: 'mysql://u:s3cret@h/d'}", "ledger.uri: want sqlite://PATH or postgres://"},
		{"ledger: {uri: '${LEDGER}'}", "ledger.uri: the environment variable LEDGER is not set"},
		{"ledger: {uri: '${LEDGER'}", "ledger.uri: a ${ without its }"},
		{"just a s3cret", "want a mapping of sections"},
		{"api:\n  port: 1\n a: b: c", "line "},
		{"clients: {demo: 5}", "clients.demo: want a mapping such as"},
		{"clients: {demo: {bakend: sqlite}}", "clients.demo.bakend: unknown key; did you mean clients.demo.backend?"},
		{"clients: {demo: {config: {}}}", "clients.demo.backend: want the name of a plugin"},
		{"clients: {demo: {backend: sqlite, config: s3cret}}", "clients.demo.config: want a mapping"},
		{"clients: {demo: {backend: sqlite, config: {x: .nan}}}", "clients.demo.config: holds a number that JSON does not have"},
		{"clients: {demo: {backend: sqlite, config: {x: '${s3cret oops}'}}}", "clients.demo.config.x: after ${ comes a variable's name"},
		{"clients: {ath_s3cret.x: {backend: sqlite}}", "clients.ath_…: a client's name has not the form of an API key"},
		{"postgres_clients: {ath_x.s3cret: 'postgres://h/d'}", "postgres_clients.ath_…: a client's name has not the form of an API key"},
		{"clients: {'a b': {backend: sqlite}}", "clients.a b: a client's name is 1 to 128 letters"},
		{"clients: {" + long + ": {backend: sqlite}}", "a client's name is 1 to 128 letters"},
		{"clients: {a: {backend: x}}\npostgres_clients: {a: 'postgres://s3cret'}", "postgres_clients.a: there is a client of this name in clients already"},
		{"postgres_clients: {a: {uri: s3cret}}", "postgres_clients.a: want a connection URI as text"},
		{"postgres_clients: s3cret", "postgres_clients: want a mapping, not a text"},
		{"gateway: {default_client: 'a b'}", "gateway.default_client: want a client's name"},
		{"gateway: {resilience_timeout_secs: 0}", "gateway.resilience_timeout_secs: want a whole number from 1"},
	} {
		t.Run(strings.ReplaceAll(test.yaml, "s3cret", "..."), func(t *testing.T) {
			_, err := load(t, test.yaml, Options{})
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q lacks %q", err, test.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q shows a secret", err)
			}
		})
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	_, err := load(t, "api: {port: x, prot: 1}\nclients: {a: 1}", Options{Flags: map[string]string{"log.level": "loud"}})
	for _, want := range []string{"api.port:", "api.prot:", "clients.a:", "log.level (from a flag):"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %s", err, want)
		}
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	for _, test := range []struct{ variable, want string }{
		{"ATHENA_PORT=x", "api.port (from ATHENA_PORT): want a whole number"},
		{"ATHENA_API__PROT=1", "ATHENA_API__PROT: unknown key api.prot; did you mean ATHENA_API__PORT?"},
		{"ATHENA_CLIENTS__A__BACKEND=x", "clients are defined in the file alone"},
		{"ATHENA_LEDGER_URI=s3cret", "ledger.uri: want"},
		{"ATHENA_PLUGINS__LIMITS=x", "plugins.limits (from ATHENA_PLUGINS__LIMITS): want, in the file, a mapping"},
		{"ATHENA_PLUGINS__PASS_ENV=A,,B", "plugins.pass_env (from ATHENA_PLUGINS__PASS_ENV): want names of variables"},
		{"ATHENA_KEY_12=s3cret", "ATHENA_KEY_12 is too short"},
		{"ATHENA_SECRET_KEY=s3cret", "ATHENA_SECRET_KEY is no key: set it to 32 random bytes"},
		{"ATHENA_SECRET_KEY_PREVIOUS=" + strings.Repeat("0f", 32), "ATHENA_SECRET_KEY_PREVIOUS is set and ATHENA_SECRET_KEY is not"},
		{"ATHENA_KEY_12=s3cret-s3cret-s3cret\n", "ATHENA_KEY_12 holds a space, a line break"},
	} {
		_, err := load(t, "", Options{Env: []string{test.variable, "ATHENA_SOMETHING_ELSE=1"}})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v lacks %q", test.variable, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v shows a secret", err)
		}
	}
}

func TestSecretKeys(t *testing.T) {
	raw := []byte(strings.Repeat("\xfb\xef", 16)) // written with signs in base64
	for _, text := range []string{hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw),
		base64.RawURLEncoding.EncodeToString(raw) + " "} {
		c, err := load(t, "ledger: {allow_plaintext_secrets: true}", Options{Env: []string{"ATHENA_SECRET_KEY=" + text, "ATHENA_SECRET_KEY_PREVIOUS=" + text}})
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Ledger; string(l.SecretKey) != string(raw) || string(l.PreviousSecretKey) != string(raw) || !l.AllowPlaintextSecrets {
			t.Errorf("%s is read as %x", text, l.SecretKey)
		}
		if text := fmt.Sprintf("%v %+v", c.Ledger, c); strings.Contains(text, "251 239") || strings.Contains(text, "fbef") {
			t.Errorf("the key is printed: %s", text)
		}
		if !c.Given["ledger.allow_plaintext_secrets"] || c.Given["api.port"] {
			t.Errorf("given are %v", c.Given)
		}
	}
	for _, text := range []string{strings.Repeat("0f", 31), strings.Repeat("0f", 33), base64.StdEncoding.EncodeToString(raw[:31]), strings.Repeat("!", 44)} {
		if _, err := load(t, "", Options{Env: []string{"ATHENA_SECRET_KEY=" + text}}); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestPluginSettings(t *testing.T) {
	const yaml = `plugins: {verify: strict, memory_mb: 1024, pass_env: [HTTPS_PROXY, no_proxy], limits: {postgres: {memory_mb: "${MB}"}, my.db: {memory_mb: 64, open_files: 99}}}`
	c, err := load(t, yaml, Options{Env: []string{"MB=512", "ATHENA_PLUGINS__OPEN_FILES=4096", "ATHENA_KEY_12=0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Plugins{Dir: c.Plugins.Dir, Verify: "strict", PassEnv: []string{"HTTPS_PROXY", "no_proxy"},
		Limits: Limits{Memory: 1 << 30, OpenFiles: 4096}, ByName: map[string]Limits{"postgres": {Memory: 512 << 20}, "my.db": {Memory: 64 << 20, OpenFiles: 99}}}
	if diff := cmp.Diff(want, c.Plugins); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) > 0 || c.API.AdminKey != "0123456789abcdef" {
		t.Errorf("warnings %v", c.Warnings)
	}
	c, err = load(t, yaml, Options{Env: []string{"MB=512", "ATHENA_PLUGINS__PASS_ENV=A, B"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A", "B"}, c.Plugins.PassEnv); diff != "" || c.API.AdminKey != "" {
		t.Error(diff)
	}
}

func TestWarnings(t *testing.T) {
	c, err := load(t, `
cache: {ttl: 5}
gateway:
  admission_window_secs: 1
  deferred_query_worker_poll_ms: 5
  force_camel_case_to_snake_case: true
  default_client: dmeo
clients: {demo: {backend: sqlite}}
log:
`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const none = ": a key of earlier versions, which has no effect here"
	want := []string{
		"cache" + none,
		"gateway.admission_window_secs" + none,
		"gateway.deferred_query_worker_poll_ms" + none,
		"gateway.force_camel_case_to_snake_case" + none,
		`gateway.default_client: there is no client "dmeo"; did you mean demo?`,
	}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestPaths(t *testing.T) {
	installed := t.TempDir()
	if err := os.Mkdir(filepath.Join(installed, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{Executable: filepath.Join(installed, "athena")}
	c, err := load(t, "", o)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(installed, "plugins"); c.Plugins.Dir != want {
		t.Errorf("without a folder beside the file plugins are in %s, want %s", c.Plugins.Dir, want)
	}
	c, err = load(t, "plugins: {dir: .}\nledger: {uri: 'sqlite:///abs/a.db'}", o)
	if err != nil {
		t.Fatal(err)
	}
	if c.Plugins.Dir != c.Dir || c.Ledger.URI != "sqlite:///abs/a.db" {
		t.Errorf("plugins %s, ledger %s", c.Plugins.Dir, c.Ledger.URI)
	}
}

func TestCheckBind(t *testing.T) {
	for _, test := range []struct {
		api API
		ok  bool
	}{
		{API{Host: "127.0.0.1"}, true},
		{API{Host: "127.8.9.1"}, true},
		{API{Host: "localhost"}, true},
		{API{Host: "::1"}, true},
		{API{Host: "[::1]"}, true},
		{API{Host: ""}, false},
		{API{Host: "0.0.0.0"}, false},
		{API{Host: "::"}, false},
		{API{Host: "10.0.0.1"}, false},
		{API{Host: "db.example.org"}, false},
		{API{Host: "0.0.0.0", AllowOpen: true}, true},
		{API{Host: "0.0.0.0", EnforceAPIKeys: true}, true},
	} {
		err := test.api.CheckBind()
		if (err == nil) != test.ok {
			t.Errorf("%+v: %v", test.api, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "api.allow_open: true") || !strings.Contains(err.Error(), "api.enforce_api_keys: true")) {
			t.Errorf("%v does not say what to do", err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c, err := load(t, `
ledger: {uri: "postgres://u:s3cret@h/d"}
postgres_clients: {a: "postgres://u:s3cret@h/d"}`, Options{Env: []string{"ATHENA_KEY_12=s3cret-s3cret-s3cret"}})
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed := string(asJSON) + fmt.Sprintf("%v %+v %#v %s", c, *c, c, c.Clients)
	if strings.Contains(printed, "s3cret") || strings.Contains(printed, "115 51 99") {
		t.Error(printed)
	}
}

func TestHostPattern(t *testing.T) {
	for _, test := range []struct {
		file   string
		env    []string
		domain string
		err    string
	}{
		{"", nil, "", ""},
		{"api: {wildcard_host_pattern: '*.V3.Athena-DB.com'}", nil, "v3.athena-db.com", ""},
		{"", []string{"ATHENA_WILDCARD_HOST_PATTERN=*.v3.athena-db.com."}, "v3.athena-db.com", ""},
		{"", []string{"ATHENA_WILDCARD_HOST_PATTERN=*.localhost", "ATHENA_WILDCARD_HOST_ROUTING_ENABLED=true"}, "localhost", ""},
		{"", []string{"ATHENA_WILDCARD_HOST_PATTERN=*.localhost", "ATHENA_WILDCARD_HOST_ROUTING_ENABLED=false"}, "", ""},
		{"", []string{"ATHENA_WILDCARD_HOST_ROUTING_ENABLED=true"}, "", ""},
		{"", []string{"ATHENA_WILDCARD_HOST_ROUTING_ENABLED=maybe"}, "", "want true or false"},
		{"api: {wildcard_host_pattern: 'v3.athena-db.com'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: '*'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: '*.'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: '*.*.example.com'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: 'a*.example.com'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: '*.example.com:80'}", nil, "", "want *. and a domain"},
		{"api: {wildcard_host_pattern: '*.b\u00fccher.example'}", nil, "", "want *. and a domain"},
	} {
		c, err := load(t, test.file, Options{Env: test.env})
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s %v: %v, want %s", test.file, test.env, err, test.err)
			}
		case err != nil:
			t.Errorf("%s %v: %v", test.file, test.env, err)
		case c.API.HostDomain != test.domain:
			t.Errorf("%s %v: %q, want %q", test.file, test.env, c.API.HostDomain, test.domain)
		}
	}
}
