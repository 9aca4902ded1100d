package sqlbuild

import (
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// insert writes an INSERT whose rows are read by the database from the caller's bytes,
// one bound argument.
func (b *builder) insert(s *sdk.Statement) {
	if s.Filter != nil || len(s.Key) > 0 || s.Limit != nil || s.Offset != nil {
		b.invalid("invalid_insert", "an insert takes no filter, key, limit or offset")
		return
	}
	b.write("INSERT INTO ")
	b.table()
	if b.scope.table.Name == "excluded" { // which is what ON CONFLICT calls the new row
		b.scope.alias = "_excluded"
		b.write(` AS "_excluded"`)
	}
	var columns []*Column
	switch s.Rows.Format {
	case sdk.RowsCSV:
		columns = b.insertCSV(&s.Rows)
	default:
		columns = b.insertJSON(&s.Rows)
	}
	if b.err == nil && s.Conflict != nil {
		b.conflict(s.Conflict, columns)
	}
}

// insertJSON writes the columns and rows of an INSERT from JSON and returns the columns.
func (b *builder) insertJSON(rows *sdk.Rowset) []*Column {
	kind := first(rows.Payload)
	if kind != '{' && kind != '[' {
		b.invalid("invalid_json", "the rows to insert must be a JSON object or an array of objects")
		return nil
	}
	columns := make([]*Column, len(rows.Columns))
	for i, name := range rows.Columns {
		if columns[i] = b.find(name); columns[i] == nil {
			return nil
		}
	}
	switch {
	case len(columns) == 0:
		b.insertDefaults(rows, kind)
	case b.d.sqlite:
		b.insertSQLite(rows, columns, kind)
	default:
		b.insertPostgres(rows, columns, kind)
	}
	return columns
}

// payload is the caller's JSON as an argument.
func payload(object []byte) sdk.Value {
	return sdk.Value{Hint: sdk.JSON, Text: string(object)}
}

// columnList writes ("a","b").
func (b *builder) columnList(columns []*Column) {
	b.write(" (")
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		b.quote(c.Name)
	}
	b.write(")")
}

// insertDefaults inserts rows that give no column at all.
func (b *builder) insertDefaults(rows *sdk.Rowset, kind byte) {
	if kind == '{' {
		b.write(" DEFAULT VALUES")
		return
	}
	if !b.d.sqlite {
		b.write(" SELECT FROM json_array_elements(")
		b.bind(payload(rows.Payload))
		b.write(")")
		return
	}
	n := 0
	scanArray(rows.Payload, func([]byte) bool { n++; return n < 2 })
	switch {
	case n == 1:
		b.write(" DEFAULT VALUES")
	case n == 0 && len(b.scope.table.Columns) > 0:
		b.columnList([]*Column{&b.scope.table.Columns[0]})
		b.write(" SELECT NULL WHERE FALSE")
	default:
		b.unsupported("empty_rows", "inserting several rows that name no column")
	}
}

// insertPostgres reads the rows through json_to_recordset with the table's types.
func (b *builder) insertPostgres(rows *sdk.Rowset, columns []*Column, kind byte) {
	b.columnList(columns)
	b.write(" SELECT ")
	defaults := b.missing(rows, columns, kind)
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		if !defaults || !c.HasDefault {
			b.write("_.")
			b.quote(c.Name)
			continue
		}
		b.write("CASE WHEN _e.j->(")
		b.bind(sdk.Value{Hint: sdk.String, Text: c.Name})
		b.write("::text) IS NULL THEN ")
		b.defaultOf(c)
		b.write(" ELSE _.")
		b.quote(c.Name)
		b.write(" END")
	}
	b.write(" FROM ")
	switch {
	case defaults && kind == '[':
		b.write("json_array_elements(")
		b.bind(payload(rows.Payload))
		b.write(") AS _e(j), json_to_record(_e.j)")
	case defaults:
		b.write("(SELECT ")
		b.bind(payload(rows.Payload))
		b.write("::json) AS _e(j), json_to_record(_e.j)")
	case kind == '[':
		b.write("json_to_recordset(")
		b.bind(payload(rows.Payload))
		b.write(")")
	default:
		b.write("json_to_record(")
		b.bind(payload(rows.Payload))
		b.write(")")
	}
	b.record(columns, "_")
}

