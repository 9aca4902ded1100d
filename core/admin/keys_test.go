package admin

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/internal/testenv"
)

// keyServer is the routes over a ledger, and one that tells who asks.
type keyServer struct {
	*server
	keys   *auth.Keyring
	ledger *ledger.Ledger
	log    *testenv.Output
}

func serveKeys(t *testing.T, l *ledger.Ledger) *keyServer {
	t.Helper()
	s := &keyServer{ledger: l, log: &testenv.Output{}}
	logger := hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Trace})
	s.keys = auth.New(auth.Options{AdminKey: testKey, Ledger: l, Logger: logger})
	t.Cleanup(s.keys.Close)
	who := httpx.Route{Method: "GET", Path: "/who", Guard: httpx.Key, Operation: "who", Handle: func(r *httpx.Request) (*httpx.Response, error) {
		if r.Principal == nil {
			return httpx.OK("nobody", nil)
		}
		return httpx.OK(r.Principal.Name, r.Principal.Rights())
	}}
	s.server = serveWith(t, pluginhost.Options{Dir: t.TempDir()}, s.keys, func(host *pluginhost.Host) []httpx.Route {
		return append(New(Options{Host: host, Keys: s.keys, Ledger: l, Logger: logger}).Routes(), who)
	})
	return s
}

