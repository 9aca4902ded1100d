package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

const diffSetup = typesSetup + `;
create type textrange as range (subtype = text);
create domain paragraph as text;
create domain positives as positive[];
create domain doc as jsonb;
create domain bits as bytea;
create domain moment as timestamptz;
create type nested as (p point3, tags text[], m mood, inner_domain checked_point, js json);
create table kept (id int primary key, note text, at timestamptz);
create table owners (id int primary key)`

// generator makes random literals of PostgreSQL's types.
type generator struct{ *rand.Rand }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

// quote writes a string constant.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (g generator) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + g.IntN(10))
	}
	return string(b)
}

// text is any text but NUL, of up to 40 characters.
func (g generator) text() string {
	nasty := []rune("\"\\'{}()[],;: \t\n\r\b\f\x01\x1f\x7f/<>&éß中\U0001F600\U0010FFFF\u2028\uFFFD\uFEFFNULaz09.-+")
	var b strings.Builder
	for range g.IntN(3) * g.IntN(20) {
		b.WriteRune(nasty[g.IntN(len(nasty))])
	}
	return g.pick(b.String(), b.String(), "plain text of some length "+b.String(), "NULL", "null", "", " ", `\.`, `\N`, `""`)
}

func (g generator) integer(bits int) string {
	n := int64(g.Uint64()) >> (64 - bits) >> g.IntN(bits)
	return fmt.Sprint(n)
}

func (g generator) float(special ...string) string {
	if g.IntN(4) == 0 {
		return g.pick(append(special, "NaN", "Infinity", "-Infinity", "-0", "0", "1e15", "1e-5", "0.1", "123456789012345678", "0.30000000000000004")...)
	}
	return fmt.Sprintf("%s%se%d", g.pick("", "-"), "1."+g.digits(1+g.IntN(18)), g.IntN(70)-35)
}

func (g generator) numeric() string {
	switch g.IntN(6) {
	case 0:
		return g.pick("NaN", "Infinity", "-Infinity", "0", "0.00", "-0.000001", "1e-20", "1e300")
	case 1:
		return g.pick("", "-") + "1" + g.digits(g.IntN(1500)) + "." + g.digits(1+g.IntN(1000))
	default:
		return g.pick("", "-") + g.digits(1+g.IntN(20)) + g.pick("", "."+g.digits(1+g.IntN(20)))
	}
}

func (g generator) date() string {
	switch g.IntN(8) {
	case 0:
		return g.pick("infinity", "-infinity", "epoch", "4713-01-01 BC", "0001-12-31 BC", "0001-01-01", "2000-02-29", "1999-12-31")
	case 1:
		return fmt.Sprintf("%04d-%02d-%02d BC", 1+g.IntN(4000), 1+g.IntN(12), 1+g.IntN(28))
	case 2:
		return fmt.Sprintf("%d-%02d-%02d", 10000+g.IntN(200000), 1+g.IntN(12), 1+g.IntN(28))
	default:
		return fmt.Sprintf("%04d-%02d-%02d", 1+g.IntN(2400), 1+g.IntN(12), 1+g.IntN(28))
	}
}

func (g generator) clock() string {
	return fmt.Sprintf("%02d:%02d:%02d%s", g.IntN(24), g.IntN(60), g.IntN(60), g.pick("", "", ".5", ".000001", ".999999", ".12", "."+g.digits(6)))
}

func (g generator) zone() string {
	return g.pick("+00", "-08", "+05:45", "-03:30", "+14", "-00:01:15", fmt.Sprintf("+%02d:%02d:%02d", g.IntN(14), g.IntN(60), g.IntN(60)))
}

// timestamp is a date with a time of day, and a zone if that is not empty.
func (g generator) timestamp(zone string) string {
	date, bc := strings.CutSuffix(g.date(), " BC")
	if strings.ContainsAny(date, "yh") { // infinity, epoch
		return date
	}
	text := date + " " + g.clock() + zone
	if bc {
		text += " BC"
	}
	return text
}

func (g generator) interval() string {
	return fmt.Sprintf("%d years %d mons %d days %d:%02d:%02d%s", g.IntN(20)-10, g.IntN(24)-12, g.IntN(60)-30, g.IntN(200)-100, g.IntN(60), g.IntN(60), g.pick("", ".5", ".000001"))
}

