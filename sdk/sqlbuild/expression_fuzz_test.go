package sqlbuild

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// expressionsOf are statements with a JSON key, an alias, a language and a value in every
// place of an expression that takes one.
func expressionsOf(d *Dialect, k, alias, language, value string) []sdk.Statement {
	path := ref("data", key(k), at(-1), text(k))
	filters := []sdk.Filter{
		compare(path, sdk.Eq, str(value)),
		loosely(compare(ref("data", key(k)), sdk.In, sdk.Value{Text: value}, null)),
		loosely(compare(ref("data", key(k)), sdk.Gt, sdk.Value{Text: value})),
		{Column: path, Operator: sdk.Lt, Values: []sdk.Value{{Text: value}}, ColumnCast: "int", ValueCast: "int"},
		{Column: path, Operator: sdk.Is, Values: []sdk.Value{null}},
	}
	if !d.sqlite {
		filters = append(filters,
			sdk.Filter{Column: path, Operator: sdk.WebFTS, Values: []sdk.Value{str(value)}, Language: language},
			sdk.Filter{Column: ref("search"), Operator: sdk.FTS, Values: []sdk.Value{str(value)}, Language: language},
			quantified(sdk.All, compare(path, sdk.IMatch, str(value), str(value))))
	}
	filter := &sdk.Filter{Kind: sdk.FilterOr, Children: filters}
	s := selecting(sdk.Statement{Table: sdk.Table{Name: "things"}, Filter: filter, Order: []sdk.Order{{Column: path}}, Count: sdk.CountEstimated},
		sdk.Item{Column: path, Alias: alias}, sdk.Item{Column: ref("data", key(k)), Cast: "text", Alias: "x"}, sdk.Item{Column: path, Cast: "int", Aggregate: "sum", CastAfter: "text", Alias: alias})
	grouped := s
	grouped.Selection.Bucket = &sdk.Bucket{Column: path, Granularity: "quarter"}
	return []sdk.Statement{s, grouped, {Verb: sdk.Delete, Table: s.Table, Filter: filter}}
}

