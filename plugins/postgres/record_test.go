package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

const eventsSetup = `
create type level as enum ('low', 'high');
create table places (id int primary key, name text);
create table events (id int primary key, place_id int references places, at timestamptz, level level, note text);
insert into places values (1, 'here'), (2, 'there');
insert into events values (1, 1, '2024-01-01 00:00+00', 'low', 'a'), (2, 1, '2024-07-01 12:00+00', 'high', null)`

// places asks for places with their events.
func places(columns ...string) sdk.Statement {
	events := sdk.Item{Relation: &sdk.Relation{Target: "events", Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}}}}
	for _, name := range columns {
		events.Relation.Selection.Items = append(events.Relation.Selection.Items, sdk.Item{Column: sdk.Column{Name: name}})
	}
	return sdk.Statement{
		Verb: sdk.Select, Table: table("places"), Order: []sdk.Order{{Column: sdk.Column{Name: "id"}}},
		Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "id"}}, events}},
	}
}

// TestTimesInRelations: they show the session's time zone, wherever it comes from.
func TestTimesInRelations(t *testing.T) {
	const (
		utc       = `"2024-01-01T00:00:00+00:00"}, ` + "\n " + `{"at":"2024-07-01T12:00:00+00:00"`
		kathmandu = `"2024-01-01T05:45:00+05:45"}, ` + "\n " + `{"at":"2024-07-01T17:45:00+05:45"`
	)
	uri := testenv.Database(t, eventsSetup)
	for _, cache := range []string{"prepare", "off"} {
		for zone, own := range map[string]string{"UTC": utc, "Asia/Kathmandu": kathmandu} {
			db := openURI(t, withParam(t, uri, "timezone", zone), map[string]any{"statement_cache": cache})
			for range 2 {
				for _, c := range []struct {
					call sdk.Call
					want string
				}{
					{sdk.Call{Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("events")}}}, own},
					{sdk.Call{}, own},
					{sdk.Call{Session: sdk.Session{TimeZone: "UTC"}}, utc},
					{sdk.Call{Session: sdk.Session{TimeZone: "Asia/Kathmandu"}}, kathmandu},
					{sdk.Call{Session: sdk.Session{Settings: []sdk.Pair{{Name: "TimeZone", Value: "Asia/Kathmandu"}}}}, kathmandu},
					{sdk.Call{Session: sdk.Session{Settings: []sdk.Pair{{Name: "DateStyle", Value: "German"}}}}, own},
					{sdk.Call{Session: sdk.Session{TimeZone: "Asia/Kathmandu", Settings: []sdk.Pair{{Name: "datestyle", Value: "SQL"}}}}, kathmandu},
					{sdk.Call{Tx: sdk.Tx{Single: true, Isolation: sdk.RepeatableRead}}, own},
					{sdk.Call{Tx: sdk.Tx{Single: true}, Statements: []sdk.Statement{sqlText("set local timezone to 'Asia/Kathmandu'")}}, kathmandu},
				} {
					c.call.Statements = append(c.call.Statements[:len(c.call.Statements):len(c.call.Statements)], places("at"))
					answers := mustCall(t, db, &c.call)
					want := `[{"id":1,"events":[{"at":` + c.want + `}]},{"id":2,"events":[]}]`
					if got := answers[len(answers)-1].body; got != want {
						t.Errorf("%s, cache %s, %+v:\n got %s\nwant %s", zone, cache, c.call.Session, got, want)
					}
				}
			}
		}
	}
}

