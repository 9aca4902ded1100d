package sqlbuild

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const placesSQL = `
create schema gis;
create extension postgis schema gis;
create table kinds (id int primary key, name text);
create table places (id int primary key, kind int references kinds, name text, at gis.geometry, doc jsonb, tags text[]);
insert into kinds values (1, 'town');
insert into places values (1, 1, 'One "1"', gis.st_point(1, 2), '{"a":[1]}', '{a,b}'), (2, null, 'Two', gis.st_point(3.5, -4), null, null), (3, 1, 'None', null, null, '{}');
create function places_of(kind int) returns setof places language sql stable as 'select * from places where places.kind = $1'`

// places is the catalogue of placesSQL.
func places() *Catalogue {
	id := Column{Name: "id", Type: "integer", Class: ClassNumber}
	kinds := &Table{Schema: "public", Name: "kinds", Key: []string{"id"}, Columns: []Column{id, {Name: "name", Type: "text", Class: ClassText}}}
	t := &Table{Schema: "public", Name: "places", Key: []string{"id"}, Columns: []Column{id,
		{Name: "kind", Type: "integer", Class: ClassNumber}, {Name: "name", Type: "text", Class: ClassText},
		{Name: "at", Type: "gis.geometry", AsJSON: true}, {Name: "doc", Type: "jsonb", Class: ClassJSON}, {Name: "tags", Type: "text[]", Class: ClassArray}}}
	key := &ForeignKey{Name: "places_kind_fkey", Table: t, Columns: []string{"kind"}, Target: kinds, TargetColumns: []string{"id"}}
	t.Foreign, kinds.Referring = []*ForeignKey{key}, []*ForeignKey{key}
	c := catalogueOf(t, kinds)
	c.GeoJSON = `"gis"."st_asgeojson"`
	c.Functions = map[sdk.Table][]*Function{{Schema: "public", Name: "places_of"}: {{
		Schema: "public", Name: "places_of", Params: []Param{{Name: "kind", Type: "integer", Class: ClassNumber}}, Returns: Returns{Set: true, Columns: t.Columns, Table: t},
	}}}
	return c
}

