package main

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// userSchemas is a condition on a schema n. The servers' own, temporary ones and toast
// tables are left out.
const userSchemas = `n.nspname <> 'information_schema' and n.nspname !~ '^pg_'`

// userTables is a condition on a pg_class c, without its schema.
const userTables = `c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition`

const userNamespaces = `(select n.oid from pg_catalog.pg_namespace n where ` + userSchemas + `)`

// updatable tells what may be done with a view: 4 update, 8 insert, 16 delete. It fails
// when a foreign table below the view is broken.
const updatable = `pg_catalog.pg_relation_is_updatable(c.oid, true)`

const (
	// Rights count only in a schema that may be used. What a table shows of itself may
	// change with others by inheritance and rules.
	tablesSQL = `select c.oid, n.nspname, c.relname, c.relkind, c.reltype,
  case when c.relkind = 'v' or c.relkind = 'f' and exists (select 1 from pg_catalog.pg_foreign_table f join pg_catalog.pg_foreign_server s on s.oid = f.ftserver
      join pg_catalog.pg_foreign_data_wrapper w on w.oid = s.srvfdw where f.ftrelid = c.oid and w.fdwhandler <> 0)
    then ` + updatable + ` when c.relkind in ('m', 'f') then 0 else 28 end,
  case when pg_catalog.has_schema_privilege(n.oid, 'usage') then
    pg_catalog.has_any_column_privilege(c.oid, 'select')::int + 2 * pg_catalog.has_any_column_privilege(c.oid, 'insert')::int +
    4 * pg_catalog.has_any_column_privilege(c.oid, 'update')::int + 8 * pg_catalog.has_table_privilege(c.oid, 'delete')::int end,
  c.relkind not in ('r', 'p') or c.relhasrules or c.relkind = 'r' and (c.relhassubclass or exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = c.oid)),
  d.description
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_description d on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
where ` + userTables + ` and ` + userSchemas + `
order by c.oid`

	commentsSQL = `select d.objoid, d.objsubid, d.description from pg_catalog.pg_description d
where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid > 0 and d.objoid >= 16384`

	// A generated column's expression is no default. Defaults that read the same are put
	// into words once: that takes long, and many tables are made alike. No table is named
	// for the words: a default refers to no column, a table named would be locked, and one
	// dropped since the snapshot would leave its defaults without words.
	defaultsSQL = `with texts as materialized (select d.adbin::text as expression, min(d.oid) as id from pg_catalog.pg_attrdef d
  join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum where a.attgenerated = '' group by 1),
words as materialized (select t.expression, pg_catalog.pg_get_expr(d.adbin, 0) as words from texts t join pg_catalog.pg_attrdef d on d.oid = t.id)
select d.adrelid, d.adnum, w.words from pg_catalog.pg_attrdef d join words w on w.expression = d.adbin::text`

	columnsSQL = `select a.attrelid, a.attnum, a.attname, a.atttypid, a.attnotnull, a.attgenerated <> '', a.attidentity <> '', a.atthasdef
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
where a.attnum > 0 and not a.attisdropped and ` + userTables + ` and c.relnamespace in ` + userNamespaces + `
order by a.attrelid, a.attnum`

	keysSQL = `select i.indrelid, i.indisprimary, pg_catalog.array_to_string(i.indkey[0:i.indnkeyatts - 1], ' ')
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid
where i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null and ` + userTables + ` and c.relnamespace in ` + userNamespaces + `
order by i.indrelid, i.indexrelid`

	// What a write causes elsewhere: triggers, on a partition too, and keys that refer to a
	// partition.
	effectsSQL = `select coalesce(pg_catalog.pg_partition_root(t.tgrelid)::oid, t.tgrelid)
from pg_catalog.pg_trigger t where not t.tgisinternal and t.tgenabled <> 'D'
union
select pg_catalog.pg_partition_root(k.confrelid)::oid from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.confrelid
where k.contype = 'f' and k.conparentid = 0 and c.relispartition and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))`

	// A load leaves the server's other processors to the requests.
	beginSQL = `begin isolation level repeatable read read only; set local statement_timeout = 0; set local jit = off;
set local work_mem = '32MB'; set local max_parallel_workers_per_gather = 0`

	geoJSONSQL = `select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(p.proname)
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.proname = 'st_asgeojson' and p.proargtypes[0] = 'pg_catalog.record'::pg_catalog.regtype limit 1`
)

// loader reads a catalogue in one snapshot. Its errors are pgconn's.
type loader struct {
	pg    *pgconn.PgConn
	known *catalogue // the one before; may be nil
	// trusting takes all views for writable: the server cannot say which are.
	trusting bool
	c        *catalogue

	types     map[uint32]*pgTypeRow
	defaults  map[columnKey]string
	relations []relation // in the order of their ids
	names     map[string]string
	lists     map[uint64][]sqlbuild.Column // by hash: tables of the same columns share them
	hash      maphash.Hash
}

