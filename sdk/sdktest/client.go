package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/athena-gateway/athena/sdk"
)

const instanceName = "check"

// client is an open instance on a prepared database.
type client struct {
	*Target
	remote       *sdk.Remote
	capabilities sdk.Capabilities
}

// with makes a check's Run of a function over an instance whose athena_items is empty.
func with(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		remote, disconnect, err := t.Connect(ctx)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		defer disconnect()
		capabilities, err := remote.OpenInstance(ctx, instanceName, 1, t.Config)
		if err != nil {
			return fmt.Errorf("open an instance: %w", err)
		}
		c := &client{Target: t, remote: remote, capabilities: *capabilities}
		if err := c.each(ctx, t.Dialect.Prepare); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		return f(ctx, c)
	}
}

// withItems is with over an athena_items that holds the rows of items.
func withItems(f func(context.Context, *client) error) func(context.Context, *Target) error {
	return with(func(ctx context.Context, c *client) error {
		if _, err := c.do(ctx, insert(items)); err != nil {
			return fmt.Errorf("insert the rows to check with: %w", err)
		}
		return f(ctx, c)
	})
}

// items are the rows that most checks read. Code, qty, price and active have nulls.
const items = `[
	{"id":1,"name":"Ada","code":"a1","qty":10,"price":1.50,"active":true,"made_at":"2024-02-29T12:34:56Z","doc":{"a":[1,null]}},
	{"id":2,"name":"Bob","code":"b2","qty":20,"price":2.25,"active":false,"made_at":"2024-03-01T00:00:00Z","doc":null},
	{"id":3,"name":"Cleo","code":null,"qty":null,"price":null,"active":null,"made_at":null,"doc":null},
	{"id":4,"name":"ada lovelace","code":"a4","qty":-5,"price":10,"active":true,"made_at":"2023-01-01T00:00:00Z","doc":[]},
	{"id":5,"name":"100% _real_","code":"b5","qty":9223372036854775807,"price":0.5,"active":false,"made_at":null,"doc":"text"},
	{"id":6,"name":"Zoë \"q\" \\ \n\u0001 名","code":"c6","qty":20,"price":-1,"active":true,"made_at":null,"doc":1}
]`

var itemColumns = []string{"id", "name", "code", "qty", "price", "active", "made_at", "doc"}

var itemsTable = sdk.Table{Name: "athena_items"}

