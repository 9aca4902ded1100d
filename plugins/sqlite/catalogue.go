package main

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// catalogue is what a file holds at one version of its schema, which SQLite counts in the
// file's header. It is not changed once it is in use, only replaced whole.
type catalogue struct {
	sqlbuild.Catalogue
	version int64
	names   map[string]*sqlbuild.Table // by name in small letters
	// broken says why SQLite cannot describe a view or virtual table, by name in small
	// letters: a view of what is gone, a module that is not there.
	broken map[string]error
}

// known is the catalogue as c sees it. One that may never be committed is not kept: the
// next change of the schema would get the same version.
func (db *database) known(ctx context.Context, c *conn, keep bool) (*catalogue, error) {
	version, err := c.integer(ctx, "PRAGMA schema_version")
	if err != nil {
		return nil, err
	}
	if cat := db.catalogue.Load(); cat != nil && cat.version == version {
		return cat, nil
	}
	cat, err := readCatalogue(ctx, c)
	if err == nil && keep {
		db.catalogue.Store(cat)
	}
	return cat, err
}

// resolve finds the table of a statement, in whatever case its letters are, and returns
// the statement with the table's own name. The table is nil if there is none.
func (cat *catalogue) resolve(s *sdk.Statement) (*sdk.Statement, *sqlbuild.Table, error) {
	if s.Table.Schema != "" && !strings.EqualFold(s.Table.Schema, "main") {
		return s, nil, nil
	}
	key := strings.ToLower(s.Table.Name)
	if err := cat.broken[key]; err != nil {
		return s, nil, err
	}
	t := cat.names[key]
	if t == nil || t.Name == s.Table.Name && (s.Table.Schema == "" || s.Table.Schema == t.Schema) {
		return s, t, nil
	}
	named := *s
	named.Table = sdk.Table{Schema: t.Schema, Name: t.Name}
	return &named, t, nil
}

// row is a row of a query for the catalogue.
type row []driver.Value

func (r row) text(i int) string {
	s, _ := r[i].(string)
	return s
}

func (r row) integer(i int) int64 {
	n, _ := r[i].(int64)
	return n
}

// readCatalogue reads the whole catalogue, in one transaction or within the one under way.
func readCatalogue(ctx context.Context, c *conn) (cat *catalogue, err error) {
	if err := c.exec(ctx, "SAVEPOINT athena_catalogue"); err != nil {
		return nil, err
	}
	defer func() {
		if c.exec(context.WithoutCancel(ctx), "RELEASE athena_catalogue") != nil {
			c.spoiled = true // an interrupted write has ended its transaction
		}
	}()
	cat = &catalogue{names: map[string]*sqlbuild.Table{}, broken: map[string]error{}}
	cat.Tables, cat.Path = map[sdk.Table]*sqlbuild.Table{}, []string{"main"}
	if cat.version, err = c.integer(ctx, "PRAGMA schema_version"); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, *conn) error{cat.readTables, cat.readColumns, cat.readUnique, cat.readForeign} {
		if err := read(ctx, c); err != nil {
			return nil, err
		}
	}
	return cat, nil
}

func each(ctx context.Context, c *conn, text string, args []driver.NamedValue, visit func(row)) error {
	return c.query(ctx, text, args, nil, func(values []driver.Value) error {
		visit(values)
		return nil
	})
}

// readTables reads tables and views, and what their triggers mean for them. A virtual
// table, which has no root page, may read and write anything.
func (cat *catalogue) readTables(ctx context.Context, c *conn) error {
	const text = `SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema WHERE type IN ('table', 'view', 'trigger') ORDER BY type = 'trigger'`
	return each(ctx, c, text, nil, func(r row) {
		if r.text(0) == "trigger" {
			if t := cat.names[strings.ToLower(r.text(2))]; t != nil {
				addTrigger(t, r.text(4))
			}
			return
		}
		t := &sqlbuild.Table{Schema: "main", Name: r.text(1)}
		switch {
		case r.text(0) == "view":
			t.Kind, t.Effects = sqlbuild.View, true
		case r.integer(3) == 0:
			t.Kind, t.Effects = sqlbuild.ForeignTable, true
		}
		if t.Kind != sqlbuild.View {
			t.Insertable, t.Updatable, t.Deletable = true, true, true
		}
		cat.names[strings.ToLower(t.Name)] = t
		cat.Tables[sdk.Table{Schema: t.Schema, Name: t.Name}] = t
	})
}

