package ledger

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/athena-gateway/athena/sdk"
)

// Target is a PostgreSQL database that gets the ledger's tables, so that gateways can use it
// as theirs. Its methods connect anew each time.
type Target struct {
	config     *pgx.ConnConfig
	reached    atomic.Bool  // something took a connection
	statements atomic.Int64 // that were executed
}

// Applied is what Provision has done.
type Applied struct {
	Statements int      // that were executed; 0: everything was there already
	Tables     []string // that are there now, sorted
}

const (
	targetConnectTime = 10 * time.Second
	// targetMessage bounds a message of what may not be PostgreSQL at all, and then sends
	// lengths of gigabytes.
	targetMessage = 1 << 20
)

// callersKeys are the parts of a caller's URI. What reads files of this machine, or takes
// other hosts from them, is not among them.
var callersKeys = []string{"host", "port", "user", "password", "database", "sslmode", "sslnegotiation", "channel_binding",
	"target_session_attrs", "connect_timeout", "application_name", "options", "search_path"}

// CallersTarget reads a caller's URI, postgres://user:password@host:port/database. It takes
// no password and no client certificate from files or from this process's environment.
func CallersTarget(uri string) (*Target, error) {
	if !strings.HasPrefix(uri, "postgres://") && !strings.HasPrefix(uri, "postgresql://") {
		return nil, errNoURI("")
	}
	options := pgx.ParseConfigOptions{ParseConfigOptions: pgconn.ParseConfigOptions{ConnStringAllowedKeys: callersKeys}}
	config, err := pgx.ParseConfigWithOptions(uri, options)
	if err != nil {
		// The error's text may hold a password that it does not recognize.
		return nil, errNoURI(": check its port and percent-encoding; its parameters can be " + strings.Join(callersKeys, ", "))
	}
	if !hasPassword(uri) {
		config.Password = "" // it would be one of ours
	}
	withoutCertificate(config.TLSConfig)
	for _, other := range config.Fallbacks {
		withoutCertificate(other.TLSConfig)
	}
	return newTarget(config), nil
}

// hasPassword reports whether a URI has a password of its own that is not empty. As libpq
// does, it looks for the credentials' @ up to the first slash, and takes the last of
// parameters with the same name.
func hasPassword(uri string) bool {
	_, rest, _ := strings.Cut(uri, "://")
	password := ""
	if end := strings.IndexAny(rest, "@/"); end >= 0 && rest[end] == '@' {
		_, password, _ = strings.Cut(rest[:end], ":")
		rest = rest[end+1:]
	}
	_, query, _ := strings.Cut(rest, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && name == "password" {
			password = value
		}
	}
	return strings.TrimSpace(password) != ""
}

// withoutCertificate keeps the client certificate of this process from a server.
func withoutCertificate(config *tls.Config) {
	if config != nil {
		config.Certificates, config.GetClientCertificate = nil, nil
	}
}

// ClientTarget reads the URI of a client, which the operator has chosen with all that it
// refers to. A password, if there is one, replaces the URI's.
func ClientTarget(uri, password string) (*Target, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil || uri == "" {
		return nil, errNoURI("")
	}
	if password != "" {
		config.ConnConfig.Password = password
	}
	return newTarget(config.ConnConfig), nil
}

func errNoURI(more string) error {
	return sdk.E(sdk.Invalid, "invalid_uri", "this is no PostgreSQL URI that can be used here"+more).
		WithHint("the form is postgres://user:password@host:5432/database?sslmode=require")
}

func newTarget(config *pgx.ConnConfig) *Target {
	t := &Target{config: config}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > targetConnectTime {
		config.ConnectTimeout = targetConnectTime
	}
	config.MaxProtocolMessageBodyLen = targetMessage
	config.Tracer = statementCounter{t}
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			t.reached.Store(true)
		}
		return conn, err
	}
	return t
}

