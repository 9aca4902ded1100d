package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// known returns the current catalogue.
func known(db *database) *sqlbuild.Catalogue { return &db.catalogues.current.Load().Catalogue }

// tableOf returns a table of the schema public.
func tableOf(t testing.TB, db *database, name string) *sqlbuild.Table {
	t.Helper()
	found := known(db).Tables[sdk.Table{Schema: "public", Name: name}]
	if found == nil {
		t.Fatalf("table %s is not in the catalogue", name)
	}
	return found
}

// shownKeys writes foreign keys as name: table(columns) -> target(columns), in order.
func shownKeys(keys []*sqlbuild.ForeignKey) string {
	var list []string
	for _, k := range keys {
		s := fmt.Sprintf("%s: %s(%s) -> %s(%s)", k.Name, k.Table.Name, strings.Join(k.Columns, ","), k.Target.Name, strings.Join(k.TargetColumns, ","))
		if k.Unique {
			s += " unique"
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func wantSame(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func TestCatalogueTables(t *testing.T) {
	db := openTest(t, nil, `
		create type mood as enum ('sad', 'it''s, "fine"');
		create domain feeling as mood not null default 'sad';
		create domain words as tsvector;
		create type point2 as (x int, y int);
		create table inside (n int);
		create table plain (id int primary key, tag text unique, a int, b int not null, f feeling, w words, p point2[], other inside, unique (a, b) include (tag));
		comment on table plain is 'a table';
		comment on column plain.tag is 'a "tag"';
		alter table plain drop column tag;
		create unique index on plain (a) where b > 0;
		create unique index on plain (lower(id::text));
		create table whole (id int, at date, primary key (id, at)) partition by range (at);
		create table part partition of whole for values from ('2024-01-01') to ('2025-01-01');
		create table parent (id int);
		create table child () inherits (parent);
		create table triggered (id int primary key);
		create function noop() returns trigger language plpgsql as 'begin return new; end';
		create trigger tr before insert on part for each row execute function noop();
		create trigger tr before insert on triggered for each row execute function noop();
		create table cascading (id int primary key);
		create table cascaded (id int references cascading on delete cascade);
		create table calm (id int primary key, self int references calm on delete cascade);
		create view writable as select id, a from plain;
		create view readable as select count(*) from plain;
		create view triggering as select count(*) as n from plain;
		create trigger tr instead of update on triggering for each row execute function noop();
		create materialized view kept as select id from plain;
		create foreign data wrapper nowhere;
		create server there foreign data wrapper nowhere;
		create foreign table distant (id int) server there;
		create table "Odd ""name""" ("a b" int)`)
	plain := tableOf(t, db, "plain")
	wantSame(t, "comment", plain.Comment, "a table")
	wantSame(t, "key", plain.Key, []string{"id"})
	wantSame(t, "unique: without the dropped column, conditions and expressions", plain.Unique, [][]string(nil))
	var columns []string
	for _, c := range plain.Columns {
		columns = append(columns, fmt.Sprint(c.Name, " ", c.Type, " ", c.Class, " null:", c.Nullable, " default:", c.Default, " json:", c.AsJSON, " ", c.Enum))
	}
	wantSame(t, "columns", columns, []string{
		"id integer 2 null:false default: json:false []",
		"a integer 2 null:true default: json:false []",
		"b integer 2 null:false default: json:false []",
		`f public.feeling 0 null:false default:'sad'::public.mood json:false [sad it's, "fine"]`,
		fmt.Sprintf("w public.words %d null:true default: json:false []", sqlbuild.ClassTSVector),
		"p public.point2[] 5 null:true default: json:true []",
		"other public.inside 0 null:true default: json:true []",
	})
	wantSame(t, "partitioned key", tableOf(t, db, "whole").Key, []string{"id", "at"})
	if known(db).Tables[sdk.Table{Schema: "public", Name: "part"}] != nil {
		t.Error("a partition is a table")
	}
	if c := tableOf(t, db, `Odd "name"`).Columns[0]; c.Name != "a b" {
		t.Error(c.Name)
	}
	for name, shows := range map[string]string{
		"plain": "table insert update delete", "whole": "table insert update delete effects", "parent": "table insert update delete effects",
		"child": "table insert update delete effects", "triggered": "table insert update delete effects", "cascading": "table insert update delete effects",
		"cascaded": "table insert update delete", "calm": "table insert update delete", "writable": "view insert update delete effects",
		"readable": "view effects", "triggering": "view update effects", "kept": "materialized effects", "distant": "foreign effects",
	} {
		table := tableOf(t, db, name)
		got := []string{[]string{"table", "view", "materialized", "foreign"}[table.Kind]}
		for _, f := range []struct {
			is   bool
			name string
		}{{table.Insertable, "insert"}, {table.Updatable, "update"}, {table.Deletable, "delete"}, {table.Effects, "effects"}} {
			if f.is {
				got = append(got, f.name)
			}
		}
		wantSame(t, name, strings.Join(got, " "), shows)
	}
}

// TestBrokenView: a view that the server cannot judge spoils nothing.
func TestBrokenView(t *testing.T) {
	db := openTest(t, nil, `create foreign data wrapper nowhere; create server there foreign data wrapper nowhere;
		create foreign table distant (id int) server there; create view broken as select id from distant; create table t (id int)`)
	if v := tableOf(t, db, "broken"); !v.Updatable || len(tableOf(t, db, "t").Columns) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestCatalogueKeys(t *testing.T) {
	db := openTest(t, nil, `
		create table a (x int, y int, primary key (y, x) include (z), z int, unique (z));
		create table b (id int primary key, x int, y int, z int unique references a (z), constraint to_a foreign key (y, x) references a);
		create table c (id int primary key references b, parent int references c);
		create table p (id int primary key references b) partition by range (id);
		create table p1 partition of p for values from (0) to (10);
		create table q (id int references p)`)
	wantSame(t, "key of a", tableOf(t, db, "a").Key, []string{"y", "x"})
	wantSame(t, "unique of a", tableOf(t, db, "a").Unique, [][]string{{"z"}})
	wantSame(t, "foreign of b", shownKeys(tableOf(t, db, "b").Foreign), "b_z_fkey: b(z) -> a(z) unique\nto_a: b(y,x) -> a(y,x)")
	wantSame(t, "referring to b", shownKeys(tableOf(t, db, "b").Referring), "c_id_fkey: c(id) -> b(id) unique\np_id_fkey: p(id) -> b(id) unique")
	wantSame(t, "foreign of c", shownKeys(tableOf(t, db, "c").Foreign), "c_id_fkey: c(id) -> b(id) unique\nc_parent_fkey: c(parent) -> c(id)")
	wantSame(t, "referring to p", shownKeys(tableOf(t, db, "p").Referring), "q_id_fkey: q(id) -> p(id)")
}

func TestCatalogueViews(t *testing.T) {
	db := openTest(t, nil, `
		create table clients (id int primary key, code text unique, "odd }) name" int);
		create table orders (id int primary key, client int references clients, payer int references clients, unique (client, id));
		create view renamed as select id as order_id, client as of, 'a } \ (b' || id as text from orders;
		create view over as select of as by_whom, order_id from renamed;
		create materialized view kept as select by_whom from over;
		create view joined as select o.id, c.id as client_id, c."odd }) name" as "odd } name", (select max(id) from orders) as last from orders o join clients c on c.id = o.client;
		create view twice as select c.id, d.id as other from clients c, clients d;
		create view united as select id from clients union select id from clients;
		create view inside as select id from (select id from clients union all select id from clients) u;
		create view sub as with w as (select id, payer from orders) select w.payer, s.code from w, lateral (select code, id from clients) s;
		create view part as select client from orders;
		create view grouped as select client, count(*) from orders group by 1 order by max(payer)`)
	foreign := func(name string) string { return shownKeys(tableOf(t, db, name).Foreign) }
	referring := func(name string) string { return shownKeys(tableOf(t, db, name).Referring) }
	only := func(keys, table string) string { // those to or from one table
		var list []string
		for line := range strings.Lines(keys) {
			if line = strings.TrimSpace(line); strings.Contains(line, " "+table+"(") {
				list = append(list, line)
			}
		}
		return strings.Join(list, "\n")
	}
	wantSame(t, "renamed", only(foreign("renamed"), "clients"), "orders_client_fkey: renamed(of) -> clients(id)")
	wantSame(t, "key of renamed", tableOf(t, db, "renamed").Key, []string{"order_id"})
	wantSame(t, "unique of renamed", tableOf(t, db, "renamed").Unique, [][]string{{"of", "order_id"}})
	wantSame(t, "over", only(foreign("over"), "clients"), "orders_client_fkey: over(by_whom) -> clients(id)")
	wantSame(t, "kept", only(foreign("kept"), "clients"), "orders_client_fkey: kept(by_whom) -> clients(id)")
	wantSame(t, "key of kept", tableOf(t, db, "kept").Key, []string(nil))
	wantSame(t, "joined to orders", only(referring("joined"), "orders"),
		"orders_client_fkey: orders(client) -> joined(client_id)\norders_payer_fkey: orders(payer) -> joined(client_id)")
	wantSame(t, "key of joined", tableOf(t, db, "joined").Key, []string{"client_id", "id"})
	wantSame(t, "twice", only(referring("twice"), "orders"), "orders_client_fkey: orders(client) -> twice(id)\norders_client_fkey: orders(client) -> twice(other)\n"+
		"orders_payer_fkey: orders(payer) -> twice(id)\norders_payer_fkey: orders(payer) -> twice(other)")
	wantSame(t, "key of twice", tableOf(t, db, "twice").Key, []string(nil))
	wantSame(t, "united", foreign("united")+referring("united"), "")
	wantSame(t, "inside", foreign("inside")+referring("inside"), "")
	wantSame(t, "sub", only(foreign("sub"), "clients"), "orders_payer_fkey: sub(payer) -> clients(id)")
	wantSame(t, "unique of sub", tableOf(t, db, "sub").Unique, [][]string{{"code"}})
	wantSame(t, "grouped", only(foreign("grouped"), "clients"), "orders_client_fkey: grouped(client) -> clients(id)")
	wantSame(t, "view to view", only(foreign("part"), "joined"), "orders_client_fkey: part(client) -> joined(client_id)")

	rules := db.catalogues.current.Load().rules
	must(t, db, sqlText("create or replace view part as select payer as client from orders"))
	if err := db.catalogues.reload(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	wantSame(t, "replaced", only(foreign("part"), "clients"), "orders_payer_fkey: part(client) -> clients(id)")
	kept := 0
	for id, rule := range db.catalogues.current.Load().rules {
		if len(rule.columns) > 0 && &rule.columns[0] == &rules[id].columns[0] {
			kept++
		}
	}
	if kept != 8 { // of 10, but for a union and the replaced one
		t.Errorf("%d rules were not read again", kept)
	}
}

// TestManyReferences: a view that shows a key's columns very often does not multiply.
func TestManyReferences(t *testing.T) {
	var shown []string
	for i := range 30 {
		shown = append(shown, fmt.Sprintf("a as a%d, b as b%d", i, i))
	}
	db := openTest(t, nil, `create table t (a int, b int, primary key (a, b)); create table u (a int, b int, foreign key (a, b) references t)`,
		"create view v as select "+strings.Join(shown, ", ")+" from t")
	if n := len(tableOf(t, db, "u").Foreign); n != 1+maxReferences {
		t.Errorf("%d foreign keys", n)
	}
}

// shownFunction writes a function as name(parameters) -> result.
func shownFunction(f *sqlbuild.Function) string {
	var b strings.Builder
	b.WriteString(f.Name + "(")
	for i, p := range f.Params {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.TrimSpace(p.Name + " " + p.Type))
		for _, f := range []struct {
			is   bool
			name string
		}{{p.Optional, "optional"}, {p.Variadic, "variadic"}, {p.Record, "record"}} {
			if f.is {
				b.WriteString(" " + f.name)
			}
		}
	}
	b.WriteString(") ->")
	r := &f.Returns
	for _, f := range []struct {
		is   bool
		name string
	}{{f.Volatile, "volatile"}, {r.Set, "set"}, {r.One, "one"}, {r.Void, "void"}, {r.Unknown, "unknown"}} {
		if f.is {
			b.WriteString(" " + f.name)
		}
	}
	if r.Table != nil {
		b.WriteString(" rows of " + r.Table.Name)
	}
	for _, c := range r.Columns {
		b.WriteString(" " + c.Name + " " + c.Type)
	}
	if r.Value.Type != "" {
		b.WriteString(" = " + r.Value.Name + " " + r.Value.Type)
	}
	for _, s := range f.Settings {
		b.WriteString(" {" + s.Name + "=" + s.Value + "}")
	}
	return b.String()
}

func TestCatalogueFunctions(t *testing.T) {
	db := openTest(t, nil, `
		create type pair as (a int, b text);
		create domain pairs as pair;
		create table people (id int primary key, name text);
		create view adults as select * from people;
		create function scalar(n int, text default 'x', m numeric(5,2) default 1) returns int stable language sql as 'select 1';
		comment on function scalar is 'one';
		create function nothing() returns void language sql as '';
		create function unnamed(jsonb) returns jsonb language sql immutable as 'select $1';
		create function many(variadic v int[]) returns setof text language sql as 'select $1::text';
		create function outs(a int, out b int, inout c text) language sql as 'select 1, $2';
		create function out1(out b int) language sql as 'select 1';
		create function tabled(n int) returns table (x int, p pair) language sql rows 1 as 'select 1, null::pair';
		create function composite() returns pair language sql as 'select 1, null';
		create function composites() returns setof pairs language sql as 'select null::pairs';
		create function of_catalogue() returns setof pg_catalog.pg_namespace language sql as 'select * from pg_catalog.pg_namespace';
		create function found() returns setof people language sql stable as 'select * from people';
		create function grown() returns setof adults language sql stable rows 1 as 'select * from adults';
		create function anything() returns record language sql as 'select 1, 2';
		create function anythings() returns setof record language sql as 'select 1, 2';
		create function takes(p pair, ps pair[], who people) returns int language sql as 'select 1';
		create function shout(people) returns text language sql stable as 'select upper($1.name)';
		create function shout(people, times int default 1) returns text language sql stable as 'select upper($1.name)';
		create function twice(people, times int) returns text language sql stable as 'select upper($1.name)';
		create function friends(p people) returns setof people language sql stable as 'select * from people';
		create function grown_name(adults) returns text language sql stable as 'select $1.name';
		create function limited() returns int language sql set statement_timeout = '5s' set work_mem = '1MB' set default_transaction_isolation = 'serializable' as 'select 1';
		create function poly(anyelement) returns anyelement language sql as 'select $1';
		create function trig() returns trigger language plpgsql as 'begin return new; end';
		create procedure proc() language sql as '';
		create aggregate agg (int) (sfunc = int4pl, stype = int);
		create function overloaded(a int) returns int language sql as 'select 1';
		create function overloaded(b text) returns int language sql as 'select 1'`)
	var got []string
	for name, list := range known(db).Functions {
		if name.Schema == "public" && name.Name != "of_catalogue" {
			for _, f := range list {
				got = append(got, shownFunction(f))
			}
		}
	}
	slices.Sort(got)
	wantSame(t, "functions", got, []string{
		"anything() -> volatile unknown",
		"anythings() -> volatile set unknown",
		"composite() -> volatile a integer b text",
		"composites() -> volatile set a integer b text",
		"found() -> set rows of people id integer name text",
		"friends(p public.people record) -> set rows of people id integer name text",
		"grown() -> set one rows of adults id integer name text",
		"grown_name(public.adults record) -> = grown_name text",
		"limited() -> volatile = limited integer {statement_timeout=5s} {default_transaction_isolation=serializable}",
		"many(v integer[] variadic) -> volatile set = many text",
		"nothing() -> volatile void",
		"out1() -> volatile b integer",
		"outs(a integer, c text) -> volatile b integer c text",
		"overloaded(a integer) -> volatile = overloaded integer",
		"overloaded(b text) -> volatile = overloaded integer",
		"scalar(n integer, text optional, m numeric optional) -> = scalar integer",
		"shout(public.people record) -> = shout text",
		"shout(public.people record, times integer optional) -> = shout text",
		"tabled(n integer) -> volatile set one x integer p public.pair",
		"takes(p public.pair record, ps public.pair[] record, who public.people record) -> volatile = takes integer",
		"twice(public.people record, times integer) -> = twice text",
		"unnamed(jsonb) -> = unnamed jsonb",
	})
	if f := known(db).Functions[sdk.Table{Schema: "public", Name: "of_catalogue"}][0]; len(f.Returns.Columns) < 4 || f.Returns.Columns[1].Name != "nspname" {
		t.Errorf("%+v", f.Returns)
	}
	if f := known(db).Functions[sdk.Table{Schema: "public", Name: "scalar"}][0]; f.Comment != "one" {
		t.Error(f.Comment)
	}
	var computed []string
	for _, f := range tableOf(t, db, "people").Computed {
		computed = append(computed, f.Name)
	}
	wantSame(t, "computed", computed, []string{"friends", "shout", "shout"})
	wantSame(t, "computed of the view", len(tableOf(t, db, "adults").Computed), 1)
}

// outside runs SQL over a connection that the plugin knows nothing of.
func outside(t testing.TB, db *database) func(sql string) {
	t.Helper()
	pg, err := db.connectAlone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAlone(pg) })
	return func(sql string) {
		t.Helper()
		if err := pg.Exec(t.Context(), sql).Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func has(db *database, name string) bool {
	return known(db).Tables[sdk.Table{Schema: "public", Name: name}] != nil
}

func TestNotify(t *testing.T) {
	db := openTest(t, map[string]any{"application_name": "notified"})
	run := outside(t, db)
	eventually(t, 10*time.Second, "listening", func() bool {
		return must(t, db, sqlText("select count(*) as n from pg_stat_activity where query = 'listen pgrst' and datname = current_database()")).body == `[{"n":1}]`
	})
	for i, payload := range []string{"reload schema", ""} {
		name := fmt.Sprintf("n%d", i)
		run(fmt.Sprintf("create table %s (); notify pgrst, '%s'", name, payload))
		eventually(t, 5*time.Second, payload, func() bool { return has(db, name) })
	}
	before := db.catalogues.current.Load()
	run("notify pgrst, 'reload config'; notify other; notify pgrst, 'reload schemas'")
	time.Sleep(3 * burst)
	if db.catalogues.current.Load() != before {
		t.Error("the catalogue was read for another message")
	}
	run("select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen pgrst' and datname = current_database(); create table lost ()")
	eventually(t, 10*time.Second, "listening again", func() bool { return has(db, "lost") })
}

// TestMissAfterChange: what others have made is found at the first miss, however lately the
// catalogue was read, once the pause between two looks is over.
func TestMissAfterChange(t *testing.T) {
	db := openTest(t, nil)
	run := outside(t, db)
	for i := range 3 {
		run(fmt.Sprintf("create table late%d (n int)", i))
		s := sdk.Statement{Verb: sdk.Select, Table: table(fmt.Sprintf("late%d", i))}
		eventually(t, 10*time.Second, "the table", func() bool { _, err := execute(t.Context(), db, s); return err == nil })
	}
	before := db.catalogues.current.Load()
	for range 3 {
		db.catalogues.expire()
		fails(t, db, sdk.Statement{Verb: sdk.Select, Table: table("absent")}, sdk.NotFound, "undefined_table")
	}
	if db.catalogues.current.Load() != before {
		t.Error("the catalogue was read though nothing had changed")
	}
}

// TestMark: every change that matters is noticed without a load.
func TestMark(t *testing.T) {
	db := openTest(t, nil, `create table t (id int, v text); create table u (id int primary key); create type e as enum ('a'); create view w as select id from t;
		create function f() returns int language sql as 'select 1'`)
	run := outside(t, db)
	for _, sql := range []string{
		"alter table t rename column v to x", "alter table t alter id set not null", "alter table t alter x set default 'a'", "alter table t alter x set default 'b'",
		"alter table t add primary key (id)", "alter table t add foreign key (id) references u", "alter table t drop constraint t_id_fkey",
		"comment on column t.id is 'x'", "comment on column t.id is 'y'", "alter type e add value 'b'", "alter type e rename value 'b' to 'c'",
		"create or replace view w as select id + 1 as id from t", "create or replace function f() returns int language sql stable as 'select 1'", "drop function f()",
		"grant select on t to public", "alter table t rename to tt", "alter table tt set schema pg_catalog", "create schema s", "drop view w",
		"create domain d as int", "alter domain d set not null",
	} {
		before := db.catalogues.current.Load()
		run("set allow_system_table_mods = on;" + sql)
		db.catalogues.expire()
		if err := db.catalogues.reload(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if db.catalogues.current.Load() == before {
			t.Errorf("not noticed: %s", sql)
		}
	}
}

func TestPeriodicRefresh(t *testing.T) {
	db := openTest(t, map[string]any{"catalogue_refresh": int64(50 * time.Millisecond)})
	run := outside(t, db)
	run("create table later ()")
	eventually(t, 10*time.Second, "the table", func() bool { return has(db, "later") })
}

// TestUnknownRow: the type of a table's row is learned when it is met.
func TestUnknownRow(t *testing.T) {
	for _, cache := range []string{"prepare", "off"} {
		db := openTest(t, map[string]any{"statement_cache": cache}, "create table t (n int, x text); insert into t values (1, 'a')")
		must(t, db, sqlText("select t from t"))
		must(t, db, sqlText("select array[t] from t where n = $1", text("1")))
		types := map[string]bool{}
		for _, info := range db.types() {
			types[info.name] = true
		}
		if !types["public.t"] || !types["public.t[]"] {
			t.Errorf("%s: %v %v", cache, types["public.t"], types["public.t[]"])
		}
	}
}

// TestConcurrentDDL: loads amid changes see one state of the schema, and work.
func TestConcurrentDDL(t *testing.T) {
	db := openTest(t, nil, "create table base (id int primary key); create table stays (m int default 77)")
	run := outside(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ { // both or none
			run(`begin; create or replace function d() returns int language sql as 'select 1'; create table one (id int primary key references base, n int default d(), m int default 77);
				create view two as select id, n from one; comment on table one is 'x'; commit`)
			run("drop view two; drop table one")
			if i%4 == 0 {
				run("drop function d()")
			}
		}
	}()
	for range 40 {
		if err := db.catalogues.reload(t.Context(), true); err != nil {
			t.Error(err)
		}
		c := known(db)
		one, two := c.Tables[sdk.Table{Schema: "public", Name: "one"}], c.Tables[sdk.Table{Schema: "public", Name: "two"}]
		if (one == nil) != (two == nil) || one != nil && (len(one.Key) != 1 || len(one.Foreign) != 2-1 || one.Comment != "x" || len(two.Foreign) != 1) {
			t.Fatalf("%+v %+v", one, two)
		}
		for _, table := range []*sqlbuild.Table{one, c.Tables[sdk.Table{Schema: "public", Name: "stays"}]} {
			for i := 0; table != nil && i < len(table.Columns); i++ {
				if c := table.Columns[i]; c.HasDefault && c.Default == "" {
					t.Fatalf("%s.%s has a default without words", table.Name, c.Name)
				}
			}
		}
	}
	cancel()
	<-done
}

// TestPeriodKey: a foreign key with PERIOD refers to rows whose ranges cover its own, not
// to those that equal it.
func TestPeriodKey(t *testing.T) {
	server := testenv.Server(t, testenv.ServerOptions{Version: 18})
	server.Exec(t, "postgres", `create extension btree_gist;
		create table rooms (id int, open daterange, primary key (id, open without overlaps));
		create table stays (id int primary key, room int, nights daterange, foreign key (room, period nights) references rooms (id, period open))`)
	db := openURI(t, server.URI("postgres"), nil)
	if keys := tableOf(t, db, "stays").Foreign; len(keys) > 0 {
		t.Errorf("foreign keys %s", shownKeys(keys))
	}
}
