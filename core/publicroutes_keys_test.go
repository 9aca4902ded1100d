package core

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

// newKey makes an API key.
func (s *storefront) newKey(body string) string {
	s.t.Helper()
	a := s.admin("POST", "/admin/api-keys", body)
	var created struct {
		Key string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(a.body), &created); err != nil || a.status != 201 || created.Key == "" {
		s.t.Fatalf("%s: %d %s", body, a.status, a.body)
	}
	return created.Key
}

// TestPublicRouteKeys: who may use which route, and that who may not learns nothing of it.
func TestPublicRouteKeys(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		for _, route := range []string{
			`{"route_key":"usual","client_name":"shop","table_name":"orders","allowed_ops":["fetch","delete"],"rate_limit":{"requests_per_minute":1,"burst":1000}}`,
			`{"route_key":"gated","client_name":"shop","table_name":"orders","operation":"fetch","require_key":true,"rate_limit":{"requests_per_minute":1,"burst":1000}}`,
			`{"route_key":"open","client_name":"shop","table_name":"orders","operation":"fetch","require_key":false}`,
		} {
			s.define(route)
		}
		for _, right := range []string{"public.gated.execute", "public.usual.execute"} {
			if a := s.admin("POST", "/admin/api-key-rights", `{"name":"`+right+`"}`); a.status != 201 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		keys := map[string]string{
			"nobody":  "",
			"dummy":   "some-other-servers-key",
			"wrong":   "ath_0123456789abcdef.0123456789012345678901234567890123456789012",
			"reader":  s.newKey(`{"name":"reader","rights":["gateway.fetch.execute"]}`),
			"route":   s.newKey(`{"name":"route","rights":["public.gated.execute"]}`),
			"usual":   s.newKey(`{"name":"usual","rights":["public.usual.execute"]}`),
			"bare":    s.newKey(`{"name":"bare"}`),
			"others":  s.newKey(`{"name":"others","client_name":"broken","rights":["gateway.fetch.execute","public.gated.execute","public.usual.execute"]}`),
			"ours":    s.newKey(`{"name":"ours","client_name":"shop","rights":["public.gated.execute"]}`),
			"revoked": s.newKey(`{"name":"revoked","rights":["gateway.fetch.execute"],"is_active":false}`),
			"admin":   testAdminKey,
		}
		// By key, for the routes usual, gated, open and one that is not there: + answers, 1 is 401, - 404.
		for _, state := range []struct {
			name string
			set  func() reply
			want map[string]string
		}{
			{"not enforced", func() reply { return s.admin("PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`) }, map[string]string{
				"nobody": "+-+-", "dummy": "+-+-", "admin": "+++-", "wrong": "11+1", "reader": "+++-", "route": "-++-", "usual": "+-+-", "bare": "--+-", "others": "--+-", "ours": "-++-", "revoked": "11+1"}},
			{"enforced for the client", func() reply { return s.admin("PUT", "/admin/api-key-clients/shop", `{"enforce_api_keys":true}`) }, map[string]string{
				"nobody": "--+-", "dummy": "--+-", "reader": "+++-", "route": "-++-", "usual": "+-+-", "bare": "--+-", "others": "--+-", "ours": "-++-", "revoked": "11+1", "admin": "+++-"}},
			{"enforced", func() reply { return s.admin("PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`) }, map[string]string{
				"nobody": "11+1", "reader": "+++-", "route": "-++-", "usual": "+-+-", "bare": "--+-", "others": "--+-", "ours": "-++-", "revoked": "11+1", "admin": "+++-"}},
		} {
			if a := state.set(); a.status != 200 && a.status != 201 {
				t.Fatalf("%s: %d %s", state.name, a.status, a.body)
			}
			for name, want := range state.want {
				got := ""
				refusals := map[string]bool{}
				for _, route := range []string{"usual", "gated", "open", "never"} {
					headers := []string{"X-Request-Id", "same"}
					if keys[name] != "" {
						headers = append(headers, "X-Athena-Key", keys[name])
					}
					a := s.ask("POST", "/public/"+route+"/fetch", `{"columns":"id","limit":1}`, headers...)
					switch {
					case a.status == 200 && string(a.data()) == `[{"id":1}]`:
						got += "+"
						continue
					case a.status == 401:
						got += "1"
					case a.status == 404 && a.code() == "unknown_public_route":
						got += "-"
					default:
						t.Errorf("%s, %s, %s: %d %s", state.name, name, route, a.status, a.body)
					}
					refusals[a.body] = true
				}
				if got != want {
					t.Errorf("%s, %s: %s, want %s", state.name, name, got, want)
				}
				if len(refusals) > 1 {
					t.Errorf("%s, %s: routes are refused in different words: %v", state.name, name, refusals)
				}
			}
		}
		// The right for a route is one for all that it offers, and for nothing else.
		if a := s.ask("POST", "/public/usual/delete", `{"resource_id":4}`, "apikey", keys["usual"]); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.ask("POST", "/public/usual/delete", `{"resource_id":1}`, "apikey", keys["reader"]); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "apikey", keys["usual"], "X-Athena-Client", "shop"); a.status != 403 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got := s.sqlAsAdmin("SELECT count(*) AS n FROM orders"); got != `[{"n":3}]` {
			t.Errorf("%s", got)
		}
		for name, key := range keys {
			if key != "" && strings.Contains(s.log.String(), key) {
				t.Errorf("the key %s is in the log", name)
			}
		}
	})
}

