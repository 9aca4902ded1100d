// Package ledgertest gives tests a ledger, on both databases.
package ledgertest

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/internal/testenv"
)

// Each runs f twice, with an empty ledger on SQLite and one on PostgreSQL.
func Each(t *testing.T, f func(t *testing.T, l *ledger.Ledger)) {
	EachURI(t, func(t *testing.T, uri string) { f(t, Open(t, uri)) })
}

// EachURI runs f twice, with the URI of an empty SQLite file and of an empty PostgreSQL
// database: for tests of several gateways, or of one that starts again.
func EachURI(t *testing.T, f func(t *testing.T, uri string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "sqlite://"+filepath.Join(t.TempDir(), "ledger.db")) })
	t.Run("postgres", func(t *testing.T) { f(t, testenv.Database(t)) })
}

// Open opens a ledger that is closed with the test.
func Open(t testing.TB, uri string) *ledger.Ledger {
	t.Helper()
	return OpenWith(t, ledger.Options{URI: uri})
}

// OpenWith is Open with more options. Without a logger nothing is logged, without a registry
// the metrics are nobody's.
func OpenWith(t testing.TB, o ledger.Options) *ledger.Ledger {
	t.Helper()
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	l, err := ledger.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = l.Close(ctx) // a test of a dead ledger has rows that cannot be written
	})
	return l
}

// Count is the one number that a query answers with.
func Count(t testing.TB, l *ledger.Ledger, query string, args ...any) (n int64) {
	t.Helper()
	if err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, query, args...).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}
