package sqlbuild

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// office is a catalogue with every kind of relationship, and the SQL that makes its tables.
func office(schema string) *Catalogue {
	table := func(name string, key []string, columns ...Column) *Table {
		return &Table{Schema: schema, Name: name, Key: key, Columns: columns}
	}
	number := func(name string) Column { return Column{Name: name, Type: "integer", Class: ClassNumber} }
	text := func(name string) Column { return Column{Name: name, Type: "text", Class: ClassText} }
	id := []string{"id"}
	clients := table("clients", id, number("id"), text("name"), Column{Name: "vip", Type: "boolean", Class: ClassBool})
	projects := table("projects", id, number("id"), text("name"), number("client_id"), number("backup_id"),
		Column{Name: "doc", Type: "json", Class: ClassJSON})
	tasks := table("tasks", id, number("id"), text("name"), number("project_id"), number("hours"))
	users := table("users", id, number("id"), text("name"), number("boss_id"))
	works := table("users_tasks", []string{"user_id", "task_id"}, number("user_id"), number("task_id"))
	profiles := table("profiles", []string{"user_id"}, number("user_id"), text("bio"))
	sites := table("sites", []string{"country", "no"}, text("country"), number("no"), text("city"))
	visits := table("visits", id, number("id"), text("country"), number("no"))
	odd := table("_1", id, number("id"), number("_2"), text("_3"))
	refer("projects_client_id_fkey", projects, "client_id", clients, "id")
	refer("projects_backup_id_fkey", projects, "backup_id", clients, "id")
	refer("tasks_project_id_fkey", tasks, "project_id", projects, "id")
	refer("users_boss_id_fkey", users, "boss_id", users, "id")
	refer("users_tasks_user_id_fkey", works, "user_id", users, "id")
	refer("users_tasks_task_id_fkey", works, "task_id", tasks, "id")
	refer("profiles_user_id_fkey", profiles, "user_id", users, "id").Unique = true
	site := refer("visits_site_fkey", visits, "country", sites, "country")
	site.Columns, site.TargetColumns = []string{"country", "no"}, []string{"country", "no"}
	refer("_1_fkey", odd, "_2", odd, "id")
	return catalogueOf(clients, projects, tasks, users, works, profiles, sites, visits, odd)
}

const officeSQL = `
CREATE TABLE clients (id integer PRIMARY KEY, name text, vip boolean);
CREATE TABLE projects (id integer PRIMARY KEY, name text, client_id integer REFERENCES clients, backup_id integer REFERENCES clients, doc json);
CREATE TABLE tasks (id integer PRIMARY KEY, name text, project_id integer REFERENCES projects, hours integer);
CREATE TABLE users (id integer PRIMARY KEY, name text, boss_id integer REFERENCES users);
CREATE TABLE users_tasks (user_id integer REFERENCES users, task_id integer REFERENCES tasks, PRIMARY KEY (user_id, task_id));
CREATE TABLE profiles (user_id integer PRIMARY KEY REFERENCES users, bio text);
CREATE TABLE sites (country text, no integer, city text, PRIMARY KEY (country, no));
CREATE TABLE visits (id integer PRIMARY KEY, country text, no integer, FOREIGN KEY (country, no) REFERENCES sites);
CREATE TABLE "_1" (id integer PRIMARY KEY, "_2" integer REFERENCES "_1", "_3" text);
INSERT INTO clients VALUES (1, 'Acme', TRUE), (2, 'Blue', FALSE), (3, 'Cold', NULL);
INSERT INTO projects VALUES (1, 'one', 1, 2, '{"a":[1]}'), (2, 'two', 1, NULL, 'null'), (3, 'three', 2, 1, NULL), (4, 'four', NULL, NULL, '5');
INSERT INTO tasks VALUES (1, 'dig', 1, 5), (2, 'lay', 1, 7), (3, 'dig', 2, 1), (4, 'fly', 3, NULL), (5, 'nap', NULL, 2);
INSERT INTO users VALUES (1, 'ann', NULL), (2, 'bob', 1), (3, 'cid', 1);
INSERT INTO users_tasks VALUES (1, 1), (1, 2), (2, 2), (3, 4);
INSERT INTO profiles VALUES (1, 'boss'), (3, NULL);
INSERT INTO sites VALUES ('at', 1, 'Wien'), ('at', 2, 'Graz'), ('de', 1, 'Bonn');
INSERT INTO visits VALUES (1, 'at', 2), (2, 'de', 1), (3, 'de', NULL), (4, 'at', 2);
INSERT INTO "_1" VALUES (1, NULL, 'x'), (2, 1, 'y''z'), (3, 1, NULL);
`

