//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// transport sends requests as they are and shows answers as they come.
var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}

// request is one HTTP request to a gateway. Header holds names and values in turn.
type request struct {
	method, path string
	client       string // X-Athena-Client; "": no such header
	body         string
	header       []string
}

// reply is an answer that was received whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// open sends a request and returns when the head of its answer is there.
func (g *gateway) open(ctx context.Context, r request) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, r.method, g.url+r.path, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.body != "" {
		out.Header.Set("Content-Type", "application/json")
	}
	if r.client != "" {
		out.Header.Set("X-Athena-Client", r.client)
	}
	for i := 0; i < len(r.header); i += 2 {
		out.Header.Set(r.header[i], r.header[i+1])
	}
	return transport.RoundTrip(out)
}

// send returns the answer, or what kept it from arriving whole.
func (g *gateway) send(r request) (*reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	response, err := g.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &reply{response.StatusCode, response.Header, body}, err
}

// ask is send for a request that is answered, whatever the answer.
func (g *gateway) ask(t *testing.T, r request) *reply {
	t.Helper()
	a, err := g.send(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return a
}

// query asks for an SQL text's rows by POST /gateway/query.
func (g *gateway) query(t *testing.T, client, sql string) *reply {
	t.Helper()
	return g.ask(t, sqlRequest(client, sql))
}

func sqlRequest(client, sql string) request {
	body, err := json.Marshal(map[string]string{"query": sql})
	if err != nil {
		panic(err) // it is a text
	}
	return request{method: "POST", path: "/gateway/query", client: client, body: string(body)}
}

// object is the answer's JSON, numbers as they were written.
func (a *reply) object(t *testing.T) map[string]any {
	t.Helper()
	value := parse(t, a.body)
	object, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("the answer is no object: %.300s", a.body)
	}
	return object
}

// is fails t unless the answer has that status and, among others, the members of want.
func (a *reply) is(t *testing.T, status int, want string) {
	t.Helper()
	if a.status != status {
		t.Errorf("answered %d, want %d: %.600s", a.status, status, a.body)
		return
	}
	got := a.object(t)
	for name, value := range parse(t, []byte(want)).(map[string]any) {
		if diff := cmp.Diff(value, got[name]); diff != "" {
			t.Errorf("%s is not as wanted (-want +got):\n%s\nin %.600s", name, diff, a.body)
		}
	}
}

// value returns what a path of names leads to, nil for nothing.
func (a *reply) value(t *testing.T, path ...string) any {
	t.Helper()
	var value any = a.object(t)
	for _, name := range path {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func parse(t *testing.T, text []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v: %.600s", err, text)
	}
	if decoder.More() {
		t.Fatalf("more than one JSON value: %.600s", text)
	}
	return value
}
