package sdk

import "time"

// The protobuf encoding of the model, by hand and field by field as plugin.proto has
// it: a statement crosses the process boundary on every request, and generated messages
// beside these types would cost a second copy of each. A test holds the two together by
// sending random values through the generated code and back.

func (c *Call) encode(e *encoder, parts bool) {
	e.uint(1, c.ID)
	e.str(2, c.Instance)
	e.uint(3, c.Generation)
	if !c.Deadline.IsZero() {
		e.fixed64(4, c.Deadline.UnixNano())
	}
	e.str(5, c.Trace)
	m := e.begin(6)
	c.Session.encode(e)
	e.endOrDrop(m)
	m = e.begin(7)
	e.bool(1, c.Tx.Single)
	e.uint(2, uint64(c.Tx.Isolation))
	e.bool(3, c.Tx.ReadOnly)
	e.bool(4, c.Tx.Deferrable)
	e.bool(5, c.Tx.Rollback)
	e.endOrDrop(m)
	for i := range c.Statements {
		m = e.begin(8)
		c.Statements[i].encode(e, parts && i == len(c.Statements)-1)
		e.end(m)
	}
	m = e.begin(9)
	e.bool(1, c.Expect.ExactlyOne)
	e.optInt(2, c.Expect.MaxAffected)
	encodeValues(e, 3, c.Expect.KeyEquals)
	e.endOrDrop(m)
	m = e.begin(10)
	c.Result.encode(e)
	e.endOrDrop(m)
	e.str(11, c.MinPosition)
	encodePairs(e, 12, c.Options)
	e.bool(13, parts)
}

func (c *Call) decode(d decoder) (parts bool) {
	for d.next() {
		switch d.num {
		case 1:
			c.ID = d.uint()
		case 2:
			c.Instance = d.str()
		case 3:
			c.Generation = d.uint()
		case 4:
			c.Deadline = time.Unix(0, d.fixed64())
		case 5:
			c.Trace = d.str()
		case 6:
			c.Session.decode(d.msg())
		case 7:
			c.Tx.decode(d.msg())
		case 8:
			c.Statements = append(c.Statements, Statement{})
			c.Statements[len(c.Statements)-1].decode(d.msg())
		case 9:
			c.Expect.decode(d.msg())
		case 10:
			c.Result.decode(d.msg())
		case 11:
			c.MinPosition = d.str()
		case 12:
			c.Options = append(c.Options, decodePair(d.msg()))
		case 13:
			parts = d.bool()
		default:
			d.skip()
		}
	}
	return parts
}

func encodePairs(e *encoder, num int, pairs []Pair) {
	for i := range pairs {
		m := e.begin(num)
		e.str(1, pairs[i].Name)
		e.str(2, pairs[i].Value)
		e.end(m)
	}
}

func decodePair(d decoder) (p Pair) {
	for d.next() {
		switch d.num {
		case 1:
			p.Name = d.str()
		case 2:
			p.Value = d.str()
		default:
			d.skip()
		}
	}
	return p
}

func encodeValues(e *encoder, num int, values []Value) {
	for i := range values {
		m := e.begin(num)
		e.uint(1, uint64(values[i].Hint))
		e.str(2, values[i].Text)
		e.end(m)
	}
}

func decodeValue(d decoder) (v Value) {
	for d.next() {
		switch d.num {
		case 1:
			v.Hint = ValueHint(d.uint())
		case 2:
			v.Text = d.str()
		default:
			d.skip()
		}
	}
	return v
}

func (s *Session) encode(e *encoder) {
	e.str(1, s.Role)
	encodePairs(e, 2, s.Settings)
	e.strs(3, s.SearchPath)
	e.str(4, s.TimeZone)
	e.int(5, int64(s.StatementTimeout))
	e.str(6, s.Bearer)
}

func (s *Session) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			s.Role = d.str()
		case 2:
			s.Settings = append(s.Settings, decodePair(d.msg()))
		case 3:
			s.SearchPath = append(s.SearchPath, d.str())
		case 4:
			s.TimeZone = d.str()
		case 5:
			s.StatementTimeout = time.Duration(d.int())
		case 6:
			s.Bearer = d.str()
		default:
			d.skip()
		}
	}
}