// TestPublicRouteStrangers: a key that may not use a route learns nothing of what it offers and
// pins, and does not use up its rate.
func TestPublicRouteStrangers(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		s.define(`{"route_key":"rare","client_name":"shop","table_name":"orders","allowed_ops":["fetch","insert"],"columns":"id,item",
			"filter":[{"eq_column":"tenant","eq_value":5}],"rate_limit":{"requests_per_minute":1,"burst":1}}`)
		reader := s.newKey(`{"name":"reader","client_name":"shop","rights":["gateway.fetch.execute"]}`)
		for _, key := range []string{s.newKey(`{"name":"bare"}`), s.newKey(`{"name":"others","client_name":"broken","rights":["gateway.fetch.execute","gateway.insert.execute"]}`)} {
			for _, c := range [][2]string{{"fetch", `{}`}, {"fetch", `{`}, {"fetch", `{"columns":"secret"}`}, {"fetch", `{"columns":"id"}`}, {"delete", `{}`}, {"dance", `{}`},
				{"insert", `{"insert_body":{"tenant":5}}`}, {"insert", `{"insert_body":{"tenant":6}}`}} {
				want := s.ask("POST", "/public/never/"+c[0], c[1], "X-Request-Id", "same", "apikey", key)
				got := s.ask("POST", "/public/rare/"+c[0], c[1], "X-Request-Id", "same", "apikey", key)
				if got.status != 404 || got.body != want.body {
					t.Errorf("%s %s: %d %s", c[0], c[1], got.status, got.body)
				}
			}
		}
		if a := s.ask("POST", "/public/rare/insert", `{"insert_body":{"tenant":6}}`, "apikey", reader); a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a := s.ask("POST", "/public/rare/fetch", `{"limit":1}`, "apikey", reader); a.status != 200 {
			t.Errorf("who may use the route: %d %s", a.status, a.body)
		}
	})
}

