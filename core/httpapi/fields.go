package httpapi

import (
	"strconv"
	"strings"
)

// wants reports that a value with the given first byte is next. A null in its place is
// skipped, it counts as absent; anything else is an error that names the field.
func (r *reader) wants(field string, first byte, what string) bool {
	if r.err != nil {
		return false
	}
	switch c := r.peek(); c {
	case first:
		return true
	case 'n':
		r.value()
	default:
		r.wrongType(field, what)
	}
	return false
}

// wrongType reports a field of another type than the one it must have.
func (r *reader) wrongType(field, what string) {
	start := r.i
	if r.value(); r.err != nil { // no JSON at all
		return
	}
	got := ""
	switch r.b[start] {
	case '"':
		got = "a string"
	case '{':
		got = "an object"
	case '[':
		got = "an array"
	case 't', 'f':
		got = "a boolean"
	default:
		got = "a number"
	}
	if r.condition > 0 {
		field = "condition " + strconv.Itoa(r.condition) + ": " + field
	}
	r.fail(invalid("invalid_field", "%s must be %s, not %s", field, what, got))
}

// text reads a string; null is "".
func (r *reader) text(field string) string {
	if !r.wants(field, '"', "a string") {
		return ""
	}
	raw := r.value()
	if r.err != nil {
		return ""
	}
	return unquote(raw[1 : len(raw)-1])
}

var commonOperators = [...]string{"eq", "in", "gte", "lte", "gt", "lt", "neq", "ilike", "like", "is", "or", "not"}

// word reads an operator without making a new string of it.
func (r *reader) word(field string) string {
	if !r.wants(field, '"', "a string") {
		return ""
	}
	raw := r.value()
	if r.err != nil {
		return ""
	}
	raw = raw[1 : len(raw)-1]
	for _, name := range commonOperators {
		if string(raw) == name {
			return name
		}
	}
	return unquote(raw)
}

// truth reads a boolean; null is false.
func (r *reader) truth(field string) bool {
	switch r.peek() {
	case 't', 'f', 'n':
		raw := r.value()
		return r.err == nil && raw[0] == 't'
	}
	r.wrongType(field, "true or false")
	return false
}

// count reads a whole number that is not negative, also in quotes; null is nil.
func (r *reader) count(field string) *int64 {
	c := r.peek()
	raw := r.value()
	if r.err != nil || c == 'n' {
		return nil
	}
	text := string(raw)
	if c == '"' {
		text = unquote(raw[1 : len(raw)-1])
	}
	n, err := parseCount(field, text)
	if err != nil {
		r.fail(err)
		return nil
	}
	return n
}

func parseCount(field, text string) (*int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 {
		return nil, invalid("invalid_"+field, "%s must be a whole number from 0 up, not %s", field, quote(text))
	}
	return &n, nil
}
