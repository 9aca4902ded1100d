package sqlbuild

import "github.com/athena-gateway/athena/sdk"

// relate resolves the relations of a selection into the current scope, before any of the
// level is written. It reports whether the builder can go on.
func (b *builder) relate(selection *sdk.Selection) bool { return b.err == nil }

// embedItem writes a relation's entry of the select list: nothing, or columns, each begun
// by b.output.
func (b *builder) embedItem(item *sdk.Item) {
	b.unsupported("relation", "embedding related rows")
}

// joins writes the LATERAL joins that the scope's relations need.
func (b *builder) joins() {}

// innerConditions adds a condition for each relation that a row must have.
func (b *builder) innerConditions(and func(write func())) {}

// orderRelation writes the expression that a term with a relation sorts by.
func (b *builder) orderRelation(term *sdk.Order) {
	b.unsupported("relation", "sorting by a related table's column")
}

// relationTest writes a test for related rows.
func (b *builder) relationTest(f *sdk.Filter) {
	b.unsupported("relation", "a test for related rows")
}
