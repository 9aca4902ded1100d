package config

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSearchDirs(t *testing.T) {
	env := environ{"APPDATA": "/roaming", "LOCALAPPDATA": "/local", "XDG_CONFIG_HOME": "/xdg", "HOME": "/home/a"}
	for _, test := range []struct {
		goos string
		env  environ
		want []string
	}{
		{"linux", env, []string{"/xdg/athena", "/home/a/.config/athena", "/home/a/.athena", "/work"}},
		{"darwin", env, []string{"/xdg/athena", "/home/a/.config/athena", "/home/a/.athena",
			"/home/a/Library/Application Support/athena", "/work"}},
		{"windows", env, []string{"/roaming/athena", "/local/athena", "/xdg/athena", "/home/a/.config/athena", "/home/a/.athena", "/work"}},
		{"linux", environ{}, []string{"/work"}},
	} {
		var got []string
		for _, dir := range searchDirs(test.goos, test.env, "/work") {
			got = append(got, filepath.ToSlash(dir))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.goos, diff)
		}
	}
}

// searchIn loads by the search path of a home and a working folder.
func searchIn(t *testing.T, home, working string) (*Config, error) {
	t.Helper()
	t.Chdir(working)
	return Load(Options{Env: []string{"HOME=" + home}, Default: []byte("api: {port: 1}")})
}

func TestFirstRun(t *testing.T) {
	home, working := t.TempDir(), t.TempDir()
	c, err := searchIn(t, home, working)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(home, ".config", "athena", "config.yaml")
	if c.Path != want || !c.Created || c.API.Port != 1 || len(c.Searched) != 3 {
		t.Fatalf("%+v", c)
	}
	file, err := os.Stat(want)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.Stat(filepath.Dir(want))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && (file.Mode().Perm() != 0o600 || folder.Mode().Perm() != 0o700) {
		t.Errorf("modes %v in %v", file.Mode(), folder.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(want)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if c, err = searchIn(t, home, working); err != nil || c.Created {
		t.Errorf("the second run created the file again: %v", err)
	}
}

func TestFirstRunTakesTheFirstWritablePlace(t *testing.T) {
	home, working := filepath.Join(t.TempDir(), "home"), t.TempDir()
	if err := os.WriteFile(home, nil, 0o600); err != nil { // a file where a folder should be
		t.Fatal(err)
	}
	c, err := searchIn(t, home, working)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := filepath.EvalSymlinks(c.Dir); filepath.Base(got) != filepath.Base(working) {
		t.Errorf("written to %s, want %s", c.Dir, working)
	}
	missing := filepath.Join(home, "nothing")
	c = &Config{}
	_, err = c.search([]string{home, missing}, []byte("api:"))
	for _, place := range []string{home, missing, "--config"} {
		if err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("error %v does not name %s", err, place)
		}
	}
}

func TestWithoutADefaultNothingIsWritten(t *testing.T) {
	home, working := t.TempDir(), t.TempDir()
	t.Chdir(working)
	_, err := Load(Options{Env: []string{"HOME=" + home}})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(home, ".athena")) {
		t.Errorf("error %v does not name the places", err)
	}
	for _, dir := range []string{home, working} {
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("written: %v", left)
		}
	}
}

func TestExistingFilesWinInOrder(t *testing.T) {
	home, working := t.TempDir(), t.TempDir()
	inWorking, inHome := filepath.Join(working, "config.yaml"), filepath.Join(home, ".athena", "config.yaml")
	for _, path := range []string{inWorking, inHome} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("api: {port: 7}"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := searchIn(t, home, working)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(c.Searched, path) || filepath.Base(c.Dir) != filepath.Base(filepath.Dir(path)) || c.API.Port != 7 {
			t.Errorf("read %s, want %s", c.Path, path)
		}
	}
}

func TestNamedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.yaml")
	if _, err := Load(Options{Path: path}); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("api: {port: 9}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{Env: []string{"ATHENA_CONFIG_PATH=" + path}})
	if err != nil || c.Path != path || c.API.Port != 9 || c.Searched != nil {
		t.Errorf("by ATHENA_CONFIG_PATH: %+v, %v", c, err)
	}
}
