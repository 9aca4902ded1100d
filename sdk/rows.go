package sdk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
)

// chunkSize is when a chunk of row bytes is sent; an answer that stays below it is one
// message.
const chunkSize = 64 << 10

// chunks holds buffers of row bytes between uses. They have room for one row more than
// a chunk needs, so that most are never grown.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize+8<<10); return &b }}

// Chunk is one message of an answer. Body belongs to whoever receives the Chunk.
type Chunk struct {
	Statement int
	Head      *Head
	Body      []byte
	Tail      *Tail
	Err       *Error

	last   bool            // nothing follows for this call
	pieces mem.BufferSlice // received: the body in pieces
}

// Rows writes the answer of a call: row JSON (or CSV) goes straight into pooled chunks
// that cross to the gateway as they are. It applies the call's naming policy,
// strip_nulls and row bounds. It is used by one goroutine.
//
// The simple way is Columns, then Row once per row. Drivers that see wire values write
// cell by cell: Cell/Put, Text or Null for each column in order, then EndRow.
type Rows struct {
	// Head goes out with the first chunk, Tail after the last; an Instance may set
	// their optional fields. Rows keeps Statement, Columns and Tail.Rows itself.
	Head Head
	Tail Tail

	opts ResultOptions
	send func(*Chunk) error

	buf       []byte
	keys      [][]byte // per column `,"name":`
	col       int
	cellStart int
	rowStart  int
	rowOpen   bool // a key of the current row has been written
	opened    bool // the body has begun
	headSent  bool
	scalar    bool // Scalar wrote the whole body

	hold bool
	held []*Chunk
	size int64 // bytes held
	err  error
}

// NewRows makes a Rows that hands each finished chunk to send. Plugins get theirs from
// Serve; this is for tests and benchmarks of an Instance.
func NewRows(opts ResultOptions, send func(*Chunk) error) *Rows {
	r := &Rows{opts: opts, send: send}
	r.buf = (*chunks.Get().(*[]byte))[:0]
	return r
}

// Options are the call's result options.
func (r *Rows) Options() ResultOptions { return r.opts }

// Columns names the columns of the rows that follow, before the first row.
func (r *Rows) Columns(names ...string) {
	columns := make([]ColumnInfo, len(names))
	for i, name := range names {
		columns[i].Name = name
	}
	r.Describe(columns)
}

// Describe is Columns with the backend's type names. It keeps columns, which may be
// shared between calls: it does not change them.
func (r *Rows) Describe(columns []ColumnInfo) {
	if r.opts.Naming != NamesAsIs {
		columns = slices.Clone(columns)
		for i := range columns {
			columns[i].Name = Rename(columns[i].Name, r.opts.Naming)
		}
	}
	r.keys = make([][]byte, len(columns))
	r.Head.Columns = columns
	size := 0
	for i := range columns {
		size += len(columns[i].Name) + 4
	}
	flat := make([]byte, 0, size+16)
	for i := range columns {
		start := len(flat)
		flat = append(flat, ',')
		flat = AppendString(flat, columns[i].Name)
		flat = append(flat, ':')
		r.keys[i] = flat[start:len(flat):len(flat)]
	}
	if r.opts.Format == FormatCSV {
		for i := range columns {
			if i > 0 {
				r.buf = append(r.buf, ',')
			}
			r.buf = appendCSV(r.buf, columns[i].Name)
		}
		r.buf = append(r.buf, '\n')
		r.opened = true
	}
}

// Cell begins the next column and returns the buffer to append its JSON value to; Put
// takes it back.
func (r *Rows) Cell() []byte {
	if r.opts.Format == FormatCSV {
		if r.col > 0 {
			r.buf = append(r.buf, ',')
		} else {
			r.rowStart = len(r.buf)
		}
		r.cellStart = len(r.buf)
		return r.buf
	}
	if r.rowOpen {
		return append(r.buf, r.keys[r.col]...)
	}
	r.openRow()
	return append(r.buf, r.keys[r.col][1:]...)
}