func (t *Tx) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			t.Single = d.bool()
		case 2:
			t.Isolation = Isolation(d.uint())
		case 3:
			t.ReadOnly = d.bool()
		case 4:
			t.Deferrable = d.bool()
		case 5:
			t.Rollback = d.bool()
		default:
			d.skip()
		}
	}
}

func (x *Expect) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			x.ExactlyOne = d.bool()
		case 2:
			x.MaxAffected = d.optInt()
		case 3:
			x.KeyEquals = append(x.KeyEquals, decodeValue(d.msg()))
		default:
			d.skip()
		}
	}
}

func (r *ResultOptions) encode(e *encoder) {
	e.uint(1, uint64(r.Format))
	e.str(2, r.MediaType)
	e.uint(3, uint64(r.Naming))
	e.bool(4, r.StripNulls)
	e.int(5, r.MaxRows)
	e.bool(6, r.CapRows)
	e.int(7, r.MaxBytes)
	e.bool(8, r.SQLHeaders)
	e.bool(9, r.NoColumns)
}

func (r *ResultOptions) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			r.Format = Format(d.uint())
		case 2:
			r.MediaType = d.str()
		case 3:
			r.Naming = Naming(d.uint())
		case 4:
			r.StripNulls = d.bool()
		case 5:
			r.MaxRows = d.int()
		case 6:
			r.CapRows = d.bool()
		case 7:
			r.MaxBytes = d.int()
		case 8:
			r.SQLHeaders = d.bool()
		case 9:
			r.NoColumns = d.bool()
		default:
			d.skip()
		}
	}
}

// encode writes a statement; without its insert payload when that follows in parts.
func (s *Statement) encode(e *encoder, parts bool) {
	e.uint(1, uint64(s.Verb))
	m := e.begin(2)
	e.str(1, s.Table.Schema)
	e.str(2, s.Table.Name)
	e.endOrDrop(m)
	m = e.begin(3)
	s.Selection.encode(e)
	e.endOrDrop(m)
	if s.Filter != nil {
		m = e.begin(4)
		s.Filter.encode(e)
		e.end(m)
	}
	encodeOrder(e, 5, s.Order)
	e.optInt(6, s.Limit)
	e.optInt(7, s.Offset)
	e.str(8, s.PageToken)
	encodeSet(e, 9, s.Set)
	e.bytes(10, s.SetObject)
	if s.Conflict != nil {
		m = e.begin(11)
		e.strs(1, s.Conflict.Columns)
		e.str(2, s.Conflict.Constraint)
		e.bool(3, s.Conflict.Update)
		encodeSet(e, 4, s.Conflict.Set)
		e.bytes(5, s.Conflict.SetObject)
		e.end(m)
	}
	encodeValues(e, 12, s.Key)
	e.uint(13, uint64(s.Returning))
	e.uint(14, uint64(s.Count))
	e.bool(15, s.AllowAll)
	m = e.begin(16)
	s.Function.encode(e)
	e.endOrDrop(m)
	m = e.begin(17)
	e.str(1, s.SQL.Text)
	encodeValues(e, 2, s.SQL.Args)
	e.str(3, s.SQL.Schema)
	e.uint(4, uint64(s.SQL.Intent))
	e.endOrDrop(m)
	if s.Explain != nil {
		m = e.begin(18)
		e.str(1, s.Explain.Format)
		e.strs(2, s.Explain.Options)
		e.end(m)
	}
	m = e.begin(19)
	e.uint(1, uint64(s.Rows.Format))
	e.strs(2, s.Rows.Columns)
	e.bool(3, s.Rows.MissingDefault)
	if !parts {
		e.bytes(4, s.Rows.Payload)
	}
	e.endOrDrop(m)
}