// record writes AS alias("a" integer, ...), the shape that a JSON object is read in.
func (b *builder) record(columns []*Column, alias string) {
	b.write(" AS ")
	b.write(alias)
	b.write("(")
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		b.quote(c.Name)
		b.write(" ")
		b.write(c.Type)
	}
	b.write(")")
}

// defaultOf writes the expression of a column's default.
func (b *builder) defaultOf(c *Column) {
	if c.Default != "" {
		b.write("(")
		b.write(c.Default)
		b.write(")")
		return
	}
	// An identity column. The function reads its first argument as an SQL name.
	name := builder{d: b.d, scope: b.scope}
	name.table()
	b.write("nextval(pg_get_serial_sequence(")
	b.bind(sdk.Value{Hint: sdk.String, Text: name.text.String()})
	b.write(",")
	b.bind(sdk.Value{Hint: sdk.String, Text: c.Name})
	b.write("))")
}

// missing reports whether defaults must stand in for keys that some rows lack. Rows of
// equal keys, the usual case, are left to the plain form.
func (b *builder) missing(rows *sdk.Rowset, columns []*Column, kind byte) bool {
	if !rows.MissingDefault {
		return false
	}
	var names []string
	for _, c := range columns {
		if c.HasDefault {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return false
	}
	if kind == '{' {
		keys, ok := objectKeys(rows.Payload)
		b.checkJSON(ok)
		return slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(keys, name) })
	}
	lacking, ok := lacks(rows.Payload, names)
	b.checkJSON(ok)
	return lacking
}

func (b *builder) checkJSON(ok bool) {
	if !ok {
		b.invalid("invalid_json", "the values must be JSON objects")
	}
}

// conflict writes what happens to rows that exist already.
func (b *builder) conflict(c *sdk.OnConflict, inserted []*Column) {
	b.write(" ON CONFLICT")
	target := c.Columns
	switch {
	case c.Constraint != "" && b.d.sqlite:
		b.unsupported("constraint_target", "naming a constraint as the target of a conflict")
		return
	case c.Constraint != "":
		b.write(" ON CONSTRAINT ")
		b.quote(c.Constraint)
	default:
		if len(target) == 0 {
			target = b.scope.table.Key
		}
		if len(target) == 0 && c.Update {
			b.noKey("an upsert without a conflict target")
			return
		}
		if len(target) > 0 {
			columns := make([]*Column, len(target))
			for i, name := range target {
				if columns[i] = b.find(name); columns[i] == nil {
					return
				}
			}
			b.columnList(columns)
		}
	}
	if !c.Update {
		b.write(" DO NOTHING")
		return
	}
	b.write(" DO UPDATE SET ")
	if len(c.Set) == 0 && len(c.SetObject) == 0 {
		b.setExcluded(inserted, target)
		return
	}
	b.setItems(c.Set)
	if len(c.SetObject) > 0 {
		b.setConflictObject(c.SetObject, len(c.Set) > 0)
	}
}

// setExcluded sets every inserted column that is not part of the target. When there is
// none, a column of the target is set to what it is, so that the row still counts as
// written and is returned, which DO NOTHING would not do.
func (b *builder) setExcluded(inserted []*Column, target []string) {
	n := 0
	set := func(c *Column) {
		if n > 0 {
			b.write(", ")
		}
		n++
		b.quote(c.Name)
		b.write(" = EXCLUDED.")
		b.quote(c.Name)
	}
	for _, c := range inserted {
		if !slices.Contains(target, c.Name) {
			set(c)
		}
	}
	if n > 0 {
		return
	}
	if len(target) == 0 {
		b.invalid("empty_update", "the upsert sets nothing")
		return
	}
	if c := b.find(target[0]); c != nil {
		set(c)
	}
}

// setConflictObject sets the keys of a JSON object. EXCLUDED leaves no place for a FROM.
func (b *builder) setConflictObject(object []byte, more bool) {
	keys, columns := b.objectColumns(object)
	if b.err != nil {
		return
	}
	if more {
		b.write(", ")
	}
	if b.d.sqlite {
		b.setObjectSQLite(object, keys, columns)
		return
	}
	b.write("(")
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		b.quote(c.Name)
	}
	b.write(") = (SELECT ")
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		b.write("_.")
		b.quote(c.Name)
	}
	b.write(" FROM json_to_record(")
	b.bind(payload(object))
	b.write(")")
	b.record(columns, "_")
	b.write(")")
}
