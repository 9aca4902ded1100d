package sdk

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// written is what a Rows sent: the body of each statement, heads and tails.
type written struct {
	Bodies []string
	Heads  []*Head
	Tails  []*Tail
	Chunks int
}

// write runs f over a Rows and collects what it sends.
func write(opts ResultOptions, f func(*Rows) error) (written, error) {
	var w written
	r := NewRows(opts, func(c *Chunk) error {
		w.Chunks++
		if c.Head != nil {
			w.Heads = append(w.Heads, c.Head)
			w.Bodies = append(w.Bodies, "")
		}
		w.Bodies[c.Statement] += string(c.Body)
		if c.Tail != nil {
			w.Tails = append(w.Tails, c.Tail)
		}
		FreeBody(c.Body)
		return nil
	})
	if err := f(r); err != nil {
		r.discard()
		return w, err
	}
	if err := r.Release(); err != nil {
		return w, err
	}
	return w, r.end()
}

func twoRows(r *Rows) error {
	r.Columns("user_id", "note")
	if err := r.Row(1, nil); err != nil {
		return err
	}
	return r.Row(2, "a\"b,c")
}

func noRows(r *Rows) error {
	r.Columns("user_id", "note")
	return nil
}

func oneRow(r *Rows) error {
	r.Columns("user_id", "note")
	return r.Row(1, nil)
}

func bareValues(r *Rows) error {
	r.Columns("n")
	r.Bare()
	return errors.Join(r.Row(1), r.Row("a,\"b"), r.Row(nil))
}

// TestNoColumns: a head leaves the columns out when nobody looks at them; the rows have them.
func TestNoColumns(t *testing.T) {
	for _, no := range []bool{false, true} {
		got, err := write(ResultOptions{NoColumns: no}, oneRow)
		if err != nil {
			t.Fatal(err)
		}
		if named := got.Heads[0].Columns != nil; named == no || got.Bodies[0] != `[{"user_id":1,"note":null}]` {
			t.Errorf("NoColumns %t: columns %v of %s", no, got.Heads[0].Columns, got.Bodies[0])
		}
	}
}

