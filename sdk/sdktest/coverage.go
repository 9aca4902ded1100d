package sdktest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/athena-gateway/athena/sdk"
)

// Coverage collects which parts of the model the checks have used: the fields of calls
// and answers that were not zero once, and the values of enumerations.
type Coverage struct {
	mu   sync.Mutex
	used map[string]bool
}

// enumerations are the last values of the model's enumerations.
var enumerations = map[reflect.Type]uint64{
	reflect.TypeFor[sdk.Verb]():         uint64(sdk.Count),
	reflect.TypeFor[sdk.ItemKind]():     uint64(sdk.ItemRelation),
	reflect.TypeFor[sdk.FilterKind]():   uint64(sdk.FilterNot),
	reflect.TypeFor[sdk.Quantifier]():   uint64(sdk.All),
	reflect.TypeFor[sdk.Compare]():      uint64(sdk.Lenient),
	reflect.TypeFor[sdk.ValueHint]():    uint64(sdk.Bytes),
	reflect.TypeFor[sdk.Nulls]():        uint64(sdk.NullsLast),
	reflect.TypeFor[sdk.RowsetFormat](): uint64(sdk.RowsCSV),
	reflect.TypeFor[sdk.Returning]():    uint64(sdk.ReturnSelection),
	reflect.TypeFor[sdk.CountMode]():    uint64(sdk.CountEstimated),
	reflect.TypeFor[sdk.Intent]():       uint64(sdk.IntentWrite),
	reflect.TypeFor[sdk.Isolation]():    uint64(sdk.Serializable),
	reflect.TypeFor[sdk.Format]():       uint64(sdk.FormatNone),
	reflect.TypeFor[sdk.Naming]():       uint64(sdk.NamesSnake),
	reflect.TypeFor[sdk.Shape]():        uint64(sdk.ShapeVoid),
}

// words are the texts that fields can hold which are enumerations too.
var words = map[string][]string{
	"Filter.Operator":    operatorNames(),
	"Item.Aggregate":     {"count", "sum", "avg", "min", "max"},
	"Bucket.Granularity": {"minute", "hour", "day", "week", "month", "quarter", "year"},
	"Explain.Format":     {"text", "json"},
	"Explain.Options":    {"analyze", "verbose", "settings", "buffers", "wal"},
}

func operatorNames() []string {
	var names []string
	for _, op := range operators {
		if op != noOperator {
			names = append(names, string(op))
		}
	}
	return names
}

// exempt are the fields that no check uses, and why.
var exempt = map[string]string{
	"Call.ID":                 "sdk.Remote sets it",
	"Call.Deadline":           "sdk.Remote sets it, from the context; lifecycle/cancel_slow lets one pass",
	"Call.Trace":              "nothing in an answer depends on it",
	"Call.Options":            "hints for one backend; unknown ones are ignored",
	"Session.Bearer":          "for backends reached by HTTP",
	"Statement.PageToken":     "for backends that page by tokens",
	"Tail.PageToken":          "likewise",
	"Tail.Timings":            "a backend may leave them out",
	"Timing.Name":             "likewise",
	"Timing.Duration":         "likewise",
	"KeyColumn.Null":          "most databases have no nulls in primary keys",
	"Head.Rows":               "a backend may not know it before the rows",
	"ResultOptions.NoColumns": "a backend may name the columns all the same",
	"Verb=0":                  "it is no verb",
}

func (c *Coverage) call(call *sdk.Call) { c.record(reflect.ValueOf(call).Elem()) }

func (c *Coverage) answer(a *answer) {
	c.record(reflect.ValueOf(a.head).Elem())
	c.record(reflect.ValueOf(a.tail).Elem())
}

func (c *Coverage) record(v reflect.Value) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used == nil {
		c.used = map[string]bool{}
	}
	c.mark("", v)
}

// mark marks what a value holds; field is where it stands.
func (c *Coverage) mark(field string, v reflect.Value) {
	t := v.Type()
	if _, ok := enumerations[t]; ok {
		c.used[fmt.Sprintf("%s=%d", t.Name(), v.Uint())] = true
	}
	if field != "" && !v.IsZero() {
		c.used[field] = true
	}
	switch v.Kind() {
	case reflect.String:
		c.used[field+"="+v.String()] = true
	case reflect.Pointer:
		if !v.IsNil() {
			c.mark("", v.Elem())
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			c.mark(field, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if t.PkgPath() == reflect.TypeFor[sdk.Call]().PkgPath() {
				c.mark(t.Name()+"."+t.Field(i).Name, v.Field(i))
			}
		}
	}
}

// Missing lists the fields and values of calls and answers that were never used, but for
// those that no check can use.
func (c *Coverage) Missing() []string {
	wanted := map[string]bool{}
	for _, t := range []reflect.Type{reflect.TypeFor[sdk.Call](), reflect.TypeFor[sdk.Head](), reflect.TypeFor[sdk.Tail]()} {
		want(t, wanted)
	}
	for field, list := range words {
		for _, word := range list {
			wanted[field+"="+word] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(wanted)), func(name string) bool { return c.used[name] || exempt[name] != "" })
}

// want collects the fields of a type and of those below it.
func want(t reflect.Type, wanted map[string]bool) {
	if last, ok := enumerations[t]; ok {
		for i := range last + 1 {
			wanted[fmt.Sprintf("%s=%d", t.Name(), i)] = true
		}
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		want(t.Elem(), wanted)
	case reflect.Struct:
		if !strings.HasPrefix(t.PkgPath(), reflect.TypeFor[sdk.Call]().PkgPath()) {
			return
		}
		for i := range t.NumField() {
			name := t.Name() + "." + t.Field(i).Name
			if !wanted[name] {
				wanted[name] = true
				want(t.Field(i).Type, wanted)
			}
		}
	}
}