func (r *Rows) openRow() {
	r.rowStart = len(r.buf)
	switch {
	case r.opts.Format == FormatObject:
	case !r.opened:
		r.buf = append(r.buf, '[')
	default:
		r.buf = append(r.buf, ',')
	}
	r.opened = true
	r.rowOpen = true
	r.buf = append(r.buf, '{')
}

// Put ends the column that Cell began.
func (r *Rows) Put(b []byte) {
	if r.opts.Format == FormatCSV {
		r.putCSV(b)
		return
	}
	r.buf = b
	r.col++
}

// putCSV turns the JSON value that was appended into a CSV cell: a JSON string loses its
// quotes and escapes, anything else is its JSON text.
func (r *Rows) putCSV(b []byte) {
	cell := string(b[r.cellStart:])
	r.buf = b[:r.cellStart]
	r.col++
	if cell == "" || cell == "null" {
		return
	}
	if strings.HasPrefix(cell, `"`) {
		var s string
		if json.Unmarshal([]byte(cell), &s) == nil {
			cell = s
		}
	}
	r.buf = appendCSV(r.buf, cell)
}

// Null ends the next column as null.
func (r *Rows) Null() {
	switch {
	case r.opts.Format == FormatCSV:
		r.buf = r.Cell()
		r.col++
	case r.opts.StripNulls:
		r.col++
	default:
		r.Put(append(r.Cell(), "null"...))
	}
}

// Text ends the next column as a string.
func (r *Rows) Text(s []byte) {
	if r.opts.Format == FormatCSV {
		r.buf = appendCSV(r.Cell(), string(s))
		r.col++
		return
	}
	r.Put(AppendString(r.Cell(), s))
}

// EndRow ends a row. Its error must end the call: the reader is gone, or a bound is
// passed (then ErrRowLimit asks to stop without failing).
func (r *Rows) EndRow() error {
	if r.opts.Format == FormatCSV {
		r.buf = append(r.buf, '\n')
	} else {
		if !r.rowOpen {
			r.openRow()
		}
		r.buf = append(r.buf, '}')
	}
	return r.endRow()
}

// ErrRowLimit is returned by EndRow and Row when the rows are capped and the cap is
// reached: stop reading, the answer is complete.
var ErrRowLimit = &Error{Kind: Invalid, Reason: "row_limit", Message: "the row cap is reached"}

func (r *Rows) endRow() error {
	r.col = 0
	r.rowOpen = false
	if r.opts.MaxRows > 0 && r.Tail.Rows >= r.opts.MaxRows {
		r.buf = r.buf[:r.rowStart]
		if r.opts.CapRows {
			return ErrRowLimit
		}
		return E(Invalid, "max_rows_exceeded", fmt.Sprintf("the answer has more than %d rows", r.opts.MaxRows)).
			WithHint("ask for fewer rows with limit, or page through them")
	}
	r.Tail.Rows++
	switch r.opts.Format {
	case FormatNone:
		r.buf = r.buf[:r.rowStart]
	case FormatObject:
		if r.Tail.Rows > 1 {
			return E(Invalid, "more_than_one_row", "the statement answered with more than one row where one was asked for").
				WithHint("narrow the filter, or ask for rows")
		}
	}
	if len(r.buf) >= chunkSize {
		return r.flush(nil, false)
	}
	return nil
}

