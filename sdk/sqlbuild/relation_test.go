package sqlbuild

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// resolveOn resolves a relation of a table of the catalogue.
func resolveOn(c *Catalogue, parent string, r *sdk.Relation) (string, *sdk.Error) {
	b := &builder{d: Postgres, c: c, o: &sdk.ResultOptions{}}
	l, ok := b.resolve(c.Tables[sdk.Table{Schema: c.Path[0], Name: parent}], r)
	if !ok {
		return "", sdk.AsError(b.err)
	}
	if l.function != nil {
		return cardinalities[l.kind] + " by " + l.function.Name, nil
	}
	return cardinalities[l.kind] + " " + l.table.Schema + "." + l.table.Name + " by " + l.relationship(), nil
}

// views adds views to the office: one of projects, and one that shows projects' client
// twice, as a catalogue would list their keys.
func views(c *Catalogue) *Catalogue {
	clients := c.Tables[sdk.Table{Schema: "public", Name: "clients"}]
	tasks := c.Tables[sdk.Table{Schema: "public", Name: "tasks"}]
	view := &Table{Schema: "public", Name: "all_projects", Kind: View, Key: []string{"id"}, Columns: []Column{
		{Name: "id", Type: "integer", Class: ClassNumber}, {Name: "customer", Type: "integer", Class: ClassNumber}}}
	refer("projects_client_id_fkey", view, "customer", clients, "id")
	refer("tasks_project_id_fkey", tasks, "project_id", view, "id")
	c.Tables[sdk.Table{Schema: "public", Name: "all_projects"}] = view
	return c
}

func TestResolve(t *testing.T) {
	c := views(office("public"))
	// The same names in another schema, which is in the path or is not.
	for _, schema := range []string{"extra", "hidden"} {
		notes := &Table{Schema: schema, Name: "notes", Columns: []Column{{Name: "task"}}}
		refer("notes_task_fkey", notes, "task", c.Tables[sdk.Table{Schema: "public", Name: "tasks"}], "id")
	}
	c.Path = []string{"public", "extra"}
	users := c.Tables[sdk.Table{Schema: "public", Name: "users"}]
	users.Computed = []*Function{
		{Name: "profiles", Returns: Returns{Set: true, Table: users}},
		{Name: "chief", Returns: Returns{Set: true, One: true, Table: users}},
		{Name: "label", Returns: Returns{Value: Column{Name: "label"}}},
	}
	cases := []struct {
		parent   string
		relation sdk.Relation
		want     string
	}{
		{"projects", sdk.Relation{Target: "client_id"}, "many-to-one public.clients by projects_client_id_fkey using projects(client_id) and clients(id)"},
		{"projects", sdk.Relation{Target: "clients", Hint: "backup_id"}, "many-to-one public.clients by projects_backup_id_fkey using projects(backup_id) and clients(id)"},
		{"projects", sdk.Relation{Target: "tasks"}, "one-to-many public.tasks by tasks_project_id_fkey using projects(id) and tasks(project_id)"},
		{"projects", sdk.Relation{Target: "tasks", Hint: "id"}, "one-to-many public.tasks by tasks_project_id_fkey using projects(id) and tasks(project_id)"},
		{"clients", sdk.Relation{Target: "projects_backup_id_fkey"}, "one-to-many public.projects by projects_backup_id_fkey using clients(id) and projects(backup_id)"},
		{"profiles", sdk.Relation{Target: "users"}, "one-to-one public.users by profiles_user_id_fkey using profiles(user_id) and users(id)"},
		{"tasks", sdk.Relation{Target: "users"}, "many-to-many public.users by users_tasks using users_tasks_task_id_fkey(task_id) and users_tasks_user_id_fkey(user_id)"},
		{"tasks", sdk.Relation{Target: "users_tasks"}, "one-to-many public.users_tasks by users_tasks_task_id_fkey using tasks(id) and users_tasks(task_id)"},
		{"users", sdk.Relation{Target: "users"}, "one-to-many public.users by users_boss_id_fkey using users(id) and users(boss_id)"},
		{"users", sdk.Relation{Target: "users", Hint: "boss_id"}, "one-to-many public.users by users_boss_id_fkey using users(id) and users(boss_id)"},
		{"users", sdk.Relation{Target: "boss_id"}, "many-to-one public.users by users_boss_id_fkey using users(boss_id) and users(id)"},
		{"users", sdk.Relation{Target: "users_boss_id_fkey"}, "many-to-one public.users by users_boss_id_fkey using users(boss_id) and users(id)"},
		{"sites", sdk.Relation{Target: "visits"}, "one-to-many public.visits by visits_site_fkey using sites(country, no) and visits(country, no)"},
		{"all_projects", sdk.Relation{Target: "clients"}, "many-to-one public.clients by projects_client_id_fkey using all_projects(customer) and clients(id)"},
		{"all_projects", sdk.Relation{Target: "customer"}, "many-to-one public.clients by projects_client_id_fkey using all_projects(customer) and clients(id)"},
		{"tasks", sdk.Relation{Target: "all_projects"}, "many-to-one public.all_projects by tasks_project_id_fkey using tasks(project_id) and all_projects(id)"},
		{"tasks", sdk.Relation{Target: "project_id"}, "many-to-one public.projects by tasks_project_id_fkey using tasks(project_id) and projects(id)"},
		{"tasks", sdk.Relation{Target: "notes"}, "one-to-many extra.notes by notes_task_fkey using tasks(id) and notes(task)"},
		{"tasks", sdk.Relation{Target: "notes", Schema: "hidden"}, "one-to-many hidden.notes by notes_task_fkey using tasks(id) and notes(task)"},
		{"users", sdk.Relation{Target: "profiles"}, "one-to-many by profiles"},
		{"users", sdk.Relation{Target: "chief"}, "many-to-one by chief"},
	}
	for _, tc := range cases {
		got, err := resolveOn(c, tc.parent, &tc.relation)
		if err != nil || got != tc.want {
			t.Errorf("%s with %+v: got %q, %v, want %q", tc.parent, tc.relation, got, err, tc.want)
		}
	}
}