// connectPlaces makes placesSQL in a database that has PostGIS, on a server of the test's
// own if the shared one has not.
func connectPlaces(t *testing.T) *pgconn.PgConn {
	t.Helper()
	uri, setup := testenv.Postgres(t), placesSQL
	if testenv.HasExtension(t, uri, "postgis") {
		uri, setup = testenv.Database(t, placesSQL), ""
	} else {
		uri = testenv.Server(t, testenv.ServerOptions{Version: 15}).URI("postgres")
	}
	conn, err := pgconn.Connect(context.Background(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := conn.Exec(context.Background(), setup).Close(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestGeoJSONOnPostgres(t *testing.T) {
	conn := connectPlaces(t)
	one := `{"type": "Feature", "geometry": {"type":"Point","coordinates":[1,2]}, "properties": {"id": 1, "kind": 1, "name": "One \"1\"", "doc": {"a": [1]}, "tags": ["a","b"]}}`
	column := func(name string) sdk.Item { return sdk.Item{Column: sdk.Column{Name: name}} }
	town := sdk.Item{Kind: sdk.ItemRelation, Relation: &sdk.Relation{Target: "kinds", Selection: sdk.Selection{Items: []sdk.Item{column("name")}}}}
	for _, test := range []struct {
		name string
		s    sdk.Statement
		want []string // the feature, behind what is hidden
	}{
		{"all columns", sdk.Statement{Verb: sdk.Select, Key: []sdk.Value{num("1")}}, []string{one}},
		{"chosen, sorted and paged", sdk.Statement{
			Verb: sdk.Select, Selection: sdk.Selection{Items: []sdk.Item{column("name"), column("at")}}, Order: []sdk.Order{{Column: sdk.Column{Name: "id"}, Descending: true}}, Limit: n(2), Offset: n(1),
		}, []string{
			`{"type": "Feature", "geometry": {"type":"Point","coordinates":[3.5,-4]}, "properties": {"name": "Two"}}`,
			`{"type": "Feature", "geometry": {"type":"Point","coordinates":[1,2]}, "properties": {"name": "One \"1\""}}`,
		}},
		{"related", sdk.Statement{
			Verb: sdk.Select, Key: []sdk.Value{num("1")}, Selection: sdk.Selection{Items: []sdk.Item{column("at"), town}},
		}, []string{`{"type": "Feature", "geometry": {"type":"Point","coordinates":[1,2]}, "properties": {"kinds": {"name":"town"}}}`}},
		{"function", sdk.Statement{Verb: sdk.Function, Filter: where("id", sdk.Eq, num("1")), Function: sdk.FunctionCall{Name: "places_of", Args: []byte(`{"kind":1}`)}}, []string{one}},
		{"counted function", sdk.Statement{
			Verb: sdk.Function, Count: sdk.CountExact, Limit: n(1), Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}, Function: sdk.FunctionCall{Name: "places_of", Args: []byte(`{"kind":1}`)},
		}, []string{"2|~|t|" + one}},
		{"update", sdk.Statement{
			Verb: sdk.Update, Key: []sdk.Value{num("2")}, Set: []sdk.SetItem{{Column: "name", Value: str("Deux")}}, Returning: sdk.ReturnSelection, Selection: sdk.Selection{Items: []sdk.Item{column("at"), column("name")}},
		}, []string{`1|~|t|{"type": "Feature", "geometry": {"type":"Point","coordinates":[3.5,-4]}, "properties": {"name": "Deux"}}`}},
		{"upsert", sdk.Statement{
			Verb: sdk.Insert, Rows: rows(`[{"id":3,"at":"POINT(5 6)"},{"id":4,"at":"POINT(7 8)"}]`, "id", "at"), Conflict: &sdk.OnConflict{Update: true}, Returning: sdk.ReturnSelection,
			Selection: sdk.Selection{Items: []sdk.Item{column("at"), column("id")}}, Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}},
		}, []string{
			`2|1|t|{"type": "Feature", "geometry": {"type":"Point","coordinates":[5,6]}, "properties": {"id": 3}}`,
			`2|1|t|{"type": "Feature", "geometry": {"type":"Point","coordinates":[7,8]}, "properties": {"id": 4}}`,
		}},
		{"nothing deleted", sdk.Statement{Verb: sdk.Delete, Key: []sdk.Value{num("9")}, Returning: sdk.ReturnSelection}, []string{`0|~|f|`}},
		{"nothing returned", sdk.Statement{Verb: sdk.Delete, Key: []sdk.Value{num("9")}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.s.Verb != sdk.Function {
				test.s.Table.Name = "places"
			}
			q, err := Postgres.Build(places(), &test.s, &sdk.ResultOptions{Format: sdk.FormatGeoJSON})
			if err != nil {
				t.Fatal(err)
			}
			got, err := runPostgres(conn, q)
			if err != nil {
				t.Fatalf("%s: %v", q.Text, err)
			}
			if len(got.rows) != len(test.want) {
				t.Fatalf("%s answered %q", q.Text, got.rows)
			}
			for i, want := range test.want {
				if strings.HasSuffix(want, "|f|") { // what is in a row that is not shown does not matter
					got.rows[i] = got.rows[i][:len(want)]
				}
				if compact(got.rows[i]) != compact(want) {
					t.Errorf("row %d: got  %s\nwant %s", i, got.rows[i], want)
				}
			}
		})
	}
}

// compact removes the blanks of the JSON object that ends a row.
func compact(row string) string {
	at := strings.IndexByte(row+"{", '{')
	var v any
	if json.Unmarshal([]byte(row[at:]), &v) != nil {
		return row
	}
	b, _ := json.Marshal(v)
	return row[:at] + string(b)
}

func TestGeoJSONNeedsPostGIS(t *testing.T) {
	for _, s := range []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: "places"}}, {Verb: sdk.Delete, Table: sdk.Table{Name: "places"}, AllowAll: true, Returning: sdk.ReturnSelection}} {
		c := places()
		c.GeoJSON = ""
		_, err := Postgres.Build(c, &s, &sdk.ResultOptions{Format: sdk.FormatGeoJSON})
		if e := sdk.AsError(err); e == nil || e.Kind != sdk.Unsupported || e.Reason != "unsupported_geojson" || !strings.Contains(e.Hint, "PostGIS") {
			t.Errorf("verb %v: %v", s.Verb, err)
		}
	}
}