// Row writes one row of Go values: nil, bool, integers, floats, strings, []byte (as
// PostgreSQL writes bytea), time.Time, json.RawMessage and json.Number as they are,
// anything else through encoding/json.
func (r *Rows) Row(values ...any) error {
	if len(values) != len(r.keys) {
		return fmt.Errorf("a row of %d values for %d columns", len(values), len(r.keys))
	}
	for _, value := range values {
		switch v := value.(type) {
		case nil:
			r.Null()
		case string:
			r.Put(AppendString(r.Cell(), v))
		case []byte:
			if v == nil {
				r.Null()
				continue
			}
			b := append(r.Cell(), `"\\x`...)
			r.Put(append(hex.AppendEncode(b, v), '"'))
		case bool:
			r.Put(strconv.AppendBool(r.Cell(), v))
		case int:
			r.Put(strconv.AppendInt(r.Cell(), int64(v), 10))
		case int32:
			r.Put(strconv.AppendInt(r.Cell(), int64(v), 10))
		case int64:
			r.Put(strconv.AppendInt(r.Cell(), v, 10))
		case uint64:
			r.Put(strconv.AppendUint(r.Cell(), v, 10))
		case float64:
			r.Put(AppendFloat(r.Cell(), v, 64))
		case float32:
			r.Put(AppendFloat(r.Cell(), float64(v), 32))
		case time.Time:
			b := append(r.Cell(), '"')
			r.Put(append(v.AppendFormat(b, time.RFC3339Nano), '"'))
		case json.RawMessage:
			r.json(v)
		case json.Number:
			r.Put(append(r.Cell(), v...))
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return fmt.Errorf("column %s: %w", r.Head.Columns[r.col].Name, err)
			}
			r.json(b)
		}
	}
	return r.EndRow()
}

// json ends the next column as a JSON value; none is null.
func (r *Rows) json(value []byte) {
	if len(value) == 0 || string(value) == "null" {
		r.Null()
		return
	}
	r.Put(append(r.Cell(), value...))
}

// Raw writes one row that is a JSON object already. Naming and strip_nulls are applied
// to its top-level keys.
func (r *Rows) Raw(object []byte) error {
	if r.opts.Format == FormatCSV {
		return E(Unsupported, "csv_unsupported", "this backend cannot answer with CSV")
	}
	if r.opts.Naming == NamesAsIs && !r.opts.StripNulls {
		r.openRow()
		r.buf = append(r.buf[:len(r.buf)-1], object...)
		return r.endRow()
	}
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("a raw row must be a JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if r.opts.StripNulls && string(value) == "null" {
			continue
		}
		if r.rowOpen {
			r.buf = append(r.buf, ',')
		} else {
			r.openRow()
		}
		r.buf = AppendString(r.buf, Rename(name.(string), r.opts.Naming))
		r.buf = append(append(r.buf, ':'), value...)
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("a raw row must be one JSON object")
	}
	return r.EndRow()
}

// Scalar makes value, a JSON value, the whole body.
func (r *Rows) Scalar(value []byte) {
	r.Head.Shape = ShapeScalar
	r.buf = append(r.buf, value...)
	r.scalar = true
}

// Hold keeps the chunks back until Release: a write's rows before its COMMIT. More than
// the call's MaxBytes of them is an error that must roll the write back.
func (r *Rows) Hold() { r.hold = true }

// Release lets the held chunks go, after COMMIT.
func (r *Rows) Release() error {
	r.hold = false
	for len(r.held) > 0 {
		c := r.held[0]
		r.held = r.held[1:]
		if err := r.emit(c); err != nil {
			return err
		}
	}
	return nil
}

// NextStatement ends the current statement's answer and begins the next one's.
func (r *Rows) NextStatement() error {
	if err := r.finish(false); err != nil {
		return err
	}
	next := r.Head.Statement + 1
	r.Head, r.Tail = Head{Statement: next}, Tail{Statement: next}
	r.keys, r.col, r.opened, r.rowOpen, r.headSent, r.scalar = nil, 0, false, false, false, false
	return nil
}

// end ends the last statement's answer.
func (r *Rows) end() error { return r.finish(true) }

