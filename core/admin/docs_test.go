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
	examples := regexp.MustCompile("(?s)```http\n(\\S+) (\\S+)\n(.*?)```\n```json (\\d+)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) != strings.Count(string(page), "```http") || len(examples) == 0 {
		t.Fatalf("%d examples are well formed, of %d", len(examples), strings.Count(string(page), "```http"))
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
	for _, route := range New(Options{}).Routes() {
		if !strings.HasPrefix(route.Path, "/admin/plugins") {
			continue
		}
		if path := strings.ReplaceAll(route.Path, ":name", "{name}"); !strings.Contains(string(page), "`"+route.Method+" "+path) && path != "/admin/plugins/{name}" {
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
