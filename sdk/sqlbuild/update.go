package sqlbuild

import (
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

func (b *builder) update(s *sdk.Statement) {
	if len(s.Set) == 0 && len(s.SetObject) == 0 {
		b.invalid("empty_update", "the update sets no column")
		return
	}
	if !b.filtered(s) {
		return
	}
	b.write("UPDATE ")
	b.table()
	b.write(" SET ")
	b.setItems(s.Set)
	if len(s.SetObject) > 0 {
		keys, columns := b.objectColumns(s.SetObject)
		if b.err != nil {
			return
		}
		if len(s.Set) > 0 {
			b.write(", ")
		}
		if b.d.sqlite {
			b.setObjectSQLite(s.SetObject, keys, columns)
		} else {
			b.setObjectPostgres(s.SetObject, columns)
		}
	}
	b.affected(s)
}

func (b *builder) delete(s *sdk.Statement) {
	if !b.filtered(s) {
		return
	}
	b.write("DELETE FROM ")
	b.table()
	b.affected(s)
}

// filtered refuses an update or delete of a whole table unless it is meant.
func (b *builder) filtered(s *sdk.Statement) bool {
	if s.AllowAll || len(s.Key) > 0 || compares(s.Filter, 1) {
		return true
	}
	b.fail(sdk.E(sdk.Invalid, "missing_filter", "an update or delete without a filter would reach every row of the table").
		WithHint("give conditions or a primary key"))
	return false
}

// affected writes which rows an update or delete reaches. Limit and Offset choose them
// by key.
func (b *builder) affected(s *sdk.Statement) {
	if s.Limit == nil && s.Offset == nil {
		b.conditions(levelOf(s))
		return
	}
	names := rowKey(b.scope.table)
	if len(names) == 0 {
		b.noKey("limiting an update or delete")
		return
	}
	key := make([]*Column, len(names))
	for i, name := range names {
		if key[i] = b.find(name); key[i] == nil {
			return
		}
	}
	b.write(" WHERE (")
	b.keyColumns(key)
	b.write(") IN (SELECT ")
	b.keyColumns(key)
	b.write(" FROM ")
	b.table()
	b.conditions(levelOf(s))
	b.order(s.Order)
	b.paging(s.Limit, s.Offset)
	b.write(")")
}

// rowKey returns columns that tell a table's rows apart: the primary key, or a unique key
// without nulls.
func rowKey(t *Table) []string {
	if len(t.Key) > 0 {
		return t.Key
	}
	for _, key := range t.Unique {
		if !slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Nullable && slices.Contains(key, c.Name) }) {
			return key
		}
	}
	return nil
}

func (b *builder) keyColumns(key []*Column) {
	for i, c := range key {
		if i > 0 {
			b.write(",")
		}
		b.column(c)
	}
}

// setItems writes the assignments of single columns.
func (b *builder) setItems(items []sdk.SetItem) {
	for i := range items {
		c := b.find(items[i].Column)
		if c == nil {
			return
		}
		if i > 0 {
			b.write(", ")
		}
		b.quote(c.Name)
		b.write(" = ")
		switch {
		case items[i].Default:
			b.setDefault(c)
		case b.d.sqlite:
			b.bind(setSQLite(items[i].Value, c))
		default:
			b.bind(setValue(items[i].Value, c))
		}
	}
}

// setDefault writes a column's default. SQLite does not know the word.
func (b *builder) setDefault(c *Column) {
	switch {
	case !b.d.sqlite:
		b.write("DEFAULT")
	case c.Default != "":
		b.write("(")
		b.write(c.Default)
		b.write(")")
	case c.HasDefault:
		b.unsupported("default", "setting a column to a number that the database chooses")
	default:
		b.write("NULL")
	}
}

// objectColumns finds the columns that a JSON object sets, and its keys.
func (b *builder) objectColumns(object []byte) ([]string, []*Column) {
	keys, ok := objectKeys(object)
	b.checkJSON(ok)
	if b.err != nil {
		return nil, nil
	}
	if len(keys) == 0 {
		b.invalid("empty_update", "the update sets no column")
	}
	columns := make([]*Column, len(keys))
	for i, key := range keys {
		if columns[i] = b.find(key); columns[i] == nil {
			return nil, nil
		}
	}
	return keys, columns
}

// setObjectPostgres writes the assignments from a JSON object and the FROM that reads it.
func (b *builder) setObjectPostgres(object []byte, columns []*Column) {
	alias := "_"
	if b.scope.table.Name == alias {
		alias = "__"
	}
	for i, c := range columns {
		if i > 0 {
			b.write(", ")
		}
		b.quote(c.Name)
		b.write(" = ")
		b.write(alias)
		b.write(".")
		b.quote(c.Name)
	}
	b.write(" FROM json_to_record(")
	b.bind(payload(object))
	b.write(")")
	b.record(columns, alias)
}
