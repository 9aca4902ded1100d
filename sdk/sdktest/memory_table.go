package sdktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// row holds a table's cells.
type row []cell

type table struct {
	name    string
	columns []column
	unique  []constraint // the primary key first, if there is one
	keyed   bool         // there is one
	foreign []*foreignKey
}

type column struct {
	name           string
	kind           kind
	auto, required bool
	def            cell
}

// constraint says that no two rows have the same cells in columns.
type constraint struct {
	name, label string // label says in messages what must be unique
	columns     []int
}

// foreignKey is a reference of a table's columns to the columns of target.
type foreignKey struct {
	name          string
	columns       []int
	target        *table
	targetName    string
	targetColumns []string // empty: its key
	to            []int    // these in target
}

// fromJSON makes a cell of a JSON value.
func (c *column) fromJSON(value json.RawMessage) (cell, error) {
	made, err := c.kind.fromJSON(value)
	return made, c.blame(err)
}

// fromValue makes a cell of a Value.
func (c *column) fromValue(v sdk.Value) (cell, error) {
	made, err := c.kind.fromValue(v)
	return made, c.blame(err)
}

// blame names the column in an error about a value for it.
func (c *column) blame(err error) error {
	if err == nil {
		return nil
	}
	e := *sdk.AsError(err)
	e.Message += fmt.Sprintf(", which the column %q has", c.name)
	e.Column = c.name
	return &e
}

// find answers the index of a column, or an error that names those there are.
func (t *table) find(name string) (int, error) {
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

func (t *table) findAll(names []string) ([]int, error) {
	columns := make([]int, len(names))
	for i, name := range names {
		var err error
		if columns[i], err = t.find(name); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

func (t *table) keys() []int {
	if !t.keyed {
		return nil
	}
	return t.unique[0].columns
}

func (t *table) keyItems() []sdk.Item {
	var items []sdk.Item
	for _, i := range t.keys() {
		items = append(items, sdk.Item{Column: sdk.Column{Name: t.columns[i].name}})
	}
	return items
}

func (t *table) keyOf(r row) []sdk.KeyColumn {
	var key []sdk.KeyColumn
	for _, i := range t.keys() {
		key = append(key, sdk.KeyColumn{Name: t.columns[i].name, Value: text(r[i]), Null: r[i] == nil})
	}
	return key
}

// definition is a table's definition on its way through the tokens of the table language.
type definition struct {
	table  *table
	tokens []string
	err    error
}

// parseTable reads a table's definition as the config has it. The targets of its foreign
// keys are set by resolve.
func parseTable(name, text string) (*table, error) {
	d := &definition{table: &table{name: name}, tokens: tokenize(text)}
	for {
		switch next := d.peek(); {
		case next == "(":
			d.fail("%q stands where a column's name should", next)
		case (next == "key" || next == "unique") && d.peekAfter() == "(":
			d.next()
			d.constrain(next, d.names())
		case next == "foreign" && d.peekAfter() == "(":
			d.next()
			d.reference(d.names())
		default:
			d.column()
		}
		if d.err != nil {
			return nil, sdk.E(sdk.Invalid, "invalid_config", fmt.Sprintf("table %q: %s", name, d.err)).
				WithHint(`list its columns such as "id int key, name text required, owner int references people(id)"`)
		}
		if d.peek() == "" {
			return d.table, nil
		}
		d.expect(",")
	}
}

// tokenize splits a definition into words, names in double quotes (which keep their first
// quote), and the marks ( ) and comma.
func tokenize(text string) []string {
	var tokens []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, " \t\n,()")
		switch {
		case text[0] == '"':
			var name strings.Builder
			rest := text[1:]
			for {
				before, after, _ := strings.Cut(rest, `"`)
				name.WriteString(before)
				if !strings.HasPrefix(after, `"`) {
					tokens, text = append(tokens, `"`+name.String()), after
					break
				}
				name.WriteByte('"')
				rest = after[1:]
			}
			continue
		case end == 0:
			end = 1
		case end < 0:
			end = len(text)
		}
		tokens, text = append(tokens, text[:end]), text[end:]
	}
	return tokens
}

func (d *definition) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *definition) peek() string {
	if len(d.tokens) == 0 || d.err != nil {
		return ""
	}
	return d.tokens[0]
}