// Hosts are all the hosts that may be connected to: names, addresses, and folders of sockets,
// which begin with a slash or a drive's letter.
func (t *Target) Hosts() []string {
	hosts := []string{t.config.Host}
	for _, other := range t.config.Fallbacks {
		if !slices.Contains(hosts, other.Host) {
			hosts = append(hosts, other.Host)
		}
	}
	return hosts
}

// Pin has hosts connected to at these addresses alone, whatever a resolver says of them later.
func (t *Target) Pin(addresses map[string][]string) {
	t.config.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		if pinned := addresses[host]; len(pinned) > 0 {
			return pinned, nil
		}
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
}

// String is the target's host, port and database, without credentials.
func (t *Target) String() string {
	return net.JoinHostPort(t.config.Host, strconv.Itoa(int(t.config.Port))) + "/" + t.config.Database
}

// Provision makes the tables of the ledger that are not there, and brings the others up to
// date. Calls at the same time follow each other. Errors are *sdk.Error.
func (t *Target) Provision(ctx context.Context) (*Applied, error) {
	db := t.open()
	defer db.Close()
	repaired := false
	migrated, err := migratePostgres(ctx, db, func() (err error) {
		repaired, err = t.repair(ctx, db)
		return err
	})
	if err != nil {
		return nil, t.classify(ctx, err)
	}
	applied := &Applied{Tables: Tables()}
	if migrated > 0 || repaired {
		applied.Statements = int(t.statements.Load())
	}
	return applied, nil
}

// keyTables refer to each other by numbers, which begin again when one of them is made anew.
var keyTables = []string{"api_key_right_grants", "api_key_rights", "api_keys"}

// repair makes tables again that were dropped from a provisioned database, all in one
// transaction that leaves the others as they are. It waits for nobody for long: the database
// may be in use.
func (t *Target) repair(ctx context.Context, db *sql.DB) (done bool, err error) {
	_, missing, err := inspect(ctx, db)
	if err != nil || len(missing) == 0 {
		return false, err
	}
	keys := slices.DeleteFunc(slices.Clone(missing), func(name string) bool { return !slices.Contains(keyTables, name) })
	if len(keys) > 0 && len(keys) < len(keyTables) {
		return false, sdk.E(sdk.Conflict, "provision_damaged", fmt.Sprintf("%s has lost the tables %s, to which those of its other tables of keys refer", t, strings.Join(keys, ", "))).
			WithHint("restore them from a backup, or drop all three: " + strings.Join(keyTables, ", "))
	}
	patient := stdlib.OpenDB(*t.config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET lock_timeout = '5s'")
		return err
	}))
	defer patient.Close()
	_, err = up(ctx, patient, goose.DialectPostgres, "postgres", goose.WithDisableVersioning(true))
	return err == nil, err
}

// Inspect tells which of the ledger's tables are there and which are not.
func (t *Target) Inspect(ctx context.Context) (present, missing []string, err error) {
	db := t.open()
	defer db.Close()
	if present, missing, err = inspect(ctx, db); err != nil {
		return nil, nil, t.classify(ctx, err)
	}
	return present, missing, nil
}

