package sqlbuild

import (
	"math"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// defaultCountBound is up to where an estimated count is exact if the rows have no bound.
const defaultCountBound = 1000

// count builds what counts the rows of a Select or Count over t. SQLite has no estimates:
// it counts exactly.
func (d *Dialect) count(c *Catalogue, s *sdk.Statement, o *sdk.ResultOptions, t *Table) (*CountQuery, error) {
	q := &CountQuery{}
	mode := s.Count
	if d.sqlite {
		mode = sdk.CountExact
	}
	write := func(text *string, args *[]sdk.Value, f func(b *builder, l *level)) error {
		b := &builder{d: d, c: c, o: o, scope: &scope{table: t, alias: t.Name}}
		f(b, levelOf(s))
		if b.err != nil {
			return b.err
		}
		*text, *args = b.text.String(), b.args
		return nil
	}
	if mode == sdk.CountExact {
		return q, write(&q.Text, &q.Args, (*builder).counting)
	}
	err := write(&q.Plan, &q.PlanArgs, func(b *builder, l *level) {
		b.write("EXPLAIN (FORMAT JSON) ")
		b.uncolumned(l)
	})
	if err != nil || mode == sdk.CountPlanned {
		return q, err
	}
	q.Bound = defaultCountBound
	if o.MaxRows > 0 && o.CapRows {
		q.Bound = min(o.MaxRows, math.MaxInt64-1)
	}
	return q, write(&q.Text, &q.Args, func(b *builder, l *level) {
		b.write("SELECT count(*) FROM (")
		b.uncolumned(l)
		b.write(" LIMIT ")
		b.write(strconv.FormatInt(q.Bound+1, 10))
		b.write(") AS _")
	})
}

// uncolumned writes a SELECT of as many rows as a level has without its limit and offset.
func (b *builder) uncolumned(l *level) {
	if !b.relate(l.selection) {
		return
	}
	if !l.selection.Distinct && !aggregated(l.selection) {
		b.write("SELECT 1 FROM ")
		b.from(l)
		b.conditions(l)
		return
	}
	b.unsorted(l)
}
