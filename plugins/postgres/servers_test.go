package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// slowCalls are calls that hang on the server at a text with the marker, after what their
// effect would be.
var slowCalls = map[string]struct {
	call     func() *sdk.Call
	readOnly bool
}{
	"read":  {func() *sdk.Call { return faultCall(readText(slowText)) }, true},
	"write": {func() *sdk.Call { return faultCall(sqlText(slowText)) }, false},
	"prepared write": {func() *sdk.Call {
		return faultCall(sqlText("update lines set marker = $1 where (select "+slowText[len("select "):]+") is not null", text(faultMarker)))
	}, false},
	"several texts": {func() *sdk.Call {
		return faultCall(sqlText("update lines set marker = '" + faultMarker + "'; " + slowText))
	}, false},
	"transaction": {func() *sdk.Call {
		call := faultCall(faultInsert(), sqlText(slowText))
		call.Tx.Single = true
		return call
	}, false},
	"settings": {func() *sdk.Call { return withSettings(faultCall(readText(slowText))) }, true},
}

const slowText = "select pg_sleep(60) as slow_" + faultMarker

// start executes a call and returns when the server is at its slow text.
func (b *faultBed) start(ctx context.Context, t *testing.T, call *sdk.Call) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.call(ctx, call) }()
	const slow = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%slow_" + faultMarker + "%' and datname = current_database()"
	eventually(t, 10*time.Second, "it runs", func() bool {
		select {
		case err := <-done:
			t.Fatalf("it has ended: %v", err)
		default:
		}
		return b.ask(t, slow) == "1"
	})
	return done
}

// TestTerminated: somebody ends the connection on the server.
func TestTerminated(t *testing.T) {
	b := newFaultBed(t)
	for name, slow := range slowCalls {
		t.Run(name, func(t *testing.T) {
			done := b.start(t.Context(), t, slow.call())
			b.ask(t, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'")
			err := <-done
			b.settles(t)
			faultError(t, err, sdk.Unavailable, "admin_shutdown", slow.readOnly, b.effect(t))
			b.goesOn(t, faultCall(faultInsert()))
			b.forget(t)
		})
	}
}

// TestCancelKeepsConnection: what is cancelled is undone, and the next call has the same
// connection.
func TestCancelKeepsConnection(t *testing.T) {
	b := newFaultBed(t)
	for name, slow := range slowCalls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := b.start(ctx, t, slow.call())
			pid := b.ask(t, "select pid from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()")
			cancel()
			e := wantError(t, answer{}, <-done, sdk.Canceled, "canceled")
			b.settles(t)
			if e.Executed != sdk.ExecutedNo || b.effect(t) {
				t.Errorf("executed %v, with an effect: %v", e.Executed, b.effect(t))
			}
			b.goesOn(t, faultCall(faultInsert()))
			if b.ask(t, "select count(*) from pg_stat_activity where pid = "+pid) != "1" {
				t.Error("its connection is gone")
			}
			b.forget(t)
		})
	}
}

// newServerBed is newFaultBed on a server of its own.
func newServerBed(t *testing.T) (*faultBed, *testenv.PostgresServer) {
	t.Helper()
	s := testenv.Server(t, testenv.ServerOptions{})
	s.Exec(t, "postgres", faultSetup)
	b := &faultBed{db: openURI(t, s.URI("postgres"), map[string]any{"max_connections": 2})}
	t.Cleanup(func() { _ = b.admin.Close(context.Background()) })
	b.connectAdmin(t, s)
	return b, s
}

func (b *faultBed) connectAdmin(t *testing.T, s *testenv.PostgresServer) {
	t.Helper()
	admin, err := pgconn.Connect(t.Context(), s.SocketURI("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	b.admin = admin
}

// TestServerCrash: the server crashes under a call, is away for a while and comes back.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	b, s := newServerBed(t)
	for name, slow := range slowCalls {
		t.Run(name, func(t *testing.T) {
			done := b.start(t.Context(), t, slow.call())
			s.Kill()
			var e *sdk.Error
			if err := <-done; !errors.As(err, &e) || e.Kind != sdk.Unavailable || e.Executed == sdk.ExecutedYes || slow.readOnly && e.Executed != sdk.ExecutedNo {
				t.Errorf("got %v", err)
			}
			e = wantError(t, answer{}, b.call(t.Context(), slow.call()), sdk.Unavailable, sdk.ReasonConnectFailed)
			if e.Executed != sdk.ExecutedNo || e.RetryAfter == 0 {
				t.Errorf("%+v", e)
			}
			s.Start(t)
			b.connectAdmin(t, s)
			b.settles(t)
			if b.effect(t) {
				t.Error("it has had an effect")
			}
			b.goesOn(t, faultCall(faultRead()))
		})
	}
}

// TestServerHangs: the whole server hangs; a call ends soon after its deadline all the
// same, and when the server goes on so does the instance.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	b, s := newServerBed(t)
	for name, kind := range map[string]struct {
		statement sdk.Statement
		readOnly  bool
	}{"read": {faultRead(), true}, "write": {faultInsert(), false}} {
		t.Run(name, func(t *testing.T) {
			b.goesOn(t, faultCall(faultRead()))
			s.Freeze(t)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			begin := time.Now()
			err := b.call(ctx, faultCall(kind.statement))
			if took := time.Since(begin); took > patience+2*time.Second {
				t.Errorf("it took %v", took)
			}
			s.Thaw()
			b.settles(t)
			faultError(t, err, sdk.Timeout, "deadline_exceeded", kind.readOnly, b.effect(t))
			b.goesOn(t, faultCall(kind.statement))
			b.forget(t)
		})
	}
}
