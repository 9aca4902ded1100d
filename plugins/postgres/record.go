package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// records reads the records that embedded relations come as, in PostgreSQL's binary format, and
// writes the JSON that json_agg and row_to_json would make of them. Each field and each array
// says what type it is of, and that is what decides: the catalogue may be older than the table.
type records struct {
	shapes     []*sqlbuild.Record // per column that is shown; nil: none has records
	catalogues *catalogues
	utc        bool // times are shown in UTC
}

// formats are the formats to ask for when the columns' types are not known, hidden columns
// among them; nil: all text.
func (r *records) formats(hidden hiddenColumns) []int16 {
	if r.shapes == nil {
		return nil
	}
	formats := make([]int16, int(hidden.first)+len(r.shapes))
	for i, shape := range r.shapes {
		if shape != nil {
			formats[int(hidden.first)+i] = 1
		}
	}
	return formats
}

// append appends a value of a column, record or record[], that is not null. After an error
// dst is of no use.
func (r *records) append(dst, src []byte, column int, array, stripNulls bool) ([]byte, error) {
	d := recordDecoder{types: r.catalogues.current.Load().types, utc: r.utc, stripNulls: stripNulls}
	if array {
		dst = d.array(dst, src, r.shapes[column])
	} else {
		dst = d.record(dst, src, r.shapes[column])
	}
	if d.outdated {
		r.catalogues.expire()
	}
	return dst, d.err
}

// recordDecoder reads one value. Whatever the bytes are it ends, without looking beyond them.
type recordDecoder struct {
	types      map[uint32]*typeInfo
	utc        bool
	stripNulls bool
	depth      int // of arrays
	err        error
	outdated   bool // the catalogue is older than the table
}

// maxArrayDepth is how deep arrays may nest, by domains and relations.
const maxArrayDepth = 2 * sdk.MaxFilterDepth

// malformed notes that the bytes are not what they should be.
func (d *recordDecoder) malformed(what string) {
	if d.err == nil {
		e := sdk.E(sdk.Internal, "malformed_record", "the database sent a row that cannot be read")
		e.Source, e.Log = sdk.FromDownstream, what
		d.err = e
	}
}

// field reads a value behind its length; nil is null.
func (d *recordDecoder) field(src []byte) (value, rest []byte) {
	if len(src) < 4 {
		d.malformed("a length is missing")
		return nil, nil
	}
	size := int32(binary.BigEndian.Uint32(src))
	src = src[4:]
	switch {
	case size == -1:
		return nil, src
	case size < 0 || int64(size) > int64(len(src)):
		d.malformed("a length is wrong")
		return nil, nil
	}
	return src[:size:size], src[size:]
}

// record appends an object.
func (d *recordDecoder) record(dst, src []byte, shape *sqlbuild.Record) []byte {
	if shape == nil || len(src) < 4 || int64(binary.BigEndian.Uint32(src)) != int64(len(shape.Fields)) {
		d.malformed("a record has other fields than were asked for")
		return dst
	}
	src = src[4:]
	dst = append(dst, '{')
	first := true
	for i := range shape.Fields {
		if len(src) < 4 {
			d.malformed("a record is too short")
			return dst
		}
		oid := binary.BigEndian.Uint32(src)
		var value []byte
		if value, src = d.field(src[4:]); d.err != nil {
			return dst
		}
		if d.stripNulls && (value == nil || d.isNullJSON(oid, value)) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, shape.Fields[i].Key...)
		switch form := shape.Fields[i].Form; {
		case value == nil:
			dst = append(dst, "null"...)
		case form < sqlbuild.ValueText:
			dst = d.value(dst, value, oid, shape.Fields[i].Record)
		case oid == pgtype.TextOID:
			dst = appendForm(dst, value, formOf(form))
		default:
			d.malformed("a value that was asked for as text has another type")
		}
		if d.err != nil {
			return dst
		}
	}
	if len(src) > 0 {
		d.malformed("a record is too long")
	}
	return append(dst, '}')
}

// isNullJSON reports whether a value is JSON's null, which strip_nulls takes for null.
func (d *recordDecoder) isNullJSON(oid uint32, value []byte) bool {
	if t := d.types[oid]; t != nil {
		oid = t.base
	}
	switch oid {
	case pgtype.JSONOID:
		return string(bytes.TrimSpace(value)) == "null"
	case pgtype.JSONBOID:
		return string(value) == "\x01null"
	}
	return false
}

// maxDimensions is PostgreSQL's.
const maxDimensions = 6

