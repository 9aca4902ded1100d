package httpapi

import (
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// maxColumns bounds the columns of one request; no database has tables that wide.
const maxColumns = 4096

// columnReader reads projections such as
//
//	id, total, email as mail, buyer:customer_id(id, name), items!order_id(*)
//
// where what stands before parentheses is a related table, a foreign key or one of its
// columns, with a hint behind "!" which of several relations is meant. No items means all
// columns.
type columnReader struct{ found int } // columns, those of related tables included

// read appends the items of a list.
func (c *columnReader) read(items []sdk.Item, list string) ([]sdk.Item, error) {
	return c.level(items, list, 1)
}

// level reads what stands between the parentheses of a relation, or the whole list. depth
// counts from 1.
func (c *columnReader) level(items []sdk.Item, list string, depth int) ([]sdk.Item, error) {
	if depth > sdk.MaxFilterDepth {
		return nil, invalid("invalid_columns", "columns: relations nest deeper than %d levels", sdk.MaxFilterDepth)
	}
	own, _, _ := strings.Cut(list, "(") // what follows may be of other levels
	items = slices.Grow(items, min(strings.Count(own, ",")+1, maxColumns))
	for rest, more := list, true; more; {
		if c.found++; c.found > maxColumns {
			return nil, invalid("too_many_columns", "columns names more than %d columns", maxColumns)
		}
		entry, inner, after, err := cutEntry(rest)
		if err != nil {
			return nil, err
		}
		var item sdk.Item
		if inner == nil {
			item, err = parseColumn(entry)
		} else {
			item, err = c.relation(entry, *inner, depth)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		rest, more = after, after != ""
		if more {
			rest = rest[1:] // the comma
		}
	}
	return items, nil
}

// cutEntry cuts the first entry off a list: inner is what its parentheses hold, nil if it
// has none; after begins with a comma or is empty.
func cutEntry(list string) (entry string, inner *string, after string, err error) {
	i := strings.IndexAny(list, ",()")
	if i < 0 {
		return list, nil, "", nil
	}
	if list[i] == ',' {
		return list[:i], nil, list[i:], nil
	}
	end := closing(list, i)
	if list[i] == ')' || end < 0 {
		return "", nil, "", invalid("invalid_columns", "columns: the parentheses of %s do not match", around(list, i))
	}
	after = strings.TrimLeft(list[end+1:], " \t\r\n")
	if after != "" && after[0] != ',' {
		return "", nil, "", sdk.E(sdk.Invalid, "invalid_columns", "columns: "+around(list, i)+" is no relation: nothing may follow its parentheses").
			WithHint("write relation(columns) or alias:relation(columns); expressions are not columns, send SQL to /gateway/query for them")
	}
	held := list[i+1 : end]
	return list[:i], &held, after, nil
}

// closing is the index of the parenthesis that closes the one at i, -1 if none does.
func closing(list string, i int) int {
	depth := 0
	for ; i < len(list); i++ {
		switch list[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func parseColumn(entry string) (sdk.Item, error) {
	name, alias, ok := cutAlias(entry)
	switch {
	case !ok:
		return sdk.Item{}, invalid("invalid_columns", "columns: %s is not a column; casts are not supported here", quote(strings.TrimSpace(entry)))
	case name == "" || strings.ContainsAny(name+alias, "\x00:"):
		return sdk.Item{}, invalid("invalid_columns", "columns: %s is not a column", quote(strings.TrimSpace(entry)))
	case name == "*" && alias == "":
		return sdk.Item{Kind: sdk.ItemStar}, nil
	}
	return sdk.Item{Column: sdk.Column{Name: name}, Alias: alias}, nil
}

// relation reads alias:schema.target!hint and the columns that it holds.
func (c *columnReader) relation(entry, inner string, depth int) (sdk.Item, error) {
	target, alias, ok := cutAlias(entry)
	target, hint, _ := strings.Cut(target, "!")
	schema, name, qualified := strings.Cut(target, ".")
	if !qualified {
		schema, name = "", target
	}
	if !ok || name == "" || qualified && schema == "" || strings.ContainsAny(schema+name+hint+alias, "\x00:!.*") {
		return sdk.Item{}, invalid("invalid_columns", "columns: %s is no relation", quote(strings.TrimSpace(entry)+"(…)"))
	}
	relation := &sdk.Relation{Target: name, Hint: hint}
	if strings.TrimSpace(inner) == "" {
		return sdk.Item{}, invalid("invalid_columns", "columns: the relation %s names no columns", quote(name)).WithHint("write " + clip(name) + "(*) for all of them")
	}
	items, err := c.level(nil, inner, depth+1)
	if err != nil {
		return sdk.Item{}, err
	}
	table := sdk.Table{Schema: schema, Name: name}
	relation.Selection = selection(items, &table)
	relation.Schema = table.Schema
	return sdk.Item{Kind: sdk.ItemRelation, Alias: alias, Relation: relation}, nil
}

// cutAlias splits "alias:name" and "name as alias". ok is false for "name::type".
func cutAlias(entry string) (name, alias string, ok bool) {
	name = strings.TrimSpace(entry)
	if before, after, found := cutAs(name); found {
		return before, after, true
	}
	before, after, found := strings.Cut(name, ":")
	if !found {
		return name, "", true
	}
	alias, name = strings.TrimSpace(before), strings.TrimSpace(after)
	return name, alias, alias != "" && !strings.HasPrefix(name, ":")
}

// cutAs splits "column as alias", in any letter case.
func cutAs(s string) (column, alias string, ok bool) {
	if !strings.ContainsAny(s, " \t\r\n") {
		return "", "", false
	}
	var words [3]string
	n := 0
	for word := range strings.FieldsSeq(s) {
		if n == len(words) {
			return "", "", false
		}
		words[n] = word
		n++
	}
	return words[0], words[2], n == len(words) && strings.EqualFold(words[1], "as")
}

// around quotes the word at i of a list.
func around(list string, i int) string {
	start := strings.LastIndexByte(list[:i], ',') + 1
	return `"` + clip(strings.TrimSpace(list[start:i])) + `(…)"`
}

// selection is the tree of items, none for a lone star.
func selection(items []sdk.Item, table *sdk.Table) sdk.Selection {
	if len(items) == 1 && items[0].Kind == sdk.ItemStar {
		return sdk.Selection{}
	}
	for i := range items {
		if items[i].Kind == sdk.ItemColumn {
			items[i].Column.Name = unqualified(items[i].Column.Name, table)
		}
	}
	return sdk.Selection{Items: items}
}

// unqualified is a column's name without the table's before it. A schema before that is
// the table's own, if the table has none yet.
func unqualified(column string, table *sdk.Table) string {
	first, rest, qualified := strings.Cut(column, ".")
	if !qualified {
		return column
	}
	if name, ok := strings.CutPrefix(rest, table.Name+"."); ok && first != "" && (table.Schema == "" || table.Schema == first) {
		table.Schema = first
		return name
	}
	if first == table.Name {
		return rest
	}
	return column
}
