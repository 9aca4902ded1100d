//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
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

// TestPluginKilledUnderLoad kills the plugin again and again: no read may fail, and what
// is said of a write must be true.
func TestPluginKilledUnderLoad(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		uri := testenv.Database(t, itemsToRead, emptyWritten)
		g := start(t, fmt.Sprintf("clients: {db: {backend: postgres, config: {uri: %q}}}", uri))
		db := openPostgres(t, uri)
		g.killUnderLoad(t, "postgres", db, func() bool { return db.busy(t) == "0" })
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path, db := makeSQLite(t, itemsToRead+";"+emptyWritten)
		g := start(t, fmt.Sprintf("clients: {db: {backend: sqlite, config: {path: %q}}}", path))
		g.killUnderLoad(t, "sqlite", db, func() bool { return true })
	})
}

// killUnderLoad reads and writes by the client db while it kills the plugin. idle says
// that nothing of a dead plugin works in the database any more.
func (g *gateway) killUnderLoad(t *testing.T, plugin string, db database, idle func() bool) {
	const readers, writers, kills = 16, 4, 5
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
	for range kills {
		var born time.Time
		eventually(t, 20*time.Second, "a new plugin process", func() bool {
			p, ok := g.plugin(plugin)
			if ok && p != last {
				last, born = p, time.Now()
			}
			return !born.IsZero()
		})
		before := reads.Load()
		// One that dies younger has to wait before it is started again.
		eventually(t, 20*time.Second, "reads by a plugin of some age", func() bool {
			return time.Since(born) > 1100*time.Millisecond && reads.Load() > before+100
		})
		if err := syscall.Kill(last.pid, syscall.SIGKILL); err != nil {
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
