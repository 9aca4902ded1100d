package sdktest

import "github.com/athena-gateway/athena/sdk"

// SQL is a statement of SQL text.
func SQL(intent sdk.Intent, text string) sdk.Statement {
	return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text, Intent: intent}}
}

func read(text string) *sdk.Statement { return ptr(SQL(sdk.IntentRead, text)) }

// echoBytes is a query with the one argument of Dialect.Bytes.
func echoBytes(text string) *sdk.Statement {
	s := read(text)
	s.SQL.Args = []sdk.Value{{Hint: sdk.Bytes, Text: "\x00\xff\x10"}}
	return s
}

// Postgres is the dialect of PostgreSQL and what speaks like it.
var Postgres = Dialect{
	Prepare: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_items CASCADE`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_items (id bigint PRIMARY KEY, name text NOT NULL, code text UNIQUE, qty bigint,
			price numeric, active boolean, made_at timestamptz, doc jsonb)`),
	},
	Fill: []sdk.Statement{
		SQL(sdk.IntentWrite, `DROP TABLE IF EXISTS athena_numbers`),
		SQL(sdk.IntentWrite, `CREATE TABLE athena_numbers AS SELECT i AS id, repeat('athena ', 55) || i AS label FROM generate_series(1, 100000) i`),
	},
	Numbers:   sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_numbers"}},
	Slow:      read(`SELECT pg_sleep(30)`),
	Syntax:    read(`SELECT FROM WHERE`),
	Duplicate: read(`SELECT 1 AS a, 2 AS a`),
	Bytes:     echoBytes(`SELECT $1::bytea AS data`),
	Kinds: map[sdk.Kind]sdk.Statement{
		sdk.Invalid:     *read(`SELECT 1 / 0`),
		sdk.Forbidden:   SQL(sdk.IntentWrite, `DROP TABLE pg_class`),
		sdk.NotFound:    *read(`SELECT * FROM athena_missing`),
		sdk.Conflict:    SQL(sdk.IntentWrite, `INSERT INTO athena_items (id, name) VALUES (1, 'a'), (1, 'b')`),
		sdk.Unsupported: SQL(sdk.IntentWrite, `SELECT count(*) FROM athena_items FOR UPDATE`),
	},
	Family: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_child_tags, athena_children, athena_profiles, athena_tags, athena_parents;
		CREATE TABLE athena_parents (id bigint PRIMARY KEY, name text, boss bigint REFERENCES athena_parents);
		CREATE TABLE athena_profiles (parent bigint PRIMARY KEY REFERENCES athena_parents, bio text);
		CREATE TABLE athena_children (id bigint PRIMARY KEY, name text, age bigint,
			parent bigint REFERENCES athena_parents, guardian bigint REFERENCES athena_parents);
		CREATE TABLE athena_tags (id bigint PRIMARY KEY, label text, weight bigint DEFAULT 3);
		CREATE TABLE athena_child_tags (child bigint REFERENCES athena_children, tag bigint REFERENCES athena_tags, PRIMARY KEY (child, tag))`)},
	Values: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_values;
		CREATE TABLE athena_values (id bigint PRIMARY KEY, tags text[], at timestamp, span int8range)`)},
	Deferred: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_deferred;
		CREATE TABLE athena_deferred (id bigint PRIMARY KEY, other bigint REFERENCES athena_deferred DEFERRABLE INITIALLY DEFERRED)`)},
	Functions: []sdk.Statement{SQL(sdk.IntentWrite, `
		CREATE OR REPLACE FUNCTION athena_add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
		CREATE OR REPLACE FUNCTION athena_pick(number int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'number'$$;
		CREATE OR REPLACE FUNCTION athena_pick(word text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'word'$$;
		CREATE OR REPLACE FUNCTION athena_total(VARIADIC list int[]) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT sum(n) FROM unnest(list) n';
		CREATE OR REPLACE FUNCTION athena_echo(json) RETURNS json LANGUAGE sql IMMUTABLE AS 'SELECT $1';
		CREATE OR REPLACE FUNCTION athena_letters(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
		CREATE OR REPLACE FUNCTION athena_write(id bigint, name text) RETURNS void LANGUAGE sql AS 'INSERT INTO athena_items (id, name) VALUES (id, name)';
		CREATE OR REPLACE FUNCTION athena_items_over(floor bigint) RETURNS SETOF athena_items LANGUAGE sql STABLE AS 'SELECT * FROM athena_items WHERE qty > floor'`)},
	Elsewhere: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP SCHEMA IF EXISTS athena_other CASCADE;
		CREATE SCHEMA athena_other;
		CREATE TABLE athena_other.athena_here (a text);
		INSERT INTO athena_other.athena_here VALUES ('here')`)},
	Role: []sdk.Statement{SQL(sdk.IntentWrite, `DO $$BEGIN CREATE ROLE athena_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END$$`)},
	ShowSession: read(`SELECT current_user::text AS role, current_setting('athena.who', true) AS who,
		current_setting('search_path') AS path, current_setting('TimeZone') AS zone`),
	ShowTx: read(`SELECT current_setting('transaction_isolation') AS isolation,
		current_setting('transaction_read_only') AS read_only, current_setting('transaction_deferrable') AS deferrable`),
	Headers:      read(`SELECT set_config('response.headers', '[{"X-Athena": "one"}, {"X-Athena": "two"}]', true), set_config('response.status', '202', true)`),
	Position:     read(`SELECT pg_current_wal_insert_lsn()::text AS position`),
	IDType:       "bigint",
	Plan:         map[string]string{"analyze": "Actual Rows", "verbose": "Output", "settings": "Settings", "buffers": "Shared Hit Blocks", "wal": "WAL Records"},
	ExactNumbers: true,
	Durable:      true,
	Details:      true,
	TellsNew:     true,
}

