package sdktest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// cell is a value as JSON text, nil for null. Times are strings, arrays JSON arrays.
type cell = json.RawMessage

// kind is a column type of the table language.
type kind string

const (
	kindInt    kind = "int"    // 64 bits
	kindNumber kind = "number" // decimal, exact
	kindText   kind = "text"   // compared byte by byte
	kindBool   kind = "bool"
	kindTime   kind = "time" // a date and time of day, without a zone
	kindJSON   kind = "json"
	kindInts   kind = "int[]"
	kindTexts  kind = "text[]"
)

var kinds = []kind{kindInt, kindNumber, kindText, kindBool, kindTime, kindJSON, kindInts, kindTexts}

// element is the kind of an array's elements, "" for what is no array.
func (k kind) element() kind {
	switch k {
	case kindInts:
		return kindInt
	case kindTexts:
		return kindText
	default:
		return ""
	}
}

// text is a cell as plain text.
func text(c cell) string {
	var s string
	if len(c) > 0 && c[0] == '"' && json.Unmarshal(c, &s) == nil {
		return s
	}
	return string(c)
}

func textCell(s string) cell { return sdk.AppendString(nil, s) }

// fromJSON makes a cell of a JSON value.
func (k kind) fromJSON(value json.RawMessage) (cell, error) {
	value = bytes.TrimSpace(value)
	switch {
	case string(value) == "null":
		return nil, nil
	case k == kindJSON:
		return bytes.Clone(value), nil
	case k.element() != "" && value[0] == '[':
		return k.fromArray(value)
	}
	return k.parse(text(value))
}

func (k kind) fromArray(value json.RawMessage) (cell, error) {
	var elements []cell
	if json.Unmarshal(value, &elements) != nil {
		return nil, k.malformed(string(value))
	}
	for i, e := range elements {
		made, err := k.element().fromJSON(e)
		if err != nil {
			return nil, err
		}
		elements[i] = made
	}
	return arrayCell(elements), nil
}

// arrayCell makes a JSON array of cells.
func arrayCell(elements []cell) cell {
	out := []byte{'['}
	for i, e := range elements {
		if i > 0 {
			out = append(out, ',')
		}
		if e == nil {
			e = cell("null")
		}
		out = append(out, e...)
	}
	return append(out, ']')
}

// elements are those of an array's cell; nil for nulls.
func elements(c cell) []cell {
	var list []cell
	_ = json.Unmarshal(c, &list)
	for i, e := range list {
		if string(e) == "null" {
			list[i] = nil
		}
	}
	return list
}

// fromValue makes a cell of a Value.
func (k kind) fromValue(v sdk.Value) (cell, error) {
	switch {
	case v.Hint == sdk.Null:
		return nil, nil
	case k == kindJSON && v.Hint == sdk.String:
		return textCell(v.Text), nil
	case k.element() != "" && v.Hint == sdk.JSON:
		return k.fromJSON(json.RawMessage(v.Text))
	}
	return k.parse(v.Text)
}

func (k kind) malformed(s string) error {
	e := sdk.E(sdk.Invalid, "invalid_text_representation", fmt.Sprintf("%q is no value of the type %s", s, k)).
		WithHint("give a value of the column's type")
	if k == kindTime {
		e.Reason = "invalid_datetime_format"
	}
	e.Source = sdk.FromDownstream
	return e
}

// parse makes a cell of a text that says a value of the kind.
func (k kind) parse(s string) (cell, error) {
	trimmed := strings.TrimSpace(s)
	switch k {
	case kindText:
		return textCell(s), nil
	case kindInt:
		if n, err := strconv.ParseInt(trimmed, 10, 64); err == nil {
			return strconv.AppendInt(nil, n, 10), nil
		}
	case kindNumber:
		if validNumber(trimmed) {
			return cell(trimmed), nil
		}
	case kindBool:
		switch strings.ToLower(trimmed) {
		case "true", "t", "yes", "on", "1":
			return cell("true"), nil
		case "false", "f", "no", "off", "0":
			return cell("false"), nil
		}
	case kindTime:
		for _, layout := range []string{"2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
			if at, err := time.Parse(layout, trimmed); err == nil {
				return timeCell(at), nil
			}
		}
	case kindJSON:
		if json.Valid([]byte(s)) {
			return cell(trimmed), nil
		}
	default:
		if strings.HasPrefix(trimmed, "{") && strings.HasSuffix(trimmed, "}") {
			return k.fromArray(json.RawMessage("[" + strings.ReplaceAll(trimmed[1:len(trimmed)-1], "NULL", "null") + "]"))
		}
	}
	return nil, k.malformed(s)
}

func timeCell(at time.Time) cell { return textCell(at.Format("2006-01-02T15:04:05.999999")) }

func parseTime(c cell) time.Time {
	at, _ := time.Parse("2006-01-02T15:04:05", text(c))
	return at
}

// validNumber accepts JSON numbers whose exponent has at most three digits: comparing
// others exactly could take all memory.
func validNumber(s string) bool {
	if !json.Valid([]byte(s)) || s == "" || !strings.ContainsRune("-0123456789", rune(s[0])) {
		return false
	}
	_, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	return len(strings.TrimLeft(exponent, "+-0")) <= 3
}

