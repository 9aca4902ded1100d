package arch

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestImports(t *testing.T) {
	broken, err := check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range broken {
		t.Error(message)
	}
}

// TestTheRulesCatch holds check to a tree with one violation of each kind.
func TestTheRulesCatch(t *testing.T) {
	importing := func(imports ...string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("package p\nimport (\n\"" + strings.Join(imports, "\"\n\"") + "\"\n)\n")}
	}
	tree := fstest.MapFS{
		// What is right.
		"embed.go":                    importing("embed"),
		"cmd/athena/main.go":          importing(module, module+"/core", module+"/core/config", "github.com/spf13/cobra"),
		"core/core.go":                importing(module+"/core/config", module+"/core/postgrest", module+"/sdk"),
		"core/postgrest/a.go":         importing(module+"/core/httpx", module+"/core/gateway"),
		"core/httpx/a.go":             importing("github.com/gofiber/fiber/v2", module+"/core/gateway"),
		"core/registry/a.go":          importing(module+"/core/pluginhost", module+"/sdk"),
		"core/registry/a_test.go":     importing(module+"/internal/testenv", module+"/sdk/sdktest", "github.com/jackc/pgx/v5"),
		"plugins/postgres/main.go":    importing(module+"/sdk", module+"/sdk/sqlbuild", "github.com/jackc/pgx/v5/pgxpool"),
		"sdk/sdktest/a.go":            importing(module+"/sdk", "google.golang.org/grpc/codes"),
		"examples/plugin-a/main.go":   importing(module + "/sdk"),
		"examples/plugin-a/a_test.go": importing(module+"/core/pluginhost", module+"/sdk/sdktest"),
		"tools/go.mod":                {},
		"tools/protogen/main.go":      importing("google.golang.org/protobuf/proto"),
		"core/gateway/testdata/a.go":  importing(module + "/core/httpx"),
		"core/httpx/external_test.go": importing(module + "/core/httpx"),
		// What is not.
		"core/backups/a.go":      importing(module+"/core/postgrest", module+"/core/config", module+"/core"),
		"core/cache/a.go":        importing(module + "/core/httpx"),
		"core/deferred/a.go":     importing("github.com/valyala/fasthttp"),
		"core/gateway/a.go":      importing(module + "/core/config"),
		"core/gateway/b.go":      importing(module + "/internal/testenv"),
		"core/httpx/b.go":        importing("github.com/gofiber/fiber/v2/middleware/compress"),
		"core/oplog/a_test.go":   importing(module + "/core/explorer"),
		"examples/plugin-b/a.go": importing(module + "/core/pluginhost"),
		"internal/testenv/a.go":  importing(module + "/sdk"),
		"junk/a.go":              importing("fmt"),
		"plugins/long/main.go":   {Data: []byte("package main\n" + strings.Repeat("\n", 20))},
		"plugins/scylla/a.go":    importing(module+"/core/gateway", module+"/plugins/postgres", "modernc.org/sqlite"),
		"sdk/a.go":               importing(module+"/core", "github.com/google/uuid"),
		"cmd/athena/b.go":        importing(module + "/plugins/sqlite"),
	}
	const doorsAndSlices = ": rules 4 and 6: doors and slices import httpx, the spine and sdk, never each other and no config"
	const theSpine = ": rule 5: the spine imports no door, no slice, no httpx and no config"
	want := []string{
		"cmd/athena/b.go imports " + module + "/plugins/sqlite: rule 3: nothing imports plugins",
		"core/backups/a.go imports " + module + "/core/postgrest" + doorsAndSlices,
		"core/backups/a.go imports " + module + "/core/config" + doorsAndSlices,
		"core/backups/a.go imports " + module + "/core" + doorsAndSlices,
		"core/cache/a.go imports " + module + "/core/httpx" + theSpine,
		"core/deferred/a.go imports github.com/valyala/fasthttp: fasthttp belongs to httpx and wsapi",
		"core/gateway/a.go imports " + module + "/core/config" + theSpine,
		"core/gateway/b.go imports " + module + "/internal/testenv" + theSpine,
		"core/httpx/b.go imports github.com/gofiber/fiber/v2/middleware/compress: it ends a broken answer as if it were whole; httpx compresses itself",
		"core/oplog/a_test.go imports " + module + "/core/explorer" + theSpine,
		"examples/plugin-b/a.go imports " + module + "/core/pluginhost: an example is a plugin: it imports only sdk, and its test the host",
		"internal/testenv/a.go imports " + module + "/sdk: it imports nothing of ours",
		"junk/a.go: the folder junk has no place in the house (ARCHITECTURE.md, internal/arch/rules_test.go)",
		"plugins/long/main.go has 21 lines: a plugin's main.go has at most 20",
		"plugins/scylla/a.go imports " + module + "/core/gateway: rule 2: plugins import only sdk",
		"plugins/scylla/a.go imports " + module + "/plugins/postgres: rule 2: plugins import only sdk",
		"plugins/scylla/a.go imports modernc.org/sqlite: a driver belongs to the ledger and its plugin",
		"sdk/a.go imports " + module + "/core: rule 1: sdk imports nothing of ours",
		"sdk/a.go imports github.com/google/uuid: rule 1: sdk has the standard library, grpc, protobuf, go-plugin and hclog",
	}
	got, err := check(tree)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
