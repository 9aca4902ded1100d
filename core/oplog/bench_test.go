package oplog

import (
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
)

// BenchmarkRecord is what a recorded operation costs the gateway in CPU, until its row is in
// a PostgreSQL ledger; the server's share comes on top.
func BenchmarkRecord(b *testing.B) {
	l := ledgertest.Open(b, testenv.Database(b))
	log := New(Options{Ledger: l, Logger: hclog.NewNullLogger()})
	defer log.Close()
	before, n := spent(b), 0
	b.ReportAllocs()
	for b.Loop() {
		if n++; n%5000 == 0 { // or they would be dropped
			if err := l.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		log.Record(&Entry{Time: time.Now(), RequestID: "6z3sa2t6-30d3f", Client: "bench", Table: "items", Operation: "fetch", Door: "gateway", Method: "POST", Path: "/gateway/fetch",
			Status: 200, Duration: time.Millisecond, Backend: "postgres", Reached: true, Waited: 900 * time.Microsecond, Statements: 1, Rows: 1, Bytes: 231})
	}
	if err := l.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((spent(b)-before).Nanoseconds())/float64(n), "cpu-ns/op")
}

func spent(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
