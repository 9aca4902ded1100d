package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// check reads b as one value.
func check(b []byte) error {
	r := reader{b: b}
	r.value()
	r.end()
	return r.err
}

var jsonSeeds = []string{
	`{"a":1,"b":[true,false,null],"c":{"d":"e\u00e4\n"}}`, ` [ ] `, `{}`, `""`, `"`, `-0.5e+10`, `01`, `1.`, `.5`, `-`, `1e`, `nul`, `truex`,
	`{"a" 1}`, `{"a":1,}`, `[1,]`, `[,]`, `{,}`, `"\x"`, `"\u12g4"`, "\"\x01\"", "\"\x80\xff\"", `"aaaaaaa"`, `"aaaaaaaa"`, `"aaaaaaaaa\"b"`, `{"a":{}}}`, "\ufeff{}", ``, ` `,
	`["\ud800", "\u0000"]`, "\"aaaaaaaa\x1f\"", "\"\x7f\"", "[1\v]",
}

// FuzzJSON holds the reader to encoding/json: it accepts the same texts.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := check(b)
		if err != nil && strings.Contains(err.Error(), "nests deeper") {
			return
		}
		if valid := json.Valid(b); valid != (err == nil) {
			t.Fatalf("%q: valid %v, error %v", b, valid, err)
		}
		// The walking half must agree with the skipping one.
		r := reader{b: b}
		walk(&r)
		r.end()
		if (r.err == nil) != (err == nil) {
			t.Fatalf("%q: walking %v, skipping %v", b, r.err, err)
		}
	})
}

func walk(r *reader) {
	switch r.peek() {
	case '{':
		r.object(func([]byte) { walk(r) })
	case '[':
		r.array(func() { walk(r) })
	default:
		r.value()
	}
}

func TestJSONDepth(t *testing.T) {
	for depth, good := range map[int]bool{1: true, maxDepth: true, maxDepth + 1: false, 100_000: false} {
		b := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		r := reader{b: b}
		walk(&r)
		if err := check(b); (err == nil) != good || (r.err == nil) != good {
			t.Errorf("depth %d: skipping %v, walking %v", depth, err, r.err)
		}
	}
}

func TestJSONErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":tru}`: `unexpected '}' at byte 8`,
		`{"a":1`:    `it ends too early, at byte 6`,
		`[1 2]`:     `unexpected '2' at byte 3`,
	} {
		if err := check([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// thousandRows is an insert of about 100 KB.
func thousandRows() []byte {
	var b strings.Builder
	b.WriteString(`{"table_name":"events","insert_body":[`)
	for i := range 1000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"event number %d","kind":"login","ok":true,"at":"2024-01-01T00:00:00Z","score":%d.5}`, i, i, i)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

func BenchmarkJSON(b *testing.B) {
	text := thousandRows()
	for name, valid := range map[string]func([]byte) bool{
		"reader": func(text []byte) bool { return check(text) == nil }, "encoding/json": json.Valid,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if !valid(text) {
					b.Fatal("refused")
				}
			}
		})
	}
}
