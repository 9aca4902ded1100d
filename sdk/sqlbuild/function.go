package sqlbuild

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// call turns a function call into a query: a SELECT from the function, which the
// statement's selection, filter, order, limit and offset shape like one from a table.
func (d *Dialect) call(c *Catalogue, s *sdk.Statement, o *sdk.ResultOptions) (*Query, error) {
	b := &builder{d: d, c: c, o: o, args: make([]sdk.Value, 0, 8)}
	switch {
	case d.sqlite:
		b.unsupported("function", "calling a function")
	case s.PageToken != "":
		b.unsupported("page_token", "page tokens")
	}
	args := b.arguments(&s.Function)
	f := b.overload(&s.Function, args)
	if f == nil {
		return nil, b.err
	}
	q := &Query{Rows: true, ReadOnly: !f.Volatile || s.Function.ViaGet, Settings: f.Settings, Read: []string{"*"}}
	if !q.ReadOnly {
		q.Written = q.Read
	}
	q.Bare = !f.Returns.Void && len(f.Returns.Columns) == 0 && f.Returns.Table == nil
	switch {
	case f.Returns.Void:
		q.Shape = sdk.ShapeVoid
	case f.Returns.Set:
	case q.Bare:
		q.Shape = sdk.ShapeScalar
	default:
		q.Shape = sdk.ShapeObject
	}
	b.called(q, f, s, args)
	if !f.Returns.Void {
		b.features(q)
	}
	if b.checkArguments(); b.err != nil {
		return nil, b.err
	}
	b.finish(q)
	return q, nil
}

// arguments are the arguments of a call on their way into text.
type arguments struct {
	names  []string // of those given, each once
	places map[string]int
	values []argument
	body   []byte // for a single unnamed parameter
	typ    string // body's media type
}

// argument is a value as JSON or, with texts, as text: the last one counts, all of them
// for a variadic parameter.
type argument struct {
	json  []byte
	texts []string
}

// unnamedTypes are the types of a single unnamed parameter that a body of a media type
// goes to.
var unnamedTypes = map[string][]string{
	"application/json":         {"json", "jsonb"},
	"text/plain":               {"text"},
	"text/xml":                 {"xml"},
	"application/octet-stream": {"bytea"},
}

func (b *builder) arguments(call *sdk.FunctionCall) arguments {
	var a arguments
	object := call.Args
	if call.BodyType != "" || len(call.Body) > 0 {
		a.body, a.typ = call.Body, mediaType(call.BodyType)
		if a.typ == "application/json" && first(call.Body) == '{' {
			object = call.Body
		}
	} else if len(object) > 0 && !call.ViaGet {
		a.body, a.typ = object, "application/json"
	}
	if len(object) > 0 {
		_, ok := scanObject(object, skipSpace(object, 0), func(key, value []byte) {
			a.add(string(key), argument{json: value})
		})
		if !ok {
			b.invalid("invalid_json", "the arguments must be a JSON object")
		}
	}
	for _, pair := range call.ArgPairs {
		a.add(pair.Name, argument{texts: []string{pair.Value}})
	}
	return a
}

// mediaType is a media type without its parameters; "" is JSON.
func mediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if s = strings.ToLower(strings.TrimSpace(s)); s == "" {
		return "application/json"
	}
	return s
}

func (a *arguments) add(name string, v argument) {
	i, given := a.places[name]
	if !given {
		if a.places == nil {
			a.places = map[string]int{}
		}
		a.places[name] = len(a.names)
		a.names, a.values = append(a.names, name), append(a.values, v)
		return
	}
	v.texts = append(a.values[i].texts, v.texts...)
	a.values[i] = v
}

// has reports whether an argument is given by name.
func (a *arguments) has(name string) bool {
	_, given := a.places[name]
	return given
}

