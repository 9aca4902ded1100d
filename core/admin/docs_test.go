//go:build linux

package admin

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/internal/testenv"
)

// TestDocumentation runs the examples of docs/plugins-admin.md in their order.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/plugins-admin.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(testenv.BuildPlugins(t), "sqlite"), filepath.Join(dir, "sqlite")); err != nil {
		t.Fatal(err)
	}
	s := serve(t, pluginhost.Options{Dir: dir, Limits: pluginhost.Limits{Memory: 512 << 20}}, hclog.NewNullLogger())
	config, err := json.Marshal(map[string]any{"path": filepath.Join(t.TempDir(), "shop.db"), "sample": true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := s.host.Open(ctx, "sqlite", "shop", config); err != nil {
		t.Fatal(err)
	}
	runExamples(t, s, string(page))
	tellsOf(t, string(page), func(path string) bool {
		return strings.HasPrefix(path, "/admin/plugins/:name/") || path == "/admin/plugins"
	})
}

// TestKeyDocumentation runs the examples of docs/api-keys.md in their order.
func TestKeyDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/api-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	s := serveKeys(t, ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db")))
	runExamples(t, s.server, string(page))
	tellsOf(t, string(page), func(path string) bool {
		return strings.HasPrefix(path, "/admin/api-key") || strings.HasPrefix(path, "/admin/rights")
	})
	for _, right := range auth.Catalogue() {
		if !strings.Contains(string(page), "| `"+right.Name+"` |") {
			t.Errorf("the page does not tell of %s", right.Name)
		}
	}
}

// runExamples runs the requests of a page and compares the answers.
func runExamples(t *testing.T, s *server, page string) {
	t.Helper()
	examples := regexp.MustCompile("(?s)```http\n(\\S+) (\\S+)\n(.*?)```\n```json (\\d+)\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(examples) != strings.Count(page, "```http") || len(examples) == 0 {
		t.Fatalf("%d examples are well formed, of %d", len(examples), strings.Count(page, "```http"))
	}
	for _, example := range examples {
		status, answer := s.call(t, example[1], example[2], strings.TrimSpace(example[3]))
		if want, _ := strconv.Atoi(example[4]); status != want {
			t.Errorf("%s %s: status %d, want %d: %s", example[1], example[2], status, want, answer)
			continue
		}
		var got, want any
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(example[5]), &want); err != nil {
			t.Fatalf("%v in %s", err, example[5])
		}
		if d := cmp.Diff(want, masked(want, got)); d != "" {
			t.Errorf("%s %s: %s", example[1], example[2], d)
		}
	}
}

// tellsOf checks that the page has each of the routes.
func tellsOf(t *testing.T, page string, mine func(path string) bool) {
	t.Helper()
	for _, route := range New(Options{}).Routes() {
		if !mine(route.Path) {
			continue
		}
		path := strings.NewReplacer(":name", "{name}", ":id", "{id}", ":client_name", "{client_name}").Replace(route.Path)
		if !strings.Contains(page, "`"+route.Method+" "+path+"`") && !strings.Contains(page, "`"+route.Method+" "+path+"?") {
			t.Errorf("the page does not tell of %s %s", route.Method, path)
		}
	}
}

// masked puts … into got where want has it.
func masked(want, got any) any {
	if want == "…" && got != nil {
		return want
	}
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		for name, value := range g {
			g[name] = masked(w[name], value)
		}
	case []any:
		g, _ := got.([]any)
		for i := range min(len(w), len(g)) {
			g[i] = masked(w[i], g[i])
		}
	}
	return got
}
