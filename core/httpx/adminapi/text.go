package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/athena-gateway/athena/core/httpx"
)

// The bounds of a document's numbers and depth. A jsonb of PostgreSQL holds larger ones than
// these, but not all that JSON can say.
const (
	maxDigits   = 1000
	maxExponent = 1000
	maxDepth    = 100
)

const wantText = `want Unicode text in UTF-8, without \u0000 and halves of surrogate pairs`

var (
	errText   = errors.New("holds a text that cannot be stored: " + wantText)
	errNumber = fmt.Errorf("holds a number that cannot be stored: want at most %d digits, and exponents from -%d to %d", maxDigits, maxExponent, maxExponent)
	errDepth  = fmt.Errorf("is nested too deeply: want at most %d levels", maxDepth)
)

// storable says whether either ledger can hold a JSON value, which is known to be well formed,
// and its texts: PostgreSQL refuses some that SQLite takes.
func storable(raw json.RawMessage) error {
	if !utf8.Valid(raw) {
		return errText
	}
	depth := 0
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"':
			n, ok := textEnd(raw[i:])
			if !ok {
				return errText
			}
			i += n
			continue
		case c == '-' || c >= '0' && c <= '9':
			number := raw[i:]
			if end := bytes.IndexAny(number, ",]} \t\r\n"); end >= 0 {
				number = number[:end]
			}
			if !boundedNumber(string(number)) {
				return errNumber
			}
			i += len(number)
			continue
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case c == ']' || c == '}':
			depth--
		}
		i++
	}
	return nil
}

// textEnd is the length of the JSON string that b begins with, and whether its escapes stand
// for characters that can be stored.
func textEnd(b []byte) (n int, ok bool) {
	for i := 1; ; i++ {
		switch b[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
			if b[i] != 'u' {
				continue
			}
			c := escaped(b[i+1:])
			i += 4
			if utf16.IsSurrogate(c) {
				if b[i+1] != '\\' || b[i+2] != 'u' || utf16.DecodeRune(c, escaped(b[i+3:])) == utf8.RuneError {
					return 0, false
				}
				i += 6
			}
			if c == 0 {
				return 0, false
			}
		}
	}
}

// escaped is the number of the four digits after \u.
func escaped(b []byte) rune {
	c, _ := strconv.ParseUint(string(b[:4]), 16, 16) // they are digits: the JSON is well formed
	return rune(c)
}

func boundedNumber(text string) bool {
	digits, exponent, scaled := strings.Cut(strings.ToLower(text), "e")
	if len(digits) > maxDigits {
		return false
	}
	n, err := strconv.Atoi(exponent)
	return !scaled || err == nil && n >= -maxExponent && n <= maxExponent
}

// isText reports whether either ledger can hold s.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// QueryText is a query parameter, "" if it is not there. One that no row can hold is put into
// wrong.
func QueryText(r *httpx.Request, name string, wrong map[string]string) string {
	value := r.Query(name)
	if !isText(value) {
		wrong[name] = wantText
	}
	return value
}

// Clean is a text that may be anybody's as a row of the ledger can hold it.
func Clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}
