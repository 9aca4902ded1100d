package sqlbuild

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func connectOffice(t testing.TB, setup ...string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(context.Background(), testenv.Database(t, setup...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// postgresJSON executes a query and returns its rows as one JSON array.
func postgresJSON(t *testing.T, conn *pgconn.PgConn, q *Query) string {
	t.Helper()
	args := make([][]byte, len(q.Args))
	for i, v := range q.Args {
		args[i] = []byte(v.Text)
	}
	text := "SELECT coalesce(json_agg(row_to_json(q.*)), '[]') FROM (" + q.Text + ") AS q"
	result := conn.ExecParams(context.Background(), text, args, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatalf("%v in %s", result.Err, q.Text)
	}
	return string(result.Rows[0][0])
}

// sqliteJSON executes a query and returns its rows as one JSON array, with the columns in
// Query.JSON as JSON and booleans by the types of the columns.
func sqliteJSON(t *testing.T, db *sql.DB, q *Query) string {
	t.Helper()
	args := make([]any, len(q.Args))
	for i, v := range q.Args {
		args[i] = v.Text
		if n, err := strconv.ParseInt(v.Text, 10, 64); v.Hint == sdk.Number && err == nil {
			args[i] = n
		}
	}
	rows, err := db.Query(q.Text, args...)
	if err != nil {
		t.Fatalf("%v in %s", err, q.Text)
	}
	defer rows.Close()
	types, _ := rows.ColumnTypes()
	all := []map[string]any{}
	for rows.Next() {
		values := make([]any, len(types))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		row := map[string]any{}
		for i, c := range types {
			v := *values[i].(*any)
			if text, ok := v.(string); ok && (slices.Contains(q.JSON, i) || c.DatabaseTypeName() == "JSON") {
				v = json.RawMessage(text)
			}
			row[c.Name()] = v
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v in %s", err, q.Text)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatalf("%v of %s", err, q.Text)
	}
	return string(b)
}

func TestEmbed(t *testing.T) {
	conn := connectOffice(t, officeSQL)
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(officeSQL); err != nil {
		t.Fatal(err)
	}
	for _, c := range embeddings {
		t.Run(c.name, func(t *testing.T) {
			for d, schema := range map[*Dialect]string{Postgres: "public", SQLite: "main"} {
				s := c.statement
				s.Count = sdk.CountExact
				q, err := d.Build(office(schema), &s, &c.options)
				if err != nil {
					t.Fatalf("%s: %v", d.name, err)
				}
				var got, total string
				if d == Postgres {
					got, total = postgresJSON(t, conn, q), postgresJSON(t, conn, &Query{Text: q.Count.Text, Args: q.Count.Args})
				} else {
					got, total = sqliteJSON(t, db, q), sqliteJSON(t, db, &Query{Text: q.Count.Text, Args: q.Count.Args})
				}
				if diff := cmp.Diff(canonical(t, c.want), canonical(t, got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s\n%s", d.name, diff, q.Text)
				}
				var rows []any
				_ = json.Unmarshal([]byte(got), &rows)
				if counted := strings.Trim(total[strings.IndexByte(total, ':')+1:], "}]"); counted != strconv.Itoa(len(rows)) {
					t.Errorf("%s: counted %s of %d rows: %s", d.name, counted, len(rows), q.Count.Text)
				}
			}
		})
	}
}

// TestEmbedOnPostgres has what only PostgreSQL knows: computed relationships, views, limits
// on what is spread, JSON that is compared, rows of a write.
func TestEmbedOnPostgres(t *testing.T) {
	conn := connectOffice(t, officeSQL+`
		CREATE VIEW all_projects AS SELECT id, client_id AS customer FROM projects UNION ALL SELECT id, NULL FROM projects;
		CREATE FUNCTION busy(users) RETURNS SETOF tasks LANGUAGE sql STABLE AS 'SELECT t.* FROM tasks t JOIN users_tasks u ON u.task_id = t.id WHERE u.user_id = $1.id AND t.hours > 5';
		CREATE FUNCTION chief(users) RETURNS SETOF users LANGUAGE sql STABLE ROWS 1 AS 'SELECT * FROM users WHERE id = $1.boss_id';
		CREATE FUNCTION team(users) RETURNS SETOF users LANGUAGE sql STABLE ROWS 1 AS 'SELECT * FROM users WHERE boss_id = $1.id ORDER BY id';
		CREATE FUNCTION first_task(users) RETURNS tasks LANGUAGE sql STABLE AS 'SELECT t.* FROM tasks t JOIN users_tasks u ON u.task_id = t.id WHERE u.user_id = $1.id AND t.hours > 0 ORDER BY t.id LIMIT 1';
		CREATE FUNCTION shout(users) RETURNS text LANGUAGE sql STABLE AS 'SELECT upper($1.name)';
		CREATE FUNCTION size(all_projects) RETURNS integer LANGUAGE sql STABLE AS 'SELECT 10 * $1.id';`)
	c := views(office("public"))
	users, tasks := c.Tables[sdk.Table{Schema: "public", Name: "users"}], c.Tables[sdk.Table{Schema: "public", Name: "tasks"}]
	users.Computed = []*Function{
		{Schema: "public", Name: "busy", Returns: Returns{Set: true, Table: tasks}},
		{Schema: "public", Name: "chief", Returns: Returns{Set: true, One: true, Table: users}},
		{Schema: "public", Name: "team", Returns: Returns{Set: true, One: true, Table: users}},
		{Schema: "public", Name: "first_task", Returns: Returns{Table: tasks}},
		{Schema: "public", Name: "shout", Returns: Returns{Value: Column{Name: "shout", Type: "text", Class: ClassText}}},
	}
	view := c.Tables[sdk.Table{Schema: "public", Name: "all_projects"}]
	view.Computed = []*Function{{Schema: "public", Name: "size", Returns: Returns{Value: Column{Name: "size", Type: "integer", Class: ClassNumber}}}}
	returning := func(s sdk.Statement) sdk.Statement { s.Returning = sdk.ReturnSelection; return s }
	idle := is("busy", "null")
	cases := []struct {
		name      string
		statement sdk.Statement
		want      string
	}{
		{"computed to many", from("users", item("id"), rel("busy", item("name"), rel("projects", item("id")))),
			`[{"id":1,"busy":[{"name":"lay","projects":{"id":1}}]},{"id":2,"busy":[{"name":"lay","projects":{"id":1}}]},{"id":3,"busy":[]}]`},
		{"computed to one", from("users", item("id"), rel("chief", item("shout"), rel("chief", item("id")))),
			`[{"id":1,"chief":null},{"id":2,"chief":{"shout":"ANN","chief":null}},{"id":3,"chief":{"shout":"ANN","chief":null}}]`},
		{"computed to one that returns null", from("users", item("id"), rel("first_task", item("id"))),
			`[{"id":1,"first_task":{"id":1}},{"id":2,"first_task":{"id":2}},{"id":3,"first_task":null}]`},
		{"computed inner, filtered", from("users", item("id"), inner(only(where("name", sdk.Eq, str("dig")), rel("first_task", item("id"))))),
			`[{"id":1,"first_task":{"id":1}}]`},
		{"computed spread and order", ordered(from("users", item("id"), spread(rel("chief", as("chief", item("shout")), rel("users", agg("count", ""))))), down(of("chief", "name")), down(asc("id"))),
			`[{"id":1,"chief":null,"users":null},{"id":3,"chief":"ANN","users":[{"count":2}]},{"id":2,"chief":"ANN","users":[{"count":2}]}]`},
		{"computed spread of more rows than declared", from("users", item("id"), spread(rel("team", as("member", item("id"))))),
			`[{"id":1,"member":2},{"id":2,"member":null},{"id":3,"member":null}]`},
		{"computed spread to many", filtered(from("users", item("id"), spread(rel("busy", as("task", item("id"))))), *where("id", sdk.Neq, num("2"))),
			`[{"id":1,"task":[2]},{"id":3,"task":[]}]`},
		{"null test of a computed one", filtered(from("users", item("id"), none(rel("busy"))), is("busy", "null")), `[{"id":3}]`},
		{"view", filtered(from("tasks", item("id"), rel("all_projects", item("id"), item("size"))), *where("id", sdk.Gt, num("3"))),
			`[{"id":4,"all_projects":{"id":3,"size":30}},{"id":5,"all_projects":null}]`},
		{"view with the key twice, spread", filtered(from("tasks", item("id"), spread(sorted(rel("all_projects", item("size"), item("customer")), sdk.Order{Column: sdk.Column{Name: "customer"}, Nulls: sdk.NullsFirst}))), *where("id", sdk.Gt, num("2"))),
			`[{"id":3,"size":20,"customer":null},{"id":4,"size":30,"customer":null},{"id":5,"size":null,"customer":null}]`},
		{"spread with an offset", from("projects", item("id"), spread(page(1, 1, rel("client_id", as("client", item("name")))))),
			`[{"id":1,"client":null},{"id":2,"client":null},{"id":3,"client":null},{"id":4,"client":null}]`},
		{"grouped by JSON of a spread", filtered(ordered(from("tasks", agg("sum", "hours"), spread(rel("projects", item("doc"))))), *where("id", sdk.Lt, num("3"))),
			`[{"sum":12,"doc":{"a":[1]}}]`},
		{"grouped by spread arrays", filtered(ordered(from("projects", agg("count", ""), spread(sorted(rel("tasks", item("name")), asc("id"))))), *where("id", sdk.Eq, num("1"))),
			`[{"count":1,"name":["dig","lay"]}]`},
		{"distinct to many", filtered(distinct(ordered(from("projects", rel("tasks", item("name"))))), *where("id", sdk.Eq, num("2"))),
			`[{"tasks":[{"name":"dig"}]}]`},
		{"insert", returning(sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: "tasks"}, Rows: rows(`[{"id":8,"project_id":1},{"id":9}]`, "id", "project_id"), Order: []sdk.Order{down(asc("id"))},
			Selection: sdk.Selection{Items: []sdk.Item{item("id"), rel("projects", item("name"), rel("client_id", item("name")))}}}),
			`[{"id":9,"projects":null},{"id":8,"projects":{"name":"one","client_id":{"name":"Acme"}}}]`},
		{"update by a null test", returning(sdk.Statement{Verb: sdk.Update, Table: sdk.Table{Name: "users"}, SetObject: []byte(`{"name":"new"}`), Filter: &idle,
			Selection: sdk.Selection{Items: []sdk.Item{item("id"), item("name"), none(rel("busy")), rel("boss_id", item("name"))}}}),
			`[{"id":3,"name":"new","boss_id":{"name":"ann"}}]`},
		{"update with inner relations", returning(sdk.Statement{Verb: sdk.Update, Table: sdk.Table{Name: "users"}, SetObject: []byte(`{"name":"new"}`), AllowAll: true, Order: []sdk.Order{asc("id")},
			Selection: sdk.Selection{Items: []sdk.Item{item("shout"), inner(spread(rel("chief", as("of", item("id"))))), inner(rel("busy", item("id")))}}}),
			`[{"shout":"NEW","of":1,"busy":[{"id":2}]}]`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			q, err := Postgres.Build(c, &tc.statement, &sdk.ResultOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := rowsJSON(t, conn, q)
			if diff := cmp.Diff(canonical(t, tc.want), canonical(t, got)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, q.Text)
			}
		})
	}
}

// TestEmbedStripped checks that nulls are left out of related rows, but not out of values.
func TestEmbedStripped(t *testing.T) {
	const setup = officeSQL + `UPDATE projects SET doc = '{"a":null,"b":[{"c":null}]}' WHERE id IN (1, 2); UPDATE clients SET name = NULL WHERE id = 2`
	conn := connectOffice(t, setup)
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(setup); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		statement sdk.Statement
		want      string
	}{
		{"to one", filtered(from("tasks", rel("projects", item("backup_id"), item("doc"))), *where("id", sdk.In, num("2"), num("3"), num("4"), num("5"))),
			`[{"projects":{"backup_id":2,"doc":{"a":null,"b":[{"c":null}]}}},{"projects":{"doc":{"a":null,"b":[{"c":null}]}}},{"projects":{"backup_id":1}},{"projects":null}]`},
		{"to many", filtered(from("clients", hinted("client_id", sorted(rel("projects", item("id"), item("doc"), as("b", rel("backup_id", item("name"), item("vip")))), asc("id")))), *where("id", sdk.Lt, num("3"))),
			`[{"projects":[{"id":1,"doc":{"a":null,"b":[{"c":null}]},"b":{"vip":false}},{"id":2,"doc":{"a":null,"b":[{"c":null}]}}]},{"projects":[{"id":3,"b":{"name":"Acme","vip":true}}]}]`},
		{"nothing left", filtered(from("projects", as("c", rel("client_id", as("x", sdk.Item{Column: ref("name"), Cast: "json"})))), *where("id", sdk.Eq, num("3"))), `[{"c":{}}]`},
		{"grouped", filtered(ordered(from("tasks", agg("count", ""), rel("projects", item("backup_id"), item("doc")))), *where("id", sdk.In, num("1"), num("2"))),
			`[{"count":2,"projects":{"backup_id":2,"doc":{"a":null,"b":[{"c":null}]}}}]`},
	} {
		for d, schema := range map[*Dialect]string{Postgres: "public", SQLite: "main"} {
			q, err := d.Build(office(schema), &tc.statement, &sdk.ResultOptions{StripNulls: true})
			if err != nil {
				t.Fatalf("%s on %s: %v", tc.name, d.name, err)
			}
			got := ""
			if d == Postgres {
				got = postgresJSON(t, conn, q)
			} else {
				got = sqliteJSON(t, db, q)
			}
			if diff := cmp.Diff(canonical(t, tc.want), canonical(t, got)); diff != "" {
				t.Errorf("%s on %s (-want +got):\n%s\n%s", tc.name, d.name, diff, q.Text)
			}
		}
	}
}

// rowsJSON executes a query in a transaction that is rolled back, leaves its hidden
// columns out, and returns its rows as one JSON array.
func rowsJSON(t *testing.T, conn *pgconn.PgConn, q *Query) string {
	t.Helper()
	if q.Hidden == HiddenNone {
		return postgresJSON(t, conn, q)
	}
	args := make([][]byte, len(q.Args))
	for i, v := range q.Args {
		args[i] = []byte(v.Text)
	}
	if _, err := conn.Exec(context.Background(), "BEGIN").ReadAll(); err != nil {
		t.Fatal(err)
	}
	result := conn.ExecParams(context.Background(), q.Text, args, nil, nil, nil).Read()
	if _, err := conn.Exec(context.Background(), "ROLLBACK").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if result.Err != nil {
		t.Fatalf("%v in %s", result.Err, q.Text)
	}
	all := []map[string]json.RawMessage{}
	for _, row := range result.Rows {
		object := map[string]json.RawMessage{}
		for i, d := range result.FieldDescriptions {
			switch v := row[i]; {
			case i < 3: // totals
			case v == nil:
				object[d.Name] = json.RawMessage("null")
			case d.DataTypeOID == 25:
				object[d.Name] = strconv.AppendQuote(nil, string(v))
			default:
				object[d.Name] = v
			}
		}
		all = append(all, object)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// BenchmarkEmbed is the time that PostgreSQL needs for 1,000 parents of 10 rows each: by
// the statement that is built, and by one of its own making that does no more than it must.
func BenchmarkEmbed(b *testing.B) {
	conn := connectOffice(b, officeSQL+`
		TRUNCATE clients CASCADE;
		INSERT INTO clients SELECT i, 'client ' || i, TRUE FROM generate_series(1, 1000) AS i;
		INSERT INTO projects SELECT i, 'project ' || i, i % 1000 + 1 FROM generate_series(1, 10000) AS i;
		CREATE INDEX ON projects (client_id);
		ANALYZE clients, projects`)
	s := ordered(from("clients", item("id"), item("name"), hinted("client_id", rel("projects", item("id"), item("name"), item("backup_id")))))
	q, err := Postgres.Build(office("public"), &s, &sdk.ResultOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"built": q.Text,
		"by hand": `SELECT json_agg(json_build_object('id', c.id, 'name', c.name, 'projects', (SELECT coalesce(json_agg(
			json_build_object('id', p.id, 'name', p.name, 'backup_id', p.backup_id)), '[]') FROM projects p WHERE p.client_id = c.id))) FROM clients c`,
	} {
		if _, err := conn.Prepare(context.Background(), name, text, nil); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if result := conn.ExecPrepared(context.Background(), name, nil, nil, nil).Read(); result.Err != nil {
					b.Fatal(result.Err)
				}
			}
		})
	}
}
