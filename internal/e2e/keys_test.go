//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/athena-gateway/athena/internal/testenv"
)

// apiKey makes a key by the routes and returns it with its id.
func (g *gateway) apiKey(t *testing.T, body string) (key, id string) {
	t.Helper()
	a := g.ask(t, request{method: "POST", path: "/admin/api-keys", body: body, header: []string{"X-Athena-Key", adminKey}})
	a.is(t, 201, `{"status": "success"}`)
	key, _ = a.value(t, "api_key").(string)
	id, _ = a.value(t, "record", "id").(string)
	if key == "" || id == "" {
		t.Fatalf("%s", a.body)
	}
	return key, id
}

func (g *gateway) operate(t *testing.T, method, path, body string) *reply {
	t.Helper()
	a := g.ask(t, request{method: method, path: path, body: body, header: []string{"X-Athena-Key", adminKey}})
	if a.status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// operations are one request per kind of operation, with the right that it takes. Each
// succeeds on the table of itemsToRead however often.
var operations = []struct {
	name, method, path, body string
	rights                   []string
}{
	{"fetch", "POST", "/gateway/fetch", `{"table_name": "items"}`, []string{"fetch"}},
	{"data", "GET", "/data?view=items", ``, []string{"fetch"}},
	{"count of a table", "POST", "/query/count", `{"table_name": "items"}`, []string{"fetch"}},
	{"count of a query", "POST", "/query/count", `{"query": "select count(*) from items"}`, []string{"query"}},
	{"insert", "PUT", "/gateway/insert", `{"table_name": "items", "insert_body": {"name": "new"}}`, []string{"insert"}},
	{"upsert", "PUT", "/gateway/insert", `{"table_name": "items", "insert_body": {"id": 900, "name": "new"}, "on_conflict": "id", "update_body": {"name": "x"}}`, []string{"insert", "update"}},
	{"update", "POST", "/gateway/update", `{"table_name": "items", "update_body": {"name": "x"}, "conditions": [{"eq_column": "id", "eq_value": 1}]}`, []string{"update"}},
	{"delete", "DELETE", "/gateway/delete", `{"table_name": "items", "conditions": [{"eq_column": "id", "eq_value": 901}]}`, []string{"delete"}},
	{"query", "POST", "/gateway/query", `{"query": "select 1"}`, []string{"query"}},
	{"sql", "POST", "/gateway/sql", `{"query": "select 1"}`, []string{"query"}},
	{"query/sql", "POST", "/db/query/sql", `{"query": "select 1"}`, []string{"query"}},
}

// TestAPIKeys: what a key may do on a running gateway, with its ledger, from its making to its
// end, and where its secret must not be.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	const items = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'one')"
	shop, _ := makeSQLite(t, items)
	bank, _ := makeSQLite(t, items)
	config := fmt.Sprintf("log: {level: debug}\nclients: {shop: {backend: sqlite, config: {path: %q}}, bank: {backend: sqlite, config: {path: %q}}}", shop, bank)
	g := start(t, config, "ATHENA_KEY_12="+adminKey)
	use := func(g *gateway, i int, client, key string) *reply {
		t.Helper()
		op := operations[i]
		r := request{method: op.method, path: op.path, body: op.body, client: client}
		if key != "" {
			r.header = []string{"apikey", key}
		}
		return g.ask(t, r)
	}
	keys := map[string]string{}
	all := []string{"fetch", "insert", "update", "delete", "query"}
	for _, right := range all {
		keys[right], _ = g.apiKey(t, fmt.Sprintf(`{"name": %q, "rights": ["gateway.%s.execute"]}`, right, right))
	}
	keys["both"], _ = g.apiKey(t, `{"name": "both", "client_name": "shop", "rights": ["gateway.insert.execute", "gateway.update.execute"]}`)

	// Nobody asks for keys: nobody is refused, a key is held to what it may.
	for _, enforced := range []bool{false, true} { // and so it stays
		nobody := map[bool]int{false: 200, true: 401}[enforced]
		g.operate(t, "PUT", "/admin/api-key-config", fmt.Sprintf(`{"enforce_api_keys": %v}`, enforced))
		for i, op := range operations {
			if a := use(g, i, "shop", ""); a.status != nobody {
				t.Errorf("%s by nobody, enforced %v: %d %s", op.name, enforced, a.status, a.body)
			}
			for _, right := range all {
				a := use(g, i, "shop", keys[right])
				if may := len(op.rights) == 1 && op.rights[0] == right; may && a.status != 200 {
					t.Errorf("%s with %s: %d %s", op.name, right, a.status, a.body)
				} else if !may {
					a.is(t, 403, `{"code": "right_required"}`)
				}
			}
		}
	}
	upsert := 5
	if a := use(g, upsert, "", keys["both"]); a.status != 200 { // the key's own client
		t.Errorf("the upsert answers %d %s", a.status, a.body)
	}
	use(g, upsert, "bank", keys["both"]).is(t, 403, `{"code": "client_not_allowed"}`)
	use(g, upsert, "no-such-client", keys["both"]).is(t, 403, `{"code": "client_not_allowed"}`)
	use(g, 0, "no-such-client", "").is(t, 401, `{"code": "api_key_required"}`)
	use(g, 0, "no-such-client", keys["fetch"]).is(t, 400, `{"code": "unknown_client"}`)
	use(g, 0, "", keys["fetch"]).is(t, 400, `{"code": "missing_client_header"}`)
	use(g, 0, "bank", adminKey).is(t, 200, `{"status": "success"}`)
	use(g, 0, "bank", "ath_pub.secret").is(t, 401, `{"code": "invalid_api_key"}`)
	g.ask(t, request{method: "GET", path: "/data?view=items&api_key=" + keys["fetch"], client: "bank"}).is(t, 200, `{"status": "success"}`)
	g.ask(t, request{method: "GET", path: "/data?view=items&api_key=" + strings.Repeat("x", 64), client: "bank"}).is(t, 401, `{"code": "invalid_api_key"}`)
	g.operate(t, "PUT", "/admin/api-key-clients/bank", `{"enforce_api_keys": false}`)
	use(g, 0, "bank", "").is(t, 200, `{"status": "success"}`)
	use(g, 0, "bank", "ath_pub.secret").is(t, 200, `{"status": "success"}`)
	use(g, 0, "shop", "").is(t, 401, `{"code": "api_key_required"}`)
	g.ask(t, request{method: "GET", path: "/ping"}).status200(t)

	// A restart changes nothing.
	gone, id := g.apiKey(t, `{"name": "gone", "rights": ["gateway.fetch.execute"]}`)
	g.operate(t, "DELETE", "/admin/api-keys/"+id, "")
	metrics := string(g.ask(t, request{method: "GET", path: "/metrics"}).body)
	contains(t, "/metrics", metrics, `athena_auth_refused_total{reason="right_required"}`, `athena_auth_refused_total{reason="client_not_allowed"} 2`)
	g.stop(t)
	again := relaunch(t, g, "ATHENA_KEY_12="+adminKey)
	use(again, 0, "shop", "").is(t, 401, `{"code": "api_key_required"}`)
	use(again, 0, "bank", "").is(t, 200, `{"status": "success"}`)
	use(again, 0, "shop", keys["fetch"]).is(t, 200, `{"status": "success"}`)
	use(again, 0, "shop", gone).is(t, 401, `{"code": "invalid_api_key"}`)
	log := again.operate(t, "GET", "/admin/operations?limit=500", "").body
	audit := again.operate(t, "GET", "/admin/audit?limit=500", "").body
	contains(t, "the audit", string(audit), "create_api_key", "set_api_key_config", "set_api_key_client", "delete_api_key")
	again.stop(t)

	told := map[string]string{"the log": g.stderr.String() + again.stderr.String(), "stdout": g.stdout.String() + again.stdout.String(),
		"/metrics": metrics, "/admin/operations": string(log), "/admin/audit": string(audit)}
	files, err := filepath.Glob(filepath.Join(g.dir, "data", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the ledger's files are %v (%v)", files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		told[path] = string(text)
	}
	for name, key := range keys {
		public, secret, _ := strings.Cut(strings.TrimPrefix(key, "ath_"), ".")
		if !strings.Contains(told[filepath.Join(g.dir, "data", "athena.db")], public) {
			t.Errorf("the ledger does not know %s", name)
		}
		for what, text := range told {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells the secret of %s", what, name)
			}
			if strings.Contains(text, adminKey) {
				t.Errorf("%s tells the admin key", what)
			}
		}
	}
}

