//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
)

// Tables for load, in SQL that both databases know.
const (
	itemsToRead = `CREATE TABLE items (id integer PRIMARY KEY, name text NOT NULL);
		INSERT INTO items WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i, 'item ' || i FROM n`
	emptyWritten = `CREATE TABLE written (token text NOT NULL)`
)

// outcome is what the gateway said of a write.
type outcome string

const (
	acknowledged outcome = "acknowledged"
	unknown      outcome = "outcome unknown"
	notExecuted  outcome = "not executed"
)

// write inserts a token and returns what the gateway says of it.
func (g *gateway) write(client, token string) (outcome, error) {
	a, err := g.send(request{method: "PUT", path: "/gateway/insert", client: client,
		body: fmt.Sprintf(`{"table_name": "written", "insert_body": {"token": %q}, "columns": "token"}`, token)})
	if err != nil {
		return "", err
	}
	var said struct {
		Status, Code string
		Data         struct{ Token, Executed string }
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		return "", fmt.Errorf("%w: %s", err, a.body)
	}
	switch {
	case a.status == 200 && said.Status == "success" && said.Data.Token == token:
		return acknowledged, nil
	case a.status == 502 && said.Code == "outcome_unknown" && said.Data.Executed == "unknown":
		return unknown, nil
	case a.status == 503 && said.Data.Executed == "no":
		return notExecuted, nil
	default:
		return "", fmt.Errorf("answered %d: %s", a.status, a.body)
	}
}

// TestPluginUnderLoad kills, freezes and replaces the plugin again and again: no read may
// fail, and what is said of a write must be true.
func TestPluginUnderLoad(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		uri := testenv.Database(t, itemsToRead, emptyWritten)
		dir := copyPlugins(t)
		g := start(t, fmt.Sprintf("clients: {db: {backend: postgres, config: {uri: %q}}}", uri), "ATHENA_PLUGINS_DIR="+dir)
		db := openPostgres(t, uri)
		var disturbances []disturbance
		for n := range 3 * disturbRounds {
			disturbances = append(disturbances, []disturbance{killPlugin, freezePlugin, replacePlugin}[n%3])
		}
		rand.Shuffle(len(disturbances), func(i, j int) { disturbances[i], disturbances[j] = disturbances[j], disturbances[i] })
		g.underLoad(t, "postgres", dir, 32, 8, db, func() bool { return db.busy(t) == "0" }, disturbances)
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path, db := makeSQLite(t, itemsToRead+";"+emptyWritten)
		dir := copyPlugins(t)
		g := start(t, fmt.Sprintf("clients: {db: {backend: sqlite, config: {path: %q}}}", path), "ATHENA_PLUGINS_DIR="+dir)
		g.underLoad(t, "sqlite", dir, 16, 4, db, func() bool { return true }, []disturbance{killPlugin, replacePlugin, killPlugin})
	})
}

// disturbance is something that happens to a plugin's process p, whose file is at path.
type disturbance struct {
	name string
	do   func(p process, path string) error
}

var (
	killPlugin    = disturbance{"kill", func(p process, _ string) error { return syscall.Kill(p.pid, syscall.SIGKILL) }}
	freezePlugin  = disturbance{"freeze", func(p process, _ string) error { return syscall.Kill(p.pid, syscall.SIGSTOP) }}
	replacePlugin = disturbance{"replace", func(_ process, path string) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// What follows a program does not change it.
		if err := os.WriteFile(path+".new.md", append(text, 0), 0o755); err != nil {
			return err
		}
		return os.Rename(path+".new.md", path)
	}}
)

