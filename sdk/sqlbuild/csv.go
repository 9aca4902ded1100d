package sqlbuild

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// csvReader reads CSV as RFC 4180 has it, lines ended by LF or CRLF, and keeps apart what
// encoding/csv does not: a field with quotes from one without. Empty lines are skipped.
type csvReader struct {
	rest []byte
	line int // of the record read last, from 1
	next int // of rest
}

func newCSVReader(payload []byte) *csvReader {
	return &csvReader{rest: bytes.TrimPrefix(payload, []byte("\ufeff")), next: 1}
}

// csvField is a field without its quotes. It is valid until the next record is read.
type csvField struct {
	text   []byte
	quoted bool
}

// null reports whether the field is the bare word NULL.
func (f csvField) null() bool { return !f.quoted && string(f.text) == "NULL" }

// record appends the next record's fields to fields[:0]; none at the end. The error says
// what is wrong in the record's line.
func (r *csvReader) record(fields []csvField) ([]csvField, error) {
	fields = fields[:0]
	for len(r.rest) > 0 && atLineEnd(r.rest) {
		r.skipLineEnd()
	}
	r.line = r.next
	for len(r.rest) > 0 {
		field, err := r.field()
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
		if len(r.rest) == 0 {
			break
		}
		if r.rest[0] != ',' {
			r.skipLineEnd()
			break
		}
		if r.rest = r.rest[1:]; len(r.rest) == 0 {
			fields = append(fields, csvField{})
		}
	}
	return fields, nil
}

// atLineEnd reports whether b begins with CRLF or LF, or is at its end but for a last CR.
func atLineEnd(b []byte) bool {
	if len(b) > 0 && b[0] == '\r' {
		b = b[1:]
		return len(b) == 0 || b[0] == '\n'
	}
	return len(b) == 0 || b[0] == '\n'
}

// skipLineEnd goes behind the line end that rest begins with.
func (r *csvReader) skipLineEnd() {
	r.rest = bytes.TrimPrefix(bytes.TrimPrefix(r.rest, []byte{'\r'}), []byte{'\n'})
	r.next++
}

// field reads a field up to the comma or line end behind it.
func (r *csvReader) field() (csvField, error) {
	if len(r.rest) > 0 && r.rest[0] == '"' {
		return r.quotedField()
	}
	end := 0
	for ; !atLineEnd(r.rest[end:]) && r.rest[end] != ','; end++ {
		if r.rest[end] == '"' {
			return csvField{}, errors.New("a quote inside of a field without quotes")
		}
	}
	f := csvField{text: r.rest[:end]}
	r.rest = r.rest[end:]
	return f, nil
}

func (r *csvReader) quotedField() (csvField, error) {
	f := csvField{quoted: true}
	for r.rest = r.rest[1:]; ; r.rest = r.rest[1:] {
		quote := bytes.IndexByte(r.rest, '"')
		if quote < 0 {
			return f, errors.New("a quote that does not end")
		}
		part := r.rest[:quote]
		r.next += bytes.Count(part, []byte{'\n'})
		r.rest = r.rest[quote+1:]
		doubled := len(r.rest) > 0 && r.rest[0] == '"'
		switch {
		case doubled:
			f.text = append(append(f.text, part...), '"')
			continue
		case f.text == nil:
			f.text = part // the usual case: nothing to join
		default:
			f.text = append(f.text, part...)
		}
		break
	}
	if !atLineEnd(r.rest) && r.rest[0] != ',' {
		return f, errors.New("text behind the quotes of a field")
	}
	return f, nil
}

// csvColumns reads the header and chooses the columns to fill: those named by names, or
// all of the header. fields[i] is the field of columns[i], -1 if no row has it. It
// reports false after an error.
func (b *builder) csvColumns(r *csvReader, rows *sdk.Rowset) (columns []*Column, fields []int, width int, ok bool) {
	header, err := r.record(nil)
	switch {
	case err != nil:
		b.invalidCSV(r.line, err.Error())
		return
	case len(header) == 0:
		b.invalidCSV(1, "there is no header with the names of the columns")
		return
	}
	names, places := make([]string, len(header)), make(map[string]int, len(header))
	for i := range header {
		names[i] = string(header[i].text)
		if _, twice := places[names[i]]; twice {
			b.invalidCSV(r.line, "the header has the column "+strconv.Quote(names[i])+" twice")
			return
		}
		places[names[i]] = i
	}
	chosen := rows.Columns
	if len(chosen) == 0 {
		chosen = names
	}
	for _, name := range chosen {
		c := b.find(name)
		if c == nil {
			return
		}
		field, there := places[name]
		switch {
		case there:
		case rows.MissingDefault:
			continue
		default:
			field = -1
		}
		columns, fields = append(columns, c), append(fields, field)
	}
	return columns, fields, len(names), true
}

