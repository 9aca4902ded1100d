package main

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Object ids that pgtype has no name for.
const int2vectorOID, oidvectorOID, voidOID = 22, 30, 2278

// typeInfo is a type as the server's pg_type describes it.
type typeInfo struct {
	oid      uint32
	name     string // as it may stand in a cast, with its schema unless that is pg_catalog
	encoding encoding
	class    sqlbuild.Class
	base     uint32  // of a domain: what it is made of; else oid
	reading  reading // when its values inside of a record can be read
	// asJSON: to_json makes an object of it (a composite, a type with a cast to json), or
	// an array of such; only the server can.
	asJSON bool
	record bool // a composite, or an array of such: only the server can read it from JSON
	enum   []string
	// notNull and defaultExpr are a domain's.
	notNull     bool
	defaultExpr string
}

// binaryForm is the form of the type's binary values when those are cheaper than text,
// else 0.
func (t *typeInfo) binaryForm(utc bool) form {
	switch t.oid {
	case pgtype.DateOID:
		return formDateBinary
	case pgtype.TimestampOID:
		return formTimeBinary
	case pgtype.TimestamptzOID:
		if utc {
			return formTimeUTC
		}
	case pgtype.UUIDOID:
		return formUUIDBinary
	case pgtype.ByteaOID:
		return formByteaBinary
	}
	return 0
}

// pgTypeRow is what readTypes reads of a type.
type pgTypeRow struct {
	oid, elem, base uint32 // elem: of an array
	kind, category  byte
	delim           byte
	jsonCast        bool
	notNull         bool
	name            string
	defaultExpr     string
	enum            []string
	// schema, short and comment are those of an enum or a domain.
	schema, short, comment string
}

const (
	typesSQL = `select t.oid, e.oid, t.typbasetype, t.typtype, t.typcategory, t.typdelim,
  t.oid >= 16384 and exists (select 1 from pg_catalog.pg_cast c where c.castsource = t.oid and c.casttarget = 'pg_catalog.json'::pg_catalog.regtype and c.castmethod = 'f'),
  t.typnotnull,
  case when n.nspname = 'pg_catalog' then pg_catalog.format_type(t.oid, -1)
    else pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(coalesce(e.typname, t.typname)) || case when e.oid is null then '' else '[]' end end,
  case when t.typtype = 'd' then pg_catalog.pg_get_expr(t.typdefaultbin, 0) end,
  case when t.typtype = 'e' then (select pg_catalog.json_agg(l.enumlabel order by l.enumsortorder) from pg_catalog.pg_enum l where l.enumtypid = t.oid) end,
  n.nspname, t.typname, case when t.typtype in ('d', 'e') then pg_catalog.obj_description(t.oid, 'pg_type') end
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_type e on e.oid = t.typelem and t.typlen = -1 and t.typcategory = 'A' and t.typtype = 'b'
`
	// A database has two types for each table, its row and an array of it, and few are
	// ever met.
	noRowTypes = `left join pg_catalog.pg_class r on r.oid = case when t.typtype = 'c' then t.typrelid else e.typrelid end
where r.oid is null or r.relkind = 'c'`

	theseTypes = `where t.oid = any($1)`
)

// readTypes reads the types of these ids and those that they are made of into rows;
// without ids, all but the row types of tables. Its errors are pgconn's.
func readTypes(pg *pgconn.PgConn, rows map[uint32]*pgTypeRow, ids []uint32) error {
	query, args := typesSQL+noRowTypes, [][]byte(nil)
	for {
		if len(ids) > 0 {
			query, args = typesSQL+theseTypes, [][]byte{oidArray(ids)}
		}
		var missing []uint32
		err := eachRow(pg, query, func(v [][]byte) {
			r := &pgTypeRow{
				oid: parseOID(v[0]), elem: parseOID(v[1]), base: parseOID(v[2]), kind: v[3][0], category: v[4][0], delim: v[5][0],
				jsonCast: isTrue(v[6]), notNull: isTrue(v[7]), name: string(v[8]), defaultExpr: string(v[9]),
			}
			if r.kind == 'e' || r.kind == 'd' {
				r.schema, r.short, r.comment = string(v[11]), string(v[12]), string(v[13])
			}
			if len(v[10]) > 0 {
				_ = json.Unmarshal(v[10], &r.enum) // the server's own JSON
			}
			rows[r.oid] = r
			missing = append(missing, r.elem, r.base)
		}, args...)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(missing, func(oid uint32) bool { return oid == 0 || rows[oid] != nil })
		if len(ids) == 0 {
			return nil
		}
	}
}

