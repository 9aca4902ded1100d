package sqlbuild

import (
	"fmt"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

func BenchmarkBuild(b *testing.B) {
	byKey := sdk.Statement{Verb: sdk.Select, Filter: lenient("id", sdk.Eq, num("42"))}
	page := sdk.Statement{Verb: sdk.Select, Limit: n(20), Offset: n(40), Order: []sdk.Order{{Column: sdk.Column{Name: "name"}}},
		Selection: sdk.Selection{Items: []sdk.Item{item("id"), item("name"), item("price"), item("done")}},
		Filter: &sdk.Filter{Kind: sdk.FilterAnd, Children: []sdk.Filter{
			*lenient("price", sdk.Gt, num("9.5")), *lenient("done", sdk.Eq, str("true")), *lenient("ref", sdk.Eq, str("0b0e7f6a-3c9e-4a63-9d5e-3f1b0a3cdb11"))}}}
	in := selectID(lenient("id", sdk.In, num("1"), num("2"), num("3"), num("4"), num("5")))
	one := sdk.Statement{Verb: sdk.Insert, Rows: rows(`{"name":"x","done":true,"price":1.5}`, "name", "done", "price"), Returning: sdk.ReturnSelection}
	update := sdk.Statement{Verb: sdk.Update, SetObject: []byte(`{"name":"x","done":true}`), Filter: lenient("id", sdk.Eq, num("42"))}
	var payload strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&payload, `,{"name":"item %d","done":false,"price":%d.5,"ref":null,"doc":{"a":[1,2,3]}}`, i, i)
	}
	many := one
	many.Rows = rows("["+payload.String()[1:]+"]", "name", "done", "price", "ref", "doc")
	defaults := many
	defaults.Rows.MissingDefault = true
	for name, s := range map[string]*sdk.Statement{"one row": &byKey, "page": &page, "in": &in, "insert": &one, "update": &update,
		"insert 1000": &many, "insert 1000 with defaults": &defaults} {
		for _, d := range []*Dialect{Postgres, SQLite} {
			b.Run(name+" on "+d.name, func(b *testing.B) {
				catalogue := catalogueOf(items())
				statement, options := *s, &sdk.ResultOptions{}
				statement.Table = sdk.Table{Schema: "public", Name: "items"}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Build(catalogue, &statement, options); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