// overload chooses among the functions of a name, along the path the first schema that
// has a fitting one; nil after an error.
func (b *builder) overload(call *sdk.FunctionCall, a arguments) *Function {
	if b.err != nil {
		return nil
	}
	schemas := b.c.Path
	if call.Schema != "" {
		schemas = []string{call.Schema}
	}
	for _, fits := range []func(*Function) bool{a.fitNamed, a.fitUnnamed} {
		for _, schema := range schemas {
			var fitting []*Function
			for _, f := range b.c.Functions[sdk.Table{Schema: schema, Name: call.Name}] {
				if fits(f) {
					fitting = append(fitting, f)
				}
			}
			switch len(fitting) {
			case 0:
				continue
			case 1:
				return fitting[0]
			}
			b.fail(ambiguousFunction(call, fitting))
			return nil
		}
	}
	b.fail(b.undefinedFunction(call, schemas, a))
	return nil
}

// fitNamed reports whether f takes the named arguments: all that it needs, and no other.
func (a *arguments) fitNamed(f *Function) bool {
	if a.typ != "" && (a.typ != "application/json" || first(a.body) != '{') {
		return false
	}
	found := 0
	for i := range f.Params {
		p := &f.Params[i]
		switch {
		case p.Name != "" && a.has(p.Name):
			found++
		case !p.Optional && (!p.Variadic || p.Name == ""):
			return false
		}
	}
	return found == len(a.names)
}

// fitUnnamed reports whether f has one parameter, unnamed, of a type for the body.
func (a *arguments) fitUnnamed(f *Function) bool {
	return a.typ != "" && len(f.Params) == 1 && f.Params[0].Name == "" && !f.Params[0].Variadic &&
		slices.Contains(unnamedTypes[a.typ], f.Params[0].Type)
}

// signature is a function as callers name it: schema.name(a => integer, b => text).
func (f *Function) signature() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s.%s(", f.Schema, f.Name)
	for i := range f.Params {
		if i > 0 {
			text.WriteString(", ")
		}
		if f.Params[i].Name != "" {
			text.WriteString(f.Params[i].Name + " => ")
		}
		text.WriteString(f.Params[i].Type)
	}
	return text.String() + ")"
}

func signatures(functions []*Function) []string {
	texts := make([]string, len(functions))
	for i, f := range functions {
		texts[i] = f.signature()
	}
	return texts
}

func ambiguousFunction(call *sdk.FunctionCall, candidates []*Function) *sdk.Error {
	texts := signatures(candidates)
	e := sdk.E(sdk.Invalid, "ambiguous_function", fmt.Sprintf("the arguments fit several functions: %s", strings.Join(texts, ", "))).
		WithHint("give the functions parameters of different names, or rename one of them")
	e.Code, e.Schema = "42725", candidates[0].Schema
	e.Details, _ = json.Marshal(struct {
		Function   string   `json:"function"`
		Candidates []string `json:"candidates"`
	}{call.Name, texts})
	return e
}

func (b *builder) undefinedFunction(call *sdk.FunctionCall, schemas []string, a arguments) *sdk.Error {
	var (
		overloads []*Function
		near      []string
	)
	for name, functions := range b.c.Functions {
		switch {
		case !slices.Contains(schemas, name.Schema):
		case name.Name == call.Name:
			overloads = append(overloads, functions...)
		default:
			near = append(near, name.Name)
		}
	}
	slices.Sort(near) // the same hint every time
	slices.SortStableFunc(overloads, func(x, y *Function) int { return strings.Compare(x.signature(), y.signature()) })
	e := sdk.E(sdk.NotFound, "undefined_function", fmt.Sprintf("function %q does not exist", call.Name))
	e.Code, e.Schema = "42883", call.Schema
	switch {
	case len(overloads) > 0:
		e.Message = fmt.Sprintf("function %q cannot be called %s", call.Name, a.String())
		e.Hint = "call it as " + nearestOverload(overloads, &a).signature()
	default:
		if hint := NearestName(call.Name, near); hint != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", hint)
		}
	}
	e.Details, _ = json.Marshal(struct {
		Schema    string   `json:"schema"`
		Function  string   `json:"function"`
		Arguments []string `json:"arguments"`
		Overloads []string `json:"overloads"`
	}{call.Schema, call.Name, append([]string{}, a.names[:min(len(a.names), maxNamed)]...), signatures(overloads)})
	return e
}

