//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFirstRun starts athena where there is no configuration and pastes the requests that
// it prints.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	began := time.Now()
	g := launch(t, "", nil, "server")
	g.ready(t)
	eventually(t, 5*time.Second, "three requests are printed", func() bool { return len(curls(t, g.stdout.String())) == 3 })
	for i, r := range curls(t, g.stdout.String()) {
		r.path = strings.TrimPrefix(r.path, g.url)
		answer := g.ask(t, r)
		if i == 0 {
			core, plugin := g.memory(t, "sqlite")
			t.Logf("first answer after %s; core %d MB, plugin %d MB", time.Since(began), core>>20, plugin>>20)
		}
		answer.is(t, 200, `{"status": "success"}`)
		if rows, ok := answer.value(t, "data").([]any); i != 1 && (!ok || len(rows) < 4) {
			t.Errorf("request %d: too few rows in %s", i+1, answer.body)
		}
	}
	written := filepath.Join(g.dir, ".config", "athena", "config.yaml")
	want, err := os.ReadFile("../../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(written); err != nil || string(got) != string(want) {
		t.Errorf("%s is not the default configuration: %v", written, err)
	}
	contains(t, "the log", g.stderr.String(), written)
	g.stop(t)

	// The second start finds the file and what was written to the database.
	g2 := launch(t, "", []string{"HOME=" + g.dir}, "server")
	g2.ready(t)
	g2.query(t, "demo", "SELECT name FROM crew WHERE name = 'Ada'").is(t, 200, `{"data": [{"name": "Ada"}]}`)
	g2.stop(t)
}

// memory is the peak memory of the core and of one plugin, in bytes.
func (g *gateway) memory(t *testing.T, name string) (core, plugin int64) {
	t.Helper()
	p, ok := g.plugin(name)
	if !ok {
		t.Fatalf("there is no plugin %s", name)
	}
	return peakMemory(t, g.cmd.Process.Pid), peakMemory(t, p.pid)
}

// curls reads the curl commands in a text for a shell.
func curls(t *testing.T, text string) []request {
	t.Helper()
	var found []request
	for _, command := range commands(text) {
		if len(command) == 0 || command[0] != "curl" {
			continue
		}
		r := request{method: "GET"}
		for i := 1; i < len(command); i++ {
			switch word := command[i]; word {
			case "-s":
			case "-X", "-H", "-d":
				if i++; i == len(command) {
					return found // printed in part
				}
				switch value := command[i]; word {
				case "-X":
					r.method = value
				case "-H":
					name, value, _ := strings.Cut(value, ": ")
					r.header = append(r.header, name, value)
				case "-d":
					if r.body = value; r.method == "GET" {
						r.method = "POST"
					}
				}
			default:
				r.path = word
			}
		}
		if r.body != "" && !json.Valid([]byte(r.body)) {
			return found
		}
		found = append(found, r)
	}
	return found
}

// commands splits a shell's text, of plain words and '...' alone, into commands of words.
func commands(text string) [][]string {
	var list [][]string
	var command []string
	var word strings.Builder
	quoted, begun := false, false
	endWord := func() {
		if begun {
			command = append(command, word.String())
			word.Reset()
			begun = false
		}
	}
	for _, c := range text {
		switch {
		case c == '\'':
			quoted, begun = !quoted, true
		case !quoted && c == '\n':
			endWord()
			list = append(list, command)
			command = nil
		case !quoted && c == ' ':
			endWord()
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	return list
}