func TestRowsBodies(t *testing.T) {
	for _, test := range []struct {
		name string
		opts ResultOptions
		rows func(*Rows) error
		want string
	}{
		{"rows", ResultOptions{}, twoRows, `[{"user_id":1,"note":null},{"user_id":2,"note":"a\"b,c"}]`},
		{"camel", ResultOptions{Naming: NamesCamel}, oneRow, `[{"userId":1,"note":null}]`},
		{"strip nulls", ResultOptions{StripNulls: true}, oneRow, `[{"user_id":1}]`},
		{"no rows", ResultOptions{}, noRows, `[]`},
		{"nothing", ResultOptions{}, func(*Rows) error { return nil }, `[]`},
		{"object", ResultOptions{Format: FormatObject}, oneRow, `{"user_id":1,"note":null}`},
		{"no object", ResultOptions{Format: FormatObject}, noRows, `null`},
		{"csv", ResultOptions{Format: FormatCSV}, twoRows, "user_id,note\n1,\n2,\"a\"\"b,c\"\n"},
		{"csv without rows", ResultOptions{Format: FormatCSV, Naming: NamesCamel}, noRows, "userId,note\n"},
		{"none", ResultOptions{Format: FormatNone}, twoRows, ``},
		{"scalar", ResultOptions{}, func(r *Rows) error { r.Scalar([]byte(`{"a":1}`)); return nil }, `{"a":1}`},
		{"only nulls stripped", ResultOptions{StripNulls: true}, func(r *Rows) error {
			r.Columns("a", "b")
			return errors.Join(r.Row(nil, nil), r.Row(nil, 1))
		}, `[{},{"b":1}]`},
		{"cells", ResultOptions{}, func(r *Rows) error {
			r.Columns("a", "b", "c")
			r.Put(append(r.Cell(), "12.50"...))
			r.Null()
			r.Text([]byte("x\ny"))
			return r.EndRow()
		}, `[{"a":12.50,"b":null,"c":"x\ny"}]`},
		{"csv cells", ResultOptions{Format: FormatCSV}, func(r *Rows) error {
			r.Columns("a", "b", "c", "d")
			r.Put(append(r.Cell(), `{"k":"v"}`...))
			r.Null()
			r.Text(nil)
			r.Put(AppendString(r.Cell(), "x\r\ny"))
			return r.EndRow()
		}, "a,b,c,d\n\"{\"\"k\"\":\"\"v\"\"}\",,\"\",\"x\r\ny\"\n"},
		{"bare", ResultOptions{StripNulls: true}, bareValues, `[1,"a,\"b",null]`},
		{"no bare", ResultOptions{}, func(r *Rows) error { r.Columns("a"); r.Bare(); return nil }, `[]`},
		{"bare object", ResultOptions{Format: FormatObject}, func(r *Rows) error { r.Columns("a"); r.Bare(); return r.Row("x") }, `"x"`},
		{"no bare object", ResultOptions{Format: FormatObject}, func(r *Rows) error { r.Columns("a"); r.Bare(); return nil }, `null`},
		{"bare csv", ResultOptions{Format: FormatCSV}, bareValues, "n\n1\n\"a,\"\"b\"\n\n"},
		{"bare raw", ResultOptions{}, func(r *Rows) error { r.Columns("a"); r.Bare(); return r.Raw([]byte(`{"b":1}`)) }, `[{"b":1}]`},
		{"one row", ResultOptions{}, func(r *Rows) error { r.Head.Shape = ShapeObject; return oneRow(r) }, `{"user_id":1,"note":null}`},
		{"one value", ResultOptions{}, func(r *Rows) error { r.Head.Shape = ShapeScalar; r.Columns("a"); r.Bare(); return r.Row(true) }, `true`},
		{"void", ResultOptions{}, func(r *Rows) error { r.Head.Shape = ShapeVoid; return oneRow(r) }, ``},
		{"features", ResultOptions{Format: FormatGeoJSON, Naming: NamesSnake, StripNulls: true}, func(r *Rows) error {
			return errors.Join(r.Raw([]byte(`{"type":"Feature","someKey":null}`)), r.Raw([]byte(`{}`)))
		}, `{"type":"FeatureCollection","features":[{"type":"Feature","someKey":null},{}]}`},
		{"features in a column", ResultOptions{Format: FormatGeoJSON}, func(r *Rows) error {
			r.Columns("feature")
			return errors.Join(r.Row(json.RawMessage(`{"a":1}`)), r.Row(json.RawMessage(`{"a":2}`)))
		}, `{"type":"FeatureCollection","features":[{"a":1},{"a":2}]}`},
		{"no features", ResultOptions{Format: FormatGeoJSON}, noRows, `{"type":"FeatureCollection","features":[]}`},
		{"raw bytes", ResultOptions{Format: FormatRaw}, func(r *Rows) error {
			r.Columns("a", "b")
			return errors.Join(r.Row([]byte{0, 0xff, '"'}, 1), r.Row("text\n\"", 2), r.Row(nil, 3), r.Row(json.RawMessage(`{"a":1}`), []byte("b")), r.Row(json.Number("1.50"), "b"),
				r.Row(json.RawMessage(`"a\u0000\n"`), nil))
		}, "\x00\xff\"text\n\"{\"a\":1}1.50a\x00\n"},
		{"no raw bytes", ResultOptions{Format: FormatRaw}, noRows, ``},
		{"csv bytes", ResultOptions{Format: FormatCSV}, func(r *Rows) error { r.Columns("a", "b"); return r.Row([]byte{}, []byte{1, 0xab}) }, "a,b\n\\x,\\x01ab\n"},
		{"csv end marker", ResultOptions{Format: FormatCSV}, func(r *Rows) error { r.Columns(`\.`); return errors.Join(r.Row(`\.`), r.Row(`\.x`), r.Row("")) }, "\"\\.\"\n\"\\.\"\n\\.x\n\"\"\n"},
		{"csv without columns", ResultOptions{Format: FormatCSV, MaxRows: 2, CapRows: true}, func(r *Rows) error {
			r.Columns()
			return errors.Join(r.EndRow(), r.EndRow())
		}, "\n\n\n"},
		{"no columns", ResultOptions{}, func(r *Rows) error { r.Columns(); return errors.Join(r.EndRow(), r.EndRow()) }, `[{},{}]`},
		{"duplicate columns", ResultOptions{}, func(r *Rows) error { r.Columns("a", "a"); return r.Row(1, 2) }, `[{"a":1,"a":2}]`},
		{"column names are escaped", ResultOptions{}, func(r *Rows) error { r.Columns("a\"\n"); return r.Row(1) }, `[{"a\"\n":1}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := write(test.opts, test.rows)
			if err != nil {
				t.Fatal(err)
			}
			if w.Bodies[0] != test.want {
				t.Errorf("got  %s\nwant %s", w.Bodies[0], test.want)
			}
			if w.Chunks != 1 {
				t.Errorf("%d chunks for a small answer", w.Chunks)
			}
		})
	}
}

func TestRowValues(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{nil, `null`},
		{"é\x00", `"é\u0000"`},
		{[]byte{0, 255}, `"\\x00ff"`},
		{true, `true`},
		{int(-1), `-1`},
		{int16(-2), `-2`},
		{int32(math.MinInt32), `-2147483648`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{uint64(math.MaxUint64), `18446744073709551615`},
		{0.1, `0.1`},
		{float32(0.1), `0.1`},
		{math.NaN(), `"NaN"`},
		{math.Inf(-1), `"-Infinity"`},
		{time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), `"2024-02-29T01:02:03.000004Z"`},
		{json.RawMessage(`{"a":[1]}`), `{"a":[1]}`},
		{json.Number("1.000"), `1.000`},
		{[]string{"a", "b"}, `["a","b"]`},
		{json.RawMessage(nil), `null`},
		{(*int)(nil), `null`},
		{[]byte(nil), `null`},
	} {
		for _, opts := range []ResultOptions{{}, {StripNulls: true}, {Format: FormatCSV}} {
			w, err := write(opts, func(r *Rows) error { r.Columns("a"); return r.Row(test.value) })
			if err != nil {
				t.Fatal(err)
			}
			want := `[{"a":` + test.want + `}]`
			switch {
			case opts.StripNulls && test.want == `null`:
				want = `[{}]`
			case opts.Format == FormatCSV:
				continue
			}
			if w.Bodies[0] != want {
				t.Errorf("%T %v, strip nulls %v: got %s, want %s", test.value, test.value, opts.StripNulls, w.Bodies[0], want)
			}
		}
	}
	if _, err := write(ResultOptions{}, func(r *Rows) error { r.Columns("a"); return r.Row(1, 2) }); err == nil {
		t.Error("two values for one column are accepted")
	}
	if _, err := write(ResultOptions{}, func(r *Rows) error { r.Columns("a"); return r.Row(make(chan int)) }); err == nil {
		t.Error("a channel is accepted")
	}
}

func TestRowsAreJSONNullInCSV(t *testing.T) {
	for _, null := range []any{nil, json.RawMessage("null"), json.RawMessage(nil), (*string)(nil)} {
		w, err := write(ResultOptions{Format: FormatCSV}, func(r *Rows) error { r.Columns("a", "b"); return r.Row(null, 1) })
		if err != nil {
			t.Fatal(err)
		}
		if want := "a,b\n,1\n"; w.Bodies[0] != want {
			t.Errorf("%T: got %q, want %q", null, w.Bodies[0], want)
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for _, f := range []float64{0, 1, -1, 1e6, 123456789, 1e15, 1e21, 1e300, 1e-7, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		b := AppendFloat(nil, f, 64)
		var back float64
		if err := json.Unmarshal(b, &back); err != nil || back != f {
			t.Errorf("%v became %s: %v", f, b, err)
		}
	}
}

func TestMaxRows(t *testing.T) {
	three := func(last *error) func(*Rows) error {
		return func(r *Rows) error {
			r.Columns("a")
			for i := range 3 {
				if err := r.Row(i); errors.Is(err, ErrRowLimit) {
					*last = err
					return nil
				} else if err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, format := range []Format{FormatRows, FormatCSV, FormatNone} {
		var limit error
		w, err := write(ResultOptions{Format: format, MaxRows: 2, CapRows: true}, three(&limit))
		if err != nil {
			t.Fatal(err)
		}
		want := map[Format]string{FormatRows: `[{"a":0},{"a":1}]`, FormatCSV: "a\n0\n1\n", FormatNone: ""}[format]
		if limit == nil || w.Bodies[0] != want || w.Tails[0].Rows != 2 {
			t.Errorf("format %d: %v, %q, %d rows", format, limit, w.Bodies[0], w.Tails[0].Rows)
		}
		_, err = write(ResultOptions{Format: format, MaxRows: 2}, three(&limit))
		if e := AsError(err); e == nil || e.Reason != "max_rows_exceeded" {
			t.Errorf("format %d: %v", format, err)
		}
		if w, err := write(ResultOptions{Format: format, MaxRows: 3}, three(&limit)); err != nil || w.Tails[0].Rows != 3 {
			t.Errorf("format %d: exactly MaxRows: %v", format, err)
		}
	}
	_, err := write(ResultOptions{Format: FormatObject}, twoRows)
	if e := AsError(err); e == nil || e.Reason != "more_than_one_row" {
		t.Errorf("two rows as an object: %v", err)
	}
}

func TestRowsChunks(t *testing.T) {
	const rows = 5000
	w, err := write(ResultOptions{}, func(r *Rows) error {
		r.Columns("id", "text")
		for i := range rows {
			size := 50
			if i == rows/2 {
				size = 3 * chunkSize // one row longer than a chunk
			}
			if err := r.Row(i, strings.Repeat("x", size)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []struct{ ID int }
	if err := json.Unmarshal([]byte(w.Bodies[0]), &got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].ID != i {
			t.Fatalf("row %d is %d", i, got[i].ID)
		}
	}
	if len(got) != rows || w.Tails[0].Rows != rows || w.Chunks < 4 || len(w.Heads) != 1 {
		t.Errorf("%d rows, %d in the tail, %d chunks, %d heads", len(got), w.Tails[0].Rows, w.Chunks, len(w.Heads))
	}
}

func TestRowsStatements(t *testing.T) {
	for format, want := range map[Format][]string{
		FormatRows:   {`[{"user_id":1,"note":null}]`, `[]`, `7`, `[{"b":2}]`},
		FormatObject: {`{"user_id":1,"note":null}`, `null`, `7`, `{"b":2}`},
		FormatCSV:    {"user_id,note\n1,\n", "user_id,note\n", "7", "b\n2\n"},
	} {
		w, err := write(ResultOptions{Format: format}, func(r *Rows) error {
			r.Hold()
			return errors.Join(oneRow(r), r.NextStatement(), noRows(r), r.NextStatement(),
				func() error { r.Scalar([]byte("7")); return nil }(), r.NextStatement(),
				func() error { r.Columns("b"); return r.Row(2) }())
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w.Bodies); diff != "" {
			t.Errorf("format %d (-want +got)\n%s", format, diff)
		}
		for i := range w.Heads {
			if w.Heads[i].Statement != i || w.Tails[i].Statement != i {
				t.Errorf("statement %d: head of %d, tail of %d", i, w.Heads[i].Statement, w.Tails[i].Statement)
			}
		}
		if w.Tails[0].Rows != 1 || w.Tails[1].Rows != 0 || w.Tails[3].Rows != 1 {
			t.Error("the tails' rows are wrong")
		}
	}
}

func TestHold(t *testing.T) {
	long := strings.Repeat("x", chunkSize)
	sent := 0
	r := NewRows(ResultOptions{}, func(c *Chunk) error { sent++; FreeBody(c.Body); return nil })
	r.Hold()
	r.Columns("a")
	for range 3 {
		if err := r.Row(long); err != nil {
			t.Fatal(err)
		}
	}
	if sent != 0 {
		t.Fatal("held rows were sent")
	}
	if err := errors.Join(r.Release(), r.end()); err != nil || sent != 4 {
		t.Fatalf("%d chunks sent: %v", sent, err)
	}

	_, err := write(ResultOptions{MaxBytes: 2 * chunkSize}, func(r *Rows) error {
		r.Hold()
		r.Columns("a")
		for range 3 {
			if err := r.Row(long); err != nil {
				return err
			}
		}
		return nil
	})
	if e := AsError(err); e == nil || e.Reason != "returned_rows_too_large" {
		t.Errorf("more held than MaxBytes: %v", err)
	}
}

// MaxBytes bounds the memory of held rows, not only their bytes: many short answers too.
func TestHeldMemory(t *testing.T) {
	const limit = 1 << 20
	r := NewRows(ResultOptions{MaxBytes: limit}, func(*Chunk) error { return nil })
	r.Hold()
	answers := func(n int) error {
		for i := range n {
			r.Columns("a")
			if err := errors.Join(r.Row(i), r.NextStatement()); err != nil {
				return err
			}
		}
		return nil
	}
	err := answers(500)
	held := 0
	for _, c := range r.held {
		held += cap(c.Body)
	}
	if err != nil || held > limit {
		t.Errorf("%d bytes are taken for 500 answers of a few bytes: %v", held, err)
	}
	if err := answers(5000); AsError(err) == nil || AsError(err).Reason != "returned_rows_too_large" {
		t.Errorf("messages without end are held: %v", err)
	}
}

func TestHeldReadsAreTooLarge(t *testing.T) {
	_, err := write(ResultOptions{MaxBytes: chunkSize}, func(r *Rows) error {
		r.HoldRead()
		r.Columns("a")
		for range 2 {
			if err := r.Row(strings.Repeat("x", chunkSize)); err != nil {
				return err
			}
		}
		return nil
	})
	if e := AsError(err); e == nil || e.Reason != "held_rows_too_large" || strings.Contains(e.Message, "written") {
		t.Errorf("more held than MaxBytes: %v", err)
	}
}

// What is known only at the end still reaches the heads that were held back: each
// statement's own totals, and the status and headers of the whole answer.
func TestReleaseCompletesHeads(t *testing.T) {
	long := strings.Repeat("x", chunkSize)
	total := func(n int64) *int64 { return &n }
	w, err := write(ResultOptions{}, func(r *Rows) error {
		r.HoldRead()
		for i := range int64(3) {
			if i > 0 {
				if err := r.NextStatement(); err != nil {
					return err
				}
			}
			r.Columns("a")
			if err := errors.Join(r.Row(long), r.Row(i)); err != nil {
				return err
			}
			r.Head.Total = total(10 + i)
		}
		r.Head.Status, r.Head.Headers = 418, []Pair{{"X-A", "b"}}
		return r.Release()
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, head := range w.Heads {
		want := &Head{Statement: i, Columns: []ColumnInfo{{Name: "a"}}, Total: total(10 + int64(i)), Status: 418, Headers: []Pair{{"X-A", "b"}}}
		if diff := cmp.Diff(want, head); diff != "" {
			t.Errorf("statement %d (-want +got)\n%s", i, diff)
		}
		if want := fmt.Sprintf(`[{"a":"%s"},{"a":%d}]`, long, i); w.Bodies[i] != want {
			t.Errorf("statement %d: a body of %d bytes, want %d", i, len(w.Bodies[i]), len(want))
		}
	}
	if len(w.Heads) != 3 {
		t.Errorf("%d heads", len(w.Heads))
	}
}

// Each transaction of a call holds its rows by itself.
func TestHoldCountsAnewAfterRelease(t *testing.T) {
	_, err := write(ResultOptions{MaxBytes: 3 * chunkSize}, func(r *Rows) error {
		for range 5 {
			r.Hold()
			r.Columns("a")
			if err := errors.Join(r.Row(strings.Repeat("x", chunkSize)), r.Release(), r.NextStatement()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A chunk's body belongs to its receiver once it was sent: what discard frees after a
// Release that failed half-way must not be one of these.
func TestReleaseGivesUpWhatItSent(t *testing.T) {
	r := NewRows(ResultOptions{}, nil)
	r.Hold()
	r.Columns("a")
	for range 3 {
		if err := r.Row(strings.Repeat("x", chunkSize)); err != nil {
			t.Fatal(err)
		}
	}
	var sent [][]byte
	gone := errors.New("the reader is gone")
	r.send = func(c *Chunk) error {
		if len(sent) == 2 {
			return gone
		}
		sent = append(sent, c.Body)
		return nil
	}
	if err := r.Release(); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	for _, c := range r.held {
		for _, body := range sent {
			if &c.Body[0] == &body[0] {
				t.Fatal("a body that was sent is still held")
			}
		}
	}
}

// An instance may describe many answers with one slice of columns.
func TestDescribeLeavesColumnsAlone(t *testing.T) {
	columns := []ColumnInfo{{Name: "user_id", Type: "integer"}}
	w, err := write(ResultOptions{Naming: NamesCamel}, func(r *Rows) error { r.Describe(columns); return r.Row(1) })
	if err != nil {
		t.Fatal(err)
	}
	if columns[0].Name != "user_id" {
		t.Errorf("the caller's column became %q", columns[0].Name)
	}
	if diff := cmp.Diff([]ColumnInfo{{Name: "userId", Type: "integer"}}, w.Heads[0].Columns); diff != "" {
		t.Errorf("head (-want +got)\n%s", diff)
	}
}

func TestShapes(t *testing.T) {
	for _, test := range []struct {
		format Format
		bare   bool
		set    Shape // by the instance
		want   Shape
	}{
		{FormatRows, false, ShapeRows, ShapeRows}, {FormatRows, true, ShapeRows, ShapeRows}, {FormatCSV, true, ShapeRows, ShapeRows}, {FormatGeoJSON, false, ShapeRows, ShapeRows},
		{FormatObject, false, ShapeRows, ShapeObject}, {FormatObject, true, ShapeRows, ShapeScalar}, {FormatRaw, false, ShapeRows, ShapeScalar}, {FormatNone, false, ShapeRows, ShapeVoid},
		{FormatRows, false, ShapeObject, ShapeObject}, {FormatRows, true, ShapeScalar, ShapeScalar}, {FormatRows, false, ShapeVoid, ShapeVoid}, {FormatCSV, true, ShapeScalar, ShapeRows},
	} {
		w, err := write(ResultOptions{Format: test.format}, func(r *Rows) error {
			r.Head.Shape = test.set
			r.Columns("a")
			if test.bare {
				r.Bare()
			}
			return r.Row(1)
		})
		if err != nil || w.Heads[0].Shape != test.want {
			t.Errorf("%+v: shape %d, %v", test, w.Heads[0].Shape, err)
		}
	}
	for _, shape := range []Shape{ShapeObject, ShapeScalar} {
		_, err := write(ResultOptions{}, func(r *Rows) error { r.Head.Shape = shape; return twoRows(r) })
		if e := AsError(err); e == nil || e.Reason != "more_than_one_row" {
			t.Errorf("two rows of shape %d: %v", shape, err)
		}
	}
}

// A header serves answers of all policies, at the same time.
func TestHeaderIsUsedAgain(t *testing.T) {
	h := &Header{Columns: []ColumnInfo{{Name: "user_id", Type: "integer"}, {Name: "isOld"}}}
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			naming := Naming(i % 4) // 3 is none
			w, err := write(ResultOptions{Naming: naming}, func(r *Rows) error { r.Use(h); return r.Row(1, true) })
			want := []string{`[{"user_id":1,"isOld":true}]`, `[{"userId":1,"isOld":true}]`, `[{"user_id":1,"is_old":true}]`, `[{"user_id":1,"isOld":true}]`}[naming]
			if err != nil || w.Bodies[0] != want || w.Heads[0].Columns[0].Type != "integer" {
				t.Errorf("policy %d: %v, %v", naming, w.Bodies, err)
			}
		})
	}
	group.Wait()
	if w, err := write(ResultOptions{}, func(r *Rows) error { r.Use(&Header{}); return nil }); err != nil || w.Bodies[0] != "[]" {
		t.Errorf("without columns: %v, %v", w.Bodies, err)
	}
}

func TestRaw(t *testing.T) {
	object := `{"user_id":1, "big":12345678901234567890.10,"none":null,"nested":{"a_b":null}}`
	for _, test := range []struct {
		opts ResultOptions
		want string
	}{
		{ResultOptions{}, `[` + object + `,` + object + `]`},
		{ResultOptions{Naming: NamesCamel, StripNulls: true},
			`[{"userId":1,"big":12345678901234567890.10,"nested":{"a_b":null}},{"userId":1,"big":12345678901234567890.10,"nested":{"a_b":null}}]`},
	} {
		w, err := write(test.opts, func(r *Rows) error { return errors.Join(r.Raw([]byte(object)), r.Raw([]byte(object))) })
		if err != nil {
			t.Fatal(err)
		}
		if w.Bodies[0] != test.want {
			t.Errorf("got  %s\nwant %s", w.Bodies[0], test.want)
		}
	}
	w, err := write(ResultOptions{StripNulls: true}, func(r *Rows) error {
		return errors.Join(r.Raw([]byte(`{}`)), r.Raw([]byte(`{"a":null}`)))
	})
	if err != nil || w.Bodies[0] != `[{},{}]` {
		t.Errorf("empty objects: %q, %v", w.Bodies, err)
	}
	if _, err := write(ResultOptions{Format: FormatCSV}, func(r *Rows) error { return r.Raw([]byte(object)) }); AsError(err).Kind != Unsupported {
		t.Errorf("raw rows as CSV: %v", err)
	}
}

// FuzzAppendString holds that encoding/json reads back what AppendString wrote.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\/", "\x00\x01\x1f\x7f", "\b\f\n\r\t", "é名😀", "\u2028", "\xff\xc3", "<&>", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := AppendString([]byte("before"), s)
		if string(b) != string(AppendString([]byte("before"), []byte(s))) {
			t.Fatal("string and []byte differ")
		}
		var back string
		if err := json.Unmarshal(b[len("before"):], &back); err != nil {
			t.Fatalf("%q became %s: %v", s, b, err)
		}
		if want := string([]rune(s)); back != want { // bytes that are no UTF-8 read as U+FFFD
			t.Fatalf("%q became %s, read back as %q", s, b, back)
		}
	})
}

// FuzzCSV holds that encoding/csv reads back what CSV rows were written from.
func FuzzCSV(f *testing.F) {
	f.Add("a", "b")
	f.Add("", "\"")
	f.Add("x,y", "line\nline")
	f.Add(" ", "\\")
	f.Fuzz(func(t *testing.T, a, b string) {
		w, err := write(ResultOptions{Format: FormatCSV}, func(r *Rows) error {
			r.Columns("a", "b")
			r.Text([]byte(a))
			r.Put(AppendString(r.Cell(), b))
			return r.EndRow()
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := csv.NewReader(strings.NewReader(w.Bodies[0])).ReadAll()
		// encoding/csv reads \r\n within quotes as \n, and bytes that are no UTF-8 pass
		// through JSON as U+FFFD.
		want := [][]string{{"a", "b"}, {strings.ReplaceAll(a, "\r\n", "\n"), strings.ReplaceAll(string([]rune(b)), "\r\n", "\n")}}
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%q became %q, want %q: %v", w.Bodies[0], got, want, err)
		}
	})
}

func TestRename(t *testing.T) {
	for _, test := range []struct{ name, camel, snake string }{
		{"id", "id", "id"},
		{"created_at", "createdAt", "created_at"},
		{"createdAt", "createdAt", "created_at"},
		{"userID", "userID", "user_id"},
		{"HTTPServer", "HTTPServer", "http_server"},
		{"user_id_2", "userId_2", "user_id_2"},
		{"_hidden_field", "_hiddenField", "_hidden_field"},
		{"__typename", "__typename", "__typename"},
		{"trailing_", "trailing_", "trailing_"},
		{"a__b", "a_B", "a__b"},
		{"Größe_in_m", "GrößeInM", "größe_in_m"},
		{"", "", ""},
		{"_", "_", "_"},
	} {
		if got := Rename(test.name, NamesCamel); got != test.camel {
			t.Errorf("camel of %q is %q, want %q", test.name, got, test.camel)
		}
		if got := Rename(test.name, NamesSnake); got != test.snake {
			t.Errorf("snake of %q is %q, want %q", test.name, got, test.snake)
		}
		if got := Rename(test.name, NamesAsIs); got != test.name {
			t.Errorf("%q became %q", test.name, got)
		}
	}
}

// FuzzRename holds that a policy changes letter case and underscores alone, and changes
// nothing of a name that follows it already.
func FuzzRename(f *testing.F) {
	for _, s := range []string{"created_at", "createdAt", "_a", "__a_b", "A", "a_", "名_前", "x_1", "\xff_a"} {
		f.Add(s)
	}
	letters := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	f.Fuzz(func(t *testing.T, name string) {
		for _, policy := range []Naming{NamesCamel, NamesSnake} {
			once := Rename(name, policy)
			if twice := Rename(once, policy); twice != once {
				t.Errorf("policy %d: %q became %q, then %q", policy, name, once, twice)
			}
			if letters(once) != letters(name) {
				t.Errorf("policy %d: %q became %q", policy, name, once)
			}
		}
	})
}

func TestRowAllocations(t *testing.T) {
	r := NewRows(ResultOptions{}, func(c *Chunk) error { FreeBody(c.Body); return nil })
	r.Columns("id", "name", "note")
	name := []byte("some name")
	allocs := testing.AllocsPerRun(5000, func() {
		r.Put(append(r.Cell(), "12345"...))
		r.Text(name)
		r.Null()
		if err := r.EndRow(); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per row", allocs)
	}
}

func BenchmarkRows(b *testing.B) {
	name, stamp := []byte("a name of some length"), []byte("2024-02-29T12:34:56+00:00")
	values := []any{int64(123456), "a name of some length", nil, true, 12.5, "2024-02-29T12:34:56+00:00", json.Number("19.99"), "x"}
	columns := []string{"id", "name", "note", "active", "ratio", "created_at", "price", "code"}
	cells := func(r *Rows) error {
		r.Put(append(r.Cell(), "123456"...))
		r.Text(name)
		r.Null()
		r.Put(append(r.Cell(), "true"...))
		r.Put(append(r.Cell(), "12.5"...))
		r.Text(stamp)
		r.Put(append(r.Cell(), "19.99"...))
		r.Text(name[:1])
		return r.EndRow()
	}
	raw := []byte(`{"id":123456,"name":"a name of some length","note":null,"active":true,"ratio":12.5,"created_at":"2024-02-29T12:34:56+00:00","price":19.99,"code":"x"}`)
	for _, bench := range []struct {
		name string
		opts ResultOptions
		row  func(*Rows) error
	}{
		{"cells", ResultOptions{}, cells},
		{"cells/strip_nulls", ResultOptions{StripNulls: true}, cells},
		{"cells/csv", ResultOptions{Format: FormatCSV}, cells},
		{"row", ResultOptions{}, func(r *Rows) error { return r.Row(values...) }},
		{"raw", ResultOptions{}, func(r *Rows) error { return r.Raw(raw) }},
		{"raw/camel", ResultOptions{Naming: NamesCamel}, func(r *Rows) error { return r.Raw(raw) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			size := 0
			r := NewRows(bench.opts, func(c *Chunk) error { size += len(c.Body); FreeBody(c.Body); return nil })
			r.Columns(slices.Clone(columns)...)
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.row(r); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size / max(b.N, 1)))
		})
	}
}

func BenchmarkAppendString(b *testing.B) {
	for _, s := range []string{"plain text of fifty bytes, with nothing to escape..", "quotes \" and \\ and\nbreaks, in fifty bytes or so..."} {
		b.Run(fmt.Sprint(strings.Count(s, "\n")), func(b *testing.B) {
			var dst []byte
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendString(dst[:0], s)
			}
		})
	}
}