func (s *Statement) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			s.Verb = Verb(d.uint())
		case 2:
			s.Table.decode(d.msg())
		case 3:
			s.Selection.decode(d.msg())
		case 4:
			s.Filter = new(Filter)
			s.Filter.decode(d.msg())
		case 5:
			s.Order = append(s.Order, decodeOrder(d.msg()))
		case 6:
			s.Limit = d.optInt()
		case 7:
			s.Offset = d.optInt()
		case 8:
			s.PageToken = d.str()
		case 9:
			s.Set = append(s.Set, decodeSetItem(d.msg()))
		case 10:
			s.SetObject = d.bytes()
		case 11:
			s.Conflict = new(OnConflict)
			s.Conflict.decode(d.msg())
		case 12:
			s.Key = append(s.Key, decodeValue(d.msg()))
		case 13:
			s.Returning = Returning(d.uint())
		case 14:
			s.Count = CountMode(d.uint())
		case 15:
			s.AllowAll = d.bool()
		case 16:
			s.Function.decode(d.msg())
		case 17:
			s.SQL.decode(d.msg())
		case 18:
			s.Explain = new(Explain)
			s.Explain.decode(d.msg())
		case 19:
			s.Rows.decode(d.msg())
		default:
			d.skip()
		}
	}
}

func (t *Table) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			t.Schema = d.str()
		case 2:
			t.Name = d.str()
		default:
			d.skip()
		}
	}
}

func (s *Selection) encode(e *encoder) {
	for i := range s.Items {
		item := &s.Items[i]
		m := e.begin(1)
		e.uint(1, uint64(item.Kind))
		item.Column.encode(e, 2)
		e.str(3, item.Cast)
		e.str(4, item.Aggregate)
		e.str(5, item.CastAfter)
		e.str(6, item.Alias)
		if item.Relation != nil {
			r := e.begin(7)
			item.Relation.encode(e)
			e.end(r)
		}
		e.end(m)
	}
	e.bool(2, s.Distinct)
	if s.Bucket != nil {
		m := e.begin(3)
		s.Bucket.Column.encode(e, 1)
		e.str(2, s.Bucket.Granularity)
		e.end(m)
	}
	e.bool(4, s.None)
}

func (s *Selection) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			s.Items = append(s.Items, Item{})
			s.Items[len(s.Items)-1].decode(d.msg())
		case 2:
			s.Distinct = d.bool()
		case 3:
			s.Bucket = new(Bucket)
			s.Bucket.decode(d.msg())
		case 4:
			s.None = d.bool()
		default:
			d.skip()
		}
	}
}

func (i *Item) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			i.Kind = ItemKind(d.uint())
		case 2:
			i.Column = decodeColumn(d.msg())
		case 3:
			i.Cast = d.str()
		case 4:
			i.Aggregate = d.str()
		case 5:
			i.CastAfter = d.str()
		case 6:
			i.Alias = d.str()
		case 7:
			i.Relation = new(Relation)
			i.Relation.decode(d.msg())
		default:
			d.skip()
		}
	}
}

func (b *Bucket) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			b.Column = decodeColumn(d.msg())
		case 2:
			b.Granularity = d.str()
		default:
			d.skip()
		}
	}
}

func (c *Column) encode(e *encoder, num int) {
	if c.Name == "" && len(c.Path) == 0 {
		return
	}
	m := e.begin(num)
	e.str(1, c.Name)
	for i := range c.Path {
		step := e.begin(2)
		e.str(1, c.Path[i].Key)
		e.sint(2, c.Path[i].Index)
		e.bool(3, c.Path[i].IsIndex)
		e.bool(4, c.Path[i].Text)
		e.end(step)
	}
	e.bool(3, c.Plain)
	e.end(m)
}

func decodeColumn(d decoder) (c Column) {
	for d.next() {
		switch d.num {
		case 1:
			c.Name = d.str()
		case 2:
			c.Path = append(c.Path, decodePathStep(d.msg()))
		case 3:
			c.Plain = d.bool()
		default:
			d.skip()
		}
	}
	return c
}

func decodePathStep(d decoder) (p PathStep) {
	for d.next() {
		switch d.num {
		case 1:
			p.Key = d.str()
		case 2:
			p.Index = d.sint()
		case 3:
			p.IsIndex = d.bool()
		case 4:
			p.Text = d.bool()
		default:
			d.skip()
		}
	}
	return p
}

