package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/sdk"
)

// TestSwapUnderLoad: while a client's config and settings change again and again no call
// fails, and a change is in use when it has been made.
func TestSwapUnderLoad(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		g := start(t, l, nil, inFile("a", "/0"))
		ctx := context.Background()
		stop := make(chan struct{})
		var callers sync.WaitGroup
		var calls atomic.Int64
		for range 8 {
			callers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if body, err := g.ask(ctx, "a", "path"); err != nil || !strings.HasPrefix(body, `[{"path":"/`) {
						t.Errorf("a call answers %s %v", body, err)
						return
					}
					calls.Add(1)
				}
			})
		}
		for n := range 20 {
			before := calls.Load()
			path := fmt.Sprintf("/%d", n+1)
			if _, err := g.Update(ctx, change(), "a", given(`{"path":"`+path+`"}`)); err != nil {
				t.Fatal(err)
			}
			if got := g.path(t, "a"); got != path {
				t.Errorf("after the change the client is at %s, want %s", got, path)
			}
			if _, err := g.SetConfig(ctx, change(), "a", map[string]json.RawMessage{"resilience_timeout_secs": json.RawMessage(fmt.Sprint(n + 5))}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "more calls", func() bool { return calls.Load() > before+20 })
		}
		close(stop)
		callers.Wait()
		eventually(t, "the old instances are closed", func() bool { return len(g.options.Host.Plugins()[0].Instances) == 1 })
	})
}

// TestFreezeWhileCallsRun: calls under way go on, others are refused at once.
func TestFreezeWhileCallsRun(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		refuse       func(*gateway) error
		serve        func(*gateway) error
	}{
		{"freeze", "client_frozen",
			func(g *gateway) error { _, err := g.SetFrozen(context.Background(), change(), "a", true); return err },
			func(g *gateway) error { _, err := g.SetFrozen(context.Background(), change(), "a", false); return err }},
		{"deactivate", "client_inactive",
			func(g *gateway) error {
				_, err := g.Update(context.Background(), change(), "a", Edit{IsActive: value(false)})
				return err
			},
			func(g *gateway) error {
				_, err := g.Update(context.Background(), change(), "a", Edit{IsActive: value(true)})
				return err
			}},
		{"delete", "client_deleted",
			func(g *gateway) error { _, _, err := g.Delete(context.Background(), change(), "a"); return err },
			func(g *gateway) error { _, _, err := g.Create(context.Background(), change(), "a", Edit{}); return err }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
				g := start(t, l, nil, inFile("a", "/a"), inFile("b", "/b"))
				ctx, leave := context.WithCancel(context.Background())
				defer leave()
				ended := make(chan error, 1)
				go func() { _, err := g.ask(ctx, "a", "wait"); ended <- err }()
				running := func() int { return g.options.Host.Plugins()[0].Calls }
				eventually(t, "a call under way", func() bool { return running() == 1 })
				if err := test.refuse(g); err != nil {
					t.Fatal(err)
				}
				if e := g.refused(t, "a", test.reason); e.Kind != sdk.Unavailable || e.RetryAfter >= 0 || !strings.Contains(e.Message, `"a"`) {
					t.Errorf("the refusal is %+v", e)
				}
				if g.path(t, "b") != "/b" || running() != 1 {
					t.Error("another client, or the call under way, was touched")
				}
				c, _ := g.Client("a")
				if s := c.Status(); s.Available || s.Connected || s.Reason != test.reason {
					t.Errorf("its status is %+v", s)
				}
				if err := test.serve(g); err != nil {
					t.Fatal(err)
				}
				if g.path(t, "a") != "/a" || running() != 1 {
					t.Error("it does not serve, or the call under way was ended")
				}
				leave()
				if err := <-ended; sdk.AsError(err).Kind != sdk.Canceled {
					t.Errorf("the call under way ended with %v", err)
				}
			})
		})
	}
}

// TestFailedChange: a config that cannot be opened leaves the old one serving, and is taken
// into use when it can be.
func TestFailedChange(t *testing.T) {
	g := start(t, ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "l.db")), nil, inFile("a", "/a"))
	ctx := context.Background()
	fail := filepath.Join(t.TempDir(), "fail")
	if err := os.WriteFile(fail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Update(ctx, change(), "a", given(fmt.Sprintf(`{"path":"/b","fail":%q}`, fail))); err != nil {
		t.Fatal(err)
	}
	s := g.Runtime("a")
	if g.path(t, "a") != "/a" || !s.Available || !s.PoolConnected || !strings.Contains(s.Pending, "there is "+fail) {
		t.Errorf("it is %+v", s)
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is in use", func() bool { return g.path(t, "a") == "/b" })
	if s := g.Runtime("a"); s.Pending != "" || s.Source != "database" {
		t.Errorf("it is %+v", s)
	}
	// What hangs does not hold up the next change.
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := g.Update(limited, change(), "a", given(`{"path":"/c","open":"hang"}`)); err != nil {
		t.Fatal(err)
	}
	if s := g.Runtime("a"); s.Pending != "it is being opened" || g.path(t, "a") != "/b" {
		t.Errorf("it is %+v", s)
	}
	if _, err := g.Update(ctx, change(), "a", given(`{"path":"/d"}`)); err != nil {
		t.Fatal(err)
	}
	if got := g.path(t, "a"); got != "/d" {
		t.Errorf("it is at %s", got)
	}
	// One that never was open has nothing to serve with.
	if _, _, err := g.Create(ctx, change(), "new", given(`{"open":"fail"}`)); err != nil {
		t.Fatal(err)
	}
	g.refused(t, "new", "client_unavailable")
	if s := g.Runtime("new"); s.Reason != "unreachable" || s.Available || s.Pending != "" {
		t.Errorf("it is %+v", s)
	}
	if _, err := g.Update(ctx, change(), "new", given(`{"path":"/new"}`)); err != nil {
		t.Fatal(err)
	}
	if got := g.path(t, "new"); got != "/new" {
		t.Errorf("it is at %s", got)
	}
}

// TestWithoutLedger: the file's clients serve, unknown ones are told from those that cannot.
func TestWithoutLedger(t *testing.T) {
	g := start(t, nil, nil, inFile("a", "/a"), Definition{Name: "b", Backend: "db", Problem: "set B, and start again"},
		Definition{Name: "c", Backend: "nothing", Config: json.RawMessage("{}")})
	if g.path(t, "a") != "/a" {
		t.Error("a is elsewhere")
	}
	g.refused(t, "b", "client_unavailable")
	g.refused(t, "c", "client_unavailable")
	g.refused(t, "z", "unknown_client")
	for name, reason := range map[string]string{"a": "", "b": "not_configured", "c": "unknown_backend"} {
		c, err := g.Client(name)
		if err != nil {
			t.Fatal(err)
		}
		if s := c.Status(); s.Reason != reason || s.Available != (reason == "") {
			t.Errorf("%s is %+v", name, s)
		}
		if err := c.Ping(context.Background()); (err == nil) != (reason == "") || err != nil && sdk.AsError(err).Reason != reason {
			t.Errorf("%s answers a ping with %v", name, err)
		}
	}
}
