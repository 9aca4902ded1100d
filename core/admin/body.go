package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// members are the members of a JSON body by name, each with the function that reads it. It
// gets nil for a member that was not sent, and its error says what is wanted.
type members map[string]func(json.RawMessage) error

// readBody reads a JSON object. It reports all mistakes together, an unknown member too. No
// body is an empty object.
func readBody(body []byte, known members) error { return readMembers(body, known, false) }

// readClientBody is readBody for routes that clients of the original server call: it skips
// unknown members, which are some client's own, unless the name looks like a misspelt one.
func readClientBody(body []byte, known members) error { return readMembers(body, known, true) }

func readMembers(body []byte, known members, skip bool) error {
	var object map[string]json.RawMessage
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &object); err != nil || object == nil {
			return sdk.E(sdk.Invalid, "invalid_json", "the request body is not a JSON object")
		}
	}
	wrong := map[string]string{}
	names := slices.Sorted(maps.Keys(known))
	for _, name := range names {
		if err := known[name](object[name]); err != nil {
			wrong[name] = err.Error()
		}
	}
	for name := range object {
		if known[name] == nil {
			near := sqlbuild.NearestName(name, names)
			switch {
			case near != "":
				wrong[name] = fmt.Sprintf("unknown field; did you mean %q?", near)
			case !skip:
				wrong[name] = "unknown field"
			}
		}
	}
	return invalidFields("invalid_body", "the request body has mistakes", wrong)
}

// invalidFields is the error that tells of each field what is wrong with it; nil if nothing
// is.
func invalidFields(code, message string, wrong map[string]string) error {
	if len(wrong) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		message += fmt.Sprintf("; %s: %s", name, wrong[name])
	}
	e := sdk.E(sdk.Invalid, code, message)
	details, err := json.Marshal(map[string]any{"fields": wrong})
	if err != nil {
		return err
	}
	e.Details = details
	return e
}

// noBody refuses a body with anything in it, which would be without effect.
func noBody(r *httpx.Request) error { return readBody(r.Body, nil) }

// field is a member of a body: not sent, null, or a value.
type field[T any] struct {
	sent  bool
	value *T // nil: null, or not sent
}

// required reads a member that must be there and not null. want says what is wanted, as in
// "want true or false"; ok, unless nil, decides about the value.
func (f *field[T]) required(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return f.value != nil })
}

// optional reads a member that may be absent, but not null.
func (f *field[T]) optional(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return f.value != nil || !f.sent })
}

// nullable reads a member that may be absent or null.
func (f *field[T]) nullable(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return true })
}

func (f *field[T]) reader(want string, ok func(T) bool, present func() bool) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		f.sent = raw != nil
		if f.sent && json.Unmarshal(raw, &f.value) != nil || !present() || f.value != nil && ok != nil && !ok(*f.value) {
			return errors.New(want)
		}
		return nil
	}
}

// or is the value, or other where there is none.
func (f *field[T]) or(other T) T {
	if f.value == nil {
		return other
	}
	return *f.value
}

// textOf accepts texts of least to most characters without control characters, which no
// name needs and which would forge lines of logs.
func textOf(least, most int) func(string) bool {
	return func(s string) bool {
		n := utf8.RuneCountInString(s)
		return n >= least && n <= most && !slices.ContainsFunc([]rune(s), func(c rune) bool { return c < ' ' || c == 0x7f })
	}
}
