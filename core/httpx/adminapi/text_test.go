package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestStorable are values that one of the ledgers would refuse, and others that look like them.
func TestStorable(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for value, want := range map[string]error{
		`null`:                                  nil,
		`{"a":[1,-2.5e3,true,"é\ud83d\ude00"]}`: nil,
		`"\\u0000"`:                             nil,
		`"\\\\ud800"`:                           nil,
		`"\"\\"`:                                nil,
		`"1e400000"`:                            nil,
		`[1e1000,-1E-1000,1e+5]`:                nil,
		strings.Repeat("9", 1000):               nil,
		nested(100):                             nil,
		`"\u0000"`:                              errText,
		`"\\\u0000"`:                            errText,
		`{"\u0000":1}`:                          errText,
		`"\ud800"`:                              errText,
		`"\ud800x"`:                             errText,
		`"\ud800\n1234"`:                        errText,
		`"\ud800\u0041"`:                        errText,
		`"\udc00\ud800"`:                        errText,
		"\"\xff\"":                              errText,
		"\"\xed\xa0\x80\"":                      errText,
		`1e400000`:                              errNumber,
		`{"a":[1e1001]}`:                        errNumber,
		`1e-1001`:                               errNumber,
		`1e99999999999999999999`:                errNumber,
		"0." + strings.Repeat("1", 17000):       errNumber,
		nested(101):                             errDepth,
	} {
		if !json.Valid([]byte(value)) {
			t.Fatalf("%s is no JSON", value)
		}
		if err := storable(json.RawMessage(value)); err != want {
			t.Errorf("%.100s: %v, want %v", value, err, want)
		}
	}
}

// FuzzStorable: whatever is well formed is read to its end.
func FuzzStorable(f *testing.F) {
	for _, value := range []string{`{"a":[1,"\ud83d\ude00"]}`, `"\ud800"`, `"\ud800\u"`, `-1e5`, "\"\xff\""} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		if err := storable(value); err == nil && strings.Contains(fmt.Sprint(decoded(t, value)), "\x00") {
			t.Errorf("%q has a zero byte", value)
		}
	})
}

func decoded(t *testing.T, value []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(value, &v); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
		t.Fatal(err)
	}
	return v
}

// TestOutcome: what is said of a failure can be stored, whoever's words are in it.
func TestOutcome(t *testing.T) {
	for want, err := range map[string]error{
		"done":                  nil,
		"failed: a: b c\uFFFDd": sdk.E(sdk.Invalid, "a", "b\nc\xff\x00d"),
		"failed: internal: ":    errors.New("private"),
	} {
		if got := Outcome(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