func (r *Relation) encode(e *encoder) {
	e.str(1, r.Target)
	e.str(2, r.Schema)
	e.str(3, r.Hint)
	e.bool(4, r.Inner)
	e.bool(5, r.Spread)
	m := e.begin(6)
	r.Selection.encode(e)
	e.endOrDrop(m)
	if r.Filter != nil {
		m = e.begin(7)
		r.Filter.encode(e)
		e.end(m)
	}
	encodeOrder(e, 8, r.Order)
	e.optInt(9, r.Limit)
	e.optInt(10, r.Offset)
}

func (r *Relation) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			r.Target = d.str()
		case 2:
			r.Schema = d.str()
		case 3:
			r.Hint = d.str()
		case 4:
			r.Inner = d.bool()
		case 5:
			r.Spread = d.bool()
		case 6:
			r.Selection.decode(d.msg())
		case 7:
			r.Filter = new(Filter)
			r.Filter.decode(d.msg())
		case 8:
			r.Order = append(r.Order, decodeOrder(d.msg()))
		case 9:
			r.Limit = d.optInt()
		case 10:
			r.Offset = d.optInt()
		default:
			d.skip()
		}
	}
}

func (f *Filter) encode(e *encoder) {
	e.uint(1, uint64(f.Kind))
	for i := range f.Children {
		m := e.begin(2)
		f.Children[i].encode(e)
		e.end(m)
	}
	f.Column.encode(e, 3)
	e.str(4, f.Relation)
	e.str(5, string(f.Operator))
	e.uint(6, uint64(f.Quantifier))
	encodeValues(e, 7, f.Values)
	e.str(8, f.Language)
	e.str(9, f.ColumnCast)
	e.str(10, f.ValueCast)
	e.uint(11, uint64(f.Compare))
}

func (f *Filter) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			f.Kind = FilterKind(d.uint())
		case 2:
			f.Children = append(f.Children, Filter{})
			f.Children[len(f.Children)-1].decode(d.msg())
		case 3:
			f.Column = decodeColumn(d.msg())
		case 4:
			f.Relation = d.str()
		case 5:
			f.Operator = Operator(d.str())
		case 6:
			f.Quantifier = Quantifier(d.uint())
		case 7:
			f.Values = append(f.Values, decodeValue(d.msg()))
		case 8:
			f.Language = d.str()
		case 9:
			f.ColumnCast = d.str()
		case 10:
			f.ValueCast = d.str()
		case 11:
			f.Compare = Compare(d.uint())
		default:
			d.skip()
		}
	}
}

func encodeOrder(e *encoder, num int, order []Order) {
	for i := range order {
		m := e.begin(num)
		order[i].Column.encode(e, 1)
		e.str(2, order[i].Relation)
		e.bool(3, order[i].Descending)
		e.uint(4, uint64(order[i].Nulls))
		e.end(m)
	}
}

func decodeOrder(d decoder) (o Order) {
	for d.next() {
		switch d.num {
		case 1:
			o.Column = decodeColumn(d.msg())
		case 2:
			o.Relation = d.str()
		case 3:
			o.Descending = d.bool()
		case 4:
			o.Nulls = Nulls(d.uint())
		default:
			d.skip()
		}
	}
	return o
}

func encodeSet(e *encoder, num int, set []SetItem) {
	for i := range set {
		m := e.begin(num)
		e.str(1, set[i].Column)
		v := e.begin(2)
		e.uint(1, uint64(set[i].Value.Hint))
		e.str(2, set[i].Value.Text)
		e.endOrDrop(v)
		e.bool(3, set[i].Default)
		e.end(m)
	}
}

func decodeSetItem(d decoder) (s SetItem) {
	for d.next() {
		switch d.num {
		case 1:
			s.Column = d.str()
		case 2:
			s.Value = decodeValue(d.msg())
		case 3:
			s.Default = d.bool()
		default:
			d.skip()
		}
	}
	return s
}

