package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

var sessionChecks = []Check{
	{Name: "sessions/settings", Doc: "a call's role, settings, search path and time zone are in force in all its statements, and not in the next call", Needs: sessions, Run: with(sessionCheck)},
	{Name: "sessions/role", Doc: "a role may do what it is allowed to and no more", Needs: all(sessions, made("Role", func(d *Dialect) []sdk.Statement { return d.Role })), Run: with(roleCheck)},
	{Name: "sessions/timeout", Doc: "a statement that takes longer than the session's timeout is stopped",
		Needs: given("Slow", func(d *Dialect) *sdk.Statement { return d.Slow }), Run: with(statementTimeoutCheck)},
	{Name: "transactions/modes", Doc: "a transaction has the isolation and modes asked for", Needs: all(transactions, given("ShowTx", func(d *Dialect) *sdk.Statement { return d.ShowTx })), Run: with(modesCheck)},
	{Name: "transactions/read_only", Doc: "a read-only transaction refuses to write", Needs: transactions, Run: withItems(readOnlyCheck)},
	{Name: "transactions/separate", Doc: "without a transaction around them, the statements before a failing one stay", Needs: transactions, Run: withItems(separateCheck)},
	{Name: "transactions/deferred", Doc: "constraints checked at the end fail the commit, and a rollback too if the backend can rehearse", Needs: all(transactions, made("Deferred", func(d *Dialect) []sdk.Statement { return d.Deferred })), Run: with(deferredCheck)},
	{Name: "transactions/expect", Doc: "a call that does not do what is expected is undone", Needs: all(transactions, verbs(sdk.Update)), Run: withItems(expectCheck)},
	{Name: "transactions/capped", Doc: "a capped answer does not keep the statements behind it from being executed", Needs: all(transactions, verbs(sdk.Insert, sdk.Update, sdk.Select)), Run: withItems(cappedCheck)},
	{Name: "transactions/position", Doc: "a read at a position sees what was written before it", Run: withItems(positionCheck),
		Needs: all(declares("positions", func(c *sdk.Capabilities) bool { return c.Positions }), verbs(sdk.Insert, sdk.Select), given("Position", func(d *Dialect) *sdk.Statement { return d.Position }))},
}

func sessions(t *Target, c sdk.Capabilities) string {
	return all(declares("sessions", func(c *sdk.Capabilities) bool { return c.Sessions }), given("ShowSession", func(d *Dialect) *sdk.Statement { return d.ShowSession }))(t, c)
}

// row reads the one row of an answer: texts by column.
func (a *answer) row() (map[string]string, error) {
	var rows []map[string]*string
	if err := json.Unmarshal(a.body, &rows); err != nil || len(rows) != 1 {
		return nil, fmt.Errorf("answered %s, want one row of texts", a.body)
	}
	row := map[string]string{}
	for name, value := range rows[0] {
		if value != nil {
			row[name] = *value
		}
	}
	return row, nil
}

func sessionCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Role); err != nil {
		return err
	}
	want := map[string]string{"role": "athena_stranger", "who": `O'Ada "名"`, "path": `athena_other, "Public"`, "zone": "Asia/Tokyo"}
	session := sdk.Session{Role: want["role"], Settings: []sdk.Pair{{Name: "athena.who", Value: want["who"]}}, SearchPath: []string{"athena_other", "Public"}, TimeZone: want["zone"]}
	for range 3 { // the pool's connections are used again
		call := c.call(*c.Dialect.ShowSession, *c.Dialect.ShowSession)
		call.Session = session
		answers, err := c.execute(ctx, call)
		if err != nil {
			return err
		}
		for _, a := range answers {
			row, err := a.row()
			if err != nil {
				return err
			}
			for name := range want {
				if row[name] != want[name] && (name != "path" || row[name] != `"athena_other", "Public"`) {
					return fmt.Errorf("%s is %q, want %q", name, row[name], want[name])
				}
			}
		}
		failing := c.call(sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "athena_missing"}})
		failing.Session = session
		if _, err := c.execute(ctx, failing); err == nil {
			return errors.New("a table that does not exist was read")
		}
		a, err := c.do(ctx, *c.Dialect.ShowSession)
		if err != nil {
			return err
		}
		row, err := a.row()
		if err != nil {
			return err
		}
		if row["role"] == want["role"] || row["who"] != "" || row["zone"] == want["zone"] || row["path"] == want["path"] {
			return fmt.Errorf("the next call sees %v", row)
		}
	}
	return nil
}

func roleCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Role); err != nil {
		return err
	}
	for _, s := range []sdk.Statement{selectItems("id"), insertOne(1, "one")} {
		call := c.call(s)
		call.Session.Role = "athena_stranger"
		_, err := c.execute(ctx, call)
		if err := wantError(err, sdk.Forbidden, ""); err != nil {
			return fmt.Errorf("%s: %w", s.Verb, err)
		}
	}
	call := c.call(selectItems("id"))
	call.Session.Role = "athena_nobody"
	if _, err := c.execute(ctx, call); err == nil {
		return errors.New("a role that does not exist was taken")
	}
	return c.wantIDs(ctx, selectItems("id"))
}

func statementTimeoutCheck(ctx context.Context, c *client) error {
	timeouts := [][]sdk.Pair{nil}
	if c.capabilities.Sessions { // it may come with settings
		timeouts = append(timeouts, []sdk.Pair{{Name: "athena.who", Value: "ada"}})
	}
	for _, settings := range timeouts {
		call := c.call(*c.Dialect.Slow)
		call.Session = sdk.Session{StatementTimeout: 100 * time.Millisecond, Settings: settings}
		began := time.Now()
		_, err := c.execute(ctx, call)
		if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.Kind != sdk.Timeout || time.Since(began) > 5*second {
			return fmt.Errorf("after %s: %v, want a timeout", time.Since(began), err)
		}
	}
	return c.usable(ctx)
}

func modesCheck(ctx context.Context, c *client) error {
	for _, mode := range []struct {
		tx                              sdk.Tx
		isolation, readOnly, deferrable string
	}{
		{sdk.Tx{Single: true, Isolation: sdk.ReadCommitted}, "read committed", "", "off"},
		{sdk.Tx{Single: true, Isolation: sdk.RepeatableRead}, "repeatable read", "", "off"},
		{sdk.Tx{Single: true, Isolation: sdk.Serializable, ReadOnly: true, Deferrable: true}, "serializable", "on", "on"},
	} {
		call := c.call(*c.Dialect.ShowTx)
		call.Tx = mode.tx
		answers, err := c.execute(ctx, call)
		if err != nil {
			return err
		}
		row, err := answers[0].row()
		if err != nil {
			return err
		}
		if row["isolation"] != mode.isolation || row["deferrable"] != mode.deferrable || mode.readOnly != "" && row["read_only"] != mode.readOnly {
			return fmt.Errorf("%+v: the transaction is %v", mode.tx, row)
		}
	}
	return nil
}

func readOnlyCheck(ctx context.Context, c *client) error {
	call := c.call(insertOne(7, "seven"))
	call.Tx = sdk.Tx{Single: true, ReadOnly: true}
	_, err := c.execute(ctx, call)
	return errors.Join(wantAny(err, "", sdk.Invalid, sdk.Forbidden), c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6))
}

func separateCheck(ctx context.Context, c *client) error {
	_, err := c.execute(ctx, c.call(insertOne(7, "seven"), insertOne(1, "taken"), insertOne(8, "eight")))
	var e *sdk.Error
	if !errors.As(err, &e) || e.Reason != "unique_violation" || e.Statement != 1 || e.Executed != sdk.ExecutedYes {
		return fmt.Errorf("%v: want a unique_violation of statement 1 after one that was executed", err)
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6, 7)
}

func deferredCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Deferred); err != nil {
		return err
	}
	row := func(payload string) sdk.Statement { return insertInto("athena_deferred", payload, "id", "other") }
	for _, rollback := range []bool{false, true} {
		good := c.call(row(`{"id":1,"other":2}`), row(`{"id":2,"other":1}`))
		good.Tx = sdk.Tx{Single: true, Rollback: rollback}
		if _, err := c.execute(ctx, good); err != nil {
			return fmt.Errorf("rollback %t: %w", rollback, err)
		}
		bad := c.call(row(`{"id":3,"other":99}`))
		bad.Tx = good.Tx
		_, err := c.execute(ctx, bad)
		if err := wantAny(err, "foreign_key_violation", sdk.Conflict, sdk.Invalid); err != nil {
			return fmt.Errorf("rollback %t: %w", rollback, err)
		}
		if rollback {
			return c.wantIDs(ctx, from("athena_deferred", item("id")))
		}
		_, err = c.do(ctx, sdk.Statement{Verb: sdk.Delete, Table: sdk.Table{Name: "athena_deferred"}, AllowAll: true})
		if err != nil {
			return err
		}
	}
	return nil
}

