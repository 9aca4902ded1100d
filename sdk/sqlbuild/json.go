package sqlbuild

import (
	"bytes"
	"encoding/json"
	"strings"
)

// This file reads just enough of JSON that is known to be valid to find keys and
// elements in it; nothing is decoded that need not be. On invalid input it reports false
// or finds other keys, never more than the bytes.

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// first is the first byte that is not blank, 0 if there is none.
func first(b []byte) byte {
	if i := skipSpace(b, 0); i < len(b) {
		return b[i]
	}
	return 0
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) (int, bool) {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
		}
	}
	return i, false
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) (int, bool) {
	for depth := 0; i < len(b); {
		ok := true
		switch b[i] {
		case '"':
			i, ok = skipString(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
			continue
		default:
			for i < len(b) && strings.IndexByte(" \t\r\n,:]}", b[i]) < 0 {
				i++
			}
		}
		if !ok || depth < 0 {
			return i, false
		}
		if depth == 0 {
			return i, true
		}
	}
	return i, false
}

// scanObject calls visit with each key of the object that begins at i and its value, and
// returns the index behind the object.
func scanObject(b []byte, i int, visit func(key, value []byte)) (int, bool) {
	if i >= len(b) || b[i] != '{' {
		return i, false
	}
	for i = skipSpace(b, i+1); i < len(b) && b[i] != '}'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		start := i
		if i >= len(b) || b[i] != '"' {
			return i, false
		}
		var ok bool
		if i, ok = skipString(b, i); !ok {
			return i, false
		}
		key := b[start+1 : i-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			var s string
			if json.Unmarshal(b[start:i], &s) != nil {
				return i, false
			}
			key = []byte(s)
		}
		if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
			return i, false
		}
		value := skipSpace(b, i+1)
		if i, ok = skipValue(b, value); !ok {
			return i, false
		}
		visit(key, b[value:i])
	}
	return i + 1, i < len(b)
}

// scanArray calls visit with each element of a JSON array.
func scanArray(b []byte, visit func(element []byte) bool) bool {
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return false
	}
	for i = skipSpace(b, i+1); i < len(b) && b[i] != ']'; i = skipSpace(b, i) {
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
		start := i
		var ok bool
		if i, ok = skipValue(b, i); !ok || !visit(b[start:i]) {
			return false
		}
	}
	return i < len(b)
}

// objectKeys lists the keys of a JSON object in order, each once.
func objectKeys(object []byte) ([]string, bool) {
	var keys []string
	seen := map[string]bool{}
	_, ok := scanObject(object, skipSpace(object, 0), func(key, _ []byte) {
		if !seen[string(key)] {
			seen[string(key)] = true
			keys = append(keys, string(key))
		}
	})
	return keys, ok
}

// lacks reports whether some row of an array of objects lacks one of the keys.
func lacks(rows []byte, keys []string) (lacking, ok bool) {
	found := make([]int, len(keys)) // the row, from 1, that last had the key
	row := 0
	ok = scanArray(rows, func(object []byte) bool {
		row++
		_, ok := scanObject(object, 0, func(key, _ []byte) {
			for i := range keys {
				if string(key) == keys[i] {
					found[i] = row
					return
				}
			}
		})
		for i := range found {
			lacking = lacking || found[i] != row
		}
		return ok
	})
	return lacking, ok
}

// ArrayLiteral turns a JSON array into PostgreSQL's array literal. Nested arrays are
// further dimensions, unless the elements are JSON themselves. It reports false for what is
// no array of valid JSON or nests deeper than PostgreSQL knows.
func ArrayLiteral(array []byte, elementsAreJSON bool) (string, bool) {
	var text strings.Builder
	text.Grow(len(array) + 16)
	ok := writeArray(&text, array, elementsAreJSON, 1)
	return text.String(), ok
}

// maxDimensions is PostgreSQL's own bound.
const maxDimensions = 6

func writeArray(text *strings.Builder, array []byte, elementsAreJSON bool, dimension int) bool {
	if dimension > maxDimensions {
		return false
	}
	text.WriteByte('{')
	n := 0
	ok := scanArray(array, func(element []byte) bool {
		if n > 0 {
			text.WriteByte(',')
		}
		n++
		switch {
		case string(element) == "null":
			text.WriteString("NULL")
		case elementsAreJSON:
			arrayElement(text, string(element))
		case element[0] == '[':
			return writeArray(text, element, false, dimension+1)
		case element[0] == '"':
			var s string
			if json.Unmarshal(element, &s) != nil {
				return false
			}
			arrayElement(text, s)
		default:
			arrayElement(text, string(element))
		}
		return true
	})
	text.WriteByte('}')
	return ok
}

// arrayElement writes one element of an array literal. Quotes make every text safe and
// keep NULL apart from "NULL".
func arrayElement(text *strings.Builder, s string) {
	text.WriteByte('"')
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			text.WriteString(s[start:i])
			text.WriteByte('\\')
			start = i
		}
	}
	text.WriteString(s[start:])
	text.WriteByte('"')
}
