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

var resultChecks = []Check{
	{Name: "results/fidelity", Doc: "64-bit integers, numbers, text, booleans, times and JSON come back as they went in", Needs: verbs(sdk.Insert, sdk.Select), Run: with(fidelityCheck)},
	{Name: "results/exact_numbers", Doc: "numbers keep all their digits", Needs: exactNumbers, Run: with(exactNumbersCheck)},
	{Name: "results/empty", Doc: "no row is [] or, as an object, null", Needs: verbs(sdk.Select), Run: with(emptyCheck)},
	{Name: "results/bytes", Doc: `bytes come as \x and their hexadecimal digits`, Needs: given("Bytes", func(d *Dialect) *sdk.Statement { return d.Bytes }),
		Run: with(func(ctx context.Context, c *client) error {
			return c.wantBody(ctx, *c.Dialect.Bytes, sdk.ResultOptions{}, `[{"data":"\\x00ff10"}]`)
		})},
	{Name: "results/duplicate_columns", Doc: "columns of the same name are all there, in order", Needs: given("Duplicate", func(d *Dialect) *sdk.Statement { return d.Duplicate }),
		Run: with(func(ctx context.Context, c *client) error {
			return c.wantBody(ctx, *c.Dialect.Duplicate, sdk.ResultOptions{}, `[{"a":1,"a":2}]`)
		})},
	{Name: "results/head", Doc: "the head describes the columns, of an empty answer too", Needs: verbs(sdk.Select), Run: with(headCheck)},
	{Name: "results/naming", Doc: "column names follow the naming policy", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(namingCheck)},
	{Name: "results/strip_nulls", Doc: "StripNulls leaves null columns out of each row", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(stripNullsCheck)},
	{Name: "results/object", Doc: "FormatObject answers the one row, and refuses more", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(objectCheck)},
	{Name: "results/csv", Doc: "FormatCSV answers a header line and quoted rows", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(csvCheck)},
	{Name: "results/none", Doc: "FormatNone counts the rows and sends none", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(noneCheck)},
	{Name: "results/max_rows", Doc: "more rows than MaxRows fail the call, or are left out with CapRows", Needs: verbs(sdk.Insert, sdk.Select), Run: withItems(maxRowsCheck)},
}

func exactNumbers(t *Target, c sdk.Capabilities) string {
	if !t.Dialect.ExactNumbers {
		return "numbers that keep all their digits"
	}
	return verbs(sdk.Insert, sdk.Select)(t, c)
}

func (c *client) wantBody(ctx context.Context, s sdk.Statement, options sdk.ResultOptions, want string) error {
	a, err := c.do(ctx, s, options)
	if err != nil {
		return err
	}
	if string(a.body) != want {
		return fmt.Errorf("answered %.300q, want %q", a.body, want)
	}
	return nil
}

// object is one inserted row of a few columns.
func object(payload string, columns ...string) sdk.Statement {
	s := insert(payload)
	s.Rows.Columns = columns
	return s
}

