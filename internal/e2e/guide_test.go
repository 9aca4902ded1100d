//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

// block is a fenced text of docs/plugins.md.
type block struct{ language, text string }

// guide reads the blocks of docs/plugins.md.
func guide(t *testing.T) []block {
	t.Helper()
	page, err := os.ReadFile("../../docs/plugins.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, found := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllSubmatch(page, -1) {
		blocks = append(blocks, block{string(found[1]), string(found[2])})
	}
	if fences := bytes.Count(page, []byte("```")); fences != 2*len(blocks) || len(blocks) == 0 {
		t.Fatalf("docs/plugins.md has %d fences, %d blocks are well formed", fences, len(blocks))
	}
	return blocks
}

// shell is a terminal in which commands of the page are pasted.
type shell struct {
	dir string // its working folder
	env []string
}

// run pastes commands. They must succeed.
func (s *shell) run(t *testing.T, commands string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "bash", "-ec", commands+"\npwd >&3")
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	at, err := os.Create(filepath.Join(t.TempDir(), "pwd"))
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	cmd.ExtraFiles = []*os.File{at}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", commands, err, output)
	}
	dir, err := os.ReadFile(at.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.dir = strings.TrimSpace(string(dir))
	t.Logf("%.1f s: %s", time.Since(began).Seconds(), strings.ReplaceAll(strings.TrimSpace(commands), "\n", "; "))
}

// newShell is a terminal in a folder of its own, with athena and the given plugin directory.
func newShell(t *testing.T, plugins string) *shell {
	t.Helper()
	return &shell{dir: t.TempDir(), env: []string{"PATH=" + filepath.Dir(athena(t)) + ":" + os.Getenv("PATH"),
		"CGO_ENABLED=0", "PLUGINS=" + plugins}}
}

// TestPluginGuide pastes the shell commands of docs/plugins.md in their order, beside a
// gateway that is never started again, and asks it what the page asks.
func TestPluginGuide(t *testing.T) {
	t.Parallel()
	blocks := guide(t)
	plugins := copyPlugins(t)
	config := slices.IndexFunc(blocks, func(b block) bool { return b.language == "yaml" })
	if config < 0 {
		t.Fatal("the page has no configuration")
	}
	g := start(t, blocks[config].text, "ATHENA_PLUGINS_DIR="+plugins, "ATHENA_KEY_12="+adminKey)
	g.ask(t, request{method: "POST", path: "/gateway/fetch", client: "moons", body: `{"table_name": "moons"}`}).
		is(t, 503, `{"code": "client_unavailable"}`)
	s := newShell(t, plugins)
	began, answered := time.Now(), false
	for i, b := range blocks {
		if b.language != "sh" {
			continue
		}
		if !strings.HasPrefix(b.text, "curl ") {
			s.run(t, b.text)
			continue
		}
		asked := time.Now()
		g.answers(t, b.text, blocks[i+1])
		t.Logf("%.1f s until the answer", time.Since(asked).Seconds())
		if !answered {
			t.Logf("first answer after %.1f s", time.Since(began).Seconds())
			answered = true
		}
	}
	if !answered {
		t.Error("nothing was asked")
	}
}

// TestPluginGuideFiles reads the page's examples of files as what reads such files does.
func TestPluginGuideFiles(t *testing.T) {
	t.Parallel()
	dialects, settings := 0, 0
	for _, b := range guide(t) {
		switch {
		case b.language == "json" && strings.Contains(b.text, `"prepare"`):
			dialects++
			if _, err := sdktest.ParseDialect([]byte(b.text)); err != nil {
				t.Error(err)
			}
		case b.language == "yaml" && strings.Contains(b.text, "clients:"):
			settings++
			g := launch(t, b.text, []string{"MOONS_TOKEN=a-secret"}, "diag")
			if code := g.wait(t); code != 0 {
				t.Errorf("diag exits with %d after reading\n%s", code, b.text)
			}
		}
	}
	if dialects != 1 || settings != 2 {
		t.Errorf("the page has %d dialects, want 1, and %d configurations, want 2", dialects, settings)
	}
}

// answers sends the page's curl command until the answer has what the page shows.
func (g *gateway) answers(t *testing.T, command string, want block) {
	t.Helper()
	requests := curls(t, strings.ReplaceAll(command, `"X-Athena-Key: $ATHENA_KEY_12"`, "'X-Athena-Key: "+adminKey+"'"))
	if len(requests) != 1 || want.language != "json" {
		t.Fatalf("one curl command and an answer in JSON are wanted: %s%s", command, want.text)
	}
	r := requests[0]
	r.path = strings.TrimPrefix(r.path, "localhost:4052")
	expected := parse(t, []byte(want.text))
	deadline := time.Now().Add(30 * time.Second)
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		a := g.ask(t, r)
		diff := cmp.Diff(expected, shown(expected, parse(t, a.body)))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s%s\nanswered %d: %s", command, diff, a.status, a.body)
		}
		<-poll.C
	}
}

// shown is what of an answer want tells of; … stands for anything.
func shown(want, got any) any {
	if want == "…" && got != nil {
		return want
	}
	w, isObject := want.(map[string]any)
	g, same := got.(map[string]any)
	if !isObject || !same {
		return got
	}
	part := map[string]any{}
	for name := range w {
		if value, ok := g[name]; ok {
			part[name] = shown(w[name], value)
		}
	}
	return part
}

// importPaths are the packages that the page's Go code may name.
var importPaths = []string{"bytes", "context", "encoding/csv", "encoding/json", "errors", "fmt", "io", "io/fs", "math", "os", "path/filepath",
	"slices", "strings", "sync/atomic", "testing", "time", "github.com/athena-gateway/athena/sdk", "github.com/athena-gateway/athena/sdk/sdktest"}

// TestPluginGuideCode makes a plugin of the page's Go code, vets it, runs its tests, and has
// it verified as an executable.
func TestPluginGuideCode(t *testing.T) {
	t.Parallel()
	testenv.BuildPlugins(t) // looks at the SDK's sources: this test is made again when they change
	s := newShell(t, t.TempDir())
	s.run(t, "athena plugin new csv --kind backend\ncd csv\nrm *.go")
	for i, b := range guide(t) {
		if b.language != "go" {
			continue
		}
		if formatted, err := format.Source([]byte(b.text)); err != nil || string(formatted) != b.text {
			t.Errorf("Go code that is not formatted (%v):\n%s", err, b.text)
		}
		name := fmt.Sprintf("block%d.go", i)
		if strings.Contains(b.text, "*testing.T") {
			name = fmt.Sprintf("block%d_test.go", i)
		}
		source := "package main\n"
		for _, path := range importPaths {
			if regexp.MustCompile(`\b` + filepath.Base(path) + `\.[A-Z]`).MatchString(b.text) {
				source += fmt.Sprintf("import %q\n", path)
			}
		}
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(source+b.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, "go vet .\ngo test .\ngo build -o csv .")
	s.run(t, `athena plugin verify ./csv --config '{"path": "."}' --run protocol,config`)
}