// refer adds a foreign key of one column to both tables.
func refer(name string, table *Table, column string, target *Table, targetColumn string) *ForeignKey {
	key := &ForeignKey{Name: name, Table: table, Columns: []string{column}, Target: target, TargetColumns: []string{targetColumn}}
	table.Foreign = append(table.Foreign, key)
	target.Referring = append(target.Referring, key)
	return key
}

func rel(target string, items ...sdk.Item) sdk.Item {
	return sdk.Item{Kind: sdk.ItemRelation, Relation: &sdk.Relation{Target: target, Selection: sdk.Selection{Items: items}}}
}

func hinted(hint string, i sdk.Item) sdk.Item { i.Relation.Hint = hint; return i }
func inner(i sdk.Item) sdk.Item               { i.Relation.Inner = true; return i }
func spread(i sdk.Item) sdk.Item              { i.Relation.Spread = true; return i }
func none(i sdk.Item) sdk.Item                { i.Relation.Selection.None = true; return i }
func only(f *sdk.Filter, i sdk.Item) sdk.Item { i.Relation.Filter = f; return i }
func as(alias string, i sdk.Item) sdk.Item    { i.Alias = alias; return i }
func page(limit, offset int64, i sdk.Item) sdk.Item {
	i.Relation.Limit, i.Relation.Offset = &limit, &offset
	return i
}
func sorted(i sdk.Item, order ...sdk.Order) sdk.Item { i.Relation.Order = order; return i }
func asc(column string) sdk.Order                    { return sdk.Order{Column: sdk.Column{Name: column}} }
func down(o sdk.Order) sdk.Order                     { o.Descending = true; return o }
func of(relation, column string) sdk.Order {
	return sdk.Order{Relation: relation, Column: sdk.Column{Name: column}}
}
func agg(function, column string) sdk.Item {
	return sdk.Item{Column: sdk.Column{Name: column}, Aggregate: function}
}
func is(relation, word string) sdk.Filter {
	return sdk.Filter{Relation: relation, Operator: sdk.Is, Values: []sdk.Value{str(word)}}
}

// from is a Select from a table, by id unless it says otherwise.
func from(table string, items ...sdk.Item) sdk.Statement {
	return sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: table}, Order: []sdk.Order{asc("id")}, Selection: sdk.Selection{Items: items}}
}

func ordered(s sdk.Statement, order ...sdk.Order) sdk.Statement { s.Order = order; return s }
func filtered(s sdk.Statement, f sdk.Filter) sdk.Statement      { s.Filter = &f; return s }
func distinct(s sdk.Statement) sdk.Statement                    { s.Selection.Distinct = true; return s }

