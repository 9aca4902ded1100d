package ledger

import (
	"context"
	"database/sql"
	"errors"
	"strings"
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
	case errors.Is(err, sql.ErrNoRows):
		return sdk.E(sdk.NotFound, "not_found", "there is no such row")
	case errors.Is(err, context.Canceled):
		return sdk.E(sdk.Canceled, "canceled", "the request was given up")
	case errors.As(err, &pg):
		return classifyPostgres(pg)
	case errors.As(err, &lite):
		return classifySQLite(lite)
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err), isConnection(err):
		return unavailable(err.Error())
	}
	return &sdk.Error{Kind: sdk.Internal, Reason: "ledger_failed", Executed: sdk.ExecutedNo, Log: err.Error()}
}

// isConnection tells errors of connecting and of broken connections from those of our own
// making, such as a value that does not fit its column.
func isConnection(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true
	}
	text := err.Error()
	for _, known := range []string{"conn closed", "connection reset", "broken pipe", "unexpected EOF", "closed pool", "bad connection", "connection refused", "use of closed network connection"} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

func classifyPostgres(pg *pgconn.PgError) *sdk.Error {
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case pg.Code == "23505":
		return alreadyExists(pg.ConstraintName)
	case class == "08", class == "53", class == "57", class == "58", pg.Code == "25006", pg.Code == "40001", pg.Code == "40P01", pg.Code == "55P03":
		return unavailable(pg.Error())
	}
	return &sdk.Error{Kind: sdk.Internal, Reason: "ledger_failed", Executed: sdk.ExecutedNo, Log: pg.Error()}
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
	}
	return &sdk.Error{Kind: sdk.Internal, Reason: "ledger_failed", Executed: sdk.ExecutedNo, Log: e.Error()}
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
