package sdktest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

var writeChecks = []Check{
	{Name: "crud/key", Doc: "a key chooses the one row that has it, and must have a value for each column of the primary key", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(keyCheck)},
	{Name: "crud/limited_writes", Doc: "limit and offset choose the rows of an update or delete, in the order asked for, or are refused",
		Needs: verbs(sdk.Insert, sdk.Update, sdk.Delete, sdk.Select), Run: withItems(limitedWritesCheck)},
	{Name: "crud/returning_keys", Doc: "a write can answer with the keys of its rows, and tells that of a single one in the tail", Needs: returning, Run: withItems(returningKeysCheck)},
	{Name: "crud/tables", Doc: "the tail names the tables that were read and written", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(tablesCheck)},
	{Name: "crud/missing", Doc: "a column that a row lacks gets null, or with MissingDefault its default", Needs: all(made("Family", func(d *Dialect) []sdk.Statement { return d.Family }), verbs(sdk.Insert, sdk.Select)), Run: withFamily(missingCheck)},
	{Name: "crud/defaults", Doc: "an update and an upsert can set a column to its default", Needs: all(made("Family", func(d *Dialect) []sdk.Statement { return d.Family }), upserts,
		declares("defaults", func(c *sdk.Capabilities) bool { return c.Defaults }), verbs(sdk.Update, sdk.Select)), Run: withFamily(defaultsCheck)},
	{Name: "crud/csv", Doc: "rows are inserted from CSV with a header, in which NULL is null", Needs: all(declares("inserts of CSV", func(c *sdk.Capabilities) bool { return c.CSV }), verbs(sdk.Insert, sdk.Select)), Run: with(insertCSVCheck)},
	{Name: "crud/upsert", Doc: "a row that exists already is left alone or updated; new rows are told from these", Needs: upserts, Run: withItems(upsertCheck)},
	{Name: "crud/upsert_target", Doc: "an upsert's conflict is that of the columns or constraint it names", Needs: upserts, Run: withItems(upsertTargetCheck)},
	{Name: "crud/counts", Doc: "a total can be exact, planned or estimated", Needs: verbs(sdk.Insert, sdk.Select, sdk.Count), Run: withItems(countModesCheck)},
	{Name: "crud/schema", Doc: "a table is looked for in the schema that is named", Needs: all(made("Elsewhere", func(d *Dialect) []sdk.Statement { return d.Elsewhere }), verbs(sdk.Select)), Run: with(schemaCheck)},
}

func upserts(t *Target, c sdk.Capabilities) string {
	return all(declares("upserts", func(c *sdk.Capabilities) bool { return c.Conflict }), returning)(t, c)
}

// orUnsupported checks that a backend that cannot do something says so; done says that it
// did it.
func orUnsupported(err error) (done bool, _ error) {
	if e := (*sdk.Error)(nil); errors.As(err, &e) && e.Kind == sdk.Unsupported {
		return false, wantError(err, sdk.Unsupported, "")
	}
	return true, err
}

func keyCheck(ctx context.Context, c *client) error {
	s := selectItems("id")
	s.Key = []sdk.Value{number("2")}
	if err := c.wantIDs(ctx, s, 2); err != nil {
		return err
	}
	s.Key = append(s.Key, number("3"))
	_, err := c.do(ctx, s)
	return wantError(err, sdk.Invalid, "")
}

func limitedWritesCheck(ctx context.Context, c *client) error {
	page := func(s sdk.Statement, limit, offset int64, order ...sdk.Order) sdk.Statement {
		s = orderBy(where(s, compare("id", sdk.Lt, number("6"))), order...)
		s.Limit, s.Offset = &limit, &offset
		return s
	}
	update := sdk.Statement{Verb: sdk.Update, Table: itemsTable, Set: []sdk.SetItem{{Column: "name", Value: str("changed")}}}
	for _, step := range []struct {
		statement sdk.Statement
		affected  int64
	}{
		{page(update, 2, 1, sdk.Order{Column: sdk.Column{Name: "id"}, Descending: true}), 2},
		{page(sdk.Statement{Verb: sdk.Delete, Table: itemsTable}, 1, 0, nullsLast("qty")), 1},
	} {
		a, err := c.do(ctx, step.statement)
		if done, err := orUnsupported(err); !done || err != nil {
			return err
		}
		if err := number64("Affected", a.tail.Affected, step.affected); err != nil {
			return err
		}
	}
	return errors.Join(
		c.wantIDs(ctx, where(selectItems("id"), compare("name", sdk.Eq, str("changed"))), 3), // 4 had the least qty
		c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 5, 6))
}

