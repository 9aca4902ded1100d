package main

import "strings"

// script is what reading a SQL text tells without understanding it.
type script struct {
	text       string // up to the end of the last statement
	statements int
	reads      bool // all statements begin as queries do: SELECT, WITH, VALUES, TABLE, SHOW, EXPLAIN
	query      bool // and no word in them says that they write
	plain      bool // no statement changes the session, as far as its words tell
	leaves     bool // a statement may leave something behind in the session; not all that are not plain do
	returning  bool // the word RETURNING occurs
	commits    bool // a statement may commit before the text ends, or ends a transaction
	controls   bool // a statement begins or ends a transaction
	copies     bool // a COPY from or to the client
	moment     bool // a string says now or today: what date that is, is read once
}

// readScript reads a text. Strings, quoted names, dollar quotes, comments, parentheses and
// the bodies of SQL functions (BEGIN ATOMIC ... END) hide semicolons, as in psql. A text
// that is no SQL gives some answer; the server then refuses the text.
func readScript(text string) script {
	s := script{reads: true, query: true, plain: true}
	l := lexer{text: text}
	end := 0
	var st statementWords
	for l.next() {
		switch l.kind {
		case tokenSemicolon:
			if st.parens == 0 && st.blocks == 0 {
				s.add(&st)
				st = statementWords{}
				continue
			}
		case tokenWord:
			st.word(strings.ToLower(l.token()))
		case tokenString:
			s.moment = s.moment || isMoment(l.token())
		case tokenQuotedName:
			st.call(strings.Trim(l.token(), `"`))
			if l.start > 0 && text[l.start-1] == '&' { // U&"\0073et_config": what it says is not read
				st.touchesSession = true
			}
		case tokenOpen:
			st.parens++
		case tokenClose:
			st.parens = max(0, st.parens-1)
		}
		st.tokens++
		end = l.pos
	}
	s.add(&st)
	s.text = text[:end]
	return s
}

// add ends a statement.
func (s *script) add(st *statementWords) {
	if st.tokens == 0 {
		return
	}
	s.statements++
	s.reads = s.reads && isQuery(st.first)
	s.query = s.reads && s.query && (!st.writes || st.first == "explain")
	s.plain = s.plain && !st.touchesSession && isPlain(st.first)
	s.leaves = s.leaves || st.leaves()
	s.returning = s.returning || st.returning
	s.commits = s.commits || mayCommit(st.first) || st.concurrently
	s.controls = s.controls || isControl(st.first) || st.first == "prepare" && st.second == "transaction"
	s.copies = s.copies || st.first == "copy" && st.client
}

// statementWords gathers what matters of one statement.
type statementWords struct {
	tokens, words, parens, blocks int
	first, second, last           string
	routine                       bool // CREATE FUNCTION or PROCEDURE
	writes, returning, client     bool
	concurrently                  bool // an index is made or dropped in several transactions
	temporary                     bool // a table that goes with the session, if this makes one
	touchesSession                bool
}

func (st *statementWords) word(w string) {
	st.words++
	switch st.words {
	case 1:
		st.first = w
	case 2:
		st.second = w
	}
	switch w {
	case "function", "procedure":
		st.routine = st.routine || st.first == "create" && st.words <= 4
	case "atomic":
		if st.routine && st.last == "begin" && st.parens == 0 {
			st.blocks++
		}
	case "case":
		if st.blocks > 0 {
			st.blocks++
		}
	case "end":
		st.blocks = max(0, st.blocks-1)
	case "insert", "update", "delete", "merge":
		st.writes = true
	case "into":
		if st.last != "insert" && st.last != "merge" { // SELECT INTO makes a table
			st.writes, st.touchesSession = true, true
		}
	case "create", "execute":
		if st.first == "explain" { // with ANALYZE it runs: a temporary table stays
			st.writes, st.touchesSession = true, true
		}
	case "temp", "temporary":
		st.temporary = true
	case "concurrently":
		st.concurrently = true
	case "returning":
		st.returning = true
	case "stdin", "stdout":
		st.client = true
	}
	st.call(w)
	st.last = w
}

// call looks for functions that leave something behind in the session, and for the view
// whose update is a SET.
func (st *statementWords) call(name string) {
	switch {
	case name == "set_config", name == "set_limit", name == "dblink_connect", name == "pg_settings",
		strings.HasPrefix(name, "pg_advisory_lock"), strings.HasPrefix(name, "pg_try_advisory_lock"):
		st.touchesSession = true
	case strings.HasPrefix(name, "query_to_xml"), strings.HasPrefix(name, "cursor_to_xml"), name == "ts_stat", name == "ts_rewrite",
		strings.HasPrefix(name, "crosstab"), name == "connectby", name == "xpath_table": // they run SQL that is in a string
		st.touchesSession = true
	case name == "pg_temp", strings.HasPrefix(name, "pg_temp_"):
		st.temporary = true
	}
}

func isQuery(first string) bool {
	switch first {
	case "select", "with", "values", "table", "show", "explain":
		return true
	}
	return false
}

func isPlain(first string) bool {
	switch first {
	case "insert", "update", "delete", "merge":
		return true
	}
	return isQuery(first)
}

