package httpx

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

const (
	adminKey = "0123456789abcdef"
	wrongKey = "wrong-key-0123456"
)

// who is a handler that tells who asks.
func who(r *Request) (*Response, error) {
	p := r.Principal
	switch {
	case p == nil:
		return OK("nobody", nil)
	case p.Admin:
		return OK("admin", nil)
	}
	return OK(p.Name, nil)
}

// presented are the ways to send a key: headers, and what is appended to the URL.
func presented(key string) map[string]struct {
	header []string
	query  string
} {
	type way = struct {
		header []string
		query  string
	}
	return map[string]way{
		"X-Athena-Key":  {header: []string{"X-Athena-Key", key}},
		"apikey":        {header: []string{"apikey", key}},
		"x-api-key":     {header: []string{"x-api-key", key}},
		"Authorization": {header: []string{"Authorization", "bearer  " + key}},
		"api_key":       {query: "?a=b&api_key=" + key},
	}
}

// TestAdminGuard: the key opens a route in each of the places for keys; whoever is refused
// is counted and logged, and no key is told.
func TestAdminGuard(t *testing.T) {
	var log testenv.Output
	registry := prometheus.NewRegistry()
	logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	open := func(t *testing.T) string { // a server of its own for each case: failures add up
		_, url := start(t, Options{Keys: auth.New(auth.Options{AdminKey: adminKey, Registry: registry, Logger: logger}), Registry: registry, Logger: logger,
			Routes: []Route{{Method: "GET", Path: "/admin/:name", Guard: Admin, Operation: "test", Handle: who}, MetricsRoute(registry, nil)}})
		return url
	}
	url := open(t)
	for name, way := range presented(adminKey) {
		for _, prefix := range []string{"/admin/a", "/db/admin/a"} {
			if a := call(t, "GET", url+prefix+way.query, "", way.header...); a.status != 200 || !strings.Contains(a.body, `"admin"`) || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
	refused := 0
	for _, test := range []struct {
		header []string
		query  string
		code   string
	}{
		{nil, "", "admin_key_required"},
		{[]string{"Authorization", "Basic " + adminKey}, "", "admin_key_required"},
		{[]string{"Authorization", "Bearer"}, "", "admin_key_required"},
		{[]string{"X-Athena-Key", ""}, "?api_key=", "admin_key_required"},
		{[]string{"X-Athena-Key", wrongKey}, "", "invalid_admin_key"},
		{[]string{"Authorization", "Bearer " + wrongKey}, "", "invalid_admin_key"},
		{[]string{"apikey", adminKey + "x"}, "", "invalid_admin_key"},
		{[]string{"x-api-key", adminKey[:15]}, "?api_key=" + wrongKey, "invalid_admin_key"},
	} {
		a := call(t, "GET", url+"/admin/a"+test.query, "", test.header...)
		if refused++; a.status != 401 || !strings.Contains(a.body, `"`+test.code+`"`) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: %d, Cache-Control %q, %s; want %s", test.header, a.status, a.header.Get("Cache-Control"), a.body, test.code)
		}
		if strings.Contains(a.body, wrongKey) || strings.Contains(a.body, adminKey) {
			t.Errorf("%v: the answer tells a key: %s", test.header, a.body)
		}
		if a := call(t, "HEAD", url+"/admin/a"+test.query, "", test.header...); a.status != 401 {
			t.Errorf("HEAD with %v: %d", test.header, a.status)
		}
		refused++
	}
	if a := call(t, "GET", url+"/admin/a?api_key=no", "", "apikey", wrongKey, "X-Athena-Key", wrongKey, "Authorization", "Bearer "+adminKey); a.status != 200 {
		t.Errorf("the right key among wrong ones: %d %s", a.status, a.body)
	}
	for a := (answer{status: 401}); a.status == 401; refused++ {
		if a = call(t, "GET", url+"/admin/a", "", "apikey", wrongKey); a.status == 429 && (a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, `"too_many_attempts"`)) {
			t.Errorf("Retry-After %q, %s", a.header.Get("Retry-After"), a.body)
		}
	}
	if refused != 16+3 { // 8 wrong keys of the 16, and 2 more before it is too many
		t.Errorf("there were %d refusals", refused)
	}
	if a := call(t, "GET", url+"/admin/a", "", "apikey", adminKey); a.status != 200 {
		t.Errorf("the right key, known from here, answers %d %s", a.status, a.body)
	}
	metrics := call(t, "GET", url+"/metrics", "").body
	for _, want := range []string{`athena_auth_refused_total{reason="admin_key_required"} 8`, `athena_auth_refused_total{reason="invalid_admin_key"} 10`,
		`athena_auth_refused_total{reason="admin_disabled"} 0`, `athena_auth_refused_total{reason="too_many_attempts"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	text := log.String()
	if n := strings.Count(text, "[WARN]  a request was refused"); n != refused || strings.Count(text, "remote=127.0.0.1") != n {
		t.Errorf("%d refusals were logged, of %d:\n%s", n, refused, text)
	}
	if strings.Contains(text, wrongKey) || strings.Contains(text, adminKey) || strings.Contains(text, "api_key=") {
		t.Errorf("the log tells a key:\n%s", text)
	}
}

// TestNoAdminKey: without a key the operators' routes are closed to everybody.
func TestNoAdminKey(t *testing.T) {
	_, url := start(t, Options{Routes: []Route{{Method: "GET", Path: "/admin", Guard: Admin, Handle: who}}})
	for _, header := range [][]string{nil, {"apikey", ""}, {"apikey", adminKey}} {
		if a := call(t, "GET", url+"/admin", "", header...); a.status != 403 || !strings.Contains(a.body, "admin_disabled") {
			t.Errorf("%v: %d %s", header, a.status, a.body)
		}
	}
}

// TestGuards: who passes which guard, while keys are asked for and while they are not.
func TestGuards(t *testing.T) {
	ctx := context.Background()
	l := ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"))
	open := func(o auth.Options) (string, *auth.Keyring) {
		o.Ledger, o.AdminKey = l, adminKey
		keys := auth.New(o)
		t.Cleanup(keys.Close)
		routes := []Route{}
		for path, guard := range map[string]Guard{"/public": Public, "/key": Key, "/data": Data, "/right": Right("r.read")} {
			routes = append(routes, Route{Method: "GET", Path: path, Guard: guard, Operation: "test", Handle: who})
		}
		_, url := start(t, Options{Keys: keys, Routes: routes})
		return url, keys
	}
	url, keys := open(auth.Options{})
	strict, _ := open(auth.Options{Enforce: true})
	if _, err := keys.CreateRight(ctx, &ledger.Audit{}, "r.read", nil); err != nil {
		t.Fatal(err)
	}
	create := func(name string, rights ...string) (string, string) {
		text, r, err := keys.CreateKey(ctx, &ledger.Audit{}, auth.Spec{Name: name, Active: true, Rights: rights})
		if err != nil {
			t.Fatal(err)
		}
		return text, r.ID
	}
	reader, _ := create("reader", "r.read")
	plain, _ := create("plain")
	gone, id := create("gone", "r.read")
	if err := keys.DeleteKey(ctx, &ledger.Audit{}, id); err != nil {
		t.Fatal(err)
	}
	// The other server has loaded them when it knows that the last is revoked.
	for end := 0; ; end++ {
		if a := call(t, "GET", strict+"/key", "", "apikey", plain); a.status == 200 {
			break
		} else if end > 1000 {
			t.Fatal("the other server does not know the key")
		}
	}
	for name, way := range presented(plain) {
		if a := call(t, "GET", url+"/key"+way.query, "", way.header...); a.status != 200 || !strings.Contains(a.body, `"plain"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	const foreign = "https://elsewhere.example"
	for _, test := range []struct {
		what    string
		headers []string
		open    [4]string // what the message or code of /public, /key, /data and /right is
		strict  [4]string
	}{
		{"nothing", nil, [4]string{"nobody", "nobody", "nobody", "api_key_required"}, [4]string{"nobody", "api_key_required", "api_key_required", "api_key_required"}},
		{"a dummy", []string{"apikey", "ath_pub.secret"}, [4]string{"nobody", "nobody", "nobody", "api_key_required"},
			[4]string{"nobody", "invalid_api_key", "invalid_api_key", "invalid_api_key"}},
		{"a revoked key", []string{"apikey", gone}, [4]string{"nobody", "invalid_api_key", "invalid_api_key", "invalid_api_key"},
			[4]string{"nobody", "invalid_api_key", "invalid_api_key", "invalid_api_key"}},
		{"a key without rights", []string{"apikey", plain}, [4]string{"plain", "plain", "plain", "right_required"}, [4]string{"plain", "plain", "plain", "right_required"}},
		{"a key with the right", []string{"apikey", reader}, [4]string{"reader", "reader", "reader", "reader"}, [4]string{"reader", "reader", "reader", "reader"}},
		{"the admin key", []string{"apikey", adminKey}, [4]string{"nobody", "nobody", "nobody", "api_key_required"}, [4]string{"admin", "admin", "admin", "admin"}},
		{"two keys", []string{"apikey", plain, "X-Athena-Key", reader}, [4]string{"reader", "reader", "reader", "reader"}, [4]string{"reader", "reader", "reader", "reader"}},
		{"two keys, other headers", []string{"x-api-key", reader, "Authorization", "Bearer " + plain}, [4]string{"reader", "reader", "reader", "reader"}, [4]string{"reader", "reader", "reader", "reader"}},
		{"a token of others and a key", []string{"Authorization", "Bearer " + plain, "X-Athena-Key", "eyJ0.e30.x"}, [4]string{"plain", "plain", "plain", "right_required"}, [4]string{"plain", "plain", "plain", "right_required"}},
		{"a page of another site", []string{"Origin", foreign}, [4]string{"nobody", "cross_site_request", "cross_site_request", "api_key_required"},
			[4]string{"nobody", "api_key_required", "api_key_required", "api_key_required"}},
		{"a page of another site with a key", []string{"Origin", foreign, "apikey", plain}, [4]string{"plain", "plain", "plain", "right_required"}, [4]string{"plain", "plain", "plain", "right_required"}},
	} {
		for base, want := range map[string][4]string{url: test.open, strict: test.strict} {
			for i, path := range []string{"/public", "/key", "/data", "/right"} {
				a := call(t, "GET", base+path, "", test.headers...)
				if !strings.Contains(a.body, `"`+want[i]+`"`) {
					t.Errorf("%s at %s, strict %v: %d %s, want %s", test.what, path, base == strict, a.status, a.body, want[i])
				}
			}
		}
	}
}

// TestMixedGuards: while keys are asked for, but not by each client, requests of nobody are
// held to be of this site.
func TestMixedGuards(t *testing.T) {
	l := ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"))
	keys := auth.New(auth.Options{Ledger: l, AdminKey: adminKey})
	t.Cleanup(keys.Close)
	if _, err := keys.Enforce(t.Context(), &ledger.Audit{}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.EnforceClient(t.Context(), &ledger.Audit{}, "open", false); err != nil {
		t.Fatal(err)
	}
	plain, _, err := keys.CreateKey(t.Context(), &ledger.Audit{}, auth.Spec{Name: "plain", Active: true})
	if err != nil {
		t.Fatal(err)
	}
	_, url := start(t, Options{Keys: keys, Routes: []Route{{Method: "GET", Path: "/key", Guard: Key, Operation: "test", Handle: who},
		{Method: "GET", Path: "/data", Guard: Data, Operation: "test", Handle: who}}})
	foreign := []string{"Origin", "https://elsewhere.example"}
	for _, test := range []struct {
		what      string
		headers   []string
		key, data string
	}{
		{"nothing", nil, "api_key_required", "nobody"},
		{"a page of another site", foreign, "api_key_required", "cross_site_request"},
		{"a page that a browser says is of another site", []string{"Sec-Fetch-Site", "cross-site"}, "api_key_required", "cross_site_request"},
		{"a page of another site with a key", append(foreign, "apikey", plain), "plain", "plain"},
		{"a page of another site with the admin key", append(foreign, "apikey", adminKey), "admin", "admin"},
	} {
		for path, want := range map[string]string{"/key": test.key, "/data": test.data} {
			if a := call(t, "GET", url+path, "", test.headers...); !strings.Contains(a.body, `"`+want+`"`) {
				t.Errorf("%s at %s: %d %s, want %s", test.what, path, a.status, a.body, want)
			}
		}
	}
}

// TestGuesses: wherever the answers to a right and a wrong admin key differ, wrong ones count: the
// eleventh has to wait, and then the right one is not told apart any more.
func TestGuesses(t *testing.T) {
	var passed atomic.Int64 // hours
	now := func() time.Time { return time.Now().Add(time.Duration(passed.Load()) * time.Hour) }
	for _, mode := range []struct {
		name           string
		forced, global bool
		clients        map[string]bool
	}{
		{name: "nothing enforced"},
		{name: "per client", clients: map[string]bool{"strict": true}},
		{name: "globally but for one client", global: true, clients: map[string]bool{"loose": false}},
		{name: "globally", global: true},
		{name: "by the configuration", forced: true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			l := ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"))
			keys := auth.New(auth.Options{Ledger: l, AdminKey: adminKey, Enforce: mode.forced, Now: now})
			t.Cleanup(keys.Close)
			if _, err := keys.Enforce(t.Context(), &ledger.Audit{}, mode.global); err != nil {
				t.Fatal(err)
			}
			for client, on := range mode.clients {
				if _, err := keys.EnforceClient(t.Context(), &ledger.Audit{}, client, on); err != nil {
					t.Fatal(err)
				}
			}
			use := func(r *Request) (*Response, error) {
				if err := keys.Use(&r.Attempt, r.Header("X-Athena-Client"), auth.Fetch); err != nil {
					return nil, err
				}
				return OK("done", nil)
			}
			routes := []Route{
				{Path: "/public", Guard: Public, Handle: func(r *Request) (*Response, error) { // as /health
					return OK("done", !keys.Enforced("") && !r.Foreign() || r.Identify())
				}},
				{Path: "/key", Guard: Key, Handle: func(*Request) (*Response, error) { return OK("done", nil) }},
				{Path: "/data", Guard: Data, Handle: use},
				{Path: "/own", Guard: Own, Handle: func(r *Request) (*Response, error) {
					if err := r.Admit(Data); err != nil {
						return nil, err
					}
					return use(r)
				}},
				{Path: "/insist", Guard: Own, Handle: func(r *Request) (*Response, error) {
					if err := r.Admit(Data); err != nil {
						return nil, err
					}
					if err := r.Insist(); err != nil {
						return nil, err
					}
					return use(r)
				}},
				{Path: "/right", Guard: Right("r.read"), Handle: func(*Request) (*Response, error) { return OK("done", nil) }},
				{Path: "/admin", Guard: Admin, Handle: func(*Request) (*Response, error) { return OK("done", nil) }},
			}
			for i := range routes {
				routes[i].Method, routes[i].Operation = "GET", "test"
			}
			_, url := start(t, Options{Keys: keys, Routes: routes})
			ask := func(path, client, key string, headers []string) answer {
				return call(t, "GET", url+path, "", append([]string{"X-Request-Id", "same", "X-Athena-Client", client, "X-Athena-Key", key}, headers...)...)
			}
			refused := func() int64 {
				if err := keys.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				return ledgertest.Count(t, l, "SELECT coalesce(sum(attempts), 0) FROM api_key_auth_log WHERE failure_reason IS NOT NULL")
			}
			for _, route := range routes {
				for _, client := range []string{"strict", "loose", "never"} {
					for _, headers := range [][]string{nil, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}, {"Host", "rebound.example"}} {
						passed.Add(2) // all is forgotten
						right := ask(route.Path, client, adminKey, headers)
						passed.Add(2)
						wrong := ask(route.Path, client, wrongKey, headers)
						if right.status == wrong.status && right.body == wrong.body {
							continue
						}
						passed.Add(2)
						before := refused()
						for range 11 {
							wrong = ask(route.Path, client, wrongKey, headers)
						}
						if n := refused() - before; n != 11 {
							t.Errorf("%s %s %v: %d of 11 guesses are in the log", route.Path, client, headers, n)
						}
						if wrong.status != 429 && route.Path != "/public" { // which keeps nobody out
							t.Errorf("%s %s %v: the eleventh guess answers %d %s", route.Path, client, headers, wrong.status, wrong.body)
						}
						if right := ask(route.Path, client, adminKey, headers); right.status != wrong.status || right.body != wrong.body {
							t.Errorf("%s %s %v: the right key stands out after too many guesses: %d %s", route.Path, client, headers, right.status, right.body)
						}
					}
				}
			}
		})
	}
}

// FuzzBearer: what is taken for a token is the end of the header, and only of the scheme Bearer.
func FuzzBearer(f *testing.F) {
	for _, header := range []string{"Bearer a", "bearer  b", "Basic c", "Bearer", "Bearer ", "BEARER\tx", ""} {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		token := string(bearer(header))
		if token == "" {
			return
		}
		scheme := strings.TrimSuffix(string(header), token)
		if strings.HasPrefix(token, " ") || !strings.EqualFold(strings.TrimRight(scheme, " "), "bearer") || len(scheme) < len("bearer ") {
			t.Errorf("%q has the token %q", header, token)
		}
	})
}