func fidelityCheck(ctx context.Context, c *client) error {
	cases := []struct{ column, value, want string }{
		{"qty", "9223372036854775807", "9223372036854775807"},
		{"qty", "-9223372036854775808", "-9223372036854775808"},
		{"qty", "9007199254740993", "9007199254740993"},
		{"qty", "0", "0"},
		{"qty", "null", "null"},
		{"price", "0.1", "0.1"},
		{"price", "-12345.678", "-12345.678"},
		{"active", "true", "true"},
		{"active", "false", "false"},
		{"active", "null", "null"},
		{"code", `""`, `""`},
		{"code", `" "`, `" "`},
		{"code", `"null"`, `"null"`},
		{"code", `"12345678901234567890"`, `"12345678901234567890"`},
		{"code", `"Zo\u00eb \ud83d\ude00 \u540d"`, `"Zoë 😀 名"`},
		{"code", `"\"\\\/\b\f\n\r\t\u0001\u001f\u007f\u2028"`, `"\"\\/\b\f\n\r\t\u0001\u001f\u007f\u2028"`},
		{"code", `"<a href='x'>&amp;</a>"`, `"<a href='x'>&amp;</a>"`},
		{"code", `"` + strings.Repeat("long ", 40_000) + `"`, `"` + strings.Repeat("long ", 40_000) + `"`},
		{"doc", `{"b":[1,"x",null,{"c":true}],"a":1.5}`, `{"b":[1,"x",null,{"c":true}],"a":1.5}`},
		{"doc", `[]`, `[]`},
		{"doc", `"text"`, `"text"`},
		{"doc", `7`, `7`},
	}
	for i, f := range cases {
		id := fmt.Sprint(i + 1)
		if _, err := c.do(ctx, object(`{"id":`+id+`,"name":"n","`+f.column+`":`+f.value+`}`, "id", "name", f.column)); err != nil {
			return fmt.Errorf("insert %s %.100s: %w", f.column, f.value, err)
		}
		a, err := c.do(ctx, byID(selectItems(f.column), i+1))
		if err != nil {
			return fmt.Errorf("select %s %.100s: %w", f.column, f.value, err)
		}
		if want := `[{"` + f.column + `":` + f.want + `}]`; !json.Valid(a.body) || !sameJSON(a.body, []byte(want)) {
			return fmt.Errorf("%s %.100s came back as %.200s", f.column, f.value, a.body)
		}
		if f.column == "code" {
			if err := c.wantIDs(ctx, where(selectItems("id"), compare("code", sdk.Eq, str(decode(f.want)))), i+1); err != nil {
				return fmt.Errorf("filtered by %.100s: %w", f.want, err)
			}
		}
	}
	return nil
}

// decode is the text of a JSON string.
func decode(value string) string {
	return text(json.RawMessage(value))
}

func exactNumbersCheck(ctx context.Context, c *client) error {
	for i, value := range []string{"12345678901234567890.123456789012345678901234567890", "0.1000", "-0.00000000000000000000000000000000001"} {
		if _, err := c.do(ctx, object(fmt.Sprintf(`{"id":%d,"name":"n","price":%s}`, i+1, value), "id", "name", "price")); err != nil {
			return err
		}
		if err := c.wantBody(ctx, byID(selectItems("price"), i+1), sdk.ResultOptions{}, `[{"price":`+value+`}]`); err != nil {
			return err
		}
		if err := c.wantIDs(ctx, where(selectItems("id"), compare("price", sdk.Eq, number(value))), i+1); err != nil {
			return err
		}
	}
	return nil
}

func emptyCheck(ctx context.Context, c *client) error {
	return errors.Join(
		c.wantBody(ctx, selectItems("id"), sdk.ResultOptions{}, `[]`),
		c.wantBody(ctx, selectItems("id"), sdk.ResultOptions{Format: sdk.FormatObject}, `null`),
		c.wantBody(ctx, selectItems("id", "made_at"), sdk.ResultOptions{Format: sdk.FormatCSV, Naming: sdk.NamesCamel}, "id,madeAt\n"))
}

func headCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, selectItems("id", "made_at"), sdk.ResultOptions{Naming: sdk.NamesCamel})
	if err != nil {
		return err
	}
	var names []string
	for _, column := range a.head.Columns {
		names = append(names, column.Name)
	}
	if want := []string{"id", "madeAt"}; !slices.Equal(names, want) {
		return fmt.Errorf("the head's columns are %q, want %q", names, want)
	}
	if want := c.Dialect.IDType; want != "" && a.head.Columns[0].Type != want {
		return fmt.Errorf("the head says that an id has the type %q, want %q", a.head.Columns[0].Type, want)
	}
	return nil
}