// String says in a message how a function was called.
func (a *arguments) String() string {
	switch {
	case len(a.names) > 0:
		names := "with the arguments " + strings.Join(a.names[:min(len(a.names), maxNamed)], ", ")
		if more := len(a.names) - maxNamed; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		return names
	case a.typ == "" || a.typ == "application/json" && first(a.body) == '{':
		return "without arguments"
	default:
		return "with a body of " + a.typ + ", which one unnamed parameter would take"
	}
}

// Of a caller's many arguments errors name the first, and nobody slipped that often.
const (
	maxNamed = 20
	maxNear  = 100
)

// nearestOverload returns the function whose parameters differ the least from the
// arguments' names.
func nearestOverload(overloads []*Function, a *arguments) *Function {
	best, bound := overloads[0], -1
	for _, f := range overloads {
		distance := 2 * len(a.names)
		for i := range f.Params {
			switch p := &f.Params[i]; {
			case a.has(p.Name):
				distance -= 2
			case len(a.names) <= maxNear && NearestName(p.Name, a.names) != "": // a slip of the finger
				distance--
			case !p.Optional && !p.Variadic:
				distance += 2
			}
		}
		if bound < 0 || distance < bound {
			best, bound = f, distance
		}
	}
	return best
}

// called writes the SELECT of a call.
func (b *builder) called(q *Query, f *Function, s *sdk.Statement, a arguments) {
	shaped := len(s.Selection.Items) > 0 || s.Selection.Distinct || s.Selection.Bucket != nil
	switch {
	case f.Returns.Void:
		b.write("SELECT ")
		b.invoke(f, a)
		return
	case q.Bare && shaped:
		b.invalid("invalid_selection", "function %q returns single values, so there are no columns to select", f.Name)
		return
	case f.Returns.Unknown && (s.Filter != nil || len(s.Order) > 0 || s.Count != sdk.CountNone):
		b.invalid("unknown_columns", "the columns that function %q returns are not known, so its rows can be neither filtered, sorted nor counted", f.Name)
		return
	case f.Returns.Unknown:
		b.write("SELECT to_json(")
		b.invoke(f, a)
		b.write(") AS ")
		b.quote(f.Name)
		b.paging(s.Limit, s.Offset)
		return
	}
	t := f.Returns.Table
	switch {
	case t != nil:
	case q.Bare:
		t = &Table{Schema: f.Schema, Name: f.Name, Columns: []Column{f.Returns.Value}}
	default:
		t = &Table{Schema: f.Schema, Name: f.Name, Columns: f.Returns.Columns}
	}
	b.scope = &scope{table: t, alias: f.Name}
	l := levelOf(s)
	if f.Returns.Set && s.Count != sdk.CountNone {
		q.Hidden = HiddenTotals
		b.calledTotals(l, f, a)
		return
	}
	l.from = func() { b.result(f, a) }
	if q.Shape == sdk.ShapeObject && !f.Returns.OneOut {
		b.scope.row = b.rowOf(t, f.Name)
		l.from = func() { b.oneRow(f, a) }
	}
	b.query(l)
}

// calledTotals writes a level's rows behind the total without its limit and offset. Both
// read one result of one call.
func (b *builder) calledTotals(l *level, f *Function, a arguments) {
	b.write("WITH _f AS MATERIALIZED (SELECT * FROM ")
	b.result(f, a)
	b.write(") ")
	l.from = func() {
		b.write("_f AS ")
		b.quote(f.Name)
	}
	t := b.scope.table
	fresh := func() { b.scope = &scope{table: t, alias: f.Name, row: b.rowOf(t, f.Name)} }
	count := func() {
		fresh()
		b.write("SELECT (")
		b.counting(l)
		b.write("), NULL::bigint")
		fresh()
	}
	b.totals(count, l)
}