// embeddings are statements on the office and their rows. Columns a database cannot tell
// apart in plain rows are kept out of their top level.
var embeddings = []struct {
	name      string
	statement sdk.Statement
	options   sdk.ResultOptions
	want      string
}{
	{name: "many to one by column", statement: from("projects", item("id"), as("client", rel("client_id", item("name"), item("vip")))),
		want: `[{"id":1,"client":{"name":"Acme","vip":true}},{"id":2,"client":{"name":"Acme","vip":true}},{"id":3,"client":{"name":"Blue","vip":false}},{"id":4,"client":null}]`},
	{name: "by constraint", statement: filtered(from("projects", item("id"), rel("projects_backup_id_fkey", item("id"))), *where("id", sdk.Lt, num("3"))),
		want: `[{"id":1,"projects_backup_id_fkey":{"id":2}},{"id":2,"projects_backup_id_fkey":null}]`},
	{name: "one to many by constraint", statement: from("clients", item("id"), rel("projects_client_id_fkey", item("id"))),
		want: `[{"id":1,"projects_client_id_fkey":[{"id":1},{"id":2}]},{"id":2,"projects_client_id_fkey":[{"id":3}]},{"id":3,"projects_client_id_fkey":[]}]`},
	{name: "hints", statement: filtered(from("projects", item("id"), as("a", hinted("client_id", rel("clients", item("id")))), as("b", hinted("projects_backup_id_fkey", rel("clients", item("id"))))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":1,"a":{"id":1},"b":{"id":2}}]`},
	{name: "star with booleans and JSON", statement: filtered(from("clients", item("name"), sorted(hinted("client_id", rel("projects")), asc("id"))), *where("id", sdk.Neq, num("2"))),
		want: `[{"name":"Acme","projects":[{"id":1,"name":"one","client_id":1,"backup_id":2,"doc":{"a":[1]}},{"id":2,"name":"two","client_id":1,"backup_id":null,"doc":null}]},{"name":"Cold","projects":[]}]`},
	{name: "order, page, filter", statement: from("projects", item("id"), page(1, 1, sorted(only(where("hours", sdk.Gt, num("0")), rel("tasks", item("name"))), down(asc("hours"))))),
		want: `[{"id":1,"tasks":[{"name":"dig"}]},{"id":2,"tasks":[]},{"id":3,"tasks":[]},{"id":4,"tasks":[]}]`},
	{name: "three deep", statement: filtered(from("clients", item("id"), hinted("client_id", rel("projects", item("name"), sorted(rel("tasks", item("hours"), rel("users", item("name"))), asc("id"))))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":1,"projects":[{"name":"one","tasks":[{"hours":5,"users":[{"name":"ann"}]},{"hours":7,"users":[{"name":"ann"},{"name":"bob"}]}]},{"name":"two","tasks":[{"hours":1,"users":[]}]}]}]`},
	{name: "many to many", statement: from("users", item("id"), sorted(rel("tasks", item("id")), down(asc("id")))),
		want: `[{"id":1,"tasks":[{"id":2},{"id":1}]},{"id":2,"tasks":[{"id":2}]},{"id":3,"tasks":[{"id":4}]}]`},
	{name: "junction as hint", statement: filtered(from("tasks", item("id"), hinted("users_tasks", rel("users", item("id")))), *where("id", sdk.Gt, num("3"))),
		want: `[{"id":4,"users":[{"id":3}]},{"id":5,"users":[]}]`},
	{name: "one to one, both ways", statement: from("users", item("id"), rel("profiles", item("bio"), rel("users", item("id")))),
		want: `[{"id":1,"profiles":{"bio":"boss","users":{"id":1}}},{"id":2,"profiles":null},{"id":3,"profiles":{"bio":null,"users":{"id":3}}}]`},
	{name: "self reference", statement: from("users", item("id"), as("boss", rel("boss_id", item("name"))), as("staff", sorted(rel("users", item("id")), asc("id")))),
		want: `[{"id":1,"boss":null,"staff":[{"id":2},{"id":3}]},{"id":2,"boss":{"name":"ann"},"staff":[]},{"id":3,"boss":{"name":"ann"},"staff":[]}]`},
	{name: "composite key", statement: from("visits", item("id"), rel("sites", item("city"))),
		want: `[{"id":1,"sites":{"city":"Graz"}},{"id":2,"sites":{"city":"Bonn"}},{"id":3,"sites":null},{"id":4,"sites":{"city":"Graz"}}]`},
	{name: "composite key, the other way", statement: ordered(from("sites", item("city"), sorted(rel("visits", item("id")), asc("id"))), asc("city")),
		want: `[{"city":"Bonn","visits":[{"id":2}]},{"city":"Graz","visits":[{"id":1},{"id":4}]},{"city":"Wien","visits":[]}]`},
	{name: "names like made-up ones", statement: from("_1", item("_2"), rel("_2", sdk.Item{Kind: sdk.ItemStar}), sorted(rel("_1", item("_3")), asc("id"))),
		want: `[{"_2":null,"_1":[{"_3":"y'z"},{"_3":null}]},{"_2":{"id":1,"_2":null,"_3":"x"},"_1":[]},{"_2":{"id":1,"_2":null,"_3":"x"},"_1":[]}]`},
	{name: "inner", statement: from("clients", item("id"), hinted("client_id", inner(only(where("name", sdk.Eq, str("two")), rel("projects", item("id")))))),
		want: `[{"id":1,"projects":[{"id":2}]}]`},
	{name: "inner to one", statement: from("projects", item("id"), inner(only(where("name", sdk.Eq, str("Blue")), rel("client_id", item("name"))))),
		want: `[{"id":3,"client_id":{"name":"Blue"}}]`},
	{name: "inner at each level", statement: from("clients", item("id"), hinted("client_id", inner(rel("projects", item("id"), inner(only(where("hours", sdk.Gt, num("4")), rel("tasks", item("id")))))))),
		want: `[{"id":1,"projects":[{"id":1,"tasks":[{"id":1},{"id":2}]}]}]`},
	{name: "inner below an outer one", statement: from("clients", item("id"), hinted("client_id", rel("projects", item("id"), inner(only(where("hours", sdk.Gt, num("5")), rel("tasks", item("id"))))))),
		want: `[{"id":1,"projects":[{"id":1,"tasks":[{"id":2}]}]},{"id":2,"projects":[]},{"id":3,"projects":[]}]`},
	{name: "inner behind an offset", statement: from("clients", item("id"), hinted("client_id", inner(page(9, 1, rel("projects", item("name")))))),
		want: `[{"id":1,"projects":[{"name":"two"}]}]`},
	{name: "filter only", statement: from("projects", item("id"), none(inner(only(where("name", sdk.Eq, str("dig")), rel("tasks"))))),
		want: `[{"id":1},{"id":2}]`},
	{name: "filter only, nested", statement: from("clients", item("id"), hinted("client_id", inner(rel("projects", none(inner(only(where("name", sdk.Eq, str("fly")), rel("tasks")))))))),
		want: `[{"id":2}]`},
	{name: "no row", statement: from("projects", none(rel("tasks")), item("id"), none(rel("client_id"))),
		want: `[{"id":1},{"id":2},{"id":3},{"id":4}]`},
	{name: "null test", statement: filtered(from("projects", item("id"), rel("tasks", item("id"))), is("tasks", "null")),
		want: `[{"id":4,"tasks":[]}]`},
	{name: "not null test, by alias, in a tree", statement: filtered(from("projects", item("id"), none(as("t", only(where("hours", sdk.Gt, num("6")), rel("tasks"))))),
		sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{is("t", "not_null"), *where("id", sdk.Eq, num("4"))}}),
		want: `[{"id":1},{"id":4}]`},
	{name: "negated null test, by target", statement: filtered(from("projects", item("id"), none(as("c", rel("client_id")))), sdk.Filter{Kind: sdk.FilterNot, Children: []sdk.Filter{is("client_id", "null")}}),
		want: `[{"id":1},{"id":2},{"id":3}]`},
	{name: "order by relation", statement: ordered(from("projects", item("id"), as("c", rel("client_id", item("id")))), sdk.Order{Relation: "c", Column: sdk.Column{Name: "name"}, Descending: true, Nulls: sdk.NullsLast}, down(asc("id"))),
		want: `[{"id":3,"c":{"id":2}},{"id":2,"c":{"id":1}},{"id":1,"c":{"id":1}},{"id":4,"c":null}]`},
	{name: "order within a relation by a relation", statement: filtered(from("clients", item("id"), hinted("client_id", sorted(rel("projects", item("id"), as("b", rel("backup_id", item("name")))), sdk.Order{Relation: "b", Column: sdk.Column{Name: "name"}, Nulls: sdk.NullsFirst}))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":1,"projects":[{"id":2,"b":null},{"id":1,"b":{"name":"Blue"}}]}]`},
	{name: "spread to one", statement: from("projects", item("id"), spread(rel("client_id", as("client", item("name"))))),
		want: `[{"id":1,"client":"Acme"},{"id":2,"client":"Acme"},{"id":3,"client":"Blue"},{"id":4,"client":null}]`},
	{name: "spread star", statement: filtered(from("visits", spread(rel("sites"))), *where("id", sdk.Gt, num("2"))),
		want: `[{"country":null,"no":null,"city":null},{"country":"at","no":2,"city":"Graz"}]`},
	{name: "spread, filtered and inner", statement: from("projects", item("id"), inner(spread(only(where("name", sdk.Eq, str("Acme")), rel("client_id", as("client", item("name"))))))),
		want: `[{"id":1,"client":"Acme"},{"id":2,"client":"Acme"}]`},
	{name: "spread, filtered", statement: from("projects", item("id"), spread(only(where("name", sdk.Eq, str("Acme")), rel("client_id", as("client", item("name")))))),
		want: `[{"id":1,"client":"Acme"},{"id":2,"client":"Acme"},{"id":3,"client":null},{"id":4,"client":null}]`},
	{name: "nested spreads", statement: from("tasks", item("id"), spread(rel("projects", as("project", item("name")), spread(rel("client_id", as("client", item("name"))))))),
		want: `[{"id":1,"project":"one","client":"Acme"},{"id":2,"project":"one","client":"Acme"},{"id":3,"project":"two","client":"Acme"},{"id":4,"project":"three","client":"Blue"},{"id":5,"project":null,"client":null}]`},
	{name: "inner in a spread", statement: from("tasks", item("id"), spread(rel("projects", as("project", item("name")), spread(inner(only(where("name", sdk.Eq, str("Blue")), rel("client_id", as("client", item("name"))))))))),
		want: `[{"id":1,"project":null,"client":null},{"id":2,"project":null,"client":null},{"id":3,"project":null,"client":null},{"id":4,"project":"three","client":"Blue"},{"id":5,"project":null,"client":null}]`},
	{name: "relations in a spread", statement: filtered(from("tasks", item("id"), spread(rel("projects", as("client", rel("client_id", item("name"))), rel("tasks", item("id"))))), *where("id", sdk.Gte, num("4"))),
		want: `[{"id":4,"client":{"name":"Blue"},"tasks":[{"id":4}]},{"id":5,"client":null,"tasks":null}]`},
	{name: "order by a spread", statement: ordered(from("projects", item("id"), spread(rel("client_id", as("client", item("name"))))), sdk.Order{Relation: "client_id", Column: sdk.Column{Name: "name"}, Descending: true, Nulls: sdk.NullsLast}, asc("id")),
		want: `[{"id":3,"client":"Blue"},{"id":1,"client":"Acme"},{"id":2,"client":"Acme"},{"id":4,"client":null}]`},
	{name: "order by a spread without columns", statement: ordered(from("projects", item("id"), none(spread(inner(rel("client_id"))))), down(of("client_id", "name")), asc("id")),
		want: `[{"id":3},{"id":1},{"id":2}]`},
	{name: "spread to many", statement: from("projects", item("id"), spread(sorted(rel("tasks", as("task", item("id")), as("title", item("name"))), down(asc("id"))))),
		want: `[{"id":1,"task":[2,1],"title":["lay","dig"]},{"id":2,"task":[3],"title":["dig"]},{"id":3,"task":[4],"title":["fly"]},{"id":4,"task":[],"title":[]}]`},
	{name: "spread of star to many", statement: filtered(from("clients", spread(hinted("client_id", sorted(rel("projects"), asc("id"))))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":[1,2],"name":["one","two"],"client_id":[1,1],"backup_id":[2,null],"doc":[{"a":[1]},null]}]`},
	{name: "spreads of many in many", statement: from("clients", as("client", item("id")), spread(hinted("client_id", sorted(rel("projects", item("name"), spread(sorted(rel("tasks", item("hours")), asc("id")))), asc("id"))))),
		want: `[{"client":1,"name":["one","two"],"hours":[[5,7],[1]]},{"client":2,"name":["three"],"hours":[[null]]},{"client":3,"name":[],"hours":[]}]`},
	{name: "spread of one in many", statement: filtered(from("users", item("id"), spread(sorted(rel("tasks", item("name"), spread(rel("projects", as("project", item("name"))))), asc("id")))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":1,"name":["dig","lay"],"project":["one","one"]}]`},
	{name: "spread of many in one", statement: filtered(from("tasks", item("id"), spread(rel("projects", spread(sorted(rel("tasks", as("all", item("id"))), asc("id")))))), *where("id", sdk.Gt, num("3"))),
		want: `[{"id":4,"all":[4]},{"id":5,"all":null}]`},
	{name: "relation in a spread of many", statement: filtered(from("users", item("id"), spread(sorted(rel("tasks", rel("projects", item("id"))), asc("id")))), *where("id", sdk.Eq, num("1"))),
		want: `[{"id":1,"projects":[{"id":1},{"id":1}]}]`},
	{name: "aggregates in a relation", statement: from("projects", item("id"), rel("tasks", agg("count", ""), agg("sum", "hours"))),
		want: `[{"id":1,"tasks":[{"count":2,"sum":12}]},{"id":2,"tasks":[{"count":1,"sum":1}]},{"id":3,"tasks":[{"count":1,"sum":null}]},{"id":4,"tasks":[{"count":0,"sum":null}]}]`},
	{name: "groups in a relation", statement: filtered(from("clients", item("id"), hinted("client_id", rel("projects", agg("count", ""), as("b", rel("backup_id", item("id")))))), *where("id", sdk.Eq, num("2"))),
		want: `[{"id":2,"projects":[{"count":1,"b":{"id":1}}]}]`},
	{name: "grouped by a relation", statement: filtered(ordered(from("projects", agg("count", ""), rel("client_id", item("name")))), *where("id", sdk.Lt, num("3"))),
		want: `[{"count":2,"client_id":{"name":"Acme"}}]`},
	{name: "grouped by a spread", statement: ordered(from("projects", agg("count", ""), spread(rel("client_id", item("name")))), sdk.Order{Relation: "client_id", Column: sdk.Column{Name: "name"}, Nulls: sdk.NullsLast}),
		want: `[{"count":2,"name":"Acme"},{"count":1,"name":"Blue"},{"count":1,"name":null}]`},
	{name: "aggregates in a spread", statement: filtered(ordered(from("tasks", item("name"), spread(rel("projects", agg("count", ""), agg("max", "id"), spread(rel("client_id", as("clients", agg("count", "id"))))))), asc("name")), *where("id", sdk.Neq, num("4"))),
		want: `[{"name":"dig","count":2,"max":2,"clients":2},{"name":"lay","count":1,"max":1,"clients":1},{"name":"nap","count":0,"max":null,"clients":0}]`},
	{name: "distinct", statement: distinct(filtered(ordered(from("projects", rel("client_id", item("name")), inner(spread(rel("client_id", as("client", item("name"))))), spread(rel("tasks", as("none", agg("", "id")))))), *where("id", sdk.Lt, num("1")))),
		want: `[]`},
	{name: "distinct relations", statement: distinct(filtered(ordered(from("projects", rel("client_id", item("name")), inner(spread(rel("client_id", as("client", item("name"))))))), *where("id", sdk.Lt, num("3")))),
		want: `[{"client_id":{"name":"Acme"},"client":"Acme"}]`},
	{name: "camel case", statement: filtered(from("projects", item("backup_id"), as("the_client", rel("client_id", item("id"))), rel("tasks", item("project_id"), as("my_hours", item("hours")), item("id"), item("id"))), *where("id", sdk.Eq, num("2"))),
		options: sdk.ResultOptions{Naming: sdk.NamesCamel},
		want:    `[{"backup_id":null,"the_client":{"id":1},"tasks":[{"projectId":2,"myHours":1,"id":3}]}]`},
	{name: "camel case stars", statement: filtered(from("clients", item("id"), hinted("client_id", rel("projects", sdk.Item{Kind: sdk.ItemStar}, as("b_c", rel("backup_id"))))), *where("id", sdk.Eq, num("2"))),
		options: sdk.ResultOptions{Naming: sdk.NamesCamel},
		want:    `[{"id":2,"projects":[{"id":3,"name":"three","clientId":2,"backupId":1,"doc":null,"bC":{"id":1,"name":"Acme","vip":true}}]}]`},
	{name: "nulls stripped", statement: filtered(from("clients", item("id"), hinted("client_id", rel("projects", item("id"), as("b", rel("backup_id"))))), *where("id", sdk.Lt, num("3"))),
		options: sdk.ResultOptions{StripNulls: true},
		want:    `[{"id":1,"projects":[{"id":1,"b":{"id":2,"name":"Blue","vip":false}},{"id":2}]},{"id":2,"projects":[{"id":3,"b":{"id":1,"name":"Acme","vip":true}}]}]`},
	{name: "capped", statement: filtered(from("users", item("id"), sorted(rel("tasks", item("id")), asc("id"))), *where("id", sdk.Eq, num("1"))),
		options: sdk.ResultOptions{MaxRows: 1, CapRows: true}, want: `[{"id":1,"tasks":[{"id":1}]}]`},
}

// text is the JSON of a value, with keys in order.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

func TestEmbedText(t *testing.T) {
	cases := []struct {
		name             string
		statement        sdk.Statement
		postgres, sqlite string
	}{
		{"to one", ordered(from("projects", item("id"), rel("client_id", item("name")))),
			`SELECT "projects"."id", (SELECT row_to_json("_1".*) FROM (SELECT "_2"."name" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`,
			`SELECT "projects"."id" AS "id", (SELECT json_object(?1, CASE typeof("_1"."_1") WHEN 'blob' THEN '\x' || lower(hex("_1"."_1")) ELSE "_1"."_1" END) FROM (SELECT "_2"."name" AS "_1" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`},
		{"to many", ordered(from("clients", hinted("client_id", inner(rel("projects", item("id")))))),
			`SELECT (SELECT coalesce(json_agg("_1".*), '[]') FROM (SELECT "_2"."id" FROM "public"."projects" AS "_2" WHERE "_2"."client_id" = "clients"."id") AS "_1") AS "projects" FROM "public"."clients" WHERE EXISTS (SELECT 1 FROM "public"."projects" AS "_2" WHERE "_2"."client_id" = "clients"."id")`,
			`SELECT (SELECT json_group_array(json_object(?1, CASE typeof("_1"."_1") WHEN 'blob' THEN '\x' || lower(hex("_1"."_1")) WHEN 'real' THEN CASE "_1"."_1" WHEN CAST("_1"."_1" AS INTEGER) THEN CAST("_1"."_1" AS INTEGER) WHEN 9e999 THEN 'Infinity' WHEN -9e999 THEN '-Infinity' ELSE "_1"."_1" END ELSE "_1"."_1" END)) FROM (SELECT "_2"."id" AS "_1" FROM "public"."projects" AS "_2" WHERE "_2"."client_id" = "clients"."id") AS "_1") AS "projects" FROM "public"."clients" WHERE EXISTS (SELECT 1 FROM "public"."projects" AS "_2" WHERE "_2"."client_id" = "clients"."id")`},
		{"spread", ordered(from("_1", spread(rel("_2", as("x", item("id")))))),
			`SELECT "_3"."id" AS "x" FROM "public"."_1" LEFT JOIN "public"."_1" AS "_3" ON "_3"."id" = "_1"."_2"`,
			`SELECT "_3"."id" AS "x" FROM "public"."_1" LEFT JOIN "public"."_1" AS "_3" ON "_3"."id" = "_1"."_2"`},
	}
	for _, c := range cases {
		for d, want := range map[*Dialect]string{Postgres: c.postgres, SQLite: c.sqlite} {
			q, err := d.Build(office("public"), &c.statement, &sdk.ResultOptions{})
			if err != nil {
				t.Fatalf("%s on %s: %v", c.name, d.name, err)
			}
			if diff := cmp.Diff(want, q.Text); diff != "" {
				t.Errorf("%s on %s (-want +got):\n%s", c.name, d.name, diff)
			}
		}
	}
}
