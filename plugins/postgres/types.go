package main

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// Object ids that pgtype has no name for.
const int2vectorOID, oidvectorOID = 22, 30

// typeInfo is a type as the server's pg_type describes it.
type typeInfo struct {
	oid      uint32
	name     string // as it may stand in a cast
	encoding encoding
	class    sqlbuild.Class
	// asJSON: to_json makes an object of it (a composite, a type with a cast to json), or
	// an array of such; only the server can.
	asJSON bool
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

// pgTypeRow is what loadTypes reads of a type.
type pgTypeRow struct {
	oid, elem, base uint32
	kind, category  byte
	array           bool // of elem
	delim           byte
	jsonCast        bool
	name            string
}

const typesSQL = `select t.oid, t.typelem, t.typbasetype, t.typtype, t.typcategory,
  t.typelem <> 0 and t.typlen = -1 and t.typcategory = 'A', t.typdelim,
  exists (select 1 from pg_catalog.pg_cast c where c.castsource = t.oid and c.casttarget = 'json'::regtype and c.castmethod = 'f' and t.oid >= 16384),
  pg_catalog.format_type(t.oid, -1)
from pg_catalog.pg_type t`

// loadTypes reads all types. Its errors are pgconn's.
func loadTypes(pg *pgconn.PgConn) (map[uint32]*typeInfo, error) {
	rows := map[uint32]*pgTypeRow{}
	err := eachRow(pg, typesSQL, func(v [][]byte) {
		r := &pgTypeRow{
			oid: parseOID(v[0]), elem: parseOID(v[1]), base: parseOID(v[2]), kind: v[3][0], category: v[4][0],
			array: v[5][0] == 't', delim: v[6][0], jsonCast: v[7][0] == 't', name: string(v[8]),
		}
		rows[r.oid] = r
	})
	if err != nil {
		return nil, err
	}
	types := make(map[uint32]*typeInfo, len(rows))
	for oid := range rows {
		types[oid] = resolveType(rows, oid)
	}
	return types, nil
}

// eachRow calls f with the text values of each row, valid during the call.
func eachRow(pg *pgconn.PgConn, sql string, f func(values [][]byte)) error {
	rr := pg.ExecParams(context.Background(), sql, nil, nil, nil, nil)
	for rr.NextRow() {
		f(rr.Values())
	}
	_, err := rr.Close()
	return err
}

func parseOID(b []byte) uint32 {
	n, _ := strconv.ParseUint(string(b), 10, 32) // the server's own output
	return uint32(n)
}

// resolveType decides as the server's json_categorize_type does: through domains, then
// arrays, composites and casts.
func resolveType(rows map[uint32]*pgTypeRow, oid uint32) *typeInfo {
	r := rows[oid]
	t := &typeInfo{oid: oid, name: r.name}
	for r.kind == 'd' && rows[r.base] != nil {
		r = rows[r.base]
	}
	t.class = classOf(r)
	switch {
	case r.oid == int2vectorOID:
		t.encoding = encoding{form: formVector, elem: &encoding{form: formInteger}}
	case r.oid == oidvectorOID:
		t.encoding = encoding{form: formVector, elem: &encoding{form: formPlain}}
	case r.array && rows[r.elem] != nil:
		elem := resolveType(rows, r.elem)
		t.asJSON = elem.asJSON
		t.encoding = encoding{form: formArray, elem: &elem.encoding, delim: rows[r.elem].delim}
	case r.kind == 'c', r.oid == pgtype.RecordOID, r.oid == pgtype.RecordArrayOID, r.jsonCast:
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
