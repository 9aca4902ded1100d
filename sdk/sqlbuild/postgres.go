package sqlbuild

import (
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// postgresOperator is an operator's SQL, "" for what is not supported.
func postgresOperator(o sdk.Operator) string {
	switch o {
	case sdk.Eq:
		return " = "
	case sdk.Neq:
		return " <> "
	case sdk.Gt:
		return " > "
	case sdk.Gte:
		return " >= "
	case sdk.Lt:
		return " < "
	case sdk.Lte:
		return " <= "
	case sdk.Like:
		return " LIKE "
	case sdk.ILike:
		return " ILIKE "
	case sdk.Match:
		return " ~ "
	case sdk.IMatch:
		return " ~* "
	case sdk.IsDistinct:
		return " IS DISTINCT FROM "
	case sdk.Contains:
		return " @> "
	case sdk.Contained:
		return " <@ "
	case sdk.Overlaps:
		return " && "
	case sdk.StrictLeft:
		return " << "
	case sdk.StrictRght:
		return " >> "
	case sdk.NotRight:
		return " &< "
	case sdk.NotLeft:
		return " &> "
	case sdk.Adjacent:
		return " -|- "
	default:
		return ""
	}
}

// searchFunction is the function that reads a full-text operator's value, "" for other
// operators.
func searchFunction(o sdk.Operator) string {
	switch o {
	case sdk.FTS:
		return "to_tsquery"
	case sdk.PlainFTS:
		return "plainto_tsquery"
	case sdk.PhraseFTS:
		return "phraseto_tsquery"
	case sdk.WebFTS:
		return "websearch_to_tsquery"
	default:
		return ""
	}
}

// comparePostgres writes column operator argument.
func (b *builder) comparePostgres(c *comparison) {
	if function := searchFunction(c.Operator); function != "" {
		b.search(c, function)
		return
	}
	operator := postgresOperator(c.Operator)
	if operator == "" {
		b.unsupported("operator", "the operator "+string(c.Operator))
		return
	}
	if c.Quantifier == sdk.QuantifierNone {
		as := c.read(&c.Values[0])
		b.left(c, as)
		b.write(operator)
		b.bind(c.literal(c.Values[0], as))
		b.valueCast(c, as, "")
		return
	}
	as := asColumn
	for i := range c.Values { // one reading for all: the one that reads the most
		switch r := c.read(&c.Values[i]); {
		case r == asText, as == asColumn:
			as = r
		}
	}
	if as == asUUID {
		as = asText
	}
	b.left(c, as)
	b.write(operator)
	if c.Quantifier == sdk.Any {
		b.write("ANY(")
	} else {
		b.write("ALL(")
	}
	b.bind(sdk.Value{Hint: sdk.String, Text: c.list(func(*sdk.Value) bool { return true }, as)})
	b.valueCast(c, as, "[]")
	b.write(")")
}

// search writes a full-text search. What is no tsvector is made one in the language of
// the query.
func (b *builder) search(c *comparison, function string) {
	language := 0 // the argument
	call := func(function string) {
		b.write(function)
		b.write("(")
		if c.Language == "" {
			return
		}
		if language == 0 {
			b.bind(sdk.Value{Hint: sdk.String, Text: c.Language})
			language = len(b.args)
		} else {
			b.placeholder(language)
		}
		b.write("::regconfig, ")
	}
	if c.class == ClassTSVector {
		b.left(c, asColumn)
	} else {
		call("to_tsvector")
		b.left(c, c.read(&c.Values[0]))
		b.write(")")
	}
	b.write(" @@ ")
	call(function)
	b.bind(c.Values[0])
	b.valueCast(c, asColumn, "")
	b.write(")")
}

// inPostgres writes membership in the values, without nulls that nulls are equal to. The list is one array
// argument, so that the text does not depend on its length; values that must be read
// differently make one list each.
func (b *builder) inPostgres(c *comparison) {
	var count [readings]int
	groups := 0
	for i := range c.Values {
		if c.matchesNull(&c.Values[i]) {
			continue
		}
		as := c.read(&c.Values[i])
		if count[as] == 0 {
			groups++
		}
		count[as]++
	}
	if c.class == ClassArray && c.valueCast.postgres == "" {
		b.inArrays(c)
		return
	}
	if groups > 1 {
		b.write("(")
		defer b.write(")")
	}
	first := true
	for as := range readings {
		if count[as] == 0 {
			continue
		}
		if !first {
			b.write(" OR ")
		}
		first = false
		b.left(c, as)
		b.write(" = ANY(")
		b.bind(sdk.Value{Hint: sdk.String, Text: c.list(func(v *sdk.Value) bool {
			return !c.matchesNull(v) && (groups == 1 || c.read(v) == as)
		}, as)})
		b.valueCast(c, as, "[]")
		b.write(")")
	}
}

// inArrays writes membership of an array column, one comparison per value: PostgreSQL
// has no arrays of arrays.
func (b *builder) inArrays(c *comparison) {
	b.write("(")
	first := true
	for i := range c.Values {
		if c.matchesNull(&c.Values[i]) {
			continue
		}
		if !first {
			b.write(" OR ")
		}
		first = false
		as := c.read(&c.Values[i])
		b.left(c, as)
		b.write(" = ")
		b.bind(c.literal(c.Values[i], as))
	}
	b.write(")")
}

// valueCast writes the cast of the argument just bound.
func (b *builder) valueCast(c *comparison, as reading, suffix string) {
	if c.valueCast.postgres == "" || as == asUUID {
		return
	}
	b.write("::")
	b.write(c.valueCast.postgres)
	b.write(suffix)
}

// literal is the argument that PostgreSQL reads v from, for a column read as as.
func (c *comparison) literal(v sdk.Value, as reading) sdk.Value {
	switch {
	case v.Hint == sdk.Null || c.valueCast.postgres != "" || as == asText:
	case c.class == ClassArray:
		return postgresValue(v, ClassArray, c.typ)
	case c.class == ClassJSON && c.Compare == sdk.Lenient:
		v.Text = jsonText(v)
	}
	return v
}

// list writes the chosen values as one array literal.
func (c *comparison) list(chosen func(*sdk.Value) bool, as reading) string {
	size := 2
	for i := range c.Values {
		size += len(c.Values[i].Text) + 3
	}
	var text strings.Builder
	text.Grow(size)
	text.WriteByte('{')
	for i := range c.Values {
		if !chosen(&c.Values[i]) {
			continue
		}
		if text.Len() > 1 {
			text.WriteByte(',')
		}
		if c.Values[i].Hint == sdk.Null {
			text.WriteString("NULL")
			continue
		}
		arrayElement(&text, c.literal(c.Values[i], as).Text)
	}
	text.WriteByte('}')
	return text.String()
}

// postgresValue is the argument that PostgreSQL reads v from for a column to be set or
// compared: JSON arrays become array literals where the column is an array.
func postgresValue(v sdk.Value, class Class, typ string) sdk.Value {
	if class == ClassArray && v.Hint == sdk.JSON {
		if literal, ok := ArrayLiteral([]byte(v.Text), jsonElements(typ)); ok {
			return sdk.Value{Hint: sdk.String, Text: literal}
		}
	}
	return v
}

// setValue is postgresValue for an assignment, where a JSON string stays one.
func setValue(v sdk.Value, c *Column) sdk.Value {
	if c.Class == ClassJSON && v.Hint == sdk.String {
		return sdk.Value{Hint: sdk.JSON, Text: string(sdk.AppendString(nil, v.Text))}
	}
	return postgresValue(v, c.Class, c.Type)
}

// jsonElements reports whether an array type's elements are JSON texts.
func jsonElements(typ string) bool { return typ == "json[]" || typ == "jsonb[]" }