func returningKeysCheck(ctx context.Context, c *client) error {
	s := insertOne(7, "seven")
	s.Returning = sdk.ReturnKeys
	a, err := c.do(ctx, s)
	if err != nil {
		return err
	}
	if want := []sdk.KeyColumn{{Name: "id", Value: "7"}}; !sameJSON(a.body, []byte(`[{"id":7}]`)) || !slices.Equal(a.tail.Keys, want) {
		return fmt.Errorf("returned %s with the key %v, want %v", a.body, a.tail.Keys, want)
	}
	several := insert(`[{"id":8,"name":"eight"},{"id":9,"name":"nine"}]`)
	several.Returning = sdk.ReturnKeys
	if a, err = c.do(ctx, several); err != nil {
		return err
	}
	if !sameJSON(a.body, []byte(`[{"id":8},{"id":9}]`)) || a.tail.Keys != nil {
		return fmt.Errorf("returned %s with the key %v, want both rows and none", a.body, a.tail.Keys)
	}
	return nil
}

func tablesCheck(ctx context.Context, c *client) error {
	reading, err := c.do(ctx, selectItems("id"))
	if err != nil {
		return err
	}
	writing, err := c.do(ctx, insertOne(7, "seven"))
	if err != nil {
		return err
	}
	if len(reading.tail.TablesWritten) > 0 {
		return fmt.Errorf("a read says that it wrote %q", reading.tail.TablesWritten)
	}
	return errors.Join(namesTables(reading.tail.TablesRead, "athena_items"), namesTables(writing.tail.TablesWritten, "athena_items"))
}

func missingCheck(ctx context.Context, c *client) error {
	s := insertInto("athena_tags", `[{"id":3},{"id":4,"weight":null},{"id":5,"weight":9}]`, "id", "weight")
	defaults := insertInto("athena_tags", `[{"id":6},{"id":7,"weight":null},{"id":8,"weight":9}]`, "id", "weight")
	defaults.Rows.MissingDefault = true
	if err := c.each(ctx, []sdk.Statement{s, defaults}); err != nil {
		return err
	}
	return c.bodies(ctx, []bodyCase{{"inserted", where(from("athena_tags", item("weight")), compare("id", sdk.Gt, number("2"))),
		`[{"weight":null},{"weight":null},{"weight":9},{"weight":3},{"weight":null},{"weight":9}]`}})
}

func defaultsCheck(ctx context.Context, c *client) error {
	set := []sdk.SetItem{{Column: "weight", Default: true}, {Column: "label", Default: true}}
	insert := insertInto("athena_tags", `[{"id":3,"label":"x","weight":9},{"id":4,"label":"x","weight":9}]`, "id", "label", "weight")
	update := where(sdk.Statement{Verb: sdk.Update, Table: sdk.Table{Name: "athena_tags"}, Set: set}, compare("id", sdk.Eq, number("3")))
	upsert := insertInto("athena_tags", `{"id":4}`, "id")
	upsert.Conflict = &sdk.OnConflict{Update: true, Set: set[:1]}
	if err := c.each(ctx, []sdk.Statement{insert, update, upsert}); err != nil {
		return err
	}
	return c.bodies(ctx, []bodyCase{{"set", orderBy(where(from("athena_tags", item("weight"), item("label")), compare("id", sdk.Gt, number("2"))), by("id")),
		`[{"weight":3,"label":null},{"weight":3,"label":"x"}]`}})
}

func insertCSVCheck(ctx context.Context, c *client) error {
	s := sdk.Statement{Verb: sdk.Insert, Table: itemsTable, Rows: sdk.Rowset{Format: sdk.RowsCSV,
		Payload: []byte("id,name,code,qty\n1,\"a \"\"quoted\"\", b\",NULL,5\n2,\"two\nlines\",c,NULL\n")}}
	a, err := c.do(ctx, s)
	if err != nil {
		return err
	}
	if err := number64("Affected", a.tail.Affected, 2); err != nil {
		return err
	}
	s.Rows.Payload = []byte("id,name\n3\n")
	_, err = c.do(ctx, s)
	return errors.Join(
		wantError(err, sdk.Invalid, ""),
		c.bodies(ctx, []bodyCase{{"inserted", orderBy(selectItems("id", "name", "code", "qty"), by("id")),
			`[{"id":1,"name":"a \"quoted\", b","code":null,"qty":5},{"id":2,"name":"two\nlines","code":"c","qty":null}]`}}))
}

