package config

import (
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B_2": "two", "TRICKY": "${A} $${A} }"}
	lookup := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	for _, test := range []struct {
		in, out string
		missing []string
		err     error
	}{
		{in: "", out: ""},
		{in: "plain $ {A} }", out: "plain $ {A} }"},
		{in: "${A}", out: "1"},
		{in: "x${A}y${B_2}z", out: "x1ytwoz"},
		{in: "${NO}", missing: []string{"NO"}},
		{in: "${NO}${NO_2}", missing: []string{"NO", "NO_2"}},
		{in: "${NO:-}", out: ""},
		{in: "${NO:-a:-b}", out: "a:-b"},
		{in: "${A:-other}", out: "1"},
		{in: "${TRICKY}", out: "${A} $${A} }"},
		{in: "$${A}", out: "${A}"},
		{in: "$$${A}", out: "$${A}"},
		{in: "$A", out: "$A"},
		{in: "$", out: "$"},
		{in: "${", err: errUnclosed},
		{in: "${A", err: errUnclosed},
		{in: "${}", err: errBadName},
		{in: "${1}", err: errBadName},
		{in: "${A-x}", err: errBadName},
		{in: "${A:-${B_2}}", err: errBadName},
		{in: "${é}", err: errBadName},
	} {
		out, missing, err := expand(test.in, lookup)
		if out != test.out || !slices.Equal(missing, test.missing) || err != test.err {
			t.Errorf("expand(%q) = %q, %v, %v; want %q, %v, %v", test.in, out, missing, err, test.out, test.missing, test.err)
		}
	}
}

// FuzzExpand holds expansion to a second description of it: pieces between variables
// come through as they are, and a value is never read as text to expand.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"", "${A}", "a${A:-b}c", "$${A}", "${", "$$$${}", "}${A}${"} {
		f.Add(seed, "v${A}$${")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		const mark = "\x00"
		if strings.Contains(text, mark) || value == "" {
			return
		}
		known := func(string) (string, bool) { return value, true }
		marked, missing, err := expand(text, func(string) (string, bool) { return mark, true })
		got, _, again := expand(text, known)
		if (err == nil) != (again == nil) || len(missing) != 0 {
			t.Fatalf("the value decides whether the text is right: %v, %v", err, again)
		}
		if want := strings.ReplaceAll(marked, mark, value); err == nil && got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if !strings.Contains(text, "${") && got != text {
			t.Fatalf("text without variables became %q", got)
		}
		escaped, _, err := expand(strings.ReplaceAll(text, "${", "$${"), known)
		if err != nil || escaped != text {
			t.Fatalf("an escaped text gave %q, %v", escaped, err)
		}
	})
}
