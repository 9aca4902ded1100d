package arch

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/athena-gateway/athena"

// spine is the data plane. doors and slices are all the other folders of core but httpx
// and config.
var spine = []string{"gateway", "registry", "pluginhost", "resilience", "auth", "admission", "cache", "oplog", "ledger", "notice"}

// A layer is what one package is in the house, and which others it may import of ours.
type layer struct {
	name string
	rule string
	may  func(imported string) bool // of the path below the module
}

// layerOf returns the layer of a folder, nil if it has no place.
func layerOf(dir string) *layer {
	top, rest, _ := strings.Cut(dir, "/")
	second, _, _ := strings.Cut(rest, "/")
	switch {
	case dir == ".", top == "internal":
		return &layer{top, "it imports nothing of ours", nothing}
	case top == "sdk":
		return &layer{"sdk", "rule 1: sdk imports nothing of ours", func(p string) bool { return within(p, "sdk") }}
	case top == "plugins" && second != "":
		return &layer{"a plugin", "rule 2: plugins import only sdk", func(p string) bool {
			return within(p, "sdk") || within(p, "plugins/"+second)
		}}
	case dir == "core/config":
		return &layer{"core/config", "it imports nothing of ours", nothing}
	case dir == "core/ledger/ledgertest":
		return &layer{"ledgertest", "it imports the ledger and testenv", func(p string) bool { return p == "core/ledger" || p == "internal/testenv" }}
	case dir == "core":
		return &layer{"core", "only cmd stands above core", func(p string) bool { return within(p, "core") || within(p, "sdk") }}
	case top == "core" && slices.Contains(spine, second):
		return &layer{"the spine", "rule 5: the spine imports no door, no slice, no httpx and no config", onSpine}
	case top == "core" && second == "httpx":
		return &layer{"httpx", "httpx imports the spine and sdk", func(p string) bool { return onSpine(p) || within(p, "core/httpx") }}
	case top == "core":
		return &layer{"a door or slice", "rules 4 and 6: doors and slices import httpx, the spine and sdk, never each other and no config",
			func(p string) bool { return onSpine(p) || within(p, "core/httpx") || within(p, "core/"+second) }}
	case top == "cmd":
		return &layer{"cmd", "rule 3: nothing imports plugins", func(p string) bool {
			return within(p, "core") || within(p, "sdk") || within(p, "cmd") || p == "."
		}}
	case top == "examples" && second != "":
		return &layer{"an example", "an example is a plugin: it imports only sdk, and its test the host", func(p string) bool {
			return within(p, "sdk") || within(p, "examples/"+second)
		}}
	case top == "bench":
		return &layer{"bench", "bench imports sdk and internal/testenv", func(p string) bool {
			return within(p, "sdk") || within(p, "bench") || p == "internal/testenv"
		}}
	}
	return nil
}

func nothing(string) bool { return false }

