package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/pressly/goose/v3"
)

// Relation is a table or view of the ledger's database.
type Relation struct {
	Schema, Name string
	Type         string   // BASE TABLE, VIEW, MATERIALIZED VIEW or FOREIGN
	Columns      []string // in their order
}

// Expected is a table that the ledger needs.
type Expected struct {
	Relation
	Required bool // without it requests are refused, or changes; else only something is not logged
	Purpose  string
}

// purposes says of each table what it is for. Requests do without those of optional.
var purposes = map[string]string{
	"control_versions":        "versions of what gateways keep in memory",
	"ledger_batches":          "batches of logs that have been written, so that none is written twice",
	"athena_clients":          "the client catalog",
	"client_configs":          "settings that clients have of their own",
	"api_keys":                "API keys",
	"api_key_rights":          "rights that API keys can have",
	"api_key_right_grants":    "which API key has which right",
	"api_key_config":          "whether API keys are asked for",
	"api_key_client_config":   "clients that decide themselves whether API keys are asked for",
	"api_key_auth_log":        "attempts with API keys and the admin key",
	"gateway_operation_log":   "operations",
	"client_statistics":       "counts of operations by client",
	"client_table_statistics": "counts of operations by client, table and operation",
	"admission_events":        "requests that were delayed or refused for their number",
	"public_routes":           "public routes",
	"api_registry":            "the catalogue of APIs",
	"admin_audit_log":         "what operators have changed",
}

var optional = []string{"ledger_batches", "api_key_auth_log", "gateway_operation_log", "client_statistics", "client_table_statistics", "admission_events"}

// expected are the tables that the migrations make, read off a database that they have made.
// Both databases have the same.
var expected = sync.OnceValues(func() ([]Expected, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection is a database of its own
	ctx := context.Background()
	if _, err := up(ctx, db, goose.DialectSQLite3, "sqlite"); err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	made, err := relations(ctx, conn, sqliteRelations)
	list := []Expected{}
	for _, r := range made {
		if r.Name != migrationsTable {
			list = append(list, Expected{Relation: r, Required: !slices.Contains(optional, r.Name), Purpose: purposes[r.Name]})
		}
	}
	return list, err
})

// Inspect tells which tables the ledger needs, in which their schema is the one that they are
// looked for in first, and all tables and views that it sees. Errors are as Read's.
func (l *Ledger) Inspect(ctx context.Context) (need []Expected, seen []Relation, err error) {
	made, err := expected()
	if err != nil {
		return nil, nil, err
	}
	need = slices.Clone(made)
	err = l.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if !l.postgres {
			seen, err = relations(ctx, c, sqliteRelations)
			return err
		}
		var schema sql.NullString
		if err := c.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
			return err
		}
		for i := range need {
			need[i].Schema = schema.String
		}
		seen, err = relations(ctx, c, postgresRelations)
		return err
	})
	return need, seen, err
}

// The tables and views that names without a schema may mean, a row for each column.
const (
	sqliteRelations = `SELECT 'main', s.name, CASE s.type WHEN 'view' THEN 'VIEW' ELSE 'BASE TABLE' END, x.name
		FROM sqlite_schema s JOIN pragma_table_xinfo(s.name) x WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite\_%' ESCAPE '\'
		ORDER BY s.name, x.cid`
	postgresRelations = `SELECT n.nspname, c.relname,
		CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN' ELSE 'BASE TABLE' END, coalesce(a.attname, '')
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_catalog.pg_table_is_visible(c.oid) AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
		ORDER BY n.nspname, c.relname, a.attnum`
)

func relations(ctx context.Context, c *sql.Conn, query string) ([]Relation, error) {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Relation{}
	for rows.Next() {
		var r Relation
		var column string
		if err := rows.Scan(&r.Schema, &r.Name, &r.Type, &column); err != nil {
			return nil, err
		}
		if n := len(list); n == 0 || list[n-1].Schema != r.Schema || list[n-1].Name != r.Name {
			r.Columns = []string{}
			list = append(list, r)
		}
		if column != "" {
			last := &list[len(list)-1]
			last.Columns = append(last.Columns, column)
		}
	}
	slices.SortFunc(list, func(a, b Relation) int { return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name)) })
	return list, rows.Err()
}