// addTrigger notes what a trigger makes of writes to its table: INSTEAD OF makes them
// possible on a view.
func addTrigger(t *sqlbuild.Table, text string) {
	t.Effects = true
	var last [2]string // words
	for i := 0; i < len(text); {
		next, kind := token(text, i)
		if kind == tokenWord {
			word := strings.ToUpper(text[i:next])
			if last == [2]string{"INSTEAD", "OF"} {
				t.Insertable = t.Insertable || word == "INSERT"
				t.Updatable = t.Updatable || word == "UPDATE"
				t.Deletable = t.Deletable || word == "DELETE"
				return
			}
			last[0], last[1] = last[1], word
		}
		i = next
	}
}

const columnsSQL = `SELECT s.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
	FROM main.sqlite_schema s, pragma_table_xinfo(s.name, 'main') x WHERE `

// readColumns reads columns and primary keys. What has no root page is described one by
// one, since SQLite may be unable to.
func (cat *catalogue) readColumns(ctx context.Context, c *conn) error {
	keys := map[*sqlbuild.Table]map[int64]string{}
	add := func(r row) {
		t := cat.names[strings.ToLower(r.text(0))]
		if r.integer(6) == 1 { // of a virtual table
			return
		}
		column := sqlbuild.Column{Name: r.text(1), Type: r.text(2), Class: class(r.text(2)), Nullable: r.integer(3) == 0, Generated: r.integer(6) > 1}
		column.Default, column.HasDefault = r[4].(string)
		if place := r.integer(5); place > 0 {
			if keys[t] == nil {
				keys[t] = map[int64]string{}
			}
			keys[t][place] = column.Name
		}
		t.Columns = append(t.Columns, column)
	}
	if err := each(ctx, c, columnsSQL+"s.type = 'table' AND s.rootpage > 0", nil, add); err != nil {
		return err
	}
	for name, t := range cat.names {
		if t.Kind == sqlbuild.BaseTable {
			continue
		}
		err := each(ctx, c, columnsSQL+"s.name = ?1 AND s.type IN ('table', 'view')", texts(t.Name), add)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			cat.broken[name] = err
			delete(cat.names, name)
			delete(cat.Tables, sdk.Table{Schema: t.Schema, Name: t.Name})
		}
	}
	for t, key := range keys {
		for place := range int64(len(key)) {
			t.Key = append(t.Key, key[place+1])
		}
		if c := columnOf(t, t.Key[0]); len(t.Key) == 1 && strings.EqualFold(c.Type, "INTEGER") {
			c.Nullable, c.HasDefault = false, true // it is the rowid
		}
	}
	return nil
}

// texts makes arguments of texts.
func texts(texts ...string) []driver.NamedValue {
	args := make([]driver.NamedValue, len(texts))
	for i, text := range texts {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: text}
	}
	return args
}

// columnOf finds a column by a name in any letter case, nil if there is none.
func columnOf(t *sqlbuild.Table, name string) *sqlbuild.Column {
	i := slices.IndexFunc(t.Columns, func(c sqlbuild.Column) bool { return strings.EqualFold(c.Name, name) })
	if i < 0 {
		return nil
	}
	return &t.Columns[i]
}

// readUnique reads the keys other than primary ones: those that hold for all rows, and
// for columns, not expressions.
func (cat *catalogue) readUnique(ctx context.Context, c *conn) error {
	const text = `SELECT s.name, l.seq, i.seqno, i.name FROM main.sqlite_schema s, pragma_index_list(s.name, 'main') l, pragma_index_info(l.name, 'main') i
		WHERE s.type = 'table' AND s.rootpage > 0 AND l."unique" AND NOT l.partial AND l.origin <> 'pk' ORDER BY s.name, l.seq DESC, i.seqno`
	var t *sqlbuild.Table
	var key []string
	complete := false
	end := func() {
		if complete {
			t.Unique = append(t.Unique, key)
		}
	}
	err := each(ctx, c, text, nil, func(r row) {
		if r.integer(2) == 0 {
			end()
			t, key, complete = cat.names[strings.ToLower(r.text(0))], nil, true
		}
		key = append(key, r.text(3))
		complete = complete && r[3] != nil
	})
	end()
	return err
}

