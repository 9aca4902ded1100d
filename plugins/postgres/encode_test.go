package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const typesSetup = `
create type mood as enum ('sad', 'so "so"', 'NULL', 'a,b{}');
create domain positive as int check (value > 0);
create domain moods as mood[];
create type point3 as (x int, y text, "Z z" timestamptz);
create domain checked_point as point3;
create type floatrange2 as range (subtype = float8);
create extension hstore; create extension citext`

// expressions are values of all supported types, extremes among them.
var expressions = []string{
	"0::int2", "(-32768)::int2", "32767::int2", "(-2147483648)::int4", "2147483647::int4",
	"(-9223372036854775808)::int8", "9223372036854775807::int8", "4294967295::oid", "null::int",
	"1.5::float4", "'NaN'::float4", "'-Infinity'::float4", "3.4028235e38::float4", "1e-45::float4",
	"0.1::float8", "1e20::float8", "1e15::float8", "1e-5::float8", "123456789012345680::float8", "-0.0::float8", "'-0'::float8",
	"'Infinity'::float8", "'-Infinity'::float8", "'NaN'::float8", "1.7976931348623157e308::float8", "5e-324::float8",
	"0::numeric", "'NaN'::numeric", "'Infinity'::numeric", "'-Infinity'::numeric", "1.50::numeric(10,2)", "-0.000001::numeric",
	"(repeat('9', 1000) || '.' || repeat('8', 500))::numeric", "10::numeric ^ 200",
	"true", "false", "null::bool", "'12.34'::money",
	"''::text", "'plain'::text", "'quote \" backslash \\ slash / <>&'::text", `E'\b\f\n\r\t\x01\x1f\x7f'::text`, `E'\u00e9\u4e2d\U0001F600\u2028'::text`,
	"repeat('x', 7) || '\"' || repeat('y', 100)", "'abc'::varchar(5)", "'ab'::char(5)", "'name'::name", "'x'::\"char\"", "''::\"char\"", `'\377'::"char"`,
	"'CiText'::citext", "'sad'::mood", "'so \"so\"'::mood", "5::positive", "'<a b=\"c\">&amp;</a>'::xml",
	"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "'00000000-0000-0000-0000-000000000000'::uuid", "'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'::uuid",
	`E' {"a" :\n [1, 2.50, null, "\\u00e9"]}'::json`, `'{"b":1,"a":{"c":[1,2,{"d":null}]}}'::jsonb`, "'null'::jsonb", "'\"s\"'::json", "null::json",
	"'2024-02-29'::date", "'1999-12-31'::date", "'2000-01-01'::date", "'0001-01-01'::date", "'0001-12-31 BC'::date", "'4713-01-01 BC'::date", "'5874897-12-31'::date",
	"'infinity'::date", "'-infinity'::date", "'1900-02-28'::date", "'2100-03-01'::date", "'0044-03-15 BC'::date", "'9999-12-31'::date", "'10000-01-01'::date",
	"'12:34:56.789'::time", "'24:00'::time", "'00:00:00.000001'::time", "'12:00+05:30'::timetz", "'12:00:00.5-08'::timetz", "'12:00+05:30:15'::timetz",
	"'2024-01-01'::timestamp", "'2024-12-31 23:59:59.999999'::timestamp", "'2024-01-01 00:00:00.1'::timestamp", "'2024-01-01 00:00:00.000100'::timestamp",
	"'1999-12-31 23:59:59.5'::timestamp", "'0001-01-01 00:00:00 BC'::timestamp", "'4713-01-01 00:00:00 BC'::timestamp", "'294276-12-31 23:59:59.999999'::timestamp",
	"'infinity'::timestamp", "'-infinity'::timestamp", "'1969-07-20 20:17:40.000001'::timestamp",
	"'2024-01-01 00:00:00+00'::timestamptz", "'2024-07-01 12:00:00.25+00'::timestamptz", "'0044-03-15 12:00:00.5 BC'::timestamptz", "'1850-01-01 00:00:00+00'::timestamptz",
	"'infinity'::timestamptz", "'-infinity'::timestamptz", "'294276-12-31 00:00:00+00'::timestamptz",
	"'1 year 2 mons 3 days 04:05:06.789'::interval", "'-1 day +00:00:01'::interval", "'0'::interval", "'178000000 years'::interval",
	`'\x'::bytea`, `'\x00ff10275c22'::bytea`, "decode(repeat('ab', 300), 'hex')",
	"'192.168.0.1/24'::inet", "'::1'::inet", "'10.0.0.0/8'::cidr", "'08:00:2b:01:02:03'::macaddr", "'08:00:2b:01:02:03:04:05'::macaddr8",
	"'(1,2)'::point", "'((1,2),(3,4))'::box", "'<(1,2),3>'::circle", "'[(1,2),(3,4)]'::path", "B'1010'", "'101'::varbit", "'1 2 3'::int2vector", "''::int2vector", "'1 2'::oidvector",
	"'fat & rat'::tsquery", "'a:1 b:2'::tsvector", "'pg_class'::regclass", "'16/B374D848'::pg_lsn", "'(0,1)'::tid", "'1'::xid",
	"'[1,5)'::int4range", "'empty'::int8range", "'(,\"2024-01-01\"]'::daterange", "'[1.5,\"2\"]'::numrange", "'{[1,3),[5,7)}'::int4multirange", "'[1,2)'::floatrange2",
	"'{}'::int[]", "'{1,NULL,-3}'::int[]", "'{{1,2},{3,NULL}}'::int8[]", "'[2:3]={1,2}'::int[]", "'[-1:0][5:6]={{1,2},{3,4}}'::int2[]", "'{{{1}},{{2}}}'::int[]", "null::int[]",
	"'{1.5,NaN,Infinity}'::float8[]", "'{1.50,NaN}'::numeric[]", "'{t,f,NULL}'::bool[]",
	`array['a', 'b c', '', 'NULL', null, 'null', 'q"q', E'b\\s', '{x}', 'y,z', E'new\nline', 'é']`, "'{}'::text[]", "array[array['a','b'],array['c,d',null]]",
	"array['sad', 'so \"so\"', 'NULL', 'a,b{}', null]::mood[]", "array['sad']::moods", "array[1,2]::positive[]", "array['A','b']::citext[]",
	"array['2024-01-01', null, 'infinity', '0044-03-15 BC']::date[]", "array['2024-01-01 10:00', 'infinity', null]::timestamp[]", "array['2024-01-01 10:00+00', '0044-03-15 12:00:00 BC']::timestamptz[]",
	"array['12:00', null]::time[]", "array['1 day 01:00', null]::interval[]",
	"array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null]::uuid[]", `array['\x00ff', '\x', null]::bytea[]`,
	`array['{"a": "b\"c\\d"}', 'null', null, '[1, 2]']::json[]`, `array['{"a":"b"}', '"x"', null]::jsonb[]`, "array['(1,2)', null]::point[]", "'{(1,2),(3,4);(1,2),(3,4)}'::box[]",
	"array['[1,5)', 'empty']::int4range[]", "array['192.168.0.1/24']::inet[]", "array['ab', 'c']::char(3)[]", "array['x']::\"char\"[]", "array['n']::name[]", "array[1,2]::oid[]", "array['1 2','3']::int2vector[]", `'{"{sad,\"NULL\"}",NULL}'::moods[]`,
}

