package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
)

// failure is an error of pgconn with what is needed to say what it means.
type failure struct {
	err      error
	ctx      context.Context
	readOnly bool // the statement cannot have had effects
	sent     bool // it has reached the server for all that is known
	several  bool // a server error does not undo what went before it
	sql      bool // the text is the caller's own, so positions in it mean something
	offset   int  // characters before it in what was sent
}

// classify makes the sdk's error of f.
func (f *failure) classify() error {
	var known *sdk.Error
	if errors.As(f.err, &known) {
		return known
	}
	var server *pgconn.PgError
	if errors.As(f.err, &server) {
		return f.serverError(server)
	}
	e := &sdk.Error{
		Kind: sdk.Unavailable, Reason: "connection_lost", Source: sdk.FromDownstream,
		Message: "the connection to the database was lost", Log: f.err.Error(),
	}
	if cause := context.Cause(f.ctx); cause != nil { // closed because the server did not stop
		*e = *sdk.AsError(cause)
	}
	e.Executed = sdk.ExecutedUnknown
	if f.readOnly || !f.sent && pgconn.SafeToRetry(f.err) {
		e.Executed = sdk.ExecutedNo
	}
	return e
}

func (f *failure) serverError(p *pgconn.PgError) error {
	e := fromServer(p)
	if !f.sql {
		e.Position = 0
	} else if e.Position > 0 {
		e.Position = max(0, e.Position-f.offset)
	}
	fatal := p.SeverityUnlocalized != "ERROR"
	if p.Code == "08P01" && fatal { // a pooler that has lost its server, or had none to give the statement to
		e.Kind, e.Reason, e.RetryAfter = sdk.Unavailable, "connection_lost", time.Second
		fatal = p.Message != "query_wait_timeout" && !strings.Contains(p.Message, "(server_login_retry)")
	}
	if p.Code == "57014" {
		if cause := context.Cause(f.ctx); cause != nil {
			c := sdk.AsError(cause)
			e.Kind, e.Reason, e.Message = c.Kind, c.Reason, c.Message
		}
	}
	if !f.readOnly && (fatal || f.several || p.Code == "40003") {
		e.Executed = sdk.ExecutedUnknown
	}
	return e
}

// fromServer translates a server's error of a statement that it undid.
func fromServer(p *pgconn.PgError) *sdk.Error {
	kind, reason := classifyState(p.Code)
	if p.Code == "57014" && strings.Contains(p.Message, "timeout") {
		kind, reason = sdk.Timeout, "statement_timeout"
	}
	e := &sdk.Error{
		Kind: kind, Reason: reason, Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Code: p.Code,
		Message: p.Message, Detail: p.Detail, Hint: p.Hint,
		Schema: p.SchemaName, Table: p.TableName, Column: p.ColumnName, Constraint: p.ConstraintName,
		Position: int(p.Position), Log: p.Where,
	}
	if kind == sdk.Unavailable {
		e.RetryAfter = time.Second
	}
	return e
}

// states are the SQLSTATEs whose reason or kind is not that of their class.
var states = map[string]struct {
	kind   sdk.Kind
	reason string
}{
	"08P01": {sdk.Invalid, "wrong_arguments"}, // of all protocol violations, a number of arguments is the caller's
	"0A000": {sdk.Unsupported, "feature_not_supported"},
	"21000": {sdk.Invalid, "cardinality_violation"},
	"22001": {sdk.Invalid, "string_data_right_truncation"},
	"22003": {sdk.Invalid, "numeric_value_out_of_range"},
	"22007": {sdk.Invalid, "invalid_datetime_format"},
	"22008": {sdk.Invalid, "datetime_field_overflow"},
	"22012": {sdk.Invalid, "division_by_zero"},
	"22023": {sdk.Invalid, "invalid_parameter_value"},
	"22P02": {sdk.Invalid, "invalid_text_representation"},
	"23502": {sdk.Conflict, "not_null_violation"},
	"23503": {sdk.Conflict, "foreign_key_violation"},
	"23505": {sdk.Conflict, "unique_violation"},
	"23514": {sdk.Conflict, "check_violation"},
	"23P01": {sdk.Conflict, "exclusion_violation"},
	"25006": {sdk.Forbidden, "read_only_transaction"},
	"3D000": {sdk.NotFound, "undefined_database"},
	"3F000": {sdk.NotFound, "undefined_schema"},
	"40001": {sdk.Conflict, "serialization_failure"},
	"40P01": {sdk.Conflict, "deadlock_detected"},
	"42501": {sdk.Forbidden, "insufficient_privilege"},
	"42601": {sdk.Invalid, "syntax_error"},
	"42702": {sdk.Invalid, "ambiguous_column"},
	"42703": {sdk.Invalid, "undefined_column"},
	"42704": {sdk.Invalid, "undefined_object"},
	"42804": {sdk.Invalid, "datatype_mismatch"},
	"42883": {sdk.Invalid, "undefined_function"},
	"42P01": {sdk.NotFound, "undefined_table"},
	"42P07": {sdk.Conflict, "duplicate_table"},
	"55006": {sdk.Conflict, "object_in_use"},
	"55P03": {sdk.Conflict, "lock_not_available"},
	"57014": {sdk.Canceled, "query_canceled"},
	"57P01": {sdk.Unavailable, "admin_shutdown"},
	"57P02": {sdk.Unavailable, "crash_shutdown"},
	"57P03": {sdk.Unavailable, sdk.ReasonNotAccepting},
	"53300": {sdk.Unavailable, "too_many_connections"},
	"P0001": {sdk.Invalid, "raise_exception"},
}