func (d *definition) peekAfter() string {
	if len(d.tokens) < 2 {
		return ""
	}
	return d.tokens[1]
}

func (d *definition) next() string {
	token := d.peek()
	if token != "" {
		d.tokens = d.tokens[1:]
	}
	return token
}

func (d *definition) expect(mark string) {
	if got := d.next(); got != mark {
		d.fail("%q stands where %q should", got, mark)
	}
}

func (d *definition) name() string {
	token := d.next()
	if name, quoted := strings.CutPrefix(token, `"`); quoted {
		return name
	}
	if token == "" || strings.ContainsAny(token, "(),") {
		d.fail("a name is missing")
	}
	return token
}

// names reads (a, b).
func (d *definition) names() []string {
	var names []string
	d.expect("(")
	for d.err == nil {
		names = append(names, d.name())
		if mark := d.next(); mark == ")" {
			break
		} else if mark != "," {
			d.fail("%q stands where a comma or ) should", mark)
		}
	}
	return names
}

func (d *definition) column() {
	t := d.table
	c := column{name: d.name(), kind: kind(d.next())}
	if d.err == nil && !slices.Contains(kinds, c.kind) {
		d.fail("%q is not a column's name and type", strings.TrimSpace(c.name+" "+string(c.kind)))
	}
	t.columns = append(t.columns, c)
	made := &t.columns[len(t.columns)-1]
	for d.err == nil && d.peek() != "" && d.peek() != "," {
		switch word := d.next(); word {
		case "key", "unique":
			d.constrain(word, []string{c.name})
		case "auto":
			made.auto = true
		case "required":
			made.required = true
		case "references":
			d.tokens = append([]string{"references"}, d.tokens...)
			d.reference([]string{c.name})
		case "default":
			var words []string
			for d.peek() != "" && d.peek() != "," {
				words = append(words, strings.TrimPrefix(d.next(), `"`))
			}
			def, err := c.kind.parse(strings.Join(words, " "))
			if err != nil {
				d.fail("%w", err)
			}
			made.def = def
		default:
			d.fail("there is no column option %q", word)
		}
	}
}

// constrain adds a primary key or a unique constraint. Several columns that are called
// key make one key.
func (d *definition) constrain(word string, names []string) {
	t := d.table
	columns, err := t.findAll(names)
	if err != nil {
		d.fail("%w", err)
		return
	}
	if word == "unique" {
		name := strings.Join(names, "_")
		t.unique = append(t.unique, constraint{t.name + "_" + name + "_key", name, columns})
		return
	}
	for _, i := range columns {
		t.columns[i].required = true
	}
	if t.keyed {
		t.unique[0].columns = append(t.unique[0].columns, columns...)
		return
	}
	t.keyed = true
	t.unique = slices.Insert(t.unique, 0, constraint{t.name + "_pkey", "key", columns})
}

// reference adds a foreign key: references target (columns) as name, but for the target
// all can be left out.
func (d *definition) reference(names []string) {
	d.expect("references")
	f := &foreignKey{name: d.table.name + "_" + strings.Join(names, "_") + "_fkey", targetName: d.name()}
	if d.peek() == "(" {
		f.targetColumns = d.names()
	}
	if d.peek() == "as" {
		d.next()
		f.name = d.name()
	}
	columns, err := d.table.findAll(names)
	if err != nil {
		d.fail("%w", err)
	}
	f.columns = columns
	d.table.foreign = append(d.table.foreign, f)
}

// resolve finds the targets of t's foreign keys.
func (t *table) resolve(tables map[string]*table) error {
	for _, f := range t.foreign {
		bad := func(what string) error {
			return sdk.E(sdk.Invalid, "invalid_config", fmt.Sprintf("table %q: the foreign key %q: %s", t.name, f.name, what)).
				WithHint("refer to as many columns of a table of this config, or to its key")
		}
		if f.target = tables[f.targetName]; f.target == nil {
			return bad(fmt.Sprintf("there is no table %q", f.targetName))
		}
		f.to = f.target.keys()
		if len(f.targetColumns) > 0 {
			var err error
			if f.to, err = f.target.findAll(f.targetColumns); err != nil {
				return bad(err.Error())
			}
		}
		if len(f.to) != len(f.columns) {
			return bad("it has another number of columns than what it refers to")
		}
	}
	return nil
}
