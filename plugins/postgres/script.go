package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
)

// script runs a text of several statements inside the transaction.
func (u *unit) script(t *task) error {
	if err := u.pipeline.flush(); err != nil {
		return err
	}
	u.pipeline.failed = t.index
	return u.runScript(t)
}

// runScript runs a text of several statements by the simple protocol, in one implicit
// transaction unless they say otherwise. The answer is the last result set; which one that
// is shows at the end, so each is kept until the next comes.
func (u *unit) runScript(t *task) error {
	limit := cmp.Or(u.rows.Options().MaxBytes, sdk.DefaultMaxHeld)
	kept, written, err := u.c.runScript(t.script.text, limit)
	inside := u.pipeline != nil
	var refused error
	switch {
	case inside && !u.c.pg.IsClosed() && u.c.pg.TxStatus() == 'I':
		return endedEarly()
	case kept.tooLarge:
		refused = sdk.E(sdk.Invalid, "returned_rows_too_large", fmt.Sprintf("the rows of several statements exceed %d bytes", limit)).
			WithHint("run the last statement by itself: its rows are streamed then")
	case err != nil:
		return (&failure{err: err, ctx: u.ctx, readOnly: inside, sent: true, several: t.script.commits, sql: true}).classify()
	default:
		refused = u.replay(t, &kept, written)
	}
	if refused == nil || inside {
		return refused
	}
	return u.c.textRefused(t, refused, err)
}

// endedEarly is the error of a text that has got around checkScript's look for COMMIT.
func endedEarly() error {
	e := sdk.E(sdk.Invalid, "transaction_control", "the SQL text has ended the transaction of its call")
	e.Executed = sdk.ExecutedUnknown
	return e
}

// leftOpen is the error of a text that begins a transaction and does not end it: nobody else
// will, so what it has done is undone.
func leftOpen() error {
	e := sdk.E(sdk.Invalid, "transaction_control", "the SQL text has begun a transaction and not ended it: what it did in it is undone").
		WithHint("end the transaction in the text, or leave out BEGIN: a text is one transaction anyway")
	e.Executed = sdk.ExecutedUnknown // it may have committed another one
	return e
}

// replay answers with the rows that a text ended with. Its error is EndRow's.
func (u *unit) replay(t *task, kept *keptRows, written *int64) error {
	if err := u.enter(t); err != nil {
		return err
	}
	t.affected, u.rows.Tail.Affected = written, written
	if kept.plan == nil {
		kept.plan = &plan{}
	}
	err := unlessCapped(kept.replay(u.rows))
	t.returned = u.rows.Tail.Rows
	return err
}

// runScript runs the text and returns its last result set, and how many rows it wrote,
// nil if it held no write. A result set of more than limit bytes ends it. The error is
// pgconn's.
func (c *conn) runScript(text string, limit int64) (kept keptRows, written *int64, err error) {
	all := c.pg.Exec(context.Background(), text)
	for !kept.tooLarge && all.NextResult() {
		rr := all.ResultReader()
		if fields := rr.FieldDescriptions(); len(fields) > 0 {
			kept.data = kept.data[:0]
			kept.plan, _ = newPlan(fields, c.db.types(), false, false, false)
		}
		for !kept.tooLarge && rr.NextRow() {
			kept.keep(rr.Values())
			if int64(len(kept.data)) > limit {
				kept.tooLarge = true
				c.interrupt()
			}
		}
		tag, err := rr.Close()
		if err != nil {
			break // Close returns it too
		}
		if n, ok := writtenRows(tag); ok {
			if written != nil {
				n += *written
			}
			written = &n
		}
	}
	return kept, written, all.Close()
}

// keptRows are the wire values of a result set, each behind its length.
type keptRows struct {
	plan     *plan
	data     []byte
	tooLarge bool // not all are here
}

func (k *keptRows) keep(values [][]byte) {
	for _, v := range values {
		size := int32(len(v))
		if v == nil {
			size = -1
		}
		k.data = binary.LittleEndian.AppendUint32(k.data, uint32(size))
		k.data = append(k.data, v...)
	}
}

// replay writes the rows that were kept.
func (k *keptRows) replay(rows *sdk.Rows) error {
	k.plan.describe(rows)
	values := make([][]byte, len(k.plan.columns))
	for data := k.data; len(data) > 0 && len(values) > 0; {
		for i := range values {
			size := int32(binary.LittleEndian.Uint32(data))
			data = data[4:]
			if values[i] = nil; size >= 0 {
				values[i], data = data[:size:size], data[size:]
			}
		}
		if err := k.plan.write(rows, values, nil); err != nil {
			return err
		}
	}
	return nil
}

// writtenRows is how many rows a command wrote, if it is one that writes rows.
func writtenRows(tag pgconn.CommandTag) (int64, bool) {
	if tag.Insert() || tag.Update() || tag.Delete() || strings.HasPrefix(tag.String(), "MERGE") {
		return tag.RowsAffected(), true
	}
	return 0, false
}
