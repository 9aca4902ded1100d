package main

import (
	"fmt"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// sqlStatement is one statement of a SQL text, as far as its words tell.
type sqlStatement struct {
	text  string // without semicolon
	first string // first word, in capitals
	// read says that it cannot write, query that it may answer with rows.
	read, query bool
	counts      bool // it tells how many rows it wrote
	alone       bool // it must not be in a transaction
	spoils      bool // it leaves the connection in another state
}

// readPragmas are the pragmas that only tell something; those with true take an argument
// for it, the others set something when they are given one.
var readPragmas = map[string]bool{
	"TABLE_INFO": true, "TABLE_XINFO": true, "TABLE_LIST": true, "INDEX_LIST": true, "INDEX_INFO": true, "INDEX_XINFO": true,
	"FOREIGN_KEY_LIST": true, "FOREIGN_KEY_CHECK": true, "INTEGRITY_CHECK": true, "QUICK_CHECK": true,
	"COLLATION_LIST": false, "COMPILE_OPTIONS": false, "DATABASE_LIST": false, "FUNCTION_LIST": false, "MODULE_LIST": false,
	"PRAGMA_LIST": false, "APPLICATION_ID": false, "ENCODING": false, "FOREIGN_KEYS": false, "FREELIST_COUNT": false,
	"JOURNAL_MODE": false, "PAGE_COUNT": false, "PAGE_SIZE": false, "SCHEMA_VERSION": false, "USER_VERSION": false,
}

// splitSQL reads a text into its statements. A text that is no SQL gives some answer;
// the database then refuses it.
func splitSQL(text string) ([]sqlStatement, error) {
	var statements []sqlStatement
	var words []string // of the statement so far: words in capitals, other tokens as they are
	start := 0
	end := func(to int) error {
		if len(words) == 0 {
			return nil
		}
		s, err := newStatement(text[start:to], words)
		statements = append(statements, s)
		words = nil
		return err
	}
	for i := 0; i < len(text); {
		next, kind := token(text, i)
		switch {
		case kind == tokenSpace:
		case text[i] == ';' && !insideTrigger(words):
			if err := end(i); err != nil {
				return nil, err
			}
		default:
			if len(words) == 0 {
				start = i
			}
			word := text[i:next]
			if kind == tokenWord {
				word = strings.ToUpper(word)
			}
			words = append(words, word)
		}
		i = next
	}
	err := end(len(text))
	return statements, err
}

// insideTrigger reports whether a semicolon behind words belongs to a CREATE TRIGGER,
// which ends with END behind a semicolon.
func insideTrigger(words []string) bool {
	i := 0
	for i < len(words) && (words[i] == "EXPLAIN" || words[i] == "QUERY" || words[i] == "PLAN") {
		i++
	}
	if i >= len(words) || words[i] != "CREATE" {
		return false
	}
	if i++; i < len(words) && (words[i] == "TEMP" || words[i] == "TEMPORARY") {
		i++
	}
	if i >= len(words) || words[i] != "TRIGGER" {
		return false
	}
	n := len(words)
	return words[n-1] != "END" || words[n-2] != ";"
}

func newStatement(text string, words []string) (sqlStatement, error) {
	s := sqlStatement{text: text, first: words[0]}
	has := func(word string) bool {
		for _, w := range words {
			if w == word {
				return true
			}
		}
		return false
	}
	switch s.first {
	case "SELECT", "VALUES":
		s.read, s.query = true, true
	case "EXPLAIN":
		// Explaining a PRAGMA may set it: some act when they are prepared.
		s.query, s.spoils = true, has("PRAGMA")
		s.read = !s.spoils
	case "WITH":
		s.query = !has("INSERT") && !has("UPDATE") && !has("DELETE") && !has("REPLACE") || has("RETURNING")
		s.read = s.query && !has("RETURNING")
		s.counts = !s.read
	case "PRAGMA":
		s.query, s.alone = true, true
		s.read = readsOnly(words)
		s.spoils = !s.read
	case "VACUUM":
		s.alone = true
		if has("INTO") {
			return s, otherFiles("VACUUM INTO")
		}
	case "ATTACH", "DETACH":
		return s, otherFiles(s.first)
	case "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE":
		return s, sdk.E(sdk.Invalid, "transaction_control", s.first+" has no place in a SQL text: all its statements run in one transaction already").
			WithHint("leave it out")
	case "CREATE", "DROP":
		s.spoils = has("TEMP") || has("TEMPORARY") || has("TEMP_SCHEMA")
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		s.query, s.counts = has("RETURNING"), true
	case "ALTER", "ANALYZE", "REINDEX":
	default: // whatever SQLite would make of it, it is not known here what it does
		return s, sdk.E(sdk.Invalid, "syntax_error", fmt.Sprintf("near %q: syntax error", s.first)).
			WithHint("begin each statement with a word such as SELECT or INSERT")
	}
	return s, nil
}

func otherFiles(what string) error {
	return sdk.E(sdk.Forbidden, "other_files", what+" reaches files beside the database and is refused").
		WithHint("register the other file as a client of its own")
}

// readsOnly reports whether the words of a PRAGMA only ask for something.
func readsOnly(words []string) bool {
	name, rest := "", words[1:]
	if len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	if len(rest) > 1 && rest[0] == "." {
		name, rest = rest[1], rest[2:]
	}
	takesArgument, known := readPragmas[name]
	return known && (len(rest) == 0 || takesArgument && rest[0] == "(")
}

type tokenKind uint8

const (
	tokenOther tokenKind = iota
	tokenSpace           // white space and comments
	tokenWord
)

// byteOrderMark is white space to SQLite where a token may begin; inside a word it is a
// part of the word.
const byteOrderMark = "\ufeff"

// token returns the index behind the token that begins at i, as SQLite reads it. A quoted
// token that does not end goes on to the end of the text.
func token(text string, i int) (int, tokenKind) {
	switch c := text[i]; {
	case c == ' ' || c >= '\t' && c <= '\r':
		return i + 1, tokenSpace
	case strings.HasPrefix(text[i:], byteOrderMark):
		return i + len(byteOrderMark), tokenSpace
	case strings.HasPrefix(text[i:], "--"):
		return behind(text, i+2, "\n"), tokenSpace
	case strings.HasPrefix(text[i:], "/*"):
		return behind(text, i+2, "*/"), tokenSpace
	case c == '[':
		return behind(text, i+1, "]"), tokenOther
	case c == '\'' || c == '"' || c == '`':
		for i++; i < len(text); i++ {
			if text[i] != c {
				continue
			}
			if i+1 == len(text) || text[i+1] != c {
				return i + 1, tokenOther
			}
			i++ // a doubled quote
		}
		return len(text), tokenOther
	case c == '$' || c == '@' || c == ':' || c == '#':
		return variable(text, i+1), tokenOther
	case wordByte(c):
		for i < len(text) && wordByte(text[i]) {
			i++
		}
		return i, tokenWord
	default:
		return i + 1, tokenOther
	}
}

// variable is the index behind the named variable whose name begins at i. A name may end
// with a parenthesis that holds anything but white space, even quotes: $a::b(';).
func variable(text string, i int) int {
	for start := i; i < len(text); {
		switch {
		case wordByte(text[i]):
			i++
		case strings.HasPrefix(text[i:], "::"):
			i += 2
		case text[i] == '(' && strings.Trim(text[start:i], ":") != "":
			n := strings.IndexAny(text[i:], ") \t\n\v\f\r")
			if n < 0 {
				return len(text)
			}
			if text[i+n] == ')' {
				n++
			}
			return i + n
		default:
			return i
		}
	}
	return i
}

// behind is the index behind the next end in text from i on.
func behind(text string, i int, end string) int {
	if n := strings.Index(text[i:], end); n >= 0 {
		return i + n + len(end)
	}
	return len(text)
}

func wordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