// eachCSV calls visit with the fields of each row behind the header.
func (b *builder) eachCSV(r *csvReader, width int, visit func(fields []csvField)) {
	fields := make([]csvField, 0, width)
	for {
		var err error
		fields, err = r.record(fields)
		switch {
		case err != nil:
			b.invalidCSV(r.line, err.Error())
			return
		case len(fields) == 0:
			return
		case len(fields) != width:
			b.invalidCSV(r.line, fmt.Sprintf("the header has %d fields, but this line has %d", width, len(fields)))
			return
		}
		visit(fields)
	}
}

func (b *builder) invalidCSV(line int, what string) {
	b.fail(sdk.E(sdk.Invalid, "invalid_csv", fmt.Sprintf("line %d of the CSV: %s", line, what)).
		WithHint("send a header line with the names of the columns, then lines with as many fields, quoted where they hold a comma, a quote or a line end"))
}

// insertCSV writes the columns and rows of an INSERT from CSV and returns the columns.
// PostgreSQL gets one array of texts per column, which it casts to the column's type;
// SQLite one JSON array of arrays.
func (b *builder) insertCSV(rows *sdk.Rowset) []*Column {
	r := newCSVReader(rows.Payload)
	columns, fields, width, ok := b.csvColumns(r, rows)
	switch {
	case !ok:
	case len(columns) == 0: // every row has the defaults alone
		n := 0
		b.eachCSV(r, width, func([]csvField) { n++ })
		b.insertDefaults(&sdk.Rowset{Payload: []byte("[" + strings.TrimSuffix(strings.Repeat("{},", n), ",") + "]")}, '[')
	case b.d.sqlite:
		b.columnList(columns)
		b.csvSQLite(r, columns, fields, width)
	default:
		b.columnList(columns)
		b.csvPostgres(r, columns, fields, width)
	}
	return columns
}

func (b *builder) csvPostgres(r *csvReader, columns []*Column, fields []int, width int) {
	arrays := make([]strings.Builder, len(columns))
	for i := range arrays {
		arrays[i].Grow(len(r.rest)/len(columns) + 2)
		arrays[i].WriteByte('{')
	}
	b.eachCSV(r, width, func(record []csvField) {
		for i := range arrays {
			if arrays[i].Len() > 1 {
				arrays[i].WriteByte(',')
			}
			if fields[i] < 0 || record[fields[i]].null() {
				arrays[i].WriteString("NULL")
			} else {
				arrayElement(&arrays[i], string(record[fields[i]].text))
			}
		}
	})
	b.write(" SELECT ")
	for i, c := range columns {
		if i > 0 {
			b.write(",")
		}
		b.write("_.")
		b.quote(c.Name)
		b.write("::")
		b.write(c.Type)
	}
	b.write(" FROM unnest(")
	for i := range arrays {
		if i > 0 {
			b.write(",")
		}
		arrays[i].WriteByte('}')
		b.bind(sdk.Value{Hint: sdk.String, Text: arrays[i].String()})
		b.write("::text[]")
	}
	b.write(") AS _")
	b.columnList(columns)
}

func (b *builder) csvSQLite(r *csvReader, columns []*Column, fields []int, width int) {
	list := make([]byte, 0, len(r.rest)*5/4+2)
	list = append(list, '[')
	b.eachCSV(r, width, func(record []csvField) {
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, '[')
		for i, c := range columns {
			if i > 0 {
				list = append(list, ',')
			}
			if fields[i] < 0 || record[fields[i]].null() {
				list = append(list, "null"...)
				continue
			}
			v := sqliteValue(sdk.Value{Text: string(record[fields[i]].text)}, c.Class)
			if v.Hint == sdk.Number {
				list = append(list, v.Text...)
			} else {
				list = sdk.AppendString(list, v.Text)
			}
		}
		list = append(list, ']')
	})
	b.write(" SELECT ")
	for i := range columns {
		if i > 0 {
			b.write(",")
		}
		b.write("_.value->>")
		b.bind(sdk.Value{Hint: sdk.String, Text: "$[" + strconv.Itoa(i) + "]"})
	}
	b.write(" FROM json_each(")
	b.bind(sdk.Value{Hint: sdk.JSON, Text: string(append(list, ']'))})
	b.write(") AS _ WHERE TRUE") // or the parser takes ON CONFLICT for a join's ON
}