func (a *reply) status200(t *testing.T) {
	t.Helper()
	if a.status != 200 {
		t.Errorf("answered %d: %s", a.status, a.body)
	}
}

// relaunch starts a gateway in the folder of one that has ended.
func relaunch(t *testing.T, old *gateway, env ...string) *gateway {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(old.dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return start(t, string(config), append(env, "ATHENA_LEDGER_URI=sqlite://"+filepath.Join(old.dir, "data", "athena.db"))...)
}

// TestEnforcedByConfig: a gateway that asks everybody may listen for other machines, and its
// ledger cannot open it.
func TestEnforcedByConfig(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsToRead)
	config := fmt.Sprintf("clients: {db: {backend: sqlite, config: {path: %q}}}", path)
	refused := launch(t, config, []string{"ATHENA_HOST=0.0.0.0"}, "server")
	if code := refused.wait(t); code != 2 {
		t.Errorf("exit code %d", code)
	}
	contains(t, "the message", refused.stderr.String(), "api.enforce_api_keys: true")

	g := start(t, config, "ATHENA_HOST=0.0.0.0", "ATHENA_API__ENFORCE_API_KEYS=true", "ATHENA_KEY_12="+adminKey)
	g.url = strings.Replace(g.url, "0.0.0.0", "127.0.0.1", 1)
	g.url = strings.Replace(g.url, "[::]", "127.0.0.1", 1)
	a := g.operate(t, "PUT", "/admin/api-key-config", `{"enforce_api_keys": false}`)
	a.is(t, 200, `{"forced": true}`)
	g.operate(t, "PUT", "/admin/api-key-clients/db", `{"enforce_api_keys": false}`)
	fetch := request{method: "POST", path: "/gateway/fetch", client: "db", body: `{"table_name": "items"}`}
	g.ask(t, fetch).is(t, 401, `{"code": "api_key_required"}`)
	key, _ := g.apiKey(t, `{"name": "k", "client_name": "db", "rights": ["gateway.fetch.execute"]}`)
	fetch.header = []string{"Authorization", "Bearer " + key, "Origin", "https://app.example"}
	g.ask(t, fetch).is(t, 200, `{"status": "success"}`)
	wide, _ := g.apiKey(t, `{"name": "wide"}`)
	for who, names := range map[string]bool{"": false, "dummy": false, key: false, wide: true, adminKey: true} {
		r := request{method: "GET", path: "/health"}
		if who != "" {
			r.header = []string{"X-API-Key", who}
		}
		a := g.ask(t, r)
		a.is(t, 200, `{"status": "ok"}`)
		if strings.Contains(string(a.body), `"db"`) != names {
			t.Errorf("to %.12q /health says %s", who, a.body)
		}
	}
}