// who asks with a key and returns the status and the message or code.
func (s *keyServer) who(t *testing.T, key string) string {
	t.Helper()
	request, err := http.NewRequest("GET", s.url+"/who", nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("apikey", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	var said struct{ Code, Message string }
	if err == nil {
		err = json.Unmarshal(b, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	if said.Code != "" {
		return said.Code
	}
	return said.Message
}

// authenticate finds the key's holder.
func (s *keyServer) authenticate(key string) (*auth.Principal, error) {
	a := &auth.Attempt{}
	err := s.keys.Authenticate(a, [][]byte{[]byte(key)})
	return a.Principal, err
}

// audits are the rows of the audit log as "action target before -> after".
func (s *keyServer) audits(t *testing.T) (list []string) {
	t.Helper()
	if err := s.ledger.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.ledger.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, "SELECT actor, action, target, before, after FROM admin_audit_log ORDER BY id")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var actor, action, target string
			var before, after *string
			if err := rows.Scan(&actor, &action, &target, &before, &after); err != nil {
				return err
			}
			if !strings.HasPrefix(actor, "127.0.0.1:") || !strings.HasSuffix(actor, " with the admin key") {
				t.Errorf("the actor is %q", actor)
			}
			state := func(p *string) string {
				if p == nil {
					return "none"
				}
				return "some"
			}
			list = append(list, fmt.Sprintf("%s %s %s -> %s", action, target, state(before), state(after)))
		}
		return rows.Err()
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// do calls a route and decodes the answer.
func (s *keyServer) do(t *testing.T, method, path, body string, want int) map[string]any {
	t.Helper()
	status, text := s.call(t, method, path, body)
	if status != want {
		t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, status, want, text)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	if data, ok := answer["data"].(map[string]any); ok && want < 300 { // the original's object, in both places
		for name, value := range data {
			if diff := cmp.Diff(value, answer[name]); diff != "" {
				t.Errorf("%s %s: %s differs at the top: %s", method, path, name, diff)
			}
		}
		if answer["status"] != "success" || answer["message"] == "" {
			t.Errorf("%s %s: %s", method, path, text)
		}
	}
	return answer
}

// TestKeyRoutes: the life of a key, by the routes alone.
func TestKeyRoutes(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		if list := s.do(t, "GET", "/admin/api-keys", "", 200); len(list["api_keys"].([]any)) != 0 || list["total"] != 0.0 || list["limit"] != 100.0 || list["offset"] != 0.0 {
			t.Errorf("the empty list is %v", list)
		}
		made := s.do(t, "POST", "/admin/api-keys", `{"name":"gateway-readonly","description":"Read-only","client_name":"shop","expires_at":"2130-01-31T12:00:00.5+02:00",
			"rights":["gateway.query.execute","gateway.fetch.execute"],"virgin_mode":false,"ip_whitelist":[],"team":"unknown to us"}`, 201)
		text := made["api_key"].(string)
		record := made["record"].(map[string]any)
		id := record["id"].(string)
		if !regexp.MustCompile(`^ath_[a-z0-9]{16}\.[A-Za-z0-9_-]{43}$`).MatchString(text) || !strings.HasPrefix(text, "ath_"+record["public_id"].(string)+".") {
			t.Errorf("the key is %s", text)
		}
		want := map[string]any{"id": id, "public_id": text[4:20], "name": "gateway-readonly", "description": "Read-only", "client_name": "shop",
			"expires_at": "2130-01-31T10:00:00.5Z", "is_active": true, "last_used_at": nil, "created_at": record["created_at"], "updated_at": record["created_at"],
			"rights": []any{"gateway.fetch.execute", "gateway.query.execute"}}
		if diff := cmp.Diff(want, record); diff != "" {
			t.Error(diff)
		}
		if at, err := time.Parse(time.RFC3339Nano, record["created_at"].(string)); err != nil || time.Since(at) > time.Minute || at.Location() != time.UTC {
			t.Errorf("it was made at %v", record["created_at"])
		}
		if got := s.who(t, text); got != "gateway-readonly" {
			t.Errorf("its holder is %s", got)
		}
		if got := s.do(t, "GET", "/admin/api-keys/"+id, "", 200)["record"]; cmp.Diff(record, got) != "" {
			t.Error(cmp.Diff(record, got))
		}
		s.do(t, "POST", "/admin/api-keys", `{"name":"second"}`, 201)
		list := s.do(t, "GET", "/admin/api-keys?limit=1&offset=1", "", 200)
		if got := list["api_keys"].([]any); len(got) != 1 || cmp.Diff(record, got[0]) != "" || list["total"] != 2.0 || list["limit"] != 1.0 || list["offset"] != 1.0 {
			t.Errorf("the second page is %v", list)
		}

		patched := s.do(t, "PATCH", "/admin/api-keys/"+id, `{"name":"renamed","description":null,"client_name":null,"expires_at":null,"rights":["gateway.delete.execute"]}`, 200)["record"].(map[string]any)
		want["name"], want["description"], want["client_name"], want["expires_at"], want["rights"] = "renamed", nil, nil, nil, []any{"gateway.delete.execute"}
		want["updated_at"] = patched["updated_at"]
		if diff := cmp.Diff(want, patched); diff != "" {
			t.Error(diff)
		}
		if got := s.who(t, text); got != "renamed" {
			t.Errorf("after the change its holder is %s", got)
		}
		for _, step := range []struct{ body, who string }{
			{`{"is_active":false}`, "api_key_inactive"},
			{`{"is_active":true}`, "renamed"},
			{`{"rights":[]}`, "renamed"},
		} {
			s.do(t, "PATCH", "/admin/api-keys/"+id, step.body, 200)
			if got := s.who(t, text); got != step.who {
				t.Errorf("after %s it is %s, want %s", step.body, got, step.who)
			}
		}
		if got := s.do(t, "DELETE", "/admin/api-keys/"+id, "", 200); got["id"] != id {
			t.Errorf("deleted %v", got)
		}
		if got := s.who(t, text); got != "invalid_api_key" {
			t.Errorf("the revoked key is %s", got)
		}
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			body := ""
			if method == "PATCH" {
				body = `{"is_active":true}`
			}
			s.do(t, method, "/admin/api-keys/"+id, body, 404)
		}
		s.do(t, "POST", "/admin/api-keys", `{"name":"renamed"}`, 201) // the name is free again

		want2 := []string{
			"create_api_key api_keys/" + id + " none -> some", "create_api_key", "update_api_key api_keys/" + id + " some -> some", "update_api_key", "update_api_key",
			"update_api_key", "delete_api_key api_keys/" + id + " some -> none", "create_api_key"}
		got := s.audits(t)
		if !slices.EqualFunc(got, want2, strings.HasPrefix) {
			t.Errorf("the audit has %v, want %v", got, want2)
		}
		if n := strings.Count(s.log.String(), "an operator's request"); n != 10 || strings.Count(s.log.String(), "outcome=done") != 8 {
			t.Errorf("%d changes are in the log, of 10:\n%s", n, s.log.String())
		}
		s.secret(t, text)
	})
}