func (c *OnConflict) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			c.Columns = append(c.Columns, d.str())
		case 2:
			c.Constraint = d.str()
		case 3:
			c.Update = d.bool()
		case 4:
			c.Set = append(c.Set, decodeSetItem(d.msg()))
		case 5:
			c.SetObject = d.bytes()
		default:
			d.skip()
		}
	}
}

func (f *FunctionCall) encode(e *encoder) {
	e.str(1, f.Schema)
	e.str(2, f.Name)
	e.bytes(3, f.Args)
	encodePairs(e, 4, f.ArgPairs)
	e.bytes(5, f.Body)
	e.str(6, f.BodyType)
	e.bool(7, f.ViaGet)
}

func (f *FunctionCall) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			f.Schema = d.str()
		case 2:
			f.Name = d.str()
		case 3:
			f.Args = d.bytes()
		case 4:
			f.ArgPairs = append(f.ArgPairs, decodePair(d.msg()))
		case 5:
			f.Body = d.bytes()
		case 6:
			f.BodyType = d.str()
		case 7:
			f.ViaGet = d.bool()
		default:
			d.skip()
		}
	}
}

func (s *SQLText) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			s.Text = d.str()
		case 2:
			s.Args = append(s.Args, decodeValue(d.msg()))
		case 3:
			s.Schema = d.str()
		case 4:
			s.Intent = Intent(d.uint())
		default:
			d.skip()
		}
	}
}

func (x *Explain) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			x.Format = d.str()
		case 2:
			x.Options = append(x.Options, d.str())
		default:
			d.skip()
		}
	}
}

func (r *Rowset) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			r.Format = RowsetFormat(d.uint())
		case 2:
			r.Columns = append(r.Columns, d.str())
		case 3:
			r.MissingDefault = d.bool()
		case 4:
			r.Payload = d.bytes()
		default:
			d.skip()
		}
	}
}

// encodeHead writes everything of a Chunk but its body.
func (c *Chunk) encodeHead(e *encoder) {
	e.int(1, int64(c.Statement))
	if c.Head != nil {
		m := e.begin(2)
		c.Head.encode(e)
		e.end(m)
	}
	if c.Tail != nil {
		m := e.begin(3)
		c.Tail.encode(e)
		e.end(m)
	}
	if c.Err != nil {
		m := e.begin(4)
		c.Err.encode(e)
		e.end(m)
	}
	e.bool(5, c.last)
}

// decode reads a Chunk and returns its body.
func (c *Chunk) decode(b []byte) (body []byte, err error) {
	d := decoder{b: b, err: &c.bad}
	for d.next() {
		switch d.num {
		case 1:
			c.Statement = int(d.int())
		case 2:
			c.Head = new(Head)
			c.Head.decode(d.msg())
		case 3:
			c.Tail = new(Tail)
			c.Tail.decode(d.msg())
		case 4:
			c.Err = new(Error)
			c.Err.decode(d.msg())
		case 5:
			c.last = d.bool()
		case 15:
			body = d.bytes()
		default:
			d.skip()
		}
	}
	return body, c.bad
}

func (h *Head) encode(e *encoder) {
	e.int(1, int64(h.Statement))
	e.uint(2, uint64(h.Shape))
	for i := range h.Columns {
		m := e.begin(3)
		e.str(1, h.Columns[i].Name)
		e.str(2, h.Columns[i].Type)
		e.end(m)
	}
	e.optInt(4, h.Rows)
	e.optInt(5, h.Total)
	e.int(6, int64(h.Status))
	encodePairs(e, 7, h.Headers)
}

func (h *Head) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			h.Statement = int(d.int())
		case 2:
			h.Shape = Shape(d.uint())
		case 3:
			if h.Columns == nil {
				h.Columns = make([]ColumnInfo, 0, 8)
			}
			h.Columns = append(h.Columns, decodeColumnInfo(d.msg()))
		case 4:
			h.Rows = d.optInt()
		case 5:
			h.Total = d.optInt()
		case 6:
			h.Status = int(d.int())
		case 7:
			h.Headers = append(h.Headers, decodePair(d.msg()))
		default:
			d.skip()
		}
	}
}

