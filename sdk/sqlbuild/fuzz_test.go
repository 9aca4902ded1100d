package sqlbuild

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// tokens reads SQL into tokens: kinds for quoted names and placeholders, other tokens as
// they are, and "broken" for a quote that does not end. Names are collected apart.
func tokens(text string) (shape, names []string) {
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == ' ':
			i++
			continue
		case c == '"' || c == '\'':
			closed := false
			for i++; i < len(text) && !closed; i++ {
				if text[i] == c {
					if i+1 < len(text) && text[i+1] == c {
						i++
						continue
					}
					closed = true
				}
			}
			switch {
			case !closed:
				shape = append(shape, "broken")
			case c == '"':
				shape = append(shape, "name")
				names = append(names, strings.ReplaceAll(text[start+1:i-1], `""`, `"`))
			default:
				shape = append(shape, text[start:i])
			}
			continue
		case c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80:
			for i < len(text) && (text[i] == '_' || text[i] >= '0' && text[i] <= '9' || text[i] >= 'A' && text[i] <= 'Z' ||
				text[i] >= 'a' && text[i] <= 'z' || text[i] >= 0x80) {
				i++
			}
		default:
			i++
		}
		shape = append(shape, text[start:i])
	}
	return shape, names
}

// statements are all kinds of statement over a table of columns a and b, with a name and
// a value in every place that takes one.
func statements(a, b, alias, text string, hint sdk.ValueHint, compare sdk.Compare) []sdk.Statement {
	value := sdk.Value{Hint: hint, Text: text}
	name := func(s string) sdk.Column { return sdk.Column{Name: s} }
	filter := &sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{
		{Column: name(a), Operator: sdk.Eq, Values: []sdk.Value{value}, Compare: compare},
		{Column: name(b), Operator: sdk.Like, Values: []sdk.Value{value}, Compare: compare},
		{Column: name(b), Operator: sdk.ILike, Values: []sdk.Value{value, value}, Quantifier: sdk.Any, Compare: compare},
		{Kind: sdk.FilterNot, Children: []sdk.Filter{{Column: name(a), Operator: sdk.In, Values: []sdk.Value{value, value}, Compare: compare}}},
	}}
	object, _ := json.Marshal(map[string]string{a: text})
	payload := append(append([]byte{'['}, object...), ']')
	rowset := sdk.Rowset{Payload: payload, Columns: []string{a, b}, MissingDefault: true}
	selection := sdk.Selection{Items: []sdk.Item{{Column: name(a), Alias: alias, Cast: "text"}, {Column: name(b)}}}
	order := []sdk.Order{{Column: name(b)}}
	one := int64(1)
	return []sdk.Statement{
		{Verb: sdk.Select, Selection: selection, Filter: filter, Order: order, Limit: &one, Count: sdk.CountExact},
		{Verb: sdk.Count, Filter: filter, Key: []sdk.Value{value}},
		{Verb: sdk.Insert, Rows: rowset, Returning: sdk.ReturnSelection, Selection: selection},
		{Verb: sdk.Insert, Rows: rowset, Conflict: &sdk.OnConflict{Update: true, SetObject: object}},
		{Verb: sdk.Insert, Rows: rowset, Conflict: &sdk.OnConflict{Columns: []string{a}, Update: true, Set: []sdk.SetItem{{Column: b, Value: value}}}},
		{Verb: sdk.Update, SetObject: object, Filter: filter, Limit: &one, Order: order, Returning: sdk.ReturnKeys},
		{Verb: sdk.Update, Set: []sdk.SetItem{{Column: a, Value: value}}, Key: []sdk.Value{value}},
		{Verb: sdk.Delete, Filter: filter, Returning: sdk.ReturnSelection},
	}
}

func fuzzTable(schema, name, a, b string, class Class, typ string) *Table {
	return &Table{Schema: schema, Name: name, Key: []string{a}, Columns: []Column{
		{Name: a, Type: typ, Class: class, HasDefault: true}, {Name: b, Type: "text", Class: ClassText, HasDefault: true, Default: "now()"}}}
}

// FuzzInjectionText holds that neither names nor values change what a statement's text is but
// for the names in quotes, and that values only ever are arguments.
func FuzzInjectionText(f *testing.F) {
	for _, s := range []string{`x`, `"; DROP TABLE t; --`, `'); DELETE FROM t; --`, `\"`, `a""b`, "$1", "?1", "/*", "名", `$."a"`, `[0]`, `\' OR 1=1`} {
		f.Add(s, "b", s, "s", "t", s)
		f.Add("a", s, "alias", s, s, "1")
	}
	f.Fuzz(func(t *testing.T, a, b, alias, schema, table, text string) {
		if strings.EqualFold(a, b) || table == "_" || table == "excluded" || a == "" {
			return // the table could not exist, or has another alias beside it
		}
		known := map[string]bool{a: true, b: true, alias: true, schema: true, table: true}
		for kind, d := range map[string]*Dialect{"text": Postgres, "TEXT": SQLite, "": SQLite} {
			class := ClassText
			if kind == "" { // a column without a type
				class = ClassOther
			}
			for _, hint := range []sdk.ValueHint{sdk.Untyped, sdk.String, sdk.Null} {
				got := statements(a, b, alias, text, hint, sdk.Strict)
				plain := statements("a", "b", plainAlias(alias), "1", hint, sdk.Strict)
				for i := range got {
					q, err := build(d, &got[i], fuzzTable(schema, table, a, b, class, kind))
					if err != nil {
						continue // refused names
					}
					want, err := build(d, &plain[i], fuzzTable(plainAlias(schema), "t", "a", "b", class, kind))
					if err != nil {
						t.Fatal(err)
					}
					compareShapes(t, q.Text, want.Text, known)
					if q.Count != nil {
						compareShapes(t, q.Count.Text, want.Count.Text, known)
					}
				}
			}
		}
	})
}

