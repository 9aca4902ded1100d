package pluginhost

import (
	"context"
	"strconv"
	"syscall"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestIntrospect asks an instance what its database holds, wherever it is open.
func TestIntrospect(t *testing.T) {
	h := newHost(t, Options{}, "db")
	i := mustOpen(t, h, "db", "")
	version := func() string {
		t.Helper()
		schema, err := i.Introspect(testContext(t), sdk.IntrospectQuery{})
		if err != nil {
			t.Fatal(err)
		}
		return schema.Version
	}
	first := version()
	o := i.now.Load()
	if err := o.process.remote.CloseInstance(testContext(t), i.name, o.generation); err != nil {
		t.Fatal(err)
	}
	if again := version(); again != first || i.now.Load().generation == o.generation {
		t.Errorf("the instance was not opened again: %s after %s", again, first)
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(context.DeadlineExceeded)
	if _, err := i.Introspect(ctx, sdk.IntrospectQuery{Schemas: []string{"wait"}}); err == nil {
		t.Error("it does not end with its context")
	} else if e := wantError(t, err, sdk.Timeout, "deadline_exceeded"); e.Executed != sdk.ExecutedNo {
		t.Errorf("got %v", e)
	}

	pid, _ := strconv.Atoi(first)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an answer of a new process", func() bool {
		schema, err := i.Introspect(testContext(t), sdk.IntrospectQuery{})
		return err == nil && schema.Version != first
	})

	if err := i.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	_, err := i.Introspect(testContext(t), sdk.IntrospectQuery{})
	wantError(t, err, sdk.Unavailable, InstanceClosed)
}