func TestUndefinedRelation(t *testing.T) {
	c := views(office("public"))
	hidden := &Table{Schema: "hidden", Name: "notes", Columns: []Column{{Name: "task"}}}
	refer("notes_task_fkey", hidden, "task", c.Tables[sdk.Table{Schema: "public", Name: "tasks"}], "id")
	c.Tables[sdk.Table{Schema: "public", Name: "alone"}] = &Table{Schema: "public", Name: "alone"}
	// A junction must hold both keys in its own, and one of a table with itself is none.
	works := c.Tables[sdk.Table{Schema: "public", Name: "users_tasks"}]
	works.Key = []string{"user_id"}
	cases := []struct {
		parent                    string
		relation                  sdk.Relation
		message, hint, suggestion string
	}{
		{"projects", sdk.Relation{Target: "task"}, `table "projects" has no relationship with "task"`, `did you mean "tasks"?`, "tasks"},
		{"projects", sdk.Relation{Target: "client"}, `table "projects" has no relationship with "client"`, `did you mean "clients"?`, "clients"},
		{"projects", sdk.Relation{Target: "tasks", Hint: "x"}, `table "projects" has no relationship with "tasks" by the hint "x"`, "name one of these: tasks!tasks_project_id_fkey", ""},
		{"tasks", sdk.Relation{Target: "notes"}, `table "tasks" has no relationship with "notes" in schema "public"`, `schema "hidden" has a related table of that name: name the schema too`, ""},
		{"alone", sdk.Relation{Target: "tasks"}, `table "alone" has no relationship with "tasks"`, "no foreign key leads from or to this table", ""},
		{"tasks", sdk.Relation{Target: "users"}, `table "tasks" has no relationship with "users"`, "related are: all_projects, notes, project_id, projects, users_tasks", ""},
		{"visits", sdk.Relation{Target: "country"}, `table "visits" has no relationship with "country"`, "related are: sites", ""},
	}
	for _, tc := range cases {
		_, err := resolveOn(c, tc.parent, &tc.relation)
		if err == nil {
			t.Errorf("%s with %+v exists", tc.parent, tc.relation)
			continue
		}
		var details map[string]any
		if e := json.Unmarshal(err.Details, &details); e != nil {
			t.Fatal(e)
		}
		suggestion, _ := details["suggestion"].(string)
		if err.Kind != sdk.Invalid || err.Reason != "undefined_relation" || err.Message != tc.message || err.Hint != tc.hint || suggestion != tc.suggestion ||
			details["parent"] != tc.parent || details["target"] != tc.relation.Target || details["schema"] != "public" || err.Table != tc.parent {
			t.Errorf("%s with %+v: got %s | %s | %s", tc.parent, tc.relation, err.Message, err.Hint, err.Details)
		}
	}
}

