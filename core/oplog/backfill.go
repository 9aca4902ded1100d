package oplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

const (
	backfillRows  = 200                   // of one step
	backfillPause = 50 * time.Millisecond // between steps: others want to write too
	backfillRetry = 5 * time.Second       // while the ledger is unavailable
	backfillTells = 50                    // steps from one line of the log to the next
)

// backfill completes the rows of an older installation, which kept error, message and cache
// key in details alone. Such a row has no door, and gets one when it is done: a gateway that
// ends in the middle goes on where it was, and two do no harm.
func (l *Log) backfill(ctx context.Context) {
	var last any
	pause, done, step := time.Duration(0), 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		n, err := l.backfillSome(ctx, &last)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && sdk.AsError(err).Kind == sdk.Unavailable:
			pause = backfillRetry
			continue
		case err != nil:
			l.logger.Error("rows of an older operation log stay as they are", "rows", done, "error", err)
			return
		}
		done += n
		step++
		if n == 0 || step%backfillTells == 0 {
			if done > 0 {
				l.logger.Info("rows of an older operation log have been completed from their details", "rows", done, "all", n == 0)
			}
		}
		if n == 0 {
			return
		}
		pause = backfillPause
	}
}

// oldRow is a row as an older installation has left it.
type oldRow struct {
	id                any
	status            sql.NullInt64
	failed            sql.NullBool
	message, cacheKey sql.NullString
	details           []byte
}

// What a step of the backfill asks for, and what it does with each row. Both need the index of
// rows without a door: the column id may be one that the ledger has added.
const (
	older     = "SELECT id, status_code, error, message, cache_key, details FROM gateway_operation_log WHERE door IS NULL%s ORDER BY id LIMIT $1"
	completed = "UPDATE gateway_operation_log SET error = $1, message = $2, cache_key = $3, door = 'gateway' WHERE id = $4 AND door IS NULL"
)

// backfillSome completes some rows after the id last, all if it is nil, moves it to the last
// of them, and returns how many they were. An index is not scanned again from its beginning,
// where it holds what has been completed until it is cleaned up.
func (l *Log) backfillSome(ctx context.Context, last *any) (n int, err error) {
	err = l.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		var old []oldRow
		after, args := "", []any{backfillRows}
		if *last != nil {
			after, args = " AND id > $2", append(args, *last)
		}
		err := each(ctx, c, fmt.Sprintf(older, after), args, func(rows *sql.Rows) error {
			var r oldRow
			err := rows.Scan(&r.id, &r.status, &r.failed, &r.message, &r.cacheKey, &r.details)
			old = append(old, r)
			return err
		})
		if err != nil {
			return err
		}
		for i := range old {
			r := &old[i]
			r.complete()
			if _, err := c.ExecContext(ctx, completed, r.failed, r.message, r.cacheKey, r.id); err != nil {
				return err
			}
			*last = r.id
			n++
		}
		return nil
	})
	return n, err
}

// complete takes from the details what the columns lack.
func (r *oldRow) complete() {
	var details map[string]json.RawMessage
	_ = json.Unmarshal(r.details, &details) // what is no object has nothing to give
	text := func(name string) (s string) {
		_ = json.Unmarshal(details[name], &s) // nor has another type
		return s
	}
	problem := text("error")
	if !r.failed.Valid {
		r.failed = sql.NullBool{Valid: true, Bool: problem != "" || r.status.Int64 >= 400}
		if said := string(details["error"]); said == "true" || said == "false" {
			r.failed.Bool = said == "true"
		}
	}
	if !r.message.Valid {
		message := text("message")
		if message == "" {
			message = problem
		}
		r.message = sql.NullString{String: clean(message, maxMessage), Valid: message != ""}
	}
	if !r.cacheKey.Valid {
		key := text("cache_key")
		r.cacheKey = sql.NullString{String: clean(key, maxMessage), Valid: key != ""}
	}
}
