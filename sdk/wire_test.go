package sdk

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// fill sets every exported field below v to a value that is not its zero, so that a field
// forgotten in wire.go or plugin.proto shows.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(0, 1+r.Int64N(1<<60))))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), r, depth)
			}
		}
	case reflect.Pointer:
		if depth > 3 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, depth+1)
	case reflect.Slice:
		if depth > 3 && v.Type().Elem().Kind() == reflect.Struct {
			return
		}
		n := 1 + r.IntN(3)
		if r.IntN(20) == 0 {
			n = 200 // longer than a one-byte length
		}
		if v.Type().Elem().Kind() == reflect.Struct && n > 3 {
			n = 3
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), r, depth+1)
		}
	case reflect.String:
		v.SetString(string("ä-xyz\"0"[:2]) + string(rune('a'+r.IntN(26))))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1 + r.Uint64N(2))
	case reflect.Uint64:
		v.SetUint(1 + r.Uint64())
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1<<62) - 1<<61 | 1)
	default:
		panic("fill: " + v.Kind().String())
	}
}

// Every value of the model survives our encoder, the generated code, and our decoder.
func TestWireAgreesWithProto(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var call Call
		fill(reflect.ValueOf(&call).Elem(), r, 0)
		sent := (&callMessage{call: &call}).marshal().Materialize()
		var p pluginpb.CallOrPart
		if err := proto.Unmarshal(sent, &p); err != nil {
			t.Fatal(err)
		}
		if len(p.ProtoReflect().GetUnknown())+len(p.GetCall().ProtoReflect().GetUnknown()) > 0 {
			t.Fatal("a field that plugin.proto does not have")
		}
		again, err := proto.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		var got callMessage
		if err := got.unmarshal(again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&call, got.call); diff != "" {
			t.Fatalf("call changed on the way (-sent +got):\n%s", diff)
		}

		var chunk Chunk
		fill(reflect.ValueOf(&chunk).Elem(), r, 0)
		chunk.last, chunk.Statement = true, 3
		b := chunk.marshal().Materialize()
		var pc pluginpb.Chunk
		if err := proto.Unmarshal(b, &pc); err != nil {
			t.Fatal(err)
		}
		again, err = proto.Marshal(&pc)
		if err != nil {
			t.Fatal(err)
		}
		var back Chunk
		if err := back.unmarshal(mem.BufferSlice{mem.SliceBuffer(again)}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&chunk, &back, cmp.AllowUnexported(Chunk{}), cmpopts.IgnoreFields(Chunk{}, "pieces")); diff != "" {
			t.Fatalf("chunk changed on the way (-sent +got):\n%s", diff)
		}

		if diff := cmp.Diff(chunk.Err, errorFromProto(chunk.Err.toProto())); diff != "" {
			t.Fatalf("error changed on the way:\n%s", diff)
		}
		var capabilities Capabilities
		fill(reflect.ValueOf(&capabilities).Elem(), r, 0)
		if diff := cmp.Diff(capabilities, capabilitiesFromProto(capabilities.toProto())); diff != "" {
			t.Fatalf("capabilities changed on the way:\n%s", diff)
		}
	}
}

// A chunk whose body arrives in pieces keeps them.
func TestChunkInPieces(t *testing.T) {
	body := make([]byte, 100_000)
	for i := range body {
		body[i] = byte(i)
	}
	want := append([]byte(nil), body...)
	sent := (&Chunk{Head: &Head{Columns: []ColumnInfo{{Name: "a"}}}, Body: body}).marshal().Materialize()
	for _, cut := range []int{1, 3, 20, 16 << 10} {
		var data mem.BufferSlice
		for rest := sent; len(rest) > 0; {
			n := min(cut, len(rest))
			if len(data) > 0 {
				n = min(16<<10, len(rest))
			}
			data = append(data, mem.SliceBuffer(rest[:n]))
			rest = rest[n:]
		}
		var c Chunk
		if err := c.unmarshal(data); err != nil {
			t.Fatal(err)
		}
		got := append(c.Body, c.pieces.Materialize()...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cut at %d: body differs", cut)
		}
		if c.Head == nil || c.Head.Columns[0].Name != "a" {
			t.Fatalf("cut at %d: head lost", cut)
		}
	}
}

// Damaged messages are refused, never a panic.
func FuzzWireDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	var call Call
	fill(reflect.ValueOf(&call).Elem(), r, 2)
	f.Add((&callMessage{call: &call}).marshal().Materialize())
	var chunk Chunk
	fill(reflect.ValueOf(&chunk).Elem(), r, 2)
	f.Add(chunk.marshal().Materialize())
	f.Fuzz(func(t *testing.T, b []byte) {
		var m callMessage
		_ = m.unmarshal(b)
		var c Chunk
		_ = c.unmarshal(mem.BufferSlice{mem.SliceBuffer(b)})
		_ = c.unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:len(b)/2]), mem.SliceBuffer(b[len(b)/2:])})
	})
}

func BenchmarkWireCall(b *testing.B) {
	limit := int64(20)
	call := &Call{Instance: "demo", Generation: 1, Deadline: time.Now(), Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Statements: []Statement{{Verb: Select, Table: Table{Name: "items"}, Selection: Selection{Items: []Item{{Kind: ItemStar}}},
			Filter: &Filter{Column: Column{Name: "id"}, Operator: Eq, Values: []Value{{Hint: Number, Text: "42"}}}, Limit: &limit}}}
	b.ReportAllocs()
	for b.Loop() {
		data := (&callMessage{call: call}).marshal()
		var m callMessage
		if err := m.unmarshal(data.Materialize()); err != nil {
			b.Fatal(err)
		}
		data.Free()
	}
}