// classes are the kinds of whole classes of SQLSTATEs.
var classes = map[string]struct {
	kind   sdk.Kind
	reason string
}{
	"08": {sdk.Unavailable, "connection_exception"},
	"0L": {sdk.Forbidden, "invalid_grantor"},
	"0P": {sdk.Forbidden, "invalid_role"},
	"22": {sdk.Invalid, "data_exception"},
	"23": {sdk.Conflict, "integrity_constraint_violation"},
	"25": {sdk.Invalid, "invalid_transaction_state"},
	"26": {sdk.Invalid, "invalid_statement_name"},
	"28": {sdk.Unauthenticated, "authentication_failed"},
	"2D": {sdk.Invalid, "invalid_transaction_termination"},
	"2B": {sdk.Conflict, "dependent_objects_exist"},
	"34": {sdk.Invalid, "invalid_cursor_name"},
	"40": {sdk.Conflict, "transaction_rollback"},
	"42": {sdk.Invalid, "invalid_statement"},
	"44": {sdk.Conflict, "with_check_option_violation"},
	"53": {sdk.Unavailable, "insufficient_resources"},
	"54": {sdk.Invalid, "program_limit_exceeded"},
	"55": {sdk.Conflict, "object_not_in_prerequisite_state"},
	"57": {sdk.Unavailable, "operator_intervention"},
	"P0": {sdk.Invalid, "procedure_error"},
	"PG": {sdk.Invalid, "raise_exception"}, // PGRST and PTnnn are raised for an HTTP status
	"PT": {sdk.Invalid, "raise_exception"},
}

func classifyState(code string) (sdk.Kind, string) {
	if s, ok := states[code]; ok {
		return s.kind, s.reason
	}
	if len(code) == 5 {
		if c, ok := classes[code[:2]]; ok {
			return c.kind, c.reason
		}
	}
	return sdk.Internal, "database_error"
}

// connectError says why a connection could not be made and what to check. It shows host
// and port, never the URI.
func connectError(err error, config *pgconn.Config) error {
	e := sdk.E(sdk.Unavailable, sdk.ReasonConnectFailed, "")
	e.Source = sdk.FromDownstream
	e.RetryAfter = time.Second
	address := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	var server *pgconn.PgError
	if errors.As(err, &server) {
		e.Code = server.Code
		e.Message = fmt.Sprintf("the database at %s refuses the connection: %s", address, server.Message)
		switch {
		case strings.HasPrefix(server.Code, "28"):
			e.Reason, e.Hint = "authentication_failed", "check user and password in the uri, and the server's pg_hba.conf"
		case server.Code == "3D000":
			e.Reason, e.Hint = "undefined_database", "check the database name in the uri, or create that database"
		case server.Code == "53300":
			e.Reason, e.Hint = "too_many_connections", "lower max_connections here, or raise it on the server"
		default:
			e.Hint = server.Hint
		}
		return e
	}
	e.Message, e.Hint = connectAdvice(err, address)
	return e
}

func connectAdvice(err error, address string) (message, hint string) {
	var dns *net.DNSError
	var network net.Error
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	text := err.Error()
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname),
		strings.Contains(text, "TLS"), strings.Contains(text, "tls"):
		return "no TLS connection to the database at " + address,
			"check sslmode and sslrootcert in the uri: a server without TLS needs sslmode=disable, and verify-full needs a certificate for that host name"
	case errors.As(err, &dns):
		return fmt.Sprintf("the database host %q is not known", dns.Name), "check the host name in the uri"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return "nothing accepts connections at " + address, "check that PostgreSQL runs there, and host and port in the uri"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "the database at " + address + " did not answer in time", "check host and port in the uri, firewalls, and connect_timeout"
	case strings.Contains(text, "password") || strings.Contains(text, "auth"):
		return "the database at " + address + " asks for an authentication that the uri does not provide", "check user and password in the uri"
	default:
		return "no connection to the database at " + address, "check that PostgreSQL runs there, and host, port and sslmode in the uri"
	}
}
