package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// Differential compares a backend with Memory: both execute the same random statements on
// the same random tables, and must answer and end up the same.
type Differential struct {
	flavor            *Flavor
	target, reference *client
	worlds            map[uint64]*arena
}

// arena is a world that exists in both backends.
type arena struct {
	*world
	instance string // of the reference
	dirty    bool   // a write has changed the rows
	seen     bool   // the target reads through views
}

// worldsInUse is how many worlds the cases of all seeds share: making one takes longer
// than a hundred cases.
const worldsInUse = 40

// NewDifferential opens the target, whose config names a database in which tables may be
// made. It is closed at the end of the test.
func NewDifferential(t testing.TB, target Target, flavor Flavor) *Differential {
	t.Helper()
	d := &Differential{flavor: &flavor, worlds: map[uint64]*arena{}}
	memory := MemoryTarget().InProcess(Memory("memory"))
	for _, side := range []struct {
		to     **client
		target *Target
	}{{&d.target, &target}, {&d.reference, &memory}} {
		remote, disconnect, err := side.target.Connect(t.Context())
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		t.Cleanup(disconnect)
		capabilities, err := remote.OpenInstance(t.Context(), instanceName, 1, side.target.Config)
		if err != nil {
			t.Fatalf("open an instance: %v", err)
		}
		*side.to = &client{Target: side.target, remote: remote, capabilities: *capabilities}
	}
	return d
}

// Case makes and compares the case of a seed.
func (d *Differential) Case(t testing.TB, seed uint64) {
	t.Helper()
	a, err := d.arena(t.Context(), seed%worldsInUse)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	call := newGenerator(seed, a.world, d.flavor, d.common()).call()
	a.seen = d.flavor.views && seed%3 == 0 && viewable(call)
	if err := d.compare(t.Context(), a, call); err != nil {
		t.Errorf("seed %d: %v\nthe call: %s\nits tables:\n%s", seed, err, describe(call), a.describe())
	}
}

// viewable reports whether a call only reads, by no key and without relations: what views
// have too.
func viewable(call *sdk.Call) bool {
	return !slices.ContainsFunc(call.Statements, func(s sdk.Statement) bool {
		return s.Verb != sdk.Select && s.Verb != sdk.Count || s.Key != nil ||
			slices.ContainsFunc(s.Selection.Items, func(i sdk.Item) bool { return i.Relation != nil })
	})
}

// common are the capabilities of the target, as far as the reference has them too.
func (d *Differential) common() *sdk.Capabilities {
	c, r := d.target.capabilities, d.reference.capabilities
	c.Operators = slices.DeleteFunc(slices.Clone(c.Operators), func(o sdk.Operator) bool { return !slices.Contains(r.Operators, o) })
	return &c
}

// arena finds or makes a world, with its rows as they were at first.
func (d *Differential) arena(ctx context.Context, number uint64) (*arena, error) {
	a := d.worlds[number]
	if a == nil {
		a = &arena{world: newWorld(number, d.flavor), instance: fmt.Sprintf("world %d", number)}
		config := memoryConfig{Database: a.instance, Tables: map[string]string{}}
		for i, t := range a.tables {
			config.Tables[t.name] = a.definitions[i]
			if _, err := d.target.do(ctx, SQL(sdk.IntentWrite, d.flavor.create(t))); err != nil {
				return nil, fmt.Errorf("%s: %w", d.flavor.create(t), err)
			}
			if d.flavor.views {
				if _, err := d.target.do(ctx, SQL(sdk.IntentWrite, createView(t))); err != nil {
					return nil, fmt.Errorf("%s: %w", createView(t), err)
				}
			}
		}
		raw, err := json.Marshal(map[string]any{"database": config.Database, "tables": config.Tables})
		if err != nil {
			return nil, err
		}
		if _, err := d.reference.remote.OpenInstance(ctx, a.instance, 1, raw); err != nil {
			return nil, err
		}
		d.worlds[number], a.dirty = a, true
	}
	if !a.dirty {
		return a, nil
	}
	for _, s := range slices.Concat(a.wipe, a.fill) {
		if _, err := d.both(ctx, a, &sdk.Call{Statements: []sdk.Statement{s}}); err != nil {
			return nil, fmt.Errorf("fill the tables: %w\n%s", err, a.describe())
		}
	}
	a.dirty = false
	return a, d.sameTables(ctx, a)
}

// both executes a call in both backends. The error is that of one of them.
func (d *Differential) both(ctx context.Context, a *arena, call *sdk.Call) ([2][]*answer, error) {
	got, errs := d.execute(ctx, a, call)
	return got, errors.Join(errs[0], errs[1])
}

func (d *Differential) execute(ctx context.Context, a *arena, call *sdk.Call) (got [2][]*answer, errs [2]error) {
	for i, side := range []*client{d.target, d.reference} {
		c := *call
		c.Instance, c.Generation = instanceName, 1
		switch {
		case side == d.reference:
			c.Instance = a.instance
		case a.seen:
			c.Statements = slices.Clone(c.Statements)
			for n := range c.Statements {
				c.Statements[n].Table.Name = viewName(c.Statements[n].Table.Name)
			}
		}
		got[i], errs[i] = side.execute(ctx, &c)
	}
	return got, errs
}

