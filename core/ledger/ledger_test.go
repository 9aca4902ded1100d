package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // they wait more than they compute
	goleak.VerifyTestMain(m)
}

// exec changes the ledger outside of any subject.
func exec(t testing.TB, l *ledger.Ledger, query string, args ...any) {
	t.Helper()
	if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func number(t testing.TB, l *ledger.Ledger, query string, args ...any) (n int64) {
	t.Helper()
	if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, query, args...).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

// TestOpenTogether opens one ledger from many gateways at once.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				l := ledgertest.Open(t, uri)
				if s := l.Status(); s.State != "ready" {
					t.Errorf("status %+v", s)
				}
			})
		}
		all.Wait()
	})
}

// TestValues holds both databases to the same values.
func TestValues(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		at := time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
		exec(t, l, `INSERT INTO athena_clients (id, client_name, description, is_frozen, metadata, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
			"0198c0de-0000-7000-8000-000000000001", "a", nil, true, `{"k":[1,"ü"]}`, at)
		if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
			var id, name string
			var description sql.NullString
			var frozen bool
			var metadata []byte
			var created time.Time
			var deleted sql.NullTime
			if err := c.QueryRowContext(ctx, `SELECT id, client_name, description, is_frozen, metadata, created_at, deleted_at FROM athena_clients WHERE created_at >= $1`, at).
				Scan(&id, &name, &description, &frozen, &metadata, &created, &deleted); err != nil {
				return err
			}
			if id != "0198c0de-0000-7000-8000-000000000001" || name != "a" || description.Valid || !frozen || !created.Equal(at) || deleted.Valid {
				t.Error(id, name, description, frozen, string(metadata), created, deleted)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, l, `SELECT count(*) FROM athena_clients WHERE created_at > $1`, at.Add(time.Microsecond)); n != 0 {
			t.Error("times do not compare")
		}
	})
}

// TestErrors holds the classes of errors.
func TestErrors(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		add := func() error {
			return l.Change(t.Context(), "", &ledger.Audit{Action: "test"}, func(ctx context.Context, c *sql.Conn) error {
				_, err := c.ExecContext(ctx, `INSERT INTO client_statistics (client_name, updated_at) VALUES ('a', $1)`, time.Now().UTC())
				return err
			})
		}
		if err := add(); err != nil {
			t.Fatal(err)
		}
		if e := sdk.AsError(add()); e.Kind != sdk.Conflict || e.Reason != "already_exists" {
			t.Error(e)
		}
		if n := number(t, l, "SELECT count(*) FROM admin_audit_log"); n != 1 {
			t.Errorf("%d audit rows, want that of the change that was made", n)
		}
		own := sdk.E(sdk.NotFound, "unknown_thing", "there is none")
		if err := l.Read(t.Context(), func(context.Context, *sql.Conn) error { return own }); err != own {
			t.Error(err)
		}
		wrong := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, "SELECT nonsense")
			return err
		})
		if e := sdk.AsError(wrong); e.Kind != sdk.Internal {
			t.Error(e)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if e := sdk.AsError(l.Read(ctx, func(context.Context, *sql.Conn) error { return nil })); e.Kind != sdk.Canceled {
			t.Error(e)
		}
	})
}

// TestChangeReachesEverybody changes a subject through one gateway and waits for another.
func TestChangeReachesEverybody(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		a, b := ledgertest.Open(t, uri), ledgertest.Open(t, uri)
		var here, there atomic.Int64
		follow := func(l *ledger.Ledger, into *atomic.Int64) {
			l.Follow(ledger.Clients, func(ctx context.Context, c *sql.Conn) error {
				var n int64
				err := c.QueryRowContext(ctx, "SELECT count(*) FROM client_configs").Scan(&n)
				into.Store(n)
				return err
			})
		}
		follow(a, &here)
		follow(b, &there)
		if !a.Loaded(ledger.Clients) || !b.Loaded(ledger.Clients) {
			t.Fatal("a ready ledger loads at once")
		}
		for i := range int64(3) {
			if err := a.Change(t.Context(), ledger.Clients, &ledger.Audit{Actor: "me", Action: "add"}, func(ctx context.Context, c *sql.Conn) error {
				_, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, created_at, updated_at) VALUES ($1, $2, $2)`, fmt.Sprint(i), time.Now().UTC())
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if here.Load() != i+1 {
				t.Fatalf("%d in memory after change %d", here.Load(), i)
			}
			if i > 0 { // one change is left to be found
				b.Wake()
			}
			eventually(t, "the other gateway follows", func() bool { return there.Load() == i+1 })
		}
	})
}

