package sqlbuild

import "github.com/athena-gateway/athena/sdk"

// features makes of the SELECT written so far one whose rows are GeoJSON features: the
// first geometry of a row becomes the feature's, the other columns its properties.
func (b *builder) features(q *Query) {
	if b.o.Format != sdk.FormatGeoJSON || b.err != nil {
		return
	}
	q.Shape, q.Bare = sdk.ShapeRows, false
	if q.Hidden == HiddenTotals {
		return // totals has done so
	}
	rows := b.text.String()
	b.text.Reset()
	b.write("SELECT ")
	b.shownRow("_g")
	b.write(" FROM (")
	b.write(rows)
	b.write(") AS _g")
}

// shownRow writes the columns of a subquery, or the feature that they make.
func (b *builder) shownRow(alias string) {
	if b.o.Format != sdk.FormatGeoJSON {
		b.write(alias)
		b.write(".*")
		return
	}
	if b.c.GeoJSON == "" {
		b.fail(sdk.E(sdk.Unsupported, "unsupported_geojson", "this database cannot answer with GeoJSON").
			WithHint("install PostGIS 3 or later in it: CREATE EXTENSION postgis"))
	}
	b.write(b.c.GeoJSON)
	b.write("(")
	b.write(alias)
	b.write(".*)::json AS feature")
}
