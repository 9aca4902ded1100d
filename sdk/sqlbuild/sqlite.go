package sqlbuild

import (
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// compareSQLite writes column operator argument. A column's affinity makes '5' equal 5
// and the other way round, so lenient and strict comparisons are the same but for the
// letter case of uuids.
func (b *builder) compareSQLite(c *comparison) {
	if c.Quantifier == sdk.QuantifierNone {
		b.oneSQLite(c, c.Values[0])
		return
	}
	word, empty := " OR ", "FALSE"
	if c.Quantifier == sdk.All {
		word, empty = " AND ", "TRUE"
	}
	b.write("(")
	for i := range c.Values {
		if i > 0 {
			b.write(word)
		}
		b.oneSQLite(c, c.Values[i])
	}
	if len(c.Values) == 0 {
		b.write(empty)
	}
	b.write(")")
}

func (b *builder) oneSQLite(c *comparison, v sdk.Value) {
	operator, suffix := "", ""
	switch c.Operator {
	case sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte:
		operator = postgresOperator(c.Operator)
	case sdk.IsDistinct:
		operator = " IS NOT "
	case sdk.Like:
		// LIKE ignores the case of letters here, GLOB does not.
		operator = " GLOB "
		v = sdk.Value{Hint: sdk.String, Text: globPattern(v.Text)}
	case sdk.ILike:
		operator, suffix = " LIKE ", ` ESCAPE '\'`
		v = sdk.Value{Hint: sdk.String, Text: v.Text}
	default:
		b.unsupported("operator", "the operator "+string(c.Operator))
		return
	}
	b.left(c, asColumn)
	b.write(operator)
	b.casted(c.valueCast, func() { b.bind(c.argument(v)) })
	b.write(suffix)
	if c.ignoresCase(v) {
		b.write(" COLLATE NOCASE")
	}
}

// ignoresCase reports whether v is a uuid that is compared with uuids.
func (c *comparison) ignoresCase(v sdk.Value) bool {
	return c.Compare == sdk.Lenient && c.operand.class == ClassUUID && isUUID(v.Text)
}

// inSQLite writes membership in the values, one JSON argument.
func (b *builder) inSQLite(c *comparison) {
	list := []byte{'['}
	ignoreCase := false
	for _, v := range c.Values {
		if c.matchesNull(&v) {
			continue
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		ignoreCase = ignoreCase || c.ignoresCase(v)
		switch v = c.argument(v); {
		case v.Hint == sdk.Null:
			list = append(list, "null"...)
		case v.Hint == sdk.Number && fitsInt64(v.Text):
			list = append(list, v.Text...)
		default:
			list = sdk.AppendString(list, v.Text)
		}
	}
	b.left(c, asColumn)
	if ignoreCase {
		b.write(" COLLATE NOCASE")
	}
	b.write(" IN (SELECT ")
	b.casted(c.valueCast, func() { b.write("value") })
	b.write(" FROM json_each(")
	b.bind(sdk.Value{Hint: sdk.JSON, Text: string(append(list, ']'))})
	b.write("))")
}

// argument is the value that a comparison binds: booleans are 1 and 0 where the column
// holds such, texts where it holds text. A place in JSON holds JSON text.
func (c *comparison) argument(v sdk.Value) sdk.Value {
	if c.class == ClassJSON && len(c.operand.path) > 0 && c.columnCast.sqlite == "" && v.Hint != sdk.Null {
		if c.Compare == sdk.Lenient {
			v.Text = jsonText(v)
		}
		v.Hint = sdk.String
	}
	return sqliteValue(v, c.class)
}

func sqliteValue(v sdk.Value, class Class) sdk.Value {
	switch {
	case v.Hint == sdk.Null:
	case class == ClassText:
		v.Hint = sdk.String
	case v.Hint == sdk.Bool, class == ClassBool && (v.Text == "true" || v.Text == "false"):
		if v.Text == "true" {
			return sdk.Value{Hint: sdk.Number, Text: "1"}
		}
		return sdk.Value{Hint: sdk.Number, Text: "0"}
	}
	return v
}

// setSQLite is the value that an assignment binds.
func setSQLite(v sdk.Value, c *Column) sdk.Value {
	if c.Class == ClassJSON {
		switch v.Hint {
		case sdk.Bool, sdk.Number:
			return sdk.Value{Hint: sdk.JSON, Text: v.Text}
		case sdk.String:
			return sdk.Value{Hint: sdk.JSON, Text: string(sdk.AppendString(nil, v.Text))}
		}
	}
	return sqliteValue(v, c.Class)
}

func fitsInt64(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil && text[0] != '+' && (len(text) == 1 || strings.TrimLeft(text, "-")[0] != '0')
}

// globPattern turns a LIKE pattern into a GLOB pattern.
func globPattern(like string) string {
	var glob strings.Builder
	glob.Grow(len(like) + 8)
	for i := 0; i < len(like); i++ {
		c := like[i]
		switch {
		case c == '%':
			glob.WriteByte('*')
			continue
		case c == '_':
			glob.WriteByte('?')
			continue
		case c == '\\' && i+1 < len(like):
			i++
			c = like[i]
		}
		if c == '*' || c == '?' || c == '[' {
			glob.WriteByte('[')
			glob.WriteByte(c)
			c = ']'
		}
		glob.WriteByte(c)
	}
	return glob.String()
}

// insertSQLite reads the rows through json_each, and each column by its path.
func (b *builder) insertSQLite(rows *sdk.Rowset, columns []*Column, kind byte) {
	b.columnList(columns)
	b.write(" SELECT ")
	defaults := b.missing(rows, columns, kind)
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		if !defaults || c.Default == "" {
			b.fromJSON("_.value", rows.Columns[i], c)
			continue
		}
		b.write("CASE WHEN json_type(_.value,")
		b.bind(jsonPath(rows.Columns[i]))
		b.write(") IS NULL THEN (")
		b.write(c.Default)
		b.write(") ELSE ")
		b.fromJSON("_.value", rows.Columns[i], c)
		b.write(" END")
	}
	if kind == '[' {
		b.write(" FROM json_each(")
		b.bind(payload(rows.Payload))
		b.write(") AS _")
	} else {
		b.write(" FROM (SELECT ")
		b.bind(payload(rows.Payload))
		b.write(" AS value) AS _")
	}
	b.write(" WHERE TRUE") // or the parser takes ON CONFLICT for a join's ON
}

// setObjectSQLite writes the assignments from a JSON object.
func (b *builder) setObjectSQLite(object []byte, keys []string, columns []*Column) {
	b.args = append(b.args, payload(object))
	source := "?" + strconv.Itoa(len(b.args))
	for i, c := range columns {
		if i > 0 {
			b.write(", ")
		}
		b.quote(c.Name)
		b.write(" = ")
		b.fromJSON(source, keys[i], c)
	}
}

// fromJSON writes the value of a key of a JSON object as the column stores it:
// null as NULL, booleans as 1 and 0, objects and arrays as JSON text. A text column gets
// numbers and booleans as they are written, a JSON column strings with their quotes.
func (b *builder) fromJSON(source, key string, c *Column) {
	b.args = append(b.args, jsonPath(key))
	path := "?" + strconv.Itoa(len(b.args))
	text, plain := source+"->"+path, source+"->>"+path
	switch c.Class {
	case ClassJSON:
		b.write("nullif(" + text + ",'null')")
	case ClassText:
		b.write("CASE json_type(" + source + "," + path + ") WHEN 'text' THEN " + plain + " WHEN 'null' THEN NULL ELSE " + text + " END")
	default:
		b.write(plain)
	}
}

// jsonPath is the JSON path of a key.
func jsonPath(key string) sdk.Value {
	return sdk.Value{Hint: sdk.String, Text: string(append([]byte("$."), sdk.AppendString(nil, key)...))}
}
