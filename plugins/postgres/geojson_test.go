package main

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const placesSQL = `
create extension postgis;
create table places (id int primary key, name text, at geometry);
insert into places values (1, 'One', st_point(1, 2)), (2, 'Two', st_point(3, 4))`

// placesURI is a database with PostGIS, on a server of the test's own if the shared one has
// not.
func placesURI(t *testing.T) string {
	t.Helper()
	if testenv.HasExtension(t, testenv.Postgres(t), "postgis") {
		return testenv.Database(t, placesSQL)
	}
	uri := testenv.Server(t, testenv.ServerOptions{Version: 15}).URI("postgres")
	must(t, openURI(t, uri, nil), sqlText(placesSQL))
	return uri
}

func TestGeoJSON(t *testing.T) {
	db := openURI(t, placesURI(t), nil)
	feature := func(id, x, y float64, name string) any {
		return map[string]any{"type": "Feature", "geometry": map[string]any{"type": "Point", "coordinates": []any{x, y}}, "properties": map[string]any{"id": id, "name": name}}
	}
	id := []sdk.Value{{Hint: sdk.Number, Text: "2"}}
	for _, test := range []struct {
		name string
		s    sdk.Statement
		want []any
		rows int64
	}{
		{"select", sdk.Statement{Verb: sdk.Select, Table: table("places"), Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}}, []any{feature(1, 1, 2, "One"), feature(2, 3, 4, "Two")}, 2},
		{"counted", sdk.Statement{Verb: sdk.Select, Table: table("places"), Count: sdk.CountExact, Key: id}, []any{feature(2, 3, 4, "Two")}, 1},
		{"none", sdk.Statement{Verb: sdk.Select, Table: table("places"), Filter: eq("id", "9")}, []any{}, 0},
		{"update", sdk.Statement{Verb: sdk.Update, Table: table("places"), Filter: eq("id", "2"), Set: []sdk.SetItem{{Column: "name", Value: text("Deux")}}, Returning: sdk.ReturnSelection}, []any{feature(2, 3, 4, "Deux")}, 1},
		{"upsert", sdk.Statement{
			Verb: sdk.Insert, Table: table("places"), Conflict: &sdk.OnConflict{Update: true}, Returning: sdk.ReturnSelection, Rows: sdk.Rowset{Payload: []byte(`{"id":3,"name":"Three","at":"POINT(5 6)"}`), Columns: []string{"id", "name", "at"}},
		}, []any{feature(3, 5, 6, "Three")}, 1},
		{"none deleted", sdk.Statement{Verb: sdk.Delete, Table: table("places"), Filter: eq("id", "9"), Returning: sdk.ReturnSelection}, []any{}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := must(t, db, test.s, sdk.ResultOptions{Format: sdk.FormatGeoJSON})
			var got any
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(a.body, err)
			}
			if diff := cmp.Diff(any(map[string]any{"type": "FeatureCollection", "features": test.want}), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if a.tail.Rows != test.rows {
				t.Errorf("%d rows", a.tail.Rows)
			}
		})
	}
}