func expectCheck(ctx context.Context, c *client) error {
	update := sdk.Statement{Verb: sdk.Update, Table: itemsTable, AllowAll: true, Set: []sdk.SetItem{{Column: "qty", Value: number("7")}}}
	for reason, step := range map[string]struct {
		statement sdk.Statement
		expect    sdk.Expect
	}{
		"not_exactly_one":       {update, sdk.Expect{ExactlyOne: true}},
		"max_affected_exceeded": {update, sdk.Expect{MaxAffected: ptr(int64(5))}},
		"key_mismatch":          {byID(update, 1), sdk.Expect{KeyEquals: []sdk.Value{number("2")}}},
	} {
		call := c.call(step.statement)
		call.Expect = step.expect
		_, err := c.execute(ctx, call)
		if done, err := orUnsupported(err); !done && err == nil {
			continue
		}
		if err := wantError(err, sdk.Invalid, reason); err != nil {
			return err
		}
	}
	if err := c.wantIDs(ctx, where(selectItems("id"), compare("qty", sdk.Eq, number("7")))); err != nil {
		return err
	}
	met := c.call(byID(update, 1))
	met.Expect = sdk.Expect{ExactlyOne: true, MaxAffected: ptr(int64(1))}
	if _, err := c.execute(ctx, met); err != nil {
		return err
	}
	met.Expect = sdk.Expect{KeyEquals: []sdk.Value{untyped("1")}}
	if _, err := c.execute(ctx, met); err != nil {
		if done, err := orUnsupported(err); done || err != nil {
			return err
		}
	}
	return c.wantIDs(ctx, where(selectItems("id"), compare("qty", sdk.Eq, number("7"))), 1)
}

func cappedCheck(ctx context.Context, c *client) error {
	update := sdk.Statement{Verb: sdk.Update, Table: itemsTable, AllowAll: true, Set: []sdk.SetItem{{Column: "name", Value: str("after")}}}
	for _, single := range []bool{true, false} {
		call := c.call(orderBy(selectItems("id"), by("id")), update, where(selectItems("id"), compare("name", sdk.Eq, str("after"))))
		call.Tx.Single, call.Result = single, sdk.ResultOptions{MaxRows: 2, CapRows: true}
		answers, err := c.execute(ctx, call)
		if err != nil || len(answers) != 3 {
			return errors.Join(fmt.Errorf("%d answers to three statements", len(answers)), err)
		}
		if body := string(answers[0].body); body != `[{"id":1},{"id":2}]` || answers[2].tail.Rows != 2 {
			return fmt.Errorf("capped at 2 rows: %s, afterwards %d rows", body, answers[2].tail.Rows)
		}
		if err := number64("Affected", answers[1].tail.Affected, 6); err != nil {
			return err
		}
	}
	return c.wantIDs(ctx, where(selectItems("id"), compare("name", sdk.Eq, str("after"))), 1, 2, 3, 4, 5, 6)
}

func positionCheck(ctx context.Context, c *client) error {
	written, err := c.do(ctx, insertOne(7, "seven"))
	if err != nil {
		return err
	}
	position := written.tail.Position
	if position == "" { // there are no replicas that could be behind
		a, err := c.do(ctx, *c.Dialect.Position)
		if err != nil {
			return err
		}
		row, err := a.row()
		if err != nil {
			return err
		}
		position = row["position"]
	}
	call := c.call(byID(selectItems("id"), 7))
	call.MinPosition = position
	answers, err := c.execute(ctx, call)
	if err != nil {
		return err
	}
	call.MinPosition = "athena none"
	_, err = c.execute(ctx, call)
	if err := wantError(err, sdk.Invalid, ""); err != nil {
		return fmt.Errorf("what is no position: %w", err)
	}
	if answers[0].tail.Rows != 1 {
		return errors.New("a read at the position of a write does not see it")
	}
	return nil
}
