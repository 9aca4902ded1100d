package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

var operatorChecks = []Check{
	{Name: "operators/each", Doc: "every declared operator chooses the right rows, whatever the value's hint", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(operatorsCheck)},
	{Name: "operators/logic", Doc: "and, or and not nest; a comparison with null is neither true nor false", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(logicCheck)},
	{Name: "operators/quantifiers", Doc: "a comparison can hold for any or for all of its values", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(quantifierCheck)},
	{Name: "operators/compare", Doc: "a literal that a column's type cannot read matches nothing when lenient, and is Invalid or matches nothing when strict",
		Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(compareCheck)},
	{Name: "operators/quoting", Doc: "values and names are never text of a statement", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(quotingCheck)},
}

// operatorCase is a comparison and the ids that it chooses of items. It is tried with
// Untyped values and with the hint of its values.
type operatorCase struct {
	column string
	op     sdk.Operator
	hint   sdk.ValueHint
	values []string
	want   []int
}

const (
	maxInt64    = "9223372036854775807"
	belowMaxInt = "9223372036854775806"
)

var operatorCases = []operatorCase{
	{"qty", sdk.Eq, sdk.Number, []string{"20"}, []int{2, 6}},
	{"qty", sdk.Eq, sdk.Number, []string{maxInt64}, []int{5}},
	{"qty", sdk.Eq, sdk.Number, []string{belowMaxInt}, nil},
	{"name", sdk.Eq, sdk.String, []string{"Bob"}, []int{2}},
	{"name", sdk.Eq, sdk.String, []string{"bob"}, nil},
	{"name", sdk.Eq, sdk.String, []string{"Zoë \"q\" \\ \n\x01 名"}, []int{6}},
	{"code", sdk.Eq, sdk.String, []string{"null"}, nil},
	{"active", sdk.Eq, sdk.Bool, []string{"true"}, []int{1, 4, 6}},
	{"price", sdk.Eq, sdk.Number, []string{"1.5"}, []int{1}},
	{"qty", sdk.Neq, sdk.Number, []string{"20"}, []int{1, 4, 5}},
	{"name", sdk.Neq, sdk.String, []string{"Bob"}, []int{1, 3, 4, 5, 6}},
	{"qty", sdk.Gt, sdk.Number, []string{"10"}, []int{2, 5, 6}},
	{"qty", sdk.Gt, sdk.Number, []string{belowMaxInt}, []int{5}},
	{"qty", sdk.Gte, sdk.Number, []string{"10"}, []int{1, 2, 5, 6}},
	{"qty", sdk.Lt, sdk.Number, []string{"9"}, []int{4}},
	{"price", sdk.Lt, sdk.Number, []string{"2"}, []int{1, 5, 6}},
	{"qty", sdk.Lte, sdk.Number, []string{"10"}, []int{1, 4}},
	{"code", sdk.Lte, sdk.String, []string{"b2"}, []int{1, 2, 4}},
	{"name", sdk.Like, sdk.String, []string{"A%"}, []int{1}},
	{"name", sdk.Like, sdk.String, []string{"_ob"}, []int{2}},
	{"name", sdk.Like, sdk.String, []string{`100\% \_%`}, []int{5}},
	{"name", sdk.Like, sdk.String, []string{`%\n%`}, nil},
	{"name", sdk.ILike, sdk.String, []string{"a%"}, []int{1, 4}},
	{"name", sdk.ILike, sdk.String, []string{"%L%"}, []int{3, 4, 5}},
	{"name", sdk.Match, sdk.String, []string{"^A"}, []int{1}},
	{"name", sdk.IMatch, sdk.String, []string{"^a"}, []int{1, 4}},
	{"qty", sdk.In, sdk.Number, []string{"10", "20", "30"}, []int{1, 2, 6}},
	{"name", sdk.In, sdk.String, []string{"Ada", "Bob, Cleo", `Cleo`}, []int{1, 3}},
	{"qty", sdk.In, sdk.Number, nil, nil},
	{"qty", sdk.Is, sdk.Untyped, []string{"null"}, []int{3}},
	{"qty", sdk.Is, sdk.Untyped, []string{"not_null"}, []int{1, 2, 4, 5, 6}},
	{"active", sdk.Is, sdk.Untyped, []string{"true"}, []int{1, 4, 6}},
	{"active", sdk.Is, sdk.Untyped, []string{"false"}, []int{2, 5}},
	{"active", sdk.Is, sdk.Untyped, []string{"unknown"}, []int{3}},
	{"qty", sdk.IsDistinct, sdk.Number, []string{"20"}, []int{1, 3, 4, 5}},
}

func (o *operatorCase) filter(hint sdk.ValueHint, mode sdk.Compare) sdk.Filter {
	f := compare(o.column, o.op)
	f.Compare = mode
	for _, text := range o.values {
		f.Values = append(f.Values, sdk.Value{Hint: hint, Text: text})
	}
	return f
}