func onSpine(p string) bool {
	return within(p, "sdk") || slices.ContainsFunc(spine, func(name string) bool { return within(p, "core/"+name) })
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// owners says which folders may import a heavy dependency; none: nobody.
var owners = []struct {
	dependency string
	folders    []string
	why        string
}{
	{"github.com/gofiber/fiber/v2/middleware/compress", nil, "it ends a broken answer as if it were whole; httpx compresses itself"},
	{"github.com/gofiber", []string{"core/httpx", "core/wsapi"}, "fiber belongs to httpx and wsapi"},
	{"github.com/valyala/fasthttp", []string{"core/httpx", "core/wsapi", "bench"}, "fasthttp belongs to httpx and wsapi"},
	{"github.com/klauspost/compress", []string{"core/httpx"}, "compression belongs to httpx"},
	{"github.com/andybalholm/brotli", []string{"core/httpx"}, "compression belongs to httpx"},
	{"github.com/hashicorp/go-plugin", []string{"sdk", "core/pluginhost"}, "go-plugin belongs to sdk and pluginhost"},
	{"google.golang.org/grpc", []string{"sdk", "core/pluginhost"}, "grpc belongs to sdk and pluginhost"},
	{"google.golang.org/protobuf", []string{"sdk"}, "protobuf belongs to sdk"},
	{"github.com/jackc/pgx", []string{"core/ledger", "plugins/postgres", "internal/testenv", "bench"}, "a driver belongs to the ledger and its plugin"},
	{"modernc.org/sqlite", []string{"core/ledger", "plugins/sqlite"}, "a driver belongs to the ledger and its plugin"},
	{"github.com/gocql/gocql", []string{"plugins/scylla"}, "a driver belongs to its plugin"},
	{"github.com/apache/cassandra-gocql-driver", []string{"plugins/scylla"}, "a driver belongs to its plugin"},
	{"github.com/minio/minio-go", []string{"plugins/storage-s3"}, "minio belongs to storage-s3"},
	{"github.com/coocood/freecache", []string{"core/cache"}, "freecache belongs to cache"},
	{"github.com/redis/go-redis", []string{"core/cache", "core/notice"}, "redis belongs to cache and notice"},
	{"github.com/pressly/goose", []string{"core/ledger"}, "migrations belong to the ledger"},
	{"github.com/sony/gobreaker", []string{"core/resilience"}, "the breaker belongs to resilience"},
	{"github.com/knadh/koanf", []string{"core/config"}, "koanf belongs to config"},
	{"go.uber.org/goleak", []string{"sdk/sdktest"}, "goleak belongs to tests and the conformance suite"},
	{"github.com/spf13/cobra", []string{"cmd"}, "the command line belongs to cmd"},
}

// sdkMay is all that plugin authors get with the sdk.
var sdkMay = []string{"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/hashicorp/go-plugin", "github.com/hashicorp/go-hclog", "go.uber.org/goleak"}

// testsMay is what test files import of ours besides.
var testsMay = []string{"internal/testenv", "sdk/sdktest", "core/ledger/ledgertest"}

// check reads the imports of every Go file of the repository and returns what breaks a
// rule. It parses: a check built on go list would be answered from the test cache, which
// does not know of a new import.
func check(tree fs.FS) ([]string, error) {
	var broken []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(tree, name)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if parts := strings.Split(name, "/"); parts[0] == "plugins" && len(parts) == 3 && parts[2] == "main.go" {
			if lines := bytes.Count(source, []byte("\n")); lines > 20 {
				broken = append(broken, fmt.Sprintf("%s has %d lines: a plugin's main.go has at most 20", name, lines))
			}
		}
		found, err := checkFile(name, source)
		broken = append(broken, found...)
		return err
	})
	return broken, err
}

// skip leaves out what is no code of this module.
func skip(tree fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	if base := path.Base(dir); base[0] == '.' || base[0] == '_' || base == "testdata" {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func checkFile(name string, source []byte) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	dir, isTest := path.Dir(name), strings.HasSuffix(name, "_test.go")
	from := layerOf(dir)
	if from == nil {
		return []string{fmt.Sprintf("%s: the folder %s has no place in the house (ARCHITECTURE.md, internal/arch/rules_test.go)", name, dir)}, nil
	}
	var broken []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if rule := forbidden(from, dir, imported, isTest); rule != "" {
			broken = append(broken, fmt.Sprintf("%s imports %s: %s", name, imported, rule))
		}
	}
	return broken, nil
}

// forbidden returns the rule that an import breaks, "" if none.
func forbidden(from *layer, dir, imported string, isTest bool) string {
	if within(imported, module) {
		ours := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if ours == "" {
			ours = "."
		}
		self := ours == dir // an external test imports the package that it tests
		host := from.name == "an example" && ours == "core/pluginhost"
		if from.may(ours) || isTest && (self || host || slices.Contains(testsMay, ours)) {
			return ""
		}
		return from.rule
	}
	if isTest {
		return ""
	}
	for _, owner := range owners {
		if within(imported, owner.dependency) {
			if slices.ContainsFunc(owner.folders, func(folder string) bool { return within(dir, folder) }) {
				break
			}
			return owner.why
		}
	}
	domain, _, _ := strings.Cut(imported, "/")
	if from.name == "sdk" && strings.Contains(domain, ".") &&
		!slices.ContainsFunc(sdkMay, func(dependency string) bool { return within(imported, dependency) }) {
		return "rule 1: sdk has the standard library, grpc, protobuf, go-plugin and hclog"
	}
	return ""
}