// TestChangeThatCannotBeLoaded is stored, and its caller is told that it is not in use here
// yet; the load is tried again.
func TestChangeThatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		var broken atomic.Bool
		var here atomic.Int64
		l.Follow(ledger.Clients, func(ctx context.Context, c *sql.Conn) error {
			if broken.Load() {
				return errors.New("no")
			}
			var n int64
			err := c.QueryRowContext(ctx, "SELECT count(*) FROM client_configs").Scan(&n)
			here.Store(n)
			return err
		})
		broken.Store(true)
		e := sdk.AsError(l.Change(t.Context(), ledger.Clients, &ledger.Audit{}, func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, created_at, updated_at) VALUES ('x', $1, $1)`, time.Now().UTC())
			return err
		}))
		if e == nil || e.Kind != sdk.Unavailable || e.Reason != "ledger_unavailable" || e.Executed != sdk.ExecutedYes || here.Load() != 0 {
			t.Fatalf("%+v, %d in memory", e, here.Load())
		}
		if n := number(t, l, "SELECT count(*) FROM client_configs"); n != 1 {
			t.Errorf("%d rows are stored", n)
		}
		broken.Store(false)
		eventually(t, "it is loaded", func() bool { return here.Load() == 1 })
	})
}

// TestLoadSeesOneState: what changes during a load is not half in it.
func TestLoadSeesOneState(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		var once sync.Once
		l.Follow(ledger.Keys, func(ctx context.Context, c *sql.Conn) (err error) {
			once.Do(func() {
				exec(t, l, `INSERT INTO client_statistics (client_name, updated_at) VALUES ('a', $1)`, time.Now().UTC())
				var n int64
				if err = c.QueryRowContext(ctx, "SELECT count(*) FROM client_statistics").Scan(&n); n != 0 {
					t.Errorf("the load sees %d rows that came after its version", n)
				}
			})
			return err
		})
		if !l.Loaded(ledger.Keys) {
			t.Error("it is not loaded")
		}
	})
}

// TestFailedChange leaves nothing behind.
func TestFailedChange(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		own := errors.New("no")
		err := l.Change(t.Context(), ledger.Keys, &ledger.Audit{}, func(ctx context.Context, c *sql.Conn) error {
			if _, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, created_at, updated_at) VALUES ('x', $1, $1)`, time.Now().UTC()); err != nil {
				t.Error(err)
			}
			return own
		})
		if err == nil {
			t.Fatal("no error")
		}
		for _, table := range []string{"client_configs", "admin_audit_log", "control_versions"} {
			if n := number(t, l, "SELECT count(*) FROM "+table); n != 0 {
				t.Errorf("%s has %d rows", table, n)
			}
		}
	})
}

type line struct {
	at   time.Time
	text string
}

func newLog(l *ledger.Ledger, o ledger.LogOptions[line]) *ledger.Log[line] {
	o.Table, o.Columns = "gateway_operation_log", []string{"created_at", "message"}
	o.Values = func(v *line, row *ledger.Row) { row.Time(v.at); row.Text(v.text) }
	return ledger.NewLog(l, o)
}

// TestLog writes many rows from many goroutines, with statistics beside them.
func TestLog(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := newLog(l, ledger.LogOptions[line]{Also: func(ctx context.Context, c *sql.Conn, batch []line) error {
			_, err := c.ExecContext(ctx, `INSERT INTO client_statistics (client_name, total_requests, updated_at) VALUES ('a', $1, $2)
				ON CONFLICT (client_name) DO UPDATE SET total_requests = client_statistics.total_requests + excluded.total_requests`, len(batch), time.Now().UTC())
			return err
		}})
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				for i := range 500 {
					log.Append(&line{time.Now().UTC(), fmt.Sprintf("%d/%d", g, i)})
				}
			})
		}
		all.Wait()
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for query, want := range map[string]int64{
			"SELECT count(DISTINCT message) FROM gateway_operation_log": 4000,
			"SELECT count(*) FROM gateway_operation_log":                4000,
			"SELECT total_requests FROM client_statistics":              4000,
		} {
			if n := number(t, l, query); n != want {
				t.Errorf("%s: %d, want %d", query, n, want)
			}
		}
		if s := l.Status(); s.Queued != 0 || s.Dropped != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestLogDropsOneBadRow loses the row that the ledger refuses, and no other.