// underLoad reads and writes by the client db while it disturbs the plugin. idle says that
// nothing of a dead plugin works in the database any more.
func (g *gateway) underLoad(t *testing.T, plugin, dir string, readers, writers int, db database, idle func() bool, disturbances []disturbance) {
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var reads atomic.Int64
	var clients sync.WaitGroup
	for n := range readers {
		clients.Go(func() {
			for i := n; !stopped(); i++ {
				id := i%500 + 1
				r := request{method: "POST", path: "/gateway/fetch", client: "db",
					body: fmt.Sprintf(`{"table_name": "items", "columns": "name", "conditions": [{"column": "id", "operator": "eq", "value": %d}]}`, id)}
				a, err := g.send(r)
				if err != nil {
					t.Errorf("a read failed: %v", err)
					return
				}
				var got struct{ Data []struct{ Name string } }
				if err := json.Unmarshal(a.body, &got); a.status != 200 || err != nil || len(got.Data) != 1 || got.Data[0].Name != fmt.Sprintf("item %d", id) {
					t.Errorf("a read was answered %d: %s", a.status, a.body)
					return
				}
				reads.Add(1)
			}
		})
	}
	outcomes := make([]map[string]outcome, writers)
	for n := range writers {
		outcomes[n] = map[string]outcome{}
		clients.Go(func() {
			for i := 0; !stopped(); i++ {
				token := fmt.Sprintf("%d-%d", n, i)
				said, err := g.write("db", token)
				if err != nil {
					t.Errorf("a write failed: %v", err)
					return
				}
				outcomes[n][token] = said
			}
		})
	}

	var last process
	for _, disturbance := range disturbances {
		eventually(t, 20*time.Second, "a new plugin process", func() bool {
			// A replaced process may still be there, and ends soon.
			p, ok := g.plugin(plugin)
			ok = ok && p != last && len(g.plugins()) == 1
			if ok {
				last = p
			}
			return ok
		})
		before := reads.Load()
		born := time.Now()
		// One that dies younger has to wait before it is started again.
		wait := 1100*time.Millisecond + rand.N(500*time.Millisecond)
		eventually(t, 20*time.Second, "reads by a plugin of some age", func() bool {
			return time.Since(born) > wait && reads.Load() > before+100
		})
		if err := disturbance.do(last, filepath.Join(dir, plugin)); err != nil {
			t.Fatal(err)
		}
	}
	before := reads.Load()
	eventually(t, 20*time.Second, "reads after the last crash", func() bool { return reads.Load() > before+100 })
	close(stop)
	clients.Wait()
	eventually(t, 20*time.Second, "the database is idle", idle)
	t.Logf("%d reads, writes: %v", reads.Load(), compare(t, db, outcomes))
}

// compare holds what was said of each write against the database, and counts.
func compare(t *testing.T, db database, outcomes []map[string]outcome) map[outcome]int {
	t.Helper()
	present := map[string]int{}
	for _, entry := range strings.Fields(db.text(t, `SELECT string_agg(token || '=' || n, ' ')
		FROM (SELECT token, count(*) AS n FROM written GROUP BY token) t`)) {
		token, n, _ := strings.Cut(entry, "=")
		present[token], _ = strconv.Atoi(n)
	}
	counts := map[outcome]int{}
	for _, said := range outcomes {
		for token, outcome := range said {
			counts[outcome]++
			n := present[token]
			delete(present, token)
			if n > 1 || outcome == acknowledged && n == 0 || outcome == notExecuted && n > 0 {
				t.Errorf("the write %s (%s) is there %d times", token, outcome, n)
			}
		}
	}
	if len(present) > 0 {
		t.Errorf("%d writes are there that nobody made: %v", len(present), present)
	}
	if counts[acknowledged] == 0 {
		t.Error("no write was acknowledged")
	}
	return counts
}

// TestCoreKilled kills the gateway under load: no plugin may outlive it.
func TestCoreKilled(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t)
	path, _ := makeSQLite(t, "CREATE TABLE items (id INTEGER PRIMARY KEY)")
	g := start(t, fmt.Sprintf("clients: {db: {backend: postgres, config: {uri: %q}}, lite: {backend: sqlite, config: {path: %q}}}", uri, path))
	db := openPostgres(t, uri)
	g.query(t, "lite", "SELECT 1 AS one").is(t, 200, `{"data": [{"one": 1}]}`)
	answered := make(chan error, 4)
	for range cap(answered) {
		go func() {
			_, err := g.send(sqlRequest("db", "SELECT pg_sleep(100)"))
			answered <- err
		}()
	}
	eventually(t, 10*time.Second, "calls are under way", func() bool { return db.busy(t) == "4" })
	plugins := g.plugins()
	if len(plugins) != 2 || !plugins[0].alive() || !plugins[1].alive() {
		t.Fatalf("plugins: %v", plugins)
	}
	if err := g.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, 2*time.Second, "the plugins are gone", func() bool {
		return !plugins[0].alive() && !plugins[1].alive()
	})
	t.Logf("plugins gone within %s", took)
	for range cap(answered) {
		if err := <-answered; err == nil {
			t.Error("a killed gateway has answered")
		}
	}
	<-g.exited

	// The next gateway sweeps away what the killed one has left.
	next := start(t, fmt.Sprintf("clients: {lite: {backend: sqlite, config: {path: %q}}}", path))
	next.query(t, "lite", "SELECT 1 AS one").is(t, 200, `{"data": [{"one": 1}]}`)
	if left := g.runDirs(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
