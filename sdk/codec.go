package sdk

import (
	"encoding/binary"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is the gRPC codec of both halves: calls and chunks are encoded by wire.go, and
// row bytes are handed to the transport and taken from it without a copy. Everything
// else is ordinary protobuf, and so is what stands on the wire.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is that of the standard codec, which this one is compatible with.
func (codec) Name() string { return "proto" }

// callMessage is one CallOrPart: a call, or a part of its payload.
type callMessage struct {
	call  *Call
	parts bool // the call's payload follows in parts
	part  []byte
	last  bool  // of the parts
	bad   error // while it is decoded
}

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *callMessage:
		return v.marshal(), nil
	case *Chunk:
		return v.marshal(), nil
	default:
		b, err := proto.Marshal(v.(proto.Message))
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *callMessage:
		return v.unmarshal(data.Materialize())
	case *Chunk:
		return v.unmarshal(data)
	default:
		return proto.Unmarshal(data.Materialize(), v.(proto.Message))
	}
}

// headSize is the room of a pooled buffer for a call or for what precedes a body.
const headSize = 4 << 10

// headPool holds such buffers; the transport gives them back once written.
type headPool struct{ pool sync.Pool }

var heads = &headPool{sync.Pool{New: func() any { b := make([]byte, 0, headSize); return &b }}}

// Get and Put make it a mem.BufferPool.
func (p *headPool) Get(int) *[]byte { return p.pool.Get().(*[]byte) }

func (p *headPool) Put(b *[]byte) {
	if cap(*b) > 16*headSize {
		return
	}
	*b = (*b)[:0]
	p.pool.Put(b)
}

// bodyPool takes chunk bodies back once the transport has written them.
type bodyPool struct{}

func (bodyPool) Get(int) *[]byte { return chunks.Get().(*[]byte) }
func (bodyPool) Put(b *[]byte)   { FreeBody(*b) }

// Sizes of the buffers that framePool lends: of a small answer, and of the longest frame
// that gRPC sends.
const (
	smallFrame = 4 << 10
	largeFrame = 16 << 10
)

// framePool lends the buffers that frames are read into. gRPC's own pool clears each buffer
// before it is filled, which is a large part of what it costs to receive large answers.
//
// The sizes of the connection's own read and write buffers are gRPC's: from 4 to 128 KiB
// none made a difference that could be measured.
type framePool struct{ small, large sync.Pool }

var frames = &framePool{
	small: sync.Pool{New: func() any { return new(make([]byte, smallFrame)) }},
	large: sync.Pool{New: func() any { return new(make([]byte, largeFrame)) }},
}

// Get and Put make it a mem.BufferPool. What a buffer holds is undefined.
func (p *framePool) Get(length int) *[]byte {
	var b *[]byte
	switch {
	case length <= smallFrame:
		b = p.small.Get().(*[]byte)
	case length <= largeFrame:
		b = p.large.Get().(*[]byte)
	default:
		b = new(make([]byte, length))
	}
	*b = (*b)[:length]
	return b
}

func (p *framePool) Put(b *[]byte) {
	switch cap(*b) {
	case smallFrame:
		p.small.Put(b)
	case largeFrame:
		p.large.Put(b)
	}
}

func (m *callMessage) marshal() mem.BufferSlice {
	if m.call == nil {
		e := encoder{b: make([]byte, 0, 32)}
		// Part nested in CallOrPart; the data is the last field of both.
		inner := encoder{b: make([]byte, 0, 16)}
		inner.bool(1, m.last)
		inner.tag(2, wireBytes)
		inner.b = binary.AppendUvarint(inner.b, uint64(len(m.part)))
		e.tag(2, wireBytes)
		e.b = binary.AppendUvarint(e.b, uint64(len(inner.b)+len(m.part)))
		e.b = append(e.b, inner.b...)
		return mem.BufferSlice{mem.SliceBuffer(e.b), mem.SliceBuffer(m.part)}
	}
	b := heads.Get(0)
	e := encoder{b: *b}
	mark := e.begin(1)
	m.call.encode(&e, m.parts)
	e.end(mark)
	*b = e.b
	return mem.BufferSlice{mem.NewBuffer(b, heads)}
}

func (m *callMessage) unmarshal(b []byte) error {
	d := decoder{b: b, err: &m.bad}
	for d.next() {
		switch d.num {
		case 1:
			m.call = new(Call)
			m.parts = m.call.decode(d.msg())
		case 2:
			part := d.msg()
			for part.next() {
				switch part.num {
				case 1:
					m.last = part.bool()
				case 2:
					m.part = part.bytes()
				default:
					part.skip()
				}
			}
		default:
			d.skip()
		}
	}
	return m.bad
}

// bodyField is the tag of Chunk.body.
const bodyField = 15<<3 | wireBytes

func (c *Chunk) marshal() mem.BufferSlice {
	b := heads.Get(0)
	e := encoder{b: *b}
	c.encodeHead(&e)
	if len(c.Body) > 0 {
		e.b = append(e.b, bodyField)
		e.b = binary.AppendUvarint(e.b, uint64(len(c.Body)))
	}
	if len(e.b)+len(c.Body) <= headSize { // cheaper to copy than to hand over
		e.b = append(e.b, c.Body...)
		FreeBody(c.Body)
		*b = e.b
		return mem.BufferSlice{mem.NewBuffer(b, heads)}
	}
	*b = e.b
	body := c.Body
	return mem.BufferSlice{mem.NewBuffer(b, heads), mem.NewBuffer(&body, bodyPool{})}
}

func (c *Chunk) unmarshal(data mem.BufferSlice) error {
	if len(data) > 1 {
		first := data[0].ReadOnlyData()
		if head, start, length, ok := splitBody(first); ok {
			if len(first)-start+restLen(data[1:]) == length {
				if _, err := c.decode(append([]byte(nil), first[:head]...)); err != nil {
					return err
				}
				c.pieces = make(mem.BufferSlice, 0, len(data))
				c.pieces = append(c.pieces, data[0].Slice(start, len(first)))
				for _, b := range data[1:] {
					b.Ref()
					c.pieces = append(c.pieces, b)
				}
				return nil
			}
		}
	}
	// Small, or not laid out as our own plugins do: one copy.
	body, err := c.decode(data.Materialize())
	c.Body = body
	return err
}

func restLen(data mem.BufferSlice) int {
	n := 0
	for _, b := range data {
		n += b.Len()
	}
	return n
}

// splitBody finds the body in the first piece of a Chunk: where the fields before it end,
// where it starts, and its length.
func splitBody(b []byte) (head, start, length int, ok bool) {
	var err error
	d := decoder{b: b, err: &err}
	for d.next() {
		if d.num == 15 && d.wire == wireBytes {
			length = int(d.uvarint())
			return head, len(b) - len(d.b), length, err == nil
		}
		d.skip()
		head = len(b) - len(d.b)
	}
	return 0, 0, 0, false
}
