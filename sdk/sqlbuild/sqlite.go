package sqlbuild

import (
	"math"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// compareSQLite writes column operator argument. A column's affinity makes '5' equal 5
// and the other way round, so lenient and strict comparisons are the same but for the
// letter case of uuids and what is in JSON.
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
	switch c.Operator {
	case sdk.Like, sdk.ILike:
	default:
		if c.inJSON() {
			b.placeSQLite(c, operator, c.argument(v))
			return
		}
		if c.typeless() {
			b.typelessSQLite(c, operator, c.argument(v))
			return
		}
	}
	b.left(c, asColumn)
	b.write(operator)
	b.casted(c.valueCast, func() { b.bind(c.argument(v)) })
	b.write(suffix)
	if c.ignoresCase(v) {
		b.write(" COLLATE NOCASE")
	}
}

// inJSON reports whether a place in JSON is compared with JSON: numbers by value, all
// else as the texts that they are written as.
func (c *comparison) inJSON() bool {
	return c.class == ClassJSON && len(c.operand.path) > 0 && c.columnCast.sqlite == "" &&
		(c.valueCast.sqlite == "" || c.valueCast.class == ClassJSON)
}

// typeless reports whether the column has no type, such as one that a view computes: no
// affinity makes a number of a text there. Its numbers are compared with a number, its
// texts with a text.
func (c *comparison) typeless() bool { return c.typ == "" && c.valueCast.sqlite == "" }

// placeSQLite compares a place in JSON with a value. JSON's null is below all else.
func (b *builder) placeSQLite(c *comparison, operator string, v sdk.Value) {
	number, text := b.twice(v)
	value := c.operand
	value.byValue = true
	b.write("CASE WHEN " + number + " IS NOT NULL AND ")
	b.jsonType(&c.operand)
	b.write(" IN ('integer','real') THEN ")
	b.reference(&value)
	b.write(operator + "CAST(" + number + " AS NUMERIC)")
	switch c.Operator {
	case sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte:
		b.write(" WHEN ")
		b.jsonType(&c.operand)
		b.write(" = 'null' THEN ''" + operator + text)
	}
	b.write(" ELSE ")
	b.reference(&c.operand)
	b.write(operator + text + " END")
}

// typelessSQLite compares a column without a type with a value. Equality is written so
// that an index serves it.
func (b *builder) typelessSQLite(c *comparison, operator string, v sdk.Value) {
	number, text := b.twice(v)
	switch c.Operator {
	case sdk.Eq, sdk.Neq:
		b.left(c, asColumn)
		if c.Operator == sdk.Neq {
			b.write(" NOT")
		}
		b.write(" IN (coalesce(CAST(" + number + " AS NUMERIC)," + text + ")," + text + ")")
		return
	}
	b.write("CASE WHEN " + number + " IS NOT NULL AND typeof(")
	b.left(c, asColumn)
	b.write(") IN ('integer','real') THEN ")
	b.left(c, asColumn)
	b.write(operator + "CAST(" + number + " AS NUMERIC) ELSE ")
	b.left(c, asColumn)
	b.write(operator + text + " END")
}

// twice binds a value as the number that it is, or null, and as a text, and returns the
// placeholders: the statement's text is the same for both.
func (b *builder) twice(v sdk.Value) (number, text string) {
	n := sdk.Value{Hint: sdk.Null}
	switch v.Hint {
	case sdk.Null, sdk.Bytes:
	default:
		if digits, ok := asNumber(v.Text); ok {
			n = sdk.Value{Hint: sdk.String, Text: digits}
		}
		v.Hint = sdk.String
	}
	b.args = append(b.args, n, v)
	return "?" + strconv.Itoa(len(b.args)-1), "?" + strconv.Itoa(len(b.args))
}

// asNumber is the number that a text says, as JSON has it and SQLite keeps it.
func asNumber(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return strconv.FormatInt(n, 10), true
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case !isNumber(text) || math.IsNaN(f) || err == nil && math.IsInf(f, 0): // by its name
		return "", false
	case math.IsInf(f, 1):
		return "9e999", true
	case math.IsInf(f, -1):
		return "-9e999", true
	}
	return strconv.FormatFloat(f, 'g', -1, 64), true
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
		v = c.argument(v)
		number, isNumber := "", false
		if v.Hint != sdk.Null && (c.inJSON() || c.typeless()) {
			number, isNumber = asNumber(v.Text)
		}
		switch {
		case v.Hint == sdk.Null:
			list = append(list, "null"...)
		case isNumber:
			list = append(list, number...)
			if c.typeless() {
				list = sdk.AppendString(append(list, ','), v.Text)
			}
		case v.Hint == sdk.Number && fitsInt64(v.Text):
			list = append(list, v.Text...)
		default:
			list = sdk.AppendString(list, v.Text)
		}
	}
	cast := c.valueCast
	if c.inJSON() {
		value := c.operand
		value.byValue = true
		b.write("CASE WHEN ")
		b.jsonType(&c.operand)
		b.write(" IN ('integer','real') THEN ")
		b.reference(&value)
		b.write(" ELSE ")
		b.reference(&c.operand)
		b.write(" END")
		cast = castType{}
	} else {
		b.left(c, asColumn)
	}
	if ignoreCase {
		b.write(" COLLATE NOCASE")
	}
	b.write(" IN (SELECT ")
	b.casted(cast, func() { b.write("value") })
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
