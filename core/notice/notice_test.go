package notice_test

import (
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/notice"
	"github.com/athena-gateway/athena/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) (*notice.Notices, <-chan string) {
	t.Helper()
	heard := make(chan string, 100)
	n, err := notice.Open(url, hclog.NewNullLogger(), func(subject string) { heard <- subject })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, heard
}

// next waits for the notice want and passes over the others.
func next(t *testing.T, heard <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-heard:
			if got == want {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("no notice %q", want)
		}
	}
}

// TestNotices sends from one gateway to another, and again after Redis was gone.
func TestNotices(t *testing.T) {
	server := testenv.Redis(t)
	a, hearsA := open(t, server.URL)
	_, hearsB := open(t, server.URL)
	next(t, hearsA, "") // it listens
	next(t, hearsB, "")
	a.Publish("keys")
	next(t, hearsB, "keys")
	next(t, hearsA, "keys")
	server.Stop()
	a.Publish("lost")
	server.Start(t)
	next(t, hearsA, "")
	next(t, hearsB, "")
	a.Publish("clients")
	next(t, hearsB, "clients")
}

func TestCheckURL(t *testing.T) {
	for _, url := range []string{"redis://127.0.0.1:6379/0", "rediss://u:p@h:1"} {
		if err := notice.CheckURL(url); err != nil {
			t.Error(url, err)
		}
	}
	for _, url := range []string{"", "http://h", "redis://h/x"} {
		if notice.CheckURL(url) == nil {
			t.Error(url, "is taken for a URL of Redis")
		}
	}
}
