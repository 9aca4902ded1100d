package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// readFrom reads the catalogue of a client's file.
func readFrom(t *testing.T, c *client) *catalogue {
	t.Helper()
	db, err := open(t.Context(), Config{Path: c.path, MaxConnections: 1, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var cat *catalogue
	if err := db.with(t.Context(), db.readers, func(c *conn) error {
		cat, err = db.known(t.Context(), c, true)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return cat
}

// described is a table in a few words: its kind, what may be done to it, keys and columns.
func described(t *sqlbuild.Table) string {
	var b strings.Builder
	fmt.Fprint(&b, [...]string{"table", "view", "", "virtual"}[t.Kind])
	for _, able := range []struct {
		yes  bool
		word string
	}{{t.Insertable, "insert"}, {t.Updatable, "update"}, {t.Deletable, "delete"}, {t.Effects, "effects"}} {
		if able.yes {
			b.WriteString(" " + able.word)
		}
	}
	fmt.Fprintf(&b, " key%v unique%v", t.Key, t.Unique)
	for _, c := range t.Columns {
		fmt.Fprintf(&b, " %s:%s", c.Name, c.Type)
		for _, is := range []struct {
			yes  bool
			word string
		}{{c.Nullable, "?"}, {c.HasDefault, "=" + c.Default}, {c.Generated, "*"}} {
			if is.yes {
				b.WriteString(is.word)
			}
		}
	}
	return b.String()
}

func TestCatalogue(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE Planets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size DOUBLE DEFAULT (1 + 1), half GENERATED ALWAYS AS (size / 2))`,
		`CREATE TABLE pair (a INT, b INT, c, d, PRIMARY KEY (b, a), UNIQUE (d, c)) WITHOUT ROWID`,
		`CREATE UNIQUE INDEX pair_some ON pair(c) WHERE d > 0; CREATE UNIQUE INDEX pair_lower ON pair(lower(c)); CREATE UNIQUE INDEX pair_c ON pair(c); CREATE INDEX pair_d ON pair(d)`,
		`CREATE TABLE "a ""b""" ("x""y" TEXT)`,
		`CREATE VIRTUAL TABLE words USING fts5(word)`,
		`CREATE VIEW big AS SELECT name FROM planets`,
		`CREATE VIEW small AS SELECT name FROM planets`,
		`CREATE TRIGGER "on" INSTEAD OF INSERT ON small BEGIN INSERT INTO planets(name) VALUES (new.name); END;
		 CREATE TRIGGER t INSTEAD /* or not */ OF update OF name ON small BEGIN SELECT 1; END;
		 CREATE TRIGGER "INSTEAD OF DELETE" AFTER DELETE ON pair BEGIN SELECT 1; END`,
		`CREATE TABLE gone (x); CREATE VIEW Broken AS SELECT x FROM gone; DROP TABLE gone`)
	cat := readFrom(t, c)
	want := map[string]string{
		"planets":    "table insert update delete key[id] unique[[name]] id:INTEGER= name:TEXT size:DOUBLE?=1 + 1 half:?*",
		"pair":       "table insert update delete effects key[b a] unique[[d c] [c]] a:INT b:INT c:? d:?",
		`a "b"`:      `table insert update delete key[] unique[] x"y:TEXT?`,
		"words":      "virtual insert update delete effects key[] unique[] word:?",
		"big":        "view effects key[] unique[] name:TEXT?",
		"small":      "view insert update effects key[] unique[] name:TEXT?",
		"broken":     "<nil>",
		"sqlite_foo": "<nil>",
	}
	for name, want := range want {
		got := "<nil>"
		if table := cat.names[name]; table != nil {
			got = described(table)
			if cat.Tables[sdk.Table{Schema: "main", Name: table.Name}] != table {
				t.Errorf("%s is not among the tables", name)
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	c.must(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "pLANETS"}})
	c.want(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: `a "b"`}}, `[]`)
	broken := c.fails(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "bROKEN"}}, sdk.NotFound, "undefined_table")
	if broken.Message != "no such table: main.gone" {
		t.Errorf("a broken view: %v", broken)
	}
	c.fails(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "planets", Schema: "temp"}}, sdk.NotFound, "undefined_table")
	if a := c.must(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "words"}}); a.tail.TablesRead[0] != "*" {
		t.Errorf("a virtual table: read %v", a.tail.TablesRead)
	}
}

func TestForeignKeys(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE owner (id INTEGER PRIMARY KEY, Code TEXT UNIQUE, chief REFERENCES owner)`,
		`CREATE TABLE pair (a, b, PRIMARY KEY (a, b))`,
		`CREATE TABLE item (id INTEGER PRIMARY KEY, o1 REFERENCES OWNER ON DELETE SET NULL, o2 UNIQUE REFERENCES owner (code), x, y,
			nowhere REFERENCES missing, odd REFERENCES pair, other REFERENCES owner (absent),
			FOREIGN KEY (X, y) REFERENCES pair, FOREIGN KEY (o1) REFERENCES owner (code))`,
		`CREATE TABLE more (x, y, z, PRIMARY KEY (x, y), FOREIGN KEY (x, y) REFERENCES pair (b, a), FOREIGN KEY (x, z) REFERENCES pair)`)
	cat := readFrom(t, c)
	var got []string
	for _, name := range []string{"owner", "item", "more"} {
		for _, k := range cat.names[name].Foreign {
			got = append(got, fmt.Sprintf("%s: %s%v -> %s%v %t", k.Name, k.Table.Name, k.Columns, k.Target.Name, k.TargetColumns, k.Unique))
			if !slices.Contains(k.Target.Referring, k) {
				t.Errorf("%s does not know that %s refers to it", k.Target.Name, k.Name)
			}
		}
	}
	want := []string{
		"owner_chief_fkey: owner[chief] -> owner[id] false",
		"item_o1_fkey: item[o1] -> owner[id] false",
		"item_o2_fkey: item[o2] -> owner[Code] true",
		"item_x_y_fkey: item[x y] -> pair[a b] false",
		"item_o1_fkey1: item[o1] -> owner[Code] false",
		"more_x_y_fkey: more[x y] -> pair[b a] true",
		"more_x_z_fkey: more[x z] -> pair[a b] false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !cat.names["owner"].Effects || cat.names["pair"].Effects {
		t.Error("what cascades is not told from what does not")
	}
}

// TestUncommittedSchema holds that a schema that was rolled back is not taken for the
// later one of the same version.
func TestUncommittedSchema(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE t (id INTEGER PRIMARY KEY)`)
	read := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "t"}}
	answers, err := c.call(t.Context(), &sdk.Call{Tx: sdk.Tx{Single: true, Rollback: true},
		Statements: []sdk.Statement{sqlText(`ALTER TABLE t ADD COLUMN first DEFAULT 1`), insert("t", `{"id":1}`, "id"), read}})
	if err != nil || answers[2].body != `[{"id":1,"first":1}]` {
		t.Fatalf("in the transaction: %v %v", answers, err)
	}
	c.must(sqlText(`ALTER TABLE t ADD COLUMN second DEFAULT 2`))
	read.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "second"}}}
	c.want(read, `[]`)
}
