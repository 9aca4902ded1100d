package httpapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// maxDepth is how deep a request body may nest.
const maxDepth = 512

// reader reads JSON from left to right and checks all of it, values that it skips
// included. It accepts exactly what encoding/json does, up to maxDepth. After an error it
// stays where it is.
type reader struct {
	b     []byte
	i     int
	depth int // of the value about to be read
	err   error

	condition int // the condition being read, from 1, for errors; 0: none
}

// fail keeps the first error.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// malformed reports a fault at the current place.
func (r *reader) malformed(deep bool) {
	e := sdk.E(sdk.Invalid, "invalid_json", "")
	switch {
	case deep:
		e.Message = "the request body nests deeper than " + strconv.Itoa(maxDepth) + " levels"
	case r.i >= len(r.b):
		e.Message = "the request body is not valid JSON: it ends too early, at byte " + strconv.Itoa(len(r.b))
	default:
		e.Message = "the request body is not valid JSON: unexpected " + strconv.QuoteRune(rune(r.b[r.i])) + " at byte " + strconv.Itoa(r.i)
	}
	e.Details = json.RawMessage(`{"offset":` + strconv.Itoa(r.i) + `}`)
	r.fail(e)
}

// peek skips white space and returns the byte that follows, 0 at the end.
func (r *reader) peek() byte {
	r.i = skipSpace(r.b, r.i)
	if r.i < len(r.b) {
		return r.b[r.i]
	}
	return 0
}

// end wants nothing but white space to follow.
func (r *reader) end() {
	if r.err == nil {
		if r.peek(); r.i < len(r.b) {
			r.malformed(false)
		}
	}
}

// value skips a value and returns its text.
func (r *reader) value() []byte {
	if r.err != nil {
		return nil
	}
	start := skipSpace(r.b, r.i)
	end, f := skipValue(r.b, start, r.depth)
	r.i = end
	if f != sound {
		r.malformed(f == tooDeep)
		return nil
	}
	return r.b[start:end]
}

// open begins an object or array.
func (r *reader) open() {
	r.i++
	if r.depth++; r.depth > maxDepth {
		r.malformed(true)
	}
}

// object reads an object: member is called with each key, decoded, and must read the value.
func (r *reader) object(member func(key []byte)) {
	r.open()
	if r.err == nil && r.peek() == '}' {
		r.i++
		r.depth--
		return
	}
	for r.err == nil {
		if r.peek() != '"' {
			r.malformed(false)
			return
		}
		start := r.i + 1
		end, f := skipString(r.b, r.i)
		if r.i = end; f != sound || r.peek() != ':' {
			r.malformed(false)
			return
		}
		r.i++
		key := r.b[start : end-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = []byte(unquote(key))
		}
		member(key)
		if r.next('}') {
			return
		}
	}
}

// array reads an array: element must read one value.
func (r *reader) array(element func()) {
	r.open()
	if r.err == nil && r.peek() == ']' {
		r.i++
		r.depth--
		return
	}
	for r.err == nil {
		element()
		if r.next(']') {
			return
		}
	}
}

// next goes over a comma, or over the closing bracket, and reports the latter.
func (r *reader) next(closing byte) bool {
	if r.err != nil {
		return true
	}
	switch r.peek() {
	case ',':
		r.i++
		return false
	case closing:
		r.i++
		r.depth--
	default:
		r.malformed(false)
	}
	return true
}

// fault is why text is refused.
type fault uint8

const (
	sound fault = iota
	malformed
	tooDeep
)

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends, or where its fault is.
func skipValue(b []byte, i, depth int) (int, fault) {
	if i >= len(b) {
		return i, malformed
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		if depth >= maxDepth {
			return i, tooDeep
		}
		return skipComposite(b, i, depth+1)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	default:
		return skipNumber(b, i)
	}
}

// skipComposite skips an object or array.
func skipComposite(b []byte, i, depth int) (int, fault) {
	object := b[i] == '{'
	closing := b[i] + 2 // } and ] are two after { and [
	if i = skipSpace(b, i+1); i < len(b) && b[i] == closing {
		return i + 1, sound
	}
	for {
		var f fault
		if object {
			if i >= len(b) || b[i] != '"' {
				return i, malformed
			}
			if i, f = skipString(b, i); f != sound {
				return i, f
			}
			if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
				return i, malformed
			}
			i = skipSpace(b, i+1)
		}
		if i, f = skipValue(b, i, depth); f != sound {
			return i, f
		}
		if i = skipSpace(b, i); i >= len(b) {
			return i, malformed
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case closing:
			return i + 1, sound
		default:
			return i, malformed
		}
	}
}

// skipString looks at eight bytes at a time for a quote, a backslash or a control
// character.
func skipString(b []byte, i int) (int, fault) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i++
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, slash := w^ones*'"', w^ones*'\\'
			// The top bit of the first byte of interest; those above it may be wrong.
			m := ((quote-ones) & ^quote | (slash-ones) & ^slash | (w-ones*0x20) & ^w) & tops
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return i, malformed
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, sound
		case c == '\\':
			var f fault
			if i, f = skipEscape(b, i); f != sound {
				return i, f
			}
		case c < 0x20:
			return i, malformed
		default:
			i++
		}
	}
}

func skipEscape(b []byte, i int) (int, fault) {
	if i++; i >= len(b) {
		return i, malformed
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, sound
	case 'u':
		for range 4 {
			if i++; i >= len(b) || !isHex(b[i]) {
				return i, malformed
			}
		}
		return i + 1, sound
	}
	return i, malformed
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(b []byte, i int) bool { return i < len(b) && b[i] >= '0' && b[i] <= '9' }

func skipDigits(b []byte, i int) (int, fault) {
	if !isDigit(b, i) {
		return i, malformed
	}
	for isDigit(b, i) {
		i++
	}
	return i, sound
}

func skipNumber(b []byte, i int) (int, fault) {
	var f fault
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, f = skipDigits(b, i); f != sound {
		return i, f
	}
	if i < len(b) && b[i] == '.' {
		if i, f = skipDigits(b, i+1); f != sound {
			return i, f
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return skipDigits(b, i)
	}
	return i, sound
}

func skipWord(b []byte, i int, word string) (int, fault) {
	for j := range len(word) {
		if i+j >= len(b) || b[i+j] != word[j] {
			return i + j, malformed
		}
	}
	return i + len(word), sound
}

// unquote decodes the text of a JSON string without its quotes.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(raw) // it has been checked: cannot happen
	}
	return s
}

// scalar turns a checked value into a Value: numbers keep their text, objects and arrays
// become JSON.
func scalar(raw []byte) sdk.Value {
	switch raw[0] {
	case '"':
		return sdk.Value{Hint: sdk.String, Text: unquote(raw[1 : len(raw)-1])}
	case 't':
		return sdk.Value{Hint: sdk.Bool, Text: "true"}
	case 'f':
		return sdk.Value{Hint: sdk.Bool, Text: "false"}
	case 'n':
		return sdk.Value{Hint: sdk.Null}
	case '{', '[':
		return sdk.Value{Hint: sdk.JSON, Text: string(raw)}
	default:
		return sdk.Value{Hint: sdk.Number, Text: string(raw)}
	}
}
