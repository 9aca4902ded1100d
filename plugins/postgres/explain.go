package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

var explainOptions = []string{"analyze", "verbose", "settings", "buffers", "wal"}

// explain makes of a task the EXPLAIN of it. With analyze it runs; what it writes is
// undone always.
func (t *task) explain() error {
	e := t.s.Explain
	if e.Format != "" && e.Format != "text" && e.Format != "json" {
		return sdk.E(sdk.Invalid, "invalid_explain", fmt.Sprintf("%q is no format of a plan", e.Format)).WithHint("ask for text or json")
	}
	if t.script.statements > 1 {
		return sdk.E(sdk.Invalid, "explain_of_several_statements", "only a single statement can be explained").
			WithHint("send the statements one by one")
	}
	if t.query.Text == "" { // a planned count
		return sdk.E(sdk.Invalid, "invalid_explain", "a planned count is an explain already").WithHint("explain an exact count")
	}
	prefix := "explain (format text"
	if e.Format == "json" {
		prefix = "explain (format json"
	}
	analyze := false
	for _, option := range e.Options {
		if !slices.Contains(explainOptions, option) {
			return sdk.E(sdk.Invalid, "invalid_explain", fmt.Sprintf("%q is no option of a plan", option)).
				WithHint("the options are " + strings.Join(explainOptions, ", "))
		}
		analyze = analyze || option == "analyze"
		prefix += ", " + option
	}
	q := *t.query
	q.Text = prefix + ") " + q.Text
	q.Count, q.Read, q.Written, q.Records = nil, nil, nil, nil
	t.query, t.hidden, t.keys, t.inserted = &q, hiddenColumns{}, nil, nil
	t.writes = t.writes && analyze
	t.held, t.safe = t.writes, true
	return nil
}

// addExplain adds the EXPLAIN of a task, between a savepoint and the return to it when it
// runs what writes.
func (u *unit) addExplain(t *task, main *step) error {
	main.prepared = false
	main.offset = len(t.query.Text) - len(t.script.text)
	main.read = func(r *result) error { return u.answerExplain(t, r) }
	main.done = nil
	if !t.writes {
		return u.pipeline.add(main)
	}
	for _, s := range []*step{{text: "savepoint athena_explain", index: t.index}, main, {text: "rollback to savepoint athena_explain", index: t.index}} {
		if err := u.pipeline.add(s); err != nil {
			return err
		}
	}
	return nil
}

// answerExplain answers with a plan: its JSON, or a JSON string of its lines.
func (u *unit) answerExplain(t *task, r *result) error {
	if err := u.enter(t); err != nil {
		return err
	}
	var plan []byte
	for ; r.more; r.more = r.rr.NextRow() {
		if len(plan) > 0 {
			plan = append(plan, '\n')
		}
		plan = append(plan, r.rr.Values()[0]...)
	}
	if t.s.Explain.Format != "json" {
		plan = sdk.AppendString(nil, plan)
	}
	u.rows.Scalar(plan)
	return nil
}
