package sqlbuild

import (
	"strings"
	"unicode/utf8"
)

// standardTypes are the names of PostgreSQL's own types, and what they are called inside:
// such a name can be quoted. SQL's names of several words have no other spelling.
var standardTypes = map[string]struct {
	name  string
	class Class
}{
	"bigint":                      {"int8", ClassNumber},
	"bit varying":                 {"varbit", ClassOther},
	"bool":                        {"bool", ClassBool},
	"boolean":                     {"bool", ClassBool},
	"bpchar":                      {"bpchar", ClassText},
	"bytea":                       {"bytea", ClassBytes},
	"char":                        {"bpchar", ClassText},
	"char varying":                {"varchar", ClassText},
	"character":                   {"bpchar", ClassText},
	"character varying":           {"varchar", ClassText},
	"citext":                      {"citext", ClassText},
	"date":                        {"date", ClassTime},
	"dec":                         {"numeric", ClassNumber},
	"decimal":                     {"numeric", ClassNumber},
	"double precision":            {"float8", ClassNumber},
	"double":                      {"float8", ClassNumber},
	"float":                       {"float8", ClassNumber},
	"float4":                      {"float4", ClassNumber},
	"float8":                      {"float8", ClassNumber},
	"int":                         {"int4", ClassNumber},
	"int2":                        {"int2", ClassNumber},
	"int4":                        {"int4", ClassNumber},
	"int8":                        {"int8", ClassNumber},
	"integer":                     {"int4", ClassNumber},
	"interval":                    {"interval", ClassTime},
	"json":                        {"json", ClassJSON},
	"jsonb":                       {"jsonb", ClassJSON},
	"name":                        {"name", ClassText},
	"national character":          {"bpchar", ClassText},
	"national character varying":  {"varchar", ClassText},
	"nchar":                       {"bpchar", ClassText},
	"numeric":                     {"numeric", ClassNumber},
	"real":                        {"float4", ClassNumber},
	"smallint":                    {"int2", ClassNumber},
	"text":                        {"text", ClassText},
	"time":                        {"time", ClassTime},
	"time with time zone":         {"timetz", ClassTime},
	"time without time zone":      {"time", ClassTime},
	"timestamp":                   {"timestamp", ClassTime},
	"timestamp with time zone":    {"timestamptz", ClassTime},
	"timestamp without time zone": {"timestamp", ClassTime},
	"timestamptz":                 {"timestamptz", ClassTime},
	"timetz":                      {"timetz", ClassTime},
	"tsvector":                    {"tsvector", ClassTSVector},
	"uuid":                        {"uuid", ClassUUID},
	"varchar":                     {"varchar", ClassText},
}

// maxTypeName bounds a type's name in bytes, schema and all.
const maxTypeName = 256

// parseType reads [schema.]name[(n[,m])][[]...] as PostgreSQL does: capital letters count
// in quoted names only. The result holds nothing but quoted names and digits.
func parseType(text string) (castType, bool) {
	if len(text) > maxTypeName || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return castType{}, false
	}
	p := typeParser{rest: text}
	var typ castType
	if name, quoted := p.identifier(); p.take(".") {
		of, _ := p.identifier()
		p.bad = p.bad || name == "" || of == ""
		typ.postgres = quoteName(name) + "." + quoteName(of) + p.modifiers()
	} else if quoted {
		typ.postgres = quoteName(name) + p.modifiers()
	} else {
		typ = p.unqualified(name)
	}
	for p.take("[]") { // any number of them is the same type
		typ.class = ClassArray
	}
	if typ.class == ClassArray {
		typ.postgres += "[]"
	}
	return typ, p.rest == "" && !p.bad
}

// unqualified reads what follows the first word of a name without schema.
func (p *typeParser) unqualified(name string) castType {
	modifiers := p.modifiers() // timestamp(3) with time zone
	for word, _ := p.identifier(); word != ""; word, _ = p.identifier() {
		name += " " + word
	}
	if modifiers == "" {
		modifiers = p.modifiers() // character varying(9)
	}
	standard, ok := standardTypes[name]
	if !ok {
		p.bad = p.bad || name == "" || strings.Contains(name, " ")
		return castType{postgres: quoteName(name) + modifiers}
	}
	if standard.name == "bpchar" && name != "bpchar" && modifiers == "" {
		modifiers = "(1)" // as SQL means it
	}
	return castType{postgres: quoteName(standard.name) + modifiers, class: standard.class}
}

// typeParser reads a type's name from its start.
type typeParser struct {
	rest string
	bad  bool
}

// take reads a token, if it is the next.
func (p *typeParser) take(token string) bool {
	p.rest = strings.TrimLeft(p.rest, " ")
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = strings.TrimLeft(rest, " ")
	}
	return ok
}

// identifier reads a name; "" if there is none.
func (p *typeParser) identifier() (name string, quoted bool) {
	p.rest = strings.TrimLeft(p.rest, " ")
	if strings.HasPrefix(p.rest, `"`) {
		for p.rest = p.rest[1:]; ; {
			part, rest, closed := strings.Cut(p.rest, `"`)
			p.bad = p.bad || !closed
			name, p.rest = name+part, rest
			if !strings.HasPrefix(rest, `"`) {
				p.bad = p.bad || name == ""
				p.rest = strings.TrimLeft(rest, " ")
				return name, true
			}
			name, p.rest = name+`"`, rest[1:]
		}
	}
	folded := []byte(nil)
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c >= 'A' && c <= 'Z':
			folded = append(folded, c-'A'+'a')
		case c >= 'a' && c <= 'z', c == '_', c >= utf8.RuneSelf, i > 0 && (c == '$' || c >= '0' && c <= '9'):
			folded = append(folded, c)
		default:
			i = len(p.rest)
		}
	}
	p.rest = strings.TrimLeft(p.rest[len(folded):], " ")
	return string(folded), false
}

// modifiers reads (n) or (n,m); "" if there are none.
func (p *typeParser) modifiers() string {
	if !p.take("(") {
		return ""
	}
	text := "(" + p.number()
	if p.take(",") {
		text += "," + p.number()
	}
	p.bad = p.bad || !p.take(")")
	return text + ")"
}

func (p *typeParser) number() string {
	end := 0
	for end < len(p.rest) && (p.rest[end] >= '0' && p.rest[end] <= '9' || p.rest[end] == '-' && end == 0) {
		end++
	}
	digits := p.rest[:end]
	p.rest = p.rest[end:]
	p.bad = p.bad || strings.Trim(digits, "-") == "" || end > 9
	return digits
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
