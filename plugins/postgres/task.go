package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// task is one statement of a call, ready to run, and what came of it.
type task struct {
	index     int
	s         *sdk.Statement
	query     *sqlbuild.Query
	script    script // of a SQL text
	path      string // the search path it needs
	settings  []sdk.Pair
	isolation sdk.Isolation // that it asks for
	prepared  bool
	hidden    hiddenColumns
	keys      []string // the columns that Tail.Keys is of
	table     *sqlbuild.Table

	writes bool // it may have effects
	held   bool // its rows are not shown before it is committed
	safe   bool // its rows cannot be refused: it may be committed before they are read
	silent bool // its rows are not shown at all

	returned int64
	affected *int64 // rows written, where that is known
	inserted *int64
	totals   bool     // the columns of HiddenTotals have been read
	key      []string // of the first row
}

// newTask reads a statement of the call. several says that it shares its transaction.
func (x *execution) newTask(i int, several bool) (*task, error) {
	s := &x.call.Statements[i]
	t := &task{index: i, s: s, path: x.path, prepared: true}
	var err error
	if s.Verb == sdk.SQL {
		err = x.newText(t, several)
	} else {
		err = x.build(t)
	}
	if err == nil {
		err = checkCount(t.query.Args)
	}
	if err == nil && s.Explain != nil {
		err = t.explain()
	}
	return t, err
}

// build makes the SQL of a statement.
func (x *execution) build(t *task) error {
	options := x.rows.Options()
	current := x.db.catalogues.current.Load()
	known := &current.Catalogue
	s := t.s
	writes := s.Verb == sdk.Insert || s.Verb == sdk.Update || s.Verb == sdk.Delete
	if writes && (x.call.Expect.KeyEquals != nil || s.Returning == sdk.ReturnKeys) {
		var err error
		if s, err = t.withKey(known, &x.call.Expect); err != nil {
			return err
		}
	}
	q, err := current.dialects[x.times].Build(known, s, &options)
	if err != nil {
		return err
	}
	t.query, t.settings = q, q.Settings
	switch q.Hidden {
	case sqlbuild.HiddenInserted:
		t.hidden.first, t.inserted = 1, new(int64)
	case sqlbuild.HiddenTotals:
		t.hidden.first = 3
	}
	for _, setting := range q.Settings {
		if setting.Name == "default_transaction_isolation" {
			t.isolation = isolationOf(setting.Value)
		}
	}
	if q.Count != nil || q.Hidden == sqlbuild.HiddenTotals && q.ReadOnly {
		t.isolation = max(t.isolation, sdk.RepeatableRead) // one snapshot
	}
	t.writes, t.held = !q.ReadOnly, !q.ReadOnly
	one := q.Shape != sdk.ShapeRows && options.MaxBytes == 0
	t.safe = !q.Rows || one || t.silent || writes && (s.Returning == sdk.ReturnNone || fewRows(s, &options))
	return nil
}

// withKey returns the statement with the primary key among what it returns.
func (t *task) withKey(known *sqlbuild.Catalogue, expect *sdk.Expect) (*sdk.Statement, error) {
	s := *t.s
	t.table = findTable(known, s.Table)
	if t.table == nil {
		return &s, nil // building it says so
	}
	t.keys = t.table.Key
	if expect.KeyEquals == nil {
		return &s, nil
	}
	if len(t.keys) == 0 || len(t.keys) != len(expect.KeyEquals) {
		return nil, sdk.E(sdk.Invalid, "no_primary_key", fmt.Sprintf("the primary key of table %q has %d columns, not the %d that are expected", t.table.Name, len(t.keys), len(expect.KeyEquals)))
	}
	switch s.Returning {
	case sdk.ReturnNone:
		s.Returning, t.silent = sdk.ReturnKeys, true
	case sdk.ReturnSelection:
		items := s.Selection.Items
		if len(items) == 0 {
			items = []sdk.Item{{Kind: sdk.ItemStar}}
		}
		s.Selection.Items = append([]sdk.Item(nil), items...)
		for i, name := range t.keys {
			s.Selection.Items = append(s.Selection.Items, sdk.Item{Column: sdk.Column{Name: name}, Alias: "athena_key_" + strconv.Itoa(i)})
		}
		t.hidden.last = uint8(len(t.keys))
	}
	return &s, nil
}

// findTable returns the table that name means, nil if there is none.
func findTable(known *sqlbuild.Catalogue, name sdk.Table) *sqlbuild.Table {
	if name.Schema != "" {
		return known.Tables[name]
	}
	for _, schema := range known.Path {
		if t := known.Tables[sdk.Table{Schema: schema, Name: name.Name}]; t != nil {
			return t
		}
	}
	return nil
}

// enter begins the answer of a task: it ends that of the task before.
func (u *unit) enter(t *task) error {
	for u.rows.Head.Statement < t.index {
		if err := u.rows.NextStatement(); err != nil {
			return err
		}
	}
	tail := &u.rows.Tail
	tail.TablesRead, tail.TablesWritten, tail.Statements = t.query.Read, t.query.Written, t.script.statements
	return nil
}