// finish closes the body and sends its last chunk, with the tail.
func (r *Rows) finish(last bool) error {
	if r.opts.Format == FormatNone {
		r.Head.Shape = ShapeVoid
		r.buf = r.buf[:0]
	} else if !r.scalar {
		switch r.opts.Format {
		case FormatRows:
			if !r.opened {
				r.buf = append(r.buf, '[')
			}
			r.buf = append(r.buf, ']')
		case FormatObject:
			r.Head.Shape = ShapeObject
			if !r.opened {
				r.buf = append(r.buf, "null"...)
			}
		}
	}
	tail := r.Tail
	return r.flush(&tail, last)
}

// discard drops what has not been sent, for an answer that fails.
func (r *Rows) discard() {
	for _, c := range r.held {
		FreeBody(c.Body)
	}
	r.held = nil
	FreeBody(r.buf)
	r.buf = nil
}

func (r *Rows) flush(tail *Tail, last bool) error {
	if r.err != nil {
		return r.err
	}
	c := &Chunk{Statement: r.Head.Statement, Body: r.buf, Tail: tail, last: last}
	if !r.headSent {
		if r.opts.Format == FormatObject {
			r.Head.Shape = ShapeObject
		}
		head := r.Head
		c.Head = &head
		r.headSent = true
	}
	r.buf = nil
	if !last {
		r.buf = (*chunks.Get().(*[]byte))[:0]
	}
	r.rowStart = 0
	if r.hold {
		r.held = append(r.held, c)
		r.size += int64(len(c.Body))
		max := r.opts.MaxBytes
		if max == 0 {
			max = DefaultMaxHeld
		}
		if r.size > max {
			return E(Invalid, "returned_rows_too_large", fmt.Sprintf("the rows that the write returns exceed %d bytes; nothing was written", max)).
				WithHint("return fewer columns, or write fewer rows at a time")
		}
		return nil
	}
	return r.emit(c)
}

func (r *Rows) emit(c *Chunk) error {
	r.err = r.send(c)
	return r.err
}

// FreeBody gives a chunk's body back for reuse. Nobody may touch it afterwards.
func FreeBody(b []byte) {
	if cap(b) < chunkSize || cap(b) > 1<<20 {
		return // grown for a huge row, or not ours
	}
	b = b[:0]
	chunks.Put(&b)
}

// AppendString appends s as a JSON string with PostgreSQL's escapes: only quote,
// backslash and control characters are escaped. Bytes that are no UTF-8 become U+FFFD.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			continue
		}
		if c >= utf8.RuneSelf {
			if _, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))])); size > 1 {
				i += size - 1
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\uFFFD"...)
			start = i + 1
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const digits = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendFloat appends f as JSON: the shortest text that reads back as f; what JSON has no
// number for becomes a string, as PostgreSQL does.
func AppendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

// appendCSV appends a CSV cell by RFC 4180; an empty string is quoted to differ from null.
func appendCSV(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}

// Rename applies a naming policy to a column name.
func Rename(name string, policy Naming) string {
	switch policy {
	case NamesCamel:
		return toCamel(name)
	case NamesSnake:
		return toSnake(name)
	default:
		return name
	}
}

// toCamel turns created_at into createdAt; leading underscores stay.
func toCamel(s string) string {
	if !strings.Contains(s, "_") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && strings.Trim(s[:i], "_") != "" && i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z' {
			i++
			b = append(b, s[i]-'a'+'A')
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// toSnake turns createdAt into created_at and userID into user_id.
func toSnake(s string) string {
	b := make([]byte, 0, len(s)+4)
	upper := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= 'A' && s[i] <= 'Z' }
	for i := 0; i < len(s); i++ {
		if !upper(i) {
			b = append(b, s[i])
			continue
		}
		// A word begins after a small letter or digit, and at the last capital of a run.
		next := i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z'
		if i > 0 && s[i-1] != '_' && (!upper(i-1) || next) {
			b = append(b, '_')
		}
		b = append(b, s[i]-'A'+'a')
	}
	return string(b)
}