func TestAmbiguousRelation(t *testing.T) {
	c := office("public")
	// A second way from tasks to users.
	tasks, users := c.Tables[sdk.Table{Schema: "public", Name: "tasks"}], c.Tables[sdk.Table{Schema: "public", Name: "users"}]
	refer("users_task_fkey", users, "task", tasks, "id")
	cases := []struct{ parent, target, hint, details string }{
		{"projects", "clients", "name one of them: clients!projects_client_id_fkey, clients!projects_backup_id_fkey",
			`{"parent":"projects","target":"clients","schema":"public","candidates":[` +
				`{"cardinality":"many-to-one","relationship":"projects_client_id_fkey using projects(client_id) and clients(id)","embedding":"projects with clients","target":"clients!projects_client_id_fkey"},` +
				`{"cardinality":"many-to-one","relationship":"projects_backup_id_fkey using projects(backup_id) and clients(id)","embedding":"projects with clients","target":"clients!projects_backup_id_fkey"}]}`},
		{"tasks", "users", "name one of them: users!users_task_fkey, users!users_tasks",
			`{"parent":"tasks","target":"users","schema":"public","candidates":[` +
				`{"cardinality":"one-to-many","relationship":"users_task_fkey using tasks(id) and users(task)","embedding":"tasks with users","target":"users!users_task_fkey"},` +
				`{"cardinality":"many-to-many","relationship":"users_tasks using users_tasks_task_id_fkey(task_id) and users_tasks_user_id_fkey(user_id)","embedding":"tasks with users","target":"users!users_tasks"}]}`},
	}
	for _, tc := range cases {
		_, err := resolveOn(c, tc.parent, &sdk.Relation{Target: tc.target})
		if err == nil {
			t.Fatalf("%s with %s is unambiguous", tc.parent, tc.target)
		}
		want := `more than one relationship of "` + tc.parent + `" answers to "` + tc.target + `"`
		if err.Kind != sdk.Invalid || err.Reason != "ambiguous_relation" || err.Message != want || err.Hint != tc.hint || err.Table != tc.parent {
			t.Errorf("got %+v", err)
		}
		if diff := cmp.Diff(tc.details, string(err.Details)); diff != "" {
			t.Errorf("details (-want +got):\n%s", diff)
		}
	}
}

func TestRefusedRelations(t *testing.T) {
	deep := rel("boss_id", item("id"))
	for range sdk.MaxFilterDepth {
		deep = rel("boss_id", deep)
	}
	// Each level tests the next ten times: without a bound this has 10^20 conditions.
	wide := rel("boss_id", item("id"))
	for range 20 {
		tests := sdk.Filter{Kind: sdk.FilterOr, Children: slices.Repeat([]sdk.Filter{is("boss_id", "null")}, 10)}
		wide = only(&tests, rel("boss_id", wide))
	}
	test := is("tasks", "true")
	cases := []struct {
		name      string
		statement sdk.Statement
		kind      sdk.Kind
		reason    string
	}{
		{"no target", from("projects", rel("")), sdk.Invalid, "invalid_relation"},
		{"undefined", from("projects", rel("x")), sdk.Invalid, "undefined_relation"},
		{"undefined within", from("projects", rel("tasks", rel("x"))), sdk.Invalid, "undefined_relation"},
		{"undefined column within", from("projects", rel("tasks", item("x"))), sdk.Invalid, "undefined_column"},
		{"test of what is not selected", filtered(from("projects"), is("tasks", "null")), sdk.Invalid, "relation_not_selected"},
		{"order by what is not selected", ordered(from("projects"), of("client_id", "name")), sdk.Invalid, "relation_not_selected"},
		{"test of one of two aliases", filtered(from("projects", item("id"), none(as("a", rel("client_id"))), none(as("a", rel("backup_id")))), is("a", "null")), sdk.Invalid, "ambiguous_relation"},
		{"test of one of two targets", filtered(from("projects", item("id"), none(as("a", hinted("client_id", rel("clients")))), none(as("b", hinted("backup_id", rel("clients"))))), is("clients", "null")), sdk.Invalid, "ambiguous_relation"},
		{"test for true", filtered(from("projects", rel("tasks")), test), sdk.Invalid, "invalid_relation_filter"},
		{"test for equality", filtered(from("projects", rel("tasks")), sdk.Filter{Relation: "tasks", Operator: sdk.Eq, Values: []sdk.Value{num("1")}}), sdk.Invalid, "invalid_relation_filter"},
		{"order by many", ordered(from("projects", rel("tasks")), of("tasks", "name")), sdk.Invalid, "order_by_to_many"},
		{"order by an unknown column", ordered(from("projects", rel("client_id")), of("client_id", "x")), sdk.Invalid, "undefined_column"},
		{"aggregate of many", from("projects", spread(rel("tasks", agg("count", "")))), sdk.Unsupported, "unsupported_aggregate_in_spread"},
		{"deep", from("users", deep), sdk.Invalid, "too_deep"},
		{"wide", from("users", wide), sdk.Invalid, "too_large"},
		{"negative limit", from("projects", page(-1, 0, rel("tasks"))), sdk.Invalid, "invalid_range"},
		{"NUL in an alias", from("projects", as("a\x00b", rel("tasks"))), sdk.Invalid, "invalid_identifier"},
	}
	for _, c := range cases {
		for _, d := range []*Dialect{Postgres, SQLite} {
			_, err := d.Build(office("public"), &c.statement, &sdk.ResultOptions{})
			e := sdk.AsError(err)
			if strings.Contains(c.name, "not selected") || c.name == "order by many" {
				if e == nil || !strings.HasPrefix(string(e.Details), `{"parent":"projects","target":"`) || e.Table != "projects" {
					t.Errorf("%s on %s: details %s", c.name, d.name, e.Details)
				}
			}
			if e == nil || e.Kind != c.kind || e.Reason != c.reason || e.Message == "" || e.Executed != sdk.ExecutedNo {
				t.Errorf("%s on %s: got %v, want %s (%s)", c.name, d.name, err, c.kind, c.reason)
			}
		}
	}
}

