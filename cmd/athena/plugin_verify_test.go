package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginVerify verifies the sqlite plugin by its own dialect and by one of a file.
func TestPluginVerify(t *testing.T) {
	home := t.TempDir()
	binary := filepath.Join(pluginFolder(t, nil), "sqlite")
	database := filepath.Join(home, "check.db")
	for name, text := range map[string]string{
		database:                            "",
		filepath.Join(home, "config.json"):  fmt.Sprintf(`{"path": %q}`, database),
		filepath.Join(home, "dialect.json"): `{"prepare": ["DROP TABLE IF EXISTS athena_items", "CREATE TABLE athena_items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, code TEXT UNIQUE, qty BIGINT, price NUMERIC, active BOOLEAN, made_at TIMESTAMP, doc JSON)"], "fill": ["SELECT 1"], "numbers": "athena_numbers"}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dialect := range []string{"sqlite", "dialect.json"} {
		stdout, stderr, code := execute(t, home, "plugin", "verify", binary, "--config", "@config.json", "--dialect", dialect, "--run", "protocol/manifest,config/opens,crud/insert,errors/panic,errors/syntax")
		want := []string{"ok    start ", "ok    protocol/manifest ", "ok    config/opens ", "ok    crud/insert ", "--    errors/panic                     not declared: the dialect's statement Panic"}
		if dialect == "sqlite" {
			want = append(want, "ok    errors/syntax", "\nsqlite 0.1.0: 5 passed, 0 failed, 1 not declared\n")
		} else {
			want = append(want, "--    errors/syntax", "\nsqlite 0.1.0: 4 passed, 0 failed, 2 not declared\n")
		}
		for _, line := range want {
			if !strings.Contains(stdout, line) {
				t.Errorf("%s: %q is not in\n%s", dialect, line, stdout)
			}
		}
		if code != 0 || stderr != "" || strings.Contains(stdout, "calls itself") {
			t.Errorf("%s: exit code %d, %s", dialect, code, stderr)
		}
	}

	// A file of another name passes, with a word on it.
	other := filepath.Join(home, "other")
	if err := os.Symlink(binary, other); err != nil {
		t.Fatal(err)
	}
	stdout, _, code := execute(t, home, "plugin", "verify", "./other", "--config", fmt.Sprintf(`{"path": %q}`, database), "--run", "protocol/manifest,crud/insert")
	if code != 0 || !strings.Contains(stdout, "The plugin calls itself sqlite: name its file so") || !strings.Contains(stdout, "not declared: a dialect") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}

// TestPluginVerifyReports reads the machine's reports of failures.
func TestPluginVerifyReports(t *testing.T) {
	home := t.TempDir()
	binary := filepath.Join(pluginFolder(t, nil), "sqlite")
	if err := os.WriteFile(filepath.Join(home, "broken"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(home, "report.xml")
	for _, test := range []struct {
		args []string
		want map[string]string // by check
	}{
		{[]string{"./broken"}, map[string]string{"start": "failed"}},
		// A folder that is not there: the file cannot be made, and nothing can be opened.
		{[]string{binary, "--config", `{"path": "none/check.db"}`, "--run", "protocol/manifest,config/opens,crud/insert"},
			map[string]string{"start": "ok", "protocol/manifest": "ok", "config/opens": "failed", "crud/insert": "not_declared"}},
	} {
		stdout, stderr, code := execute(t, home, append([]string{"plugin", "verify", "--json", "--junit", report}, test.args...)...)
		if code != 1 || !strings.Contains(stderr, "checks failed") {
			t.Errorf("exit code %d, %s", code, stderr)
		}
		got := map[string]string{}
		for line := range strings.Lines(stdout) {
			var r struct{ Check, Doc, Result, Error, Missing string }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			got[r.Check] = r.Result
			if r.Doc == "" || (r.Result == "failed") != (r.Error != "") || (r.Result == "not_declared") != (r.Missing != "") {
				t.Errorf("%+v", r)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%v; want %v", got, test.want)
		}
		text, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		var junit struct {
			Suites []junitSuite `xml:"testsuite"`
		}
		if err := xml.Unmarshal(text, &junit); err != nil || len(junit.Suites) != 1 {
			t.Fatalf("%v\n%s", err, text)
		}
		suite, inReport := junit.Suites[0], map[string]string{}
		for _, c := range suite.Cases {
			switch {
			case c.Failure != nil && c.Failure.Text != "":
				inReport[c.Name] = "failed"
			case c.Skipped != nil:
				inReport[c.Name] = "not_declared"
			default:
				inReport[c.Name] = "ok"
			}
		}
		if fmt.Sprint(inReport) != fmt.Sprint(test.want) || suite.Failures != 1 || suite.Tests != len(test.want) {
			t.Errorf("%s; want %v", text, test.want)
		}
	}
	stdout, _, _ := execute(t, home, "plugin", "verify", "./broken")
	if !strings.Contains(stdout, "FAIL  start ") || !strings.Contains(stdout, "want: the plugin starts") || !strings.Contains(stdout, "            no database") {
		t.Errorf("printed\n%s", stdout)
	}
}
