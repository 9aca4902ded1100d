package core

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/internal/testenv"
)

// server is a whole gateway on a listener, which ends with the test or by stop.
type server struct {
	*Gateway
	url, address string
	log          *testenv.Output // all that it logs
	stop         func()
	lossy        bool         // its ledger is away: what is queued for it is lost
	played       atomic.Int64 // scenarios
}

// serve starts a gateway; without a ledger in c it has a new one. before may change what Open
// has made.
func serve(t testing.TB, c *config.Config, before ...func(*Gateway)) *server {
	t.Helper()
	return serveWith(t, c, Options{}, before...)
}

// serveWith is serve with options; their logger and version are its own.
func serveWith(t testing.TB, c *config.Config, o Options, before ...func(*Gateway)) *server {
	t.Helper()
	if c.Ledger.URI == "" {
		c.Ledger.URI = "sqlite://" + filepath.Join(t.TempDir(), "ledger.db")
	}
	s := &server{log: &testenv.Output{}}
	var err error
	o.Logger, o.Version = hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Trace}), "test"
	s.Gateway, err = Open(context.Background(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		f(s.Gateway)
	}
	if s.listener == nil {
		if _, err := s.Listen(); err != nil {
			t.Fatal(err)
		}
	}
	s.address = s.listener.Addr().String()
	s.url = "http://" + s.address
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	s.stop = sync.OnceFunc(func() {
		patience := 20 * time.Second
		if s.lossy {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil && !s.lossy {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { s.stop() })
	return s
}

// reply is what a request is answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// request sends a request with headers in pairs.
func (s *server) request(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(b)}
}

func (a reply) data() json.RawMessage {
	var envelope struct{ Data json.RawMessage }
	_ = json.Unmarshal([]byte(a.body), &envelope) // an error envelope has none
	return envelope.Data
}

func (a reply) code() string {
	var envelope struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &envelope)
	return envelope.Code
}

// fields are what an answer says to be wrong with the members of a body or a query.
func (a reply) fields() map[string]string {
	var envelope struct {
		Data struct {
			Details struct{ Fields map[string]string }
		}
	}
	_ = json.Unmarshal([]byte(a.body), &envelope)
	return envelope.Data.Details.Fields
}

// until waits for something that happens soon in the background.
func until(t testing.TB, done func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(30 * time.Second); !done(); <-look.C {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}