// answer writes the rows of a task.
func (u *unit) answer(t *task, r *result) error {
	if err := u.enter(t); err != nil {
		return err
	}
	q, rows := t.query, u.rows
	if t.s.Verb == sdk.Count {
		showTotal(rows, readTotal(r))
		return nil
	}
	rows.Head.Shape = q.Shape
	visible := q.Rows && !t.silent && q.Shape != sdk.ShapeVoid
	if visible {
		r.plan.describe(rows)
		if q.Bare {
			rows.Bare()
		}
	}
	for ; r.more; r.more = r.rr.NextRow() {
		values := r.rr.Values()
		if !t.lead(rows, values) {
			continue
		}
		if t.returned++; t.returned == 1 && t.keys != nil {
			t.key = t.keyOf(r, values)
		}
		if !visible {
			continue
		}
		if err := r.plan.write(rows, values[r.hidden.first:len(values)-int(r.hidden.last)], &r.records); err != nil {
			if !u.readsOn(t, err) {
				return err
			}
			visible = false
		}
	}
	return nil
}

// lead reads the columns before a row that are not part of it, and reports whether there
// is a row.
func (t *task) lead(rows *sdk.Rows, values [][]byte) bool {
	switch t.query.Hidden {
	case sqlbuild.HiddenInserted:
		if string(values[0]) == "t" {
			*t.inserted++
		}
	case sqlbuild.HiddenTotals:
		if !t.totals {
			t.totals = true
			t.readTotals(rows, values)
		}
		return string(values[2]) == "t"
	}
	return true
}

func (t *task) readTotals(rows *sdk.Rows, values [][]byte) {
	total := parseCount(values[0])
	if t.s.Verb == sdk.Function {
		rows.Head.Total, rows.Tail.Total = &total, &total
		return
	}
	t.affected = &total
	if values[1] != nil {
		inserted := parseCount(values[1])
		t.inserted = &inserted
	}
}

// readsOn reports whether a task's rows are read to their end though no more of them can
// be shown: to count them, or because what follows is still to run.
func (u *unit) readsOn(t *task, err error) bool {
	if err == error(sdk.ErrRowLimit) {
		last := u.tasks[len(u.tasks)-1] == t
		return !last || u.writes || u.call.Result.SQLHeaders || u.call.Expect.ExactlyOne
	}
	return u.call.Expect.ExactlyOne && sdk.AsError(err).Reason == "more_than_one_row"
}

// keyOf returns the primary key of a row, as text; nil if it has none, as a row of a view whose
// trigger does not fill it in.
func (t *task) keyOf(r *result, values [][]byte) []string {
	first := int(r.hidden.first)
	if r.hidden.last > 0 {
		first = len(values) - int(r.hidden.last)
	}
	key := make([]string, len(t.keys))
	for i := range key {
		value := values[first+i]
		if value == nil {
			return nil
		}
		if e := &r.plan.encodings[min(i, len(r.plan.encodings)-1)]; r.hidden.last == 0 && e.form > formBinary {
			_ = json.Unmarshal(e.append(nil, value), &key[i]) // the encoder's own string
		} else {
			key[i] = string(value)
		}
	}
	return key
}

// answered ends the answer of a task.
func (u *unit) answered(t *task, tag pgconn.CommandTag) error {
	tail := &u.rows.Tail
	switch t.s.Verb {
	case sdk.Insert, sdk.Update, sdk.Delete:
		if t.affected == nil {
			n := tag.RowsAffected()
			t.affected = &n
		}
	case sdk.SQL:
		if n, ok := writtenRows(tag); ok {
			t.affected = &n
		}
	}
	tail.Affected, tail.Inserted = t.affected, t.inserted
	if t.returned == 1 && t.key != nil {
		tail.Keys = make([]sdk.KeyColumn, len(t.key))
		for i := range t.key {
			tail.Keys[i] = sdk.KeyColumn{Name: t.keys[i], Value: t.key[i]}
		}
	}
	return nil
}

// addCounts adds what counts the rows of a task without its limit. What a plan estimates
// is asked along with the bounded count that may make it needless: planning costs less
// than a round trip.
func (u *unit) addCounts(t *task, session string) error {
	count := t.query.Count
	var total int64
	show := func() {
		if t.s.Verb == sdk.Count {
			showTotal(u.rows, total)
		} else {
			n := total
			u.rows.Head.Total, u.rows.Tail.Total = &n, &n
		}
	}
	if count.Text != "" {
		err := u.pipeline.add(&step{text: count.Text, args: count.Args, prepared: true, session: session, index: t.index, read: func(r *result) error {
			if err := u.enter(t); err != nil {
				return err
			}
			if total = readTotal(r); count.Plan == "" {
				show()
			}
			return nil
		}})
		if err != nil || count.Plan == "" {
			return err
		}
	}
	return u.pipeline.add(&step{text: count.Plan, args: count.PlanArgs, prepared: true, session: session, index: t.index, read: func(r *result) error {
		if err := u.enter(t); err != nil {
			return err
		}
		planned, err := readPlanRows(r)
		if err != nil {
			return err
		}
		if count.Text == "" || total > count.Bound {
			total = max(total, planned)
		}
		show()
		return nil
	}})
}

// readPlanRows reads how many rows a plan in JSON is thought to give.
func readPlanRows(r *result) (int64, error) {
	var text []byte
	for ; r.more; r.more = r.rr.NextRow() {
		text = append(text, r.rr.Values()[0]...)
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil || len(plans) != 1 {
		return 0, &sdk.Error{Kind: sdk.Internal, Reason: "unexpected_plan", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Log: string(text)}
	}
	return int64(plans[0].Plan.Rows), nil
}