// PostGIS makes a table of places, with the extension.
var PostGIS = []sdk.Statement{SQL(sdk.IntentWrite, `
	CREATE EXTENSION IF NOT EXISTS postgis;
	DROP TABLE IF EXISTS athena_places;
	CREATE TABLE athena_places (id bigint PRIMARY KEY, name text, at geometry);
	INSERT INTO athena_places VALUES (1, 'One', ST_Point(1, 2)), (2, 'Two', ST_Point(3, 4.5))`)}

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
	Bytes:     echoBytes(`SELECT $1 AS data`),
	Kinds: map[sdk.Kind]sdk.Statement{
		sdk.NotFound: *read(`SELECT * FROM athena_missing`),
		sdk.Conflict: SQL(sdk.IntentWrite, `INSERT INTO athena_items (id, name) VALUES (1, 'a'), (1, 'b')`),
	},
	Family: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_child_tags;
		DROP TABLE IF EXISTS athena_children;
		DROP TABLE IF EXISTS athena_profiles;
		DROP TABLE IF EXISTS athena_tags;
		DROP TABLE IF EXISTS athena_parents;
		CREATE TABLE athena_parents (id INTEGER PRIMARY KEY, name TEXT, boss BIGINT REFERENCES athena_parents);
		CREATE TABLE athena_profiles (parent INTEGER PRIMARY KEY REFERENCES athena_parents, bio TEXT);
		CREATE TABLE athena_children (id INTEGER PRIMARY KEY, name TEXT, age BIGINT,
			parent BIGINT REFERENCES athena_parents, guardian BIGINT REFERENCES athena_parents);
		CREATE TABLE athena_tags (id INTEGER PRIMARY KEY, label TEXT, weight BIGINT DEFAULT 3);
		CREATE TABLE athena_child_tags (child BIGINT REFERENCES athena_children, tag BIGINT REFERENCES athena_tags, PRIMARY KEY (child, tag))`)},
	Values: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_values;
		CREATE TABLE athena_values (id INTEGER PRIMARY KEY, tags JSON, at TIMESTAMP)`)},
	Deferred: []sdk.Statement{SQL(sdk.IntentWrite, `
		DROP TABLE IF EXISTS athena_deferred;
		CREATE TABLE athena_deferred (id INTEGER PRIMARY KEY, other BIGINT REFERENCES athena_deferred DEFERRABLE INITIALLY DEFERRED)`)},
	IDType:   "integer",
	Durable:  true,
	TellsNew: true,
}

// memoryDialect is Memory's, with the tables of memoryConfigJSON.
var memoryDialect = Dialect{
	Prepare:      []sdk.Statement{{Verb: sdk.Delete, Table: itemsTable, AllowAll: true}},
	Numbers:      sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "numbers"}},
	Slow:         &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "slow"}},
	Panic:        &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "panic"}},
	Leak:         &sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "leak"}},
	TellsNew:     true,
	Kinds:        failing(),
	Family:       empty("athena_child_tags", "athena_children", "athena_profiles", "athena_tags", "athena_parents"),
	Values:       empty("athena_values"),
	ExactNumbers: true,
}

// failing are Memory's tables that fail.
func failing() map[sdk.Kind]sdk.Statement {
	statements := map[sdk.Kind]sdk.Statement{}
	for kind := sdk.Internal; kind <= sdk.Canceled; kind++ {
		statements[kind] = sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "fail_" + kind.String()}}
	}
	return statements
}

// empty deletes all rows of tables.
func empty(names ...string) []sdk.Statement {
	statements := make([]sdk.Statement, len(names))
	for i, name := range names {
		statements[i] = sdk.Statement{Verb: sdk.Delete, Table: sdk.Table{Name: name}, AllowAll: true}
	}
	return statements
}

const memoryConfigJSON = `{"database": "check", "token": "memory-canary-5f1d", "tables": {
	"athena_items": "id int key, name text required, code text unique, qty int, price number, active bool, made_at text, doc json",
	"athena_parents": "id int key, name text, boss int references athena_parents",
	"athena_profiles": "parent int key references athena_parents, bio text",
	"athena_children": "id int key, name text, age int, parent int references athena_parents, guardian int references athena_parents",
	"athena_tags": "id int key, label text, weight int default 3",
	"athena_child_tags": "child int references athena_children, tag int references athena_tags, key (child, tag)",
	"athena_values": "id int key, tags text[], at time"}}`

// MemoryTarget is a target for Memory backends, but for how to reach them.
func MemoryTarget() Target {
	return Target{Config: []byte(memoryConfigJSON), Dialect: memoryDialect}
}
