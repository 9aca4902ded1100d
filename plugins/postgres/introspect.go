package main

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

var _ sdk.Introspector = (*database)(nil)

// Introspect tells what the catalogue holds.
func (db *database) Introspect(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	if q.Reload {
		if err := db.catalogues.look(ctx); err != nil {
			return nil, err
		}
	}
	c := db.catalogues.current.Load()
	schema := &sdk.Schema{Version: c.version(), Tables: c.schemaTables(&q)}
	if len(q.Tables) > 0 {
		return schema, nil
	}
	wanted := func(name string) bool { return len(q.Schemas) == 0 || slices.Contains(q.Schemas, name) }
	for name, overloads := range c.Functions {
		for _, f := range overloads {
			if wanted(name.Schema) {
				schema.Functions = append(schema.Functions, schemaFunction(f))
			}
		}
	}
	for _, t := range c.named {
		if wanted(t.Schema) {
			schema.Types = append(schema.Types, t)
		}
	}
	slices.SortStableFunc(schema.Functions, func(a, b sdk.SchemaFunction) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(schema.Types, func(a, b sdk.SchemaType) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	return schema, nil
}

// version is another one when the schema has changed.
func (c *catalogue) version() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.mark))
	return strconv.FormatUint(h.Sum64(), 16)
}

// schemaTables lists the tables that q asks for, by schema and name.
func (c *catalogue) schemaTables(q *sdk.IntrospectQuery) []sdk.SchemaTable {
	var found []*sqlbuild.Table
	for _, t := range c.askedTables(q.Tables) {
		if len(q.Schemas) == 0 || slices.Contains(q.Schemas, t.Schema) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *sqlbuild.Table) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	found = slices.Compact(found)
	tables := make([]sdk.SchemaTable, len(found))
	for i, t := range found {
		tables[i] = schemaTable(t)
	}
	return tables
}

// askedTables finds the tables of these names, without names all.
func (c *catalogue) askedTables(names []sdk.Table) []*sqlbuild.Table {
	if len(names) == 0 {
		return slices.Collect(maps.Values(c.Tables))
	}
	var found []*sqlbuild.Table
	for _, name := range names {
		path := c.Path
		if name.Schema != "" {
			path = []string{name.Schema}
		}
		for _, schema := range path {
			if t := c.Tables[sdk.Table{Schema: schema, Name: name.Name}]; t != nil {
				found = append(found, t)
				break
			}
		}
	}
	return found
}

var schemaKinds = map[sqlbuild.TableKind]sdk.SchemaKind{
	sqlbuild.BaseTable: sdk.KindTable, sqlbuild.View: sdk.KindView,
	sqlbuild.MaterializedView: sdk.KindMaterializedView, sqlbuild.ForeignTable: sdk.KindForeignTable,
}

func schemaTable(t *sqlbuild.Table) sdk.SchemaTable {
	s := sdk.SchemaTable{
		Schema: t.Schema, Name: t.Name, Kind: schemaKinds[t.Kind], Columns: schemaColumns(t.Columns), Key: t.Key, Unique: t.Unique,
		Insertable: t.Insertable, Updatable: t.Updatable, Deletable: t.Deletable, Privileges: t.Privileges, Comment: t.Comment,
	}
	for _, k := range t.Foreign {
		s.Foreign = append(s.Foreign, sdk.SchemaForeignKey{
			Name: k.Name, Columns: k.Columns, Target: sdk.Table{Schema: k.Target.Schema, Name: k.Target.Name},
			TargetColumns: k.TargetColumns, Unique: k.Unique,
		})
	}
	return s
}

func schemaColumns(columns []sqlbuild.Column) []sdk.SchemaColumn {
	list := make([]sdk.SchemaColumn, len(columns))
	for i := range columns {
		c := &columns[i]
		list[i] = sdk.SchemaColumn{
			Name: c.Name, Type: c.Type, Nullable: c.Nullable, HasDefault: c.HasDefault && !c.Generated, Default: c.Default,
			Generated: c.Generated, Values: c.Enum, Comment: c.Comment,
		}
	}
	return list
}

func schemaFunction(f *sqlbuild.Function) sdk.SchemaFunction {
	r := &f.Returns
	s := sdk.SchemaFunction{
		Schema: f.Schema, Name: f.Name, Volatile: f.Volatile, Comment: f.Comment,
		Returns: sdk.SchemaReturns{Set: r.Set, Type: r.Value.Type, Columns: schemaColumns(r.Columns), Unknown: r.Unknown},
	}
	if r.Table != nil {
		s.Returns.Table = sdk.Table{Schema: r.Table.Schema, Name: r.Table.Name}
	}
	for _, p := range f.Params {
		s.Params = append(s.Params, sdk.SchemaParam{Name: p.Name, Type: p.Type, Optional: p.Optional, Variadic: p.Variadic})
	}
	return s
}
