package sqlbuild

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

// checkPath refuses paths that a database cannot follow; false after an error.
func (b *builder) checkPath(ref *sdk.Column) bool {
	if len(ref.Path) > sdk.MaxFilterDepth {
		b.invalid("too_deep", "the JSON path into column %q has more than %d steps", ref.Name, sdk.MaxFilterDepth)
		return false
	}
	for i := range ref.Path {
		step := &ref.Path[i]
		switch {
		case step.Text && i < len(ref.Path)-1:
			b.invalid("invalid_json_path", "the JSON path into column %q goes on behind a text; ->> can only be its last step", ref.Name)
		case step.IsIndex && (step.Index > math.MaxInt32 || step.Index < math.MinInt32):
			b.invalid("invalid_json_path", "the JSON path into column %q has an index of more than 32 bits", ref.Name)
		case !step.IsIndex && (strings.IndexByte(step.Key, 0) >= 0 || !utf8.ValidString(step.Key)):
			b.invalid("invalid_json_path", "the JSON path into column %q has a key that holds a NUL byte or is not UTF-8", ref.Name)
		}
	}
	return b.err == nil
}

// follow makes o the place that a path leads to.
func (o *operand) follow(path []sdk.PathStep) {
	o.path = path
	switch {
	case path[len(path)-1].Text:
		o.class, o.typ = ClassText, "text"
	case o.class == ClassJSON && o.typ != "jsonb":
		o.typ = "json"
	default:
		o.class, o.typ = ClassJSON, "jsonb"
	}
}

// pathPostgres writes ("t"."c"->'key'->>0). Keys are literals, so that indexes on such
// an expression serve it.
func (b *builder) pathPostgres(o *operand) {
	b.write("(")
	if o.column.Class == ClassJSON {
		b.root(o)
	} else {
		b.write("to_jsonb(")
		b.root(o)
		b.write(")")
	}
	for i := range o.path {
		step := &o.path[i]
		if step.Text {
			b.write("->>")
		} else {
			b.write("->")
		}
		if step.IsIndex {
			b.write(" ") // or the sign would belong to the arrow
			b.write(strconv.FormatInt(step.Index, 10))
		} else {
			b.literal(step.Key)
		}
	}
	b.write(")")
}

// pathSQLite writes ("t"."c"->'$."key"[0]'), or an expression for the text of that value.
// SQLite's ->> would make numbers of numbers.
func (b *builder) pathSQLite(o *operand) {
	switch {
	case o.class == ClassText:
		b.write("(CASE ")
		b.jsonType(o)
		b.write(" WHEN 'text' THEN ")
		b.arrow(o, "->>")
		b.write(" WHEN 'null' THEN NULL ELSE ")
		b.arrow(o, "->")
		b.write(" END)")
	case o.byValue:
		b.write("(")
		b.arrow(o, "->>")
		b.write(")")
	default:
		b.write("(")
		b.arrow(o, "->")
		b.write(")")
	}
}

// jsonType writes the type of what is at an operand's path, for SQLite.
func (b *builder) jsonType(o *operand) {
	b.write("json_type(")
	b.arrow(o, ",")
	b.write(")")
}

// arrow writes an operand's column, an operator or a comma and its path, for SQLite.
func (b *builder) arrow(o *operand, operator string) {
	path := []byte{'$'}
	for i := range o.path {
		step := &o.path[i]
		switch {
		case !step.IsIndex:
			path = sdk.AppendString(append(path, '.'), step.Key)
		case step.Index < 0:
			path = append(strconv.AppendInt(append(path, "[#"...), step.Index, 10), ']')
		default:
			path = append(strconv.AppendInt(append(path, '['), step.Index, 10), ']')
		}
	}
	b.root(o)
	b.write(operator)
	b.literal(string(path))
}

// literal writes a text as a literal of the statement.
func (b *builder) literal(s string) {
	if strings.IndexByte(s, '\'') >= 0 {
		s = strings.ReplaceAll(s, `'`, `''`)
	}
	if !b.d.sqlite && strings.IndexByte(s, '\\') >= 0 {
		b.write("E")
		s = strings.ReplaceAll(s, `\`, `\\`)
	}
	b.write("'")
	b.write(s)
	b.write("'")
}