// TestOriginalsKeys: on the tables of the original server, which have ids of their own beside
// those that callers get, keys go on working, and can be made, granted, changed and revoked.
func TestOriginalsKeys(t *testing.T) {
	const secret, salt = "0123456789012345678901234567890123456789abc", "5a17"
	hash := sha256.Sum256([]byte(salt + secret))
	uri := testenv.Database(t, `
		CREATE TABLE api_keys (id bigserial PRIMARY KEY, api_keys_id uuid NOT NULL DEFAULT gen_random_uuid(), public_id text NOT NULL UNIQUE, name text NOT NULL,
			description text, client_name text, key_salt text NOT NULL, key_hash text NOT NULL, secret_version integer NOT NULL, is_active boolean,
			created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
		CREATE TABLE api_key_rights (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, description text, created_at timestamptz DEFAULT now(), updated_at timestamptz);
		CREATE TABLE api_key_right_grants (id bigserial PRIMARY KEY, api_key_id bigint NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
			api_key_right_id bigint NOT NULL REFERENCES api_key_rights (id) ON DELETE CASCADE, granted_by text NOT NULL, UNIQUE (api_key_id, api_key_right_id));
		CREATE TABLE api_key_auth_log (id bigserial PRIMARY KEY, api_key_id bigint REFERENCES api_keys (id), created_at timestamptz NOT NULL DEFAULT now());
		INSERT INTO api_keys (public_id, name, key_salt, key_hash, secret_version) VALUES ('0123456789abcdef', 'old', '`+salt+`', '`+hex.EncodeToString(hash[:])+`', 1),
			('fedcba9876543210', 'other', 'x', 'y', 1);
		INSERT INTO api_key_rights (name) VALUES ('gateway.fetch.execute'), ('own.right');
		INSERT INTO api_key_right_grants (api_key_id, api_key_right_id, granted_by) VALUES (1, 1, 'me'), (1, 2, 'me');
		INSERT INTO api_key_auth_log (api_key_id) VALUES (1), (NULL)`)
	s := serveKeys(t, ledgertest.Open(t, uri))
	old := "ath_0123456789abcdef." + secret
	if got := s.who(t, old); got != "old" {
		t.Errorf("the old key's holder is %s", got)
	}
	record := func(name string) map[string]any {
		for _, r := range s.do(t, "GET", "/admin/api-keys", "", 200)["api_keys"].([]any) {
			if r := r.(map[string]any); r["name"] == name {
				return r
			}
		}
		t.Fatalf("%s is not listed", name)
		return nil
	}
	is := func(name string, rights ...any) string {
		t.Helper()
		r := record(name)
		if diff := cmp.Diff(append([]any{}, rights...), r["rights"]); diff != "" || r["is_active"] != true {
			t.Errorf("%v: %s", r, diff)
		}
		return r["id"].(string)
	}
	id := is("old", "gateway.fetch.execute", "own.right")
	s.do(t, "PATCH", "/admin/api-keys/"+id, `{"rights":["own.right","management.tables.write"]}`, 200)
	is("old", "management.tables.write", "own.right")
	made := s.do(t, "POST", "/admin/api-keys", `{"name":"new","rights":["own.right"]}`, 201)
	if got := s.who(t, made["api_key"].(string)); got != "new" {
		t.Errorf("the new key's holder is %s", got)
	}
	for _, r := range s.do(t, "GET", "/admin/api-key-rights", "", 200)["rights"].([]any) {
		if r := r.(map[string]any); r["name"] == "own.right" {
			s.do(t, "PATCH", "/admin/api-key-rights/"+r["id"].(string), `{"description":"ours"}`, 200)
			s.do(t, "DELETE", "/admin/api-key-rights/"+r["id"].(string), "", 200)
		}
	}
	is("old", "management.tables.write")
	s.do(t, "DELETE", "/admin/api-keys/"+is("new"), "", 200)
	if got := s.who(t, made["api_key"].(string)); got != "invalid_api_key" {
		t.Errorf("the revoked key is %s", got)
	}
	if err := s.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for want, query := range map[int64]string{
		2: "SELECT count(*) FROM api_key_auth_log WHERE api_key_id = '" + id + "'", // the original's row, and ours
		1: "SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL AND api_keys_id = '" + id + "'",
		0: "SELECT count(*) FROM api_key_auth_log WHERE api_key_id ~ '^[0-9]+$'",
	} {
		if n := ledgertest.Count(t, s.ledger, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// TestExpiredKeys: the last moment that a time can be is one, and an expired key can be sent
// back whole, as clients do that change one member.
func TestExpiredKeys(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		made := s.do(t, "POST", "/admin/api-keys", `{"name":"k","expires_at":"9999-12-31T23:59:59.9999999Z"}`, 201)
		record := made["record"].(map[string]any)
		path := "/admin/api-keys/" + record["id"].(string)
		s.do(t, "GET", "/admin/api-keys", "", 200)
		for _, change := range []struct{ expires, name, who string }{
			{"2020-01-01T00:00:00Z", "k", "api_key_expired"},
			{"2020-01-01T00:00:00Z", "renamed", "api_key_expired"},
			{"2130-01-01T00:00:00+01:00", "renamed", "renamed"},
		} {
			record["expires_at"], record["name"] = change.expires, change.name
			whole, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			record = s.do(t, "PATCH", path, string(whole), 200)["record"].(map[string]any)
			if got := s.who(t, made["api_key"].(string)); got != change.who || record["name"] != change.name {
				t.Errorf("%+v: %s, %v", change, got, record)
			}
		}
	})
}

// secret checks that a key's secret is nowhere but in the answer that made it.
func (s *keyServer) secret(t *testing.T, key string) {
	t.Helper()
	if err := s.keys.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	secret := key[21:]
	if strings.Contains(s.log.String(), secret) {
		t.Error("the log tells the secret")
	}
	if err := s.ledger.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		for table, columns := range map[string][]string{
			"api_keys": {"public_id", "name", "description", "key_salt", "key_hash"}, "admin_audit_log": {"actor", "action", "target", "before", "after"},
			"api_key_auth_log": {"request_id", "public_id", "client_name", "method", "path", "presented_hash", "required_right", "granted_rights", "failure_reason"}} {
			for _, column := range columns {
				var n int
				if err := c.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE CAST(%s AS TEXT) LIKE $1", table, column), "%"+secret+"%").Scan(&n); err != nil {
					return err
				}
				if n > 0 {
					t.Errorf("%s.%s tells the secret", table, column)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/admin/api-keys", "/admin/api-key-config"} {
		if _, text := s.call(t, "GET", path, ""); strings.Contains(text, secret) {
			t.Errorf("%s tells the secret", path)
		}
	}
}

// TestKeyMistakes: what is wrong is told of each field, and changes nothing.
func TestKeyMistakes(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		id := s.do(t, "POST", "/admin/api-keys", `{"name":"taken"}`, 201)["record"].(map[string]any)["id"].(string)
		other := s.do(t, "POST", "/admin/api-keys", `{"name":"other","rights":["gateway.fetch.execute"]}`, 201)["record"].(map[string]any)["id"].(string)
		right := s.do(t, "POST", "/admin/api-key-rights", `{"name":"reports.read"}`, 201)["right"].(map[string]any)["id"].(string)
		s.do(t, "PATCH", "/admin/api-keys/"+id, `{"rights":["reports.read"]}`, 200)
		var builtIn string
		for _, r := range s.do(t, "GET", "/admin/api-key-rights", "", 200)["rights"].([]any) {
			if r := r.(map[string]any); r["name"] == "gateway.rpc.execute" {
				builtIn = r["id"].(string)
			}
		}
		before := len(s.audits(t))
		const unknown = "01890000-0000-7000-8000-000000000000"
		for _, test := range []struct {
			method, path, body string
			status             int
			says               []string
		}{
			{"POST", "/admin/api-keys", `{}`, 400, []string{"invalid_body", `"name":"want a text of 1 to 100 characters"`}},
			{"POST", "/admin/api-keys", `{"name":null}`, 400, []string{`"name":"want a text`}},
			{"POST", "/admin/api-keys", `{"name":""}`, 400, []string{`"name":"want a text`}},
			{"POST", "/admin/api-keys", `{"name":7}`, 400, []string{`"name":"want a text`}},
			{"POST", "/admin/api-keys", `{"name":"a\nb"}`, 400, []string{`"name":"want a text`}},
			{"POST", "/admin/api-keys", `{"name":"` + strings.Repeat("é", 101) + `"}`, 400, []string{`"name":"want a text`}},
			{"POST", "/admin/api-keys", `{"name":"a","client_name":"no such; name","expires_at":"tomorrow","is_active":"yes","rights":"all","description":false}`, 400,
				[]string{`"client_name":"want`, `"expires_at":"want a time`, `"is_active":"want true`, `"rights":"want a list`, `"description":"want`}},
			{"POST", "/admin/api-keys", `{"name":"a","expires_at":"2020-01-01T00:00:00Z"}`, 400, []string{`"expires_at":"want a time to come`}},
			{"POST", "/admin/api-keys", `{"name":"a","expires_at":"2130-01-01"}`, 400, []string{`"expires_at":"want a time`}},
			{"POST", "/admin/api-keys", `{"name":"a","expire_at":"2130-01-01T00:00:00Z"}`, 400, []string{`did you mean \"expires_at\"?`}},
			{"POST", "/admin/api-keys", `{"name":"a","ip_whitelist":["10.0.0.1"],"virgin_mode":true,"max_whitelist_ips":3}`, 400,
				[]string{`"ip_whitelist":"not supported`, `"virgin_mode":"not supported`, `"max_whitelist_ips":"not supported`}},
			{"POST", "/admin/api-keys", `{"name":"a","client":"shop","expires":"2130-01-01T00:00:00Z","enabled":false,"scopes":[]}`, 400,
				[]string{`"client":"unknown field; use \"client_name\""`, `use \"expires_at\"`, `use \"is_active\"`, `use \"rights\"`}},
			{"POST", "/admin/api-keys", `{"name":"a","rights":["gateway.fetch.exekute"]}`, 400, []string{"unknown_right", `did you mean \"gateway.fetch.execute\"?`}},
			{"POST", "/admin/api-keys", `{"name":"a","rights":[null]}`, 400, []string{`"rights":"want a list`}},
			{"POST", "/admin/api-keys", `{"name":"taken"}`, 409, []string{"api_key_exists", "taken"}},
			{"POST", "/admin/api-keys", `[]`, 400, []string{"invalid_json"}},
			{"POST", "/admin/api-keys", `{"name":`, 400, []string{"invalid_json"}},
			{"PATCH", "/admin/api-keys/" + other, `{"name":"taken"}`, 409, []string{"api_key_exists"}},
			{"PATCH", "/admin/api-keys/" + other, `{"active":false}`, 400, []string{`use \"is_active\"`}},
			{"PATCH", "/admin/api-keys/" + other, `{"expiry":null,"name":"third"}`, 400, []string{`use \"expires_at\"`}},
			{"PATCH", "/admin/api-keys/" + other, `{}`, 400, []string{"changes nothing", "send at least one of"}},
			{"PATCH", "/admin/api-keys/" + other, `{"team":"unknown to us"}`, 400, []string{"changes nothing"}},
			{"PATCH", "/admin/api-keys/" + other, `{"name":null}`, 400, []string{`"name":"want`}},
			{"PATCH", "/admin/api-keys/" + other, `{"rights":null}`, 400, []string{`"rights":"want`}},
			{"PATCH", "/admin/api-keys/" + other, `{"is_active":null}`, 400, []string{`"is_active":"want`}},
			{"PATCH", "/admin/api-keys/" + other, `{"rights":["gateway.fetch.execute","nothing"]}`, 400, []string{"unknown_right"}},
			{"PATCH", "/admin/api-keys/" + unknown, `{"name":"x"}`, 404, []string{"unknown_api_key"}},
			{"PATCH", "/admin/api-keys/nonsense", `{"name":"x"}`, 404, []string{"unknown_api_key"}},
			{"PATCH", "/admin/api-keys/urn:uuid:" + other, `{"name":"x"}`, 404, []string{"unknown_api_key"}},
			{"POST", "/admin/api-keys", `{"name":"a","expires_at":"9999-12-31T23:59:59-12:00"}`, 400, []string{`"expires_at":"want a time to come`}},
			{"POST", "/admin/api-keys", `{"name":"a","expires_at":"9999-12-31T23:59:60Z"}`, 400, []string{`"expires_at":"want a time to come`}},
			{"PATCH", "/admin/api-keys/" + other, `{"expires_at":"9999-12-31T23:59:59-12:00"}`, 400, []string{`"expires_at":"want a time in RFC 3339`}},
			{"PATCH", "/admin/api-keys/" + other, `{"expires_at":"0001-01-01T00:00:00Z"}`, 400, []string{`"expires_at":"want a time in RFC 3339`}},
			{"PATCH", "/admin/api-keys/" + other, `{"expires_at":"0000-01-01T00:00:00+12:00"}`, 400, []string{`"expires_at":"want a time in RFC 3339`}},
			{"GET", "/admin/api-keys/%27%20or%201=1", ``, 404, []string{"unknown_api_key"}},
			{"DELETE", "/admin/api-keys/" + unknown, ``, 404, []string{"unknown_api_key"}},
			{"DELETE", "/admin/api-keys/" + other, `{"force":true}`, 400, []string{`"force":"unknown field"`}},
			{"GET", "/admin/api-keys?limit=0&offset=-1", ``, 400, []string{"invalid_query", `"limit":"want a whole number from 1 to 500"`, `"offset":"want`}},
			{"GET", "/admin/api-keys?limit=501", ``, 400, []string{`"limit":"want`}},
			{"GET", "/admin/api-keys?limit=", ``, 400, []string{`"limit":"want`}},
			{"POST", "/admin/api-key-rights", `{}`, 400, []string{`"name":"want a name`}},
			{"POST", "/admin/api-key-rights", `{"name":"has space"}`, 400, []string{`"name":"want a name`}},
			{"POST", "/admin/api-key-rights", `{"name":"reports.read"}`, 409, []string{"right_exists"}},
			{"POST", "/admin/api-key-rights", `{"name":"gateway.fetch.execute"}`, 409, []string{"right_exists"}},
			{"PATCH", "/admin/api-key-rights/" + right, `{"name":"gateway.fetch.execute"}`, 409, []string{"right_exists"}},
			{"PATCH", "/admin/api-key-rights/" + builtIn, `{"name":"mine"}`, 409, []string{"right_is_built_in"}},
			{"PATCH", "/admin/api-key-rights/" + unknown, `{"name":"mine"}`, 404, []string{"unknown_right"}},
			{"PATCH", "/admin/api-key-rights/" + right, `{}`, 400, []string{"invalid_body", "changes nothing", "send name, description or both"}},
			{"PATCH", "/admin/api-key-rights/" + right, `{"team":"unknown to us"}`, 400, []string{"changes nothing"}},
			{"DELETE", "/admin/api-key-rights/" + builtIn, ``, 409, []string{"right_is_built_in"}},
			{"DELETE", "/admin/api-key-rights/nonsense", ``, 404, []string{"unknown_right"}},
			{"PUT", "/admin/api-key-config", `{}`, 400, []string{`"enforce_api_keys":"want true or false"`}},
			{"PUT", "/admin/api-key-config", `{"enforce_api_keys":null}`, 400, []string{`"enforce_api_keys":"want`}},
			{"PUT", "/admin/api-key-config", `{"enforce_api_keys":"true"}`, 400, []string{`"enforce_api_keys":"want`}},
			{"PUT", "/admin/api-key-clients/a%20b", `{"enforce_api_keys":true}`, 400, []string{"invalid_path", `"client_name":"want`}},
			{"PUT", "/admin/api-key-clients/a", ``, 400, []string{`"enforce_api_keys":"want`}},
			{"DELETE", "/admin/api-key-clients/a", ``, 404, []string{"unknown_client_setting"}},
			{"PUT", "/admin/api-keys", `{}`, 405, []string{"method_not_allowed"}},
		} {
			status, text := s.call(t, test.method, test.path, test.body)
			if status != test.status {
				t.Errorf("%s %s %s: %d, want %d: %s", test.method, test.path, test.body, status, test.status, text)
			}
			for _, want := range append(test.says, `"status":"error"`) {
				if !strings.Contains(text, want) {
					t.Errorf("%s %s %s lacks %s: %s", test.method, test.path, test.body, want, text)
				}
			}
		}
		if after := s.audits(t); len(after) != before {
			t.Errorf("mistakes are in the audit: %v", after[before:])
		}
		if r := s.do(t, "GET", "/admin/api-keys/"+other, "", 200)["record"].(map[string]any); r["name"] != "other" || len(r["rights"].([]any)) != 1 {
			t.Errorf("mistakes changed the key to %v", r)
		}
	})
}

