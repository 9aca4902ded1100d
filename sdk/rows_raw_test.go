package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// rewriteSlowly is what Raw must do to an object, by way of encoding/json.
func rewriteSlowly(object []byte, o ResultOptions) (string, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return "", errors.New("no object")
	}
	var fields []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return "", err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", err
		}
		if !o.StripNulls || string(value) != "null" {
			fields = append(fields, string(AppendString(nil, Rename(name.(string), o.Naming)))+":"+string(value))
		}
	}
	if _, err := d.Token(); err != nil {
		return "", err
	}
	if _, err := d.Token(); err != io.EOF {
		return "", errors.New("more than one object")
	}
	return "[{" + strings.Join(fields, ",") + "}]", nil
}

var rawObjects = []string{
	`{}`, ` { } `, `{"a_b":1,"c":null}`, `{"a":{"b":[1,2]}}`, `{"a":1`, `{"a":1}}`, `{"a":1} {"b":2}`, `[]`, `{"a" 1}`, ``, `null`, ` {"a":1} `,
	`{"a":1,}`, `{,}`, `{"a":}`, `{"a":1 "b":2}`, `{"a_\u0062":1,"a_\"b":2}`, `{"a":"\q"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{"a":"x`, "{\"a\":\"\n\"}", "{\"a_\xff\":1}",
	`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":-0.5e+10}`, `{"a":1E5,"b":0}`, `{"a":tru}`, `{"a":nullx}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[}`, `{"a":{]}`, `{"a":{"b"}}`,
	`{"a": [ ] , "b" : { } ,"c": [ true , false , null , "x\n\/" ] }`, `{"a_b":1,"a_b":2}`, `{"":null}`, "{\"a\":1}\x00", `{"a":1}]`, "\ufeff{}",
	`{"a":` + strings.Repeat("[", 9990) + strings.Repeat("]", 9990) + `}`, `{"a":` + strings.Repeat("[", 10010) + strings.Repeat("]", 10010) + `}`,
}

// checkRewrite compares Raw with rewriteSlowly under all policies.
func checkRewrite(t *testing.T, object []byte) {
	t.Helper()
	for _, o := range []ResultOptions{{Naming: NamesCamel}, {StripNulls: true}, {Naming: NamesSnake, StripNulls: true}} {
		want, bad := rewriteSlowly(object, o)
		w, err := write(o, func(r *Rows) error { return r.Raw(object) })
		switch {
		case (bad == nil) != (err == nil):
			t.Fatalf("%.100q: %v, want %v", object, err, bad)
		case err == nil && w.Bodies[0] != want:
			t.Fatalf("%.100q became %s, want %s", object, w.Bodies[0], want)
		}
	}
}

func TestRawIsRewritten(t *testing.T) {
	for _, s := range rawObjects {
		checkRewrite(t, []byte(s))
	}
}

// FuzzRaw holds the rewriting of raw rows to encoding/json: in what it accepts, and in
// what becomes of it.
func FuzzRaw(f *testing.F) {
	for _, s := range rawObjects {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, object []byte) { checkRewrite(t, object) })
}

func TestRawCostsNoAllocation(t *testing.T) {
	row := []byte(`{"user_id":1,"note":null,"text":"a\nb","nested":{"a_b":[1,2.5,null]}}`)
	r := NewRows(ResultOptions{Naming: NamesCamel, StripNulls: true}, func(c *Chunk) error { FreeBody(c.Body); return nil })
	n := testing.AllocsPerRun(500, func() {
		if err := r.Raw(row); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per row", n)
	}
}

// Keys that never come again must not be remembered for ever.
func TestRawRemembersFewKeys(t *testing.T) {
	r := NewRows(ResultOptions{Naming: NamesCamel}, func(c *Chunk) error { FreeBody(c.Body); return nil })
	for i := range 3 * maxRenamed {
		key := AppendString(nil, "key_"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i))
		if err := r.Raw(slices.Concat([]byte("{"), key, []byte(":1}"))); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.renamed) > maxRenamed {
		t.Errorf("%d keys are remembered", len(r.renamed))
	}
}
