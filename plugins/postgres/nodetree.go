package main

import (
	"bytes"
	"strconv"
)

// viewRule is what a view's rewrite rule says of its columns.
type viewRule struct {
	version string   // the transaction that wrote the rule
	columns []origin // by the column's number - 1
}

// origin is the column that a view's column shows, of a table or another view. The zero
// origin is an expression.
type origin struct {
	table  uint32
	column int16
}

// scanRule reads the columns that a view shows from pg_rewrite.ev_action, the text of a
// list of one query tree:
//
//	({QUERY ... :targetList ({TARGETENTRY :expr ... :resno 1 ... :resorigtbl 16384 :resorigcol 2 :resjunk false} ...) ...})
//
// Braces and parentheses nest. In names a backslash stands before characters that have a
// meaning; square brackets have none. Of anything else, and of a UNION and its kin, it
// returns nil.
func scanRule(tree []byte) []origin {
	var columns []origin
	s := nodeScanner{rest: tree}
	if !s.enter('(') || !s.enter('{') {
		return nil
	}
	for {
		name, ok := s.field()
		switch {
		case !ok:
			return columns
		case name == "setOperations":
			if value := s.value(); string(value) != "<>" {
				return nil
			}
		case name == "targetList":
			list := nodeScanner{rest: s.value()}
			if !list.enter('(') {
				return nil
			}
			for list.enter('{') {
				n, o := list.target()
				if n < 1 || n > maxColumns {
					continue // not one of the view's columns
				}
				for len(columns) < n {
					columns = append(columns, origin{})
				}
				columns[n-1] = o
			}
		default:
			s.value()
		}
	}
}

// maxColumns is how many columns a view may have.
const maxColumns = 1664

// nodeScanner reads a node tree's text from its beginning.
type nodeScanner struct{ rest []byte }

// enter goes behind a brace or parenthesis, if it comes next.
func (s *nodeScanner) enter(brace byte) bool {
	s.rest = bytes.TrimLeft(s.rest, " \n")
	if len(s.rest) == 0 || s.rest[0] != brace {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// target reads a TARGETENTRY to its end: the number of the column, 0 for none, and what it
// shows.
func (s *nodeScanner) target() (number int, o origin) {
	for {
		name, ok := s.field()
		if !ok {
			s.enter('}')
			return number, o
		}
		value := s.value()
		n, _ := strconv.ParseUint(string(value), 10, 32) // 0 where it is no number
		switch name {
		case "resno":
			number = int(n)
		case "resorigtbl":
			o.table = uint32(n)
		case "resorigcol":
			o.column = int16(n)
		case "resjunk":
			if string(value) == "true" {
				number = 0
			}
		}
	}
}

// field goes behind the name of the next field of a node, and is false at its end.
func (s *nodeScanner) field() (name string, ok bool) {
	for len(s.rest) > 0 && s.rest[0] != '}' && s.rest[0] != ')' {
		if s.rest[0] != ':' {
			s.value() // the node's label
			continue
		}
		end := bytes.IndexAny(s.rest, " \n")
		if end < 0 {
			break
		}
		name = string(s.rest[1:end])
		s.rest = bytes.TrimLeft(s.rest[end:], " \n")
		return name, true
	}
	return "", false
}

// value goes behind the next value: everything up to the next field or the end of the node.
func (s *nodeScanner) value() []byte {
	depth := 0
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '(', '{':
			depth++
		case ')', '}':
			if depth == 0 {
				return s.take(i)
			}
			depth--
		case ' ', '\n':
			if depth == 0 && bytes.HasPrefix(bytes.TrimLeft(s.rest[i:], " \n"), []byte(":")) {
				return s.take(i)
			}
		}
	}
	return s.take(len(s.rest))
}

// take goes behind the first n bytes and the blanks after them.
func (s *nodeScanner) take(n int) []byte {
	value := s.rest[:n]
	s.rest = bytes.TrimLeft(s.rest[n:], " \n")
	return value
}
