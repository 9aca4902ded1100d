package oplog

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// ClientStatistics are a client's counts. A request is an operation when the database was
// asked, or a cache in its place.
type ClientStatistics struct {
	Client        string     `json:"client_name"`
	Requests      int64      `json:"total_requests"`
	Successful    int64      `json:"successful_requests"`
	Failed        int64      `json:"failed_requests"`
	Cached        int64      `json:"total_cached_requests"`
	Operations    int64      `json:"total_operations"`
	LastRequest   *time.Time `json:"last_request_at"`
	LastOperation *time.Time `json:"last_operation_at"`
	Updated       time.Time  `json:"updated_at"`
}

// TableStatistics are a client's operations of one kind on one table; the table "" stands
// for operations without one, such as SQL texts, and for tables that were not there.
type TableStatistics struct {
	Client        string     `json:"client_name"`
	Table         string     `json:"table_name"`
	Operation     string     `json:"operation"`
	Operations    int64      `json:"total_operations"`
	Errors        int64      `json:"error_operations"`
	LastOperation *time.Time `json:"last_operation_at"`
	Updated       time.Time  `json:"updated_at"`
}

// clientCount and tableCount are what is added to a row of the statistics. The times are
// as the database takes them, nil for none.
type clientCount struct {
	requests, successful, failed, cached, operations int64
	lastRequest, lastOperation                       any
}

type tableKey struct{ client, table, operation string }

func (k tableKey) compare(other tableKey) int {
	return cmp.Or(strings.Compare(k.client, other.client), strings.Compare(k.table, other.table), strings.Compare(k.operation, other.operation))
}

type tableCount struct {
	operations, errors int64
	last               any
}

// count adds a batch to the statistics, in the batch's transaction.
func count(ctx context.Context, c *sql.Conn, batch []Entry) error {
	clients, tables := map[string]*clientCount{}, map[tableKey]*tableCount{}
	for i := range batch {
		e := &batch[i]
		if e.Client == "" {
			continue
		}
		client := clients[e.Client]
		if client == nil {
			client = &clientCount{}
			clients[e.Client] = client
		}
		client.requests++
		failed := int64(0)
		if e.Error {
			failed = 1
		}
		client.failed += failed
		client.successful += 1 - failed
		client.lastRequest = later(client.lastRequest, &e.Time)
		if !e.Reached {
			continue
		}
		client.operations++
		client.lastOperation = later(client.lastOperation, &e.Time)
		key := tableKey{e.Client, e.Table, e.Operation}
		table := tables[key]
		if table == nil {
			table = &tableCount{}
			tables[key] = table
		}
		table.operations++
		table.errors += failed
		table.last = later(table.last, &e.Time)
	}
	return add(ctx, c, clients, tables)
}

func later(last any, t *time.Time) any {
	if before, ok := last.(*time.Time); ok && before.After(*t) {
		return before
	}
	return t
}

// add adds to the statistics. Everybody who changes them takes the rows in this order, so
// that two never wait for each other.
func add(ctx context.Context, c *sql.Conn, clients map[string]*clientCount, tables map[tableKey]*tableCount) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	var rows [][]any
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		n := clients[name]
		rows = append(rows, []any{name, n.requests, n.successful, n.failed, n.cached, n.operations, n.lastRequest, n.lastOperation, now})
	}
	if err := upsert(ctx, c, clientStatistics, rows); err != nil {
		return err
	}
	rows = rows[:0]
	for _, key := range slices.SortedFunc(maps.Keys(tables), tableKey.compare) {
		n := tables[key]
		rows = append(rows, []any{key.client, key.table, key.operation, n.operations, n.errors, n.last, now})
	}
	return upsert(ctx, c, tableStatistics, rows)
}

// statistics is a table of counts.
type statistics struct {
	table               string
	key, counts, latest []string // columns, in the order of a row's values; updated_at follows
}

var (
	clientStatistics = &statistics{"client_statistics", []string{"client_name"},
		[]string{"total_requests", "successful_requests", "failed_requests", "total_cached_requests", "total_operations"},
		[]string{"last_request_at", "last_operation_at"}}
	tableStatistics = &statistics{"client_table_statistics", []string{"client_name", "table_name", "operation"},
		[]string{"total_operations", "error_operations"}, []string{"last_operation_at"}}
)

// upsertedAtOnce is how many rows one statement has at most.
const upsertedAtOnce = 50

func upsert(ctx context.Context, c *sql.Conn, s *statistics, rows [][]any) error {
	for some := range slices.Chunk(rows, upsertedAtOnce) {
		if _, err := c.ExecContext(ctx, s.upsert(len(some)), slices.Concat(some...)...); err != nil {
			return err
		}
	}
	return nil
}

// upsert is the statement that adds rows to the table.
func (s *statistics) upsert(rows int) string {
	columns := slices.Concat(s.key, s.counts, s.latest, []string{"updated_at"})
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", s.table, strings.Join(columns, ", "))
	for i := range rows * len(columns) {
		switch {
		case i == 0:
			b.WriteString("($")
		case i%len(columns) == 0:
			b.WriteString("), ($")
		default:
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(i + 1))
	}
	fmt.Fprintf(&b, ") ON CONFLICT (%s) DO UPDATE SET updated_at = excluded.updated_at", strings.Join(s.key, ", "))
	for _, column := range s.counts {
		fmt.Fprintf(&b, ", %[2]s = %[1]s.%[2]s + excluded.%[2]s", s.table, column)
	}
	for _, column := range s.latest {
		fmt.Fprintf(&b, ", %[2]s = CASE WHEN %[1]s.%[2]s > excluded.%[2]s THEN %[1]s.%[2]s ELSE coalesce(excluded.%[2]s, %[1]s.%[2]s) END", s.table, column)
	}
	return b.String()
}

