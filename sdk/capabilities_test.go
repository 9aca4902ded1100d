package sdk

import "testing"

// Everything that Capabilities name is refused wherever it stands, unless it is declared.
func TestCapabilities(t *testing.T) {
	column, path := Column{Name: "a"}, Column{Name: "a", Path: []PathStep{{Key: "b"}}}
	one, filtered := []Value{{Text: "1"}}, func(f Filter) Statement { return Statement{Filter: &f} }
	item := func(i Item) Statement { return Statement{Selection: Selection{Items: []Item{i}}} }
	relation := Item{Kind: ItemRelation, Relation: &Relation{Target: "r", Order: []Order{{Column: path}}}}
	all := Capabilities{Verbs: []Verb{Select}, Operators: []Operator{Eq}, Relations: true, JSONPaths: true, Aggregates: true,
		Distinct: true, Quantifiers: true, Totals: true, PageTokens: true, Defaults: true, Conflict: true}
	for name, c := range map[string]struct {
		s    Statement
		take func(*Capabilities)
	}{
		"selected path":    {item(Item{Column: path}), func(c *Capabilities) { c.JSONPaths = false }},
		"filtered path":    {filtered(Filter{Column: path, Operator: Eq, Values: one}), func(c *Capabilities) { c.JSONPaths = false }},
		"sorted path":      {Statement{Order: []Order{{Column: path}}}, func(c *Capabilities) { c.JSONPaths = false }},
		"related path":     {item(relation), func(c *Capabilities) { c.JSONPaths = false }},
		"bucket's path":    {Statement{Selection: Selection{Bucket: &Bucket{Column: path}}}, func(c *Capabilities) { c.JSONPaths = false }},
		"bucket":           {Statement{Selection: Selection{Bucket: &Bucket{Column: column}}}, func(c *Capabilities) { c.Aggregates = false }},
		"aggregate":        {item(Item{Aggregate: "count"}), func(c *Capabilities) { c.Aggregates = false }},
		"relation":         {item(relation), func(c *Capabilities) { c.Relations = false }},
		"nameless":         {item(Item{Kind: ItemRelation}), func(c *Capabilities) { c.Relations = false }},
		"sorted relation":  {Statement{Order: []Order{{Column: column, Relation: "r"}}}, func(c *Capabilities) { c.Relations = false }},
		"distinct":         {Statement{Selection: Selection{Distinct: true}}, func(c *Capabilities) { c.Distinct = false }},
		"any":              {filtered(Filter{Column: column, Operator: Eq, Quantifier: Any, Values: one}), func(c *Capabilities) { c.Quantifiers = false }},
		"total":            {Statement{Count: CountExact}, func(c *Capabilities) { c.Totals = false }},
		"default":          {Statement{Set: []SetItem{{Column: "a", Default: true}}}, func(c *Capabilities) { c.Defaults = false }},
		"upsert's default": {Statement{Conflict: &OnConflict{Set: []SetItem{{Column: "a", Default: true}}}}, func(c *Capabilities) { c.Defaults = false }},
		"page token":       {Statement{PageToken: "x"}, func(c *Capabilities) { c.PageTokens = false }},
	} {
		call, less := Call{Statements: []Statement{c.s}}, all
		call.Statements[0].Verb = Select
		c.take(&less)
		if err := all.check(&call); err != nil {
			t.Errorf("%s, declared: %v", name, err)
		}
		if err := less.check(&call); err == nil || err.Kind != Unsupported {
			t.Errorf("%s, not declared: %v", name, err)
		}
	}
}