// array appends an array. Rows are laid out as json_agg does, other elements as to_json.
func (d *recordDecoder) array(dst, src []byte, shape *sqlbuild.Record) []byte {
	if len(src) < 12 {
		d.malformed("an array is too short")
		return dst
	}
	n := binary.BigEndian.Uint32(src)
	elem := binary.BigEndian.Uint32(src[8:])
	src = src[12:]
	if n == 0 {
		return append(dst, "[]"...)
	}
	if n > maxDimensions || len(src) < 8*int(n) || d.depth == maxArrayDepth {
		d.malformed("an array has too many dimensions")
		return dst
	}
	var sizes [maxDimensions]int32
	for i := range sizes[:n] {
		if sizes[i] = int32(binary.BigEndian.Uint32(src)); sizes[i] <= 0 {
			d.malformed("an array has a dimension of no elements")
			return dst
		}
		src = src[8:] // and the lower bound, which is not shown
	}
	d.depth++
	dst, src = d.elements(dst, src, elem, sizes[:n], shape)
	d.depth--
	if len(src) > 0 {
		d.malformed("an array is too long")
	}
	return dst
}

// elements appends the elements of an array's first dimension.
func (d *recordDecoder) elements(dst, src []byte, elem uint32, sizes []int32, shape *sqlbuild.Record) (_, rest []byte) {
	separator := ","
	if shape != nil {
		separator = ", \n "
	}
	dst = append(dst, '[')
	for i := int32(0); i < sizes[0] && d.err == nil; i++ {
		if i > 0 {
			dst = append(dst, separator...)
		}
		if len(sizes) > 1 {
			dst, src = d.elements(dst, src, elem, sizes[1:], shape)
			continue
		}
		var value []byte
		if value, src = d.field(src); value != nil {
			dst = d.value(dst, value, elem, shape)
		} else {
			dst = append(dst, "null"...)
		}
	}
	return append(dst, ']'), src
}

// value appends a value of a type as to_json writes it. shape is that of its records, nil if
// it must have none. The types are those of readingOf.
func (d *recordDecoder) value(dst, src []byte, oid uint32, shape *sqlbuild.Record) []byte {
	if size := sizeOf(oid); size > 0 && len(src) != size {
		d.malformed("a value has the wrong length")
		return dst
	}
	switch oid {
	case pgtype.Int4OID:
		return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(src))), 10)
	case pgtype.Int8OID:
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(src)), 10)
	case pgtype.Int2OID:
		return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(src))), 10)
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID:
		return sdk.AppendValidString(dst, src)
	case pgtype.BoolOID:
		return strconv.AppendBool(dst, src[0] != 0)
	case pgtype.NumericOID:
		return d.numeric(dst, src)
	case pgtype.JSONOID:
		return append(dst, src...)
	case pgtype.JSONBOID:
		if len(src) == 0 || src[0] != 1 {
			d.malformed("a jsonb has an unknown version")
			return dst
		}
		return append(dst, src[1:]...)
	case pgtype.TimestamptzOID:
		if !d.utc {
			d.unreadable(oid)
			return dst
		}
		return appendForm(dst, src, formTimeUTC)
	case pgtype.TimestampOID:
		return appendForm(dst, src, formTimeBinary)
	case pgtype.DateOID:
		return appendForm(dst, src, formDateBinary)
	case pgtype.UUIDOID:
		return appendForm(dst, src, formUUIDBinary)
	case pgtype.RecordOID:
		return d.record(dst, src, shape)
	case pgtype.RecordArrayOID:
		return d.array(dst, src, shape)
	}
	t := d.types[oid]
	switch {
	case t == nil, t.reading == readNever, t.reading == readAsText:
		d.unreadable(oid)
		return dst
	case t.base != oid: // a domain
		return d.value(dst, src, t.base, nil)
	case t.encoding.form == formArray:
		return d.array(dst, src, nil)
	default: // an enum
		return sdk.AppendValidString(dst, src)
	}
}

// unreadable notes that a value is of a type that was not asked for.
func (d *recordDecoder) unreadable(oid uint32) {
	if d.err == nil {
		e := sdk.E(sdk.Unavailable, "catalogue_outdated", "the type of a column has just changed").WithHint("send the request again")
		e.Log = fmt.Sprintf("a value of type %d inside of a record", oid)
		d.err, d.outdated = e, true
	}
}