func (g generator) json(depth int) string {
	space := g.pick("", "", " ", "\n\t")
	switch n := g.IntN(8); {
	case n < 2 && depth < 4:
		return "{" + space + string(sdk.AppendString(nil, strings.ReplaceAll(g.text(), "\x00", ""))) + ":" + space + g.json(depth+1) + space + "}"
	case n < 4 && depth < 4:
		return "[" + g.json(depth+1) + "," + space + g.json(depth+1) + "]"
	case n == 4:
		return g.pick("null", "true", "false", "[]", "{}", `"é\n"`)
	case n == 5:
		return string(sdk.AppendString(nil, g.text()))
	default:
		return g.pick("", "-") + "1" + g.digits(g.IntN(25)) + g.pick("", ".50", "e10")
	}
}

func (g generator) bytea() string {
	b := make([]byte, g.IntN(2)*g.IntN(40))
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return fmt.Sprintf(`\x%x`, b)
}

func (g generator) point() string { return "(" + g.float("1") + "," + g.float("2") + ")" }

func (g generator) uuid() string {
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", g.Uint32(), g.IntN(1<<16), g.IntN(1<<16), g.IntN(1<<16), g.Uint64()>>16)
}

func (g generator) lexemes() string {
	return strings.Trim(g.pick("a", "fat cat", "b:1A,2 c", "x:16383"), " ")
}