func TestRelationsRead(t *testing.T) {
	c := views(office("public"))
	s := from("users", rel("tasks", rel("projects", none(inner(rel("client_id"))))))
	q, err := Postgres.Build(c, &s, &sdk.ResultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(q.Read)
	if got := strings.Join(q.Read, " "); got != "public.clients public.projects public.tasks public.users public.users_tasks" {
		t.Errorf("reads %s", got)
	}
	s = from("tasks", rel("all_projects"))
	if q, err = Postgres.Build(c, &s, &sdk.ResultOptions{}); err != nil || !slices.Contains(q.Read, "*") {
		t.Errorf("a view is made of other tables: %v, %v", q, err)
	}
}

// FuzzRelationsText holds that names and values within relations change nothing of a
// statement's text but the names in quotes.
func FuzzRelationsText(f *testing.F) {
	for _, s := range []string{`x`, `"; DROP TABLE t; --`, `'); DELETE FROM t; --`, `\"`, `a""b`, "$1", "?1", "_1", "_2", "名", `_1"._1`} {
		f.Add("parents", "children", "id", s, s)
		f.Add(s, "children", "id", "alias", "x")
		f.Add("parents", s, s, "", s)
	}
	made := regexp.MustCompile(`^_[0-9]+$`)
	f.Fuzz(func(t *testing.T, parent, child, column, alias, value string) {
		if parent == child || alias == child || column == "" || strings.EqualFold(column, "parent") {
			return // the tables could not exist, or the null test would mean another relation
		}
		known := map[string]bool{parent: true, child: true, column: true, alias: true, "parent": true, "fk": true}
		build := func(d *Dialect, parent, child, column, alias, value string, o *sdk.ResultOptions) (*Query, error) {
			p := &Table{Name: parent, Columns: []Column{{Name: column, Class: ClassText}}}
			c := &Table{Name: child, Columns: []Column{{Name: column, Class: ClassText}, {Name: "parent", Class: ClassJSON}}}
			refer("fk", c, "parent", p, column)
			test, equal := is(child, "null"), where(column, sdk.Eq, str(value))
			nested := only(equal, rel("fk", item(column), as(alias, rel(child, item(column)))))
			s := filtered(from(parent, as(alias, inner(only(equal, rel(child, as(alias, item(column)), nested)))),
				spread(rel(child, as(alias, item("parent")), spread(rel("parent"))))), test)
			s.Order = nil
			return d.Build(catalogueOf(p, c), &s, o)
		}
		for _, d := range []*Dialect{Postgres, SQLite} {
			for _, o := range []*sdk.ResultOptions{{}, {StripNulls: true, MaxRows: 5, CapRows: true}} {
				got, err := build(d, parent, child, column, alias, value, o)
				if err != nil {
					continue // refused names
				}
				want, err := build(d, "parents", "children", "id", plainAlias(alias), "1", o)
				if err != nil {
					t.Fatal(err)
				}
				shape, names := tokens(got.Text)
				wantShape, _ := tokens(want.Text)
				if diff := cmp.Diff(wantShape, shape); diff != "" {
					t.Fatalf("another shape (-want +got):\n%s\n%s", diff, got.Text)
				}
				for _, name := range names {
					if !known[name] && !made.MatchString(name) {
						t.Fatalf("the name %q comes from nowhere: %s", name, got.Text)
					}
				}
			}
		}
	})
}
