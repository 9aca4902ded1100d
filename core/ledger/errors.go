package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/athena-gateway/athena/sdk"
)

// Classify makes the error that callers see of one that a use of the ledger ended with. What
// is an *sdk.Error already stays what it is; nil stays nil.
func Classify(err error) *sdk.Error {
	if err == nil {
		return nil
	}
	var own *sdk.Error
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, errCommit):
		e := unavailable(err.Error())
		e.Executed, e.Hint = sdk.ExecutedUnknown, "look whether the change has been made before you repeat it"
		return e
	case isConnection(err):
		return unavailable(err.Error())
	case errors.Is(err, sql.ErrNoRows):
		return sdk.E(sdk.NotFound, "not_found", "there is no such row")
	case errors.Is(err, context.Canceled):
		return sdk.E(sdk.Canceled, "canceled", "the request was given up")
	case errors.As(err, &pg):
		return classifyPostgres(pg)
	case errors.As(err, &lite):
		return classifySQLite(lite)
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return unavailable(err.Error())
	case strings.Contains(err.Error(), "encode"): // pgx has no type for values that do not fit their column
		return refused(valueRefused, err)
	}
	return refused("ledger_failed", err)
}

// valueRefused is the reason of an error about a row, which another row need not meet.
const valueRefused = "ledger_value"

func refused(reason string, err error) *sdk.Error {
	return &sdk.Error{Kind: sdk.Internal, Reason: reason, Executed: sdk.ExecutedNo, Log: err.Error()}
}

// badValue is the error about a value that no column could hold, which is the caller's.
func badValue(err error) *sdk.Error {
	e := refused(valueRefused, err)
	e.Kind, e.Message = sdk.Invalid, "the gateway's own database cannot hold a value of the request"
	e.Hint = "send text in UTF-8 without zero bytes, and numbers of ordinary size"
	return e
}

// aboutRow reports whether an error is about one of the rows, not about the ledger.
func aboutRow(e *sdk.Error) bool { return e.Reason == valueRefused || e.Kind == sdk.Conflict }

// isConnection tells errors of connecting, logging in and of broken connections from those
// of statements.
func isConnection(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	var errno syscall.Errno
	var statement *pgconn.PgError
	switch {
	case errors.As(err, &connect), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &errno):
		return true
	case errors.As(err, &statement):
		return strings.HasPrefix(statement.Code, "08") || strings.HasPrefix(statement.Code, "57P")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return false
	}
	return errors.As(err, &network) || strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool")
}

// refusesLogin reports whether PostgreSQL answers but does not let us in: at the start that
// is a mistake of the configuration.
func refusesLogin(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "28") || pg.Code == "3D000")
}

func classifyPostgres(pg *pgconn.PgError) *sdk.Error {
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case pg.Code == "23505":
		return alreadyExists(pg.ConstraintName)
	case class == "08", class == "53", class == "57", class == "58", pg.Code == "25006", pg.Code == "40001", pg.Code == "40P01", pg.Code == "55P03":
		return unavailable(pg.Error())
	case class == "22":
		return badValue(pg)
	case class == "23", class == "P0", pg.Code == "54000": // a rule, a trigger's exception, a value too long for an index
		return refused(valueRefused, pg)
	}
	return refused("ledger_failed", pg)
}

func classifySQLite(e *sqlite.Error) *sdk.Error {
	switch code := e.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_UNIQUE, code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return alreadyExists("")
	case code&0xff == sqlite3.SQLITE_INTERRUPT:
		return unavailable("it was too slow")
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED, code&0xff == sqlite3.SQLITE_IOERR, code&0xff == sqlite3.SQLITE_FULL,
		code&0xff == sqlite3.SQLITE_READONLY, code&0xff == sqlite3.SQLITE_CANTOPEN:
		return unavailable(e.Error())
	case code&0xff == sqlite3.SQLITE_CONSTRAINT, code&0xff == sqlite3.SQLITE_MISMATCH:
		return refused(valueRefused, e)
	case code&0xff == sqlite3.SQLITE_TOOBIG:
		return badValue(e)
	}
	return refused("ledger_failed", e)
}

func alreadyExists(constraint string) *sdk.Error {
	e := sdk.E(sdk.Conflict, "already_exists", "there is one of this name already")
	e.Constraint = constraint
	return e
}

func unavailable(problem string) *sdk.Error {
	return &sdk.Error{Kind: sdk.Unavailable, Reason: "ledger_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
		Message: "the gateway's own database is not available", Hint: "its state is in /health; try again", RetryAfter: time.Second, Log: problem}
}

func isUnavailable(err error) bool { return Classify(err).Reason == "ledger_unavailable" }
