package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

var textChecks = []Check{
	{Name: "sql/intent", Doc: "a SQL text that is meant to read must not write; one of unknown intent may", Needs: sqlArgs, Run: withItems(intentCheck)},
	{Name: "sql/several", Doc: "a SQL text of several statements answers with its last rows, and says how many it held", Needs: sqlArgs, Run: with(severalCheck)},
	{Name: "sql/schema", Doc: "a SQL text's schema is searched first, in that text alone", Needs: all(sqlArgs, made("Elsewhere", func(d *Dialect) []sdk.Statement { return d.Elsewhere })), Run: with(textSchemaCheck)},
	{Name: "sql/headers", Doc: "SQL can set the status and headers of the answer when it may",
		Needs: all(declares("headers set by SQL", func(c *sdk.Capabilities) bool { return c.SQLHeaders }), given("Headers", func(d *Dialect) *sdk.Statement { return d.Headers })), Run: with(headersCheck)},
	{Name: "explain/formats", Doc: "a plan comes as text or JSON, with what its options ask for", Needs: explains, Run: with(explainCheck)},
	{Name: "explain/writes", Doc: "a write that is explained leaves nothing behind, even when it runs", Needs: explains, Run: withItems(explainWriteCheck)},
	{Name: "results/raw", Doc: "FormatRaw answers the bytes of one column", Run: with(rawCheck),
		Needs: all(declares("raw bytes", func(c *sdk.Capabilities) bool { return c.Raw }), given("Bytes", func(d *Dialect) *sdk.Statement { return d.Bytes }))},
	{Name: "results/geojson", Doc: "FormatGeoJSON answers a collection of features", Run: with(geoJSONCheck),
		Needs: all(declares("GeoJSON", func(c *sdk.Capabilities) bool { return c.GeoJSON }), made("Places", func(d *Dialect) []sdk.Statement { return d.Places }))},
	{Name: "results/max_bytes", Doc: "a write that returns more than MaxBytes is undone", Needs: returning, Run: with(maxBytesCheck)},
}

func explains(t *Target, c sdk.Capabilities) string {
	return all(declares("explain", func(c *sdk.Capabilities) bool { return c.Explain }), verbs(sdk.Insert, sdk.Select))(t, c)
}

func intentCheck(ctx context.Context, c *client) error {
	writing := SQL(sdk.IntentRead, `INSERT INTO athena_items (id, name) VALUES (7, 'seven')`)
	_, err := c.do(ctx, writing)
	if err := wantAny(err, "", sdk.Invalid, sdk.Forbidden); err != nil {
		return err
	}
	for i, intent := range []sdk.Intent{sdk.IntentUnknown, sdk.IntentWrite} {
		writing.SQL.Intent, writing.SQL.Args = intent, []sdk.Value{number(fmt.Sprint(7 + i))}
		writing.SQL.Text = `INSERT INTO athena_items (id, name) VALUES ($1, 'new')`
		a, err := c.do(ctx, writing)
		if err != nil {
			return err
		}
		if err := errors.Join(number64("Affected", a.tail.Affected, 1), namesTables(a.tail.TablesWritten, "athena_items")); err != nil {
			return err
		}
	}
	a, err := c.do(ctx, SQL(sdk.IntentRead, `SELECT count(*) AS n FROM athena_items`))
	if err != nil {
		return err
	}
	if !sameJSON(a.body, []byte(`[{"n":8}]`)) || len(a.tail.TablesWritten) > 0 {
		return fmt.Errorf("a read answered %s and wrote %q", a.body, a.tail.TablesWritten)
	}
	return nil
}

func severalCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, SQL(sdk.IntentUnknown, `SELECT 1 AS a; SELECT 2 AS a, ';' AS b`))
	if err != nil {
		return err
	}
	if !sameJSON(a.body, []byte(`[{"a":2,"b":";"}]`)) || a.tail.Statements != 2 {
		return fmt.Errorf("answered %s of %d statements, want the rows of the second of 2", a.body, a.tail.Statements)
	}
	return nil
}

func textSchemaCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Elsewhere); err != nil {
		return err
	}
	s := SQL(sdk.IntentRead, `SELECT a FROM athena_here`)
	for range 2 {
		s.SQL.Schema = "athena_other"
		if err := c.wantBody(ctx, s, sdk.ResultOptions{}, `[{"a":"here"}]`); err != nil {
			return err
		}
		s.SQL.Schema = ""
		_, err := c.do(ctx, s)
		if err := wantError(err, sdk.NotFound, "undefined_table"); err != nil {
			return err
		}
	}
	return nil
}

func headersCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, *c.Dialect.Headers, sdk.ResultOptions{SQLHeaders: true})
	if err != nil {
		return err
	}
	if want := []sdk.Pair{{Name: "X-Athena", Value: "one"}, {Name: "X-Athena", Value: "two"}}; a.head.Status != 202 || !slices.Equal(a.head.Headers, want) {
		return fmt.Errorf("the status is %d and the headers are %v, want 202 and %v", a.head.Status, a.head.Headers, want)
	}
	if a, err = c.do(ctx, *c.Dialect.Headers); err != nil {
		return err
	}
	if a.head.Status != 0 || a.head.Headers != nil {
		return errors.New("SQL set the status and headers though it may not")
	}
	return nil
}

func explained(s sdk.Statement, format string, options ...string) sdk.Statement {
	s.Explain = &sdk.Explain{Format: format, Options: options}
	return s
}

func explainCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, explained(selectItems("id"), "text"))
	if err != nil {
		return err
	}
	var plan string
	if err := json.Unmarshal(a.body, &plan); err != nil || !strings.Contains(plan, "athena_items") {
		return fmt.Errorf("the plan is %s, want a text about athena_items", a.body)
	}
	for option, marker := range c.Dialect.Plan {
		options := []string{option}
		if option == "wal" {
			options = append(options, "analyze")
		}
		call := c.call(explained(orderBy(selectItems("id"), by("name")), "json", options...))
		if option == "settings" {
			call.Session.Settings = []sdk.Pair{{Name: "enable_seqscan", Value: "off"}}
		}
		answers, err := c.execute(ctx, call)
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		if body := answers[0].body; !json.Valid(body) || !strings.Contains(string(body), marker) {
			return fmt.Errorf("%s: the plan %s does not show %q", option, body, marker)
		}
	}
	for _, s := range []sdk.Statement{explained(selectItems("id"), "athena_none"), explained(selectItems("id"), "json", "athena_none")} {
		_, err := c.do(ctx, s)
		if err := wantAny(err, "", sdk.Invalid, sdk.Unsupported); err != nil {
			return err
		}
	}
	return nil
}

func explainWriteCheck(ctx context.Context, c *client) error {
	ways := [][]string{nil}
	if c.Dialect.Plan["analyze"] != "" {
		ways = append(ways, []string{"analyze"})
	}
	for _, options := range ways {
		a, err := c.do(ctx, explained(insertOne(7, "seven"), "json", options...))
		if err != nil {
			return err
		}
		if !json.Valid(a.body) {
			return fmt.Errorf("the plan is %s", a.body)
		}
	}
	return c.wantIDs(ctx, selectItems("id"), 1, 2, 3, 4, 5, 6)
}

func rawCheck(ctx context.Context, c *client) error {
	return c.wantBody(ctx, *c.Dialect.Bytes, sdk.ResultOptions{Format: sdk.FormatRaw, MediaType: "application/octet-stream"}, "\x00\xff\x10")
}

func geoJSONCheck(ctx context.Context, c *client) error {
	if err := c.each(ctx, c.Dialect.Places); err != nil {
		return err
	}
	return c.bodies(ctx, []bodyCase{{"places", from("athena_places"), `{"type":"FeatureCollection","features":[
		{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"id":1,"name":"One"}},
		{"type":"Feature","geometry":{"type":"Point","coordinates":[3,4.5]},"properties":{"id":2,"name":"Two"}}]}`}}, sdk.ResultOptions{Format: sdk.FormatGeoJSON})
}

func maxBytesCheck(ctx context.Context, c *client) error {
	s := insertOne(1, strings.Repeat("long ", 100_000))
	s.Returning = sdk.ReturnSelection
	_, err := c.do(ctx, s, sdk.ResultOptions{MaxBytes: 1000})
	if err := wantError(err, sdk.Invalid, "returned_rows_too_large"); err != nil {
		return err
	}
	return c.wantIDs(ctx, selectItems("id"))
}
