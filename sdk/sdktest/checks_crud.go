package sdktest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

var crudChecks = []Check{
	{Name: "crud/insert_select", Doc: "inserted rows come back, their values intact", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(roundTripCheck)},
	{Name: "crud/insert", Doc: "an insert takes an object or an array, an empty one too, and counts its rows", Needs: verbs(sdk.Insert, sdk.Select), Run: with(insertCheck)},
	{Name: "crud/update", Doc: "an update by filter or key sets the columns of Set or SetObject in the chosen rows alone",
		Needs: verbs(sdk.Insert, sdk.Select, sdk.Update), Run: withItems(updateCheck)},
	{Name: "crud/delete", Doc: "a delete by filter or key removes the chosen rows alone", Needs: verbs(sdk.Insert, sdk.Select, sdk.Delete), Run: withItems(deleteCheck)},
	{Name: "crud/returning", Doc: "a write answers with the rows that it wrote, as its selection says", Needs: returning, Run: withItems(returningCheck)},
	{Name: "crud/count", Doc: "Count counts what its filter chooses", Needs: verbs(sdk.Insert, sdk.Count), Run: withItems(countCheck)},
	{Name: "crud/page", Doc: "order, limit and offset choose a page; the total ignores them", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(pageCheck)},
	{Name: "crud/selection", Doc: "columns come in the order asked for, under their aliases", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(selectionCheck)},
	{Name: "crud/transaction", Doc: "the statements of a call in one transaction happen all or not at all; Rollback and Expect undo them",
		Needs: transactions, Run: withItems(transactionCheck)},
	{Name: "crud/sql_args", Doc: "a SQL text's arguments are values, never text of the statement", Needs: sqlArgs, Run: with(sqlArgsCheck)},
}

func returning(t *Target, c sdk.Capabilities) string {
	if !c.Returning {
		return "rows returned by writes"
	}
	return verbs(sdk.Insert, sdk.Update, sdk.Delete, sdk.Select)(t, c)
}

func transactions(t *Target, c sdk.Capabilities) string {
	if !c.Transactions {
		return "transactions"
	}
	return verbs(sdk.Insert, sdk.Delete, sdk.Select)(t, c)
}

func sqlArgs(t *Target, c sdk.Capabilities) string {
	if t.Dialect.Duplicate == nil {
		return "SQL like SELECT $1 AS a"
	}
	return verbs(sdk.SQL)(t, c)
}

func roundTripCheck(ctx context.Context, c *client) error {
	want, err := (&answer{body: []byte(items), tail: &sdk.Tail{Rows: 6}}).rows()
	if err != nil {
		return err
	}
	a, err := c.do(ctx, orderBy(selectItems("id", "name", "code", "qty", "active", "doc"), by("id")))
	if err != nil {
		return err
	}
	got, err := a.rows()
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		for name, value := range got[i] {
			if !sameJSON(value, want[i][name]) {
				return fmt.Errorf("row %d: %s is %s, want %s", i+1, name, value, want[i][name])
			}
		}
	}
	return nil
}

func insertCheck(ctx context.Context, c *client) error {
	for payload, rows := range map[string]int64{
		` {"id":1,"name":"one"}`:                          1,
		`[{"id":2,"name":"two"},{"name":"three","id":3}]`: 2,
		`[]`: 0,
	} {
		a, err := c.do(ctx, insert(payload))
		if err != nil {
			return fmt.Errorf("%s: %w", payload, err)
		}
		if a.tail.Affected == nil || *a.tail.Affected != rows {
			return fmt.Errorf("%s: Affected is %s, want %d", payload, show(a.tail.Affected), rows)
		}
	}
	if err := c.wantIDs(ctx, selectItems("id"), 1, 2, 3); err != nil {
		return err
	}
	return c.wantIDs(ctx, where(selectItems("id"), compare("code", sdk.Is, untyped("null"))), 1, 2, 3)
}