// oidArray is the text of an array of object ids.
func oidArray(ids []uint32) []byte {
	b := []byte{'{'}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(id), 10)
	}
	return append(b, '}')
}

// eachRow calls f with the text values of each row, valid during the call.
func eachRow(pg *pgconn.PgConn, sql string, f func(values [][]byte), args ...[]byte) error {
	rr := pg.ExecParams(context.Background(), sql, args, nil, nil, nil)
	for n := 1; rr.NextRow(); n++ {
		f(rr.Values())
		if n%yieldRows == 0 {
			runtime.Gosched()
		}
	}
	_, err := rr.Close()
	return err
}

func parseOID(b []byte) uint32 {
	n, _ := strconv.ParseUint(string(b), 10, 32) // the server's own output
	return uint32(n)
}

func isTrue(b []byte) bool { return len(b) > 0 && b[0] == 't' }

// resolveType decides as the server's json_categorize_type does: through domains, then
// arrays, composites and casts.
func resolveType(rows map[uint32]*pgTypeRow, oid uint32) *typeInfo {
	r := rows[oid]
	t := &typeInfo{oid: oid, name: r.name, defaultExpr: r.defaultExpr, notNull: r.notNull}
	for r.kind == 'd' && rows[r.base] != nil {
		r = rows[r.base]
		t.notNull = t.notNull || r.notNull
	}
	t.class, t.enum = classOf(r), r.enum
	t.base, t.reading = r.oid, readingOf(rows, r)
	switch {
	case r.oid == int2vectorOID:
		t.encoding = encoding{form: formVector, elem: &encoding{form: formInteger}}
	case r.oid == oidvectorOID:
		t.encoding = encoding{form: formVector, elem: &encoding{form: formPlain}}
	case rows[r.elem] != nil:
		elem := resolveType(rows, r.elem)
		t.asJSON, t.record = elem.asJSON, elem.record
		t.encoding = encoding{form: formArray, elem: &elem.encoding, delim: rows[r.elem].delim}
	case r.kind == 'c', r.oid == pgtype.RecordOID, r.oid == pgtype.RecordArrayOID:
		t.asJSON, t.record = true, true
	case r.jsonCast:
		t.asJSON = true
	default:
		t.encoding = encoding{form: textForm(r)}
	}
	return t
}

func textForm(r *pgTypeRow) form {
	switch r.oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return formInteger
	case pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		return formNumber
	case pgtype.BoolOID:
		return formBool
	case pgtype.JSONOID, pgtype.JSONBOID:
		return formJSON
	case pgtype.ByteaOID:
		return formBytea
	case pgtype.TimestampOID:
		return formTimestamp
	case pgtype.TimestamptzOID:
		return formTimestampTZ
	case pgtype.DateOID, pgtype.TimeOID, pgtype.TimetzOID, pgtype.IntervalOID, pgtype.UUIDOID, pgtype.OIDOID,
		pgtype.InetOID, pgtype.CIDROID, pgtype.MacaddrOID:
		return formPlain
	default:
		return formString
	}
}

func classOf(r *pgTypeRow) sqlbuild.Class {
	switch r.oid {
	case pgtype.UUIDOID:
		return sqlbuild.ClassUUID
	case pgtype.ByteaOID:
		return sqlbuild.ClassBytes
	case pgtype.JSONOID, pgtype.JSONBOID:
		return sqlbuild.ClassJSON
	case pgtype.TSVectorOID:
		return sqlbuild.ClassTSVector
	}
	switch r.category {
	case 'S':
		return sqlbuild.ClassText
	case 'N':
		return sqlbuild.ClassNumber
	case 'B':
		return sqlbuild.ClassBool
	case 'A':
		return sqlbuild.ClassArray
	case 'D':
		return sqlbuild.ClassTime
	default:
		return sqlbuild.ClassOther
	}
}
