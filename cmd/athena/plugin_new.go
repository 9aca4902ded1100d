package main

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:embed templates
var templates embed.FS

// athenaModule is the module that plugins are built with.
const athenaModule = "github.com/athena-gateway/athena"

// sdkModules are the modules of which the SDK and its tests have packages: a go.mod that
// does not list them is refused.
var sdkModules = []string{
	"github.com/fatih/color", "github.com/golang/protobuf", "github.com/hashicorp/go-hclog", "github.com/hashicorp/go-plugin",
	"github.com/hashicorp/yamux", "github.com/mattn/go-colorable", "github.com/mattn/go-isatty", "github.com/oklog/run",
	"go.uber.org/goleak", "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
	"google.golang.org/genproto/googleapis/rpc", "google.golang.org/grpc", "google.golang.org/protobuf",
}

// newFlags are the flags of plugin new.
type newFlags struct{ kind, dir, module, sdk string }

func newPluginNew() *cobra.Command {
	var f newFlags
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a plugin that compiles, is tested, and passes verify",
		Long: "Write a plugin that compiles, is tested, and passes verify, into a new folder NAME. It answers from\n" +
			"a small table and from any JSON API: make of it what you need.",
		Example: "  athena plugin new moons --kind backend\n" +
			"  athena plugin new moons --kind backend --dir ~/src --module github.com/me/moons",
		Args: oneArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error { return newProject(cmd, args[0], &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "what the plugin is: backend (required)")
	flags.StringVar(&f.dir, "dir", ".", "where to make the folder")
	flags.StringVar(&f.module, "module", "", "the Go module's path (default example.com/NAME)")
	flags.StringVar(&f.sdk, "sdk", "", "build with the Athena sources in this folder, not with a release")
	return cmd
}

// project is what the templates are filled with.
type project struct {
	Name, Module string
	Go           string   // version of the language
	Athena       string   // its module
	Version      string   // its version
	Source       string   // folder of its sources; "": the released version is downloaded
	Requirements []string // modules with versions that its packages need; of a release `go mod tidy` finds them
}

var (
	pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	modulePath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9_][A-Za-z0-9._~-]*)*$`)
	// release is a version that can be downloaded, unlike that of a build between two.
	release = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-(alpha|beta|rc)[.0-9]*)?$`)
)

// newProject checks the flags, writes the folder and says what comes next.
func newProject(cmd *cobra.Command, name string, f *newFlags) error {
	p := project{Name: name, Module: f.module, Athena: athenaModule}
	if p.Module == "" {
		p.Module = "example.com/" + name
	}
	folder, err := filepath.Abs(filepath.Join(f.dir, name))
	switch {
	case f.kind != "backend":
		return usageError{fmt.Errorf("there is no kind of plugin %q: give --kind backend, the only one there is", f.kind)}
	case !pluginName.MatchString(name):
		return usageError{fmt.Errorf("%q cannot be a plugin's name: it begins with a small letter, and small letters, digits and - follow", name)}
	case !modulePath.MatchString(p.Module):
		return usageError{fmt.Errorf("--module %q is no Go module path: give one such as github.com/me/%s", p.Module, name)}
	case err != nil:
		return err
	}
	if _, err := os.Lstat(folder); err == nil {
		return usageError{fmt.Errorf("%s is there already: choose another name, or remove it", folder)}
	}
	sums, err := p.build(f.sdk)
	if err != nil {
		return usageError{err}
	}
	if err := p.write(folder, sums); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "written: %s, built with Athena %s\n", folder, cmp.Or(p.Source, p.Version))
	if p.Source == "" {
		tidy := exec.Command("go", "mod", "tidy")
		tidy.Dir = folder
		tidy.Stdout, tidy.Stderr = cmd.ErrOrStderr(), cmd.ErrOrStderr()
		if err := tidy.Run(); err != nil {
			return fmt.Errorf("`go mod tidy`, which downloads Athena %s, failed: %w; run it again in %s", p.Version, err, folder)
		}
	}
	fmt.Fprintf(w, "next:\n  cd %s\n  go test ./...\n  go build -o %s .\n  athena plugin verify ./%s\nREADME.md has the rest.\n", folder, name, name)
	return nil
}

// build finds out what the plugin is built with: the release that this program is, or the
// sources in a folder. It returns the lines of go.sum.
func (p *project) build(sdk string) (sums []byte, err error) {
	p.Version = version
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" { // go install sets no version
		p.Version = info.Main.Version
	}
	if sdk == "" && release.MatchString(p.Version) {
		p.Go = strings.Join(append(strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)[:2], "0"), ".")
		return nil, nil
	}
	p.Version = "v0.0.0"
	if p.Source, err = findSources(sdk); err != nil {
		return nil, err
	}
	mod, err := os.ReadFile(filepath.Join(p.Source, "go.mod"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mod)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "go":
			p.Go = words[1]
		case len(words) >= 2 && slices.Contains(sdkModules, words[0]):
			p.Requirements = append(p.Requirements, words[0]+" "+words[1])
		}
	}
	slices.Sort(p.Requirements)
	all, err := os.ReadFile(filepath.Join(p.Source, "go.sum"))
	for line := range bytes.Lines(all) {
		if module, _, _ := strings.Cut(string(line), " "); slices.Contains(sdkModules, module) {
			sums = append(sums, line...)
		}
	}
	return sums, err
}

// findSources returns the folder of Athena's sources: the named one, or one above the working
// directory or this program.
func findSources(named string) (string, error) {
	if named != "" {
		folder, err := filepath.Abs(named)
		if err == nil && !isSources(folder) {
			err = fmt.Errorf("--sdk %s is no folder with Athena's sources: its go.mod must say module %s", folder, athenaModule)
		}
		return folder, err
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if program, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(program))
	}
	for _, folder := range starts {
		for ; ; folder = filepath.Dir(folder) {
			if isSources(folder) {
				return folder, nil
			}
			if folder == filepath.Dir(folder) {
				break
			}
		}
	}
	return "", fmt.Errorf("this athena (%s) is no release, so the plugin must be built with its sources, and they are neither above "+
		"the working directory nor above this program: name their folder with --sdk", version)
}

func isSources(folder string) bool {
	mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	return err == nil && strings.HasPrefix(string(mod), "module "+athenaModule+"\n")
}

// write makes the folder, whole or not at all.
func (p *project) write(folder string, sums []byte) error {
	files, err := p.fill()
	if err != nil {
		return err
	}
	if len(sums) > 0 {
		files["go.sum"] = sums
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(folder), ".athena-new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(temp, name), text, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	return os.Rename(temp, folder)
}

// fill returns the files of a plugin by name.
func (p *project) fill() (map[string][]byte, error) {
	const dir = "templates/backend"
	entries, err := templates.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".tmpl")
		if name == "gitignore" {
			name = ".gitignore"
		}
		t, err := template.New(entry.Name()).Delims("[[", "]]").ParseFS(templates, dir+"/"+entry.Name())
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := t.Execute(&text, p); err != nil {
			return nil, err
		}
		files[name] = text.Bytes()
	}
	return files, nil
}
