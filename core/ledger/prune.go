package ledger

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"
)

const (
	pruneEvery  = 10 * time.Minute
	pruneRows   = 1000           // rows of one deletion
	keepBatches = 24 * time.Hour // far longer than any batch is tried
)

// prune deletes old rows, in small pieces with pauses between, as soon as the tables are there
// and again and again until ctx ends.
func (l *Ledger) prune(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-l.ready:
	}
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		l.PruneNow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// PruneNow deletes what is older than is to be kept.
func (l *Ledger) PruneNow(ctx context.Context) {
	l.pruneTable(ctx, "ledger_batches", keepBatches)
	for _, table := range slices.Sorted(maps.Keys(l.retention)) {
		if keep := l.retention[table]; keep > 0 {
			l.pruneTable(ctx, table, keep)
		}
	}
}

// oldest deletes the first $2 rows of a table from before $1.
func (l *Ledger) oldest(table string) string {
	// Not by id, which may have no index. A ctid is that of a row in each partition: the time tells
	// which is meant, and is not to be looked for.
	if l.postgres {
		return "DELETE FROM " + table + " WHERE created_at + interval '0' < $1 AND ctid = ANY (ARRAY(SELECT ctid FROM " + table +
			" WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))"
	}
	return "DELETE FROM " + table + " WHERE id IN (SELECT id FROM " + table + " WHERE created_at < $1 ORDER BY created_at LIMIT $2)"
}

// pruneTable deletes the oldest rows first, which an index by created_at finds: others who
// want to write wait meanwhile. Of rows that another gateway is deleting it takes none.
func (l *Ledger) pruneTable(ctx context.Context, table string, keep time.Duration) {
	before := time.Now().UTC().Add(-keep)
	old := l.oldest(table)
	for total := int64(0); ; {
		var n int64
		err := l.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
			result, err := c.ExecContext(ctx, old, before, pruneRows)
			if err != nil {
				return err
			}
			n, err = result.RowsAffected()
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.log.Warn("old rows could not be deleted; it is tried again later", "table", table, "error", err)
			return
		}
		if total += n; n < pruneRows {
			if total > 0 {
				l.log.Info("old rows were deleted", "table", table, "rows", total, "before", before.Format(time.RFC3339))
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond): // others want to write too
		}
	}
}
