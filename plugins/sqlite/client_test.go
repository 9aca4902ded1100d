package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is an open instance, reached as the gateway reaches it.
type client struct {
	t      *testing.T
	remote *sdk.Remote
	path   string
}

// answer is what one statement was answered with.
type answer struct {
	head *sdk.Head
	body string
	tail *sdk.Tail
}

// openClient opens a file, an empty one unless config has a path, and executes setup.
func openClient(t *testing.T, config map[string]any, setup ...string) *client {
	t.Helper()
	if config["path"] == nil {
		path := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		config["path"] = path
	}
	remote, stop, err := sdk.InProcess(plugin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c := &client{t: t, remote: remote, path: config["path"].(string)}
	if err := c.open(config); err != nil {
		t.Fatal(err)
	}
	for _, text := range setup {
		c.must(sqlText(text))
	}
	return c
}

func (c *client) open(config map[string]any) error {
	raw, err := json.Marshal(config)
	if err != nil {
		return err
	}
	_, err = c.remote.OpenInstance(context.Background(), "test", 1, raw)
	return err
}

func sqlText(text string, args ...sdk.Value) sdk.Statement {
	return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text, Args: args}}
}

// call executes a call and reads its answers.
func (c *client) call(ctx context.Context, call *sdk.Call) ([]answer, error) {
	call.Instance, call.Generation = "test", 1
	stream, err := c.remote.Execute(ctx, call)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var answers []answer
	for {
		a := answer{head: stream.Head()}
		for {
			piece, err := stream.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			a.body += string(piece)
		}
		a.tail = stream.Tail()
		answers = append(answers, a)
		if more, err := stream.NextStatement(); err != nil || !more {
			return answers, err
		}
	}
}

func (c *client) do(s sdk.Statement) (answer, error) {
	answers, err := c.call(context.Background(), &sdk.Call{Statements: []sdk.Statement{s}})
	if err != nil {
		return answer{}, err
	}
	return answers[0], nil
}

func (c *client) must(s sdk.Statement) answer {
	c.t.Helper()
	a, err := c.do(s)
	if err != nil {
		c.t.Fatalf("%s %s: %v", s.Verb, s.SQL.Text, err)
	}
	return a
}

// want executes s, which must answer with body.
func (c *client) want(s sdk.Statement, body string) answer {
	c.t.Helper()
	a := c.must(s)
	if a.body != body {
		c.t.Errorf("%s %s\n got %s\nwant %s", s.Verb, s.SQL.Text, a.body, body)
	}
	return a
}

// fails executes s, which must fail without effects.
func (c *client) fails(s sdk.Statement, kind sdk.Kind, reason string) *sdk.Error {
	c.t.Helper()
	_, err := c.do(s)
	e := sdk.AsError(err)
	if e == nil || e.Kind != kind || e.Reason != reason || e.Executed != sdk.ExecutedNo {
		c.t.Errorf("%s %s\n got %v (executed %v)\nwant %s (%s)", s.Verb, s.SQL.Text, err, e, kind, reason)
		return &sdk.Error{}
	}
	return e
}

func insert(table, payload string, columns ...string) sdk.Statement {
	return sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: table}, Returning: sdk.ReturnSelection,
		Rows: sdk.Rowset{Payload: []byte(payload), Columns: columns, MissingDefault: true}}
}

func where(column string, op sdk.Operator, values ...sdk.Value) *sdk.Filter {
	return &sdk.Filter{Column: sdk.Column{Name: column}, Operator: op, Values: values, Compare: sdk.Lenient}
}

func str(s string) sdk.Value { return sdk.Value{Hint: sdk.String, Text: s} }
func num(s string) sdk.Value { return sdk.Value{Hint: sdk.Number, Text: s} }