func decodeColumnInfo(d decoder) (c ColumnInfo) {
	for d.next() {
		switch d.num {
		case 1:
			c.Name = d.str()
		case 2:
			c.Type = d.str()
		default:
			d.skip()
		}
	}
	return c
}

func (t *Tail) encode(e *encoder) {
	e.int(1, int64(t.Statement))
	e.int(2, t.Rows)
	e.optInt(3, t.Total)
	e.optInt(4, t.Affected)
	e.optInt(5, t.Inserted)
	for i := range t.Keys {
		m := e.begin(6)
		e.str(1, t.Keys[i].Name)
		e.str(2, t.Keys[i].Value)
		e.bool(3, t.Keys[i].Null)
		e.end(m)
	}
	e.strs(7, t.TablesRead)
	e.strs(8, t.TablesWritten)
	e.str(9, t.PageToken)
	e.str(10, t.Position)
	e.int(11, int64(t.Statements))
	for i := range t.Timings {
		m := e.begin(12)
		e.str(1, t.Timings[i].Name)
		e.int(2, int64(t.Timings[i].Duration))
		e.end(m)
	}
}

func decodeKeyColumn(d decoder) (c KeyColumn) {
	for d.next() {
		switch d.num {
		case 1:
			c.Name = d.str()
		case 2:
			c.Value = d.str()
		case 3:
			c.Null = d.bool()
		default:
			d.skip()
		}
	}
	return c
}

func (t *Tail) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			t.Statement = int(d.int())
		case 2:
			t.Rows = d.int()
		case 3:
			t.Total = d.optInt()
		case 4:
			t.Affected = d.optInt()
		case 5:
			t.Inserted = d.optInt()
		case 6:
			t.Keys = append(t.Keys, decodeKeyColumn(d.msg()))
		case 7:
			t.TablesRead = append(t.TablesRead, d.str())
		case 8:
			t.TablesWritten = append(t.TablesWritten, d.str())
		case 9:
			t.PageToken = d.str()
		case 10:
			t.Position = d.str()
		case 11:
			t.Statements = int(d.int())
		case 12:
			t.Timings = append(t.Timings, decodeTiming(d.msg()))
		default:
			d.skip()
		}
	}
}

func decodeTiming(d decoder) (t Timing) {
	for d.next() {
		switch d.num {
		case 1:
			t.Name = d.str()
		case 2:
			t.Duration = time.Duration(d.int())
		default:
			d.skip()
		}
	}
	return t
}

func (x *Error) encode(e *encoder) {
	e.uint(1, uint64(x.Kind))
	e.str(2, x.Reason)
	e.uint(3, uint64(x.Source))
	e.uint(4, uint64(x.Executed))
	e.str(5, x.Code)
	e.str(6, x.Message)
	e.str(7, x.Detail)
	e.str(8, x.Hint)
	e.bytes(9, x.Details)
	e.str(10, x.Log)
	e.str(11, x.Schema)
	e.str(12, x.Table)
	e.str(13, x.Column)
	e.str(14, x.Constraint)
	e.int(15, int64(x.Position))
	e.int(16, int64(x.RetryAfter))
	e.int(17, int64(x.Statement))
}

func (x *Error) decode(d decoder) {
	for d.next() {
		switch d.num {
		case 1:
			x.Kind = Kind(d.uint())
		case 2:
			x.Reason = d.str()
		case 3:
			x.Source = Source(d.uint())
		case 4:
			x.Executed = Executed(d.uint())
		case 5:
			x.Code = d.str()
		case 6:
			x.Message = d.str()
		case 7:
			x.Detail = d.str()
		case 8:
			x.Hint = d.str()
		case 9:
			x.Details = d.bytes()
		case 10:
			x.Log = d.str()
		case 11:
			x.Schema = d.str()
		case 12:
			x.Table = d.str()
		case 13:
			x.Column = d.str()
		case 14:
			x.Constraint = d.str()
		case 15:
			x.Position = int(d.int())
		case 16:
			x.RetryAfter = time.Duration(d.int())
		case 17:
			x.Statement = int(d.int())
		default:
			d.skip()
		}
	}
}
