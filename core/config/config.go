// Package config turns config.yaml, the environment and flags into plain structs.
//
// Layers, later ones win: built-in defaults, the file, environment variables, flags. An
// environment variable names a key by the ATHENA_ prefix and a double underscore for each
// dot: ATHENA_API__BODY_LIMIT_MB is api.body_limit_mb. A few have short names too:
// ATHENA_PORT, ATHENA_HOST, ATHENA_LEDGER_URI, ATHENA_REDIS_URL, ATHENA_PLUGINS_DIR,
// ATHENA_LOG_LEVEL, ATHENA_LOG_FORMAT, ATHENA_WILDCARD_HOST_PATTERN and
// ATHENA_WILDCARD_HOST_ROUTING_ENABLED; the long name wins. An empty variable counts as not set. Clients are
// defined in the file alone, which may hold ${VAR} and ${VAR:-default} in any value. The
// admin key is in the variable ATHENA_KEY_12, or in a file of its own; the keys that seal
// secrets in the ledger are in ATHENA_SECRET_KEY and ATHENA_SECRET_KEY_PREVIOUS.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration, checked.
type Config struct {
	API       API
	Plugins   Plugins
	Ledger    Ledger
	Redis     Redis
	Provision Provision
	Clients   []Client // from clients and postgres_clients, sorted by name
	Gateway   Gateway
	Log       Log

	Path     string   // absolute path of the file that was read
	Dir      string   // its folder, where relative paths start
	Created  bool     // the file was not there: the default was written to Path
	Searched []string // the places that were looked at for the file, in order; empty if it was named
	Warnings []string // things that have no effect, to be logged

	Given map[string]bool // keys, such as gateway.default_client, that the file, a variable or a flag sets; nil: none
}

// API is the HTTP listener.
type API struct {
	Host            string
	Port            int           // 0 lets the system choose
	AllowOpen       bool          // listen beyond loopback although no API key is asked for
	EnforceAPIKeys  bool          // ask for API keys, whatever the ledger says
	BodyLimit       int           // bytes of a request body
	ShutdownDelay   time.Duration // how long the gateway serves on after SIGTERM while /ready says no
	ShutdownTimeout time.Duration // how long requests may take to end thereafter
	HealthTimeout   time.Duration // how long GET /health/cluster waits for databases
	// HostDomain is the domain of wildcard_host_pattern in lower case, without "*.": a host
	// name one label below it names a public route. "": host names mean nothing.
	HostDomain      string
	HostRouting     bool
	AdminKey        Secret `json:"-"` // opens the operators' routes; "": they are closed
	AdminKeyFile    string // absolute path of the file that AdminKey comes from; "": none
	AdminKeyCreated bool   // the file was not there: a new key was written to it
}

// Secret is a text that prints as ***.
type Secret string

// Plugins says where plugin binaries are, how they are checked and what they may use.
type Plugins struct {
	Dir     string            // absolute
	Verify  string            // strict, warn or dev
	PassEnv []string          // names of variables that plugins get of the gateway's environment
	Limits  Limits            // of each plugin
	ByName  map[string]Limits // of single plugins, where they differ
}

// Limits of a plugin's process; 0 is none.
type Limits struct {
	Memory    int64 // bytes
	OpenFiles int
}

// Ledger is the gateway's own database.
type Ledger struct {
	URI string `json:"-"` // sqlite:// and an absolute path, or postgres://...; holds secrets
	// SecretKey seals the secrets of clients that are kept in the ledger; PreviousSecretKey opens
	// what was sealed before. Each has 32 bytes, or is nil.
	SecretKey, PreviousSecretKey []byte `json:"-"`
	AllowPlaintextSecrets        bool   // they may be kept as they are while there is no SecretKey
	OperationLog                 bool   // every operation is recorded
	// How long rows of the logs are kept; 0: for ever.
	OperationLogKept, AuthLogKept, AuditLogKept time.Duration
}

// Redis carries notices between the gateways of one ledger.
type Redis struct {
	URL Secret `json:"-"` // redis:// or rediss://; "": none
}

// Provision says where schemas may be applied.
type Provision struct {
	AllowedHosts []string // that a caller's URI may name: names, addresses, ranges of addresses, folders of sockets
}

// Client is a named database.
type Client struct {
	Name    string
	Backend string          // name of a plugin
	Config  json.RawMessage `json:"-"` // JSON object for the plugin; holds secrets; nil if Problem is set
	// Template is the uri of the config as the file has it, with its ${VAR}; "": it has none. A
	// file may hold a password in it.
	Template string `json:"-"`
	Problem  string // why the client cannot be opened, in words for the operator; "" if it can
}

// Gateway tunes the way of a request to its database.
type Gateway struct {
	DefaultClient            string
	ResilienceTimeout        time.Duration
	ResilienceReadMaxRetries int
	ResilienceInitialBackoff time.Duration
}

// Log is the server's own log.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// Format prints stars, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "***")
}

// Format prints the kind of ledger alone, whatever the verb: a URI holds a password.
func (l Ledger) Format(f fmt.State, _ rune) {
	scheme, _, _ := strings.Cut(l.URI, "://")
	_, _ = io.WriteString(f, scheme+"://...") // an fmt.State keeps its own errors
}

// Format prints a client without its config, whatever the verb.
func (c Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, c.Name+" ("+c.Backend+")")
}

// Addr is the address to listen on.
func (a API) Addr() string {
	return net.JoinHostPort(strings.Trim(a.Host, "[]"), strconv.Itoa(a.Port))
}