func (c *client) each(ctx context.Context, statements []sdk.Statement) error {
	for _, s := range statements {
		if _, err := c.do(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// answer is an answer read to its end.
type answer struct {
	head *sdk.Head
	body []byte
	tail *sdk.Tail
}

func (c *client) call(statements ...sdk.Statement) *sdk.Call {
	return &sdk.Call{Instance: instanceName, Generation: 1, Statements: statements}
}

// do executes one statement and reads its whole answer.
func (c *client) do(ctx context.Context, s sdk.Statement, options ...sdk.ResultOptions) (*answer, error) {
	call := c.call(s)
	if len(options) > 0 {
		call.Result = options[0]
	}
	answers, err := c.execute(ctx, call)
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("%d answers to one statement", len(answers))
	}
	return answers[0], nil
}

// execute executes a call and reads all answers.
func (c *client) execute(ctx context.Context, call *sdk.Call) ([]*answer, error) {
	c.Coverage.call(call)
	stream, err := c.remote.Execute(ctx, call)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var answers []*answer
	for {
		a := &answer{head: stream.Head()}
		for {
			piece, err := stream.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			a.body = append(a.body, piece...)
		}
		a.tail = stream.Tail()
		if a.head == nil || a.tail == nil {
			return nil, errors.New("an answer without head or tail")
		}
		if n := len(answers); a.head.Statement != n || a.tail.Statement != n {
			return nil, fmt.Errorf("the answer to statement %d says that it is of %d and %d", n, a.head.Statement, a.tail.Statement)
		}
		c.Coverage.answer(a)
		answers = append(answers, a)
		if more, err := stream.NextStatement(); err != nil || !more {
			return answers, err
		}
	}
}

// rows reads the body as an array of objects.
func (a *answer) rows() ([]map[string]json.RawMessage, error) {
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &rows); err != nil {
		return nil, fmt.Errorf("the body is not an array of objects: %w: %.200s", err, a.body)
	}
	if int64(len(rows)) != a.tail.Rows {
		return nil, fmt.Errorf("%d rows where the tail says %d", len(rows), a.tail.Rows)
	}
	return rows, nil
}

// total is the total in head or tail.
func (a *answer) total() (int64, error) {
	switch {
	case a.tail.Total != nil:
		return *a.tail.Total, nil
	case a.head.Total != nil:
		return *a.head.Total, nil
	}
	return 0, errors.New("neither head nor tail has the total")
}

// ids are the ids of the rows that s answers with.
func (c *client) ids(ctx context.Context, s sdk.Statement) ([]int, error) {
	a, err := c.do(ctx, s)
	if err != nil {
		return nil, err
	}
	rows, err := a.rows()
	if err != nil {
		return nil, err
	}
	ids := []int{}
	for _, row := range rows {
		id, err := strconv.Atoi(string(row["id"]))
		if err != nil {
			return nil, fmt.Errorf("the id %s is no number", row["id"])
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// wantIDs checks which rows s answers with; in any order unless s orders them.
func (c *client) wantIDs(ctx context.Context, s sdk.Statement, want ...int) error {
	got, err := c.ids(ctx, s)
	if err != nil {
		return err
	}
	if len(s.Order) == 0 {
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("answered the rows %v, want %v", got, want)
	}
	return nil
}

// bodyCase is a statement and the body of its answer, as JSON.
type bodyCase struct {
	name      string
	statement sdk.Statement
	want      string
}

// bodies checks the bodies of answers, whatever the order of keys in objects.
func (c *client) bodies(ctx context.Context, cases []bodyCase, options ...sdk.ResultOptions) error {
	var errs []error
	for _, b := range cases {
		a, err := c.do(ctx, b.statement, options...)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
		case !sameJSON(a.body, []byte(b.want)):
			errs = append(errs, fmt.Errorf("%s: answered %.500s, want %s", b.name, a.body, b.want))
		}
	}
	return errors.Join(errs...)
}

// number64 checks an optional number of a head or tail.
func number64(what string, got *int64, want int64) error {
	if got == nil || *got != want {
		return fmt.Errorf("%s is %s, want %d", what, show(got), want)
	}
	return nil
}

// wantError checks that err is an *sdk.Error of a kind, without effects. An empty reason
// is not compared.
func wantError(err error, kind sdk.Kind, reason string) error {
	var e *sdk.Error
	switch {
	case err == nil:
		return fmt.Errorf("no error, want %s %s", kind, reason)
	case !errors.As(err, &e):
		return fmt.Errorf("%w is no sdk.Error", err)
	case e.Kind != kind || reason != "" && e.Reason != reason:
		return fmt.Errorf("%w: want %s (%s)", err, kind, reason)
	case e.Executed != sdk.ExecutedNo:
		return fmt.Errorf("%w: Executed is %d where nothing was executed", err, e.Executed)
	case e.Kind != sdk.Internal && e.Message == "":
		return errors.New("an error without message")
	}
	return nil
}

// sameJSON compares two JSON values, numbers by their text.
func sameJSON(a, b []byte) bool {
	return bytes.Equal(canonical(a), canonical(b))
}

func canonical(b []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return b
	}
	out, err := json.Marshal(value)
	if err != nil {
		return b
	}
	return out
}

// The statements that checks are made of.

func insert(payload string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Insert, Table: itemsTable, Rows: sdk.Rowset{Payload: []byte(payload), Columns: itemColumns}}
}

// insertOne inserts a row of id and name only.
func insertOne(id int, name string) sdk.Statement {
	payload := `{"id":` + strconv.Itoa(id) + `,"name":` + string(sdk.AppendString(nil, name)) + `}`
	return sdk.Statement{Verb: sdk.Insert, Table: itemsTable, Rows: sdk.Rowset{Payload: []byte(payload), Columns: []string{"id", "name"}}}
}

func selectItems(columns ...string) sdk.Statement {
	s := sdk.Statement{Verb: sdk.Select, Table: itemsTable}
	for _, name := range columns {
		s.Selection.Items = append(s.Selection.Items, item(name))
	}
	return s
}

func item(name string) sdk.Item { return sdk.Item{Column: sdk.Column{Name: name}} }

func where(s sdk.Statement, f sdk.Filter) sdk.Statement {
	s.Filter = &f
	return s
}

func compare(name string, op sdk.Operator, values ...sdk.Value) sdk.Filter {
	return sdk.Filter{Column: sdk.Column{Name: name}, Operator: op, Values: values}
}

func number(s string) sdk.Value  { return sdk.Value{Hint: sdk.Number, Text: s} }
func str(s string) sdk.Value     { return sdk.Value{Hint: sdk.String, Text: s} }
func untyped(s string) sdk.Value { return sdk.Value{Text: s} }

// byID is the row of an id.
func byID(s sdk.Statement, id int) sdk.Statement {
	return where(s, compare("id", sdk.Eq, number(strconv.Itoa(id))))
}

func orderBy(s sdk.Statement, order ...sdk.Order) sdk.Statement {
	s.Order = order
	return s
}

func by(name string) sdk.Order { return sdk.Order{Column: sdk.Column{Name: name}} }

func nullsLast(name string) sdk.Order {
	return sdk.Order{Column: sdk.Column{Name: name}, Nulls: sdk.NullsLast}
}

func ptr[T any](v T) *T { return &v }
