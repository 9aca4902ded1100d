package main

import (
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
	kept, written, err := u.c.runScript(t.script.text, u.rows.Options().MaxBytes)
	if err != nil {
		readOnly := u.pipeline != nil
		return (&failure{err: err, ctx: u.ctx, readOnly: readOnly, sent: true, several: t.script.commits, sql: true}).classify()
	}
	if err := u.enter(t); err != nil {
		return err
	}
	t.affected, u.rows.Tail.Affected = written, written
	if kept.plan == nil {
		kept.plan = &plan{}
	}
	err = unlessCapped(kept.replay(u.rows))
	t.returned = u.rows.Tail.Rows
	return err
}

// runScript runs the text and returns its last result set, and how many rows it wrote,
// nil if it held no write. The error is pgconn's, or says that the rows are too large.
func (c *conn) runScript(text string, maxBytes int64) (kept keptRows, written *int64, err error) {
	if maxBytes == 0 {
		maxBytes = sdk.DefaultMaxHeld
	}
	all := c.pg.Exec(context.Background(), text)
	for all.NextResult() {
		rr := all.ResultReader()
		if fields := rr.FieldDescriptions(); len(fields) > 0 {
			kept.data = kept.data[:0]
			kept.plan, _ = newPlan(fields, c.db.types(), false, false)
		}
		for rr.NextRow() {
			kept.keep(rr.Values())
			if int64(len(kept.data)) > maxBytes {
				c.interrupt()
				_ = all.Close()
				return kept, nil, sdk.E(sdk.Invalid, "returned_rows_too_large", fmt.Sprintf("the rows of several statements exceed %d bytes", maxBytes)).
					WithHint("run the last statement by itself: its rows are streamed then")
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
	plan *plan
	data []byte
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
		if err := k.plan.write(rows, values); err != nil {
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
