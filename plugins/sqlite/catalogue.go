package main

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// table is a table or view as the catalogue knows it.
type table struct {
	sqlbuild.Table
	view bool
	// alone says that a write to the table changes no other: it has no triggers, and no
	// foreign key cascades from it.
	alone bool
}

// catalogue caches the tables of a file for as long as its schema stays the same, which
// SQLite counts in the file's header.
type catalogue struct {
	mu      sync.Mutex
	version int64
	tables  map[string]*table // by name in small letters
}

// table finds a table through c, which sees one state of the file.
func (cat *catalogue) table(ctx context.Context, c *conn, name sdk.Table) (*table, error) {
	if name.Schema != "" && !strings.EqualFold(name.Schema, "main") {
		return nil, undefinedTable(name, nil)
	}
	version, err := c.integer(ctx, "PRAGMA schema_version")
	if err != nil {
		return nil, err
	}
	key := strings.ToLower(name.Name)
	cat.mu.Lock()
	if cat.version != version || cat.tables == nil {
		cat.version, cat.tables = version, map[string]*table{}
	}
	t := cat.tables[key]
	cat.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if t, err = readTable(ctx, c, name); err != nil {
		return nil, err
	}
	cat.mu.Lock()
	if cat.version == version {
		cat.tables[key] = t
	}
	cat.mu.Unlock()
	return t, nil
}

// ordinals makes arguments of texts.
func ordinals(texts ...string) []driver.NamedValue {
	args := make([]driver.NamedValue, len(texts))
	for i, text := range texts {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: text}
	}
	return args
}

func readTable(ctx context.Context, c *conn, name sdk.Table) (*table, error) {
	var t *table
	var names []string
	err := c.query(ctx, "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')", nil, nil, func(v []driver.Value) error {
		found, _ := v[0].(string)
		names = append(names, found)
		if strings.EqualFold(found, name.Name) {
			t = &table{Table: sqlbuild.Table{Schema: "main", Name: found}, view: v[1] == "view"}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, undefinedTable(name, names)
	}
	if err := t.readColumns(ctx, c); err != nil {
		return nil, err
	}
	reached, err := c.integer(ctx, `SELECT (SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE) +
		(SELECT count(*) FROM sqlite_schema s, pragma_foreign_key_list(s.name) f WHERE s.type = 'table' AND f."table" = ?1 COLLATE NOCASE
		AND NOT (f.on_update IN ('NO ACTION', 'RESTRICT') AND f.on_delete IN ('NO ACTION', 'RESTRICT')))`, ordinals(t.Name)...)
	t.alone = reached == 0 && !t.view
	return t, err
}

func (t *table) readColumns(ctx context.Context, c *conn) error {
	key := map[int64]string{}
	err := c.query(ctx, "SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(?1)", ordinals(t.Name), nil, func(v []driver.Value) error {
		name, _ := v[0].(string)
		declared, _ := v[1].(string)
		expression, hasDefault := v[2].(string)
		place, _ := v[3].(int64)
		hidden, _ := v[4].(int64)
		if hidden == 1 {
			return nil // of a virtual table
		}
		if place > 0 {
			key[place] = name
		}
		t.Columns = append(t.Columns, sqlbuild.Column{Name: name, Type: declared, Class: class(declared),
			HasDefault: hasDefault, Default: expression, Generated: hidden > 1})
		return nil
	})
	for i := range int64(len(key)) {
		t.Key = append(t.Key, key[i+1])
	}
	return err
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

func undefinedTable(name sdk.Table, names []string) *sdk.Error {
	full := name.Name
	if name.Schema != "" {
		full = name.Schema + "." + name.Name
	}
	e := sdk.E(sdk.NotFound, "undefined_table", fmt.Sprintf("no such table: %s", full))
	e.Schema, e.Table = name.Schema, name.Name
	e.Hint = didYouMean(name.Name, names)
	return e
}

// addHint completes an error about a name that does not exist with one that does.
func addHint(c *conn, e *sdk.Error) {
	var names []string
	collect := func(v []driver.Value) error {
		name, _ := v[0].(string)
		names = append(names, name)
		return nil
	}
	text, missing := "", ""
	switch {
	case e.Hint != "":
		return
	case e.Reason == "undefined_table":
		text, missing = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')", e.Table
	case e.Reason == "undefined_column":
		text, missing = "SELECT DISTINCT x.name FROM sqlite_schema s, pragma_table_xinfo(s.name) x WHERE s.type IN ('table', 'view')", e.Column
	default:
		return
	}
	if c.query(context.Background(), text, nil, nil, collect) == nil {
		e.Hint = didYouMean(missing, names)
	}
}

func didYouMean(name string, candidates []string) string {
	slices.Sort(candidates) // the same hint every time
	if near := sqlbuild.NearestName(name, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}