// TestHostNameStrangers: by a host name nobody learns whether there is a public route that he may not
// use, and nobody gets a client through one that is not active or needs a key.
func TestHostNameStrangers(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := newStorefront(t, uri, func(c *config.Config) { c.API.HostDomain, c.Ledger.OperationLog = "db.example", true })
		for _, route := range []string{
			`{"route_key":"usual","client_name":"shop","allowed_ops":["fetch"]}`,
			`{"route_key":"gated","client_name":"shop","allowed_ops":["fetch"],"require_key":true}`,
			`{"route_key":"off","client_name":"shop","allowed_ops":["fetch"],"is_active":false}`,
			`{"route_key":"other","client_name":"broken","allowed_ops":["fetch"]}`,
		} {
			s.define(route)
		}
		keys := map[string]string{
			"nobody": "",
			"dummy":  "some-other-servers-key",
			"reader": s.newKey(`{"name":"reader","rights":["gateway.fetch.execute"]}`),
			"bare":   s.newKey(`{"name":"bare"}`),
			"ours":   s.newKey(`{"name":"ours","client_name":"shop","rights":["gateway.fetch.execute"]}`),
			"others": s.newKey(`{"name":"others","client_name":"broken","rights":["gateway.fetch.execute"]}`),
			"admin":  testAdminKey,
		}
		const lost = "404 unknown_public_route"
		for _, state := range []struct {
			name string
			set  func() reply
			want map[string][4]string // by key, for usual, gated, off and never; the code of a failure
		}{
			{"not enforced", func() reply { return s.admin("PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`) }, map[string][4]string{
				"nobody": {"200 ", lost, lost, lost}, "dummy": {"200 ", lost, lost, lost}, "reader": {"200 ", "200 ", lost, lost}, "admin": {"200 ", "200 ", lost, lost},
				"bare":   {"403 right_required", "403 right_required", "403 right_required", "403 right_required"},
				"ours":   {"200 ", "200 ", "403 client_not_allowed", "403 client_not_allowed"},
				"others": {"403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed"}}},
			{"enforced for another client", func() reply { return s.admin("PUT", "/admin/api-key-clients/broken", `{"enforce_api_keys":true}`) }, map[string][4]string{
				"nobody": {"200 ", "401 api_key_required", "401 api_key_required", "401 api_key_required"}, "dummy": {"200 ", "401 invalid_api_key", "401 invalid_api_key", "401 invalid_api_key"}}},
			{"enforced for the client", func() reply { return s.admin("PUT", "/admin/api-key-clients/shop", `{"enforce_api_keys":true}`) }, map[string][4]string{
				"nobody": {"401 api_key_required", "401 api_key_required", "401 api_key_required", "401 api_key_required"}, "reader": {"200 ", "200 ", lost, lost}, "admin": {"200 ", "200 ", lost, lost},
				"ours":   {"200 ", "200 ", "403 client_not_allowed", "403 client_not_allowed"},
				"others": {"403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed"}}},
			{"enforced", func() reply { return s.admin("PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`) }, map[string][4]string{
				"nobody": {"401 api_key_required", "401 api_key_required", "401 api_key_required", "401 api_key_required"},
				"others": {"403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed", "403 client_not_allowed"}}},
			{"enforced but for one", func() reply { return s.admin("PUT", "/admin/api-key-clients/broken", `{"enforce_api_keys":false}`) }, map[string][4]string{
				"nobody": {"401 api_key_required", "401 api_key_required", "401 api_key_required", "401 api_key_required"}}},
		} {
			if a := state.set(); a.status != 200 && a.status != 201 {
				t.Fatalf("%s: %d %s", state.name, a.status, a.body)
			}
			for name, want := range state.want {
				for _, body := range []string{`{"table_name":"orders","columns":"id","limit":1}`, `{"columns":"id"}`} {
					var got [4]string
					bodies := map[string]string{} // by status and code
					for i, route := range []string{"usual", "gated", "off", "never"} {
						headers := []string{"Host", route + ".db.example", "X-Request-Id", "same"}
						if keys[name] != "" {
							headers = append(headers, "X-Athena-Key", keys[name])
						}
						a := s.ask("POST", "/gateway/fetch", body, headers...)
						got[i] = strconv.Itoa(a.status) + " " + a.code()
						if other, ok := bodies[got[i]]; ok && other != a.body {
							t.Errorf("%s, %s: in other words\n%s\n%s", state.name, name, other, a.body)
						}
						bodies[got[i]] = a.body
					}
					if strings.Contains(body, "table_name") {
						if got != want {
							t.Errorf("%s, %s: %q, want %q", state.name, name, got, want)
						}
					} else if len(bodies) != 1 { // what is wrong with the request is the same everywhere
						t.Errorf("%s, %s: %q", state.name, name, bodies)
					}
				}
			}
		}
		// What leads nowhere is an operation of no client.
		until(t, func() bool {
			return strings.Contains(s.admin("GET", "/admin/operations?status=errors&client_name=", "").body, "unknown_public_route")
		})
		if a := s.admin("GET", "/admin/operations?status=errors&client_name=shop", ""); strings.Contains(a.body, "unknown_public_route") {
			t.Errorf("%s", a.body)
		}
	})
}

