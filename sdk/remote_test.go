package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// echo is a small backend: its table's name says what to do.
type echo struct{}

type echoConfig struct {
	Greeting string `json:"greeting" athena:"default=hi"`
	Token    string `json:"token" athena:"secret"`
}

func (echo) Close() error { return nil }

func (echo) Execute(ctx context.Context, call *Call, rows *Rows) error {
	s := &call.Statements[0]
	switch s.Table.Name {
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "panic":
		panic("boom")
	case "fail late":
		rows.Columns("n")
		for range 20_000 {
			if err := rows.Row("some text that fills the chunks"); err != nil {
				return err
			}
		}
		return E(Invalid, "late", "the token is hunter22hunter22")
	case "big":
		rows.Columns("n", "text")
		for n := range *s.Limit {
			if err := rows.Row(n, "some text that fills the chunks"); err != nil {
				return err
			}
		}
		return nil
	case "capped":
		if s.Verb == Insert {
			rows.Hold()
		}
		rows.Columns("n")
		for n := range 3 {
			if err := rows.Row(n); err != nil {
				return err
			}
		}
		return nil
	case "payload":
		rows.Columns("size", "sum")
		sum := 0
		for _, b := range s.Rows.Payload {
			sum += int(b)
		}
		return rows.Row(len(s.Rows.Payload), sum)
	default:
		rows.Columns("name")
		return rows.Row(s.Table.Name)
	}
}

func startEcho(t *testing.T) *Remote {
	t.Helper()
	p := Plugin{Name: "echo", Version: "1", Backend: NewBackend(
		func(context.Context, echoConfig) (echo, error) { return echo{}, nil },
		Capabilities{Verbs: []Verb{Select, Insert}, Transactions: true})}
	remote, stop, err := InProcess(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); goleak.VerifyNone(t) })
	if _, err := remote.OpenInstance(t.Context(), "i", 1, []byte(`{"token":"hunter22hunter22"}`)); err != nil {
		t.Fatal(err)
	}
	return remote
}

func askFor(table string) *Call {
	return &Call{Instance: "i", Generation: 1, Statements: []Statement{{Verb: Select, Table: Table{Name: table}}}}
}

func readAll(a *Answer) (string, error) {
	defer a.Close()
	var b bytes.Buffer
	for {
		piece, err := a.Next()
		b.Write(piece)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return b.String(), err
		}
	}
}

func TestRemoteConcurrentCalls(t *testing.T) {
	remote := startEcho(t)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 50 {
				name := fmt.Sprintf("t%d-%d", g, n)
				a, err := remote.Execute(t.Context(), askFor(name))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := readAll(a)
				if want := `[{"name":"` + name + `"}]`; body != want || err != nil {
					t.Errorf("got %q, %v, want %q", body, err, want)
				}
				if a.Tail().Rows != 1 {
					t.Errorf("tail: %+v", a.Tail())
				}
			}
		})
	}
	wg.Wait()
}

func TestRemoteStreams(t *testing.T) {
	remote := startEcho(t)
	call := askFor("big")
	limit := int64(200_000)
	call.Statements[0].Limit = &limit
	a, err := remote.Execute(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	body, err := readAll(a)
	if err != nil || strings.Count(body, `"n":`) != 200_000 || !strings.HasSuffix(body, "}]") {
		t.Fatalf("%d rows, %v", strings.Count(body, `"n":`), err)
	}
}

func TestRemotePayloadInParts(t *testing.T) {
	remote := startEcho(t)
	for _, size := range []int{0, 1, firstPartBytes, firstPartBytes + 1, partBytes + 1, 5 << 20} {
		call := askFor("payload")
		call.Statements[0].Verb = Insert
		call.Statements[0].Rows.Payload = bytes.Repeat([]byte{1}, size)
		a, err := remote.Execute(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := readAll(a); err != nil || body != fmt.Sprintf(`[{"size":%d,"sum":%d}]`, size, size) {
			t.Fatalf("size %d: got %s, %v", size, body, err)
		}
	}
}

func TestRemoteErrors(t *testing.T) {
	remote := startEcho(t)
	expect := func(call *Call, kind Kind, reason string) {
		t.Helper()
		a, err := remote.Execute(t.Context(), call)
		if err == nil {
			_, err = readAll(a)
		}
		e := AsError(err)
		if e == nil || e.Kind != kind || e.Reason != reason {
			t.Fatalf("got %v, want %v %s", err, kind, reason)
		}
		if strings.Contains(fmt.Sprintf("%+v", *e), "hunter22") {
			t.Fatalf("a secret in %v", e)
		}
	}
	expect(askFor("panic"), Internal, "panic")
	expect(askFor("fail late"), Invalid, "late")
	unknown := askFor("x")
	unknown.Generation = 2
	expect(unknown, Unavailable, "unknown_instance")
	update := askFor("x")
	update.Statements[0].Verb = Update
	expect(update, Unsupported, "unsupported")
	late := askFor("wait")
	late.Deadline = time.Now().Add(20 * time.Millisecond)
	expect(late, Timeout, "deadline_exceeded")
	// ErrRowLimit ends an answer, not the work that is left.
	capped := askFor("capped")
	capped.Result = ResultOptions{MaxRows: 2, CapRows: true}
	capped.Statements = append(capped.Statements, capped.Statements[0])
	expect(capped, Internal, "internal")
	capped.Statements = capped.Statements[1:]
	capped.Statements[0].Verb = Insert
	expect(capped, Internal, "internal")
	capped.Statements[0].Verb = Select
	if a, err := remote.Execute(t.Context(), capped); err != nil {
		t.Fatal(err)
	} else if body, err := readAll(a); err != nil || body != `[{"n":0},{"n":1}]` {
		t.Fatal(body, err)
	}
	if a, err := remote.Execute(t.Context(), askFor("x")); err != nil {
		t.Fatal(err)
	} else if body, err := readAll(a); err != nil || body != `[{"name":"x"}]` {
		t.Fatal(body, err)
	}
}

func TestRemoteCancel(t *testing.T) {
	remote := startEcho(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(context.DeadlineExceeded) })
	_, err := remote.Execute(ctx, askFor("wait"))
	if e := AsError(err); e == nil || e.Kind != Timeout {
		t.Fatalf("got %v", err)
	}
	// An answer that is given up does not hold its session.
	call := askFor("big")
	limit := int64(1 << 40)
	call.Statements[0].Limit = &limit
	a, err := remote.Execute(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(); err != nil {
		t.Fatal(err)
	}
	a.Close()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := remote.Drain(ctx); err != nil {
		t.Fatal("the endless call did not end: ", err)
	}
	if _, err := remote.Execute(t.Context(), askFor("x")); AsError(err).Reason != "draining" {
		t.Fatalf("got %v", err)
	}
}

func BenchmarkHopInProcess(b *testing.B) {
	p := Plugin{Name: "echo", Backend: NewBackend(func(context.Context, echoConfig) (echo, error) { return echo{}, nil })}
	remote, stop, err := InProcess(p)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	if _, err := remote.OpenInstance(b.Context(), "i", 1, nil); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, err := remote.Execute(context.Background(), askFor("x"))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := a.Next(); err != nil {
				b.Error(err)
			}
			a.Close()
		}
	})
}