// TestPublicRouteKeys: a public route may be open though keys are asked for, ask for one
// though nobody else does, and has a right of its own.
func TestPublicRouteKeys(t *testing.T) {
	t.Parallel()
	path, _ := makeSQLite(t, itemsToRead)
	g := start(t, fmt.Sprintf("clients: {db: {backend: sqlite, config: {path: %q}}}", path), "ATHENA_KEY_12="+adminKey)
	for name, asks := range map[string]string{"open": "false", "keyed": "true", "plain": "null"} {
		g.operate(t, "POST", "/admin/public-routes", fmt.Sprintf(`{"route_key": %q, "client_name": "db", "table_name": "items", "operation": "fetch", "require_key": %s}`, name, asks))
		g.operate(t, "POST", "/admin/api-key-rights", fmt.Sprintf(`{"name": "public.%s.execute"}`, name))
	}
	gateway, _ := g.apiKey(t, `{"name": "gateway", "rights": ["gateway.fetch.execute"]}`)
	own, _ := g.apiKey(t, `{"name": "own", "rights": ["public.keyed.execute"]}`)
	other, _ := g.apiKey(t, `{"name": "other", "client_name": "elsewhere", "rights": ["public.keyed.execute", "gateway.fetch.execute"]}`)
	none, _ := g.apiKey(t, `{"name": "none"}`)
	for _, enforced := range []bool{false, true} {
		g.operate(t, "PUT", "/admin/api-key-config", fmt.Sprintf(`{"enforce_api_keys": %v}`, enforced))
		keyed, plain := 404, 200 // for nobody
		if enforced {
			keyed, plain = 401, 401
		}
		for _, test := range []struct {
			key                string
			open, keyed, plain int
		}{
			{"", 200, keyed, plain},
			{"dummy", 200, keyed, plain},
			{gateway, 200, 200, 200},
			{own, 200, 200, 404},
			{other, 200, 404, 404},
			{none, 200, 404, 404},
		} {
			for name, want := range map[string]int{"open": test.open, "keyed": test.keyed, "plain": test.plain} {
				r := request{method: "POST", path: "/public/" + name + "/fetch", body: `{}`}
				if test.key != "" {
					r.header = []string{"x-api-key", test.key}
				}
				if a := g.ask(t, r); a.status != want {
					t.Errorf("%s with %.12s, enforced %v: %d, want %d: %s", name, test.key, enforced, a.status, want, a.body)
				}
			}
		}
	}
	g.ask(t, request{method: "POST", path: "/gateway/fetch", client: "db", body: `{"table_name": "items"}`, header: []string{"apikey", own}}).is(t, 403, `{"code": "right_required"}`)
}

