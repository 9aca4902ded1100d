package sdktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// row holds a table's cells as JSON text, nil for null.
type row []json.RawMessage

type table struct {
	name    string
	columns []column
}

type column struct {
	name, kind                  string
	key, auto, unique, required bool
	def                         json.RawMessage
}

// parseTable reads a table's definition as the config has it.
func parseTable(name, definition string) (*table, error) {
	t := &table{name: name}
	bad := func(what string) error {
		return sdk.E(sdk.Invalid, "invalid_config", fmt.Sprintf("table %q: %s", name, what)).
			WithHint(`list its columns such as "id int key, name text required"`)
	}
	for part := range strings.SplitSeq(definition, ",") {
		words := strings.Fields(part)
		if len(words) < 2 {
			return nil, bad(fmt.Sprintf("%q is not a column's name and type", part))
		}
		c := column{name: words[0], kind: words[1]}
		switch c.kind {
		case "int", "number", "text", "bool", "json":
		default:
			return nil, bad(fmt.Sprintf("there is no column type %q", c.kind))
		}
		for i := 2; i < len(words); i++ {
			switch words[i] {
			case "key":
				c.key, c.required = true, true
			case "auto":
				c.auto = true
			case "unique":
				c.unique = true
			case "required":
				c.required = true
			case "default":
				def, err := c.parse(strings.Join(words[i+1:], " "))
				if err != nil {
					return nil, bad(err.Error())
				}
				c.def, i = def, len(words)
			default:
				return nil, bad(fmt.Sprintf("there is no column option %q", words[i]))
			}
		}
		t.columns = append(t.columns, c)
	}
	return t, nil
}

// column answers the index of a column, or an error that names those there are.
func (t *table) column(name string) (int, error) {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		if c.name == name {
			return i, nil
		}
		names[i] = c.name
	}
	e := sdk.E(sdk.Invalid, "undefined_column", fmt.Sprintf("there is no column %q in %q", name, t.name)).
		WithHint("its columns are " + strings.Join(names, ", "))
	e.Source, e.Table, e.Column = sdk.FromDownstream, t.name, name
	return 0, e
}

func (t *table) keys() []int {
	var keys []int
	for i, c := range t.columns {
		if c.key {
			keys = append(keys, i)
		}
	}
	return keys
}

func (t *table) keyItems() []sdk.Item {
	var items []sdk.Item
	for _, i := range t.keys() {
		items = append(items, sdk.Item{Column: sdk.Column{Name: t.columns[i].name}})
	}
	return items
}

func (t *table) keyPairs(r row) []sdk.Pair {
	var pairs []sdk.Pair
	for _, i := range t.keys() {
		pairs = append(pairs, sdk.Pair{Name: t.columns[i].name, Value: text(r[i])})
	}
	return pairs
}

func (t *table) violation(kind sdk.Kind, reason, column, message string) *sdk.Error {
	e := sdk.E(kind, reason, message)
	e.Source, e.Table, e.Column, e.Constraint = sdk.FromDownstream, t.name, column, t.name+"_"+column
	return e
}

// text is a cell as plain text.
func text(cell json.RawMessage) string {
	var s string
	if len(cell) > 0 && cell[0] == '"' && json.Unmarshal(cell, &s) == nil {
		return s
	}
	return string(cell)
}

// fromJSON makes a cell of a JSON value.
func (c *column) fromJSON(value json.RawMessage) (json.RawMessage, error) {
	value = bytes.TrimSpace(value)
	switch {
	case string(value) == "null":
		return nil, nil
	case c.kind == "json":
		return bytes.Clone(value), nil
	}
	return c.parse(text(value))
}

// fromValue makes a cell of a Value.
func (c *column) fromValue(v sdk.Value) (json.RawMessage, error) {
	switch {
	case v.Hint == sdk.Null:
		return nil, nil
	case c.kind == "json" && v.Hint == sdk.String:
		return sdk.AppendString(nil, v.Text), nil
	}
	return c.parse(v.Text)
}

// parse makes a cell of a text that says a value of the column's type.
func (c *column) parse(s string) (json.RawMessage, error) {
	ok := true
	cell := json.RawMessage(s)
	switch c.kind {
	case "text":
		return sdk.AppendString(nil, s), nil
	case "int":
		n, err := strconv.ParseInt(s, 10, 64)
		ok, cell = err == nil, strconv.AppendInt(nil, n, 10)
	case "number":
		ok = validNumber(s)
	case "bool":
		ok = s == "true" || s == "false"
	case "json":
		ok = json.Valid(cell)
	}
	if !ok {
		e := sdk.E(sdk.Invalid, "invalid_text_representation", fmt.Sprintf("%q is no %s for the column %q", s, c.kind, c.name)).
			WithHint("give a value of the column's type")
		e.Source, e.Column = sdk.FromDownstream, c.name
		return nil, e
	}
	return cell, nil
}

// validNumber accepts JSON numbers whose exponent has at most three digits: comparing
// others exactly could take all memory.
func validNumber(s string) bool {
	if !json.Valid([]byte(s)) || s == "" || !strings.ContainsRune("-0123456789", rune(s[0])) {
		return false
	}
	_, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	return len(strings.TrimLeft(exponent, "+-0")) <= 3
}

// compare orders two cells that are not null.
func (c *column) compare(a, b json.RawMessage) int {
	switch c.kind {
	case "int", "number":
		x, _ := new(big.Rat).SetString(string(a))
		y, _ := new(big.Rat).SetString(string(b))
		return x.Cmp(y)
	default:
		return strings.Compare(text(a), text(b))
	}
}

// projection is what a selection chooses of a table.
type projection struct {
	names   []string
	columns []int
}

func (t *table) project(s sdk.Selection) (*projection, error) {
	if s.Distinct || s.Bucket != nil {
		return nil, sdk.E(sdk.Unsupported, "unsupported_selection", "this backend has neither distinct nor time buckets")
	}
	items := s.Items
	if len(items) == 0 {
		items = []sdk.Item{{Kind: sdk.ItemStar}}
	}
	p := &projection{}
	for _, item := range items {
		if item.Kind == sdk.ItemStar {
			for i, c := range t.columns {
				p.names, p.columns = append(p.names, c.name), append(p.columns, i)
			}
			continue
		}
		if item.Cast != "" || item.CastAfter != "" {
			return nil, sdk.E(sdk.Unsupported, "unsupported_selection", "this backend has no casts")
		}
		i, err := t.column(item.Column.Name)
		if err != nil {
			return nil, err
		}
		name := item.Alias
		if name == "" {
			name = item.Column.Name
		}
		p.names, p.columns = append(p.names, name), append(p.columns, i)
	}
	return p, nil
}