// deafPlugin accepts sessions and never reads them, as a frozen process does.
type deafPlugin struct {
	pluginpb.UnimplementedBackendServer
}

func (deafPlugin) Session(stream grpc.BidiStreamingServer[pluginpb.CallOrPart, pluginpb.Chunk]) error {
	<-stream.Context().Done()
	return nil
}

// A call that cannot be sent ends with its context.
func TestRemoteSendEnds(t *testing.T) {
	server := grpc.NewServer(serverOptions()...)
	pluginpb.RegisterBackendServer(server, deafPlugin{})
	listener := bufconn.Listen(64 << 10)
	go server.Serve(listener)
	defer server.Stop()
	conn, err := grpc.NewClient("passthrough:memory", append(DialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		t.Fatal(err)
	}
	remote := NewRemote(conn)
	defer remote.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	call := askFor("payload")
	call.Statements[0].Rows.Payload = make([]byte, 8<<20)
	started := time.Now()
	_, err = remote.Execute(ctx, call)
	if e := AsError(err); e == nil || e.Kind != Timeout || e.Executed != ExecutedNo {
		t.Errorf("got %v", err)
	}
	if took := time.Since(started); took > 2*cancelGrace {
		t.Errorf("it took %s", took)
	}
}

// A body longer than a message arrives whole.
func TestRemoteHugeRow(t *testing.T) {
	remote := startEcho(t)
	call := askFor(strings.Repeat("x", 2*maxBody+5))
	a, err := remote.Execute(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := readAll(a); err != nil || len(body) != 2*maxBody+5+len(`[{"name":""}]`) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

// endless is an instance whose table "wait" is read until the call's context ends.
type endless struct{ begun, ended chan struct{} }

func (e endless) Close() error { return nil }

func (e endless) Execute(ctx context.Context, call *Call, _ *Rows) error {
	if call.Statements[0].Table.Name != "wait" {
		return nil
	}
	close(e.begun)
	<-ctx.Done()
	close(e.ended)
	return ctx.Err()
}

// TestStreamEnds: a call ends with its stream, also one that is not the stream's first.
func TestStreamEnds(t *testing.T) {
	e := endless{make(chan struct{}), make(chan struct{})}
	type none struct{}
	remote, stop, err := InProcess(Plugin{Name: "x", Version: "1", Backend: NewBackend(func(context.Context, none) (endless, error) { return e, nil },
		Capabilities{Verbs: []Verb{Select}})})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := remote.OpenInstance(t.Context(), "i", 1, nil); err != nil {
		t.Fatal(err)
	}
	a, err := remote.Execute(t.Context(), askFor("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(a); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := remote.Execute(t.Context(), askFor("wait"))
		failed <- err
	}()
	<-e.begun
	if err := remote.Close(); err != nil {
		t.Error(err)
	}
	<-e.ended
	if err := <-failed; err == nil {
		t.Error("the call did not fail")
	}
}

// TestClosedRemote: a call that comes when the connection is closed has not been executed, and
// another process may take it.
func TestClosedRemote(t *testing.T) {
	type none struct{}
	remote, end, err := InProcess(Plugin{Name: "x", Version: "1", Backend: NewBackend(func(context.Context, none) (closedInstance, error) { return closedInstance{}, nil })})
	if err != nil {
		t.Fatal(err)
	}
	end()
	_, err = remote.Execute(t.Context(), &Call{})
	if e := AsError(err); e.Kind != Unavailable || e.Reason != "plugin_lost" || e.Executed != ExecutedNo {
		t.Errorf("got %+v", e)
	}
}

type closedInstance struct{}

func (closedInstance) Execute(context.Context, *Call, *Rows) error { return nil }
func (closedInstance) Close() error                                { return nil }