func updateCheck(ctx context.Context, c *client) error {
	update := sdk.Statement{Verb: sdk.Update, Table: itemsTable}
	bySet, byObject, none := byID(update, 1), update, byID(update, 99)
	bySet.Set = []sdk.SetItem{{Column: "qty", Value: number("77")}, {Column: "code", Value: sdk.Value{Hint: sdk.Null}}}
	byObject.Key, byObject.SetObject = []sdk.Value{number("2")}, []byte(`{"qty":77,"name":"x' OR ''='"}`)
	none.Set = bySet.Set
	for i, s := range []sdk.Statement{bySet, byObject, none} {
		a, err := c.do(ctx, s)
		if err != nil {
			return err
		}
		if want := int64(1 - i/2); a.tail.Affected == nil || *a.tail.Affected != want {
			return fmt.Errorf("update %d: Affected is %s, want %d", i+1, show(a.tail.Affected), want)
		}
	}
	if err := c.wantIDs(ctx, where(selectItems("id"), compare("qty", sdk.Eq, number("77"))), 1, 2); err != nil {
		return err
	}
	if err := c.wantIDs(ctx, where(selectItems("id"), compare("name", sdk.Eq, str("x' OR ''='"))), 2); err != nil {
		return err
	}
	return c.wantIDs(ctx, where(selectItems("id"), compare("code", sdk.Is, untyped("null"))), 1, 3)
}

func deleteCheck(ctx context.Context, c *client) error {
	remove := sdk.Statement{Verb: sdk.Delete, Table: itemsTable}
	byKey := remove
	byKey.Key = []sdk.Value{untyped("2")}
	for _, s := range []sdk.Statement{byID(remove, 1), byKey, byID(remove, 99)} {
		if _, err := c.do(ctx, s); err != nil {
			return err
		}
	}
	return c.wantIDs(ctx, selectItems("id"), 3, 4, 5, 6)
}

func returningCheck(ctx context.Context, c *client) error {
	write := func(s sdk.Statement) sdk.Statement {
		s.Returning, s.Selection = sdk.ReturnSelection, selectItems("id", "name").Selection
		return s
	}
	update := byID(sdk.Statement{Verb: sdk.Update, Table: itemsTable}, 7)
	update.Set = []sdk.SetItem{{Column: "name", Value: str("after")}}
	for _, step := range []struct {
		statement sdk.Statement
		want      string
	}{
		{insertOne(7, "new"), `[{"id":7,"name":"new"}]`},
		{update, `[{"id":7,"name":"after"}]`},
		{byID(sdk.Statement{Verb: sdk.Delete, Table: itemsTable}, 7), `[{"id":7,"name":"after"}]`},
		{byID(sdk.Statement{Verb: sdk.Delete, Table: itemsTable}, 7), `[]`},
	} {
		a, err := c.do(ctx, write(step.statement))
		if err != nil {
			return fmt.Errorf("%s: %w", step.statement.Verb, err)
		}
		if !sameJSON(a.body, []byte(step.want)) {
			return fmt.Errorf("%s returned %s, want %s", step.statement.Verb, a.body, step.want)
		}
	}
	all := sdk.Statement{Verb: sdk.Delete, Table: itemsTable, AllowAll: true}
	_, err := c.do(ctx, write(all), sdk.ResultOptions{MaxRows: 3})
	if err := wantError(err, sdk.Invalid, ""); err != nil {
		return fmt.Errorf("more rows than MaxRows returned: %w", err)
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6)
}

func countCheck(ctx context.Context, c *client) error {
	count := sdk.Statement{Verb: sdk.Count, Table: itemsTable}
	for want, s := range map[int64]sdk.Statement{6: count, 2: where(count, compare("qty", sdk.Eq, number("20")))} {
		a, err := c.do(ctx, s)
		if err != nil {
			return err
		}
		if got, err := a.total(); err != nil || got != want {
			return errors.Join(err, fmt.Errorf("counted %d, want %d", got, want))
		}
	}
	return nil
}

