package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

var _ sdk.Introspector = (*database)(nil)

// Introspect tells what the file holds. The catalogue is never older than the file, so
// that there is nothing to reload.
func (db *database) Introspect(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	var cat *catalogue
	err := db.with(ctx, db.readers, func(c *conn) (err error) {
		cat, err = db.known(ctx, c, true)
		return db.mapError(ctx, err)
	})
	if err != nil {
		return nil, err
	}
	privileges := []string{"select"}
	if db.writer != nil {
		privileges = append(privileges, "insert", "update", "delete")
	}
	schema := &sdk.Schema{Version: strconv.FormatInt(cat.version, 10)}
	for _, t := range cat.asked(&q) {
		s := schemaTable(t)
		s.Privileges = privileges
		schema.Tables = append(schema.Tables, s)
	}
	return schema, nil
}

// asked lists the tables that q asks for, by name. Without names they are all but
// SQLite's own.
func (cat *catalogue) asked(q *sdk.IntrospectQuery) []*sqlbuild.Table {
	if len(q.Schemas) > 0 && !slices.Contains(q.Schemas, "main") {
		return nil
	}
	var found []*sqlbuild.Table
	for _, name := range q.Tables {
		if t := cat.names[strings.ToLower(name.Name)]; t != nil && (name.Schema == "" || strings.EqualFold(name.Schema, t.Schema)) {
			found = append(found, t)
		}
	}
	if len(q.Tables) == 0 {
		found = slices.DeleteFunc(slices.Collect(maps.Values(cat.names)), func(t *sqlbuild.Table) bool {
			return strings.HasPrefix(strings.ToLower(t.Name), "sqlite_")
		})
	}
	slices.SortFunc(found, func(a, b *sqlbuild.Table) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Compact(found)
}

var schemaKinds = map[sqlbuild.TableKind]sdk.SchemaKind{
	sqlbuild.BaseTable: sdk.KindTable, sqlbuild.View: sdk.KindView, sqlbuild.ForeignTable: sdk.KindForeignTable,
}

func schemaTable(t *sqlbuild.Table) sdk.SchemaTable {
	s := sdk.SchemaTable{
		Schema: t.Schema, Name: t.Name, Kind: schemaKinds[t.Kind], Key: t.Key, Unique: t.Unique,
		Insertable: t.Insertable, Updatable: t.Updatable, Deletable: t.Deletable,
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		s.Columns = append(s.Columns, sdk.SchemaColumn{
			Name: c.Name, Type: c.Type, Nullable: c.Nullable, HasDefault: c.HasDefault, Default: c.Default, Generated: c.Generated,
		})
	}
	for _, k := range t.Foreign {
		s.Foreign = append(s.Foreign, sdk.SchemaForeignKey{
			Name: k.Name, Columns: k.Columns, Target: sdk.Table{Schema: k.Target.Schema, Name: k.Target.Name},
			TargetColumns: k.TargetColumns, Unique: k.Unique,
		})
	}
	return s
}