func namingCheck(ctx context.Context, c *client) error {
	s := byID(selectItems("id", "name"), 2)
	s.Selection.Items = append(s.Selection.Items, sdk.Item{Column: sdk.Column{Name: "code"}, Alias: "userCode"},
		sdk.Item{Column: sdk.Column{Name: "qty"}, Alias: "_in_stock"})
	return errors.Join(
		c.wantBody(ctx, s, sdk.ResultOptions{}, `[{"id":2,"name":"Bob","userCode":"b2","_in_stock":20}]`),
		c.wantBody(ctx, s, sdk.ResultOptions{Naming: sdk.NamesCamel}, `[{"id":2,"name":"Bob","userCode":"b2","_inStock":20}]`),
		c.wantBody(ctx, s, sdk.ResultOptions{Naming: sdk.NamesSnake}, `[{"id":2,"name":"Bob","user_code":"b2","_in_stock":20}]`))
}

func stripNullsCheck(ctx context.Context, c *client) error {
	strip := sdk.ResultOptions{StripNulls: true}
	return errors.Join(
		c.wantBody(ctx, byID(selectItems("code", "id", "qty"), 3), strip, `[{"id":3}]`),
		c.wantBody(ctx, byID(selectItems("code", "qty"), 3), strip, `[{}]`),
		c.wantBody(ctx, byID(selectItems("id", "code"), 2), strip, `[{"id":2,"code":"b2"}]`))
}

func objectCheck(ctx context.Context, c *client) error {
	options := sdk.ResultOptions{Format: sdk.FormatObject}
	a, err := c.do(ctx, byID(selectItems("id", "code"), 2), options)
	if err != nil {
		return err
	}
	if string(a.body) != `{"id":2,"code":"b2"}` || a.head.Shape != sdk.ShapeObject {
		return fmt.Errorf("answered %s of shape %d", a.body, a.head.Shape)
	}
	_, err = c.do(ctx, selectItems("id"), options)
	return wantError(err, sdk.Invalid, "more_than_one_row")
}

func csvCheck(ctx context.Context, c *client) error {
	s := orderBy(where(selectItems("id", "name", "code"), compare("id", sdk.In, number("2"), number("3"), number("6"))), by("id"))
	return c.wantBody(ctx, s, sdk.ResultOptions{Format: sdk.FormatCSV},
		"id,name,code\n2,Bob,b2\n3,Cleo,\n6,\"Zoë \"\"q\"\" \\ \n\x01 名\",c6\n")
}

func noneCheck(ctx context.Context, c *client) error {
	a, err := c.do(ctx, selectItems("id"), sdk.ResultOptions{Format: sdk.FormatNone})
	if err != nil {
		return err
	}
	if len(a.body) != 0 || a.tail.Rows != 6 {
		return fmt.Errorf("%d bytes and %d rows counted, want none and 6", len(a.body), a.tail.Rows)
	}
	return nil
}

func maxRowsCheck(ctx context.Context, c *client) error {
	s := orderBy(selectItems("id"), by("id"))
	all, err := c.do(ctx, s, sdk.ResultOptions{MaxRows: 6})
	if err != nil || all.tail.Rows != 6 {
		return errors.Join(errors.New("6 rows with MaxRows 6 do not come"), err)
	}
	_, err = c.do(ctx, s, sdk.ResultOptions{MaxRows: 5})
	if err := wantError(err, sdk.Invalid, "max_rows_exceeded"); err != nil {
		return err
	}
	for _, format := range []sdk.Format{sdk.FormatRows, sdk.FormatCSV, sdk.FormatNone} {
		a, err := c.do(ctx, s, sdk.ResultOptions{Format: format, MaxRows: 2, CapRows: true})
		if err != nil {
			return err
		}
		want := map[sdk.Format]string{sdk.FormatRows: `[{"id":1},{"id":2}]`, sdk.FormatCSV: "id\n1\n2\n", sdk.FormatNone: ""}[format]
		if a.tail.Rows != 2 || string(a.body) != want {
			return fmt.Errorf("capped at 2 rows: %d rows, %q, want %q", a.tail.Rows, a.body, want)
		}
	}
	return nil
}
