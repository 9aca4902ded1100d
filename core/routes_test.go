package core

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/core/config"
	"github.com/athena-gateway/athena/core/httpx"
)

// open starts a gateway without clients.
func open(t *testing.T, adminKey config.Secret, dir string) *server {
	t.Helper()
	return serve(t, &config.Config{API: config.API{Host: "127.0.0.1", AdminKey: adminKey}, Plugins: config.Plugins{Dir: dir, Verify: "dev"},
		Ledger: config.Ledger{OperationLog: true}})
}

// TestOperatorsRoutes walks the whole route table: no route of the guard Admin answers
// without the key, and no route below /admin has another guard.
func TestOperatorsRoutes(t *testing.T) {
	const key = "0123456789abcdef"
	for _, test := range []struct {
		set  config.Secret
		sent string
		code string
	}{
		{"", "", "admin_disabled"},
		{"", key, "admin_disabled"},
		{key, "", "admin_key_required"},
		{key, key + "x", "invalid_admin_key"},
	} {
		s := open(t, test.set, t.TempDir())
		found := 0
		for _, route := range s.routes {
			below := strings.HasPrefix(route.Path+"/", "/admin/") ||
				route.Path == "/clients" || route.Path == "/schema/clients" || route.Path == "/debug/schema"
			if below != (route.Guard == httpx.Admin) {
				t.Errorf("%s %s has the guard %s", route.Method, route.Path, route.Guard)
			}
			if route.Guard != httpx.Admin {
				continue
			}
			found++
			methods := []string{route.Method}
			if route.Method == "GET" {
				methods = append(methods, "HEAD")
			}
			for _, method := range methods {
				for _, path := range []string{route.Path, "/db" + route.Path, route.Path + "/"} {
					request, err := http.NewRequest(method, s.url+strings.ReplaceAll(path, ":name", "sqlite"), strings.NewReader("{}"))
					if err != nil {
						t.Fatal(err)
					}
					if test.sent != "" {
						request.Header.Set("X-Athena-Key", test.sent)
					}
					response, err := http.DefaultClient.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(response.Body)
					response.Body.Close()
					var said struct{ Code string }
					if err == nil && method != "HEAD" {
						err = json.Unmarshal(body, &said)
					}
					if said.Code == "too_many_attempts" && test.code == "invalid_admin_key" { // after ten of them
						said.Code = test.code
					}
					if err != nil || response.StatusCode/100 != 4 || method != "HEAD" && said.Code != test.code {
						t.Errorf("%s %s with the key %q, while %q is set, answers %d %s (%v); want %s", method, path, test.sent, string(test.set), response.StatusCode, body, err, test.code)
					}
				}
			}
		}
		if found < 20 {
			t.Errorf("only %d routes ask for the admin key", found)
		}
	}
}