// TestRightRoutes: rights are made, renamed with their keys, and deleted, also from the keys
// that have them.
func TestRightRoutes(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		catalogue := s.do(t, "GET", "/admin/rights/catalog", "", 200)["rights"].([]any)
		list := s.do(t, "GET", "/admin/api-key-rights", "", 200)
		if len(catalogue) != len(auth.Catalogue()) || list["total"] != float64(len(catalogue)) {
			t.Errorf("the catalogue has %d rights, the ledger %v", len(catalogue), list["total"])
		}
		right := s.do(t, "POST", "/admin/api-key-rights", `{"name":"reports.read","description":"Reports"}`, 201)["right"].(map[string]any)
		id := right["id"].(string)
		if diff := cmp.Diff(map[string]any{"id": id, "name": "reports.read", "description": "Reports", "created_at": right["created_at"], "updated_at": right["created_at"]}, right); diff != "" {
			t.Error(diff)
		}
		made := s.do(t, "POST", "/admin/api-keys", `{"name":"k","rights":["reports.read"]}`, 201)
		key := "/admin/api-keys/" + made["record"].(map[string]any)["id"].(string)
		other := "/admin/api-keys/" + s.do(t, "POST", "/admin/api-keys", `{"name":"other","rights":["gateway.fetch.execute"]}`, 201)["record"].(map[string]any)["id"].(string)
		// changes sends keys back as they were before do: the one that has the right has changed.
		changes := func(status int, do func()) {
			t.Helper()
			before := map[string]string{}
			for _, path := range []string{key, other} {
				record := s.do(t, "GET", path, "", 200)["record"].(map[string]any)
				before[path] = fmt.Sprintf(`{"is_active":true,"updated_at":%q}`, record["updated_at"])
			}
			do()
			if answer := s.do(t, "PATCH", key, before[key], status); status == 409 && answer["code"] != "api_key_changed" {
				t.Errorf("%v", answer)
			}
			s.do(t, "PATCH", other, before[other], 200)
		}
		changes(409, func() { s.do(t, "PATCH", "/admin/api-key-rights/"+id, `{"name":"reports.look"}`, 200) })
		right = s.do(t, "PATCH", "/admin/api-key-rights/"+id, `{"name":"reports.see"}`, 200)["right"].(map[string]any)
		if right["name"] != "reports.see" || right["description"] != "Reports" {
			t.Errorf("renamed, it is %v", right)
		}
		if r := s.do(t, "GET", key, "", 200)["record"].(map[string]any); cmp.Diff([]any{"reports.see"}, r["rights"]) != "" {
			t.Errorf("the key has %v", r["rights"])
		}
		changes(200, func() {
			right = s.do(t, "PATCH", "/admin/api-key-rights/"+id, `{"description":null}`, 200)["right"].(map[string]any)
		})
		if right["name"] != "reports.see" || right["description"] != nil {
			t.Errorf("undescribed, it is %v", right)
		}
		gone := s.do(t, "POST", "/admin/api-keys", `{"name":"gone","rights":["reports.see"]}`, 201)["record"].(map[string]any)["id"].(string)
		s.do(t, "DELETE", "/admin/api-keys/"+gone, "", 200)
		changes(409, func() {
			if got := s.do(t, "DELETE", "/admin/api-key-rights/"+id, "", 200); got["id"] != id || !strings.Contains(got["message"].(string), "taken from 1 API key") {
				t.Errorf("deleted %v", got)
			}
		})
		if r := s.do(t, "GET", key, "", 200)["record"].(map[string]any); len(r["rights"].([]any)) != 0 {
			t.Errorf("the key has %v", r["rights"])
		}
		a, err := s.authenticate(made["api_key"].(string))
		if err != nil || a.Has("reports.see") {
			t.Errorf("in memory the key has %v (%v)", a.Rights(), err)
		}
		s.do(t, "DELETE", "/admin/api-key-rights/"+id, "", 404)
		audit := s.do(t, "GET", "/admin/audit?action=delete_right", "", 200)["audit"].([]any)[0].(map[string]any)["before"].(map[string]any)
		if diff := cmp.Diff([]any{strings.TrimPrefix(key, "/admin/api-keys/")}, audit["api_keys"]); diff != "" || audit["name"] != "reports.see" {
			t.Errorf("the audit has %v", audit)
		}
		want := []string{"create_right", "create_api_key", "create_api_key", "update_right", "update_api_key", "update_right", "update_right", "update_api_key", "update_api_key",
			"create_api_key", "delete_api_key", "delete_right api_key_rights/" + id + " some -> none", "update_api_key"}
		if got := s.audits(t); !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("the audit has %v", got)
		}
	})
}

