package httpx

import (
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

// logged is what a logger has written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAdminGuard: the key opens a route in each of the headers for keys; whoever is refused
// is counted and logged, and no key is told.
func TestAdminGuard(t *testing.T) {
	const key, wrong = "0123456789abcdef", "wrong-key-0123456"
	var log logged
	registry := prometheus.NewRegistry()
	_, url := start(t, Options{AdminKey: key, Registry: registry, Logger: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}),
		Routes: []Route{{Method: "GET", Path: "/admin/:name", Guard: Admin, Operation: "test",
			Handle: func(*Request) (*Response, error) { return OK("open", map[string]int{}) }}, MetricsRoute(registry)}})
	for _, test := range []struct {
		header []string
		status int
		code   string // in the body
	}{
		{nil, 401, "admin_key_required"},
		{[]string{"Authorization", "Basic " + key}, 401, "admin_key_required"},
		{[]string{"Authorization", "Bearer"}, 401, "admin_key_required"},
		{[]string{"X-Athena-Key", ""}, 401, "admin_key_required"},
		{[]string{"X-Athena-Key", wrong}, 401, "invalid_admin_key"},
		{[]string{"Authorization", "Bearer " + wrong}, 401, "invalid_admin_key"},
		{[]string{"apikey", key + "x"}, 401, "invalid_admin_key"},
		{[]string{"x-api-key", key[:15]}, 401, "invalid_admin_key"},
		{[]string{"X-Athena-Key", key}, 200, "open"},
		{[]string{"apikey", key}, 200, "open"},
		{[]string{"x-api-key", key}, 200, "open"},
		{[]string{"Authorization", "bearer " + key}, 200, "open"},
		{[]string{"apikey", wrong, "X-Athena-Key", key}, 200, "open"},
	} {
		for _, prefix := range []string{"/admin/a", "/db/admin/a"} {
			a := call(t, "GET", url+prefix, "", test.header...)
			if a.status != test.status || !strings.Contains(a.body, `"`+test.code+`"`) || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%v: %d, Cache-Control %q, %s; want %d %s", test.header, a.status, a.header.Get("Cache-Control"), a.body, test.status, test.code)
			}
			if strings.Contains(a.body, wrong) || strings.Contains(a.body, key) {
				t.Errorf("%v: the answer tells a key: %s", test.header, a.body)
			}
		}
		if a := call(t, "HEAD", url+"/admin/a", "", test.header...); a.status != test.status {
			t.Errorf("HEAD with %v: %d", test.header, a.status)
		}
	}
	metrics := call(t, "GET", url+"/metrics", "").body
	for _, want := range []string{`athena_admin_refused_total{reason="admin_key_required"} 12`, `athena_admin_refused_total{reason="invalid_admin_key"} 12`,
		`athena_admin_refused_total{reason="admin_disabled"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	text := log.String()
	if n := strings.Count(text, "[WARN]  a request for operators was refused"); n != 24 || strings.Count(text, "remote=127.0.0.1:") != n {
		t.Errorf("%d refusals were logged, of 24:\n%s", n, text)
	}
	if strings.Contains(text, wrong) || strings.Contains(text, key) {
		t.Errorf("the log tells a key:\n%s", text)
	}
}
