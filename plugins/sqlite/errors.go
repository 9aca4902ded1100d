package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/athena-gateway/athena/sdk"
)

// mapError makes an *sdk.Error of the driver's. Whoever calls it has rolled back what
// the failed statement did, or does it next: nothing was executed.
func (db *database) mapError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var known *sdk.Error
	if errors.As(err, &known) {
		return known
	}
	var e *sqlite.Error
	isSQLite := errors.As(err, &e)
	if cause := context.Cause(ctx); cause != nil && (!isSQLite || e.Code()&0xff == sqlite3.SQLITE_INTERRUPT) {
		ended := *sdk.AsError(cause)
		ended.Executed = sdk.ExecutedNo
		return &ended
	}
	if !isSQLite {
		return driverError(err)
	}
	text := message(e)
	out := &sdk.Error{Kind: sdk.Invalid, Reason: "sqlite_error", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo,
		Code: strconv.Itoa(e.Code()), Message: text}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_ERROR:
		sqlError(out)
	case sqlite3.SQLITE_CONSTRAINT:
		constraintError(out, e.Code())
	case sqlite3.SQLITE_MISMATCH:
		out.Reason = "datatype_mismatch"
	case sqlite3.SQLITE_TOOBIG:
		out.Reason = "too_big"
	case sqlite3.SQLITE_RANGE:
		out.Reason = "bad_argument"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		out.Kind, out.Reason = sdk.Unavailable, "database_locked"
		out.Hint = "another process holds the database's lock; try again, or raise busy_timeout"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PERM:
		out.Kind, out.Reason = sdk.Forbidden, "read_only"
	case sqlite3.SQLITE_INTERRUPT:
		out.Kind, out.Reason = sdk.Canceled, "canceled"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		out.Kind, out.Reason = sdk.Unavailable, "corrupt_database"
		out.Hint = fmt.Sprintf("%s is damaged or no SQLite database: restore it from a backup, or correct the path", db.path)
	case sqlite3.SQLITE_CANTOPEN:
		out.Kind, out.Reason = sdk.Unavailable, "cannot_open"
		out.Hint = fmt.Sprintf("check that %s exists and that the gateway may read it and write to its folder", db.path)
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM:
		out.Kind, out.Reason = sdk.Unavailable, "storage_failure"
		out.Hint = fmt.Sprintf("check the disk that holds %s: its space and its health", db.path)
	default:
		out.Kind, out.Reason = sdk.Internal, "sqlite_error"
	}
	return out
}

// driverError reads the errors that the Go driver makes itself.
func driverError(err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "missing argument") || strings.HasPrefix(text, "missing named argument") {
		return sdk.E(sdk.Invalid, "missing_argument", text).WithHint("give one argument for each placeholder ?1, ?2 ... or $1, $2 ...")
	}
	return err
}

// message is the database's own text. The driver writes "class: text (code)".
func message(e *sqlite.Error) string {
	text := strings.TrimSuffix(e.Error(), " (SQLITE_BUSY)")
	text = strings.TrimSuffix(text, fmt.Sprintf(" (%d)", e.Code()))
	for _, class := range []string{"SQL logic error: ", "constraint failed: "} {
		text = strings.TrimPrefix(text, class)
	}
	return text
}

// sqlError tells the errors apart that SQLite has one code for.
func sqlError(out *sdk.Error) {
	name := func(prefix string) (string, bool) { return strings.CutPrefix(out.Message, prefix) }
	if table, ok := name("no such table: "); ok {
		out.Kind, out.Reason = sdk.NotFound, "undefined_table"
		out.Table = strings.TrimPrefix(table, "main.")
		return
	}
	if column, ok := name("no such column: "); ok {
		out.Reason, out.Column = "undefined_column", column[strings.LastIndexByte(column, '.')+1:]
		return
	}
	switch {
	case strings.Contains(out.Message, "has no column named "):
		_, out.Column, _ = strings.Cut(out.Message, "has no column named ")
		out.Reason = "undefined_column"
	case strings.HasPrefix(out.Message, "no such function: "):
		out.Reason = "undefined_function"
	case strings.HasSuffix(out.Message, "syntax error"), strings.HasPrefix(out.Message, "unrecognized token"),
		out.Message == "incomplete input":
		out.Reason = "syntax_error"
	}
}

// constraintError reads "UNIQUE constraint failed: table.column, table.column" and its
// like.
func constraintError(out *sdk.Error, code int) {
	out.Kind = sdk.Conflict
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		out.Reason = "unique_violation"
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		out.Reason = "foreign_key_violation"
	case sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		out.Reason = "not_null_violation"
	case sqlite3.SQLITE_CONSTRAINT_CHECK:
		out.Reason = "check_violation"
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE:
		out.Kind, out.Reason = sdk.Invalid, "datatype_mismatch"
		return
	default:
		out.Reason = "constraint_violation" // of a trigger: in whatever words
		return
	}
	_, what, ok := strings.Cut(out.Message, " constraint failed: ")
	if !ok {
		return
	}
	if out.Reason == "check_violation" {
		out.Constraint = what
		return
	}
	first, _, _ := strings.Cut(what, ", ")
	if table, column, ok := strings.Cut(first, "."); ok {
		out.Table, out.Column = table, column
	}
}