func TestLogDropsOneBadRow(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := ledger.NewLog(l, ledger.LogOptions[line]{Table: "api_key_auth_log", Columns: []string{"created_at", "succeeded"},
			Values: func(v *line, row *ledger.Row) {
				row.Time(v.at)
				if v.text == "bad" {
					row.Null()
				} else {
					row.Bool(true)
				}
			}})
		for i := range 100 {
			log.Append(&line{time.Now().UTC(), []string{"good", "bad"}[map[bool]int{true: 1}[i == 37]]})
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, s := number(t, l, "SELECT count(*) FROM api_key_auth_log"), l.Status(); n != 99 || s.Dropped != 1 {
			t.Errorf("%d rows, %+v", n, s)
		}
	})
}

// TestLogDropsRowsOfTriggers: a row that a trigger of an older installation refuses is lost
// alone too.
func TestLogDropsRowsOfTriggers(t *testing.T) {
	t.Parallel()
	l := ledgertest.Open(t, testenv.Database(t))
	exec(t, l, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.message = '7' THEN RAISE 'no sevens'; END IF; RETURN NEW; END $$`)
	exec(t, l, "CREATE TRIGGER refuse BEFORE INSERT ON gateway_operation_log FOR EACH ROW EXECUTE FUNCTION refuse()")
	log := newLog(l, ledger.LogOptions[line]{})
	for i := range 20 {
		log.Append(&line{time.Now().UTC(), fmt.Sprint(i)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n, s := number(t, l, "SELECT count(*) FROM gateway_operation_log"), l.Status(); n != 19 || s.Dropped != 1 {
		t.Errorf("%d rows, %+v", n, s)
	}
}

// TestFlushUnderLoad: Flush waits for what was there, not for what comes meanwhile.
func TestFlushUnderLoad(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := newLog(l, ledger.LogOptions[line]{})
		stop := make(chan struct{})
		var load sync.WaitGroup
		load.Go(func() {
			for { // the queue is never empty
				select {
				case <-stop:
					return
				default:
				}
				if l.Status().Queued > 3000 {
					time.Sleep(time.Millisecond)
					continue
				}
				for range 500 {
					log.Append(&line{time.Now().UTC(), "load"})
				}
			}
		})
		defer load.Wait()
		defer close(stop)
		for i := range 3 {
			name := fmt.Sprint("flushed ", i)
			log.Append(&line{time.Now().UTC(), name})
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := number(t, l, "SELECT count(*) FROM gateway_operation_log WHERE message = $1", name); n != 1 {
				t.Errorf("%d rows %s", n, name)
			}
		}
	})
}

// old adds rows to the operation log of which 500 in 2500 are not older than an hour.
func old(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	log := newLog(l, ledger.LogOptions[line]{})
	for i := range 2500 {
		at := time.Now().UTC()
		if i%5 != 0 {
			at = at.Add(-2 * time.Hour)
		}
		log.Append(&line{at, fmt.Sprint(i)})
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const logged = "SELECT count(*) FROM gateway_operation_log"

var anHour = map[string]time.Duration{"gateway_operation_log": time.Hour, "admin_audit_log": 0}

// TestPrune deletes what is older than it is to be kept, however much it is.
func TestPrune(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.OpenWith(t, ledger.Options{URI: uri, Retention: anHour})
		old(t, l)
		exec(t, l, "INSERT INTO admin_audit_log (created_at) VALUES ($1)", time.Unix(0, 0).UTC())
		l.PruneNow(t.Context())
		if n := number(t, l, logged); n != 500 {
			t.Errorf("%d rows stay, want 500", n)
		}
		if n := number(t, l, "SELECT count(*) FROM admin_audit_log"); n != 1 {
			t.Error("what is to be kept for ever was deleted")
		}
	})
}

// TestPruneAtStart: a gateway that is started often prunes too.
func TestPruneAtStart(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		old(t, ledgertest.Open(t, uri))
		l := ledgertest.OpenWith(t, ledger.Options{URI: uri, Retention: anHour})
		eventually(t, "the old rows are gone", func() bool { return number(t, l, logged) == 500 })
	})
}

// TestPruneTogether: gateways that prune at once delete the same rows once, also while somebody
// holds some of them.
func TestPruneTogether(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		keeper := ledgertest.Open(t, uri)
		old(t, keeper)
		prune := func() {
			var all sync.WaitGroup
			for range 3 {
				l := ledgertest.OpenWith(t, ledger.Options{URI: uri, Retention: anHour})
				all.Go(func() { l.PruneNow(t.Context()) })
			}
			all.Wait()
		}
		if keeper.Postgres() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := keeper.Change(ctx, "", &ledger.Audit{}, func(ctx context.Context, c *sql.Conn) error {
				if _, err := c.ExecContext(ctx, "SELECT FROM gateway_operation_log WHERE message = '7' FOR UPDATE"); err != nil {
					return err
				}
				prune()
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if n := number(t, keeper, logged+" WHERE message = '7'"); n != 1 {
				t.Errorf("%d rows that somebody had locked", n)
			}
		}
		prune()
		eventually(t, "the rest is gone", func() bool { return number(t, keeper, logged) == 500 })
	})
}

// TestPruneReadsLittle: what is to be deleted is found by an index.
func TestPruneReadsLittle(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		for _, table := range []string{"gateway_operation_log", "api_key_auth_log", "admission_events", "admin_audit_log", "ledger_batches"} {
			query, plan := "EXPLAIN QUERY PLAN ", ""
			if l.Postgres() {
				query = "EXPLAIN "
			}
			query += strings.NewReplacer("$1", "'2020-01-01'", "$2", "1000").Replace(l.Oldest(table))
			if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
				if l.Postgres() { // an empty table is read whole else, and sorted
					if _, err := c.ExecContext(ctx, "SET enable_seqscan = off; SET enable_sort = off"); err != nil {
						return err
					}
					defer c.ExecContext(ctx, "RESET ALL")
				}
				return explain(ctx, c, query, &plan)
			}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, "_by_time") || strings.Contains(strings.ToUpper(plan), "SORT") || strings.Contains(plan, "B-TREE") || l.Postgres() && !strings.Contains(plan, "Tid Scan") {
				t.Errorf("%s: %s", table, plan)
			}
		}
	})
}

// explain appends the last columns of a plan's rows.
func explain(ctx context.Context, c *sql.Conn, query string, plan *string) error {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return err
		}
		*plan += fmt.Sprintln(*values[len(values)-1].(*any))
	}
	return rows.Err()
}

// TestSlowReads: reads that take long keep neither changes, logs nor loads from their
// connections, and another read waits as long as it may.
func TestSlowReads(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		a, b := ledgertest.Open(t, uri), ledgertest.Open(t, uri)
		var loads atomic.Int64
		a.Follow(ledger.Keys, func(context.Context, *sql.Conn) error { loads.Add(1); return nil })
		log := newLog(a, ledger.LogOptions[line]{})
		release := make(chan struct{})
		var reads sync.WaitGroup
		var reading atomic.Int64
		for range 40 { // more than there are connections
			reads.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := a.Read(ctx, func(context.Context, *sql.Conn) error {
					reading.Add(1)
					<-release
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
		defer reads.Wait()
		defer close(release)
		eventually(t, "reads have all that they may", func() bool { return reading.Load() >= 4 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if e := sdk.AsError(a.Read(ctx, func(context.Context, *sql.Conn) error { return nil })); e == nil || e.Reason != "ledger_unavailable" {
			t.Errorf("a read beside them: %v", e)
		}
		for range 3 {
			log.Append(&line{time.Now().UTC(), "beside"})
			if err := a.Change(t.Context(), ledger.Clients, &ledger.Audit{}, func(context.Context, *sql.Conn) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := loads.Load()
		if err := b.Change(t.Context(), ledger.Keys, &ledger.Audit{}, func(context.Context, *sql.Conn) error { return nil }); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the change is loaded", func() bool { return loads.Load() > before })
		if s := a.Status(); s.State != "ready" {
			t.Errorf("%+v", s)
		}
	})
}

// TestSlowLoad: a load that hangs delays no other, and the state of the ledger is known.
func TestSlowLoad(t *testing.T) {
	t.Parallel()
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		a, b := ledgertest.Open(t, uri), ledgertest.Open(t, uri)
		hang, hanging := make(chan struct{}), make(chan struct{})
		var slow, quick atomic.Int64
		a.Follow(ledger.Keys, func(context.Context, *sql.Conn) error {
			if slow.Add(1) == 2 {
				close(hanging)
				<-hang
			}
			return nil
		})
		a.Follow(ledger.Routes, func(context.Context, *sql.Conn) error { quick.Add(1); return nil })
		change := func(s ledger.Subject) {
			t.Helper()
			if err := b.Change(t.Context(), s, &ledger.Audit{}, func(context.Context, *sql.Conn) error { return nil }); err != nil {
				t.Fatal(err)
			}
			a.Wake()
		}
		change(ledger.Keys)
		<-hanging
		change(ledger.Routes)
		eventually(t, "the other subject is loaded", func() bool { return quick.Load() == 2 })
		close(hang)
		change(ledger.Keys)
		eventually(t, "the slow one is loaded again", func() bool { return slow.Load() >= 3 })
	})
}

// TestCommitWithoutAnswer cuts the connection at the answer to a batch's COMMIT: the batch is
// tried again and found to be there.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	proxy := testenv.StartProxy(t, testenv.Database(t))
	l := ledgertest.Open(t, proxy.URI())
	log := newLog(l, ledger.LogOptions[line]{Also: func(ctx context.Context, c *sql.Conn, batch []line) error {
		_, err := c.ExecContext(ctx, `INSERT INTO client_statistics (client_name, total_requests, updated_at) VALUES ('a', $1, $2)
			ON CONFLICT (client_name) DO UPDATE SET total_requests = client_statistics.total_requests + excluded.total_requests`, len(batch), time.Now().UTC())
		return err
	}})
	cut := proxy.CutBefore('C', "COMMIT")
	for i := range 10 {
		log.Append(&line{time.Now().UTC(), fmt.Sprint(i)})
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-cut.Happened()
	if n, total := number(t, l, "SELECT count(*) FROM gateway_operation_log"), number(t, l, "SELECT total_requests FROM client_statistics"); n != 10 || total != 10 {
		t.Errorf("%d rows, %d counted, want 10 each", n, total)
	}
}

// TestDeadLedger: a ledger that hangs, then is gone, costs callers nothing; what fits into
// the queue is written afterwards, the rest is counted.
func TestDeadLedger(t *testing.T) {
	t.Parallel()
	proxy := testenv.StartProxy(t, testenv.Database(t))
	l := ledgertest.Open(t, proxy.URI())
	loads := atomic.Int64{}
	l.Follow(ledger.Keys, func(context.Context, *sql.Conn) error { loads.Add(1); return nil })
	log := newLog(l, ledger.LogOptions[line]{Capacity: 100})
	proxy.Freeze()
	for i := range 150 {
		log.Append(&line{time.Now().UTC(), fmt.Sprint(i)})
	}
	eventually(t, "the status says so", func() bool { return l.Status().State == "unavailable" })
	proxy.Refuse()
	proxy.CutAll()
	if e := sdk.AsError(l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error { return c.PingContext(ctx) })); e.Reason != "ledger_unavailable" {
		t.Error(e)
	}
	if s := l.Status(); s.Dropped != 50 || s.Queued != 100 || !l.Loaded(ledger.Keys) {
		t.Errorf("%+v", s)
	}
	proxy.Thaw()
	proxy.Accept(t)
	eventually(t, "it is back", func() bool { return l.Status().State == "ready" })
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := number(t, l, "SELECT count(*) FROM gateway_operation_log"); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
}

// TestLateLedger starts before its PostgreSQL can be reached.
func TestLateLedger(t *testing.T) {
	t.Parallel()
	proxy := testenv.StartProxy(t, testenv.Database(t))
	proxy.Refuse()
	l := ledgertest.Open(t, proxy.URI())
	loaded := make(chan struct{})
	l.Follow(ledger.Keys, func(context.Context, *sql.Conn) error { close(loaded); return nil })
	if s := l.Status(); s.State != "starting" || l.Loaded(ledger.Keys) {
		t.Fatalf("%+v", s)
	}
	proxy.Accept(t)
	<-loaded
	eventually(t, "it is ready", func() bool { return l.Loaded(ledger.Keys) && l.Status().State == "ready" })
}

// TestOlderInstallation gives the tables of an older installation what they lack.
func TestOlderInstallation(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t, `CREATE TABLE gateway_operation_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), operation text, details jsonb);
		INSERT INTO gateway_operation_log (operation, details) VALUES ('fetch', '{"message":"Fetched 1 rows"}')`)
	l := ledgertest.Open(t, uri)
	if n := number(t, l, "SELECT count(*) FROM gateway_operation_log WHERE operation = 'fetch' AND message IS NULL AND NOT cached"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// TestRefusedLogin: a ledger that lets nobody in any more is down, and costs no row.
func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	admin := testenv.Database(t)
	uri, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	keeper := ledgertest.Open(t, admin) // makes the tables
	role := "ledger_" + strings.TrimPrefix(uri.Path, "/")
	exec(t, keeper, "CREATE ROLE "+role+" LOGIN SUPERUSER")
	defer exec(t, keeper, "DROP ROLE "+role)
	uri.User = url.User(role)
	l := ledgertest.Open(t, uri.String())
	log := newLog(l, ledger.LogOptions[line]{})
	exec(t, keeper, "ALTER ROLE "+role+" NOLOGIN")
	exec(t, keeper, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	for i := range 50 {
		log.Append(&line{time.Now().UTC(), fmt.Sprint(i)})
	}
	eventually(t, "the status says so", func() bool { return l.Status().State == "unavailable" })
	exec(t, keeper, "ALTER ROLE "+role+" LOGIN")
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, s := number(t, l, "SELECT count(*) FROM gateway_operation_log"), l.Status(); n != 50 || s.Dropped != 0 {
		t.Errorf("%d rows, %+v", n, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestPanickingChange leaves no transaction behind.
func TestPanickingChange(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		change := func(f func()) error {
			return l.Change(t.Context(), ledger.Keys, &ledger.Audit{Action: "test"}, func(context.Context, *sql.Conn) error { f(); return nil })
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			_ = change(func() { panic("on purpose") })
		}()
		for range 8 { // more than there are connections
			if err := change(func() {}); err != nil {
				t.Fatal(err)
			}
		}
		if n := number(t, l, "SELECT count(*) FROM admin_audit_log"); n != 8 {
			t.Errorf("%d changes, want 8", n)
		}
	})
}

// TestChangesBesideABacklog makes changes while a log catches up: they have their turn.
func TestChangesBesideABacklog(t *testing.T) {
	t.Parallel()
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := newLog(l, ledger.LogOptions[line]{})
		for i := range 30000 {
			log.Append(&line{time.Now().UTC(), fmt.Sprint(i)})
		}
		for range 20 {
			if err := l.Change(t.Context(), ledger.Keys, &ledger.Audit{Action: "test"}, func(context.Context, *sql.Conn) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := number(t, l, "SELECT count(*) FROM gateway_operation_log"); n != 30000 {
			t.Errorf("%d rows, want 30,000", n)
		}
	})
}

// TestValueRefused: a value that no column can hold is its sender's mistake.
func TestValueRefused(t *testing.T) {
	l := ledgertest.Open(t, testenv.Database(t))
	for _, query := range []struct{ text, value string }{
		{"SELECT $1::text", "a\x00"}, {"SELECT $1::text", "\xff"}, {"SELECT $1::text::jsonb", `"\ud800"`}, {"SELECT $1::text::jsonb", "1e400000"},
	} {
		err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
			var shown string
			return c.QueryRowContext(ctx, query.text, query.value).Scan(&shown)
		})
		if e := sdk.AsError(err); e == nil || e.Kind != sdk.Invalid || e.Reason != "ledger_value" || strings.Contains(e.Message, query.value) {
			t.Errorf("%s of %q: %v", query.text, query.value, err)
		}
	}
}

// TestMigrateAgain applies PostgreSQL's migrations to a filled ledger that has them: nothing
// changes, and no table or index is written anew.
func TestMigrateAgain(t *testing.T) {
	t.Parallel()
	uri := testenv.Database(t)
	ledgertest.Open(t, uri)
	db, err := sql.Open("pgx", uri)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), filled); err != nil {
		t.Fatal(err)
	}
	lines := func(query string) (list []string) {
		t.Helper()
		found, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer found.Close()
		for found.Next() {
			var text string
			if err := found.Scan(&text); err != nil {
				t.Fatal(err)
			}
			list = append(list, text)
		}
		if err := found.Err(); err != nil {
			t.Fatal(err)
		}
		return list
	}
	state := func() []string {
		t.Helper()
		all := lines(`SELECT concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
				FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
				WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
			UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
			UNION ALL SELECT concat_ws(' ', relname, relkind, relfilenode, CASE relkind WHEN 'i' THEN pg_get_indexdef(oid) END) FROM pg_class WHERE relnamespace = 'public'::regnamespace
			UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
			ORDER BY 1`)
		for _, table := range lines("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1") {
			rows := lines(fmt.Sprintf("SELECT concat_ws(' ', '%s', ctid, xmin, to_jsonb(t)) FROM %[1]s t ORDER BY 1", table))
			if len(rows) == 0 {
				t.Errorf("%s is empty", table)
			}
			all = append(all, rows...)
		}
		return all
	}
	before := state()
	again, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations/postgres"), goose.WithDisableVersioning(true))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if done, err := again.Up(t.Context()); err != nil || len(done) == 0 {
			t.Fatal(done, err)
		}
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Error(diff)
	}
}

// filled has rows for each table of a PostgreSQL ledger, some with as little as they may have.
const filled = `
	INSERT INTO control_versions VALUES ('test', 3);
	INSERT INTO ledger_batches VALUES (gen_random_uuid(), now());
	INSERT INTO athena_clients (id, client_name, metadata, deleted_at) VALUES (gen_random_uuid(), 'shop', '{"a":[1]}', NULL), (gen_random_uuid(), 'gone', '{}', now());
	INSERT INTO client_configs (client_name, config) VALUES ('shop', '{"resilience_timeout_secs":7}');
	INSERT INTO api_keys (public_id, name, key_salt, key_hash, deleted_at) VALUES ('a', 'one', 's', 'h', now()), ('b', 'one', 's', 'h', NULL), ('', '', '', '', NULL), ('', '', '', '', NULL);
	INSERT INTO api_key_rights (name) VALUES ('own.right'), ('other.right');
	INSERT INTO api_key_right_grants (api_key_id, right_id) SELECT k.id, r.id FROM api_keys k, api_key_rights r;
	INSERT INTO api_key_config (id, enforce_api_keys) VALUES (1, true);
	INSERT INTO api_key_client_config (client_name, enforce_api_keys) VALUES ('shop', true), ('other', false);
	INSERT INTO api_key_auth_log (request_id, api_key_id, granted_rights) SELECT 'r', k.id, '["own.right"]' FROM api_keys k;
	INSERT INTO api_key_auth_log DEFAULT VALUES;
	INSERT INTO gateway_operation_log (request_id, client_name, door, error, message, details) VALUES ('r', 'shop', 'gateway', true, 'it broke', '{"code":"x"}'), ('r', 'shop', NULL, NULL, NULL, '"text"');
	INSERT INTO client_statistics (client_name, total_requests) VALUES ('shop', 5);
	INSERT INTO client_table_statistics (client_name, table_name, operation) VALUES ('shop', 'crew', 'fetch'), ('shop', 'crew', 'insert'), ('shop', '', '');
	INSERT INTO admission_events (event_id, meta) VALUES ('e', '{}'), ('e', NULL);
	INSERT INTO public_routes (id, route_key, client_name, deleted_at) VALUES (gen_random_uuid(), 'crew', 'shop', now()), (gen_random_uuid(), 'crew', 'shop', now()), (gen_random_uuid(), 'crew', 'shop', NULL);
	INSERT INTO api_registry (id, name) VALUES (gen_random_uuid(), 'books'), (gen_random_uuid(), '');
	INSERT INTO admin_audit_log (actor, before, after) VALUES ('me', 'null', '"text"'), (NULL, NULL, NULL);`

// TestMigrateTimes: times of an older installation are UTC, whatever the session's time zone is.
func TestMigrateTimes(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", testenv.Database(t, `
		CREATE TABLE client_statistics (client_name text, last_request_at date, last_operation_at timestamp, updated_at varchar(30));
		INSERT INTO client_statistics VALUES ('shop', '2024-01-02', '2024-01-02 03:04:05', '2024-01-02 03:04:05')`)+"&timezone=Asia%2FTokyo")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations/postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var request, operation, updated time.Time
	if err := db.QueryRowContext(t.Context(), "SELECT last_request_at, last_operation_at, updated_at FROM client_statistics").Scan(&request, &operation, &updated); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	if !request.Equal(want.Truncate(24*time.Hour)) || !operation.Equal(want) || !updated.Equal(want) {
		t.Error(request.UTC(), operation.UTC(), updated.UTC())
	}
}
