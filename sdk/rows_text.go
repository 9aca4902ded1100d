package sdk

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendString appends s as a JSON string with PostgreSQL's escapes: only quote,
// backslash and control characters are escaped. Bytes that are no UTF-8 become U+FFFD.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	begin := len(dst)
	dst, ascii := appendString(dst, s)
	if ascii || validUTF8(s) {
		return dst
	}
	return AppendValidString(dst[:begin], string([]rune(string(s))))
}

// AppendValidString is AppendString for what is known to be UTF-8.
func AppendValidString[T string | []byte](dst []byte, s T) []byte {
	dst, _ = appendString(dst, s)
	return dst
}

// appendString appends s as a JSON string and reports whether it is ASCII. It looks at
// eight bytes at a time, since most text has nothing to escape.
func appendString[T string | []byte](dst []byte, s T) (_ []byte, ascii bool) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	dst = append(dst, '"')
	start, seen := 0, uint64(0)
	for i := 0; i < len(s); {
		for i+8 <= len(s) {
			w := s[i : i+8]
			x := uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
				uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
			quote, backslash := x^(ones*'"'), x^(ones*'\\')
			// The high bit of each byte that is a control character, a quote or a backslash.
			// A borrow can mark bytes above the first such byte wrongly, never below it.
			if ((x-ones*0x20)&^x|(quote-ones)&^quote|(backslash-ones)&^backslash)&high != 0 {
				break
			}
			seen |= x
			i += 8
		}
		for end := min(i+8, len(s)); i < end; i++ {
			c := s[i]
			if c >= 0x20 && c != '"' && c != '\\' {
				seen |= uint64(c)
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			start = i + 1
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"'), seen&high == 0
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		const digits = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
	}
}

func validUTF8[T string | []byte](s T) bool {
	switch s := any(s).(type) {
	case []byte:
		return utf8.Valid(s)
	default:
		return utf8.ValidString(string(s.(string)))
	}
}

// AppendFloat appends f as JSON: the shortest text that reads back as f; what JSON has no
// number for becomes a string, as PostgreSQL does.
func AppendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// appendCSV appends a cell as PostgreSQL's COPY writes it: an empty string is quoted to
// differ from null, and so is \. in a line of its own.
func appendCSV[T string | []byte](dst []byte, s T, alone bool) []byte {
	quoted := len(s) == 0 || alone && string(s) == `\.`
	for i := 0; i < len(s) && !quoted; i++ {
		c := s[i]
		quoted = c == ',' || c == '"' || c == '\n' || c == '\r'
	}
	if !quoted {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' {
			dst = append(dst, s[start:i+1]...)
			start = i // once more
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// jsonText is a JSON value as text, nil for null: a string without its quotes and
// escapes, anything else as it is. It may share value's memory.
func jsonText(value []byte) []byte {
	switch {
	case len(value) == 0, string(value) == "null":
		return nil
	case value[0] != '"':
		return value
	case bytes.IndexByte(value, '\\') < 0:
		return value[1 : len(value)-1]
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return value
	}
	return []byte(s)
}