// CheckBind refuses an address that other machines reach, unless every request is asked for
// an API key or allow_open says that this is meant. What the ledger says does not count: it
// changes while the gateway listens.
func (a API) CheckBind() error {
	host := strings.Trim(a.Host, "[]")
	ip := net.ParseIP(host)
	if a.AllowOpen || a.EnforceAPIKeys || strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("api.host %q can be reached from other machines, and requests are not asked for an API key: "+
		"whoever reaches it could read and change every database. Set api.enforce_api_keys: true, or api.host to 127.0.0.1, "+
		"or, if something in front of it checks who asks, set api.allow_open: true", a.Host)
}

// Options say where Load looks.
type Options struct {
	Path       string            // the file; "": ATHENA_CONFIG_PATH, then the search path
	Flags      map[string]string // values by key, e.g. "api.port"; the strongest layer
	Env        []string          // KEY=value, as os.Environ gives it
	Default    []byte            // the file to write where none is found; empty: nothing is written
	CreateKey  bool              // write a new admin key to api.admin_key_file if that is not there
	Executable string            // path of the running binary, whose folder may hold plugins/; "": os.Executable
}

func Load(o Options) (*Config, error) {
	env := environment(o.Env)
	c := &Config{}
	if err := c.readSecretKeys(env); err != nil {
		return nil, err
	}
	data, err := c.read(o, env)
	if err != nil {
		return nil, err
	}
	file, err := parseFile(data, env.lookup)
	if file == nil {
		return nil, located(c.Path, err)
	}
	c.Clients, c.Warnings = file.clients, file.warnings
	if err := errors.Join(err, c.applyLayers(file.settings, env, o.Flags)); err != nil {
		return nil, located(c.Path, err)
	}
	if err := c.resolve(o.Executable); err != nil {
		return nil, located(c.Path, err)
	}
	if err := c.readAdminKey(env, o.CreateKey); err != nil {
		return nil, err
	}
	return c, nil
}

// located says which file was being used; several mistakes get a line each.
func located(path string, err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return fmt.Errorf("configuration %s:\n  %s", path, strings.ReplaceAll(text, "\n", "\n  "))
	}
	return fmt.Errorf("configuration %s: %w", path, err)
}

// read finds the file, or writes the default one, and sets Path, Dir, Created and Searched.
func (c *Config) read(o Options, env environ) ([]byte, error) {
	path := o.Path
	if path == "" {
		path = env["ATHENA_CONFIG_PATH"]
	}
	if path == "" {
		working, err := os.Getwd()
		if err != nil {
			working = "" // a deleted folder: the other places remain
		}
		path, err = c.search(searchDirs(runtime.GOOS, env, working), o.Default)
		if err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	c.Path, c.Dir = path, filepath.Dir(path)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration file %s: correct --config or ATHENA_CONFIG_PATH, "+
			"or leave both out to search the usual places", path)
	}
	return data, err
}

// hostPattern is *. and the labels of a domain.
var hostPattern = regexp.MustCompile(`^\*(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)+$`)

// resolveHosts turns the pattern of host names into the domain, none if it is not to be used.
func (a *API) resolveHosts() error {
	pattern := strings.ToLower(strings.TrimSuffix(a.HostDomain, "."))
	if a.HostDomain = ""; pattern == "" {
		return nil
	}
	if !hostPattern.MatchString(pattern) {
		return errors.New("api.wildcard_host_pattern: want *. and a domain, such as *.db.example.com")
	}
	if a.HostRouting {
		a.HostDomain = pattern[2:]
	}
	return nil
}

// resolve makes the relative paths absolute and checks what spans several keys.
func (c *Config) resolve(executable string) error {
	if err := c.API.resolveHosts(); err != nil {
		return err
	}
	c.Plugins.Dir = c.pluginDir(executable)
	switch scheme, rest, _ := strings.Cut(c.Ledger.URI, "://"); {
	case scheme == "sqlite" && rest != "":
		c.Ledger.URI = "sqlite://" + c.abs(rest)
	case (scheme == "postgres" || scheme == "postgresql") && rest != "":
	default:
		return errors.New("ledger.uri: want sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE")
	}
	if url := string(c.Redis.URL); url != "" && !strings.HasPrefix(url, "redis://") && !strings.HasPrefix(url, "rediss://") {
		return errors.New("redis.url: want redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS")
	}
	if name := c.Gateway.DefaultClient; name != "" {
		if !clientName.MatchString(name) {
			return fmt.Errorf("gateway.default_client: want a client's name, %s", clientNameRule)
		}
		var names []string
		for _, client := range c.Clients {
			names = append(names, client.Name)
		}
		if !slices.Contains(names, name) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("gateway.default_client: there is no client %q%s",
				name, didYouMean(nearest(name, names))))
		}
	}
	return nil
}

func (c *Config) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Dir, path)
}

// pluginDir prefers the folder beside the file; an installed binary brings its plugins
// along in plugins/ beside itself.
func (c *Config) pluginDir(executable string) string {
	dir := c.abs(c.Plugins.Dir)
	if filepath.IsAbs(c.Plugins.Dir) {
		return dir
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if executable == "" {
		executable, _ = os.Executable() // "" where the system cannot tell: then there is no second place
	}
	beside := filepath.Join(filepath.Dir(executable), "plugins")
	if info, err := os.Stat(beside); executable != "" && err == nil && info.IsDir() {
		return beside
	}
	return dir
}
