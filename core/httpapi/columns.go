package httpapi

import (
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// parseColumns reads a projection such as "id, total, buyer:customer_id, email as mail".
// No items means all columns.
func parseColumns(list string, items []sdk.Item) ([]sdk.Item, error) {
	if open := strings.IndexAny(list, "()"); open >= 0 {
		return nil, sdk.E(sdk.Invalid, "unsupported_relation", "columns: related rows and expressions, such as "+around(list, open)+", are not supported yet").
			WithHint("name columns of the table only")
	}
	items = slices.Grow(items, strings.Count(list, ",")+1)
	for item := range strings.SplitSeq(list, ",") {
		name := strings.TrimSpace(item)
		alias := ""
		if before, after, ok := cutAs(name); ok {
			name, alias = before, after
		} else if before, after, ok := strings.Cut(name, ":"); ok {
			alias, name = strings.TrimSpace(before), strings.TrimSpace(after)
			if alias == "" || strings.HasPrefix(name, ":") {
				return nil, invalid("invalid_columns", "columns: %q is not a column; casts are not supported here", strings.TrimSpace(item))
			}
		}
		switch {
		case name == "" || strings.ContainsAny(name+alias, "\x00:"):
			return nil, invalid("invalid_columns", "columns: %q is not a column", strings.TrimSpace(item))
		case name == "*" && alias == "":
			items = append(items, sdk.Item{Kind: sdk.ItemStar})
		default:
			items = append(items, sdk.Item{Column: sdk.Column{Name: name}, Alias: alias})
		}
	}
	return items, nil
}

// cutAs splits "column as alias", in any letter case.
func cutAs(s string) (column, alias string, ok bool) {
	if !strings.ContainsAny(s, " \t\r\n") {
		return "", "", false
	}
	words := strings.Fields(s)
	if len(words) != 3 || !strings.EqualFold(words[1], "as") {
		return "", "", false
	}
	return words[0], words[2], true
}

// around quotes the word at i of a list.
func around(list string, i int) string {
	start := strings.LastIndexByte(list[:i], ',') + 1
	return `"` + strings.TrimSpace(list[start:i]) + `(…)"`
}

// selection is the tree of items, none for a lone star. A column that is qualified by
// the table itself is that column.
func selection(items []sdk.Item, table sdk.Table) sdk.Selection {
	if len(items) == 1 && items[0].Kind == sdk.ItemStar {
		return sdk.Selection{}
	}
	for i := range items {
		items[i].Column.Name = unqualified(items[i].Column.Name, table)
	}
	return sdk.Selection{Items: items}
}

func unqualified(column string, table sdk.Table) string {
	if strings.IndexByte(column, '.') < 0 {
		return column
	}
	if table.Schema != "" {
		column = strings.TrimPrefix(column, table.Schema+"."+table.Name+".")
	}
	return strings.TrimPrefix(column, table.Name+".")
}
