package sdk

import (
	"encoding/json"
	"fmt"
)

// Raw writes one row that is JSON already: an object (of FormatGeoJSON a feature, after
// Bare any value). Naming and strip_nulls are applied to an object's top-level keys, not
// to a feature's. What needs no change is not looked into.
func (r *Rows) Raw(row []byte) error {
	switch {
	case r.layout == layoutCSV:
		return E(Unsupported, "csv_unsupported", "this backend cannot answer with CSV")
	case r.layout == layoutObject && (r.opts.Naming != NamesAsIs || r.opts.StripNulls):
		return r.rewrite(row)
	}
	r.openRow()
	r.buf = append(r.buf, row...)
	return r.endRow()
}

// rewrite is Raw for an object whose keys are renamed or left out. Values are checked and
// copied as they are.
func (r *Rows) rewrite(object []byte) error {
	s := jsonScanner{b: object}
	s.expect('{')
	for more := !s.take('}'); more && !s.bad; {
		key := s.string()
		s.expect(':')
		value := s.value(1)
		more = s.take(',')
		if !more {
			s.expect('}')
		}
		if s.bad {
			break
		}
		if r.opts.StripNulls && string(value) == "null" {
			continue
		}
		if err := r.rewriteField(key, value); err != nil {
			return err
		}
	}
	if s.space(); s.bad || s.i < len(object) {
		return fmt.Errorf("a raw row must be one JSON object: it is malformed at byte %d of %d", s.i, len(object))
	}
	return r.EndRow()
}

// maxRenamed bounds the keys that are remembered.
const maxRenamed = 1024

// rewriteField writes a field of a row; key is a JSON string.
func (r *Rows) rewriteField(key, value []byte) error {
	name, known := r.renamed[string(key)]
	if !known {
		var s string
		if err := json.Unmarshal(key, &s); err != nil {
			return err
		}
		name = AppendString([]byte{','}, Rename(s, r.opts.Naming))
		name = append(name, ':')
		if r.renamed == nil {
			r.renamed = map[string][]byte{}
		}
		if len(r.renamed) < maxRenamed {
			r.renamed[string(key)] = name
		}
	}
	if !r.rowOpen {
		r.openRow()
		r.buf = append(r.buf, '{')
		name = name[1:]
	}
	r.buf = append(append(r.buf, name...), value...)
	return nil
}

// maxJSONDepth is how deep a value may nest, as in encoding/json.
const maxJSONDepth = 10000

// jsonScanner reads JSON bytes and makes sure that they are JSON, without decoding. After
// something wrong, bad is set and i stays there.
type jsonScanner struct {
	b   []byte
	i   int
	bad bool
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// take skips blanks, and c if it is the next byte.
func (s *jsonScanner) take(c byte) bool {
	s.space()
	if s.bad || s.i == len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *jsonScanner) expect(c byte) {
	if !s.take(c) {
		s.bad = true
	}
}

// string returns the string that comes next, quotes and all.
func (s *jsonScanner) string() []byte {
	s.expect('"')
	start := s.i - 1
	for !s.bad && s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start:s.i]
		case c == '\\':
			s.i++
			s.escape()
		case c < 0x20:
			s.bad = true
		default:
			s.i++
		}
	}
	s.bad = true
	return nil
}

// escape reads what follows a backslash.
func (s *jsonScanner) escape() {
	if s.i == len(s.b) {
		return
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
	case 'u':
		for range 4 {
			if s.i++; s.i == len(s.b) || !isHex(s.b[s.i]) {
				s.bad = true
				return
			}
		}
		s.i++
	default:
		s.bad = true
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// value returns the value that comes next, without blanks around it. depth counts the
// arrays and objects around it.
func (s *jsonScanner) value(depth int) []byte {
	if s.space(); s.bad || s.i == len(s.b) {
		s.bad = true
		return nil
	}
	start := s.i
	switch c := s.b[s.i]; c {
	case '"':
		return s.string()
	case '{', '[':
		s.i++
		s.members(c, depth+1)
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
	return s.b[start:s.i]
}

// members reads the rest of an object or array.
func (s *jsonScanner) members(open byte, depth int) {
	if depth > maxJSONDepth {
		s.bad = true
		return
	}
	closing := open + 2 // of { and [ alike
	for more := !s.take(closing); more && !s.bad; {
		if open == '{' {
			s.string()
			s.expect(':')
		}
		s.value(depth)
		if more = s.take(','); !more {
			s.expect(closing)
		}
	}
}

func (s *jsonScanner) literal(word string) {
	if end := s.i + len(word); end <= len(s.b) && string(s.b[s.i:end]) == word {
		s.i = end
		return
	}
	s.bad = true
}

func (s *jsonScanner) number() {
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else {
		s.digits()
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		s.digits()
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		if s.i++; s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		s.digits()
	}
}

// digits reads one digit or more.
func (s *jsonScanner) digits() {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	s.bad = s.bad || s.i == start
}