// scalars make a constant's text by type. Ranges and arrays are made of them.
var scalars = map[string]func(generator) string{
	"bool": func(g generator) string { return g.pick("t", "f") },
	"int2": func(g generator) string { return g.integer(16) }, "int4": func(g generator) string { return g.integer(32) },
	"int8": func(g generator) string { return g.integer(64) }, "oid": func(g generator) string { return fmt.Sprint(g.Uint32()) },
	"float4":  func(g generator) string { return g.float("3e38", "1e-45", "16777217") },
	"float8":  func(g generator) string { return g.float("1e308", "5e-324") },
	"numeric": generator.numeric, "money": func(g generator) string { return g.pick("", "-") + g.digits(1+g.IntN(12)) + "." + g.digits(2) },
	"text": generator.text, "varchar(60)": generator.text, "char(70)": generator.text, "citext": generator.text,
	"name": generator.text, `"char"`: func(g generator) string { return g.pick("", "x", `"`, `\`, `\001`, `\377`, ",") },
	"mood":      func(g generator) string { return g.pick("sad", `so "so"`, "NULL", "a,b{}") },
	"paragraph": generator.text, "positive": func(g generator) string { return "1" + g.digits(g.IntN(5)) },
	"doc": func(g generator) string { return g.json(0) }, "bits": generator.bytea, "moment": func(g generator) string { return g.timestamp(g.zone()) },
	"json": func(g generator) string { return g.pick("", " ", "\n") + g.json(0) + g.pick("", " ") }, "jsonb": func(g generator) string { return g.json(0) },
	"jsonpath": func(g generator) string { return g.pick(`$."a b"[*] ? (@.x > 1)`, "$", "strict $.a") },
	"date":     generator.date, "time": generator.clock, "timetz": func(g generator) string { return g.clock() + g.zone() },
	"timestamp": func(g generator) string { return g.timestamp("") }, "timestamptz": func(g generator) string { return g.timestamp(g.zone()) },
	"timestamp(2)": func(g generator) string { return g.timestamp("") }, "interval": generator.interval,
	"bytea": generator.bytea, "uuid": generator.uuid,
	"inet": func(g generator) string {
		return g.pick("10.1.2.3", "10.0.0.0/8", "::1", "fe80::1/64", "255.255.255.255/0")
	},
	"cidr":    func(g generator) string { return g.pick("10.0.0.0/8", "::/0", "192.168.1.0/24") },
	"macaddr": func(g generator) string { return "08:00:2b:01:02:" + g.digits(2) }, "macaddr8": func(g generator) string { return "08:00:2b:01:02:03:04:" + g.digits(2) },
	"bit(5)": func(g generator) string { return g.pick("00000", "10101") }, "varbit": func(g generator) string { return g.pick("", "1", "010101") },
	"point": generator.point, "box": func(g generator) string { return g.point() + "," + g.point() }, "lseg": func(g generator) string { return "[" + g.point() + "," + g.point() + "]" },
	"line": func(g generator) string { return "{1,-2,3.5}" }, "circle": func(g generator) string { return "<" + g.point() + "," + g.digits(2) + ">" },
	"path": func(g generator) string { return g.pick("[(1,2),(3,4)]", "("+g.point()+","+g.point()+")") }, "polygon": func(g generator) string { return "(" + g.point() + "," + g.point() + ")" },
	"tsvector": generator.lexemes, "tsquery": func(g generator) string { return g.pick("a & b", "'x y' | !z:*A", "") },
	"xml": func(g generator) string { return g.pick(`<a b="c">&amp;</a>`, "text", "<é/>\n<x/>") }, "pg_lsn": func(g generator) string { return g.pick("0/0", "16/B374D848") },
	"txid_snapshot": func(g generator) string { return "10:20:10,14,15" }, "pg_snapshot": func(g generator) string { return "10:20:10" },
	"xid": func(g generator) string { return "1" + g.digits(5) }, "xid8": func(g generator) string { return "1" + g.digits(12) }, "cid": func(g generator) string { return "1" + g.digits(3) }, "tid": func(g generator) string { return "(1" + g.digits(3) + ",7)" },
	"regclass": func(g generator) string { return g.pick("pg_class", "kept", "4294967295") }, "regtype": func(g generator) string { return g.pick("int4", "mood", "timestamptz[]") },
	"regproc": func(g generator) string { return "now" }, "regprocedure": func(g generator) string { return "lower(text)" }, "regnamespace": func(g generator) string { return "public" },
	"regrole": func(g generator) string { return "pg_monitor" }, "regconfig": func(g generator) string { return "english" },
	"int2vector": func(g generator) string { return g.pick("", "1", "1 2 3") }, "oidvector": func(g generator) string { return g.pick("", "1", "1 4294967295") },
	"aclitem": func(g generator) string { return "pg_monitor=r*w/pg_monitor" },
}

// scalarNames are the keys of scalars in an order that does not change.
var scalarNames = slices.Sorted(maps.Keys(scalars))

// ranged are types of which ranges are made.
var ranged = map[string]string{
	"int4": "int4range", "int8": "int8range", "numeric": "numrange", "date": "daterange", "timestamp": "tsrange", "timestamptz": "tstzrange",
	"float8": "floatrange2", "text": "textrange",
}

// constant is an expression of a scalar type.
func (g generator) constant(name string) string {
	if g.IntN(12) == 0 {
		return "null::" + name
	}
	return quote(scalars[name](g)) + "::" + name
}

// array is an expression of an array type: one of one or two dimensions, empty, or with
// lower bounds of its own.
func (g generator) array(name string) string {
	n := 1 + g.IntN(3)
	elements := func() string {
		var all []string
		for range n {
			all = append(all, g.constant(name))
		}
		return "array[" + strings.Join(all, ",") + "]::" + name + "[]"
	}
	from := g.IntN(9) - 4
	switch g.IntN(6) {
	case 0:
		return "'{}'::" + name + "[]"
	case 1:
		return "array[" + elements() + "," + elements() + "]"
	case 2:
		return fmt.Sprintf("('[%d:%d]=' || (%s)::text)::%s[]", from, from+n-1, elements(), name)
	case 3:
		return fmt.Sprintf("('[%d:%d][3:3][0:%d]=' || (array[array[%s],array[%s]])::text)::%s[]", from, from+1, n-1, elements(), elements(), name)
	default:
		return elements()
	}
}

// span is an expression of a range or multirange type, or an array of such.
func (g generator) span() string {
	of := slices.Sorted(maps.Keys(ranged))
	name := of[g.IntN(len(of))]
	one := func() string {
		a, b := g.constant(name), g.constant(name)
		return fmt.Sprintf("%s(least(%s, %s), greatest(%s, %s), '%s')", ranged[name], a, b, a, b, g.pick("[]", "()", "[)", "(]"))
	}
	switch g.IntN(4) {
	case 0:
		return "array[" + one() + ", null, 'empty'::" + ranged[name] + "]"
	case 1:
		return strings.Replace(ranged[name], "range", "multirange", 1) + "(" + one() + ")"
	default:
		return one()
	}
}

// expression is one of any type whose JSON the plugin writes itself.
func (g generator) expression() string {
	name := scalarNames[g.IntN(len(scalarNames))]
	switch g.IntN(6) {
	case 0:
		return g.span()
	case 1, 2:
		return g.array(name)
	default:
		return g.constant(name)
	}
}

// settings changes what the texts of values look like.
func (g generator) settings() string {
	return fmt.Sprintf("set timezone to '%s'; set intervalstyle to %s; set extra_float_digits to %d; set bytea_output to %s; set datestyle to 'ISO, %s'; ",
		g.pick("UTC", "Asia/Kathmandu", "America/St_Johns", "Africa/Monrovia", "America/New_York", "LMT-05:37", "<+03>-3"),
		g.pick("postgres", "postgres_verbose", "sql_standard", "iso_8601"), g.IntN(19)-15, g.pick("hex", "escape"), g.pick("MDY", "DMY", "YMD"))
}

// wideColumns are the columns of a table with all types, arrays and composites among them.
func wideColumns() (definition string) {
	columns := []string{"id int primary key", "owner int references owners", "c_point3 point3", "c_nested nested", "c_nesteds nested[]", "c_checked checked_point", "c_hstore hstore", "c_hstores hstore[]"}
	for i, name := range scalarNames {
		columns = append(columns, fmt.Sprintf("s%d %s, a%d %s[]", i, name, i, name))
	}
	return "create table wide (" + strings.Join(columns, ", ") + ")"
}

// wideRow is the values of a row of that table.
func (g generator) wideRow(id int) string {
	point := fmt.Sprintf("row(%s, %s, %s)::point3", g.constant("int4"), g.constant("text"), g.constant("timestamptz"))
	nested := fmt.Sprintf("row(%s, %s, %s, %s, %s)::nested", point, g.array("text"), g.constant("mood"), point, g.constant("json"))
	hstore := fmt.Sprintf("hstore(%s, %s)", quote(g.text()), g.constant("text"))
	values := []string{fmt.Sprint(id), fmt.Sprint(id / 2), point, nested, "array[" + nested + ", null]", point, hstore, "array[" + hstore + ", null]"}
	for _, name := range scalarNames {
		values = append(values, g.constant(name), g.array(name))
	}
	for i := range values[2:] {
		if g.IntN(4) == 0 {
			values[i+2] = "null"
		}
	}
	return "(" + strings.Join(values, ", ") + ")"
}

// rowTester compares the plugin's rows with the server's own.
type rowTester struct {
	instances []*database      // in several time zones
	reference []*pgconn.PgConn // as these
	ids       int
}

func newRowTester(t testing.TB) *rowTester {
	uri := testenv.Database(t, diffSetup, wideColumns(), "create table shelves (id int primary key, wide_id int references wide)")
	r := &rowTester{}
	for i, zone := range []string{"UTC", "America/St_Johns", "Africa/Monrovia", "UTC"} {
		uri := withParam(t, withParam(t, uri, "timezone", zone), "extra_float_digits", fmt.Sprint(i-1))
		cache := "prepare"
		if i == 3 {
			cache = "off"
		}
		conn, err := pgconn.Connect(context.Background(), uri)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		r.reference = append(r.reference, conn)
		r.instances = append(r.instances, openURI(t, uri, map[string]any{"max_connections": 1, "statement_cache": cache}))
	}
	return r
}

// check compares random rows, by every way that they can take.
func (r *rowTester) check(t testing.TB, seed uint64) {
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	var columns []string
	for i := range 12 {
		columns = append(columns, fmt.Sprintf("%s as c%d", g.expression(), i))
	}
	from := " from (select " + strings.Join(columns, ", ") + ") c"
	rows, both := "select c.*"+from, "select c.*, row_to_json(c)::text as j"+from
	prepared := " where $1::text = 'x'"
	i := int(seed % uint64(len(r.instances)))
	db, settings := r.instances[i], g.settings()

	compareRow(t, settings+both, must(t, db, sqlText(settings+both)).body)
	compareRow(t, both+prepared, must(t, db, sqlText(both+prepared, text("x"))).body)
	csv := sdk.ResultOptions{Format: sdk.FormatCSV}
	same(t, "CSV of "+settings+rows, must(t, db, sqlText(settings+rows), csv).body, r.copied(t, i, settings, rows))
	same(t, "CSV of "+rows+prepared, must(t, db, sqlText(rows+prepared, text("x")), csv).body, r.copied(t, i, "", rows))

	r.ids++
	must(t, db, sqlText(fmt.Sprintf("insert into owners values (%d) on conflict do nothing; insert into wide values %s; insert into shelves values (%d, %d)",
		r.ids/2, g.wideRow(r.ids), r.ids, r.ids)))
	s := sdk.Statement{Verb: sdk.Select, Table: table("wide"), Key: []sdk.Value{{Hint: sdk.Number, Text: fmt.Sprint(r.ids)}}}
	where := fmt.Sprintf(" from wide w where id = %d", r.ids)
	same(t, "table", must(t, db, s).body, "["+r.json(t, i, "select row_to_json(w)"+where)+"]")
	same(t, "CSV of a table", must(t, db, s, csv).body, r.copied(t, i, "", "select *"+where))

	s.Table = table("shelves")
	s.Selection.Items = []sdk.Item{{Relation: &sdk.Relation{Target: "wide"}}}
	same(t, "to one", must(t, db, s).body, `[{"wide":`+r.json(t, i, "select row_to_json(w)"+where)+"}]")
	const unstripped = `select '{' || coalesce(string_agg(to_json(e.key)::text || ':' || e.value::text, ','), '') || '}' from wide w, json_each(row_to_json(w)) e`
	stripped := must(t, db, s, sdk.ResultOptions{StripNulls: true}).body
	same(t, "strip_nulls", compact(t, stripped), compact(t, `[{"wide":`+r.json(t, i, fmt.Sprintf(unstripped+` where id = %d and json_typeof(e.value) <> 'null'`, r.ids))+"}]"))
	same(t, "CSV of a relation", must(t, db, s, csv).body, r.copied(t, i, "", "select row_to_json(w) as wide"+where))

	s.Table, s.Key[0].Text = table("owners"), fmt.Sprint(r.ids/2)
	s.Selection.Items[0].Relation.Order = []sdk.Order{{Column: sdk.Column{Name: "id"}}}
	many := fmt.Sprintf("select json_agg(w order by id) from wide w where owner = %d", r.ids/2)
	same(t, "to many", must(t, db, s).body, `[{"wide":`+r.json(t, i, many)+"}]")
}

func compact(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatal(err, text)
	}
	return b.String()
}

// compareRow compares a body of one row whose last field, j, is the JSON of the others.
func compareRow(t testing.TB, query, body string) {
	t.Helper()
	cut := strings.LastIndex(body, `,"j":"`)
	var want string
	if cut < 0 || json.Unmarshal([]byte(body[cut+5:len(body)-2]), &want) != nil {
		t.Fatalf("%s answered %s", query, body)
	}
	same(t, query, body[1:cut]+"}", want)
}

// same shows where two texts begin to differ.
func same(t testing.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	around := func(s string) string { return s[max(0, n-60):min(len(s), n+60)] }
	t.Fatalf("%s\n got %q\nwant %q", what, around(got), around(want))
}

// copied is what COPY writes of a query.
func (r *rowTester) copied(t testing.TB, i int, settings, query string) string {
	t.Helper()
	var b bytes.Buffer
	err := r.reference[i].Exec(context.Background(), settings).Close()
	if err == nil {
		_, err = r.reference[i].CopyTo(context.Background(), &b, "copy ("+query+") to stdout (format csv, header)")
	}
	if err == nil {
		err = r.reference[i].Exec(context.Background(), "reset all").Close()
	}
	if err != nil {
		t.Fatal(query, err)
	}
	return b.String()
}

// json is the one value of a query.
func (r *rowTester) json(t testing.TB, i int, query string) string {
	t.Helper()
	result := r.reference[i].ExecParams(context.Background(), query, nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		t.Fatal(query, result.Err)
	}
	return string(result.Rows[0][0])
}

// TestRowsEqualToTheServers holds the encoder to row_to_json and COPY on random rows of all
// types, under settings that change what texts look like.
func TestRowsEqualToTheServers(t *testing.T) {
	r := newRowTester(t)
	for seed := range testenv.Cases(t, 120) {
		r.check(t, seed)
	}
}

// FuzzRows is the same for any number of rows.
func FuzzRows(f *testing.F) {
	r := newRowTester(f)
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { r.check(t, seed) })
}