// TestConfigRoutes: where keys are asked for.
func TestConfigRoutes(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		global := func(answer map[string]any) any { return answer["global"].(map[string]any)["enforce_api_keys"] }
		answer := s.do(t, "GET", "/admin/api-key-config", "", 200)
		if global(answer) != false || answer["forced"] != false || len(answer["clients"].([]any)) != 0 || s.who(t, "") != "nobody" {
			t.Errorf("it begins with %v", answer)
		}
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(answer["global"].(map[string]any)["updated_at"])); err != nil || time.Since(at) > time.Minute {
			t.Errorf("it is of %v", answer["global"])
		}
		if answer := s.do(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":true}`, 200); global(answer) != true || s.who(t, "") != "api_key_required" {
			t.Errorf("then it is %v, and nobody gets %s", answer, s.who(t, ""))
		}
		client := s.do(t, "PUT", "/admin/api-key-clients/legacy", `{"enforce_api_keys":false}`, 200)["client"].(map[string]any)
		if client["client_name"] != "legacy" || client["enforce_api_keys"] != false || s.keys.Enforced("legacy") || !s.keys.Enforced("other") {
			t.Errorf("the client is %v", client)
		}
		s.do(t, "PUT", "/admin/api-key-clients/a.b", `{"enforce_api_keys":true}`, 200)
		s.do(t, "PUT", "/admin/api-key-clients/a.b", `{"enforce_api_keys":false}`, 200)
		list := s.do(t, "GET", "/admin/api-key-clients?limit=1&offset=1", "", 200)
		if clients := list["clients"].([]any); len(clients) != 1 || cmp.Diff(client, clients[0]) != "" || list["total"] != 2.0 {
			t.Errorf("the second page is %v", list)
		}
		if got := s.do(t, "DELETE", "/admin/api-key-clients/legacy", "", 200); got["client_name"] != "legacy" || !s.keys.Enforced("legacy") {
			t.Errorf("after %v it asks: %v", got, s.keys.Enforced("legacy"))
		}
		s.do(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys":false}`, 200)
		want := []string{"set_api_key_config api_key_config some -> some", "set_api_key_client api_key_client_config/legacy none -> some",
			"set_api_key_client api_key_client_config/a.b none -> some", "set_api_key_client api_key_client_config/a.b some -> some",
			"delete_api_key_client api_key_client_config/legacy some -> none", "set_api_key_config"}
		if got := s.audits(t); !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("the audit has %v", got)
		}
	})
}

