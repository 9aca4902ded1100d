package main

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const benchSetup = `
create table inserts (id bigint generated always as identity primary key, name text, score float8);
create table bench (id int primary key, owner uuid not null, name text not null, score float8, price numeric, active bool, tags text[], created_at timestamptz);
insert into bench select i, ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'name of row ' || i, i / 7.0, i * 1.25, i % 2 = 0,
  array['tag' || i % 10, 'b'], timestamptz '2024-01-01 00:00:00+00' + i * interval '1.5 seconds' from generate_series(1, 1000) i;
analyze bench`

// drop is a reader that throws the answer away.
func drop(c *sdk.Chunk) error {
	sdk.FreeBody(c.Body)
	return nil
}

// BenchmarkEncode encodes 1,000 rows of 8 columns from values as they are on the wire. It
// allocates per result, not per row.
func BenchmarkEncode(b *testing.B) {
	p, row := mixedRow()
	rows := sdk.NewRows(sdk.ResultOptions{}, drop)
	b.ReportAllocs()
	for b.Loop() {
		p.describe(rows)
		for range 1000 {
			if err := p.write(rows, row, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := rows.NextStatement(); err != nil {
			b.Fatal(err)
		}
	}
}

// mixedRow is a row of common types on the wire, and the plan to write it.
func mixedRow() (*plan, [][]byte) {
	types := map[uint32]*typeInfo{}
	known := map[uint32]*pgTypeRow{}
	oids := []uint32{pgtype.Int4OID, pgtype.UUIDOID, pgtype.TextOID, pgtype.Float8OID, pgtype.NumericOID, pgtype.BoolOID, pgtype.TextArrayOID, pgtype.TimestamptzOID}
	fields := make([]pgconn.FieldDescription, len(oids))
	for i, oid := range oids {
		known[oid] = &pgTypeRow{oid: oid, kind: 'b', category: 'X'}
		if oid == pgtype.TextArrayOID {
			known[oid] = &pgTypeRow{oid: oid, kind: 'b', category: 'A', elem: pgtype.TextOID, delim: ','}
		}
		fields[i] = pgconn.FieldDescription{Name: "column_" + strconv.Itoa(i), DataTypeOID: oid}
	}
	for oid := range known {
		if r := known[oid]; r.elem != 0 {
			known[r.elem].delim = ','
		}
		types[oid] = resolveType(known, oid)
	}
	p, _ := newPlan(fields, types, true, true, false)
	return p, [][]byte{
		[]byte("123456"), []byte("0123456789abcdef"), []byte("a text of some length, as names are"), []byte("142857.142857143"),
		[]byte("1234.50"), []byte("t"), []byte(`{tag1,"with space"}`), {0, 2, 0xb0, 0x3c, 0x12, 0x34, 0x56, 0x78},
	}
}

func benchmarkStatement(b *testing.B, s sdk.Statement) {
	db := openURI(b, testenv.Database(b, benchSetup), map[string]any{"max_connections": 4})
	call := &sdk.Call{Statements: []sdk.Statement{s}}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	rows := sdk.NewRows(call.Result, drop)
	b.ReportAllocs()
	for b.Loop() {
		if err := db.Execute(ctx, call, rows); err != nil {
			b.Fatal(err)
		}
		if err := rows.NextStatement(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOneRowByKey(b *testing.B) {
	benchmarkStatement(b, sdk.Statement{Verb: sdk.Select, Table: table("bench"), Key: []sdk.Value{{Hint: sdk.Number, Text: "500"}}})
}

func BenchmarkThousandRows(b *testing.B) {
	benchmarkStatement(b, sdk.Statement{Verb: sdk.Select, Table: table("bench")})
}

func BenchmarkInsertOneRow(b *testing.B) {
	benchmarkStatement(b, sdk.Statement{
		Verb: sdk.Insert, Table: table("inserts"), Returning: sdk.ReturnSelection,
		Rows: sdk.Rowset{Payload: []byte(`{"name": "a name", "score": 1.5}`), Columns: []string{"name", "score"}},
	})
}
