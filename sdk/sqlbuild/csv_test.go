package sqlbuild

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// readCSV reads all records as texts, <null> for null.
func readCSV(payload []byte) (records [][]string, err error) {
	r := newCSVReader(payload)
	for {
		fields, err := r.record(nil)
		if err != nil || len(fields) == 0 {
			return records, err
		}
		record := make([]string, len(fields))
		for i, f := range fields {
			if record[i] = string(f.text); f.null() {
				record[i] = "<null>"
			}
		}
		records = append(records, record)
	}
}

func TestReadCSV(t *testing.T) {
	for payload, want := range map[string][][]string{
		"a,b\n1,2\n":                {{"a", "b"}, {"1", "2"}},
		"a,b\r\n1,2":                {{"a", "b"}, {"1", "2"}},
		"\ufeffa\nx":                {{"a"}, {"x"}},
		"a,b\n\n\r\n,\n":            {{"a", "b"}, {"", ""}},
		"a\n\"\"\n":                 {{"a"}, {""}},
		"a\nNULL\n\"NULL\"\nnull\n": {{"a"}, {"<null>"}, {"NULL"}, {"null"}},
		"a\n\"x\"\"y\"\"\"\n":       {{"a"}, {`x"y"`}},
		"a,b\n\"1,\r\n2\",3":        {{"a", "b"}, {"1,\r\n2", "3"}},
		"a,b\n x , y":               {{"a", "b"}, {" x ", " y"}},
		"a,b\n1,":                   {{"a", "b"}, {"1", ""}},
		"a\rb\n":                    {{"a\rb"}},
	} {
		records, err := readCSV([]byte(payload))
		if err != nil {
			t.Errorf("%q: %v", payload, err)
		}
		if diff := cmp.Diff(want, records); diff != "" {
			t.Errorf("%q (-want +got):\n%s", payload, diff)
		}
	}
}

func TestInvalidCSV(t *testing.T) {
	for _, c := range []struct{ payload, reason, message string }{
		{"", "invalid_csv", "line 1 of the CSV: there is no header"},
		{"id,name\n1,a\n\n2\n", "invalid_csv", "line 4 of the CSV: the header has 2 fields, but this line has 1"},
		{"id,name\n1,\"a\nb\"\n2,b,c\n", "invalid_csv", "line 4 of the CSV: the header has 2 fields, but this line has 3"},
		{"id,name\n1,a\"b\n", "invalid_csv", "line 2 of the CSV: a quote inside"},
		{"id,name\n1,\"a\"b\n", "invalid_csv", "line 2 of the CSV: text behind"},
		{"id,name\n1,a\n2,\"b\n", "invalid_csv", "line 3 of the CSV: a quote that does not end"},
		{"id,\"\n", "invalid_csv", "line 1 of the CSV: a quote that does not end"},
		{"id,id\n1,2\n", "invalid_csv", `line 1 of the CSV: the header has the column "id" twice`},
		{"id,nmae\n1,2\n", "undefined_column", `column "nmae"`},
	} {
		for _, d := range []*Dialect{Postgres, SQLite} {
			_, err := build(d, &sdk.Statement{Verb: sdk.Insert, Rows: sdk.Rowset{Format: sdk.RowsCSV, Payload: []byte(c.payload)}}, items())
			var e *sdk.Error
			if !errors.As(err, &e) || e.Kind != sdk.Invalid || e.Reason != c.reason || !strings.HasPrefix(e.Message, c.message) || e.Hint == "" {
				t.Errorf("%s, %q: got %v, want %s", d.name, c.payload, err, c.message)
			}
		}
	}
}

// FuzzCSV holds the reader to encoding/csv, which turns a CRLF in quotes into LF.
// Names that a caller makes up cost no more than linear time.
func TestManyNames(t *testing.T) {
	const count = 100_000
	var header, object strings.Builder
	for i := range count {
		fmt.Fprintf(&header, "parameter_%d,", i)
		fmt.Fprintf(&object, `,"parameter_%d":1`, i)
	}
	c := catalogueOf(items())
	for i := range 5 {
		f := &Function{Schema: "public", Name: "f"}
		for j := range 5 {
			f.Params = append(f.Params, Param{Name: fmt.Sprintf("parameter_%d_%d", i, j), Type: "int"})
		}
		k := sdk.Table{Schema: "public", Name: "f"}
		c.Functions = map[sdk.Table][]*Function{k: append(c.Functions[k], f)}
	}
	for name, s := range map[string]sdk.Statement{
		"header":    {Verb: sdk.Insert, Table: sdk.Table{Name: "items"}, Rows: sdk.Rowset{Format: sdk.RowsCSV, Payload: []byte(header.String() + "z\n1\n")}},
		"arguments": jsonCall("f", "{"+object.String()[1:]+"}"),
	} {
		began := time.Now()
		_, err := Postgres.Build(c, &s, &sdk.ResultOptions{})
		e := sdk.AsError(err)
		if e == nil || e.Kind == sdk.Internal || len(e.Message) > 1000 || len(e.Details) > 2000 {
			t.Errorf("%s: a message of %d bytes and details of %d: %.100v", name, len(e.Message), len(e.Details), err)
		}
		if took := time.Since(began); took > 5*time.Second { // it takes milliseconds
			t.Errorf("%s: %s for %d names", name, took, count)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"", "a,b\r\n1,2\r\n", "a\n\"x\"\"\n\ny\"\n", "\"a\"b", "a\"", "\"", "\"a\"\r", "\r\n\r", ",\n,", "\r\r\n", "a,\"b\r\nc\"\r\n", "NULL,\"NULL\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if bytes.HasPrefix(payload, []byte("\ufeff")) {
			return
		}
		theirs := csv.NewReader(bytes.NewReader(payload))
		theirs.FieldsPerRecord = -1
		ours := newCSVReader(payload)
		for {
			want, wantErr := theirs.Read()
			fields, err := ours.record(nil)
			if wantErr == io.EOF {
				want, wantErr = nil, nil
			}
			if (wantErr != nil) != (err != nil) {
				t.Fatalf("got the error %v, want %v", err, wantErr)
			}
			if err != nil {
				return
			}
			var got []string
			for _, f := range fields {
				got = append(got, strings.ReplaceAll(string(f.text), "\r\n", "\n"))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			if len(fields) == 0 {
				return
			}
			if line, _ := theirs.FieldPos(0); line != ours.line {
				t.Fatalf("the record is in line %d, want %d", ours.line, line)
			}
		}
	})
}
