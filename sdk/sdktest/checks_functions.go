package sdktest

import (
	"context"
	"errors"
	"fmt"

	"github.com/athena-gateway/athena/sdk"
)

var functionChecks = []Check{
	{Name: "functions/scalar", Doc: "a function that returns one value answers with it alone; arguments are named, or take their defaults", Needs: functions, Run: withFunctions(scalarCheck)},
	{Name: "functions/rows", Doc: "the rows of a function are selected, filtered, sorted, paged and counted", Needs: functions, Run: withFunctions(functionRowsCheck)},
	{Name: "functions/overloads", Doc: "the names of the arguments choose among functions of one name", Needs: functions, Run: withFunctions(overloadsCheck)},
	{Name: "functions/body", Doc: "a body is the one unnamed argument", Needs: functions, Run: withFunctions(bodyCheck)},
	{Name: "functions/void", Doc: "a function that returns nothing writes, and is void; ViaGet must not write", Needs: functions, Run: withFunctions(voidCheck)},
	{Name: "functions/errors", Doc: "a function that there is not is NotFound undefined_function, with those there are", Needs: functions, Run: withFunctions(functionErrorsCheck)},
}

func functions(t *Target, c sdk.Capabilities) string {
	return all(made("Functions", func(d *Dialect) []sdk.Statement { return d.Functions }), verbs(sdk.Function, sdk.Insert, sdk.Select))(t, c)
}

func withFunctions(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return withItems(func(ctx context.Context, c *client) error {
		if err := c.each(ctx, c.Dialect.Functions); err != nil {
			return fmt.Errorf("make the functions: %w", err)
		}
		return f(ctx, c)
	})
}

// call calls a function with an object of arguments.
func call(name, args string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, Args: []byte(args)}}
}

// get calls a function that must not write with pairs of texts.
func get(name string, pairs ...sdk.Pair) sdk.Statement {
	return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, ArgPairs: pairs, ViaGet: true}}
}

// wantShape checks a function's body and the shape that its head tells.
func (c *client) wantShape(ctx context.Context, s sdk.Statement, shape sdk.Shape, want string) error {
	a, err := c.do(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Function.Name, err)
	}
	if a.head.Shape != shape || string(a.body) != want && !sameJSON(a.body, []byte(want)) {
		return fmt.Errorf("%s: answered %q of the shape %d, want %q of %d", s.Function.Name, a.body, a.head.Shape, want, shape)
	}
	return nil
}

func scalarCheck(ctx context.Context, c *client) error {
	return errors.Join(
		c.wantShape(ctx, call("athena_add", `{"a":2,"b":3}`), sdk.ShapeScalar, `5`),
		c.wantShape(ctx, call("athena_add", `{"a":2}`), sdk.ShapeScalar, `3`),
		c.wantShape(ctx, get("athena_add", sdk.Pair{Name: "a", Value: "20"}), sdk.ShapeScalar, `21`),
		c.wantShape(ctx, call("athena_total", `{"list":[1,2,3]}`), sdk.ShapeScalar, `6`),
		c.wantShape(ctx, get("athena_total", sdk.Pair{Name: "list", Value: "4"}, sdk.Pair{Name: "list", Value: "5"}), sdk.ShapeScalar, `9`))
}

func functionRowsCheck(ctx context.Context, c *client) error {
	s := orderBy(where(call("athena_items_over", `{"floor":5}`), compare("active", sdk.Is, untyped("not_null"))), sdk.Order{Column: sdk.Column{Name: "id"}, Descending: true})
	s.Selection, s.Limit, s.Offset, s.Count = selectItems("id").Selection, ptr(int64(2)), ptr(int64(1)), sdk.CountExact
	if err := c.wantShape(ctx, s, sdk.ShapeRows, `[{"id":5},{"id":2}]`); err != nil {
		return err
	}
	a, err := c.do(ctx, s)
	if err != nil {
		return err
	}
	if total, err := a.total(); err != nil || total != 4 {
		return errors.Join(err, fmt.Errorf("the total is %d, want 4", total))
	}
	return nil
}

func overloadsCheck(ctx context.Context, c *client) error {
	return errors.Join(
		c.wantShape(ctx, call("athena_pick", `{"number":1}`), sdk.ShapeScalar, `"number"`),
		c.wantShape(ctx, call("athena_pick", `{"word":"1"}`), sdk.ShapeScalar, `"word"`))
}

func bodyCheck(ctx context.Context, c *client) error {
	with := func(name, body, bodyType string) sdk.Statement {
		return sdk.Statement{Verb: sdk.Function, Function: sdk.FunctionCall{Name: name, Body: []byte(body), BodyType: bodyType}}
	}
	return errors.Join(
		c.wantShape(ctx, with("athena_echo", `[1,{"a":2}]`, "application/json"), sdk.ShapeScalar, `[1,{"a":2}]`),
		c.wantShape(ctx, with("athena_letters", `[1,2]`, "text/plain"), sdk.ShapeScalar, `5`))
}

func voidCheck(ctx context.Context, c *client) error {
	if err := c.wantShape(ctx, call("athena_write", `{"id":7,"name":"seven"}`), sdk.ShapeVoid, ``); err != nil {
		return err
	}
	_, err := c.do(ctx, get("athena_write", sdk.Pair{Name: "id", Value: "8"}, sdk.Pair{Name: "name", Value: "eight"}))
	if err := wantAny(err, "", sdk.Invalid, sdk.Forbidden); err != nil {
		return err
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6, 7)
}

func functionErrorsCheck(ctx context.Context, c *client) error {
	elsewhere := call("athena_add", `{"a":1}`)
	elsewhere.Function.Schema = "athena_none"
	for name, s := range map[string]sdk.Statement{
		"no such function": call("athena_none", `{}`),
		"no such argument": call("athena_add", `{"a":1,"c":2}`),
		"another schema":   elsewhere,
	} {
		_, err := c.do(ctx, s)
		if err := errors.Join(wantError(err, sdk.NotFound, "undefined_function"), c.wantDetails(err, false)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
