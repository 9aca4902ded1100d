package main

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// explainPrefix makes of a statement one that answers with its plan and does nothing.
const explainPrefix = "EXPLAIN QUERY PLAN "

// checkExplain refuses what SQLite has no plans of.
func checkExplain(e *sdk.Explain) error {
	if e.Format != "" && e.Format != "text" && e.Format != "json" {
		return sdk.E(sdk.Invalid, "invalid_explain", fmt.Sprintf("%q is no format of a plan", e.Format)).WithHint("ask for text or json")
	}
	if len(e.Options) > 0 {
		return sdk.E(sdk.Unsupported, "unsupported_explain_options", "plans of a SQLite backend have no options").
			WithHint("ask for the plan without " + strings.Join(e.Options, ", "))
	}
	return nil
}

// explain answers with the plan that text asks for: a JSON string of its steps, a line
// each and indented by two blanks under the step that they belong to, or a JSON array of
// {"id", "parent", "detail"} as SQLite numbers them.
func (x *execution) explain(ctx context.Context, e *sdk.Explain, text string, args []driver.NamedValue) error {
	asJSON := e.Format == "json"
	depth := map[int64]int{} // of the steps below a step
	var plan []byte
	err := each(ctx, x.c, text, args, func(r row) {
		id, parent, detail := r.integer(0), r.integer(1), r.text(3)
		separator := "\n"
		if asJSON {
			separator = ","
		}
		if len(plan) > 0 {
			plan = append(plan, separator...)
		}
		if asJSON {
			plan = strconv.AppendInt(append(plan, `{"id":`...), id, 10)
			plan = strconv.AppendInt(append(plan, `,"parent":`...), parent, 10)
			plan = append(sdk.AppendString(append(plan, `,"detail":`...), detail), '}')
			return
		}
		depth[id] = depth[parent] + 1
		plan = append(append(plan, strings.Repeat("  ", depth[parent])...), detail...)
	})
	if err != nil {
		return err
	}
	if asJSON {
		plan = append(append([]byte{'['}, plan...), ']')
	} else {
		plan = sdk.AppendString(nil, plan)
	}
	x.rows.Scalar(plan)
	return nil
}