// readForeign reads foreign keys. SQLite does not tell their names: they get those that
// PostgreSQL would give them, table_column_fkey.
func (cat *catalogue) readForeign(ctx context.Context, c *conn) error {
	const text = `SELECT s.name, f.seq, f."table", f."from", f."to", f.on_update, f.on_delete
		FROM main.sqlite_schema s, pragma_foreign_key_list(s.name, 'main') f WHERE s.type = 'table' AND s.rootpage > 0 ORDER BY s.name, f.id DESC, f.seq`
	var key *sqlbuild.ForeignKey
	err := each(ctx, c, text, nil, func(r row) {
		if r.integer(1) == 0 {
			link(key)
			key = &sqlbuild.ForeignKey{Table: cat.names[strings.ToLower(r.text(0))], Target: cat.names[strings.ToLower(r.text(2))]}
			if key.Target != nil && (cascades(r.text(5)) || cascades(r.text(6))) {
				key.Target.Effects = true
			}
		}
		key.Columns = append(key.Columns, r.text(3))
		if r[4] != nil {
			key.TargetColumns = append(key.TargetColumns, r.text(4))
		}
	})
	link(key)
	return err
}

// cascades reports whether what a foreign key does at a change of its target changes its
// own table.
func cascades(action string) bool { return action != "NO ACTION" && action != "RESTRICT" }

// link gives a foreign key its name and puts it into its tables. A key to what does not
// exist, which SQLite allows until it is used, is left out.
func link(key *sqlbuild.ForeignKey) {
	if key == nil || key.Target == nil {
		return
	}
	if key.TargetColumns == nil {
		key.TargetColumns = slices.Clone(key.Target.Key)
	}
	if len(key.TargetColumns) != len(key.Columns) {
		return
	}
	for i := range key.Columns {
		from, to := columnOf(key.Table, key.Columns[i]), columnOf(key.Target, key.TargetColumns[i])
		if from == nil || to == nil {
			return
		}
		key.Columns[i], key.TargetColumns[i] = from.Name, to.Name
	}
	keys := append([][]string{key.Table.Key}, key.Table.Unique...)
	key.Unique = slices.ContainsFunc(keys, func(unique []string) bool {
		return len(unique) > 0 && !slices.ContainsFunc(unique, func(c string) bool { return !slices.Contains(key.Columns, c) })
	})
	base := key.Table.Name + "_" + strings.Join(key.Columns, "_") + "_fkey"
	key.Name = base
	for n := 1; slices.ContainsFunc(key.Table.Foreign, func(k *sqlbuild.ForeignKey) bool { return k.Name == key.Name }); n++ {
		key.Name = base + strconv.Itoa(n)
	}
	key.Table.Foreign = append(key.Table.Foreign, key)
	key.Target.Referring = append(key.Target.Referring, key)
}

// class reads a declared type. Beyond SQLite's five affinities it knows the names that
// people declare for what SQLite has no type for.
func class(declared string) sqlbuild.Class {
	d := strings.ToUpper(declared)
	contains := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(d, word) {
				return true
			}
		}
		return false
	}
	switch {
	case d == "":
		return sqlbuild.ClassOther
	case contains("BOOL"):
		return sqlbuild.ClassBool
	case contains("JSON"):
		return sqlbuild.ClassJSON
	case contains("UUID", "GUID"):
		return sqlbuild.ClassUUID
	case contains("INT") && !contains("INTERVAL"):
		return sqlbuild.ClassNumber
	case contains("CHAR", "CLOB", "TEXT"):
		return sqlbuild.ClassText
	case contains("DATE", "TIME"):
		return sqlbuild.ClassTime
	case contains("BLOB"):
		return sqlbuild.ClassBytes
	case contains("REAL", "FLOA", "DOUB", "NUM", "DEC"):
		return sqlbuild.ClassNumber
	default:
		return sqlbuild.ClassOther
	}
}

// addHint completes an error about a name that does not exist with one that does.
func (cat *catalogue) addHint(e *sdk.Error) {
	var names []string
	missing := ""
	switch {
	case e.Hint != "":
		return
	case e.Reason == "undefined_table":
		missing = e.Table
		for _, t := range cat.names {
			names = append(names, t.Name)
		}
	case e.Reason == "undefined_column":
		missing = e.Column
		for _, t := range cat.names {
			for i := range t.Columns {
				names = append(names, t.Columns[i].Name)
			}
		}
	default:
		return
	}
	slices.Sort(names) // the same hint every time
	if near := sqlbuild.NearestName(missing, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
}