func operatorsCheck(ctx context.Context, c *client) error {
	var errs []error
	for _, o := range operatorCases {
		if !slices.Contains(c.capabilities.Operators, o.op) {
			continue
		}
		for _, hint := range slices.Compact([]sdk.ValueHint{sdk.Untyped, o.hint}) {
			for _, mode := range []sdk.Compare{sdk.Strict, sdk.Lenient} {
				if err := c.wantIDs(ctx, where(selectItems("id"), o.filter(hint, mode)), o.want...); err != nil {
					errs = append(errs, fmt.Errorf("%s %s %q (hint %d, compare %d): %w", o.column, o.op, o.values, hint, mode, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// declared leaves out the filters with operators that are not declared.
func (c *client) declared(f *sdk.Filter) bool {
	if f.Kind == sdk.FilterCompare {
		return slices.Contains(c.capabilities.Operators, f.Operator)
	}
	for i := range f.Children {
		if !c.declared(&f.Children[i]) {
			return false
		}
	}
	return true
}

// filterCase is a filter and the ids that it chooses of items.
type filterCase struct {
	name   string
	filter sdk.Filter
	want   []int
}

func (c *client) filters(ctx context.Context, cases []filterCase) error {
	var errs []error
	for _, f := range cases {
		if !c.declared(&f.filter) {
			continue
		}
		if err := c.wantIDs(ctx, where(selectItems("id"), f.filter), f.want...); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

func logicCheck(ctx context.Context, c *client) error {
	tree := func(kind sdk.FilterKind, children ...sdk.Filter) sdk.Filter {
		return sdk.Filter{Kind: kind, Children: children}
	}
	qty20, active := compare("qty", sdk.Eq, number("20")), compare("active", sdk.Eq, untyped("true"))
	null := compare("qty", sdk.Eq, sdk.Value{Hint: sdk.Null})
	deep := qty20
	for range sdk.MaxFilterDepth - 2 {
		deep = tree(sdk.FilterNot, deep)
	}
	return c.filters(ctx, []filterCase{
		{"and", tree(sdk.FilterAnd, qty20, active), []int{6}},
		{"or", tree(sdk.FilterOr, qty20, active), []int{1, 2, 4, 6}},
		{"not", tree(sdk.FilterNot, qty20), []int{1, 4, 5}},
		{"not of a conjunction", tree(sdk.FilterNot, qty20, active), []int{1, 2, 4, 5}},
		{"not of or", tree(sdk.FilterNot, tree(sdk.FilterOr, qty20, active)), []int{5}},
		{"and of or", tree(sdk.FilterAnd, tree(sdk.FilterOr, qty20, active), compare("id", sdk.Gt, number("1"))), []int{2, 4, 6}},
		{"empty and", tree(sdk.FilterAnd), []int{1, 2, 3, 4, 5, 6}},
		{"empty or", tree(sdk.FilterOr), nil},
		{"equals null", null, nil},
		{"not equals null", tree(sdk.FilterNot, null), nil},
		{"distinct from null", compare("qty", sdk.IsDistinct, sdk.Value{Hint: sdk.Null}), []int{1, 2, 4, 5, 6}},
		{"deep", deep, []int{2, 6}},
	})
}

func quantifierCheck(ctx context.Context, c *client) error {
	quantified := func(q sdk.Quantifier, f sdk.Filter) sdk.Filter {
		f.Quantifier = q
		return f
	}
	return c.filters(ctx, []filterCase{
		{"eq any", quantified(sdk.Any, compare("qty", sdk.Eq, number("10"), number("20"))), []int{1, 2, 6}},
		{"gt all", quantified(sdk.All, compare("qty", sdk.Gt, number("-10"), number("10"))), []int{2, 5, 6}},
		{"like any", quantified(sdk.Any, compare("name", sdk.Like, str("A%"), str("B%"))), []int{1, 2}},
		{"like all", quantified(sdk.All, compare("name", sdk.Like, str("%a%"), str("%v%"))), []int{4}},
	})
}

func compareCheck(ctx context.Context, c *client) error {
	bad := compare("qty", sdk.Eq, str("five"))
	bad.Compare = sdk.Lenient
	if err := c.wantIDs(ctx, where(selectItems("id"), bad)); err != nil {
		return fmt.Errorf("lenient: %w", err)
	}
	asText := compare("qty", sdk.Eq, str("20"))
	asText.Compare = sdk.Lenient
	if err := c.wantIDs(ctx, where(selectItems("id"), asText), 2, 6); err != nil {
		return fmt.Errorf("lenient: %w", err)
	}
	bad.Compare = sdk.Strict
	ids, err := c.ids(ctx, where(selectItems("id"), bad))
	if err == nil && len(ids) == 0 {
		return nil
	}
	return wantError(err, sdk.Invalid, "")
}

func quotingCheck(ctx context.Context, c *client) error {
	var errs []error
	for _, text := range []string{`'`, `"`, `\`, `x' OR '1'='1`, `x"; DROP TABLE athena_items; --`, "$1", "?", ":a", "%", "`", "名", "a\x01b"} {
		if err := c.wantIDs(ctx, where(selectItems("id"), compare("name", sdk.Eq, str(text)))); err != nil {
			errs = append(errs, fmt.Errorf("the value %q: %w", text, err))
		}
		_, err := c.do(ctx, selectItems(text))
		if err := wantError(err, sdk.Invalid, "undefined_column"); err != nil {
			errs = append(errs, fmt.Errorf("the column %q: %w", text, err))
		}
		_, err = c.do(ctx, sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: text}})
		if err := wantError(err, sdk.NotFound, "undefined_table"); err != nil {
			errs = append(errs, fmt.Errorf("the table %q: %w", text, err))
		}
		aliased := byID(selectItems("id"), 1)
		aliased.Selection.Items[0].Alias = text
		a, err := c.do(ctx, aliased)
		if want := `[{` + string(sdk.AppendString(nil, text)) + `:1}]`; err != nil || string(a.body) != want {
			errs = append(errs, fmt.Errorf("the alias %q: %v", text, err))
		}
	}
	return errors.Join(append(errs, c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6))...)
}