// TestHostNamesAskForNoKey: while no keys are asked for, a host name that leads nowhere is no
// refused key to who sends none, and a wrong key counts.
func TestHostNamesAskForNoKey(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		s := newStorefront(t, uri, func(c *config.Config) { c.API.HostDomain = "db.example" })
		s.define(`{"route_key":"gated","client_name":"shop","allowed_ops":["fetch"],"require_key":true}`)
		for key, want := range map[string]int64{"": 0, "a guess": 2} {
			for _, name := range []string{"gated", "never"} {
				a := s.ask("POST", "/gateway/fetch", `{"table_name":"orders"}`, "Host", name+".db.example", "X-Athena-Key", key)
				if a.status != 404 || a.code() != "unknown_public_route" {
					t.Errorf("%s, key %q: %d %s", name, key, a.status, a.body)
				}
			}
			if err := s.keys.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			where := "presented_hash IS NULL"
			if key != "" {
				where = "presented_hash IS NOT NULL"
			}
			if n := ledgertest.Count(t, s.ledger, "SELECT coalesce(sum(attempts), 0) FROM api_key_auth_log WHERE failure_reason IS NOT NULL AND "+where); n != want {
				t.Errorf("key %q: %d refusals are in the ledger, want %d", key, n, want)
			}
		}
		if metrics := s.ask("GET", "/metrics", "").body; !strings.Contains(metrics, `athena_auth_refused_total{reason="api_key_required"} 0`+"\n") ||
			!strings.Contains(metrics, `athena_auth_refused_total{reason="invalid_api_key"} 2`+"\n") {
			t.Errorf("%s", metrics)
		}
		if n := strings.Count(s.log.String(), "a request was refused"); n != 2 {
			t.Errorf("the log has %d refusals: %s", n, s.log.String())
		}
	})
}

// TestPublicRouteGuesses: where a route asks for a key, guesses at the admin key count, and are
// answered as everywhere; where there is no route too.
func TestPublicRouteGuesses(t *testing.T) {
	for _, route := range []string{"gated", "never"} {
		s := newStorefront(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db"), nil)
		s.define(`{"route_key":"gated","client_name":"shop","table_name":"orders","operation":"fetch","require_key":true}`)
		for range 15 {
			if a := s.ask("POST", "/public/"+route+"/fetch", `{}`, "apikey", "a guess"); a.status != 404 || a.code() != "unknown_public_route" {
				t.Fatalf("%s: %d %s", route, a.status, a.body)
			}
		}
		counted := 0
		for _, line := range regexp.MustCompile(`(?m)^athena_auth_refused_total\{reason="(?:invalid_api_key|too_many_attempts)"\} (\d+)$`).
			FindAllStringSubmatch(s.ask("GET", "/metrics", "").body, -1) {
			n, _ := strconv.Atoi(line[1])
			counted += n
		}
		if counted != 15 {
			t.Errorf("%s: %d of 15 guesses count", route, counted)
		}
	}
}

// TestPublicRouteOfBrowsers: while no keys are asked for, a page of another site reaches no
// route but those that are open to everybody.
func TestPublicRouteOfBrowsers(t *testing.T) {
	eachStorefront(t, func(t *testing.T, s *storefront) {
		s.define(`{"route_key":"usual","client_name":"shop","table_name":"orders","operation":"fetch"}`)
		s.define(`{"route_key":"open","client_name":"shop","table_name":"orders","operation":"fetch","require_key":false}`)
		for _, headers := range [][]string{{"Origin", "https://elsewhere.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Host", "rebound.example"}} {
			for route, want := range map[string]int{"usual": 403, "never": 403, "open": 200} {
				if a := s.ask("POST", "/public/"+route+"/fetch", `{}`, headers...); a.status != want {
					t.Errorf("%v %s: %d %s", headers, route, a.status, a.body)
				}
			}
		}
	})
}
