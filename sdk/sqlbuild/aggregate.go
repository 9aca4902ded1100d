package sqlbuild

import (
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

// aggregated reports whether a level's rows are groups: it has an aggregate or a bucket,
// or a spread relation has, whose columns are the level's.
func aggregated(selection *sdk.Selection) bool { return aggregatedAt(selection, 1) }

func aggregatedAt(selection *sdk.Selection, depth int) bool {
	if selection.Bucket != nil {
		return true
	}
	for i := range selection.Items {
		item := &selection.Items[i]
		if item.Aggregate != "" {
			return true
		}
		if r := item.Relation; r != nil && r.Spread && depth < sdk.MaxFilterDepth && aggregatedAt(&r.Selection, depth+1) {
			return true
		}
	}
	return false
}

// group writes the GROUP BY of a level whose select list has been written: over all of
// its columns that are no aggregates, by position.
func (b *builder) group() {
	for i, position := range b.scope.list.groups {
		if i == 0 {
			b.write(" GROUP BY ")
		} else {
			b.write(", ")
		}
		b.write(strconv.Itoa(position))
	}
}

// aggregate writes an aggregate of a column, or count(*).
func (b *builder) aggregate(item *sdk.Item) {
	switch item.Aggregate {
	case "count", "sum", "avg", "min", "max":
	default:
		b.fail(sdk.E(sdk.Invalid, "invalid_aggregate", strconv.Quote(item.Aggregate)+" is not an aggregate function").
			WithHint("use one of count, sum, avg, min, max"))
		return
	}
	rows := item.Column.Name == ""
	if rows && item.Aggregate != "count" {
		b.invalid("invalid_aggregate", "the aggregate %s needs a column", item.Aggregate)
		return
	}
	var o operand
	if !rows {
		var ok bool
		if o, ok = b.operand(&item.Column); !ok {
			return
		}
	}
	cast, after := b.cast(item.Cast), b.cast(item.CastAfter)
	if b.d.sqlite && o.class == ClassJSON && len(o.path) > 0 && cast.postgres == "" && item.Aggregate != "count" {
		o.byValue, o.class = true, ClassOther
	}
	b.output(true)
	value := castType{class: ClassNumber} // what the aggregate makes
	wrap, end := "", ""
	if item.Aggregate == "min" || item.Aggregate == "max" { // of the type that it is of
		value.class = o.class
		if cast.postgres != "" {
			value = cast
		} else if after.postgres == "" && len(o.path) == 0 {
			wrap, end = b.wrapping(o.column.AsJSON, o.class, o.typ)
		}
	}
	if after.postgres != "" {
		value = after
	}
	b.write(wrap)
	b.casted(after, func() {
		b.write(item.Aggregate)
		b.write("(")
		if rows {
			b.write("*")
		} else {
			b.casted(cast, func() { b.reference(&o) })
		}
		b.write(")")
	})
	b.write(end)
	b.isJSON(value.class)
	name := item.Alias
	if name == "" {
		name = item.Aggregate
	}
	b.as(name)
}

// bucket writes the start of the period that a time lies in, the level's first column.
func (b *builder) bucket(bucket *sdk.Bucket) {
	unit := bucket.Granularity
	form, known := periods[unit]
	if !known {
		b.fail(sdk.E(sdk.Invalid, "invalid_granularity", strconv.Quote(unit)+" is not a granularity").
			WithHint("use one of minute, hour, day, week, month, quarter, year"))
		return
	}
	o, ok := b.operand(&bucket.Column)
	if !ok {
		return
	}
	b.output(false)
	if b.d.sqlite {
		b.write("strftime('")
		b.write(form.format)
		b.write("', ")
		b.reference(&o)
		if form.modifiers != "" {
			b.write(", ")
			b.write(form.modifiers)
		}
		if unit == "quarter" {
			b.write(", '-' || ((strftime('%m', ")
			b.reference(&o)
			b.write(") - 1) % 3) || ' months'")
		}
		b.write(")")
	} else {
		b.write("date_trunc('")
		b.write(unit)
		b.write("', ")
		b.reference(&o)
		switch {
		case o.class == ClassText:
			b.write("::timestamptz")
		case o.typ == "date": // or its days would begin as the time zone says
			b.write("::timestamp")
		}
		b.write(")")
	}
	b.as(named(&bucket.Column))
}

// period is how SQLite's strftime finds the start of a period.
type period struct{ format, modifiers string }

var periods = map[string]period{
	"minute":  {format: "%Y-%m-%dT%H:%M:00"},
	"hour":    {format: "%Y-%m-%dT%H:00:00"},
	"day":     {format: "%Y-%m-%dT00:00:00"},
	"week":    {format: "%Y-%m-%dT00:00:00", modifiers: "'weekday 0', '-6 days'"},
	"month":   {format: "%Y-%m-01T00:00:00"},
	"quarter": {format: "%Y-%m-01T00:00:00", modifiers: "'start of month'"},
	"year":    {format: "%Y-01-01T00:00:00"},
}
