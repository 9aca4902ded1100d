package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/sdk"
)

// form says how a value on the wire becomes JSON. Each form writes what PostgreSQL's
// to_json writes. Most values travel as text, which PostgreSQL has to make anyway and
// which is JSON already or nearly so; those whose text costs the server more than it
// costs us to make it (dates, times, uuid, bytea) travel in binary.
//
// Where only the server can write the JSON (of composites, and of types with a cast to
// json) statements on tables select to_json(column). In the answer to a SQL text such a
// value is a string, PostgreSQL's own text: "(1,a)". The forms that a session chooses show as
// it chose them (IntervalStyle, extra_float_digits, money), but for bytea, which may travel
// in binary and then is in hex, and dates, which are read as ISO.
type form uint8

const (
	formString      form = iota // any text
	formPlain                   // a text that never needs an escape
	formInteger                 // a JSON number
	formNumber                  // a JSON number unless it is NaN or infinite
	formBool                    // t or f
	formJSON                    // JSON
	formTimestamp               // 2024-01-01 00:00:00
	formTimestampTZ             // 2024-01-01 00:00:00+00
	formArray                   // {1,2}
	formVector                  // 1 2
	formBytea                   // \x00ff, or with escapes if the session says so
	formBinary                  // marks the first of the binary forms
	formDateBinary              // days since 2000
	formTimeBinary              // microseconds since 2000, no zone
	formTimeUTC                 // microseconds since 2000, in a session whose zone is UTC
	formUUIDBinary              // 16 bytes
	formByteaBinary             // bytes
	formRecord                  // a record of the statement's own
	formRecords                 // an array of such
)

// encoding is how one column's values are written.
type encoding struct {
	form  form
	delim byte      // between an array's elements
	elem  *encoding // of an array's or vector's elements
}

// append appends a value that is not null. It may overwrite src.
func (e *encoding) append(dst, src []byte) []byte {
	switch e.form {
	case formArray:
		return appendArray(dst, src, e.elem, e.delim)
	case formVector:
		return appendVector(dst, src, e.elem)
	default:
		return appendForm(dst, src, e.form)
	}
}

func appendForm(dst, src []byte, f form) []byte {
	switch f {
	case formInteger, formJSON:
		return append(dst, src...)
	case formPlain:
		dst = append(dst, '"')
		dst = append(dst, src...)
		return append(dst, '"')
	case formNumber:
		if len(src) > 0 && (src[len(src)-1] > '9') { // NaN, Infinity
			return append(append(append(dst, '"'), src...), '"')
		}
		return append(dst, src...)
	case formBool:
		if len(src) == 1 && src[0] == 't' {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case formTimestamp, formTimestampTZ:
		return appendTimestampText(dst, src, f == formTimestampTZ)
	case formDateBinary, formTimeBinary, formTimeUTC, formUUIDBinary:
		return append(appendBinary(append(dst, '"'), src, f, &jsonTimes), '"')
	case formByteaBinary:
		dst = append(dst, `"\\x`...)
		return append(hex.AppendEncode(dst, src), '"')
	default:
		return sdk.AppendValidString(dst, src)
	}
}

// appendBinary appends the text of a date, time or uuid, which needs no escapes.
func appendBinary(dst, src []byte, f form, style *timeStyle) []byte {
	switch f {
	case formDateBinary:
		return appendDate(dst, int32(binary.BigEndian.Uint32(src)))
	case formUUIDBinary:
		return appendUUID(dst, src)
	default:
		return appendTimestamp(dst, int64(binary.BigEndian.Uint64(src)), f == formTimeUTC, style)
	}
}

func appendUUID(dst, src []byte) []byte {
	var b [36]byte
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	hex.Encode(b[:], src[:4])
	hex.Encode(b[9:], src[4:6])
	hex.Encode(b[14:], src[6:8])
	hex.Encode(b[19:], src[8:10])
	hex.Encode(b[24:], src[10:16])
	return append(dst, b[:]...)
}

// appendArray rewrites an array's text form. A lower bound other than 1 is not shown, as
// to_json does not.
func appendArray(dst, src []byte, elem *encoding, delim byte) []byte {
	if len(src) > 0 && src[0] == '[' {
		src = src[bytes.IndexByte(src, '=')+1:]
	}
	for len(src) > 0 {
		switch c := src[0]; c {
		case '{':
			dst, src = append(dst, '['), src[1:]
		case '}':
			dst, src = append(dst, ']'), src[1:]
		case delim:
			dst, src = append(dst, ','), src[1:]
		case '"':
			var value []byte
			value, src = unquoteElement(src[1:])
			dst = elem.append(dst, value)
		default:
			n := 1
			for n < len(src) && src[n] != delim && src[n] != '}' {
				n++
			}
			if string(src[:n]) == "NULL" {
				dst = append(dst, "null"...)
			} else {
				dst = elem.append(dst, src[:n])
			}
			src = src[n:]
		}
	}
	return dst
}

// unquoteElement removes the backslashes of a quoted element in place. src begins after
// the opening quote; rest begins after the closing one.
func unquoteElement(src []byte) (value, rest []byte) {
	n := 0
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '"':
			return src[:n], src[i+1:]
		case '\\':
			if i++; i == len(src) {
				return src[:n], nil
			}
		}
		src[n] = src[i]
		n++
	}
	return src[:n], nil
}

