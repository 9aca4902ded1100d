package sdk

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unsafe"
)

// The protobuf wire types that plugin.proto uses.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// encoder appends protobuf fields. Zero values are left out, as proto3 does.
type encoder struct{ b []byte }

func (e *encoder) tag(num, wire int) { e.b = binary.AppendUvarint(e.b, uint64(num)<<3|uint64(wire)) }

func (e *encoder) uint(num int, v uint64) {
	if v != 0 {
		e.tag(num, wireVarint)
		e.b = binary.AppendUvarint(e.b, v)
	}
}

func (e *encoder) int(num int, v int64) { e.uint(num, uint64(v)) }

func (e *encoder) sint(num int, v int64) { e.uint(num, uint64(v)<<1^uint64(v>>63)) }

func (e *encoder) optInt(num int, v *int64) {
	if v != nil {
		e.tag(num, wireVarint)
		e.b = binary.AppendUvarint(e.b, uint64(*v))
	}
}

func (e *encoder) fixed64(num int, v int64) {
	if v != 0 {
		e.tag(num, wireFixed64)
		e.b = binary.LittleEndian.AppendUint64(e.b, uint64(v))
	}
}

func (e *encoder) bool(num int, v bool) {
	if v {
		e.tag(num, wireVarint)
		e.b = append(e.b, 1)
	}
}

func (e *encoder) str(num int, s string) {
	if s != "" {
		e.tag(num, wireBytes)
		e.b = binary.AppendUvarint(e.b, uint64(len(s)))
		e.b = append(e.b, s...)
	}
}

func (e *encoder) bytes(num int, s []byte) {
	if len(s) != 0 {
		e.tag(num, wireBytes)
		e.b = binary.AppendUvarint(e.b, uint64(len(s)))
		e.b = append(e.b, s...)
	}
}

func (e *encoder) strs(num int, list []string) {
	for _, s := range list {
		e.tag(num, wireBytes)
		e.b = binary.AppendUvarint(e.b, uint64(len(s)))
		e.b = append(e.b, s...)
	}
}

// mark is where a nested message began.
type mark struct{ tag, body int }

func (e *encoder) begin(num int) mark {
	m := mark{tag: len(e.b)}
	e.tag(num, wireBytes)
	e.b = append(e.b, 0) // its length, most often one byte
	m.body = len(e.b)
	return m
}

// end closes a nested message.
func (e *encoder) end(m mark) {
	size := len(e.b) - m.body
	if size < 0x80 {
		e.b[m.body-1] = byte(size)
		return
	}
	extra := (bits.Len64(uint64(size))+6)/7 - 1
	for range extra {
		e.b = append(e.b, 0)
	}
	copy(e.b[m.body+extra:], e.b[m.body:m.body+size])
	binary.PutUvarint(e.b[m.body-1:], uint64(size))
}

// endOrDrop closes a nested message, leaving it out when it is empty.
func (e *encoder) endOrDrop(m mark) {
	if len(e.b) == m.body {
		e.b = e.b[:m.tag]
		return
	}
	e.end(m)
}

var errWire = errors.New("malformed protocol message")

// maxWireDepth bounds the nesting of a message: a tree of MaxFilterDepth takes a few
// messages a level.
const maxWireDepth = 4 * MaxFilterDepth

// decoder reads protobuf fields: for d.next() { switch d.num { ... default: d.skip() } }.
// Strings and bytes point into the message, which is therefore never reused. An error is
// sticky and shared with the decoders of nested messages.
type decoder struct {
	b     []byte
	num   int
	wire  int
	depth int
	err   *error
}

func (d *decoder) fail() { *d.err = errWire; d.b = nil }

func (d *decoder) next() bool {
	if len(d.b) == 0 || *d.err != nil {
		return false
	}
	tag := d.uvarint()
	d.num, d.wire = int(tag>>3), int(tag&7)
	return *d.err == nil
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) > 0 && d.b[0] < 0x80 {
		v := d.b[0]
		d.b = d.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint() uint64 {
	if d.wire != wireVarint {
		d.fail()
		return 0
	}
	return d.uvarint()
}

func (d *decoder) int() int64 { return int64(d.uint()) }

func (d *decoder) sint() int64 {
	v := d.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) optInt() *int64 {
	v := d.int()
	return &v
}

func (d *decoder) bool() bool { return d.uint() != 0 }

func (d *decoder) fixed64() int64 {
	if d.wire != wireFixed64 || len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return int64(v)
}

func (d *decoder) bytes() []byte {
	if d.wire != wireBytes {
		d.fail()
		return nil
	}
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// str is bytes as a string without a copy: the message is immutable once received.
func (d *decoder) str() string {
	b := d.bytes()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (d *decoder) msg() decoder {
	sub := decoder{b: d.bytes(), depth: d.depth + 1, err: d.err}
	if sub.depth > maxWireDepth {
		d.fail()
		sub.b = nil
	}
	return sub
}

func (d *decoder) skip() {
	switch d.wire {
	case wireVarint:
		d.uvarint()
	case wireFixed64:
		d.drop(8)
	case wireFixed32:
		d.drop(4)
	case wireBytes:
		d.bytes()
	default:
		d.fail()
	}
}

func (d *decoder) drop(n int) {
	if len(d.b) < n {
		d.fail()
		return
	}
	d.b = d.b[n:]
}
