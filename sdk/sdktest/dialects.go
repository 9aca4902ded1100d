package sdktest

import "github.com/athena-gateway/athena/sdk"

// SQL is a statement of SQL text.
func SQL(intent sdk.Intent, text string) sdk.Statement {
	return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text, Intent: intent}}
}

func read(text string) *sdk.Statement { return ptr(SQL(sdk.IntentRead, text)) }

// Postgres is the dialect of PostgreSQL and what speaks like it.
var Postgres = Dialect{
	Prepare: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_items`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_items (id bigint PRIMARY KEY, name text NOT NULL, code text UNIQUE, qty bigint,
			price numeric, active boolean, made_at timestamptz, doc jsonb)`),
	},
	Fill: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_numbers`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_numbers AS SELECT i AS id, repeat('athena ', 55) || i AS label FROM generate_series(1, 100000) i`),
	},
	Numbers:      sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_numbers"}},
	Slow:         read(`SELECT pg_sleep(30)`),
	Syntax:       read(`SELECT FROM WHERE`),
	Duplicate:    read(`SELECT 1 AS a, 2 AS a`),
	Bytes:        read(`SELECT '\x00ff10'::bytea AS data`),
	ExactNumbers: true,
	Durable:      true,
}

// SQLite is the dialect of SQLite.
var SQLite = Dialect{
	Prepare: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_items`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, code TEXT UNIQUE, qty BIGINT,
			price NUMERIC, active BOOLEAN, made_at TIMESTAMP, doc JSON)`),
	},
	Fill: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_numbers`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_numbers (id INTEGER PRIMARY KEY, label TEXT)`),
		SQL(sdk.IntentWrite, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
			INSERT INTO athena_numbers SELECT i, replace(hex(zeroblob(55)), '00', 'athena ') || i FROM n`),
	},
	Numbers:   sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_numbers"}},
	Slow:      read(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n`),
	Syntax:    read(`SELECT FROM WHERE`),
	Duplicate: read(`SELECT 1 AS a, 2 AS a`),
	Bytes:     read(`SELECT x'00ff10' AS data`),
	Durable:   true,
}

// memoryDialect is Memory's, with the tables of memoryConfigJSON.
var memoryDialect = Dialect{
	Prepare:      []sdk.Statement{{Verb: sdk.Delete, Table: itemsTable, AllowAll: true}},
	Numbers:      sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "numbers"}},
	Slow:         &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "slow"}},
	Panic:        &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "panic"}},
	Leak:         &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "leak"}},
	ExactNumbers: true,
}

const memoryConfigJSON = `{"database": "check", "token": "memory-canary-5f1d", "tables": {"athena_items":
	"id int key, name text required, code text unique, qty int, price number, active bool, made_at text, doc json"}}`

// MemoryTarget is a target for Memory backends, but for how to reach them.
func MemoryTarget() Target {
	return Target{Config: []byte(memoryConfigJSON), Dialect: memoryDialect}
}