// relation is a table, with what is only needed while loading.
type relation struct {
	*sqlbuild.Table
	oid, rowType uint32
	attnums      []int16 // of Columns
}

// begin starts the transaction and reads the mark.
func (l *loader) begin() error {
	l.c = &catalogue{}
	err := l.pg.Exec(context.Background(), beginSQL).Close()
	if err != nil {
		return err
	}
	return eachRow(l.pg, markSQL, func(v [][]byte) {
		l.c.mark = string(v[0])
		_ = json.Unmarshal(v[1], &l.c.Path) // the server's own JSON
	})
}

// load reads what begin has not. Without a search path, names in default expressions have
// their schemas.
func (l *loader) load() error {
	l.c.Tables = map[sdk.Table]*sqlbuild.Table{}
	l.c.Functions = map[sdk.Table][]*sqlbuild.Function{}
	l.c.types = map[uint32]*typeInfo{}
	l.types, l.names, l.lists = map[uint32]*pgTypeRow{}, map[string]string{}, map[uint64][]sqlbuild.Column{}
	if err := l.pg.Exec(context.Background(), "set local search_path = ''").Close(); err != nil {
		return err
	}
	for _, step := range []func() error{
		l.readDefaults, l.readTypes, l.readTables, l.readColumns, l.readKeys, l.readEffects, l.readForeignKeys, l.readFunctions, l.readGeoJSON,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	l.c.dialects = dialects(l.c.types)
	return l.pg.Exec(context.Background(), "commit").Close()
}

// readDefaults reads the words of defaults. It comes first: the server puts them into words
// by the functions and types that are there now, not by the snapshot's.
func (l *loader) readDefaults() error {
	l.defaults = map[columnKey]string{}
	return eachRow(l.pg, defaultsSQL, func(v [][]byte) {
		l.defaults[columnKey{parseOID(v[0]), int16(parseOID(v[1]))}] = l.intern(v[2])
	})
}

// readTypes reads all types but those of tables' rows.
func (l *loader) readTypes() error {
	if err := l.learn(nil); err != nil {
		return err
	}
	for _, r := range l.types {
		t := sdk.SchemaType{Schema: r.schema, Name: r.short, Comment: r.comment}
		switch {
		case r.schema == "" || r.schema == "information_schema" || strings.HasPrefix(r.schema, "pg_"):
			continue
		case r.kind == 'e':
			t.Kind, t.Values = sdk.KindEnum, r.enum
		case l.types[r.base] != nil:
			t.Kind, t.Base = sdk.KindDomain, l.types[r.base].name
		}
		l.c.named = append(l.c.named, t)
	}
	return nil
}

// learn reads these types too.
func (l *loader) learn(ids []uint32) error {
	if err := readTypes(l.pg, l.types, ids); err != nil {
		return err
	}
	for oid := range l.types {
		if l.c.types[oid] == nil {
			l.c.types[oid] = resolveType(l.types, oid)
		}
	}
	return nil
}

var (
	allPrivileges = []string{"select", "insert", "update", "delete"}
	tableKinds    = map[byte]sqlbuild.TableKind{'v': sqlbuild.View, 'm': sqlbuild.MaterializedView, 'f': sqlbuild.ForeignTable}
)

func (l *loader) readTables() error {
	var privileges [16][]string
	for mask := range privileges {
		for i, name := range allPrivileges {
			if mask&(1<<i) != 0 {
				privileges[mask] = append(privileges[mask], name)
			}
		}
	}
	query := tablesSQL
	if l.trusting {
		query = strings.Replace(query, updatable, "28", 1)
	}
	var block []sqlbuild.Table
	return eachRow(l.pg, query, func(v [][]byte) {
		if len(block) == 0 {
			block = make([]sqlbuild.Table, min(max(8, len(l.relations)), 512))
		}
		t := &block[0]
		block = block[1:]
		events, granted := parseOID(v[5]), parseOID(v[6])
		*t = sqlbuild.Table{
			Schema: l.intern(v[1]), Name: string(v[2]), Kind: tableKinds[v[3][0]], Partitioned: v[3][0] == 'p', Comment: string(v[8]),
			Updatable: events&4 != 0, Insertable: events&8 != 0, Deletable: events&16 != 0,
			Privileges: privileges[granted&15], Effects: isTrue(v[7]),
		}
		l.c.Tables[sdk.Table{Schema: t.Schema, Name: t.Name}] = t
		l.relations = append(l.relations, relation{Table: t, oid: parseOID(v[0]), rowType: parseOID(v[4])})
	})
}

// relation returns the table of an id, nil when it is none of the catalogue's.
func (l *loader) relation(oid uint32) *relation {
	i := sort.Search(len(l.relations), func(i int) bool { return l.relations[i].oid >= oid })
	if i == len(l.relations) || l.relations[i].oid != oid {
		return nil
	}
	return &l.relations[i]
}

// intern is string(b), once for equal ones.
func (l *loader) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	s, ok := l.names[string(b)]
	if !ok {
		s = string(b)
		l.names[s] = s
	}
	return s
}

