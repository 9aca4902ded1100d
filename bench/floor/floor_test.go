package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestAppendRow(t *testing.T) {
	row := appendRow(nil, [][]byte{[]byte("7"), []byte("a \"b\"\n\\ ü\x01"), nil, []byte("1.50"), nil, []byte("t"),
		[]byte("2026-01-02 03:04:05.6+00"), []byte(`{"a": [1]}`)})
	want := `{"id":7,"name":"a \"b\"\n\\ ü\u0001","category":null,"price":1.50,"quantity":null,"active":true,` +
		`"created_at":"2026-01-02T03:04:05.6+00:00","tags":{"a": [1]}}`
	if string(row) != want {
		t.Errorf("got  %s\nwant %s", row, want)
	}
	nulls := appendRow(nil, make([][]byte, 8))
	want = `{"id":null,"name":null,"category":null,"price":null,"quantity":null,"active":null,"created_at":null,"tags":null}`
	if string(nulls) != want {
		t.Errorf("got  %s\nwant %s", nulls, want)
	}
}

func TestValueOf(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":1,"value":123}`:                   `123`,
		`{"c":[{"value":"x,}\"y"}],"limit":2}`:  `"x,}\"y"`,
		`{"value":{"a":[1,"]}"],"b":{}},"z":1}`: `{"a":[1,"]}"],"b":{}}`,
		`{"value":[{"a":1},{"a":2}]}`:           `[{"a":1},{"a":2}]`,
		`{"value":[{"a":1}`:                     ``,
		`{"other":1}`:                           ``,
	} {
		if got := valueOf([]byte(body), valueKey); string(got) != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

// FuzzValueOf requires that the value of any JSON object's key is found whole.
func FuzzValueOf(f *testing.F) {
	f.Add([]byte(`{"a":[1,"}\\"]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		value = bytes.TrimSpace(value)
		body := append(append([]byte(`{"value":`), value...), `,"z":1}`...)
		got := valueOf(body, valueKey)
		if json.Valid(value) && !bytes.Equal(got, value) {
			t.Errorf("%q: got %q", value, got)
		}
	})
}

// FuzzAppendText requires that a JSON decoder reads back what was written.
func FuzzAppendText(f *testing.F) {
	f.Add("a \"b\"\\\n\x01ü")
	f.Fuzz(func(t *testing.T, text string) {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var a, b string
		if err := json.Unmarshal(want, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(appendText(nil, []byte(text)), &b); err != nil || a != b {
			t.Errorf("%q: %q %v", text, b, err)
		}
	})
}
