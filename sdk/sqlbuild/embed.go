package sqlbuild

import "github.com/athena-gateway/athena/sdk"

// relate resolves the relations of a selection into the current scope, before any of the
// level is written. It reports whether the builder can go on.
func (b *builder) relate(selection *sdk.Selection) bool { return b.err == nil }

// embedItem writes a relation's entry of the select list.
func (b *builder) embedItem(item *sdk.Item) {
	b.unsupported("relation", "embedding related rows")
}

// joins writes the LATERAL joins that the scope's relations need.
func (b *builder) joins() {}

// innerConditions adds a condition for each relation that a row must have.
func (b *builder) innerConditions(and func(write func())) {}
