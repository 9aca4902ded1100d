package sqlbuild

import (
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestLenient checks how a lenient comparison reads its column, and its argument.
func TestLenient(t *testing.T) {
	const upper = "0B0E7F6A-3C9E-4A63-9D5E-3F1B0A3CDB11"
	json := func(s string) sdk.Value { return sdk.Value{Hint: sdk.JSON, Text: s} }
	cases := []struct {
		class Class
		typ   string
		op    sdk.Operator
		value sdk.Value
		want  string // column and operator
		arg   string // "" for the value's own text
	}{
		{ClassNumber, "integer", sdk.Eq, str("5"), `c =`, ""},
		{ClassNumber, "integer", sdk.Gt, num("5.5"), `c::numeric >`, ""},
		{ClassNumber, "integer", sdk.Eq, num("99999999999"), `c::numeric =`, ""},
		{ClassNumber, "bigint", sdk.Eq, num("99999999999"), `c =`, ""},
		{ClassNumber, "smallint", sdk.Eq, num("40000"), `c::numeric =`, ""},
		{ClassNumber, "integer", sdk.Eq, str("five"), `c::text =`, ""},
		{ClassNumber, "integer", sdk.Eq, str(""), `c::text =`, ""},
		{ClassNumber, "numeric", sdk.Eq, str("1e3"), `c =`, ""},
		{ClassNumber, "numeric", sdk.Eq, str("1e999999999"), `c::text =`, ""},
		{ClassNumber, "numeric", sdk.Eq, str("1_000"), `c::text =`, ""},
		{ClassNumber, "real", sdk.Lt, num("1e39"), `c::numeric <`, ""},
		{ClassNumber, "double precision", sdk.Lt, num("1e39"), `c <`, ""},
		{ClassNumber, "double precision", sdk.Eq, str("NaN"), `c =`, ""},
		{ClassNumber, "posint", sdk.Eq, num("5"), `c =`, ""},
		{ClassNumber, "posint", sdk.Eq, num("5.5"), `c::numeric =`, ""},
		{ClassText, "text", sdk.Eq, num("5"), `c =`, ""},
		{ClassUUID, "uuid", sdk.Eq, str(upper), `c =`, ""},
		{ClassUUID, "uuid", sdk.Eq, str("{" + strings.ReplaceAll(upper, "-", "") + "}"), `c =`, ""},
		{ClassUUID, "uuid", sdk.Eq, str(upper[1:]), `c::text =`, ""},
		{ClassUUID, "uuid", sdk.Eq, str("-" + upper), `c::text =`, ""},
		{ClassUUID, "uuid", sdk.Like, str("0b%"), `c::text LIKE`, ""},
		{ClassBool, "boolean", sdk.Eq, str("Yes"), `c =`, ""},
		{ClassBool, "boolean", sdk.Eq, str("maybe"), `c::text =`, ""},
		{ClassBool, "boolean", sdk.Eq, str("o"), `c::text =`, ""},
		{ClassTime, "date", sdk.Gte, str("2024-02-29"), `c >=`, ""},
		{ClassTime, "date", sdk.Gte, str("2023-02-29"), `c::text >=`, ""},
		{ClassTime, "timestamp with time zone", sdk.Lt, str("tomorrow"), `c <`, ""},
		{ClassTime, "timestamp with time zone", sdk.Lt, str("soon"), `c::text <`, ""},
		{ClassTime, "time without time zone", sdk.Lt, str("12:00"), `c <`, ""},
		{ClassTime, "time without time zone", sdk.Lt, str("noon"), `c::text <`, ""},
		{ClassTime, "interval", sdk.Lt, str("soon"), `c <`, ""},
		{ClassArray, "text[]", sdk.Contains, json(`["a","b,c",null,"q\"\\"]`), `c @>`, `{"a","b,c",NULL,"q\"\\"}`},
		{ClassArray, "integer[]", sdk.Eq, json(` [ [1, 2], [3 ,4] ]`), `c =`, `{{"1","2"},{"3","4"}}`},
		{ClassArray, "jsonb[]", sdk.Eq, json(`[{"a":[1]},[2]]`), `c =`, `{"{\"a\":[1]}","[2]"}`},
		{ClassArray, "text[]", sdk.Contained, str("{a,b}"), `c <@`, ""},
		{ClassArray, "text[]", sdk.Eq, num("5"), `c::text =`, ""},
		{ClassJSON, "jsonb", sdk.Contains, json(`{"a":1}`), `c @>`, ""},
		{ClassJSON, "json", sdk.Contains, json(`{"a":1}`), `c::jsonb @>`, ""},
		{ClassJSON, "jsonb", sdk.Eq, str("word"), `c::jsonb =`, `"word"`},
		{ClassOther, "mood", sdk.Eq, str("happy"), `c =`, ""},
	}
	for _, c := range cases {
		table := &Table{Name: "t", Columns: []Column{{Name: "c", Type: c.typ, Class: c.class}}}
		s := sdk.Statement{Verb: sdk.Select, Filter: lenient("c", c.op, c.value)}
		q, err := build(Postgres, &s, table)
		if err != nil {
			t.Errorf("%s %s %v: %v", c.typ, c.op, c.value, err)
			continue
		}
		_, got, _ := strings.Cut(q.Text, `WHERE "t".`)
		if want := strings.Replace(c.want, "c", `"c"`, 1) + " $1"; got != want {
			t.Errorf("%s %s %v: got %s, want %s", c.typ, c.op, c.value, got, want)
		}
		want := c.arg
		if want == "" {
			want = c.value.Text
		}
		if q.Args[0].Text != want {
			t.Errorf("%s %s %v: bound %q, want %q", c.typ, c.op, c.value, q.Args[0].Text, want)
		}
		s.Filter.Compare = sdk.Strict
		if q, err = build(Postgres, &s, table); err != nil || !strings.Contains(q.Text, `WHERE "t"."c" `) {
			t.Errorf("strict %s %s %v: got %v %v", c.typ, c.op, c.value, q, err)
		}
	}
}

func TestLenientIn(t *testing.T) {
	s := selectID(lenient("id", sdk.In, num("1"), str("x"), num("1.5"), num("2"), null))
	q, err := build(Postgres, &s, items())
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(q.Text, " WHERE ")
	want := `(("items"."id" = ANY($1) OR "items"."id"::numeric = ANY($2) OR "items"."id"::text = ANY($3)) OR "items"."id" IS NULL)`
	if got != want || q.Args[0].Text != `{"1","2"}` || q.Args[1].Text != `{"1.5"}` || q.Args[2].Text != `{"x"}` {
		t.Errorf("got %s %v, want %s", got, q.Args, want)
	}
}

// TestCastUUID holds that a cast to text, which clients add for uuids, costs no index.
func TestCastUUID(t *testing.T) {
	f := lenient("ref", sdk.Eq, str("0b0e7f6a-3c9e-4a63-9d5e-3f1b0a3cdb11"))
	f.ColumnCast = "text"
	for value, want := range map[string]string{f.Values[0].Text: `"items"."ref" = $1`, "other": `"items"."ref"::text = $1`} {
		f.Values[0].Text = value
		s := selectID(f)
		q, err := build(Postgres, &s, items())
		if err != nil {
			t.Fatal(err)
		}
		if _, got, _ := strings.Cut(q.Text, " WHERE "); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

func TestSQLiteValues(t *testing.T) {
	boolean := sdk.Value{Hint: sdk.Bool, Text: "true"}
	cases := []struct {
		column string
		op     sdk.Operator
		value  sdk.Value
		want   sdk.Value
	}{
		{"done", sdk.Eq, boolean, num("1")},
		{"done", sdk.Eq, sdk.Value{Text: "false"}, num("0")},
		{"name", sdk.Eq, boolean, str("true")},
		{"name", sdk.Eq, num("1.10"), str("1.10")},
		{"price", sdk.Eq, num("1.10"), num("1.10")},
		{"name", sdk.Like, str(`a%_\%*[?`), str("a*?%[*][[][?]")},
		{"id", sdk.In, num("9007199254740993"), sdk.Value{Hint: sdk.JSON, Text: "[9007199254740993]"}},
		{"id", sdk.In, num("-0"), sdk.Value{Hint: sdk.JSON, Text: `["-0"]`}},
		{"name", sdk.In, str(`a"b`), sdk.Value{Hint: sdk.JSON, Text: `["a\"b"]`}},
	}
	for _, c := range cases {
		s := selectID(where(c.column, c.op, c.value))
		q, err := build(SQLite, &s, items())
		if err != nil {
			t.Errorf("%s %s %v: %v", c.column, c.op, c.value, err)
			continue
		}
		if q.Args[0] != c.want {
			t.Errorf("%s %s %v: bound %v, want %v", c.column, c.op, c.value, q.Args[0], c.want)
		}
	}
}