// TestPluginAudit: what an operator does to plugins is in the audit too.
func TestPluginAudit(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		s := serveKeys(t, l)
		s.call(t, "POST", "/admin/plugins/reload", "")
		s.call(t, "POST", "/admin/plugins/no%00ne/restart", "")
		s.call(t, "POST", "/db/admin/plugins/non%65/restart", "")
		want := []string{"reload_plugins /admin/plugins/reload none -> some", "restart_plugin /admin/plugins/:name/restart none -> some",
			"restart_plugin /admin/plugins/none/restart none -> some"}
		if got := s.audits(t); !slices.Equal(got, want) {
			t.Errorf("the audit has %v", got)
		}
	})
}

// TestKeysWithoutLedger: while the ledger is away the routes say so.
func TestKeysWithoutLedger(t *testing.T) {
	s := serveKeys(t, ledgertest.Open(t, "postgres://nobody@127.0.0.1:1/none"))
	for _, route := range New(Options{}).Routes() {
		if !strings.HasPrefix(route.Path, "/admin/api-key") {
			continue
		}
		path := strings.NewReplacer(":id", "01890000-0000-7000-8000-000000000000", ":client_name", "a").Replace(route.Path)
		body := `{"name":"a","enforce_api_keys":true}`
		if route.Method == "GET" || route.Method == "DELETE" {
			body = ""
		}
		if status, text := s.call(t, route.Method, path, body); status != 503 || !strings.Contains(text, `"ledger_unavailable"`) {
			t.Errorf("%s %s: %d %s", route.Method, path, status, text)
		}
	}
	if got := s.who(t, ""); got != "ledger_unavailable" {
		t.Errorf("nobody gets %s", got)
	}
}