// keyed are the tokens of a text with its literals read: those that mean the JSON key k,
// by themselves or as a path, become KEY. It fails for others that hold a backslash or
// are not among the builder's own.
func keyed(t *testing.T, d *Dialect, query, k string) (shape, names []string) {
	tokens, names := tokens(query)
	for _, token := range tokens {
		if token[0] != '\'' {
			shape = append(shape, token)
			continue
		}
		literal := strings.ReplaceAll(token[1:len(token)-1], `''`, `'`)
		if last := len(shape) - 1; last >= 0 && shape[last] == "E" && !d.sqlite {
			shape = shape[:last]
			literal = strings.ReplaceAll(literal, `\\`, "\x00")
			if strings.Contains(literal, `\`) {
				t.Fatalf("a lone backslash in %s of %s", token, query)
			}
			literal = strings.ReplaceAll(literal, "\x00", `\`)
		} else if !d.sqlite && strings.Contains(literal, `\`) {
			t.Fatalf("a backslash in the plain literal %s of %s", token, query)
		}
		quoted := string(sdk.AppendString(nil, k))
		literal = strings.ReplaceAll(literal, "$."+quoted+"[#-1]."+quoted, "PATH")
		switch {
		case literal == k && !d.sqlite, literal == "PATH", literal == "$."+quoted:
			literal = "KEY"
		case !slices.Contains([]string{"quarter", "%Y-%m-01T00:00:00", "start of month", "-", "%m", " months", "text", "null", "integer", "real", ""}, literal):
			t.Fatalf("the literal %s comes from nowhere: %s", token, query)
		}
		shape = append(shape, literal)
	}
	return shape, names
}

// FuzzExpressionText holds that JSON keys change no more of a statement's text than the
// literal that they are, aliases no more than a name, and languages and values nothing.
func FuzzExpressionText(f *testing.F) {
	for _, s := range []string{"x", `'; DROP TABLE t; --`, `\'; --`, `\\'`, `"`, `a"]."b`, "$.a", "[0]", "$1", "E'", "", "名", "\x00", "\xff", "text"} {
		f.Add(s, "alias", s, s)
		f.Add("key", s, "english", "1")
	}
	f.Fuzz(func(t *testing.T, k, alias, language, value string) {
		if k == "quarter" {
			return // the builder's own literal
		}
		for _, d := range []*Dialect{Postgres, SQLite} {
			plain := expressionsOf(d, "k", plainAlias(alias), plainAlias(language), "1")
			for i, s := range expressionsOf(d, k, alias, language, value) {
				got, err := d.Build(things(d), &s, &sdk.ResultOptions{})
				if err != nil {
					continue // refused keys and names
				}
				want, err := d.Build(things(d), &plain[i], &sdk.ResultOptions{})
				if err != nil {
					t.Fatal(err)
				}
				texts := [][2]string{{got.Text, want.Text}}
				if got.Count != nil {
					texts = append(texts, [2]string{got.Count.Text, want.Count.Text}, [2]string{got.Count.Plan, want.Count.Plan})
				}
				for _, pair := range texts {
					shape, names := keyed(t, d, pair[0], k)
					wantShape, _ := keyed(t, d, pair[1], "k")
					if diff := cmp.Diff(wantShape, shape); diff != "" {
						t.Fatalf("another shape (-want +got):\n%s\n%s", diff, pair[0])
					}
					for _, name := range names {
						if name != alias && name != k && !slices.Contains([]string{"public", "things", "data", "search", "id", "x", "sum"}, name) {
							t.Fatalf("the name %q comes from nowhere: %s", name, pair[0])
						}
					}
				}
			}
		}
	})
}

// FuzzTypeName holds that what is accepted as a type's name is quoted names and digits in
// the places that a type has for them, and means the same when it is read again.
func FuzzTypeName(f *testing.F) {
	for _, s := range []string{"int", "numeric(5,-2)", "public.mood[]", `"My Type"`, `a."b""c"`, "timestamp (3) with time zone", "text); DROP TABLE t; --", "int[][]", "double precision", "a.b.c", `"`, "(1)", "$a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		typ, ok := parseType(name)
		if !ok {
			return
		}
		if again, ok := parseType(typ.postgres); len(typ.postgres) <= maxTypeName && (!ok || again.postgres != typ.postgres) {
			t.Fatalf("%q is %q, and that is %q, %v", name, typ.postgres, again.postgres, ok)
		}
		shape, _ := tokens(typ.postgres)
		text := strings.Join(shape, "")
		text = strings.TrimSuffix(text, "[]")
		text = strings.TrimPrefix(strings.TrimPrefix(text, "name."), "name")
		if strings.Trim(text, "(0123456789,-)") != "" {
			t.Fatalf("%q is %s", name, typ.postgres)
		}
	})
}

func TestTypeNames(t *testing.T) {
	for name, want := range map[string]string{
		"int4": `"int4"`, "INT [ ]": "", "int[]": `"int4"[]`, "Integer[][]": `"int4"[]`, "double  precision": `"float8"`,
		"character varying": `"varchar"`, "character varying(9)": `"varchar"(9)`, "char": `"bpchar"(1)`, "character(3)": `"bpchar"(3)`, `"char"`: `"char"`,
		"timestamp with time zone": `"timestamptz"`, "timestamp(3) without time zone": `"timestamp"(3)`, "time with time zone": `"timetz"`,
		"time without time zone": `"time"`, "bit varying(5)": `"varbit"(5)`, "numeric(10, 2)": `"numeric"(10,2)`, "decimal(4)[]": `"numeric"(4)[]`,
		"Mood": `"mood"`, `"Mood"`: `"Mood"`, ` other . "a b" [] `: `"other"."a b"[]`, "größe": `"größe"`, "geometry(2)": `"geometry"(2)`,
		"": "", "a b": "", "a.": "", ".a": "", "1a": "", "a;b": "", "a'": "", `"a`: "", `""`: "", "int(": "", "int()": "", "int(a)": "", "int(1,2,3)": "", "a--": "", "a/*": "",
		"int(9999999999)": "", "a\x00": "", `"a` + "\x00" + `"`: "", "\xff": "", strings.Repeat("a", 300): "", "integer time": "",
	} {
		if got, ok := parseType(name); ok != (want != "") || ok && got.postgres != want {
			t.Errorf("%q is %q, %v; want %q", name, got.postgres, ok, want)
		}
	}
}
