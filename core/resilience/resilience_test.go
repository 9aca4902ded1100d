package resilience

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

// TestRetries: a call is executed again iff it had no effects, or cannot have any.
func TestRetries(t *testing.T) {
	read := sdk.Statement{Verb: sdk.Select}
	write := sdk.Statement{Verb: sdk.Insert}
	text := sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: "select 1"}}
	textRead := sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: "select 1", Intent: sdk.IntentRead}}
	for _, c := range []struct {
		name      string
		statement sdk.Statement
		err       error
		attempts  int
	}{
		{"read, plugin lost", read, &sdk.Error{Kind: sdk.Unavailable, Reason: "plugin_lost"}, 3},
		{"write, plugin lost", write, &sdk.Error{Kind: sdk.Unavailable, Reason: "plugin_lost"}, 1},
		{"write, never executed", write, &sdk.Error{Kind: sdk.Unavailable, Reason: "plugin_lost", Executed: sdk.ExecutedNo}, 3},
		{"write, executed", write, &sdk.Error{Kind: sdk.Unavailable, Executed: sdk.ExecutedYes}, 1},
		{"text that may write", text, &sdk.Error{Kind: sdk.Unavailable}, 1},
		{"text that reads", textRead, &sdk.Error{Kind: sdk.Unavailable}, 3},
		{"constraint", write, &sdk.Error{Kind: sdk.Conflict, Executed: sdk.ExecutedNo}, 1},
		{"syntax", read, &sdk.Error{Kind: sdk.Invalid, Executed: sdk.ExecutedNo}, 1},
		{"timeout", read, &sdk.Error{Kind: sdk.Timeout, Executed: sdk.ExecutedNo}, 1},
		{"not ours", read, errors.New("boom"), 1},
	} {
		attempts, retries := 0, 0
		x := New("c", Policy{Timeout: time.Minute, ReadRetries: 2, Backoff: time.Microsecond},
			func(context.Context, *sdk.Call) (*sdk.Answer, error) { attempts++; return nil, c.err },
			func() { retries++ })
		ctx, cancel := context.WithCancelCause(t.Context())
		_, told, err := x.Execute(ctx, cancel, &sdk.Call{Statements: []sdk.Statement{c.statement}})
		cancel(nil)
		if attempts != c.attempts || retries != c.attempts-1 || told != retries || !errors.Is(err, c.err) {
			t.Errorf("%s: %d attempts, %d retries, %v; want %d attempts", c.name, attempts, retries, err, c.attempts)
		}
	}
}

// TestBreaker: it opens for a database that cannot be connected to, and for nothing else.
func TestBreaker(t *testing.T) {
	for _, c := range []struct {
		reason string
		opens  bool
	}{{sdk.ReasonConnectFailed, true}, {sdk.ReasonNotAccepting, true}, {"admin_shutdown", false}, {"plugin_lost", false}, {"pool_exhausted", false}} {
		attempts := 0
		x := New("c", Policy{Timeout: time.Minute}, func(context.Context, *sdk.Call) (*sdk.Answer, error) {
			attempts++
			return nil, &sdk.Error{Kind: sdk.Unavailable, Source: sdk.FromDownstream, Reason: c.reason}
		}, func() {})
		for range 2 * breakerFailures {
			ctx, cancel := context.WithCancelCause(t.Context())
			_, _, err := x.Execute(ctx, cancel, &sdk.Call{})
			cancel(nil)
			if x.Open() && attempts == breakerFailures {
				if e := sdk.AsError(err); e.Reason != "circuit_open" && e.Reason != c.reason {
					t.Errorf("%s: %v", c.reason, err)
				}
			}
		}
		if x.Open() != c.opens || (attempts == breakerFailures) != c.opens {
			t.Errorf("%s: open %v after %d attempts", c.reason, x.Open(), attempts)
		}
	}
}

// TestTimeout: the policy's timeout ends a call whose head does not come, also between
// attempts, and does not touch an answer whose head is there.
func TestTimeout(t *testing.T) {
	x := New("c", Policy{Timeout: 20 * time.Millisecond, ReadRetries: 5, Backoff: time.Hour},
		func(context.Context, *sdk.Call) (*sdk.Answer, error) {
			return nil, &sdk.Error{Kind: sdk.Unavailable, Executed: sdk.ExecutedNo}
		}, func() {})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if _, _, err := x.Execute(ctx, cancel, &sdk.Call{}); err == nil || context.Cause(ctx) != context.DeadlineExceeded {
		t.Errorf("got %v, cause %v", err, context.Cause(ctx))
	}

	remote := memory(t)
	x = New("c", Policy{Timeout: 100 * time.Millisecond}, remote.Execute, func() {})
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	answer, _, err := x.Execute(ctx, cancel, numbers())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	if answer.Tail() != nil || answer.Buffered() < Prefetch {
		t.Errorf("%d bytes prefetched of a larger answer, tail %v", answer.Buffered(), answer.Tail())
	}
	select {
	case <-ctx.Done():
		t.Error("the timeout ended an answer whose head had come")
	case <-time.After(200 * time.Millisecond):
	}
}

// TestPrefetchRetries: an answer that breaks before it is handed on is asked for again.
func TestPrefetchRetries(t *testing.T) {
	remote := memory(t)
	attempts := 0
	x := New("c", Policy{Timeout: time.Minute, ReadRetries: 1}, func(ctx context.Context, call *sdk.Call) (*sdk.Answer, error) {
		if attempts++; attempts > 1 {
			return remote.Execute(ctx, call)
		}
		broken := *call
		broken.Statements = []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: "fail_unavailable"}}}
		return remote.Execute(ctx, &broken)
	}, func() {})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	answer, retries, err := x.Execute(ctx, cancel, numbers())
	if err != nil || attempts != 2 || retries != 1 {
		t.Fatal(attempts, err)
	}
	defer answer.Close()
	size := 0
	for {
		piece, err := answer.Next()
		size += len(piece)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if answer.Tail().Rows != 100_000 || size < Prefetch {
		t.Errorf("%d rows in %d bytes", answer.Tail().Rows, size)
	}
}

func memory(t *testing.T) *sdk.Remote {
	t.Helper()
	remote, stop, err := sdk.InProcess(sdktest.Memory("memory"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); goleak.VerifyNone(t) })
	if _, err := remote.OpenInstance(t.Context(), "i", 1, json.RawMessage(`{"database":"d"}`)); err != nil {
		t.Fatal(fmt.Errorf("open: %w", err))
	}
	return remote
}

func numbers() *sdk.Call {
	limit := int64(100_000)
	return &sdk.Call{Instance: "i", Generation: 1, Statements: []sdk.Statement{{Verb: sdk.Select, Table: sdk.Table{Name: "numbers"}, Limit: &limit}}}
}