// TestValuesEqualToJSON holds the encoder to PostgreSQL's own to_json: with the text
// forms (SQL without arguments), with the binary ones (with arguments), and for a
// table's columns, in several time zones.
func TestValuesEqualToJSON(t *testing.T) {
	uri := testenv.Database(t, typesSetup)
	for _, zone := range []string{"UTC", "America/New_York", "Asia/Kolkata", "Africa/Monrovia"} {
		t.Run(zone, func(t *testing.T) {
			db := openURI(t, withParam(t, uri, "timezone", zone), nil)
			for _, expression := range expressions {
				query := fmt.Sprintf("select %s as v, to_json(%s)::text as j", expression, expression)
				compareToJSON(t, expression, must(t, db, sqlText(query)).body)
				query += " where $1::text = 'x'"
				compareToJSON(t, expression+" (prepared)", must(t, db, sqlText(query, text("x"))).body)
			}
		})
	}
}

func compareToJSON(t *testing.T, what, body string) {
	t.Helper()
	var rows []struct {
		V json.RawMessage
		J *string
	}
	if err := json.Unmarshal([]byte(body), &rows); err != nil || len(rows) != 1 {
		t.Errorf("%s: %v in %s", what, err, body)
		return
	}
	want := "null"
	if rows[0].J != nil {
		want = strings.TrimSpace(*rows[0].J) // json.RawMessage has no blanks around
	}
	if got := string(rows[0].V); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// TestTableColumnsEqualToJSON is the same for the columns of tables, where composites and
// types with a cast to json are the server's work.
func TestTableColumnsEqualToJSON(t *testing.T) {
	more := append([]string{
		"row(1, 'a\"b', '2024-01-01 00:00+00')::point3", "row(null, null, null)::point3", "row(1, 'x', null)::checked_point",
		"array[row(1, 'a', null)::point3, null]", `'a=>1, "b c"=>NULL'::hstore`, "array['a=>1']::hstore[]",
	}, expressions...)
	var columns []string
	for i, e := range more {
		columns = append(columns, fmt.Sprintf("%s as c%d", e, i))
	}
	db := openTest(t, nil, typesSetup, "create table all_types as select "+strings.Join(columns, ", "))
	got := must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("all_types")}).body
	want := must(t, db, sqlText("select to_json(a)::text as j from all_types a")).body
	var rows []struct{ J string }
	if err := json.Unmarshal([]byte(want), &rows); err != nil {
		t.Fatal(err)
	}
	if got != "["+rows[0].J+"]" {
		t.Errorf("got %s\nwant [%s]", got, rows[0].J)
	}
}

func FuzzArray(f *testing.F) {
	for _, seed := range []string{"{}", "{1,NULL}", `{"a\"b",{}}`, "[2:3]={1,2}", `{"`, `{"\`, "[", "}{"} {
		f.Add(seed, byte(','))
	}
	f.Fuzz(func(t *testing.T, s string, delim byte) {
		for _, elem := range []form{formString, formInteger, formTimestampTZ, formJSON} {
			appendArray(nil, []byte(s), &encoding{form: elem}, delim) // must end
		}
	})
}

func FuzzTimestampText(f *testing.F) {
	for _, seed := range []string{"2024-01-01 00:00:00+00", "infinity", "0044-03-15 12:00:00.5+00 BC", " ", "+00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) { appendTimestampText(nil, []byte(s), true) })
}
