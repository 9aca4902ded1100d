package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestRawFormat: bytes arrive as they are, whatever way they take.
func TestRawFormat(t *testing.T) {
	db := openTest(t, nil, "create domain photo as bytea; create table photos (id int primary key, data photo); insert into photos values (1, '\\x00ff225c0a41'), (2, null), (3, ''), (4, 'a\\\\b')")
	raw := sdk.ResultOptions{Format: sdk.FormatRaw, MediaType: "application/octet-stream"}
	binary := "\x00\xff\"\\\nA"
	for _, test := range []struct {
		s    sdk.Statement
		want string
	}{
		{sqlText("select data from photos order by id"), binary + "a\\b"},
		{sqlText("select data, id from photos where id = $1", text("1")), binary},
		{sqlText("set bytea_output to escape; select data from photos order by id"), binary + "a\\b"},
		{sqlText("select data::bytea from photos where id = $1", text("1")), binary},
		{sqlText("select 'text \"as it is\"' union all select null union all select 'more'"), `text "as it is"more`},
		{sqlText("select ' {\"a\" : 1}'::json"), ` {"a" : 1}`},
		{sqlText("select timestamptz '2024-01-01 10:00+00' where $1 = 'x'", text("x")), "2024-01-01 10:00:00+00"},
		{sqlText("select true"), "t"},
		{sqlText("select 1 where false"), ""},
		{sqlText("select"), ""},
		{sdk.Statement{Verb: sdk.Select, Table: table("photos"), Filter: eq("id", "1"), Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "data"}}}}}, binary},
	} {
		a := must(t, db, test.s, raw)
		if a.body != test.want || a.head.Shape != sdk.ShapeScalar {
			t.Errorf("%+v answered %q of shape %d, want %q", test.s.SQL, a.body, a.head.Shape, test.want)
		}
	}
}

func TestDecodeBytea(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	var escaped []byte // as bytea_output = escape writes it
	for _, c := range every {
		switch {
		case c == '\\':
			escaped = append(escaped, `\\`...)
		case c < 0x20 || c > 0x7e:
			escaped = fmt.Appendf(escaped, `\%03o`, c)
		default:
			escaped = append(escaped, c)
		}
	}
	for _, src := range []string{fmt.Sprintf(`\x%x`, every), string(escaped)} {
		if got := decodeBytea([]byte(src)); !bytes.Equal(got, every) {
			t.Errorf("%q became %q", src, got)
		}
	}
}

func FuzzDecodeBytea(f *testing.F) {
	for _, seed := range []string{`\x00ff`, `\x0`, `\xzz`, `a\\b\001`, `\`, `\0`, `\01`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) { decodeBytea(src) }) // must end
}

// A text may ask for another DateStyle. Its dates are then as it asked, not half ISO.
func TestOtherDateStyles(t *testing.T) {
	db := openTest(t, nil)
	const values = "date '2024-02-29' as d, timestamp '2024-02-29 10:00:00.5' as t, timestamptz '2024-02-29 10:00+00' as z, array[timestamp '0044-03-15 10:00 BC'] as a"
	for style, want := range map[string]string{
		"ISO":             `[{"d":"2024-02-29","t":"2024-02-29T10:00:00.5","z":"2024-02-29T10:00:00+00:00","a":["0044-03-15T10:00:00 BC"]}]`,
		"German":          `[{"d":"29.02.2024","t":"29.02.2024 10:00:00.5","z":"29.02.2024 10:00:00 UTC","a":["15.03.0044 10:00:00 BC"]}]`,
		"SQL":             `[{"d":"02/29/2024","t":"02/29/2024 10:00:00.5","z":"02/29/2024 10:00:00 UTC","a":["03/15/0044 10:00:00 BC"]}]`,
		"'Postgres, DMY'": `[{"d":"29-02-2024","t":"Thu 29 Feb 10:00:00.5 2024","z":"Thu 29 Feb 10:00:00 2024 UTC","a":["Fri 15 Mar 10:00:00 0044 BC"]}]`,
	} {
		got := must(t, db, sqlText("set timezone to 'UTC'; set datestyle to "+style+"; select "+values)).body
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", style, got, want)
		}
	}
}

// TestRowsCostNoAllocation: what is allocated is allocated per answer.
func TestRowsCostNoAllocation(t *testing.T) {
	for _, format := range []sdk.Format{sdk.FormatRows, sdk.FormatCSV, sdk.FormatRaw, sdk.FormatNone} {
		p, row := mixedRow()
		rows := sdk.NewRows(sdk.ResultOptions{Format: format}, drop)
		p.describe(rows)
		// 300 rows are less than a chunk, which the pool may have to make anew.
		n := testing.AllocsPerRun(300, func() {
			if err := p.write(rows, row, nil); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("format %d: %v allocations per row", format, n)
		}
	}
	p, row, records := recordRow(5)
	rows := sdk.NewRows(sdk.ResultOptions{}, drop)
	p.describe(rows)
	n := testing.AllocsPerRun(100, func() {
		if err := p.write(rows, row, records); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("records: %v allocations per row", n)
	}
}

// Answers of one prepared statement share what its columns are called.
func TestDescribingCostsNoAllocation(t *testing.T) {
	p, _ := mixedRow()
	for _, naming := range []sdk.Naming{sdk.NamesAsIs, sdk.NamesCamel} {
		rows := sdk.NewRows(sdk.ResultOptions{Naming: naming}, drop)
		if n := testing.AllocsPerRun(100, func() { p.describe(rows) }); n != 0 {
			t.Errorf("policy %d: %v allocations", naming, n)
		}
	}
}