// plainAlias keeps "" as it is: without alias or schema the shape is another.
func plainAlias(s string) string {
	if s == "" {
		return ""
	}
	return "x"
}

func compareShapes(t *testing.T, got, want string, known map[string]bool) {
	t.Helper()
	shape, names := tokens(got)
	wantShape, _ := tokens(want)
	if diff := cmp.Diff(wantShape, shape); diff != "" {
		t.Fatalf("another shape (-want +got):\n%s\n%s", diff, got)
	}
	for _, name := range names {
		if !known[name] {
			t.Fatalf("the name %q comes from nowhere: %s", name, got)
		}
	}
}

// FuzzLenient holds that values of lenient comparisons stay out of the text too, where
// the value chooses between readings of the column.
func FuzzLenient(f *testing.F) {
	for _, s := range []string{"5", "5.5", "x", "true", "2024-01-01", "{a}", "[1]", `["x\"", null]`, "'; --", `{"a":1}`} {
		f.Add(s, uint8(sdk.String), uint8(ClassNumber))
		f.Add(s, uint8(sdk.JSON), uint8(ClassArray))
	}
	types := map[Class]string{ClassNumber: "integer", ClassBool: "boolean", ClassUUID: "uuid", ClassArray: "text[]", ClassJSON: "jsonb", ClassTime: "date"}
	f.Fuzz(func(t *testing.T, text string, hint, class uint8) {
		c := Class(class % 9)
		for _, d := range []*Dialect{Postgres, SQLite} {
			for _, s := range statements("a", "b", "c", text, sdk.ValueHint(hint%7), sdk.Lenient) {
				q, err := build(d, &s, fuzzTable("s", "t", "a", "b", c, types[c]))
				if err != nil {
					t.Fatalf("%v", err)
				}
				shape, names := tokens(q.Text)
				for _, token := range shape {
					if token == "broken" || token == ";" || token == "--" || token[0] == '\'' && !strings.Contains(`'\' 'null' 'text' 'integer' 'real'`, token) {
						t.Fatalf("%q has no place in %s", token, q.Text)
					}
				}
				for _, name := range names {
					if !strings.Contains("a b c s t id", name) {
						t.Fatalf("the name %q comes from nowhere: %s", name, q.Text)
					}
				}
			}
		}
	})
}

// FuzzJSON holds the scanner to encoding/json on valid input, and to no panic on other.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":[{"c":"}"}],"a\"":"\\"}`, `[{"a":1}, {"b":null}]`, `["a","b\"",null,[1,2],{"x":1}]`, `{"a"`, `[[[[[[[1]]]]]]]`, ` { "\u0061" : 1 } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, ok := objectKeys(b)
		literal, arrayOK := ArrayLiteral(b, true)
		lacks(b, []string{"a"})
		var elements []json.RawMessage
		if !json.Valid(b) {
			return
		}
		var object map[string]json.RawMessage
		isObject := json.Unmarshal(b, &object) == nil && object != nil
		if ok != isObject {
			t.Fatalf("objectKeys is %v of %s", ok, b)
		}
		for _, key := range keys {
			if _, there := object[strings.ToValidUTF8(key, "\uFFFD")]; !there && isObject {
				t.Fatalf("%q is no key of %s", key, b)
			}
		}
		if isArray := json.Unmarshal(b, &elements) == nil && elements != nil; isArray != arrayOK {
			t.Fatalf("ArrayLiteral is %v of %s", arrayOK, b)
		} else if isArray {
			checkArray(t, literal, elements)
		}
	})
}

// checkArray reads an array literal as PostgreSQL does.
func checkArray(t *testing.T, literal string, elements []json.RawMessage) {
	t.Helper()
	rest, n := strings.TrimSuffix(strings.TrimPrefix(literal, "{"), "}"), 0
	for ; rest != ""; n++ {
		rest = strings.TrimPrefix(rest, ",")
		if n >= len(elements) {
			t.Fatalf("%s has more elements than %s", literal, elements)
		}
		if after, isNull := strings.CutPrefix(rest, "NULL"); isNull {
			if string(elements[n]) != "null" {
				t.Fatalf("element %d of %s is no null", n, literal)
			}
			rest = after
			continue
		}
		var text bytes.Buffer
		i := 1
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' {
				i++
			}
			text.WriteByte(rest[i])
		}
		if rest[0] != '"' || text.String() != string(elements[n]) {
			t.Fatalf("element %d of %s is %q, want %q", n, literal, text.String(), elements[n])
		}
		rest = rest[i+1:]
	}
	if n != len(elements) {
		t.Fatalf("%s has %d elements, want %d", literal, n, len(elements))
	}
}