func pageCheck(ctx context.Context, c *client) error {
	descending := sdk.Order{Column: sdk.Column{Name: "id"}, Descending: true}
	page := orderBy(selectItems("id"), descending)
	page.Limit, page.Offset, page.Count = ptr(int64(2)), ptr(int64(1)), sdk.CountExact
	if err := c.wantIDs(ctx, page, 5, 4); err != nil {
		return err
	}
	a, err := c.do(ctx, page)
	if err != nil {
		return err
	}
	if total, err := a.total(); err != nil || total != 6 {
		return errors.Join(err, fmt.Errorf("the total is %d, want 6", total))
	}
	nothing, rest := orderBy(selectItems("id"), by("id")), orderBy(selectItems("id"), by("id"))
	nothing.Limit, rest.Offset = ptr(int64(0)), ptr(int64(4))
	if err := errors.Join(c.wantIDs(ctx, nothing), c.wantIDs(ctx, rest, 5, 6)); err != nil {
		return err
	}
	first, last, down := by("qty"), by("qty"), by("qty")
	first.Nulls, last.Nulls, down.Nulls, down.Descending = sdk.NullsFirst, sdk.NullsLast, sdk.NullsLast, true
	return errors.Join(
		c.wantIDs(ctx, orderBy(selectItems("id"), first, by("id")), 3, 4, 1, 2, 6, 5),
		c.wantIDs(ctx, orderBy(selectItems("id"), last, descending), 4, 1, 6, 2, 5, 3),
		c.wantIDs(ctx, orderBy(selectItems("id"), down, by("id")), 5, 2, 6, 1, 4, 3))
}

func selectionCheck(ctx context.Context, c *client) error {
	s := byID(selectItems("name", "id"), 2)
	s.Selection.Items[0].Alias = `the "name"`
	a, err := c.do(ctx, s)
	if err != nil {
		return err
	}
	if want := `[{"the \"name\"":"Bob","id":2}]`; string(a.body) != want {
		return fmt.Errorf("answered %s, want %s", a.body, want)
	}
	for _, star := range []sdk.Statement{selectItems(), {Verb: sdk.Select, Table: itemsTable, Selection: sdk.Selection{Items: []sdk.Item{{Kind: sdk.ItemStar}}}}} {
		if a, err = c.do(ctx, byID(star, 2)); err != nil {
			return err
		}
		rows, err := a.rows()
		if err != nil {
			return err
		}
		if len(rows) != 1 || len(rows[0]) != len(itemColumns) {
			return fmt.Errorf("all columns: answered %s, want the columns %v", a.body, itemColumns)
		}
	}
	plain := orderBy(byID(selectItems("id"), 2), by("id")) // the table's own columns are there either way
	plain.Selection.Items[0].Column.Plain, plain.Filter.Column.Plain, plain.Order[0].Column.Plain = true, true, true
	return c.wantIDs(ctx, plain, 2)
}

func transactionCheck(ctx context.Context, c *client) error {
	failing := c.call(insertOne(7, "seven"), insertOne(1, "taken"))
	failing.Tx.Single = true
	_, err := c.execute(ctx, failing)
	if err := wantError(err, sdk.Conflict, "unique_violation"); err != nil {
		return err
	}
	if e := (*sdk.Error)(nil); errors.As(err, &e) && e.Statement != 1 {
		return fmt.Errorf("the error names statement %d, want 1", e.Statement)
	}
	rollback := c.call(insertOne(7, "seven"), selectItems("id"))
	rollback.Tx = sdk.Tx{Single: true, Rollback: true}
	answers, err := c.execute(ctx, rollback)
	if err != nil {
		return err
	}
	if len(answers) != 2 || answers[1].tail.Rows != 7 {
		return errors.New("the second statement does not see what the first wrote")
	}
	expecting := c.call(sdk.Statement{Verb: sdk.Delete, Table: itemsTable, AllowAll: true})
	expecting.Expect.MaxAffected = ptr(int64(5))
	_, err = c.execute(ctx, expecting)
	if err := wantError(err, sdk.Invalid, ""); err != nil {
		return fmt.Errorf("more rows affected than expected: %w", err)
	}
	if err := c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6); err != nil {
		return err
	}
	good := c.call(insertOne(7, "seven"), insertOne(8, "eight"))
	good.Tx.Single = true
	if _, err := c.execute(ctx, good); err != nil {
		return err
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6, 7, 8)
}

func sqlArgsCheck(ctx context.Context, c *client) error {
	for i, text := range []string{"plain", `'; DROP TABLE athena_items; --`, "", "$1", "名 \t\n"} {
		s := SQL(sdk.IntentRead, "SELECT $1 AS a")
		s.SQL.Args = []sdk.Value{str(text)}
		a, err := c.do(ctx, s)
		if err != nil {
			return err
		}
		if want := `[{"a":` + string(sdk.AppendString(nil, text)) + `}]`; !sameJSON(a.body, []byte(want)) {
			return fmt.Errorf("argument %s: answered %s, want %s", strconv.Itoa(i), a.body, want)
		}
	}
	return c.usable(ctx)
}
