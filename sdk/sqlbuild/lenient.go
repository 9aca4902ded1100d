package sqlbuild

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// reading is how the column of a lenient comparison is read so that PostgreSQL can read
// the value: by its own type, or by a wider one.
type reading uint8

const (
	asColumn  reading = iota
	asNumeric         // 5.5 or 99999999999 against an integer column
	asText            // "abc" against an integer column
	asJSONB           // json has no equality
	asUUID            // a uuid against a uuid column that was cast to text: the index serves it
	readings
)

// cast is the cast that follows the column.
func (r reading) cast() string {
	switch r {
	case asNumeric:
		return "::numeric"
	case asText:
		return "::text"
	case asJSONB:
		return "::jsonb"
	default:
		return ""
	}
}

// read decides how a value of a comparison is read. Strict comparisons and explicit
// value casts leave everything to the database.
func (c *comparison) read(v *sdk.Value) reading {
	uncast := c.columnCast.postgres == ""
	if c.Compare == sdk.Strict || v.Hint == sdk.Null {
		return asColumn
	}
	if c.columnCast.class == ClassText && c.operand.class == ClassUUID && c.valueCast.class != ClassJSON {
		switch c.Operator {
		case sdk.Eq, sdk.Neq, sdk.In:
			if isUUID(v.Text) {
				return asUUID
			}
		}
	}
	if c.valueCast.postgres != "" {
		return asColumn
	}
	switch c.Operator {
	case sdk.Like, sdk.ILike, sdk.Match, sdk.IMatch:
		if c.class != ClassText {
			return asText
		}
		return asColumn
	case sdk.FTS, sdk.PlainFTS, sdk.PhraseFTS, sdk.WebFTS: // of text and JSON
		if c.class != ClassText && c.class != ClassJSON {
			return asText
		}
		return asColumn
	case sdk.Contains, sdk.Contained, sdk.Overlaps, sdk.StrictLeft, sdk.StrictRght, sdk.NotRight, sdk.NotLeft, sdk.Adjacent:
		if c.class == ClassJSON && c.typ == "json" {
			return asJSONB
		}
		return asColumn
	}
	switch c.class {
	case ClassNumber:
		return readNumber(c.typ, v.Text)
	case ClassUUID:
		if !isUUID(v.Text) {
			return asText
		}
	case ClassBool:
		if !isBool(v.Text) {
			return asText
		}
	case ClassTime:
		if !maybeTime(c.typ, v.Text) {
			return asText
		}
	case ClassArray:
		if text := strings.TrimSpace(v.Text); uncast && !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
			return asText
		}
	case ClassJSON:
		return asJSONB
	}
	return asColumn
}

// readNumber reads text for a column of a numeric type.
func readNumber(typ, text string) reading {
	text = strings.TrimSpace(text)
	bits := 0
	switch typ {
	case "smallint":
		bits = 16
	case "integer":
		bits = 32
	case "bigint":
		bits = 64
	}
	if bits > 0 {
		if _, err := strconv.ParseInt(text, 10, bits); err == nil {
			return asColumn
		}
		if isNumber(text) {
			return asNumeric
		}
		return asText
	}
	if !isNumber(text) {
		return asText
	}
	switch typ {
	case "numeric":
	case "real", "double precision":
		size := 64
		if typ == "real" {
			size = 32
		}
		if f, err := strconv.ParseFloat(text, size); err != nil || f == 0 && strings.Trim(text, "+-0.") != "" {
			return asNumeric // the type cannot hold it; numeric can
		}
	default: // a domain, perhaps of integers
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return asNumeric
		}
	}
	return asColumn
}

// isNumber reports whether text is a decimal number as every PostgreSQL reads it, of an
// exponent that numeric can hold.
func isNumber(text string) bool {
	switch strings.ToLower(text) {
	case "nan", "infinity", "-infinity":
		return true
	}
	digits, i := 0, 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	for dot := false; i < len(text); i++ {
		if text[i] == '.' && !dot {
			dot = true
		} else if text[i] >= '0' && text[i] <= '9' {
			digits++
		} else {
			break
		}
	}
	if digits == 0 || digits > 1000 {
		return false
	}
	if i == len(text) {
		return true
	}
	if text[i] != 'e' && text[i] != 'E' {
		return false
	}
	exponent, err := strconv.Atoi(text[i+1:])
	return err == nil && exponent > -10000 && exponent < 100000
}

// isUUID reports whether PostgreSQL reads text as a uuid: 32 hex digits in any case, a
// hyphen after any group of four, braces around if you like.
func isUUID(text string) bool {
	if len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}' {
		text = text[1 : len(text)-1]
	}
	digits, hyphen := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-' && digits > 0 && digits%4 == 0 && !hyphen && digits < 32:
			hyphen = true
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			digits++
			hyphen = false
		default:
			return false
		}
	}
	return digits == 32
}

// isBool reports whether PostgreSQL reads text as a boolean.
func isBool(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	for _, word := range [...]string{"true", "false", "yes", "no", "on", "off", "1", "0"} {
		if text != "" && text != "o" && strings.HasPrefix(word, text) {
			return true
		}
	}
	return false
}

// maybeTime reports whether text may be a date or time. PostgreSQL reads so many forms
// that only what is plainly none is told apart.
func maybeTime(typ, text string) bool {
	if !strings.HasPrefix(typ, "date") && !strings.HasPrefix(typ, "time") {
		return true // an interval, or a type this package does not know
	}
	text = strings.ToLower(strings.TrimSpace(text))
	switch text {
	case "now", "today", "tomorrow", "yesterday", "epoch", "infinity", "-infinity", "allballs":
		return true
	}
	if strings.HasPrefix(typ, "time") && !strings.HasPrefix(typ, "timestamp") {
		return len(text) >= 4 && text[0] >= '0' && text[0] <= '9' && strings.Contains(text, ":")
	}
	if len(text) >= 10 && text[4] == '-' && text[7] == '-' { // 2024-02-30 is none
		year, err1 := strconv.Atoi(text[:4])
		month, err2 := strconv.Atoi(text[5:7])
		day, err3 := strconv.Atoi(text[8:10])
		if err1 == nil && err2 == nil && err3 == nil {
			return year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month)
		}
	}
	if len(text) < 6 {
		return false
	}
	if text[0] >= '0' && text[0] <= '9' {
		return true
	}
	for _, month := range [...]string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"} {
		if strings.HasPrefix(text, month) {
			return strings.ContainsAny(text, "0123456789")
		}
	}
	return false
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// jsonText is a value as JSON text: a string that is no JSON becomes a JSON string.
func jsonText(v sdk.Value) string {
	if v.Hint == sdk.JSON || v.Hint == sdk.Number || v.Hint == sdk.Bool || json.Valid([]byte(v.Text)) {
		return v.Text
	}
	return string(sdk.AppendString(nil, v.Text))
}
