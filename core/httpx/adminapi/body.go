// Package adminapi is what the operators' routes of all slices have in common: bodies read
// member by member, pages of lists, envelopes, and lines of the audit log.
package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Members are the members of a JSON body by name, each with the function that reads it. It
// gets nil for a member that was not sent, and its error says what is wanted. What a ledger
// cannot hold does not reach it.
type Members map[string]func(json.RawMessage) error

// ReadBody reads a JSON object. It reports all mistakes together, an unknown member too. No
// body is an empty object.
func ReadBody(body []byte, known Members) error { return readMembers(body, known, false) }

// ReadClientBody is ReadBody for routes that clients of the original server call: it skips
// unknown members, which are some client's own, unless the name looks like a misspelt one.
func ReadClientBody(body []byte, known Members) error { return readMembers(body, known, true) }

func readMembers(body []byte, known Members, skip bool) error {
	var object map[string]json.RawMessage
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &object); err != nil || object == nil {
			return sdk.E(sdk.Invalid, "invalid_json", "the request body is not a JSON object")
		}
	}
	wrong := map[string]string{}
	names := slices.Sorted(maps.Keys(known))
	for _, name := range names {
		err := storable(object[name])
		if err == nil {
			err = known[name](object[name])
		}
		if err != nil {
			wrong[name] = err.Error()
		}
	}
	for name := range object {
		if known[name] == nil {
			near := sqlbuild.NearestName(name, names)
			if !httpx.IsName(name) { // it may be a secret
				name = "…"
			}
			switch {
			case near != "":
				wrong[name] = fmt.Sprintf("unknown field; did you mean %q?", near)
			case !skip:
				wrong[name] = "unknown field"
			}
		}
	}
	return InvalidFields("invalid_body", "the request body has mistakes", wrong)
}

// InvalidFields is the error that tells of each field what is wrong with it; nil if nothing
// is.
func InvalidFields(code, message string, wrong map[string]string) error {
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

// Instead refuses a member that has another name here.
func Instead(name string) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		if raw == nil {
			return nil
		}
		return fmt.Errorf("unknown field; use %q", name)
	}
}

// WantUpdated is what the member updated_at of a change has to be.
const WantUpdated = "want the updated_at that the record had when it was read, or leave it out"

// Unchanged refuses a change of a record as it was at seen, unless that is nil, if it has been
// changed since. code is that of the Conflict.
func Unchanged(seen *time.Time, updated time.Time, code, what string) error {
	if seen == nil || seen.Equal(updated) {
		return nil
	}
	return sdk.E(sdk.Conflict, code, fmt.Sprintf("somebody else has changed the %s meanwhile", what)).
		WithHint("look at it again, and repeat the change with its updated_at if it still fits")
}

// Shown skips a member that answers have and no change sets, so that a record can be sent back
// as it was shown.
func Shown(json.RawMessage) error { return nil }

// NoBody refuses a body with anything in it, which would be without effect.
func NoBody(r *httpx.Request) error { return ReadBody(r.Body, nil) }

// Field is a member of a body: not sent, null, or a value.
type Field[T any] struct {
	Sent  bool
	Value *T // nil: null, or not sent
}

// Required reads a member that must be there and not null. want says what is wanted, as in
// "want true or false"; ok, unless nil, decides about the value.
func (f *Field[T]) Required(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return f.Value != nil })
}

// Optional reads a member that may be absent, but not null.
func (f *Field[T]) Optional(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return f.Value != nil || !f.Sent })
}

// Nullable reads a member that may be absent or null.
func (f *Field[T]) Nullable(want string, ok func(T) bool) func(json.RawMessage) error {
	return f.reader(want, ok, func() bool { return true })
}

func (f *Field[T]) reader(want string, ok func(T) bool, present func() bool) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		f.Sent = raw != nil
		if f.Sent && json.Unmarshal(raw, &f.Value) != nil || !present() || f.Value != nil && ok != nil && !ok(*f.Value) {
			return errors.New(want)
		}
		return nil
	}
}

// Or is the value, or other where there is none.
func (f *Field[T]) Or(other T) T {
	if f.Value == nil {
		return other
	}
	return *f.Value
}

// TextOf accepts texts of least to most characters without control characters, which no
// name needs and which would forge lines of logs.
func TextOf(least, most int) func(string) bool {
	return func(s string) bool {
		n := utf8.RuneCountInString(s)
		return n >= least && n <= most && !slices.ContainsFunc([]rune(s), func(c rune) bool { return c < ' ' || c == 0x7f })
	}
}
