package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestHiddenStatements holds that a statement cannot be written so that SQLite executes
// it and the refusals do not see it.
func TestHiddenStatements(t *testing.T) {
	c := openClient(t, map[string]any{"max_connections": 1}, `CREATE TABLE t (a)`)
	stolen := filepath.Join(filepath.Dir(c.path), "stolen.db")
	attach := "ATTACH DATABASE '" + stolen + "' AS y"
	const bom = "\ufeff"
	for _, s := range []struct {
		text, reason string
		kind         sdk.Kind
	}{
		{bom + attach, "other_files", sdk.Forbidden},
		{bom + " /**/ " + bom + attach, "other_files", sdk.Forbidden},
		{"SELECT 1;" + bom + attach + "; CREATE TABLE y.x (a)", "other_files", sdk.Forbidden},
		{bom + "VACUUM" + bom + " INTO '" + stolen + "'", "syntax_error", sdk.Invalid},
		{bom + "VACUUM " + bom + "INTO '" + stolen + "'", "other_files", sdk.Forbidden},
		{bom + "COMMIT; " + bom + attach, "transaction_control", sdk.Invalid},
		{"CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1;" + bom + "END;" + bom + attach, "other_files", sdk.Forbidden},
		{"CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1;" + bom + "END; COMMIT", "transaction_control", sdk.Invalid},
		// The parenthesis belongs to the variable's name, and with it the quote.
		{"SELECT @x('); " + attach + "; --'", "other_files", sdk.Forbidden},
		{"SELECT $1('); COMMIT; --'", "transaction_control", sdk.Invalid},
		{"SELECT :a::b('); COMMIT; --'", "transaction_control", sdk.Invalid},
		{"ATTACHE 'x'", "syntax_error", sdk.Invalid},
	} {
		c.fails(sqlText(s.text), s.kind, s.reason)
	}
	for _, text := range []string{bom + "PRAGMA query_only = 0", "EXPLAIN PRAGMA query_only = 0", "EXPLAIN QUERY PLAN " + bom + "PRAGMA query_only = 0"} {
		s := sqlText(text + "; INSERT INTO t VALUES (1)")
		s.SQL.Intent = sdk.IntentRead
		c.fails(s, sdk.Forbidden, "read_only")
	}
	for _, text := range []string{bom + "PRAGMA foreign_keys = off", "EXPLAIN PRAGMA foreign_keys = off"} {
		c.must(sqlText(text))
		write := sqlText(`PRAGMA foreign_keys`)
		write.SQL.Intent = sdk.IntentWrite
		c.want(write, `[{"foreign_keys":1}]`)
	}
	c.want(sqlText(bom+"SELECT count(*) AS n FROM t"), `[{"n":0}]`)
	c.want(sqlText("CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1;"+bom+"END;"+bom+"DROP TRIGGER tr"), `[]`)
	if _, err := os.Stat(stolen); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want no such file", stolen, err)
	}
}

// TestNothingIsAttached holds that the connections themselves refuse other files, whatever
// was made of the text, and that VACUUM, which attaches a file of its own, still works.
func TestNothingIsAttached(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (a)`)
	config := Config{Path: c.path, MaxConnections: 1}
	db, err := open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows := sdk.NewRows(sdk.ResultOptions{}, func(*sdk.Chunk) error { return nil })
	if err := db.Execute(t.Context(), &sdk.Call{Statements: []sdk.Statement{sqlText("VACUUM")}}, rows); err != nil {
		t.Fatal(err)
	}
	stolen := filepath.Join(filepath.Dir(c.path), "stolen.db")
	for _, pool := range []string{"readers", "writer"} {
		use := db.readers
		if pool == "writer" {
			use = db.writer
		}
		for _, text := range []string{"ATTACH '" + stolen + "' AS y", "VACUUM INTO '" + stolen + "'"} {
			err := db.with(t.Context(), use, func(c *conn) error { return c.exec(t.Context(), text) })
			if err == nil {
				t.Errorf("%s: %s is executed", pool, text)
			}
		}
	}
	if _, err := os.Stat(stolen); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want no such file", stolen, err)
	}
}
