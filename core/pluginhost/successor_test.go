package pluginhost

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

// TestSuccessor: two instances of one client are open beside each other; calls of the one that
// is closed end, and those that come too late learn that it was, and nothing else.
func TestSuccessor(t *testing.T) {
	h := newHost(t, Options{}, "db")
	current := &atomic.Pointer[Instance]{}
	current.Store(mustOpen(t, h, "db", `{"path":"/0"}`))
	ctx, leave := context.WithCancel(testContext(t))
	long := current.Load()
	ended := make(chan error, 1)
	go func() { _, err := ask(ctx, long, "wait"); ended <- err }()
	eventually(t, "a call under way", func() bool { return status(t, h, "db").Calls == 1 })
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var late atomic.Int64
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := current.Load()
				if _, err := ask(ctx, i, "path"); err == nil {
					continue
				} else if e := sdk.AsError(err); e.Reason != InstanceClosed || e.Executed != sdk.ExecutedNo || i == current.Load() {
					t.Errorf("a call was answered %v", err)
					return
				}
				late.Add(1)
			}
		})
	}
	var closing sync.WaitGroup
	for range 50 {
		next := mustOpen(t, h, "db", `{"path":"/1"}`)
		before := current.Swap(next)
		closing.Go(func() {
			if err := before.Close(ctx); err != nil && before != long {
				t.Errorf("close: %v", err)
			}
		})
	}
	close(stop)
	callers.Wait()
	t.Logf("%d calls came too late", late.Load())
	if body := mustAsk(t, current.Load(), "path"); body != `[{"path":"/1"}]` {
		t.Errorf("got %s", body)
	}
	if err := current.Load().Ping(ctx); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("the call under way ended with %v", err)
	default:
	}
	leave()
	<-ended
	closing.Wait()
	if _, err := ask(testContext(t), long, "path"); sdk.AsError(err).Reason != InstanceClosed {
		t.Errorf("a closed instance answers %v", err)
	}
}

func TestCheckConfig(t *testing.T) {
	h := newHost(t, Options{}, "db")
	config := json.RawMessage(`{"token":"s3cret","uri":"proto://u:s3cret@h/d","path":"/x","retries":9007199254740993}`)
	if got := string(h.RedactConfig("db", config)); got != `{"path":"***","retries":"***","token":"***","uri":"***"}` {
		t.Errorf("before the plugin runs it is shown as %s", got)
	}
	if h.ConfigDefaults("db") != nil {
		t.Error("defaults of a plugin that does not run")
	}
	for text, want := range map[string]struct {
		secret bool
		reason string
	}{
		string(config):                   {true, ""},
		`{"path":"/x"}`:                  {false, ""},
		`{"uri":"proto://u:s3cret@h/d"}`: {true, ""},
		`{"pth":"/x"}`:                   {false, "invalid_config"},
		`{"retries":"s3cret"}`:           {false, "invalid_config"},
		`7`:                              {false, "invalid_config"},
	} {
		secret, err := h.CheckConfig(testContext(t), "db", json.RawMessage(text))
		reason := ""
		if err != nil {
			reason = sdk.AsError(err).Reason
		}
		if secret != want.secret || reason != want.reason {
			t.Errorf("%s: secret %v, %v", text, secret, err)
		}
	}
	if _, err := h.CheckConfig(testContext(t), "bd", config); sdk.AsError(err).Reason != "unknown_backend" {
		t.Errorf("got %v", err)
	}
	if s := status(t, h, "db"); len(s.Instances) != 0 {
		t.Errorf("%v are open", s.Instances)
	}
	for text, want := range map[string]string{
		string(config):                         `{"path":"/x","retries":9007199254740993,"token":"***","uri":"***"}`,
		`{"path":"/x","token":"s3cret","a":1}`: `{"a":"***","path":"***","token":"***"}`, // it does not fit
		`{"open":"s3cret"}`:                    `{"open":"***"}`,
		`s3cret`:                               `{}`,
	} {
		if got := string(h.RedactConfig("db", json.RawMessage(text))); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
	defaults := h.ConfigDefaults("db")
	if _, known := defaults["token"]; !known || string(defaults["path"]) != `"some/where"` {
		t.Errorf("the defaults are %s", defaults)
	}
}
