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