func inspect(ctx context.Context, db *sql.DB) (present, missing []string, err error) {
	present, missing = []string{}, []string{}
	for _, name := range Tables() {
		var there bool
		err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class
			WHERE relname = $1 AND relkind IN ('r', 'p') AND pg_catalog.pg_table_is_visible(oid))`, name).Scan(&there)
		if err != nil {
			return nil, nil, err
		}
		if there {
			present = append(present, name)
		} else {
			missing = append(missing, name)
		}
	}
	return present, missing, nil
}

func (t *Target) open() *sql.DB {
	db := stdlib.OpenDB(*t.config)
	db.SetMaxOpenConns(2) // one holds the lock
	return db
}

var createTable = regexp.MustCompile(`CREATE TABLE IF NOT EXISTS (\w+)`)

// Tables are the names of the ledger's tables, sorted.
func Tables() []string {
	var names []string
	files, err := fs.Glob(migrations, "migrations/postgres/*.sql")
	for _, file := range files {
		var text []byte
		if text, err = migrations.ReadFile(file); err != nil {
			break
		}
		for _, found := range createTable.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	if err != nil {
		panic(err) // they are in the binary
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// statementCounter counts what a target is asked to do.
type statementCounter struct{ target *Target }

func (c statementCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.target.statements.Add(1)
	return ctx
}

func (c statementCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// classify makes the error that an operator sees.
func (t *Target) classify(ctx context.Context, err error) error {
	var known *sdk.Error
	var pg *pgconn.PgError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &pg):
		return t.classifyServer(pg)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded), pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return t.unreachable(fmt.Sprintf("%s did not answer in time", t), err)
	case ctx.Err() != nil:
		return sdk.AsError(context.Cause(ctx))
	case !t.reached.Load():
		return t.unreachable(fmt.Sprintf("%s cannot be reached", t), err)
	case errors.As(err, &certificate):
		return sdk.E(sdk.Invalid, "tls_failed", fmt.Sprintf("the certificate of %s is not trusted: %v", t, certificate.Err))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return t.unreachable(fmt.Sprintf("%s closed the connection", t), err)
	}
	return &sdk.Error{Kind: sdk.Invalid, Reason: "not_postgres", Source: sdk.FromHost, Executed: sdk.ExecutedNo, Log: t.hide(err.Error()),
		Message: fmt.Sprintf("what listens on %s does not answer as PostgreSQL does", t), Hint: "check host, port and sslmode"}
}

func (t *Target) unreachable(message string, err error) error {
	e := &sdk.Error{Kind: sdk.Unavailable, Reason: "unreachable", Source: sdk.FromHost, Message: message, RetryAfter: time.Second,
		Hint: "check host and port, and that the gateway's machine may connect to it", Log: t.hide(err.Error())}
	if e.Executed = t.executed(); e.Executed != sdk.ExecutedNo {
		e.Hint += "; to provision it again does no harm"
	}
	return e
}

// executed is what is known of the statements after an error.
func (t *Target) executed() sdk.Executed {
	if t.statements.Load() == 0 {
		return sdk.ExecutedNo
	}
	return sdk.ExecutedUnknown
}

// classifyServer passes on what a server said.
func (t *Target) classifyServer(pg *pgconn.PgError) error {
	e := &sdk.Error{Kind: sdk.Invalid, Reason: "provision_failed", Source: sdk.FromDownstream, Executed: t.executed(), Code: pg.Code,
		Message: t.hide(pg.Message), Detail: t.hide(pg.Detail), Hint: t.hide(pg.Hint)}
	switch class := pg.Code[:min(2, len(pg.Code))]; {
	case pg.Code == "42501":
		e.Kind, e.Reason = sdk.Forbidden, "insufficient_privilege"
		if e.Hint == "" {
			e.Hint = "the role needs to connect to the database and to create in its schema: GRANT CREATE, USAGE ON SCHEMA public TO it"
		}
	case class == "28":
		e.Reason, e.Hint = "invalid_credentials", "check user and password of the URI"
	case pg.Code == "3D000":
		e.Reason, e.Hint = "unknown_database", "create the database first"
	case pg.Code == "25006":
		e.Reason, e.Hint = "read_only", "this is a replica or a session that may not write: name the primary"
	case pg.Code == "55P03", pg.Code == "40P01", pg.Code == "40001": // its transaction has ended without effect
		e.Kind, e.Reason, e.RetryAfter, e.Executed = sdk.Unavailable, "unreachable", time.Second, sdk.ExecutedNo
		e.Hint = "its tables are in use: try again when there is less going on"
	case class == "08", class == "53", class == "57", class == "58", class == "40":
		e.Kind, e.Reason, e.RetryAfter = sdk.Unavailable, "unreachable", time.Second
	}
	return e
}

// hide takes the password out of a text.
func (t *Target) hide(text string) string {
	if t.config.Password == "" {
		return text
	}
	return strings.ReplaceAll(text, t.config.Password, "***")
}
