package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

func TestIntrospect(t *testing.T) {
	c := openClient(t, map[string]any{}, `CREATE TABLE Clients (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'x' UNIQUE, twice INT AS (id * 2))`,
		`CREATE TABLE orders (id INT, client INT REFERENCES clients, PRIMARY KEY (id))`, `CREATE VIEW names AS SELECT name FROM clients`,
		`CREATE TABLE gone (x); CREATE VIEW broken AS SELECT x FROM gone; DROP TABLE gone`)
	ask := func(c *client, q sdk.IntrospectQuery) *sdk.Schema {
		t.Helper()
		schema, err := c.remote.Introspect(t.Context(), "test", 1, q)
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}
	all := []string{"select", "insert", "update", "delete"}
	clients := sdk.SchemaTable{Schema: "main", Name: "Clients", Kind: sdk.KindTable, Key: []string{"id"}, Unique: [][]string{{"name"}},
		Insertable: true, Updatable: true, Deletable: true, Privileges: all, Columns: []sdk.SchemaColumn{
			{Name: "id", Type: "INTEGER", HasDefault: true},
			{Name: "name", Type: "TEXT", HasDefault: true, Default: "'x'"},
			{Name: "twice", Type: "INT", Nullable: true, Generated: true},
		}}
	names := sdk.SchemaTable{Schema: "main", Name: "names", Kind: sdk.KindView, Privileges: all,
		Columns: []sdk.SchemaColumn{{Name: "name", Type: "TEXT", Nullable: true}}}
	orders := sdk.SchemaTable{Schema: "main", Name: "orders", Kind: sdk.KindTable, Key: []string{"id"},
		Insertable: true, Updatable: true, Deletable: true, Privileges: all,
		Columns: []sdk.SchemaColumn{{Name: "id", Type: "INT", Nullable: true}, {Name: "client", Type: "INT", Nullable: true}},
		Foreign: []sdk.SchemaForeignKey{{Name: "orders_client_fkey", Columns: []string{"client"}, Target: sdk.Table{Schema: "main", Name: "Clients"}, TargetColumns: []string{"id"}}}}
	whole := ask(c, sdk.IntrospectQuery{})
	for _, k := range []struct {
		q    sdk.IntrospectQuery
		want []sdk.SchemaTable
	}{
		{sdk.IntrospectQuery{}, []sdk.SchemaTable{clients, names, orders}},
		{sdk.IntrospectQuery{Schemas: []string{"main"}, Reload: true}, []sdk.SchemaTable{clients, names, orders}},
		{sdk.IntrospectQuery{Schemas: []string{"other"}}, nil},
		{sdk.IntrospectQuery{Tables: []sdk.Table{{Name: "ORDERS"}, {Schema: "Main", Name: "clients"}, {Name: "Clients"}, {Name: "none"}, {Schema: "x", Name: "names"}}},
			[]sdk.SchemaTable{clients, orders}},
	} {
		if diff := cmp.Diff(&sdk.Schema{Version: whole.Version, Tables: k.want}, ask(c, k.q)); diff != "" {
			t.Errorf("%+v: %s", k.q, diff)
		}
	}
	c.must(sqlText(`DROP VIEW names`))
	if changed := ask(c, sdk.IntrospectQuery{}); changed.Version == whole.Version || len(changed.Tables) != 2 {
		t.Errorf("after a change: %+v", changed)
	}
	readOnly := openClient(t, map[string]any{"path": c.path, "read_only": true})
	if diff := cmp.Diff([]string{"select"}, ask(readOnly, sdk.IntrospectQuery{}).Tables[0].Privileges); diff != "" {
		t.Error(diff)
	}
}
