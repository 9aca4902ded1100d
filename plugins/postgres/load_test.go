package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// manyTables makes n tables of eight columns, three defaults each, and a primary key in
// every fourth. They have no text so long that it would need a table of its own.
func manyTables(n int) string {
	var b strings.Builder
	b.WriteString(`create table proto (id int, name varchar(20) default 'x', amount numeric(10, 2), active bool not null default true, day date,
		score float8, parent int, made timestamptz default now())`)
	const step = 4000 // a transaction may hold so many locks
	for from := 1; from <= n; from += step {
		fmt.Fprintf(&b, `; begin; do $$ begin for i in %d..%d loop
			if i %% 4 = 0 then execute 'create table t' || i || ' (like proto including defaults, primary key (id))';
			else execute 'create table t' || i || ' (like proto including defaults)'; end if;
		end loop; end $$; commit`, from, min(n, from+step-1))
	}
	return b.String()
}

// during measures the reads that are made, one after the other, while f runs.
func during(t testing.TB, db *database, f func()) []time.Duration {
	t.Helper()
	read := sdk.Statement{Verb: sdk.Select, Table: table("t1"), Filter: eq("id", "1")}
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	var took []time.Duration
	for {
		began := time.Now()
		must(t, db, read)
		took = append(took, time.Since(began))
		select {
		case <-done:
			slices.Sort(took)
			return took
		default:
		}
	}
}

// TestLargeCatalogue: on one processor, reads go on while 20,000 tables are loaded.
func TestLargeCatalogue(t *testing.T) {
	const tables = 20_000
	db := openTest(t, nil, manyTables(tables))
	if n := len(known(db).Tables); n != tables+1 {
		t.Fatalf("%d tables", n)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var rest, took []time.Duration
	var load, limit time.Duration
	for range 3 { // what else is done on the machine must not count
		began := time.Now()
		took = during(t, db, func() {
			if err := db.catalogues.reload(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
		load = time.Since(began)
		rest = during(t, db, func() { time.Sleep(load) })
		if limit = max(100*time.Millisecond, 3*rest[len(rest)-1]); took[len(took)-1] <= limit {
			break
		}
	}
	t.Logf("at rest: median %v of %d reads; during a load of %v: median %v, 95th percentile %v, slowest %v of %d",
		rest[len(rest)/2], len(rest), load, took[len(took)/2], took[len(took)*95/100], took[len(took)-1], len(took))
	// The load takes the server's time too, so these are no more than bounds.
	if took[len(took)-1] > limit {
		t.Errorf("a read took more than %v", limit)
	}
	if limit := 30*rest[len(rest)/2] + 50*time.Millisecond; took[len(took)*95/100] > limit {
		t.Errorf("a read in twenty took more than %v", limit)
	}
	if load > time.Second && len(took) < 20 {
		t.Errorf("only %d reads during a load of %v", len(took), load)
	}
	before := db.catalogues.current.Load()
	db.catalogues.expire()
	began := time.Now()
	if err := db.catalogues.reload(t.Context(), false); err != nil || db.catalogues.current.Load() != before {
		t.Error("the catalogue was loaded again though nothing had changed", err)
	}
	t.Logf("a look that finds nothing new: %v", time.Since(began))
}

// TestManyNotices: however often the schema is said to have changed, and does, it is read
// for a quarter of the time.
func TestManyNotices(t *testing.T) {
	db := openTest(t, nil, manyTables(1_000))
	run := outside(t, db)
	s := &db.catalogues
	began := time.Now()
	if err := s.reload(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	one, last, loads := time.Since(began), s.current.Load(), 0
	began = time.Now()
	for i := 0; time.Since(began) < max(2*time.Second, 10*one); i++ {
		run("create or replace view newer as select " + fmt.Sprint(i) + " as n")
		s.told()
		_, _ = execute(t.Context(), db, sdk.Statement{Verb: sdk.Select, Table: table("newer"), Selection: sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "missing"}}}}})
		if c := s.current.Load(); c != last {
			last, loads = c, loads+1
		}
	}
	took := time.Since(began)
	t.Logf("%d loads of %v within %v", loads, one, took)
	if loads == 0 || time.Duration(loads)*one > took/2 { // a quarter, and what one load may differ from another
		t.Errorf("%d loads of %v within %v", loads, one, took)
	}
}

// BenchmarkLoad is a load of 60,000 tables on one processor, and what reads meanwhile
// suffer.
func BenchmarkLoad(b *testing.B) {
	uri := testenv.Database(b, manyTables(60_000))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20)
	}
	before := heap()
	db := openURI(b, uri, nil)
	held := heap() - before
	var slowest time.Duration
	for b.Loop() {
		took := during(b, db, func() {
			if err := db.catalogues.reload(b.Context(), true); err != nil {
				b.Error(err)
			}
		})
		slowest = max(slowest, took[len(took)-1])
	}
	b.ReportMetric(held, "MB-held")
	b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest-read")
}
