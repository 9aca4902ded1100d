package sqlbuild

import (
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// operand is what a column reference means in a scope: a column, a computed column, or a
// place in the JSON of either.
type operand struct {
	column   *Column   // of a computed column, what its function returns
	function *Function // of a computed column; nil: a column of the table
	path     []sdk.PathStep
	// class and typ are those of the value that the path leads to.
	class Class
	typ   string
	// byValue says that SQLite reads what is at path as a number if it is one, or as a
	// text, and not as the JSON that it is written as.
	byValue bool
}

// column writes a column qualified by its table: ORDER BY must not find an alias of the
// same name, UPDATE ... FROM needs it, and SQLite reads a lone "name" that it does not
// know as a string.
func (b *builder) column(c *Column) {
	b.quote(b.scope.alias)
	b.text.WriteByte('.')
	b.quote(c.Name)
}

// find returns the column that has a name, nil after an error.
func (b *builder) find(name string) *Column {
	c := b.lookup(name)
	if c == nil {
		b.fail(undefinedColumn(b.d, b.scope.table, name))
	}
	return c
}

// lookup returns the column that has a name, nil if there is none.
func (b *builder) lookup(name string) *Column {
	columns := b.scope.table.Columns
	for i := range columns {
		if columns[i].Name == name {
			return &columns[i]
		}
	}
	if b.d.sqlite {
		for i := range columns {
			if strings.EqualFold(columns[i].Name, name) {
				return &columns[i]
			}
		}
	}
	return nil
}

// computed returns the function that makes a computed column, nil if there is none.
func (t *Table) computed(name string) *Function {
	for _, f := range t.Computed {
		if r := &f.Returns; f.Name == name && !r.Set && !r.Void && !r.Unknown && r.Table == nil && len(r.Columns) == 0 {
			return f
		}
	}
	return nil
}

// operand finds what a column reference means; false after an error. Columns win over
// computed ones.
func (b *builder) operand(ref *sdk.Column) (o operand, ok bool) {
	o.column = b.lookup(ref.Name)
	if o.column == nil {
		if !ref.Plain {
			o.function = b.scope.table.computed(ref.Name)
		}
		if o.function == nil {
			b.fail(undefinedColumn(b.d, b.scope.table, ref.Name))
			return o, false
		}
		o.column = &o.function.Returns.Value
		b.readsAny()
	}
	o.class, o.typ = o.column.Class, o.column.Type
	if len(ref.Path) > 0 {
		if !b.checkPath(ref) {
			return o, false
		}
		o.follow(ref.Path)
	}
	return o, true
}

// reference writes an operand. What follows may be a cast or any operator.
func (b *builder) reference(o *operand) {
	switch {
	case len(o.path) == 0:
		b.root(o)
	case b.d.sqlite:
		b.pathSQLite(o)
	default:
		b.pathPostgres(o)
	}
}

// root writes the column or computed column that an operand begins with.
func (b *builder) root(o *operand) {
	if o.function == nil {
		b.column(o.column)
		return
	}
	b.quote(o.function.Schema)
	b.write(".")
	b.quote(o.function.Name)
	b.write("(")
	if b.scope.row != "" {
		b.write(b.scope.row)
	} else {
		b.quote(b.scope.alias)
		b.write(".*") // the alias alone could be a column's name
	}
	b.write(")")
}

// reads notes that the statement reads a table: one of which only the server knows what
// it is made of makes it read any.
func (b *builder) reads(t *Table) {
	if t.Kind != BaseTable {
		b.readsAny()
	} else if name := t.qualified(); !slices.Contains(b.read, name) {
		b.read = append(b.read, name)
	}
}

func (b *builder) readsAny() {
	if !slices.Contains(b.read, "*") {
		b.read = append(b.read, "*")
	}
}

// written is the entry of Query.Written for a write to t.
func (t *Table) written() string {
	if t.Effects {
		return "*"
	}
	return t.qualified()
}

// qualified is the table's name as Query's Read and Written have it.
func (t *Table) qualified() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}

// named is the name that a column reference has in an answer: the path's last key, or
// the column's name.
func named(ref *sdk.Column) string {
	for i := len(ref.Path) - 1; i >= 0; i-- {
		if !ref.Path[i].IsIndex {
			return ref.Path[i].Key
		}
	}
	return ref.Name
}

// sameColumn reports whether two references mean the same.
func sameColumn(a, b *sdk.Column) bool {
	return a.Name == b.Name && slices.Equal(a.Path, b.Path)
}