// compare executes a call in both backends and says how they differ.
func (d *Differential) compare(ctx context.Context, a *arena, call *sdk.Call) error {
	if !call.ReadOnly() {
		a.dirty = true
	}
	got, errs := d.execute(ctx, a, call)
	if err := d.sameError(errs[0], errs[1]); err != nil {
		return err
	}
	if errs[0] == nil {
		for i := range call.Statements {
			if err := d.sameAnswer(&call.Statements[i], call, got[0][i], got[1][i]); err != nil {
				return fmt.Errorf("statement %d: %w", i, err)
			}
		}
	}
	if call.ReadOnly() {
		return nil
	}
	return d.sameTables(ctx, a)
}

func (d *Differential) sameError(got, want error) error {
	if got == nil && want == nil {
		return nil
	}
	var g, w *sdk.Error
	if errors.As(got, &g) && errors.As(want, &w) && g.Reason == w.Reason &&
		(g.Statement == w.Statement || g.Reason == "max_affected_exceeded") { // of which statement that is, nobody can say
		return nil
	}
	return fmt.Errorf("the errors differ:\n got %v\nwant %v", got, want)
}

// sameTables compares all rows of all tables.
func (d *Differential) sameTables(ctx context.Context, a *arena) error {
	for _, t := range a.tables {
		call := &sdk.Call{Statements: []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: t.name}}}}
		got, err := d.both(ctx, a, call)
		if err != nil {
			return err
		}
		if err := d.sameAnswer(&call.Statements[0], call, got[0][0], got[1][0]); err != nil {
			return fmt.Errorf("afterwards the table %q: %w", t.name, err)
		}
	}
	return nil
}

// sameAnswer compares two answers to a statement.
func (d *Differential) sameAnswer(s *sdk.Statement, call *sdk.Call, got, want *answer) error {
	ordered := len(s.Order) > 0 && s.Returning != sdk.ReturnKeys || s.Verb == sdk.Count || call.Result.Format != sdk.FormatRows
	if g, w := d.rows(got.body, ordered), d.rows(want.body, ordered); g != w {
		return fmt.Errorf("the rows differ:\n got %s\nwant %s", g, w)
	}
	for _, number := range []struct {
		what      string
		got, want *int64
		optional  bool
	}{
		{"rows", &got.tail.Rows, &want.tail.Rows, s.Verb == sdk.Count},
		{"total", got.tail.Total, want.tail.Total, false},
		{"affected", got.tail.Affected, want.tail.Affected, false},
		{"inserted", got.tail.Inserted, want.tail.Inserted, true},
	} {
		if number.optional && (number.got == nil || number.want == nil) {
			continue
		}
		if show(number.got) != show(number.want) {
			return fmt.Errorf("%s: got %s, want %s", number.what, show(number.got), show(number.want))
		}
	}
	return nil
}

// rows is a body with equal numbers and objects written the same; the rows sorted unless
// their order counts.
func (d *Differential) rows(body []byte, ordered bool) string {
	var list []json.RawMessage
	if ordered || json.Unmarshal(body, &list) != nil {
		return d.same(body)
	}
	lines := make([]string, len(list))
	for i, r := range list {
		lines[i] = d.same(r)
	}
	slices.Sort(lines)
	return "[" + strings.Join(lines, ",\n ") + "]"
}

func (d *Differential) same(value []byte) string {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return string(value)
	}
	if !d.flavor.exact {
		v = rounded(v)
	}
	out, _ := json.Marshal(byValue(v))
	return string(out)
}

// rounded replaces the numbers of a decoded JSON value that are no integers by what a
// float keeps of them.
func rounded(value any) any {
	switch v := value.(type) {
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err != nil {
			f, _ := v.Float64()
			return json.Number(strconv.FormatFloat(f, 'f', 9, 64))
		}
	case []any:
		for i := range v {
			v[i] = rounded(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = rounded(v[name])
		}
	}
	return value
}

// describe writes a call as JSON, without what it does not use and with payloads as text.
func describe(call *sdk.Call) string {
	raw, _ := json.Marshal(struct {
		Tx         sdk.Tx
		Expect     sdk.Expect
		Result     sdk.ResultOptions
		Statements []sdk.Statement
	}{call.Tx, call.Expect, call.Result, call.Statements})
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	_ = decoder.Decode(&value)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(used(value))
	text := out.String()
	for _, s := range call.Statements {
		for _, bytes := range [][]byte{s.Rows.Payload, s.SetObject} {
			if len(bytes) > 0 {
				text += string(bytes) + "\n"
			}
		}
		if s.Conflict != nil && len(s.Conflict.SetObject) > 0 {
			text += "on conflict " + string(s.Conflict.SetObject) + "\n"
		}
	}
	return text
}

// used leaves zero values out of decoded JSON.
func used(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = used(v[i])
		}
	case map[string]any:
		for name, field := range v {
			v[name] = used(field)
			if m, ok := v[name].(map[string]any); ok && len(m) == 0 || v[name] == nil || v[name] == "" || v[name] == false || v[name] == json.Number("0") {
				delete(v, name)
			}
		}
	}
	return value
}

func (a *arena) describe() string {
	var b strings.Builder
	for i, t := range a.tables {
		fmt.Fprintf(&b, "  %s: %s\n    %s\n", t.name, a.definitions[i], a.fill[i].Rows.Payload)
	}
	return b.String()
}