// sizeOf is how long values of a type are, 0 if that varies.
func sizeOf(oid uint32) int {
	switch oid {
	case pgtype.Int4OID, pgtype.DateOID:
		return 4
	case pgtype.Int8OID, pgtype.TimestampOID, pgtype.TimestamptzOID:
		return 8
	case pgtype.Int2OID:
		return 2
	case pgtype.BoolOID:
		return 1
	case pgtype.UUIDOID:
		return 16
	}
	return 0
}

// What stands for the sign of a numeric.
const (
	numericNegative         = 0x4000
	numericNaN              = 0xC000
	numericInfinity         = 0xD000
	numericNegativeInfinity = 0xF000
)

// numeric appends a numeric, which travels as digits of base 10,000: how many there are, the
// power of the first, the sign, and how many decimals are shown.
func (d *recordDecoder) numeric(dst, src []byte) []byte {
	if len(src) < 8 || len(src) != 8+2*int(binary.BigEndian.Uint16(src)) {
		d.malformed("a numeric has the wrong length")
		return dst
	}
	weight, sign, scale := int(int16(binary.BigEndian.Uint16(src[2:]))), binary.BigEndian.Uint16(src[4:]), int(binary.BigEndian.Uint16(src[6:]))
	digits := src[8:]
	switch sign {
	case numericNaN:
		return append(dst, `"NaN"`...)
	case numericInfinity:
		return append(dst, `"Infinity"`...)
	case numericNegativeInfinity:
		return append(dst, `"-Infinity"`...)
	case numericNegative:
		dst = append(dst, '-')
	}
	digit := func(i int) int64 { // the ith of base 10,000
		if i < 0 || i >= len(digits)/2 {
			return 0
		}
		return int64(binary.BigEndian.Uint16(digits[2*i:]) % 10000)
	}
	if weight < 0 {
		dst = append(dst, '0')
	} else {
		dst = strconv.AppendInt(dst, digit(0), 10)
	}
	for i := 1; i <= weight; i++ {
		dst = appendTwo(appendTwo(dst, digit(i)/100), digit(i)%100)
	}
	if scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	end := len(dst) + scale
	for i := weight + 1; len(dst) < end; i++ {
		dst = appendTwo(appendTwo(dst, digit(i)/100), digit(i)%100)
	}
	return dst[:end]
}

// reading is when a recordDecoder writes the values of a type.
type reading uint8

const (
	readNever  reading = iota
	readTimes          // as the session's times say
	readBinary         // in binary
	readAsText         // the text of a value of the type itself; arrays of it are not read
)

// valueForm is how the values of such a type travel.
func (t *typeInfo) valueForm(shown times) sqlbuild.ValueForm {
	switch {
	case t.reading == readBinary, t.reading == readTimes && shown == timesUTC:
		return sqlbuild.ValueBinary
	case t.reading == readAsText, t.reading == readTimes && shown == timesISO && t.encoding.form != formArray:
		return sqlbuild.ValueText + sqlbuild.ValueForm(t.encoding.form)
	}
	return sqlbuild.ValueJSON
}

// formOf is the form of a text that travels as v.
func formOf(v sqlbuild.ValueForm) form { return form(v - sqlbuild.ValueText) }

// readingOf decides for a type that is no domain.
func readingOf(rows map[uint32]*pgTypeRow, r *pgTypeRow) reading {
	switch {
	case r.jsonCast, r.oid == int2vectorOID, r.oid == oidvectorOID:
		return readNever
	case r.kind == 'e':
		return readBinary
	case rows[r.elem] != nil:
		if elem := resolveType(rows, r.elem).reading; elem != readAsText {
			return elem
		}
		return readNever
	}
	switch r.oid {
	case pgtype.TimestamptzOID:
		return readTimes
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID, pgtype.BoolOID,
		pgtype.NumericOID, pgtype.JSONOID, pgtype.JSONBOID, pgtype.DateOID, pgtype.TimestampOID, pgtype.UUIDOID:
		return readBinary
	case pgtype.Float4OID, pgtype.Float8OID, pgtype.IntervalOID, pgtype.TimeOID, pgtype.TimetzOID, pgtype.ByteaOID:
		return readAsText // what a session chooses how to show, and what is seldom met
	}
	return readNever
}

// dialects makes the dialects of a catalogue's types, by how a session shows times.
func dialects(types map[uint32]*typeInfo) (all [timesUTC + 1]*sqlbuild.Dialect) {
	for shown := range all {
		forms := map[string]sqlbuild.ValueForm{}
		for _, t := range types {
			if f := t.valueForm(times(shown)); f != sqlbuild.ValueJSON {
				forms[t.name] = f
			}
		}
		all[shown] = sqlbuild.Postgres.WithRecords(forms)
	}
	return all
}
