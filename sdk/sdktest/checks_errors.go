package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

var errorChecks = []Check{
	{Name: "errors/undefined_table", Doc: "a table that does not exist is NotFound undefined_table", Needs: verbs(sdk.Select),
		Run: provoke(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_missing"}}, "undefined_table", sdk.NotFound)},
	{Name: "errors/undefined_column", Doc: "a column that does not exist is Invalid undefined_column, wherever it is named", Needs: verbs(sdk.Select),
		Run: undefinedColumnCheck},
	{Name: "errors/unique_violation", Doc: "a second row with the same key, or the same unique value, is Conflict unique_violation and changes nothing",
		Needs: verbs(sdk.Insert, sdk.Select), Run: uniqueCheck},
	{Name: "errors/not_null_violation", Doc: "null for a column that cannot hold it is Invalid or Conflict not_null_violation", Needs: verbs(sdk.Insert),
		Run: provoke(sdk.Statement{Verb: sdk.Insert, Table: itemsTable, Rows: sdk.Rowset{
			Payload: []byte(`[{"id":100,"name":null}]`), Columns: []string{"id", "name"}}}, "not_null_violation", sdk.Invalid, sdk.Conflict)},
	{Name: "errors/syntax", Doc: "a SQL text that is none is Invalid syntax_error", Needs: given("Syntax", func(d *Dialect) *sdk.Statement { return d.Syntax }),
		Run: with(func(ctx context.Context, c *client) error {
			_, err := c.do(ctx, *c.Dialect.Syntax)
			return wantError(err, sdk.Invalid, "syntax_error")
		})},
	{Name: "errors/missing_filter", Doc: "an update or delete of every row is refused unless AllowAll says that it is meant",
		Needs: verbs(sdk.Insert, sdk.Update, sdk.Delete, sdk.Select), Run: withItems(missingFilterCheck)},
	{Name: "errors/too_deep", Doc: "a filter deeper than MaxFilterDepth is refused", Needs: verbs(sdk.Select), Run: with(tooDeepCheck)},
	{Name: "errors/kinds", Doc: "an error keeps its kind and says that nothing was executed, and the instance goes on", Needs: failsByKind, Run: with(kindsCheck)},
	{Name: "errors/panic", Doc: "a panic fails one call and shows the caller nothing of itself",
		Needs: given("Panic", func(d *Dialect) *sdk.Statement { return d.Panic }), Run: with(panicCheck)},
}

// provoke executes s, which must fail as one of kinds with reason, and leave the
// instance usable.
func provoke(s sdk.Statement, reason string, kinds ...sdk.Kind) func(context.Context, *Target) error {
	return with(func(ctx context.Context, c *client) error {
		_, err := c.do(ctx, s)
		if err := wantAny(err, reason, kinds...); err != nil {
			return err
		}
		return c.usable(ctx)
	})
}

func wantAny(err error, reason string, kinds ...sdk.Kind) error {
	kind := kinds[0]
	if e := (*sdk.Error)(nil); errors.As(err, &e) && slices.Contains(kinds, e.Kind) {
		kind = e.Kind
	}
	return wantError(err, kind, reason)
}

// usable checks that a simple read is answered.
func (c *client) usable(ctx context.Context) error {
	if _, err := c.do(ctx, selectItems("id")); err != nil {
		return fmt.Errorf("afterwards the instance does not answer: %w", err)
	}
	return nil
}

func undefinedColumnCheck(ctx context.Context, t *Target) error {
	statements := map[string]sdk.Statement{
		"selected": selectItems("id", "athena_missing"),
		"filtered": where(selectItems("id"), compare("athena_missing", sdk.Eq, number("1"))),
		"ordered":  orderBy(selectItems("id"), by("athena_missing")),
	}
	for where, s := range statements {
		if err := provoke(s, "undefined_column", sdk.Invalid)(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return nil
}

func uniqueCheck(ctx context.Context, t *Target) error {
	return with(func(ctx context.Context, c *client) error {
		if _, err := c.do(ctx, insert(`{"id":1,"name":"first","code":"x"}`)); err != nil {
			return err
		}
		payloads := []string{
			`{"id":1,"name":"same key","code":"y"}`,
			`{"id":2,"name":"same code","code":"x"}`,
			`[{"id":3,"name":"new","code":"z"},{"id":1,"name":"same key","code":"y"}]`,
		}
		for _, payload := range payloads {
			_, err := c.do(ctx, insert(payload))
			if err := wantError(err, sdk.Conflict, "unique_violation"); err != nil {
				return fmt.Errorf("%s: %w", payload, err)
			}
		}
		return c.wantIDs(ctx, selectItems("id"), 1)
	})(ctx, t)
}

func missingFilterCheck(ctx context.Context, c *client) error {
	update := sdk.Statement{Verb: sdk.Update, Table: itemsTable, Set: []sdk.SetItem{{Column: "qty", Value: number("7")}}}
	remove := sdk.Statement{Verb: sdk.Delete, Table: itemsTable}
	for _, s := range []sdk.Statement{update, remove} {
		_, err := c.do(ctx, s)
		if err := wantError(err, sdk.Invalid, ""); err != nil {
			return fmt.Errorf("%s: %w", s.Verb, err)
		}
	}
	if err := c.wantIDs(ctx, where(selectItems("id"), compare("qty", sdk.Eq, number("7")))); err != nil {
		return err
	}
	update.AllowAll, remove.AllowAll = true, true
	for _, s := range []sdk.Statement{update, remove} {
		a, err := c.do(ctx, s)
		if err != nil {
			return err
		}
		if a.tail.Affected == nil || *a.tail.Affected != 6 {
			return fmt.Errorf("%s of all 6 rows: Affected is %s", s.Verb, show(a.tail.Affected))
		}
	}
	return c.wantIDs(ctx, selectItems("id"))
}

func undeclaredVerbCheck(ctx context.Context, c *client) error {
	for verb := sdk.Select; verb <= sdk.Count; verb++ {
		if slices.Contains(c.capabilities.Verbs, verb) {
			continue
		}
		_, err := c.do(ctx, sdk.Statement{Verb: verb, Table: itemsTable, Function: sdk.FunctionCall{Name: "f"}, SQL: sdk.SQLText{Text: "SELECT 1"}})
		if err := wantError(err, sdk.Unsupported, ""); err != nil {
			return fmt.Errorf("%s: %w", verb, err)
		}
	}
	return nil
}

// noOperator is no operator.
const noOperator sdk.Operator = "athena_none"

// operators are all operators, and none.
var operators = []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte, sdk.Like, sdk.ILike, sdk.Match, sdk.IMatch, sdk.In,
	sdk.Is, sdk.IsDistinct, sdk.Contains, sdk.Contained, sdk.Overlaps, sdk.FTS, sdk.PlainFTS, sdk.PhraseFTS, sdk.WebFTS,
	sdk.StrictLeft, sdk.StrictRght, sdk.NotRight, sdk.NotLeft, sdk.Adjacent, noOperator}

func undeclaredOperatorCheck(ctx context.Context, c *client) error {
	for _, op := range operators {
		if slices.Contains(c.capabilities.Operators, op) {
			continue
		}
		leaf := compare("name", op, str("x"))
		for _, f := range []sdk.Filter{leaf, {Kind: sdk.FilterOr, Children: []sdk.Filter{{Kind: sdk.FilterNot, Children: []sdk.Filter{leaf}}}}} {
			_, err := c.do(ctx, where(selectItems("id"), f))
			if err := wantError(err, sdk.Unsupported, ""); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
		}
	}
	return nil
}

func tooDeepCheck(ctx context.Context, c *client) error {
	f := compare("id", sdk.Eq, number("1"))
	for range sdk.MaxFilterDepth + 1 {
		f = sdk.Filter{Kind: sdk.FilterNot, Children: []sdk.Filter{f}}
	}
	_, err := c.do(ctx, where(selectItems("id"), f))
	return wantError(err, sdk.Invalid, "too_deep")
}

func failsByKind(t *Target, _ sdk.Capabilities) string {
	if t.Dialect.Kinds == nil {
		return "the dialect's statements Kinds"
	}
	return ""
}

func kindsCheck(ctx context.Context, c *client) error {
	for kind, s := range c.Dialect.Kinds {
		_, err := c.do(ctx, s)
		if err := wantError(err, kind, ""); err != nil {
			return err
		}
		if err := c.usable(ctx); err != nil {
			return err
		}
	}
	return nil
}

func panicCheck(ctx context.Context, c *client) error {
	_, err := c.do(ctx, *c.Dialect.Panic)
	var e *sdk.Error
	switch {
	case !errors.As(err, &e) || e.Kind != sdk.Internal:
		return fmt.Errorf("%w: want an Internal error", err)
	case e.Message+e.Detail+e.Hint != "":
		return fmt.Errorf("the public texts %q, %q, %q tell of the panic", e.Message, e.Detail, e.Hint)
	case e.Executed == sdk.ExecutedNo:
		return errors.New("a panic cannot know that nothing was executed")
	}
	return c.usable(ctx)
}

func show(n *int64) string {
	if n == nil {
		return "not set"
	}
	return fmt.Sprint(*n)
}
