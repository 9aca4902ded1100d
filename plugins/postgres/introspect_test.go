package main

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestIntrospect(t *testing.T) {
	remote, stop, err := sdk.InProcess(plugin())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	const login = "athena_test_reader" // roles are shared by all databases
	uri := testenv.Database(t, `
		do $$begin create role `+login+` login; exception when duplicate_object or unique_violation then null; end$$;
		create schema shop; create schema closed;
		create type shop.mood as enum ('sad', 'ok');
		comment on type shop.mood is 'a mood';
		create domain shop.code as text;
		create table shop.clients (id int primary key, name text not null default 'x', mood shop.mood, twice int generated always as (id * 2) stored,
			number int generated always as identity unique);
		comment on table shop.clients is 'who buys';
		comment on column shop.clients.name is 'full';
		create table shop.orders (id int primary key, client int references shop.clients);
		create view shop.names as select id, name from shop.clients;
		create function shop.busy(bound int, variadic names text[] default '{}') returns setof shop.clients language sql stable as 'select * from shop.clients';
		create table closed.secret (a int); create table here (a int);
		grant usage on schema shop to `+login+`; grant select on shop.clients to `+login+`; grant insert (id) on shop.clients to `+login+`; grant all on closed.secret to `+login)
	config, err := json.Marshal(map[string]any{"uri": loginAs(t, uri, login)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.OpenInstance(t.Context(), "i", 1, config); err != nil {
		t.Fatal(err)
	}
	ask := func(q sdk.IntrospectQuery) *sdk.Schema {
		t.Helper()
		schema, err := remote.Introspect(t.Context(), "i", 1, q)
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}
	got := ask(sdk.IntrospectQuery{Schemas: []string{"shop"}})
	columns := []sdk.SchemaColumn{
		{Name: "id", Type: "integer"},
		{Name: "name", Type: "text", HasDefault: true, Default: "'x'::text", Comment: "full"},
		{Name: "mood", Type: "shop.mood", Nullable: true, Values: []string{"sad", "ok"}},
		{Name: "twice", Type: "integer", Nullable: true, Generated: true},
		{Name: "number", Type: "integer", HasDefault: true},
	}
	wantSame(t, "schema", got, &sdk.Schema{
		Version: got.Version,
		Tables: []sdk.SchemaTable{
			{
				Schema: "shop", Name: "clients", Kind: sdk.KindTable, Columns: columns, Key: []string{"id"}, Unique: [][]string{{"number"}},
				Insertable: true, Updatable: true, Deletable: true, Privileges: []string{"select", "insert"}, Comment: "who buys",
			},
			{
				Schema: "shop", Name: "names", Kind: sdk.KindView, Columns: []sdk.SchemaColumn{{Name: "id", Type: "integer", Nullable: true}, {Name: "name", Type: "text", Nullable: true}},
				Key: []string{"id"}, Insertable: true, Updatable: true, Deletable: true,
			},
			{
				Schema: "shop", Name: "orders", Kind: sdk.KindTable, Columns: []sdk.SchemaColumn{{Name: "id", Type: "integer"}, {Name: "client", Type: "integer", Nullable: true}},
				Key: []string{"id"}, Insertable: true, Updatable: true, Deletable: true,
				Foreign: []sdk.SchemaForeignKey{
					{Name: "orders_client_fkey", Columns: []string{"client"}, Target: sdk.Table{Schema: "shop", Name: "clients"}, TargetColumns: []string{"id"}},
					{Name: "orders_client_fkey", Columns: []string{"client"}, Target: sdk.Table{Schema: "shop", Name: "names"}, TargetColumns: []string{"id"}},
				},
			},
		},
		Functions: []sdk.SchemaFunction{{
			Schema: "shop", Name: "busy", Params: []sdk.SchemaParam{{Name: "bound", Type: "integer"}, {Name: "names", Type: "text[]", Optional: true, Variadic: true}},
			Returns: sdk.SchemaReturns{Set: true, Columns: columns, Table: sdk.Table{Schema: "shop", Name: "clients"}},
		}},
		Types: []sdk.SchemaType{
			{Schema: "shop", Name: "code", Kind: sdk.KindDomain, Base: "text"},
			{Schema: "shop", Name: "mood", Kind: sdk.KindEnum, Values: []string{"sad", "ok"}, Comment: "a mood"},
		},
	})
	two := ask(sdk.IntrospectQuery{Tables: []sdk.Table{{Name: "here"}, {Schema: "closed", Name: "secret"}, {Name: "absent"}, {Name: "secret"}, {Name: "here"}}})
	if len(two.Tables) != 2 || len(two.Functions)+len(two.Types) != 0 || two.Tables[0].Name != "secret" || len(two.Tables[0].Privileges) != 0 || two.Tables[1].Name != "here" {
		t.Errorf("%+v", two)
	}
	must(t, openURI(t, uri, nil), sqlText("create table shop.later ()"))
	again := ask(sdk.IntrospectQuery{Schemas: []string{"shop"}, Reload: true})
	if len(again.Tables) != 4 || again.Version == got.Version {
		t.Errorf("%d tables, version %s, was %s", len(again.Tables), again.Version, got.Version)
	}
}

// TestIntrospectIsFresh: what others have made is told at once, and the catalogue is read again
// only if it has changed, however many ask.
func TestIntrospectIsFresh(t *testing.T) {
	db := openTest(t, nil)
	run := outside(t, db)
	ask := func(name string) error {
		schema, err := db.Introspect(t.Context(), sdk.IntrospectQuery{Tables: []sdk.Table{{Name: name}}, Reload: true})
		if err == nil && len(schema.Tables) != 1 {
			err = fmt.Errorf("%s is not told", name)
		}
		return err
	}
	for i := range 10 {
		name := fmt.Sprint("made_", i)
		run("create table " + name + " (a int)")
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				if err := ask(name); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	}
	before := db.catalogues.current.Load()
	for range 5 {
		if err := ask("made_0"); err != nil {
			t.Error(err)
		}
	}
	if db.catalogues.current.Load() != before {
		t.Error("the catalogue was read again though nothing has changed")
	}
}
