package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openTest opens an instance on a database of its own.
func openTest(t testing.TB, config map[string]any, setup ...string) *database {
	t.Helper()
	return openURI(t, testenv.Database(t, setup...), config)
}

// openURI opens an instance; config holds keys besides the uri.
func openURI(t testing.TB, uri string, config map[string]any) *database {
	t.Helper()
	db, err := tryOpen(t, uri, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The pool closes a broken connection in the background.
		eventually(t, 5*time.Second, "all connections are released", func() bool { return db.pool.Stat().AcquiredConns() == 0 })
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func tryOpen(t testing.TB, uri string, config map[string]any) (*database, error) {
	t.Helper()
	c := Config{
		URI: uri, MaxConnections: 4, ConnectTimeout: 5 * time.Second, AcquireTimeout: 10 * time.Second,
		MaxConnIdle: time.Minute, MaxConnLifetime: time.Hour, ApplicationName: "athena", StatementCache: "prepare",
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return open(t.Context(), c)
}

// answer is what a call answered with.
type answer struct {
	body string
	head sdk.Head
	tail sdk.Tail
}

// execute runs one statement.
func execute(ctx context.Context, db *database, s sdk.Statement, options ...sdk.ResultOptions) (answer, error) {
	var o sdk.ResultOptions
	if len(options) > 0 {
		o = options[0]
	}
	var a answer
	var body strings.Builder
	rows := sdk.NewRows(o, func(c *sdk.Chunk) error {
		if c.Head != nil {
			a.head = *c.Head
		}
		if c.Tail != nil {
			a.tail = *c.Tail
		}
		body.Write(c.Body)
		sdk.FreeBody(c.Body)
		return nil
	})
	err := db.Execute(ctx, &sdk.Call{Statements: []sdk.Statement{s}, Result: o}, rows)
	if err == nil {
		err = rows.NextStatement() // ends the answer
	}
	a.body = body.String()
	return a, err
}

// must is execute for what has to work.
func must(t testing.TB, db *database, s sdk.Statement, options ...sdk.ResultOptions) answer {
	t.Helper()
	a, err := execute(t.Context(), db, s, options...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fails is execute for what must not work.
func fails(t testing.TB, db *database, s sdk.Statement, kind sdk.Kind, reason string) *sdk.Error {
	t.Helper()
	a, err := execute(t.Context(), db, s)
	return wantError(t, a, err, kind, reason)
}

func wantError(t testing.TB, a answer, err error, kind sdk.Kind, reason string) *sdk.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, but %s", a.body)
	}
	var e *sdk.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Reason != reason {
		t.Fatalf("got %v, want %v (%s)", err, kind, reason)
	}
	return e
}

func sqlText(text string, args ...sdk.Value) sdk.Statement {
	return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text, Args: args}}
}

func table(name string) sdk.Table { return sdk.Table{Name: name} }

func text(s string) sdk.Value { return sdk.Value{Hint: sdk.String, Text: s} }

// eq is a filter on one column.
func eq(column, value string) *sdk.Filter {
	return &sdk.Filter{Operator: sdk.Eq, Column: sdk.Column{Name: column}, Values: []sdk.Value{text(value)}}
}

// withParam adds a connection parameter to a URI.
func withParam(t testing.TB, uri, name, value string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