// leaves reports whether a statement may leave something behind in its session. What a
// procedure does there is its own affair, as with a function.
func (st *statementWords) leaves() bool {
	if st.touchesSession {
		return true
	}
	switch st.first {
	case "set":
		return st.second != "local" && st.second != "constraints" && st.second != "transaction"
	case "prepare":
		return st.second != "transaction"
	case "create":
		return st.temporary
	case "alter", "drop", "truncate", "comment", "grant", "revoke", "reassign", "security", "import", "refresh", "lock", "notify",
		"vacuum", "analyze", "analyse", "cluster", "reindex", "checkpoint", "copy", "call", "savepoint", "release",
		"discard", "deallocate", "unlisten", "close":
		return false
	}
	return !isPlain(st.first) && !isControl(st.first)
}

func mayCommit(first string) bool {
	switch first {
	case "savepoint", "release", "prepare", "call", "do", "vacuum", "cluster", "reindex":
		return true
	}
	return isControl(first)
}

func isControl(first string) bool {
	switch first {
	case "begin", "start", "commit", "end", "rollback", "abort":
		return true
	}
	return false
}

// isMoment reports whether a string may be a date that depends on when it is read.
func isMoment(quoted string) bool {
	const longest = 128 // of a date's texts
	if len(quoted) > longest {
		return false
	}
	for word := range strings.FieldsFuncSeq(strings.ToLower(quoted), func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch word {
		case "now", "today", "tomorrow", "yesterday":
			return true
		}
	}
	return false
}

type tokenKind uint8

const (
	tokenOther tokenKind = iota
	tokenWord
	tokenQuotedName
	tokenString
	tokenSemicolon
	tokenOpen
	tokenClose
)

// lexer splits a SQL text into tokens, as far as readScript needs it.
type lexer struct {
	text       string
	start, pos int // of the token
	kind       tokenKind
}

func (l *lexer) token() string { return l.text[l.start:l.pos] }

// next finds the next token; comments and blanks are none.
func (l *lexer) next() bool {
	l.skipBlanks()
	if l.pos >= len(l.text) {
		return false
	}
	l.start, l.kind = l.pos, tokenOther
	c := l.text[l.pos]
	l.pos++
	switch {
	case c == ';':
		l.kind = tokenSemicolon
	case c == '(':
		l.kind = tokenOpen
	case c == ')':
		l.kind = tokenClose
	case c == '\'':
		l.kind = tokenString
		l.quoted('\'')
	case c == '"':
		l.kind = tokenQuotedName
		l.quoted('"')
	case c == '$':
		l.dollar()
	case isNameStart(c):
		l.kind = tokenWord
		for l.pos < len(l.text) && isNamePart(l.text[l.pos]) {
			l.pos++
		}
		if (c == 'e' || c == 'E') && l.pos == l.start+1 && l.pos < len(l.text) && l.text[l.pos] == '\'' {
			l.kind = tokenString
			l.pos++
			l.escaped()
		}
	case isDigit(c):
		for l.pos < len(l.text) && isNamePart(l.text[l.pos]) {
			l.pos++
		}
	}
	return true
}

func (l *lexer) skipBlanks() {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexAny(rest, "\r\n")
			if n < 0 {
				n = len(rest)
			}
			l.pos += n
		case strings.HasPrefix(rest, "/*"):
			l.comment()
		default:
			return
		}
	}
}

// comment skips a comment, which may hold others.
func (l *lexer) comment() {
	depth := 0
	for l.pos < len(l.text) {
		switch rest := l.text[l.pos:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.pos += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.pos += 2
			if depth == 0 {
				return
			}
		default:
			l.pos++
		}
	}
}

// quoted skips to behind the closing quote. A doubled quote just begins another string.
func (l *lexer) quoted(quote byte) {
	if n := strings.IndexByte(l.text[l.pos:], quote); n >= 0 {
		l.pos += n + 1
	} else {
		l.pos = len(l.text)
	}
}

// escaped skips a string in which a backslash escapes, with its continuations: strings
// that follow on another line.
func (l *lexer) escaped() {
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		l.pos++
		switch c {
		case '\\':
			l.pos = min(l.pos+1, len(l.text))
		case '\'':
			if l.pos < len(l.text) && l.text[l.pos] == '\'' {
				l.pos++
				continue
			}
			ahead := lexer{text: l.text, pos: l.pos}
			ahead.skipBlanks()
			if ahead.pos >= len(l.text) || l.text[ahead.pos] != '\'' || !strings.ContainsAny(l.text[l.pos:ahead.pos], "\r\n") {
				return
			}
			l.pos = ahead.pos + 1
		}
	}
}

// dollar skips a dollar-quoted string; a parameter such as $1 is skipped as a number.
func (l *lexer) dollar() {
	n := l.pos
	for n < len(l.text) && isNamePart(l.text[n]) && l.text[n] != '$' && (n > l.pos || !isDigit(l.text[n])) {
		n++
	}
	if n >= len(l.text) || l.text[n] != '$' {
		return
	}
	tag := l.text[l.start : n+1]
	l.kind = tokenString
	if m := strings.Index(l.text[n+1:], tag); m >= 0 {
		l.pos = n + 1 + m + len(tag)
	} else {
		l.pos = len(l.text)
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isNamePart(c byte) bool { return isNameStart(c) || isDigit(c) || c == '$' }