// TestAdminKeyFile: a first start writes a key that only its owner can read, and shows it at a
// terminal alone.
func TestAdminKeyFile(t *testing.T) {
	t.Parallel()
	g := start(t, "clients: {}", "ATHENA_API__ADMIN_KEY_FILE=data/admin.key")
	path := filepath.Join(g.dir, "data", "admin.key")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := string(bytes.TrimSpace(text))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || len(key) != 64 {
		t.Errorf("%v, %v, %d characters", info.Mode(), err, len(key))
	}
	g.ask(t, request{method: "GET", path: "/admin/plugins", header: []string{"apikey", key}}).is(t, 200, `{"status": "success"}`)
	g.ask(t, request{method: "GET", path: "/admin/plugins", header: []string{"apikey", key[1:]}}).is(t, 401, `{"code": "invalid_admin_key"}`)
	eventually(t, 10*time.Second, "the file is told of", func() bool { return strings.Contains(g.stdout.String(), path) })
	g.stop(t)
	if strings.Contains(g.stdout.String()+g.stderr.String(), key) {
		t.Error("the key is told where nobody may be looking")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	open := launch(t, "clients: {}", []string{"ATHENA_API__ADMIN_KEY_FILE=" + path}, "server")
	if code := open.wait(t); code != 2 {
		t.Errorf("exit code %d", code)
	}
	contains(t, "the message", open.stderr.String(), "chmod 600", path)

	first := terminalOutput(t, "The key to the operators' routes is in ", "It is new: ")
	contains(t, "the terminal", first, "data/admin.key")
}

// terminalOutput starts a gateway at a terminal of its own until that shows all of want.
func terminalOutput(t *testing.T, want ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte("api: {admin_key_file: data/admin.key}\nclients: {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(athena(t), "server", "--config", config)
	cmd.Dir, cmd.Stdout = dir, slave
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + tempDir, "ATHENA_PORT=0", "ATHENA_PLUGINS_DIR=" + testenv.BuildPlugins(t)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	defer func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	}()
	var shown testenv.Output
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			_, _ = shown.Write(buffer[:n])
			if err != nil { // the other end is closed
				return
			}
		}
	}()
	eventually(t, 30*time.Second, "the terminal shows it", func() bool {
		for _, part := range want {
			if !strings.Contains(shown.String(), part) {
				return false
			}
		}
		return true
	})
	text, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	if err != nil || !strings.Contains(shown.String(), string(bytes.TrimSpace(text))) {
		t.Errorf("the terminal shows %s (%v)", shown.String(), err)
	}
	return shown.String()
}

// TestRecordedKeyRequests: the answers have the members where real clients look for them.
func TestRecordedKeyRequests(t *testing.T) {
	t.Parallel()
	g := start(t, "clients: {}", "ATHENA_KEY_12="+adminKey)
	g.apiKey(t, `{"name":"x"}`)
	header := []string{"X-Athena-Client", "reporting", "apikey", adminKey, "x-api-key", adminKey, "accept-language", "*", "sec-fetch-mode", "cors"}
	for path, members := range map[string][]string{
		"/admin/api-keys": {"api_keys"}, "/admin/api-key-rights": {"rights"}, "/admin/api-key-config": {"global", "clients"}, "/admin/api-key-clients": {"clients"},
		"/admin/rights/catalog": {"rights"},
	} {
		a := g.ask(t, request{method: "GET", path: path, header: header})
		for _, member := range members {
			top, err := json.Marshal(a.value(t, member))
			if err != nil {
				t.Fatal(err)
			}
			inside, err := json.Marshal(a.value(t, "data", member))
			if err != nil {
				t.Fatal(err)
			}
			if a.status != 200 || string(top) == "null" || !bytes.Equal(top, inside) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	}
}