func upsertCheck(ctx context.Context, c *client) error {
	upsert := func(conflict sdk.OnConflict) sdk.Statement {
		s := insertInto("athena_items", `[{"id":1,"name":"new","qty":1},{"id":7,"name":"seven","qty":7}]`, "id", "name", "qty")
		s.Conflict, s.Returning, s.Selection = &conflict, sdk.ReturnSelection, selectItems("id", "name", "qty").Selection
		return s
	}
	for _, u := range []struct {
		name               string
		conflict           sdk.OnConflict
		affected, inserted int64
		first              string
	}{
		{"left alone", sdk.OnConflict{}, 1, 1, `{"id":1,"name":"Ada","qty":10}`},
		{"updated", sdk.OnConflict{Update: true}, 2, 0, `{"id":1,"name":"new","qty":1}`},
		{"columns of its own", sdk.OnConflict{Update: true, Set: []sdk.SetItem{{Column: "qty", Value: number("5")}}}, 2, 0, `{"id":1,"name":"new","qty":5}`},
		{"an object of its own", sdk.OnConflict{Update: true, SetObject: []byte(`{"qty":6,"code":null}`)}, 2, 0, `{"id":1,"name":"new","qty":6}`},
	} {
		a, err := c.do(ctx, upsert(u.conflict))
		if err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
		rows, err := a.rows()
		if err != nil {
			return err
		}
		if a.tail.Inserted == nil && (!u.conflict.Update || !c.Dialect.TellsNew) {
			a.tail.Inserted = &u.inserted // all that were written are new, or nobody can tell
		}
		if err := errors.Join(number64("Affected", a.tail.Affected, u.affected), number64("Inserted", a.tail.Inserted, u.inserted),
			number64("the number of returned rows", ptr(int64(len(rows))), u.affected),
			c.bodies(ctx, []bodyCase{{"afterwards", byID(selectItems("id", "name", "qty"), 1), "[" + u.first + "]"}})); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6, 7)
}

func upsertTargetCheck(ctx context.Context, c *client) error {
	upsert := func(payload string, conflict sdk.OnConflict) sdk.Statement {
		conflict.Update = true
		conflict.Set = []sdk.SetItem{{Column: "qty", Value: number("99")}}
		s := insertInto("athena_items", payload, "id", "name", "code")
		s.Conflict = &conflict
		return s
	}
	byColumns := sdk.OnConflict{Columns: []string{"code"}}
	if _, err := c.do(ctx, upsert(`{"id":70,"name":"x","code":"a1"}`, byColumns)); err != nil {
		return err
	}
	_, err := c.do(ctx, upsert(`{"id":1,"name":"x","code":"new"}`, byColumns))
	if err := wantError(err, sdk.Conflict, "unique_violation"); err != nil {
		return fmt.Errorf("a conflict of another column: %w", err)
	}
	_, err = c.do(ctx, upsert(`{"id":71,"name":"x","code":"y"}`, sdk.OnConflict{Columns: []string{"name"}}))
	if err := wantError(err, sdk.Invalid, ""); err != nil {
		return fmt.Errorf("a target that is not unique: %w", err)
	}
	changed := []int{1}
	_, err = c.do(ctx, upsert(`{"id":72,"name":"x","code":"b2"}`, sdk.OnConflict{Constraint: "athena_items_code_key"}))
	done, err := orUnsupported(err)
	if err != nil {
		return fmt.Errorf("a constraint: %w", err)
	}
	if done {
		changed = append(changed, 2)
	}
	return errors.Join(c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6),
		c.wantIDs(ctx, where(selectItems("id"), compare("qty", sdk.Eq, number("99"))), changed...))
}

func countModesCheck(ctx context.Context, c *client) error {
	for _, mode := range []sdk.CountMode{sdk.CountExact, sdk.CountPlanned, sdk.CountEstimated} {
		s, count := selectItems("id"), sdk.Statement{Verb: sdk.Count, Table: itemsTable, Count: mode}
		s.Count, s.Limit = mode, ptr(int64(1))
		for _, s := range []sdk.Statement{s, count} {
			a, err := c.do(ctx, s)
			if err != nil {
				return err
			}
			total, err := a.total()
			if err != nil || total < 1 || mode != sdk.CountPlanned && total != 6 {
				return errors.Join(err, fmt.Errorf("%s counted %d in mode %d, want 6 or a guess", s.Verb, total, mode))
			}
			if err := errors.Join(number64("the head's total", a.head.Total, total), number64("the tail's total", a.tail.Total, total)); err != nil {
				return fmt.Errorf("%s: %w", s.Verb, err)
			}
		}
	}
	return nil
}

func schemaCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Elsewhere); err != nil {
		return err
	}
	here := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Schema: "athena_other", Name: "athena_here"}}
	a, err := c.do(ctx, here)
	if err != nil {
		return err
	}
	if !sameJSON(a.body, []byte(`[{"a":"here"}]`)) || namesTables(a.tail.TablesRead, "athena_here") != nil {
		return fmt.Errorf("answered %s of the tables %q", a.body, a.tail.TablesRead)
	}
	here.Table.Schema = ""
	_, err = c.do(ctx, here)
	return wantError(err, sdk.NotFound, "undefined_table")
}