// columnKey names a column during a load.
type columnKey struct {
	table uint32
	num   int16
}

func (l *loader) readColumns() error {
	comments := map[columnKey]string{}
	err := eachRow(l.pg, commentsSQL, func(v [][]byte) {
		comments[columnKey{parseOID(v[0]), int16(parseOID(v[1]))}] = string(v[2])
	})
	if err != nil {
		return err
	}
	var (
		columns []sqlbuild.Column // of the table of the row before
		nums    []int16           // of all tables
		unknown = map[uint32][]*sqlbuild.Column{}
		ids     []uint32 // of the types of columns
		table   uint32
	)
	finish := func() {
		if r := l.relation(table); r != nil {
			r.Columns = l.share(columns)
			r.attnums = nums[len(nums)-len(columns):]
			for i, id := range ids {
				if l.types[id] == nil {
					unknown[id] = append(unknown[id], &r.Columns[i])
				}
			}
		}
		columns, ids = columns[:0], ids[:0]
	}
	err = eachRow(l.pg, columnsSQL, func(v [][]byte) {
		if oid := parseOID(v[0]); oid != table {
			finish()
			table = oid
		}
		num, id := int16(parseOID(v[1])), parseOID(v[3])
		c := sqlbuild.Column{
			Name: l.intern(v[2]), Nullable: !isTrue(v[4]), Generated: isTrue(v[5]), HasDefault: isTrue(v[6]) || isTrue(v[7]),
			Default: l.defaults[columnKey{table, num}], Comment: comments[columnKey{table, num}],
		}
		if info := l.c.types[id]; info != nil {
			setType(&c, info)
		} else {
			c.Type = string(v[3]) // until it is learned: columns of different types are not equal
		}
		columns, nums, ids = append(columns, c), append(nums, num), append(ids, id)
	})
	if err != nil {
		return err
	}
	finish()
	return l.setUnknown(unknown)
}

// setUnknown sets the types of columns, by their ids, that were not among the first ones.
func (l *loader) setUnknown(columns map[uint32][]*sqlbuild.Column) error {
	if len(columns) == 0 {
		return nil
	}
	err := l.learn(slices.Collect(maps.Keys(columns)))
	for id, list := range columns {
		for _, c := range list {
			c.Type = ""
			if info := l.c.types[id]; info != nil {
				setType(c, info)
			}
		}
	}
	return err
}

// setType sets what a column has from its type. A domain's default serves a column that
// has none of its own.
func setType(c *sqlbuild.Column, t *typeInfo) {
	c.Type, c.Class, c.AsJSON, c.Enum = t.name, t.class, t.asJSON, t.enum
	c.Nullable = c.Nullable && !t.notNull
	if t.defaultExpr != "" && !c.HasDefault {
		c.HasDefault, c.Default = true, t.defaultExpr
	}
}

// share returns a copy of a table's columns, the same for tables whose columns are equal.
func (l *loader) share(columns []sqlbuild.Column) []sqlbuild.Column {
	l.hash.Reset()
	for i := range columns {
		for _, s := range [...]string{columns[i].Name, columns[i].Type, columns[i].Default, columns[i].Comment} {
			_, _ = l.hash.WriteString(s)
			_ = l.hash.WriteByte(0)
		}
		if columns[i].Nullable {
			_ = l.hash.WriteByte(1)
		}
	}
	sum := l.hash.Sum64()
	shared := l.lists[sum]
	if !slices.EqualFunc(shared, columns, sameColumn) || len(columns) == 0 {
		shared = slices.Clone(columns)
		l.lists[sum] = shared
	}
	return shared
}

// sameColumn compares columns of one load, where equal types have one list of values.
func sameColumn(a, b sqlbuild.Column) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Default == b.Default && a.Comment == b.Comment &&
		a.Nullable == b.Nullable && a.HasDefault == b.HasDefault && a.Generated == b.Generated
}

func (l *loader) readKeys() error {
	return eachRow(l.pg, keysSQL, func(v [][]byte) {
		r := l.relation(parseOID(v[0]))
		if r == nil {
			return
		}
		switch names := r.named(numbers(v[2])); {
		case len(names) == 0:
		case isTrue(v[1]):
			r.Key = names
		default:
			r.Unique = append(r.Unique, names)
		}
	})
}

func (l *loader) readEffects() error {
	return eachRow(l.pg, effectsSQL, func(v [][]byte) {
		if r := l.relation(parseOID(v[0])); r != nil {
			r.Effects = true
		}
	})
}

func (l *loader) readGeoJSON() error {
	return eachRow(l.pg, geoJSONSQL, func(v [][]byte) { l.c.GeoJSON = string(v[0]) })
}
