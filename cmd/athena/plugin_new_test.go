package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPluginNew makes a plugin and does with it what its README says, without a network.
func TestPluginNew(t *testing.T) {
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	stdout, stderr, code := execute(t, home, "plugin", "new", "my-moons", "--kind", "backend", "--dir", "made/here", "--module", "example.org/moons", "--sdk", sources)
	folder := filepath.Join(home, "made", "here", "my-moons")
	if code != 0 || !strings.Contains(stdout, "go build -o my-moons .") || !strings.Contains(stdout, folder) {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	goes := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOPROXY=off", "GOFLAGS=-mod=readonly")
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, output)
		}
		return string(output)
	}
	goes("vet", "./...")
	goes("test", "./...")
	goes("build", "-o", "my-moons", ".")
	if output, err := exec.Command("gofmt", "-l", folder).CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("gofmt -l: %s, %v", output, err)
	}
	stdout, stderr, code = execute(t, folder, "plugin", "verify", "./my-moons", "--config", `{"token": "a-secret"}`)
	if code != 0 || !strings.Contains(stdout, "\nmy-moons 0.1.0: ") || !strings.Contains(stdout, " 0 failed") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go test ./...", "go build -o my-moons .", "athena plugin verify ./my-moons", "cp my-moons PLUGIN_DIRECTORY/", sources} {
		if !strings.Contains(string(readme), want) {
			t.Errorf("README.md does not say %q", want)
		}
	}
	if module := goes("list", "-m"); module != "example.org/moons\n" {
		t.Errorf("the module is %s", module)
	}
	if left, err := os.ReadDir(filepath.Dir(folder)); err != nil || len(left) != 1 {
		t.Errorf("beside it: %v, %v", left, err)
	}
}

// TestPluginNewFindsTheSources runs new in a folder below the sources.
func TestPluginNewFindsTheSources(t *testing.T) {
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := command(home, "plugin", "new", "moons", "--kind", "backend", "--dir", home)
	cmd.Dir = filepath.Join(sources, "core", "pluginhost")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	mod, err := os.ReadFile(filepath.Join(home, "moons", "go.mod"))
	if want := "replace " + athenaModule + " => " + sources + "\n"; err != nil || !strings.Contains(string(mod), want) {
		t.Errorf("%v; %q is not in\n%s", err, want, mod)
	}
}

// TestPluginOfARelease looks at what a release writes: tidy adds the rest.
func TestPluginOfARelease(t *testing.T) {
	defer func(before string) { version = before }(version)
	for v, want := range map[string]bool{
		"v1.2.3": true, "v0.4.0-rc.1": true, "v1.0.0-beta2": true,
		"dev": false, "v1.2.3-4-g9ec093c": false, "v1.2.3-dirty": false, "9ec093c": false, "v0.0.0-20261122223000-9ec093c0a1b2": false,
	} {
		version = v
		p := project{Name: "moons", Module: "example.com/moons", Athena: athenaModule}
		sums, err := p.build("")
		if isRelease := p.Source == "" && err == nil; isRelease != want {
			t.Errorf("%s is taken for a release: %t", v, isRelease)
		}
		if !want {
			continue
		}
		files, err := p.fill()
		if err != nil || sums != nil {
			t.Fatal(err, sums)
		}
		mod := string(files["go.mod"])
		if !strings.Contains(mod, "\nrequire "+athenaModule+" "+v+"\n") || strings.Contains(mod, "replace") || !strings.Contains(mod, "\ngo 1.") {
			t.Errorf("go.mod of %s:\n%s", v, mod)
		}
		if strings.Contains(string(files["README.md"]), "replace") {
			t.Errorf("the README of %s tells of sources", v)
		}
	}
}

// TestSDKModules holds the list to what the SDK imports.
func TestSDKModules(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "../../sdk", "../../sdk/sdktest")
	output, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(bytes.TrimSpace(output)))
	slices.Sort(modules)
	if modules = slices.Compact(modules); !slices.Equal(modules, sdkModules) {
		t.Errorf("sdkModules is %q; the SDK needs %q", sdkModules, modules)
	}
}
