package ledger

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/athena-gateway/athena/sdk"
)

const (
	flushEvery = 500 * time.Millisecond // how old a row gets before it is written
	batchRows  = 8000                   // most rows of one transaction of PostgreSQL, which costs as much as 300
	liteRows   = 500                    // and of SQLite, where others wait meanwhile
	usualQueue = 1 << 16                // rows that wait at most
)

// LogOptions say how the entries of a log become rows.
type LogOptions[T any] struct {
	Table   string
	Columns []string             // the first is created_at
	Values  func(v *T, row *Row) // appends one value per column
	// Also does more in the transaction of a batch, such as statistics, before the rows are
	// inserted; nil: nothing. It may run again for a batch whose transaction failed.
	Also     func(ctx context.Context, c *sql.Conn, batch []T) error
	Capacity int // entries that wait at most; 0: 65,536
}

// Log is a table that is only appended to, off the way of requests. Each entry is written
// once, or dropped and counted.
type Log[T any] struct {
	ledger  *Ledger
	options LogOptions[T]
	most    int // rows of a batch
	wake    chan struct{}
	stop    context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	queue   [][]T // batches in their order; the last one grows
	waiting int   // entries in queue
	spare   [][]T // memory for other batches
	writing int   // entries of the batch under way, which count as waiting
	ended   bool  // nothing is written any more
	dropped int64
	settled int64         // entries that have left the queue for good
	flushed chan struct{} // closed when settled reaches awaited; nil: nobody waits
	awaited int64
}

// flusher is a Log of any type.
type flusher interface {
	flush(context.Context) error
	end()
	counts() (queued, dropped int64)
}

// NewLog makes a log and starts writing it.
func NewLog[T any](l *Ledger, o LogOptions[T]) *Log[T] {
	if o.Capacity == 0 {
		o.Capacity = usualQueue
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &Log[T]{ledger: l, options: o, most: batchRows, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	if !l.postgres {
		g.most = liteRows
	}
	l.metrics.register(o.Table)
	l.mu.Lock()
	l.logs = append(l.logs, g)
	l.mu.Unlock()
	go g.run(ctx)
	return g
}

// Append queues a copy of an entry. It never waits: while the queue is full, which a ledger
// that is down or too slow makes it, entries are dropped and counted.
func (g *Log[T]) Append(v *T) {
	g.mu.Lock()
	if g.ended || g.waiting+g.writing >= g.options.Capacity {
		g.dropped++
		g.mu.Unlock()
		g.ledger.metrics.dropped(g.options.Table, 1)
		return
	}
	last := len(g.queue) - 1
	if last < 0 || len(g.queue[last]) == g.most {
		g.queue = append(g.queue, g.room())
		last++
	}
	g.queue[last] = append(g.queue[last], *v)
	g.waiting++
	full := g.waiting == g.most
	g.mu.Unlock()
	if full {
		g.hurry()
	}
}

// room is memory for another batch, of full size once one was filled.
func (g *Log[T]) room() []T {
	if last := len(g.spare) - 1; last >= 0 {
		batch := g.spare[last]
		g.spare = g.spare[:last]
		return batch
	}
	if len(g.queue) > 0 {
		return make([]T, 0, g.most)
	}
	return nil
}

func (g *Log[T]) hurry() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// run writes batches until end.
func (g *Log[T]) run(ctx context.Context) {
	defer close(g.done)
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-g.wake:
		}
		for more := true; more; {
			batch := g.take()
			if !g.write(ctx, batch) {
				return
			}
			more = g.written(batch)
		}
	}
}

// take moves a batch out of the queue.
func (g *Log[T]) take() (batch []T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		return nil
	}
	batch, g.queue[0] = g.queue[0], nil
	g.queue = g.queue[1:]
	g.waiting -= len(batch)
	g.writing = len(batch)
	return batch
}

// written notes that the batch under way has ended, and keeps its memory for another. It
// reports whether that is to be written at once: small batches cost more than they hold.
func (g *Log[T]) written(batch []T) (more bool) {
	clear(batch)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(batch) > 0 && len(g.spare) < 2 {
		g.spare = append(g.spare, batch[:0])
	}
	g.settled += int64(g.writing)
	g.writing = 0
	if g.flushed != nil && g.settled >= g.awaited {
		close(g.flushed)
		g.flushed = nil
	}
	return g.waiting >= g.most || g.waiting > 0 && g.flushed != nil
}