// What the log says less what the statistics say, in one statement: a batch's rows and its
// counts come with one commit, so one view of the database has both or neither. That they
// differ is what a refresh mends.
const (
	wasReached  = `(operation_time_ms IS NOT NULL OR cached)`
	isFailed    = `coalesce(error, status_code >= 400, false)`
	wasFailed   = `CASE WHEN ` + isFailed + ` THEN 1 ELSE 0 END`
	clientDrift = `SELECT client_name, sum(requests), sum(successful), sum(failed), sum(cached), sum(operations), max(request), max(operation) FROM (
			SELECT client_name, 1 AS requests, 1 - ` + wasFailed + ` AS successful, ` + wasFailed + ` AS failed, CASE WHEN cached THEN 1 ELSE 0 END AS cached,
				CASE WHEN ` + wasReached + ` THEN 1 ELSE 0 END AS operations, created_at AS request, CASE WHEN ` + wasReached + ` THEN created_at END AS operation
			FROM gateway_operation_log WHERE client_name <> ''
			UNION ALL
			SELECT client_name, -total_requests, -successful_requests, -failed_requests, -total_cached_requests, -total_operations, NULL, NULL
			FROM client_statistics) AS drift
		GROUP BY client_name`
	tableDrift = `SELECT client_name, table_name, operation, sum(operations), sum(failed), max(last) FROM (
			SELECT client_name, coalesce(table_name, '') AS table_name, coalesce(operation, '') AS operation, 1 AS operations, ` + wasFailed + ` AS failed, created_at AS last
			FROM gateway_operation_log WHERE client_name <> '' AND ` + wasReached + `
			UNION ALL
			SELECT client_name, table_name, operation, -total_operations, -error_operations, NULL FROM client_table_statistics) AS drift
		GROUP BY client_name, table_name, operation`
)

const (
	refreshTime  = 5 * time.Minute // of a refresh, which reads the whole log
	refreshTries = 100             // views of one refresh, others' refreshes having come between
)

// statisticsVersion counts the refreshes; nobody keeps the statistics in memory.
const statisticsVersion ledger.Subject = "statistics"

// drift is what the log says less what the statistics say.
type drift struct {
	version int64 // of statisticsVersion
	clients map[string]*clientCount
	tables  map[tableKey]*tableCount
}

// errRefreshed says that somebody has corrected what was to be corrected.
var errRefreshed = &sdk.Error{Kind: sdk.Unavailable, Reason: "statistics_refreshed", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
	Message: "other gateways count the statistics anew at the same time", Hint: "look at them, or try again", RetryAfter: time.Second}

// Refresh makes the statistics what the log's rows say, whatever was in them; of rows that
// have been pruned nothing remains. The log is read in one view, which nobody waits for:
// batches go on, and as each adds the same to both sides, what was to be corrected stays the
// same. Only another refresh would correct it too: then it is looked at anew.
func (l *Log) Refresh(ctx context.Context, audit *ledger.Audit) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	select { // another gateway's refresh costs a view, one here need not
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ledger.Classify(ctx.Err())
	}
	l.Flush(ctx) // what is not written yet is counted when it is
	for try := 1; ; try++ {
		d, err := l.drift(ctx)
		if err != nil {
			return err
		}
		if err := l.correct(ctx, audit, d); err != errRefreshed || try == refreshTries {
			return err
		}
	}
}

// drift reads what is to be corrected.
func (l *Log) drift(ctx context.Context) (*drift, error) {
	d := &drift{clients: map[string]*clientCount{}, tables: map[tableKey]*tableCount{}}
	err := l.ledger.View(ctx, func(ctx context.Context, c *sql.Conn) (err error) {
		if d.version, err = ledger.Version(ctx, c, statisticsVersion); err != nil {
			return err
		}
		if err := each(ctx, c, clientDrift, nil, func(rows *sql.Rows) error {
			var name string
			n := &clientCount{}
			err := rows.Scan(&name, &n.requests, &n.successful, &n.failed, &n.cached, &n.operations, &n.lastRequest, &n.lastOperation)
			d.clients[name] = n
			return err
		}); err != nil {
			return err
		}
		return each(ctx, c, tableDrift, nil, func(rows *sql.Rows) error {
			var key tableKey
			n := &tableCount{}
			err := rows.Scan(&key.client, &key.table, &key.operation, &n.operations, &n.errors, &n.last)
			d.tables[key] = n
			return err
		})
	})
	return d, err
}

// correct adds a drift to the statistics, unless there was a refresh since it was read.
func (l *Log) correct(ctx context.Context, audit *ledger.Audit, d *drift) error {
	return l.ledger.Change(ctx, statisticsVersion, audit, func(ctx context.Context, c *sql.Conn) error {
		if version, err := ledger.Version(ctx, c, statisticsVersion); err != nil {
			return err
		} else if version != d.version+1 {
			return errRefreshed
		}
		if err := add(ctx, c, d.clients, d.tables); err != nil {
			return err
		}
		for _, empty := range []string{"DELETE FROM client_statistics WHERE total_requests <= 0", "DELETE FROM client_table_statistics WHERE total_operations <= 0"} {
			if _, err := c.ExecContext(ctx, empty); err != nil {
				return err
			}
		}
		return nil
	})
}

// each calls row for each row of a query.
func each(ctx context.Context, c *sql.Conn, query string, args []any, row func(*sql.Rows) error) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
