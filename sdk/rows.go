package sdk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

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
	bad    error           // while it is decoded
}

// Rows writes the answer of a call: row JSON (or CSV) goes straight into pooled chunks
// that cross to the gateway as they are. It applies the call's naming policy,
// strip_nulls and row bounds. It is used by one goroutine.
//
// The simple way is Columns, then Row once per row. Drivers that see wire values write
// cell by cell: Cell/Put, Text, Bytes or Null for each column in order, then EndRow.
//
// What the body of an answer is:
//
//	FormatRows     [{"a":1},{"a":2}]; with Bare [1,2]
//	FormatObject   {"a":1}, null if there is no row; with Bare 1
//	FormatCSV      a header line and a line per row, as PostgreSQL's COPY writes them
//	FormatGeoJSON  {"type":"FeatureCollection","features":[...]}: each row is one feature,
//	               given to Raw or as the value of the only column
//	FormatRaw      the first column of all rows, one after the other: text and bytes as
//	               they are, other values as JSON. It is not JSON as a whole
//	FormatNone     nothing
type Rows struct {
	// Head goes out with the first chunk, Tail after the last; an Instance may set
	// their optional fields. Rows keeps Statement, Columns and Tail.Rows itself.
	//
	// Head.Shape may be set before the first row: ShapeObject and ShapeScalar make of
	// FormatRows the one row itself, as FormatObject is; ShapeVoid leaves the body empty.
	Head Head
	Tail Tail

	opts ResultOptions
	send func(*Chunk) error

	buf       []byte
	layout    layout
	keys      [][]byte // per column `,"name":`
	col       int
	cellStart int
	rowStart  int
	rowOpen   bool // something of the current row has been written
	opened    bool // the body has begun
	headSent  bool
	scalar    bool              // Scalar wrote the whole body
	renamed   map[string][]byte // of Raw: keys as they came, and as they go out

	hold  bool
	write bool // what is held is a write's
	held  []*Chunk
	size  int64 // bytes held
	err   error
}

// layout is how a row is laid out.
type layout uint8

const (
	layoutObject layout = iota // {"a":1}
	layoutBare                 // 1
	layoutCSV
	layoutRaw
)

// NewRows makes a Rows that hands each finished chunk to send. Plugins get theirs from
// Serve; this is for tests and benchmarks of an Instance.
func NewRows(opts ResultOptions, send func(*Chunk) error) *Rows {
	r := &Rows{opts: opts, send: send, layout: layoutOf(opts.Format)}
	r.buf = (*chunks.Get().(*[]byte))[:0]
	return r
}