// compare orders two cells that are not null.
func (k kind) compare(a, b cell) int {
	switch k {
	case kindInt, kindNumber:
		x, _ := new(big.Rat).SetString(string(a))
		y, _ := new(big.Rat).SetString(string(b))
		return x.Cmp(y)
	case kindJSON:
		return compareJSON(a, b)
	case kindInts, kindTexts:
		return slices.CompareFunc(elements(a), elements(b), func(x, y cell) int {
			switch {
			case x != nil && y != nil:
				return k.element().compare(x, y)
			case x != nil: // null is above all
				return -1
			case y != nil:
				return 1
			default:
				return 0
			}
		})
	default:
		return strings.Compare(text(a), text(b))
	}
}

// jsonTypes are the types of JSON values by their first byte, in the order of jsonb.
const jsonTypes = `n"0ft[{`

// compareJSON orders JSON values as jsonb does: by type, numbers by value, arrays by
// their length first. Of objects it tells only which are equal.
func compareJSON(a, b cell) int {
	rank := func(c cell) int {
		if c[0] == '-' || c[0] >= '0' && c[0] <= '9' {
			return strings.IndexByte(jsonTypes, '0')
		}
		return strings.IndexByte(jsonTypes, c[0])
	}
	if order := cmp.Compare(rank(a), rank(b)); order != 0 {
		return order
	}
	switch a[0] {
	case '{':
		return strings.Compare(identity(a), identity(b))
	case '[':
		var x, y []cell
		_, _ = json.Unmarshal(a, &x), json.Unmarshal(b, &y)
		return cmp.Or(cmp.Compare(len(x), len(y)), slices.CompareFunc(x, y, compareJSON))
	case '"', 'n', 't', 'f':
		return strings.Compare(text(a), text(b))
	default:
		return kindNumber.compare(a, b)
	}
}

// identity is the same text for equal values: numbers by value, objects by content.
func identity(c cell) string {
	if c == nil {
		return ""
	}
	if c[0] != '{' && c[0] != '[' && !bytes.ContainsAny(c, `.eE\`) {
		return string(c)
	}
	decoder := json.NewDecoder(bytes.NewReader(c))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(c)
	}
	out, _ := json.Marshal(byValue(value))
	return string(out)
}

// byValue puts the same text for equal numbers into a decoded JSON value.
func byValue(value any) any {
	switch v := value.(type) {
	case json.Number:
		if validNumber(v.String()) {
			return json.Number(parseDecimal(cell(v)).trimmed().cell())
		}
	case []any:
		for i := range v {
			v[i] = byValue(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = byValue(v[name])
		}
	}
	return value
}

// jsonText is a JSON value as jsonb is written: a blank behind each comma and colon, and
// the shorter keys of an object first.
func jsonText(c cell) string {
	var b strings.Builder
	writeJSON(&b, bytes.TrimSpace(c))
	return b.String()
}

func writeJSON(b *strings.Builder, c cell) {
	comma := ""
	switch c[0] {
	case '[':
		b.WriteByte('[')
		var list []cell
		_ = json.Unmarshal(c, &list)
		for _, e := range list {
			b.WriteString(comma)
			comma = ", "
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case '{':
		b.WriteByte('{')
		var object map[string]cell
		_ = json.Unmarshal(c, &object)
		keys := make([]string, 0, len(object))
		for key := range object {
			keys = append(keys, key)
		}
		slices.SortFunc(keys, func(x, y string) int { return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)) })
		for _, key := range keys {
			b.WriteString(comma)
			comma = ", "
			b.Write(textCell(key))
			b.WriteString(": ")
			writeJSON(b, object[key])
		}
		b.WriteByte('}')
	case '"':
		b.Write(textCell(text(c)))
	default:
		b.Write(c)
	}
}

// arrayText is an array as PostgreSQL writes it: {1,NULL,"a b"}.
func arrayText(c cell) string {
	words := []string{}
	for _, e := range elements(c) {
		word := text(e)
		switch {
		case e == nil:
			word = "NULL"
		case word == "" || strings.EqualFold(word, "null") || strings.ContainsAny(word, "{}\",\\ \t\n\r\v\f"):
			word = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
		}
		words = append(words, word)
	}
	return "{" + strings.Join(words, ",") + "}"
}

// step takes one step into a JSON value; nil if there is nothing.
func step(c cell, s sdk.PathStep) cell {
	if !s.IsIndex {
		var object map[string]cell
		if json.Unmarshal(c, &object) != nil {
			return nil
		}
		return object[s.Key]
	}
	var list []cell
	if json.Unmarshal(c, &list) != nil {
		return nil
	}
	i := s.Index
	if i < 0 {
		i += int64(len(list))
	}
	if i < 0 || i >= int64(len(list)) {
		return nil
	}
	return list[i]
}

// contains reports whether array a has every element of b; nulls are equal to nothing.
func (k kind) contains(a, b cell) bool {
	return !slices.ContainsFunc(elements(b), func(e cell) bool { return !k.has(a, e) })
}

// overlaps reports whether arrays a and b have an element in common.
func (k kind) overlaps(a, b cell) bool {
	return slices.ContainsFunc(elements(b), func(e cell) bool { return k.has(a, e) })
}

func (k kind) has(array, want cell) bool {
	return want != nil && slices.ContainsFunc(elements(array), func(e cell) bool {
		return e != nil && k.element().compare(e, want) == 0
	})
}
