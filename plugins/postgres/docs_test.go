package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentation holds the page's table of keys to Config.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = strings.TrimSpace(row[2])
	}
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		field := config.Field(i)
		want := ""
		for option := range strings.SplitSeq(field.Tag.Get("athena"), ",") {
			if value, ok := strings.CutPrefix(option, "default="); ok {
				want = value
			} else if option == "required" {
				want = option
			}
		}
		name := field.Tag.Get("json")
		got, ok := documented[name]
		if !ok || got != want {
			t.Errorf("docs/postgres.md says %q of %s, Config %q", got, name, want)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/postgres.md documents %s, which is no key", name)
	}
}