// TestRelationsOfChangedTables: what the catalogue does not know yet is learned, not shown
// wrongly.
func TestRelationsOfChangedTables(t *testing.T) {
	db := openTest(t, map[string]any{"max_connections": 1}, eventsSetup)
	other := func(sql string) {
		t.Helper()
		pg, err := pgconn.ConnectConfig(t.Context(), &db.pool.Config().ConnConfig.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer pg.Close(context.Background())
		if err := pg.Exec(t.Context(), sql).Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := places("id", "note")
	first := `[{"id":1,"events":[{"id":1,"note":"a"}, ` + "\n " + `{"id":2,"note":null}]},{"id":2,"events":[]}]`
	if got := must(t, db, s).body; got != first {
		t.Errorf("got %s", got)
	}
	other("alter table events alter id type bigint, alter note type level using 'high'")
	if got, want := must(t, db, s).body, strings.ReplaceAll(strings.ReplaceAll(first, `"a"`, `"high"`), "null", `"high"`); got != want {
		t.Errorf("got %s", got)
	}
	other("alter table events alter note type float8 using 1.5")
	fails(t, db, s, sdk.Unavailable, "catalogue_outdated")
	eventually(t, 10*time.Second, "the type is known", func() bool {
		a, err := execute(t.Context(), db, s)
		return err == nil && a.body == `[{"id":1,"events":[{"id":1,"note":1.5}, `+"\n "+`{"id":2,"note":1.5}]},{"id":2,"events":[]}]`
	})
	other("create type fresh as enum ('new'); alter table events alter note type fresh using 'new', add more int")
	eventually(t, 10*time.Second, "the new type is known", func() bool {
		a, err := execute(t.Context(), db, s)
		return err == nil && strings.Contains(a.body, `{"id":1,"note":"new"}`)
	})
	other("alter table events rename note to remark")
	fails(t, db, s, sdk.Invalid, "undefined_column")
	eventually(t, 10*time.Second, "the new name is known", func() bool {
		a, err := execute(t.Context(), db, places("remark"))
		return err == nil && strings.Contains(a.body, `[{"remark":"new"}`)
	})
}

// TestRelationsOfWrites returns rows with relations, in records and without prepared
// statements.
func TestRelationsOfWrites(t *testing.T) {
	uri := testenv.Database(t, eventsSetup)
	for i, cache := range []string{"prepare", "off"} {
		db := openURI(t, uri, map[string]any{"statement_cache": cache})
		s := places("level")
		s.Verb, s.Returning, s.Filter = sdk.Update, sdk.ReturnSelection, eq("id", "1")
		s.SetObject = []byte(`{"name":"moved"}`)
		s.Selection.Items = append(s.Selection.Items, sdk.Item{Column: sdk.Column{Name: "name"}})
		want := `[{"id":1,"events":[{"level":"low"}, ` + "\n " + `{"level":"high"}],"name":"moved"}]`
		for range 2 {
			if a := must(t, db, s); a.body != want || a.tail.Affected == nil || *a.tail.Affected != 1 {
				t.Errorf("%d: got %s", i, a.body)
			}
		}
	}
}

// TestRelationsOfFunctions: rows of functions have relations like those of tables.
func TestRelationsOfFunctions(t *testing.T) {
	db := openTest(t, nil, eventsSetup, `create function every_place() returns setof places language sql stable as 'select * from places order by id';
		create function one_place() returns places language sql stable as 'select * from places where id = 1'`)
	const here = `{"id":1,"events":[{"id":1,"place_id":{"name":"here"}}, ` + "\n " + `{"id":2,"place_id":{"name":"here"}}]}`
	s := places("id")
	events := &s.Selection.Items[1].Relation.Selection
	events.Items = append(events.Items, sdk.Item{Relation: &sdk.Relation{Target: "place_id", Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "name"}}}}}})
	s.Verb, s.Order = sdk.Function, nil
	for name, want := range map[string]string{"every_place": `[` + here + `,{"id":2,"events":[]}]`, "one_place": here} {
		for _, count := range []sdk.CountMode{sdk.CountNone, sdk.CountExact} {
			s.Function.Name, s.Count = name, count
			if got := must(t, db, s).body; got != want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, want)
			}
		}
	}
}

// recordOf is a record's binary form, of fields of types and values, nil for null.
func recordOf(fields ...any) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(fields)/2))
	for i := 0; i < len(fields); i += 2 {
		b = appendSized(binary.BigEndian.AppendUint32(b, uint32(fields[i].(int))), fields[i+1])
	}
	return b
}

// arrayOf is the binary form of an array of one dimension.
func arrayOf(oid int, elements ...any) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 1, 0, 0, 0, 1}, uint32(oid))
	b = binary.BigEndian.AppendUint32(b, uint32(len(elements)))
	b = append(b, 0, 0, 0, 1)
	for _, e := range elements {
		b = appendSized(b, e)
	}
	return b
}