// appendVector rewrites an int2vector or oidvector.
func appendVector(dst, src []byte, elem *encoding) []byte {
	dst = append(dst, '[')
	for first := true; len(src) > 0; first = false {
		value, rest, _ := bytes.Cut(src, []byte(" "))
		if !first {
			dst = append(dst, ',')
		}
		dst, src = elem.append(dst, value), rest
	}
	return append(dst, ']')
}

// plan is how the rows of one result are written.
type plan struct {
	columns   []sdk.ColumnInfo
	header    sdk.Header // of columns
	encodings []encoding
	formats   []int16 // per column, for Bind; nil: all text
	utc       bool    // made for a session whose time zone is UTC
}

// newPlan plans for a result's columns. Only a result that is asked for with the plan's
// formats may use binary ones; hasRecords says that columns of records are in any case.
// unknown is set when a type is in no catalogue.
func newPlan(fields []pgconn.FieldDescription, types map[uint32]*typeInfo, binaryFormats, utc, hasRecords bool) (p *plan, unknown bool) {
	p = &plan{
		columns:   make([]sdk.ColumnInfo, len(fields)),
		encodings: make([]encoding, len(fields)),
		utc:       utc,
	}
	if binaryFormats {
		p.formats = make([]int16, len(fields))
	}
	for i := range fields {
		p.columns[i].Name = fields[i].Name
		t := types[fields[i].DataTypeOID]
		if t == nil {
			unknown = true
			continue // formString
		}
		p.columns[i].Type = t.name
		p.encodings[i] = t.encoding
		f := formString
		switch {
		case hasRecords && t.oid == pgtype.RecordOID:
			f = formRecord
		case hasRecords && t.oid == pgtype.RecordArrayOID:
			f = formRecords
		case binaryFormats:
			f = t.binaryForm(utc)
		}
		if f > formBinary {
			p.encodings[i] = encoding{form: f}
			if binaryFormats {
				p.formats[i] = 1
			}
		}
	}
	p.header.Columns = p.columns
	return p, unknown
}

// describe names the columns to rows.
func (p *plan) describe(rows *sdk.Rows) { rows.Use(&p.header) }

// write writes a row's wire values, with what is known of those that are records. It may
// overwrite them.
func (p *plan) write(rows *sdk.Rows, values [][]byte, records *records) error {
	switch rows.Options().Format {
	case sdk.FormatCSV:
		p.writeText(rows, values)
	case sdk.FormatRaw:
		p.writeRaw(rows, values)
	default:
		for i, value := range values {
			form := p.encodings[i].form
			if value == nil || form == formJSON && string(value) == "null" { // for strip_nulls they are the same
				rows.Null()
				continue
			}
			if form < formRecord {
				rows.Put(p.encodings[i].append(rows.Cell(), value))
				continue
			}
			b, err := records.append(rows.Cell(), value, i, form == formRecords, rows.Options().StripNulls)
			if err != nil {
				return err
			}
			rows.Put(b)
		}
	}
	return rows.EndRow()
}

// writeText writes cells as PostgreSQL's own text.
func (p *plan) writeText(rows *sdk.Rows, values [][]byte) {
	for i, value := range values {
		switch f := p.encodings[i].form; {
		case value == nil:
			rows.Null()
		case f == formByteaBinary:
			rows.Bytes(value)
		case f > formBinary:
			// Put takes these texts as they are, which have no quotes.
			rows.Put(appendBinary(rows.Cell(), value, f, &textTimes))
		default:
			rows.Text(value)
		}
	}
}

// writeRaw writes the first cell, bytes as such.
func (p *plan) writeRaw(rows *sdk.Rows, values [][]byte) {
	if len(values) == 0 {
		return
	}
	if p.encodings[0].form == formBytea && values[0] != nil {
		rows.Bytes(decodeBytea(values[0]))
		return
	}
	p.writeText(rows, values[:1])
}

// decodeBytea reads the text of a bytea, in hex or with escapes, in place.
func decodeBytea(src []byte) []byte {
	if digits, ok := bytes.CutPrefix(src, []byte(`\x`)); ok {
		n, _ := hex.Decode(src, digits) // the server's own output
		return src[:n]
	}
	n := 0
	for i := 0; i < len(src); i, n = i+1, n+1 {
		src[n] = src[i]
		if src[i] != '\\' {
			continue
		}
		if i++; i+2 < len(src) && src[i] != '\\' {
			src[n] = src[i]<<6 | src[i+1]&7<<3 | src[i+2]&7
			i += 2
		}
	}
	return src[:n]
}
