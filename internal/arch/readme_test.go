package arch

import (
	"bytes"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmePlugin compiles the plugin that the README shows, and counts its lines.
func TestReadmePlugin(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(readme), "\n"); lines > 150 {
		t.Errorf("README.md has %d lines, at most 150", lines)
	}
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("README.md shows no plugin")
	}
	lines := 0
	for line := range strings.Lines(string(block[1])) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines > 20 {
		t.Errorf("the README's plugin has %d lines, its heading says 20", lines)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, block[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if formatted, err := format.Source(block[1]); err != nil || !bytes.Equal(formatted, block[1]) {
		t.Errorf("the README's plugin is not formatted (%v)", err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "hello"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Errorf("the README's plugin: %v\n%s", err, output)
	}
}