// write writes a batch, again and again until the ledger takes it. It reports false when ctx
// ended first; then the batch is lost, and counted. A row that the ledger refuses is dropped
// alone, but not out of a batch that may be there already: that one keeps its id.
func (g *Log[T]) write(ctx context.Context, batch []T) bool {
	if len(batch) == 0 {
		return true
	}
	id, unknown := uuid.NewString(), false
	for pause := flushEvery; ; pause = min(2*pause, 2*time.Second) {
		err := g.try(ctx, id, batch)
		if err == nil {
			g.ledger.metrics.wrote(g.options.Table, len(batch))
			return true
		}
		if ctx.Err() != nil {
			g.drop(len(batch), ctx.Err())
			return false
		}
		e := sdk.AsError(err)
		unknown = unknown || e.Executed == sdk.ExecutedUnknown
		switch {
		case unknown || !aboutRow(e):
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		case len(batch) == 1:
			g.drop(1, err)
			return true
		}
		half := len(batch) / 2
		if !g.write(ctx, batch[:half]) {
			g.drop(len(batch)-half, ctx.Err())
			return false
		}
		return g.write(ctx, batch[half:])
	}
}

func (g *Log[T]) drop(n int, why error) {
	g.mu.Lock()
	g.dropped += int64(n)
	g.mu.Unlock()
	g.ledger.metrics.dropped(g.options.Table, n)
	g.ledger.log.Error("rows of a log were lost", "log", g.options.Table, "rows", n, "error", why)
}

// try writes a batch in one transaction. The batch's id in ledger_batches tells whether an
// earlier try was committed although its answer was lost.
func (g *Log[T]) try(ctx context.Context, id string, batch []T) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	l := g.ledger
	return l.transaction(ctx, func(ctx context.Context, c *sql.Conn) error {
		result, err := c.ExecContext(ctx, "INSERT INTO ledger_batches (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", id, time.Now().UTC())
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if g.options.Also != nil {
			if err := g.options.Also(ctx, c, batch); err != nil {
				return err
			}
		}
		if l.postgres {
			return g.copy(ctx, c, batch)
		}
		return g.insert(ctx, c, batch)
	})
}

// copy sends the rows by COPY.
func (g *Log[T]) copy(ctx context.Context, c *sql.Conn, batch []T) error {
	rows := &lines[T]{batch: batch, write: g.options.Values, row: Row{lines: true}}
	defer rows.end()
	return c.Raw(func(driverConn any) error {
		conn := driverConn.(*stdlib.Conn).Conn().PgConn()
		_, err := conn.CopyFrom(ctx, rows, "COPY "+g.options.Table+" ("+strings.Join(g.options.Columns, ", ")+") FROM STDIN")
		return err
	})
}

// insertedAtOnce is how many rows one INSERT of SQLite has; more of them gain nothing.
const insertedAtOnce = 50

func (g *Log[T]) insert(ctx context.Context, c *sql.Conn, batch []T) error {
	var row Row
	var many *sql.Stmt // for as many rows as there are at once
	for len(batch) > 0 {
		n := min(len(batch), insertedAtOnce)
		row.values = row.values[:0]
		for i := range n {
			g.options.Values(&batch[i], &row)
		}
		var err error
		switch {
		case n < insertedAtOnce:
			_, err = c.ExecContext(ctx, insertText(g.options.Table, g.options.Columns, n), row.values...)
		case many == nil:
			if many, err = c.PrepareContext(ctx, insertText(g.options.Table, g.options.Columns, n)); err != nil {
				return err
			}
			defer many.Close()
			fallthrough
		default:
			_, err = many.ExecContext(ctx, row.values...)
		}
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// insertText has parameters without names: SQLite compares each name with all others, also
// where that is a number.
func insertText(table string, columns []string, rows int) string {
	row := "(?" + strings.Repeat(", ?", len(columns)-1) + ")"
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// Flush returns when all that was queued before has been written, or lost.
func (l *Ledger) Flush(ctx context.Context) error {
	for _, g := range l.allLogs() {
		if err := g.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *Log[T]) flush(ctx context.Context) error {
	g.mu.Lock()
	target := g.settled + int64(g.writing+g.waiting)
	g.mu.Unlock()
	for {
		g.mu.Lock()
		if g.settled >= target {
			g.mu.Unlock()
			return nil
		}
		if g.flushed == nil {
			g.flushed, g.awaited = make(chan struct{}), target
		}
		flushed := g.flushed // perhaps another's, who waits for less
		g.mu.Unlock()
		g.hurry()
		select {
		case <-flushed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end stops writing. What is queued is lost, and counted.
func (g *Log[T]) end() {
	g.stop()
	<-g.done
	g.mu.Lock()
	n := g.waiting
	g.queue, g.waiting, g.writing, g.ended = nil, 0, 0, true
	g.mu.Unlock()
	if n > 0 {
		g.drop(n, context.Canceled)
	}
}

func (g *Log[T]) counts() (queued, dropped int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.waiting + g.writing), g.dropped
}

func (l *Ledger) allLogs() []flusher {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]flusher(nil), l.logs...)
}