func layoutOf(format Format) layout {
	switch format {
	case FormatCSV:
		return layoutCSV
	case FormatGeoJSON:
		return layoutBare
	case FormatRaw:
		return layoutRaw
	default:
		return layoutObject
	}
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
func (r *Rows) Describe(columns []ColumnInfo) { r.describe(nameColumns(columns, r.opts.Naming)) }

// Use is Describe with a header that is kept between answers.
func (r *Rows) Use(h *Header) { r.describe(h.as(r.opts.Naming)) }

func (r *Rows) describe(n *namedColumns) {
	r.keys, r.Head.Columns = n.keys, n.columns
	if r.layout != layoutCSV {
		return
	}
	for i := range n.columns {
		if i > 0 {
			r.buf = append(r.buf, ',')
		}
		r.buf = appendCSV(r.buf, n.columns[i].Name, len(n.columns) == 1)
	}
	r.buf = append(r.buf, '\n')
}

// Bare makes each row the JSON value of its one column instead of an object, after the
// columns have been named. CSV stays as it is.
func (r *Rows) Bare() {
	if r.layout == layoutObject {
		r.layout = layoutBare
	}
}

// single reports whether the body is one row, not an array of rows.
func (r *Rows) single() bool {
	return r.opts.Format == FormatObject || r.opts.Format == FormatRows && r.Head.Shape != ShapeRows
}

// void reports whether rows are counted and not sent.
func (r *Rows) void() bool { return r.opts.Format == FormatNone || r.Head.Shape == ShapeVoid }

// openRow writes what stands before a row.
func (r *Rows) openRow() {
	r.rowStart, r.rowOpen = len(r.buf), true
	switch {
	case r.layout >= layoutCSV, r.single():
	case r.opened:
		r.buf = append(r.buf, ',')
	default:
		r.openBody()
	}
	r.opened = true
}

// openBody writes what stands before the first of many rows.
func (r *Rows) openBody() {
	switch r.opts.Format {
	case FormatRows:
		r.buf = append(r.buf, '[')
	case FormatGeoJSON:
		r.buf = append(r.buf, `{"type":"FeatureCollection","features":[`...)
	}
}

// closeBody ends the body.
func (r *Rows) closeBody() {
	switch {
	case r.void():
		r.buf = r.buf[:0]
	case r.scalar, r.layout >= layoutCSV:
	case r.single():
		if !r.opened {
			r.buf = append(r.buf, "null"...)
		}
	default:
		if !r.opened {
			r.openBody()
		}
		r.buf = append(r.buf, ']')
		if r.opts.Format == FormatGeoJSON {
			r.buf = append(r.buf, '}')
		}
	}
}

// Cell begins the next column and returns the buffer to append its JSON value to; Put
// takes it back.
func (r *Rows) Cell() []byte {
	first := !r.rowOpen
	if first {
		r.openRow()
	}
	if r.layout == layoutObject {
		if !first {
			return append(r.buf, r.keys[r.col]...)
		}
		r.buf = append(r.buf, '{')
		return append(r.buf, r.keys[r.col][1:]...)
	}
	if r.layout == layoutCSV && !first {
		r.buf = append(r.buf, ',')
	}
	r.cellStart = len(r.buf)
	return r.buf
}

// Put ends the column that Cell began.
func (r *Rows) Put(b []byte) {
	r.buf = b
	r.col++
	switch {
	case r.layout == layoutObject:
	case r.layout != layoutCSV && r.col > 1: // of these layouts only the first column shows
		r.buf = b[:r.cellStart]
	case r.layout == layoutRaw:
		r.buf = append(b[:r.cellStart], jsonText(b[r.cellStart:])...)
	case r.layout == layoutCSV:
		if text := jsonText(b[r.cellStart:]); text != nil {
			end := len(b)
			b = appendCSV(b, text, len(r.keys) == 1) // behind what it is made from
			r.buf = append(b[:r.cellStart], b[end:]...)
		} else {
			r.buf = b[:r.cellStart]
		}
	}
}

// Null ends the next column as null.
func (r *Rows) Null() {
	switch {
	case r.layout >= layoutCSV:
		r.buf = r.Cell()
		r.col++
	case r.layout == layoutObject && r.opts.StripNulls:
		r.col++
	default:
		r.Put(append(r.Cell(), "null"...))
	}
}

// Text ends the next column as a string. A CSV cell or raw bytes are s as it is.
func (r *Rows) Text(s []byte) { writeText(r, s) }

func writeText[T string | []byte](r *Rows, s T) {
	if r.layout < layoutCSV {
		r.Put(AppendString(r.Cell(), s))
		return
	}
	b := r.Cell()
	switch {
	case r.layout == layoutCSV:
		b = appendCSV(b, s, len(r.keys) == 1)
	case r.col == 0:
		b = append(b, s...)
	}
	r.buf = b
	r.col++
}

// Bytes ends the next column as bytes: in JSON and CSV as PostgreSQL writes bytea
// (\x00ff), raw as they are.
func (r *Rows) Bytes(value []byte) {
	if r.layout == layoutRaw {
		r.Text(value)
		return
	}
	b := r.Cell()
	if r.layout == layoutCSV {
		r.buf = hex.AppendEncode(append(b, `\x`...), value)
		r.col++
		return
	}
	r.Put(append(hex.AppendEncode(append(b, `"\\x`...), value), '"'))
}

// EndRow ends a row. ErrRowLimit must end the statement's rows, any other error the call:
// the reader is gone, or a bound is passed.
func (r *Rows) EndRow() error {
	empty := !r.rowOpen
	if empty {
		r.openRow()
	}
	switch r.layout {
	case layoutObject:
		if empty {
			r.buf = append(r.buf, '{')
		}
		r.buf = append(r.buf, '}')
	case layoutBare:
		if empty {
			r.buf = append(r.buf, "null"...)
		}
	case layoutCSV:
		r.buf = append(r.buf, '\n')
	}
	return r.endRow()
}

// ErrRowLimit is returned by EndRow and Row when the rows are capped and the cap is
// reached: stop reading, the statement's answer is complete. What else the call asks for,
// a COMMIT or further statements, is still to be done. An Instance may return it from
// Execute where there is nothing of that kind.
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
	switch {
	case r.void():
		r.buf = r.buf[:r.rowStart]
	case r.Tail.Rows > 1 && r.single():
		return E(Invalid, "more_than_one_row", "the statement answered with more than one row where one was asked for").
			WithHint("narrow the filter, or ask for rows")
	}
	if len(r.buf) >= chunkSize {
		return r.flush(false, false)
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
			writeText(r, v)
		case []byte:
			if v == nil {
				r.Null()
				continue
			}
			r.Bytes(v)
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

// Scalar makes value, a JSON value, the whole body. The last one counts.
func (r *Rows) Scalar(value []byte) {
	r.Head.Shape = ShapeScalar
	r.buf = append(r.buf[:0], value...)
	r.scalar = true
}

// Hold keeps the chunks back until Release: a write's rows before its COMMIT. More than
// the call's MaxBytes of them is an error that must roll the write back.
func (r *Rows) Hold() { r.hold, r.write = true, true }

// HoldRead is Hold for rows of a read, whose head is not complete before their end.
func (r *Rows) HoldRead() { r.hold = true }

// Release lets the held chunks go, after COMMIT. All their heads get the status and
// headers that Head has now, and that of the current statement its totals.
func (r *Rows) Release() error {
	r.completeHead()
	for _, c := range r.held {
		if c.Head != nil {
			c.Head.Status, c.Head.Headers = r.Head.Status, r.Head.Headers
		}
	}
	r.hold, r.write, r.size = false, false, 0
	for len(r.held) > 0 {
		c := r.held[0]
		r.held = r.held[1:]
		if err := r.emit(c); err != nil {
			return err
		}
	}
	return nil
}

// completeHead gives the head of the current statement, if it is held, what has become
// known since.
func (r *Rows) completeHead() {
	for _, c := range r.held {
		if c.Head != nil && c.Statement == r.Head.Statement {
			c.Head.Total, c.Head.Rows = r.Head.Total, r.Head.Rows
		}
	}
}

// NextStatement ends the current statement's answer and begins the next one's.
func (r *Rows) NextStatement() error {
	if err := r.finish(false); err != nil {
		return err
	}
	next := r.Head.Statement + 1
	r.Head, r.Tail = Head{Statement: next}, Tail{Statement: next}
	r.layout = layoutOf(r.opts.Format)
	r.keys, r.col, r.opened, r.rowOpen, r.headSent, r.scalar = nil, 0, false, false, false, false
	return nil
}

// end ends the last statement's answer.
func (r *Rows) end() error { return r.finish(true) }

// finish closes the body and sends its last chunk, with the tail.
func (r *Rows) finish(last bool) error {
	r.closeBody()
	r.completeHead()
	return r.flush(true, last)
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

// shape is the shape of the current statement's answer.
func (r *Rows) shape() Shape {
	switch {
	case r.void():
		return ShapeVoid
	case r.scalar, r.layout == layoutRaw, r.layout == layoutBare && r.single():
		return ShapeScalar
	case r.single():
		return ShapeObject
	default:
		return ShapeRows
	}
}

// message is a Chunk with room for what it points to.
type message struct {
	Chunk
	head Head
	tail Tail
}

// flush sends what has been written of the current statement's answer. ends says that it
// is all, last that no other answer follows.
func (r *Rows) flush(ends, last bool) error {
	if r.err != nil {
		return r.err
	}
	var c *Chunk
	if r.headSent && !ends {
		c = &Chunk{}
	} else {
		m := &message{head: r.Head, tail: r.Tail}
		c = &m.Chunk
		if !r.headSent {
			m.head.Shape = r.shape()
			if r.opts.NoColumns {
				m.head.Columns = nil
			}
			c.Head, r.headSent = &m.head, true
		}
		if ends {
			c.Tail = &m.tail
		}
	}
	c.Statement, c.Body, c.last = r.Head.Statement, r.buf, last
	r.buf = nil
	if !last {
		r.buf = (*chunks.Get().(*[]byte))[:0]
	}
	r.rowStart = 0
	if r.hold {
		if len(c.Body) < cap(c.Body)/2 { // a pooled chunk would be held for a few bytes
			whole := c.Body
			c.Body = bytes.Clone(whole)
			FreeBody(whole)
		}
		r.held = append(r.held, c)
		r.size += int64(cap(c.Body)) + heldOverhead
		return r.checkHeld()
	}
	return r.emit(c)
}

// heldOverhead is about what a held chunk takes besides its body.
const heldOverhead = 512

func (r *Rows) checkHeld() error {
	limit := r.opts.MaxBytes
	if limit == 0 {
		limit = DefaultMaxHeld
	}
	switch {
	case r.size <= limit:
		return nil
	case r.write:
		return E(Invalid, "returned_rows_too_large", fmt.Sprintf("the rows that the write returns exceed %d bytes; nothing was written", limit)).
			WithHint("return fewer columns, or write fewer rows at a time")
	default:
		return E(Invalid, "held_rows_too_large", fmt.Sprintf("the rows exceed %d bytes, too many to be held until their status and headers are known", limit)).
			WithHint("ask for fewer rows or columns, or do not let SQL set the status and headers")
	}
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