// result writes a call for FROM, under the function's name.
func (b *builder) result(f *Function, a arguments) {
	b.invoke(f, a)
	b.write(" AS ")
	b.quote(f.Name)
	if len(f.Returns.Columns) == 0 && f.Returns.Table == nil {
		b.write("(")
		b.quote(f.Returns.Value.Name)
		b.write(")")
	}
}

// oneRow writes, for FROM, a call whose result is one row, or no row if it is null: in
// FROM itself null would be a row of nulls. OFFSET keeps the call from being made again
// for each column.
func (b *builder) oneRow(f *Function, a arguments) {
	b.write("(SELECT (_v).* FROM (SELECT ")
	b.invoke(f, a)
	b.write(" AS _v OFFSET 0) AS _ WHERE _v IS DISTINCT FROM NULL) AS ")
	b.quote(f.Name)
}

// invoke writes the call itself: "schema"."name"("a" => $1::integer).
func (b *builder) invoke(f *Function, a arguments) {
	b.quote(f.Schema)
	b.write(".")
	b.quote(f.Name)
	b.write("(")
	if !a.fitNamed(f) {
		b.bind(sdk.Value{Hint: sdk.String, Text: unnamedText(a, &f.Params[0])})
		b.write("::")
		b.write(f.Params[0].Type)
		b.write(")")
		return
	}
	n := 0
	for i := range f.Params {
		p := &f.Params[i]
		given, there := a.places[p.Name]
		if !there && (p.Optional || !p.Variadic) {
			continue
		}
		if n > 0 {
			b.write(", ")
		}
		n++
		if p.Variadic {
			b.write("VARIADIC ")
		}
		b.quote(p.Name)
		b.write(" => ")
		if !there { // a function cannot be called without its variadic parameter
			b.write("'{}'::")
			b.write(p.Type)
			continue
		}
		b.argument(p, &a.values[given])
	}
	b.write(")")
}

// unnamedText is a body as the text of its type.
func unnamedText(a arguments, p *Param) string {
	if p.Type == "bytea" {
		return fmt.Sprintf(`\x%x`, a.body)
	}
	return string(a.body)
}

// argument writes the value of a parameter, as text that the server reads by the
// parameter's type.
func (b *builder) argument(p *Param, v *argument) {
	if v.json != nil && p.Record && first(v.json) != 'n' && first(v.json) != '"' {
		b.write("(SELECT _.v FROM json_to_record(")
		b.bind(sdk.Value{Hint: sdk.JSON, Text: `{"v":` + string(v.json) + "}"})
		b.write(") AS _(v ")
		b.write(p.Type)
		b.write("))")
		return
	}
	b.bind(b.argumentValue(p, v))
	b.write("::")
	b.write(p.Type)
}

func (b *builder) argumentValue(p *Param, v *argument) sdk.Value {
	if v.json == nil {
		text := v.texts[len(v.texts)-1]
		if p.Variadic {
			text = textArray(v.texts)
		}
		return sdk.Value{Hint: sdk.String, Text: text}
	}
	switch kind := first(v.json); {
	case kind == 'n':
		return sdk.Value{Hint: sdk.Null}
	case p.Class == ClassJSON:
		return payload(v.json)
	case kind == '"':
		var text string
		if json.Unmarshal(v.json, &text) != nil {
			b.invalid("invalid_json", "the argument %q is no valid JSON", p.Name)
		}
		return sdk.Value{Hint: sdk.String, Text: text}
	case kind == '[' && p.Class == ClassArray:
		text, ok := ArrayLiteral(v.json, jsonElements(p.Type))
		if !ok {
			b.invalid("invalid_array", "the argument %q cannot be an array: it nests deeper than %d levels or is no valid JSON", p.Name, maxDimensions)
		}
		return sdk.Value{Hint: sdk.String, Text: text}
	default:
		return payload(v.json)
	}
}

// textArray writes an array literal of the texts.
func textArray(texts []string) string {
	var text strings.Builder
	text.WriteByte('{')
	for i, s := range texts {
		if i > 0 {
			text.WriteByte(',')
		}
		arrayElement(&text, s)
	}
	text.WriteByte('}')
	return text.String()
}