func appendSized(b []byte, value any) []byte {
	v, _ := value.([]byte)
	if s, ok := value.(string); ok {
		v = []byte(s)
	}
	if v == nil {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// familyRecord is an array of records with a record in them, of many types, and its shape.
func familyRecord() (value []byte, shape *sqlbuild.Record, types map[uint32]*typeInfo) {
	known := map[uint32]*pgTypeRow{
		pgtype.Int4OID:      {oid: pgtype.Int4OID, kind: 'b'},
		pgtype.Int4ArrayOID: {oid: pgtype.Int4ArrayOID, kind: 'b', category: 'A', elem: pgtype.Int4OID},
		70000:               {oid: 70000, kind: 'e'},
		70001:               {oid: 70001, kind: 'd', base: 70000},
	}
	types = map[uint32]*typeInfo{}
	for oid := range known {
		types[oid] = resolveType(known, oid)
	}
	fields := func(names ...string) (list []sqlbuild.RecordField) {
		for _, name := range names {
			list = append(list, sqlbuild.RecordField{Key: []byte(`"` + name + `":`)})
		}
		return list
	}
	shape = &sqlbuild.Record{Fields: fields("id", "name", "at", "price", "ok", "list", "level", "doc", "none", "one")}
	shape.Fields[9].Record = &sqlbuild.Record{Fields: fields("x")}
	row := recordOf(pgtype.Int4OID, []byte{0, 0, 0, 7}, pgtype.TextOID, "a\"b", pgtype.TimestamptzOID, []byte{0, 2, 0xb0, 0x3c, 0x12, 0x34, 0x56, 0x78},
		pgtype.NumericOID, []byte{0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88}, pgtype.BoolOID, []byte{1},
		pgtype.Int4ArrayOID, arrayOf(pgtype.Int4OID, []byte{0xff, 0xff, 0xff, 0xff}, nil), 70001, "low", pgtype.JSONBOID, "\x01null", pgtype.DateOID, nil,
		pgtype.RecordOID, recordOf(pgtype.Int8OID, []byte{0, 0, 0, 0, 0, 0, 0, 1}))
	return arrayOf(pgtype.RecordOID, row, row), shape, types
}

func TestReadRecord(t *testing.T) {
	value, shape, types := familyRecord()
	const row = `{"id":7,"name":"a\"b","at":"2023-12-24T08:33:23.367544+00:00","price":-12.50,"ok":true,"list":[-1,null],"level":"low","doc":null,"none":null,"one":{"x":1}}`
	for strip, want := range map[bool]string{false: row, true: strings.Replace(row, `"doc":null,"none":null,`, "", 1)} {
		d := recordDecoder{types: types, utc: true, stripNulls: strip}
		got := string(d.array(nil, value, shape))
		if want = "[" + want + ", \n " + want + "]"; d.err != nil || got != want {
			t.Errorf("%v\n got %s\nwant %s", d.err, got, want)
		}
	}
	for cut := range value { // each is malformed
		d := recordDecoder{types: types, utc: true}
		if d.array(nil, value[:cut], shape); d.err == nil {
			t.Errorf("%d bytes of %d are taken for all", cut, len(value))
		}
	}
}

// FuzzRecord: what a server sends is read to its end or refused, and what is read is JSON.
func FuzzRecord(f *testing.F) {
	value, shape, types := familyRecord()
	f.Add(value, true)
	f.Add(value[20:], false)
	f.Add(arrayOf(pgtype.Int4ArrayOID, arrayOf(pgtype.Int4ArrayOID)), true)
	f.Fuzz(func(t *testing.T, src []byte, array bool) {
		d := recordDecoder{types: types, utc: true}
		read := d.record
		if array {
			read = d.array
		}
		if got := read(nil, src, shape); d.err == nil && !json.Valid(got) && !hasJSON(src) {
			t.Errorf("%q is no JSON", got)
		}
	})
}

// hasJSON reports whether the bytes may hold JSON of the server's own, which is not looked at.
func hasJSON(src []byte) bool {
	return strings.Contains(string(src), "\x00\x00\x00\x72") || strings.Contains(string(src), "\x00\x00\x0e\xda")
}

// BenchmarkRecords is BenchmarkEncode for 1,000 rows of 5 records.
func BenchmarkRecords(b *testing.B) {
	p, row, records := recordRow(5)
	rows := sdk.NewRows(sdk.ResultOptions{}, drop)
	b.ReportAllocs()
	for b.Loop() {
		p.describe(rows)
		for range 1000 {
			if err := p.write(rows, row, records); err != nil {
				b.Fatal(err)
			}
		}
		if err := rows.NextStatement(); err != nil {
			b.Fatal(err)
		}
	}
}

// recordRow is a row of an id and n records, and what is needed to write it.
func recordRow(n int) (*plan, [][]byte, *records) {
	known := map[uint32]*pgTypeRow{}
	types := map[uint32]*typeInfo{}
	fields := []pgconn.FieldDescription{{Name: "id", DataTypeOID: pgtype.Int8OID}, {Name: "parts", DataTypeOID: pgtype.RecordArrayOID}}
	for i := range fields {
		oid := fields[i].DataTypeOID
		known[oid] = &pgTypeRow{oid: oid, kind: 'b'}
		types[oid] = resolveType(known, oid)
	}
	shape := &sqlbuild.Record{}
	for _, name := range []string{"id", "name", "quantity", "made_at"} {
		shape.Fields = append(shape.Fields, sqlbuild.RecordField{Key: []byte(`"` + name + `":`)})
	}
	part := recordOf(pgtype.Int8OID, []byte{0, 0, 0, 0, 0, 0, 9, 7}, pgtype.TextOID, "part of an item", pgtype.Int4OID, []byte{0, 0, 0, 3},
		pgtype.TimestamptzOID, []byte{0, 2, 0xb0, 0x3c, 0x12, 0x34, 0x56, 0x78})
	parts := make([]any, n)
	for i := range parts {
		parts[i] = part
	}
	r := &records{shapes: []*sqlbuild.Record{nil, shape}, catalogues: &catalogues{}, utc: true}
	r.catalogues.current.Store(&catalogue{types: types})
	p, _ := newPlan(fields, types, true, true, true)
	return p, [][]byte{[]byte("17"), arrayOf(pgtype.RecordOID, parts...)}, r
}
