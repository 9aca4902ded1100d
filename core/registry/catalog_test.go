package registry

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// sealer makes a Sealer with the given keys.
func sealer(t *testing.T, key, previous []byte) *Sealer {
	t.Helper()
	s, err := NewSealer(key, previous, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key)
	return key
}

func withKey(key []byte) func(*Options) {
	return func(o *Options) { o.Sealer, _ = NewSealer(key, nil, false) }
}

// query returns the rows of a query as texts; NULL is "-".
func query(t *testing.T, l *ledger.Ledger, sqlText string, args ...any) [][]string {
	t.Helper()
	var table [][]string
	err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		table = nil
		rows, err := c.QueryContext(ctx, sqlText, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.ColumnTypes()
		if err != nil {
			return err
		}
		for rows.Next() {
			values, texts := make([]any, len(columns)), make([]string, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				return err
			}
			for i := range values {
				switch v := (*values[i].(*any)).(type) {
				case nil:
					texts[i] = "-"
				case []byte:
					texts[i] = string(v)
				case int64:
					texts[i] = fmt.Sprint(v)
					if columns[i].DatabaseTypeName() == "BOOLEAN" {
						texts[i] = fmt.Sprint(v != 0)
					}
				default:
					texts[i] = fmt.Sprint(v)
				}
			}
			table = append(table, texts)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestSeed: the file's clients come into the catalog once, whoever starts how often, and what
// operators decided about them stays.
func TestSeed(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l, other := ledgertest.Open(t, uri), ledgertest.Open(t, uri)
		file := []Definition{inFile("a", "/a"), {Name: "b", Backend: "postgres", Config: json.RawMessage(`{"uri":"postgres://u:s3cret@h/d"}`), Template: "${B_URI}"}}
		var both sync.WaitGroup
		gateways := make([]*gateway, 2)
		for i, l := range []*ledger.Ledger{l, other} {
			both.Go(func() { gateways[i] = start(t, l, nil, file...) })
		}
		both.Wait()
		const catalog = `SELECT client_name, source, backend, config_uri_template, pg_uri, is_active, is_frozen, deleted_at FROM athena_clients ORDER BY client_name`
		want := [][]string{{"a", "config", "db", "-", "-", "true", "false", "-"}, {"b", "config", "postgres", "${B_URI}", "-", "true", "false", "-"}}
		if diff := cmp.Diff(want, query(t, l, catalog)); diff != "" {
			t.Errorf("the catalog (-want +got):\n%s", diff)
		}
		ctx := context.Background()
		if _, err := gateways[0].SetFrozen(ctx, change(), "a", true); err != nil {
			t.Fatal(err)
		}
		if _, err := gateways[0].Update(ctx, change(), "b", Edit{Description: value("the second")}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other gateway refuses too", func() bool {
			c, err := gateways[1].Client("a")
			return err == nil && c.Status().Reason == "client_frozen"
		})
		for _, g := range gateways {
			g.end()
		}
		before := query(t, l, `SELECT count(*) FROM admin_audit_log`)
		file[1].Template = "${OTHER_URI}"
		again := start(t, l, nil, file...)
		again.refused(t, "a", "client_frozen")
		again.end()
		start(t, other, nil, file...)
		rows := query(t, l, `SELECT client_name, is_frozen, description, config_uri_template FROM athena_clients ORDER BY client_name`)
		if diff := cmp.Diff([][]string{{"a", "true", "-", "-"}, {"b", "false", "the second", "${OTHER_URI}"}}, rows); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		after := query(t, l, `SELECT count(*) FROM admin_audit_log`)
		if fmt.Sprint(before, after) != "[[4]] [[5]]" && fmt.Sprint(before, after) != "[[3]] [[4]]" { // both may have seeded at first
			t.Errorf("%v changes were made before the restarts, %v after them", before, after)
		}
	})
}

// TestCatalog walks a client of the catalog through its life, on two gateways of one ledger.
func TestCatalog(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		key := newKey()
		l := ledgertest.Open(t, uri)
		g := start(t, l, withKey(key), inFile("file", "/file"))
		other := start(t, ledgertest.Open(t, uri), withKey(key), inFile("file", "/file"))
		ctx := context.Background()
		follows := func(what string, condition func() bool) {
			t.Helper()
			began := time.Now()
			eventually(t, what, condition)
			t.Logf("%s: after %s", what, time.Since(began))
		}
		is := func(name, path string) func() bool {
			return func() bool {
				body, err := other.ask(ctx, name, "path")
				return err == nil && body == `[{"path":"`+path+`"}]`
			}
		}
		refuses := func(name, reason string) func() bool {
			return func() bool {
				_, err := other.ask(ctx, name, "path")
				return err != nil && strings.Contains(err.Error(), "("+reason+")")
			}
		}
		g.refused(t, "new", "unknown_client")
		record, _, err := g.Create(ctx, change(), "new", given(`{"path":"/new","token":"t0ken-s3cret"}`))
		if err != nil {
			t.Fatal(err)
		}
		if g.path(t, "new") != "/new" {
			t.Error("new is elsewhere")
		}
		if string(record.Config) != `{"path":"/new","token":"***"}` || record.Source != "database" || record.Backend != "db" || record.ID == "" || record.PGURI != nil {
			t.Errorf("the record is %+v with %s", record, record.Config)
		}
		if stored := query(t, l, `SELECT config FROM athena_clients WHERE client_name = 'new'`)[0][0]; !strings.HasPrefix(stored, "sealed:v1:") {
			t.Errorf("%s is stored", stored)
		}
		follows("created there", is("new", "/new"))
		_, _, err = g.Create(ctx, change(), "new", given(`{}`))
		wantReason(t, err, "client_exists")
		_, _, err = g.Create(ctx, change(), "file", given(`{}`))
		wantReason(t, err, "client_exists")

		if _, err := g.Update(ctx, change(), "new", given(`{"path":"/newer"}`)); err != nil {
			t.Fatal(err)
		}
		follows("changed there", is("new", "/newer"))
		if _, err := other.SetFrozen(ctx, change(), "new", true); err != nil {
			t.Fatal(err)
		}
		other.refused(t, "new", "client_frozen")
		eventually(t, "frozen here", func() bool { _, err := g.ask(ctx, "new", "path"); return err != nil })
		g.refused(t, "new", "client_frozen")
		deleted, _, err := g.Delete(ctx, change(), "new")
		if err != nil || deleted.DeletedAt == nil {
			t.Fatalf("%+v %v", deleted, err)
		}
		g.refused(t, "new", "client_deleted")
		follows("deleted there", refuses("new", "client_deleted"))
		for _, f := range []func() error{
			func() error { _, _, err := g.Delete(ctx, change(), "new"); return err },
			func() error { _, err := g.SetFrozen(ctx, change(), "new", true); return err },
			func() error { _, err := g.Update(ctx, change(), "new", Edit{Description: value("x")}); return err },
		} {
			wantReason(t, f(), "unknown_client", "was deleted; POST")
		}
		revived, _, err := g.Create(ctx, change(), "new", given(`{"path":"/again"}`))
		if err != nil || revived.ID != record.ID || revived.DeletedAt != nil || revived.IsFrozen {
			t.Fatalf("%+v %v", revived, err)
		}
		follows("back there", is("new", "/again"))

		// The file's client: a connection of its own, then back to the file's, then deleted.
		if _, err := g.Update(ctx, change(), "file", given(`{"path":"/own"}`)); err != nil {
			t.Fatal(err)
		}
		follows("the file's client moved there", is("file", "/own"))
		if _, err := g.Update(ctx, change(), "file", Edit{Config: Field[json.RawMessage]{Set: true}}); err != nil {
			t.Fatal(err)
		}
		if g.path(t, "file") != "/file" {
			t.Error("the file's client is elsewhere")
		}
		follows("the file's client is back there", is("file", "/file"))
		if _, _, err := g.Delete(ctx, change(), "file"); err != nil {
			t.Fatal(err)
		}
		follows("the file's client is deleted there", refuses("file", "client_deleted"))
		if names := fmt.Sprintf("%d %s", len(g.Clients()), g.Runtime("file").State); names != "1 deleted" {
			t.Errorf("listed are %s", names)
		}
		g.end()
		restarted := start(t, l, withKey(key), inFile("file", "/file"))
		restarted.refused(t, "file", "client_deleted")
		if restarted.path(t, "new") != "/again" {
			t.Error("new is elsewhere after a restart")
		}
		if _, _, err := restarted.Create(ctx, change(), "file", Edit{}); err != nil {
			t.Fatal(err)
		}
		if restarted.path(t, "file") != "/file" || restarted.Runtime("file").Source != "config" {
			t.Error("the revived client of the file is elsewhere")
		}
		records, total, err := restarted.Records(ctx, false, 1, 1)
		if err != nil || total != 2 || len(records) != 1 || records[0].ClientName != "new" {
			t.Errorf("%d of %d: %v", len(records), total, err)
		}
	})
}

// TestChangedMeanwhile: a change that was checked against a row which somebody else has changed
// since is refused. One that was checked before the row was seeded is not.
func TestChangedMeanwhile(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		g := start(t, ledgertest.Open(t, uri), withKey(newKey()), inFile("file", "/file"))
		ctx := context.Background()
		if _, _, err := g.Create(ctx, change(), "a", given(`{"path":"/one"}`)); err != nil {
			t.Fatal(err)
		}
		seen, err := g.stored(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := g.resolve(ctx, seen, "a", Edit{Description: value("mine")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Update(ctx, change(), "a", given(`{"path":"/two"}`)); err != nil {
			t.Fatal(err)
		}
		_, err = g.edit(ctx, change(), "a", seen, columns)
		wantReason(t, err, "client_changed", "repeat the change")
		if g.path(t, "a") != "/two" {
			t.Error("the refused change has moved the client")
		}
		blank := &row{Record: Record{ClientName: "file", Backend: "db"}}
		<-g.seeded
		if _, err := g.edit(ctx, change(), "file", blank, map[string]any{"description": "x"}); err != nil {
			t.Error(err)
		}
		_, err = g.edit(ctx, change(), "file", blank, map[string]any{"description": "y"})
		wantReason(t, err, "client_changed")
		for _, name := range []string{"a\x00", "\xff", ""} {
			for what, f := range map[string]func() error{
				"Record":       func() error { _, err := g.Record(ctx, name); return err },
				"Update":       func() error { _, err := g.Update(ctx, change(), name, Edit{}); return err },
				"SetFrozen":    func() error { _, err := g.SetFrozen(ctx, change(), name, true); return err },
				"Delete":       func() error { _, _, err := g.Delete(ctx, change(), name); return err },
				"Config":       func() error { _, err := g.Config(ctx, name); return err },
				"SetConfig":    func() error { _, err := g.SetConfig(ctx, change(), name, nil); return err },
				"DeleteConfig": func() error { _, err := g.DeleteConfig(ctx, change(), name); return err },
			} {
				if e := sdk.AsError(f()); e == nil || e.Reason != "unknown_client" {
					t.Errorf("%s of %q: %v", what, name, e)
				}
			}
		}
	})
}

// sentBack is an edit with all that a record shows.
func sentBack(r *Record) Edit {
	e := Edit{UpdatedAt: &r.UpdatedAt, Description: Field[string]{true, r.Description}, PGURI: Field[string]{true, r.PGURI},
		PGURIEnvVar: Field[string]{true, r.PGURIEnvVar}, Backend: value(r.Backend), Config: Field[json.RawMessage]{Set: true},
		IsActive: value(r.IsActive), IsFrozen: value(r.IsFrozen), Metadata: value(r.Metadata)}
	if r.Config != nil {
		e.Config.Value = &r.Config
	}
	return e
}

// TestWholeRecord: a record that is sent back as it was shown, but frozen, freezes the client and
// changes nothing else, whether or not its connection can be used.
func TestWholeRecord(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		ctx, key, l := context.Background(), newKey(), ledgertest.Open(t, uri)
		g := start(t, l, withKey(key), inFile("file", "/file"))
		<-g.seeded
		for name, edit := range map[string]Edit{
			"sealed":   given(`{"path":"/sealed","token":"t0ken-s3cret"}`),
			"uri":      {PGURI: value("postgres://u:s3cret@h/d")},
			"both":     {PGURI: value("postgres://u:s3cret@h/d"), PGURIEnvVar: value("UNSET")},
			"variable": {PGURIEnvVar: value("UNSET")},
			"misfit":   given(`{"path":"/misfit"}`),
		} {
			if _, _, err := g.Create(ctx, change(), name, edit); err != nil {
				t.Fatal(name, err)
			}
		}
		g.end()
		// The overrides of misfit and file are of a plugin that there was before.
		if err := l.Change(ctx, ledger.Configs, change(), func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, `INSERT INTO client_configs (client_name, config, created_at, updated_at)
				VALUES ('misfit', '{"min_connections":1}', $1, $1), ('file', '{"min_connections":1}', $1, $1)`, time.Now().UTC())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		const connections = `SELECT client_name, backend, config, pg_uri, pg_uri_env_var FROM athena_clients ORDER BY client_name`
		stored := query(t, l, connections)
		moved := inFile("file", "/file")
		moved.Backend = "postgres" // it was db
		for _, test := range []struct {
			name string
			key  []byte
			file Definition
		}{{"as before", key, inFile("file", "/file")}, {"another backend in the file", key, moved}, {"without the key", nil, moved}} {
			g := start(t, l, withKey(test.key), test.file)
			for _, row := range stored {
				for _, frozen := range []bool{true, false} {
					record, err := g.Record(ctx, row[0])
					if err != nil {
						t.Fatal(err)
					}
					edit := sentBack(record)
					edit.IsFrozen = value(frozen)
					after, err := g.Update(ctx, change(), row[0], edit)
					if err != nil {
						t.Errorf("%s, %s: %v", test.name, row[0], err)
					} else if after.IsFrozen != frozen || after.Backend != record.Backend {
						t.Errorf("%s, %s: %+v became %+v", test.name, row[0], record, after)
					}
				}
			}
			if diff := cmp.Diff(stored, query(t, l, connections)); diff != "" {
				t.Errorf("%s, the connections (-want +got):\n%s", test.name, diff)
			}
			g.end()
		}
		// Whoever changes the connection is told of what does not fit.
		g = start(t, l, func(o *Options) {
			withKey(key)(o)
			o.Getenv = func(name string) (string, bool) { return "postgres://u@h/d", name == "SET" }
		}, moved)
		for name, edit := range map[string]Edit{
			"misfit": given(`{"path":"/elsewhere"}`),
			"file":   {PGURIEnvVar: value("SET")},
			"sealed": given(`{"no_such":1}`),
		} {
			_, err := g.Update(ctx, change(), name, edit)
			wantReason(t, err, "invalid_body", "config: ")
		}
		_, err := g.Update(ctx, change(), "file", Edit{Backend: value("db")})
		wantReason(t, err, "invalid_body", "backend: the backend changes together with config alone")
		if _, err := g.Update(ctx, change(), "sealed", given(`{}`)); err != nil {
			t.Error(err)
		}
		if row := query(t, l, `SELECT config FROM athena_clients WHERE client_name = 'sealed'`); row[0][0] == stored[3][2] {
			t.Error("an empty config cannot be given to a client that has another")
		}
	})
}

// TestConnections: the ways to say where a client's database is, and which one holds.
func TestConnections(t *testing.T) {
	l := ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "l.db"))
	g := start(t, l, func(o *Options) {
		o.Sealer, _ = NewSealer(newKey(), nil, false)
		o.Getenv = func(name string) (string, bool) {
			return map[string]string{"SET": "postgres://env:s3cret@h/env"}[name], name == "SET"
		}
	}, inFile("file", "/file"))
	ctx := context.Background()
	uri := func(name string) string {
		g.mu.Lock()
		defer g.mu.Unlock()
		d, _ := g.connection(name)
		return string(d.Config) + d.Problem
	}
	const given1, given2 = "postgres://u:s3cret@h/one", "postgres://u:s3cret@h/two?sslmode=require&password=x"
	null := Field[string]{Set: true}
	for _, step := range []struct {
		name string
		edit Edit
		want string
	}{
		{"a", Edit{PGURI: value(given1)}, `{"uri":"postgres://u:s3cret@h/one"}`},
		{"a", Edit{PGURI: value(Redact(given1)), Description: value("as it was shown")}, `{"uri":"postgres://u:s3cret@h/one"}`},
		{"a", Edit{PGURI: value(given2)}, `{"uri":"postgres://u:s3cret@h/two?sslmode=require\u0026password=x"}`},
		{"a", Edit{PGURIEnvVar: value("SET")}, `{"uri":"postgres://env:s3cret@h/env"}`},
		{"a", Edit{PGURI: value(given1), PGURIEnvVar: value("SET")}, `{"uri":"postgres://env:s3cret@h/env"}`}, // the variable is preferred
		{"a", Edit{PGURI: value(given1), PGURIEnvVar: value("UNSET")}, `{"uri":"postgres://u:s3cret@h/one"}`},
		{"a", Edit{PGURIEnvVar: value("UNSET"), PGURI: null}, `set the environment variable UNSET (pg_uri_env_var of the client), and start again`},
		{"a", Edit{PGURI: value(given1), PGURIEnvVar: value(" ")}, `{"uri":"postgres://u:s3cret@h/one"}`},
		{"a", Edit{PGURI: value("postgresql://u@h1:1,h2:2/d?target_session_attrs=any")}, `{"uri":"postgresql://u@h1:1,h2:2/d?target_session_attrs=any"}`},
		{"a", Edit{PGURI: value("postgres:///d?host=/run/postgresql")}, `{"uri":"postgres:///d?host=/run/postgresql"}`},
		{"a", given(`{"path":"/p"}`), `{"path":"/p"}`},
		{"a", given(`{"path":"/p","token":"t0ken-s3cret"}`), `{"path":"/p","token":"t0ken-s3cret"}`},
		{"a", given(`{"token":"***","path":"/q"}`), `{"path":"/q","token":"t0ken-s3cret"}`}, // as it was shown
		{"a", Edit{Config: value(json.RawMessage(`{"token":"\u002a**"}`))}, `{"token":"t0ken-s3cret"}`},
		{"file", Edit{PGURI: value(given1)}, `{"uri":"postgres://u:s3cret@h/one"}`},
		{"file", Edit{PGURI: null}, `{"path":"/file"}`},
	} {
		var err error
		if _, created := g.Client(step.name); created != nil {
			_, _, err = g.Create(ctx, change(), step.name, step.edit)
		} else {
			_, err = g.Update(ctx, change(), step.name, step.edit)
		}
		if err != nil {
			t.Fatalf("%+v: %v", step, err)
		}
		if got := uri(step.name); got != step.want {
			t.Errorf("%+v leads to %s", step, got)
		}
	}
	config := json.RawMessage(`{}`)
	for _, test := range []struct {
		name  string
		edit  Edit
		field string // and what is said of it
	}{
		{"bad name", Edit{PGURI: value(given1)}, "client_name: want 1 to 128"},
		{"n", Edit{}, "pg_uri: one of pg_uri, pg_uri_env_var and config is required"},
		{"n", Edit{PGURI: value("host=h password=s3cret")}, "pg_uri: want a connection URI"},
		{"n", Edit{PGURI: value("mysql://u:s3cret@h/d")}, "pg_uri: want a connection URI"},
		{"n", Edit{PGURI: value("postgres://u:s3cret@[h/d")}, "pg_uri: want a connection URI"},
		{"n", Edit{PGURI: value("postgres://u:***@h/d")}, "pg_uri: holds *** where"},
		{"n", Edit{PGURIEnvVar: value("A B")}, "pg_uri_env_var: want the name"},
		{"n", Edit{PGURIEnvVar: value("ATHENA_SECRET_KEY")}, "pg_uri_env_var: variables that begin with ATHENA_"},
		{"n", Edit{PGURI: value(given1), Config: value(config)}, "config: give either"},
		{"n", Edit{PGURI: value(given1), Backend: value("db")}, "backend: a client by pg_uri"},
		{"n", given(`{"token":"***"}`), `config: holds *** for "token"`},
		{"n", Edit{Config: value(config)}, "backend: want the name of a plugin"},
		{"n", Edit{Config: value(config), Backend: value("bd")}, `backend: there is no plugin "bd"`},
		{"n", Edit{Config: value(json.RawMessage(`{"pth":"x"}`)), Backend: value("db")}, `config: unknown key "pth"; did you mean "path"?`},
		{"n", Edit{Config: value(json.RawMessage(`{"open":"s3cret"}`)), Backend: value("db")}, `config: config key "open" must be one of`},
	} {
		_, _, err := g.Create(ctx, change(), test.name, test.edit)
		wantReason(t, err, "invalid_body", test.field)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	for _, edit := range []Edit{
		{Config: value(json.RawMessage(`{"token":"***"}`)), Backend: value("postgres")}, // another one's
		given(`{"path":"***"}`), // nothing is stored of it
	} {
		_, err := g.Update(ctx, change(), "a", edit)
		wantReason(t, err, "invalid_body", "config: holds ***")
	}
	_, err := g.Update(ctx, change(), "a", Edit{Backend: value("postgres")})
	wantReason(t, err, "invalid_body", "backend: the backend changes together with config")
	_, err = g.Update(ctx, change(), "a", Edit{Config: Field[json.RawMessage]{Set: true}})
	wantReason(t, err, "invalid_body", "is required")
	_, err = g.Update(ctx, change(), "flie", Edit{})
	wantReason(t, err, "unknown_client", `did you mean "file"?`)
	if rows := query(t, l, `SELECT count(*) FROM athena_clients`); rows[0][0] != "2" {
		t.Errorf("%v clients are stored", rows)
	}
}

// TestNothingServesBeforeTheLedger: a PostgreSQL ledger that is not there when the gateway starts
// may know that a client is frozen.
func TestNothingServesBeforeTheLedger(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers there
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	l := ledgertest.Open(t, "postgres://u@"+address+"/d?sslmode=disable")
	g := start(t, l, nil, inFile("a", "/a"))
	for _, name := range []string{"a", "unknown"} {
		if e := g.refused(t, name, "ledger_unavailable"); e.RetryAfter <= 0 {
			t.Errorf("no advice: %+v", e)
		}
	}
	if c, err := g.Client("a"); err != nil || c.Status().State != Unknown || c.Status().Available {
		t.Errorf("%v", err)
	}
	_, err = g.SetFrozen(context.Background(), change(), "a", true)
	wantReason(t, err, "ledger_unavailable")
	_, err = g.SetConfig(context.Background(), change(), "a", nil)
	wantReason(t, err, "ledger_unavailable")
}

// TestLedgerComesBack: what was frozen before the ledger went away is never served, all the rest
// is as soon as the ledger has been read, and goes on when it is away again.
func TestLedgerComesBack(t *testing.T) {
	uri := testenv.Database(t)
	first := start(t, ledgertest.Open(t, uri), nil, inFile("frozen", "/f"), inFile("other", "/o"))
	ctx := context.Background()
	if _, err := first.SetFrozen(ctx, change(), "frozen", true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Create(ctx, change(), "added", given(`{"path":"/added"}`)); err != nil {
		t.Fatal(err)
	}
	first.end()
	proxy := testenv.StartProxy(t, uri)
	proxy.Refuse()
	g := start(t, ledgertest.Open(t, proxy.URI()), nil, inFile("frozen", "/f"), inFile("other", "/o"))
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if body, err := g.ask(ctx, "frozen", "path"); err == nil {
				t.Errorf("a frozen client answers %s", body)
				return
			}
		}
	}()
	g.refused(t, "other", "ledger_unavailable")
	g.refused(t, "added", "ledger_unavailable")
	proxy.Accept(t)
	for name, path := range map[string]string{"other": "/o", "added": "/added"} {
		eventually(t, name+" serves", func() bool { body, err := g.ask(ctx, name, "path"); return err == nil && strings.Contains(body, path) })
	}
	g.refused(t, "frozen", "client_frozen")
	g.refused(t, "nobody", "unknown_client")
	proxy.Refuse()
	proxy.CutAll()
	_, err := g.SetFrozen(ctx, change(), "other", true)
	wantReason(t, err, "ledger_unavailable")
	if g.path(t, "other") != "/o" || g.path(t, "added") != "/added" {
		t.Error("the clients are elsewhere")
	}
	close(stop)
	<-watched
}

// TestSealing: nothing is stored that could be read without the key, what is sealed belongs
// to its client, and keys can be changed.
func TestSealing(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.Open(t, uri)
		ctx := context.Background()
		const secret = "postgres://u:s3cret@h/d"
		without := start(t, l, nil)
		_, _, err := without.Create(ctx, change(), "a", Edit{PGURI: value(secret)})
		wantReason(t, err, "secret_key_required", "pg_uri: ", "ATHENA_SECRET_KEY", "openssl rand")
		_, _, err = without.Create(ctx, change(), "a", given(`{"token":"s3cret"}`))
		wantReason(t, err, "secret_key_required", "config: ")
		if _, _, err := without.Create(ctx, change(), "plain", given(`{"path":"/plain"}`)); err != nil { // no secret
			t.Error(err)
		}
		without.end()
		allowed := start(t, l, func(o *Options) { o.Sealer, _ = NewSealer(nil, nil, true) })
		if _, _, err := allowed.Create(ctx, change(), "a", Edit{PGURI: value(secret)}); err != nil {
			t.Fatal(err)
		}
		const stored = `SELECT client_name, pg_uri, config FROM athena_clients ORDER BY client_name`
		if got := query(t, l, stored)[0][1]; got != secret {
			t.Errorf("%s is stored", got)
		}
		allowed.end()

		one, two := newKey(), newKey()
		prefix := func(key []byte) string { return sealedPrefix + sealer(t, key, nil).keys[0].id + ":" }
		sealed := func(key []byte) {
			t.Helper()
			rows := query(t, l, stored)
			if !strings.HasPrefix(rows[0][1], prefix(key)) || !strings.HasPrefix(rows[1][2], prefix(key)) || strings.Contains(fmt.Sprint(rows), "s3cret") {
				t.Errorf("%v are stored", rows)
			}
		}
		serves := func(g *gateway) {
			t.Helper()
			if g.path(t, "plain") != "/plain" || g.Runtime("a").Reason == "not_configured" || *g.Runtime("a").PGURI != "postgres://u:***@h/d" {
				t.Errorf("%+v %+v", g.Runtime("a"), g.Runtime("plain"))
			}
		}
		g := start(t, l, withKey(one))
		sealed(one)
		serves(g)
		g.end()
		g = start(t, l, func(o *Options) { o.Sealer = sealer(t, two, one) })
		sealed(two)
		serves(g)
		g.end()
		g = start(t, l, withKey(two))
		serves(g)
		// Whoever can write to the ledger cannot move a secret to another client or column.
		err = l.Change(ctx, ledger.Clients, change(), func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, `UPDATE athena_clients SET config = NULL, pg_uri = (SELECT pg_uri FROM athena_clients WHERE client_name = 'a') WHERE client_name = 'plain'`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the client says what is wrong", func() bool { return strings.Contains(g.Runtime("plain").Pending, "belongs to another client") })
		if s := g.Runtime("plain"); *s.PGURI != "***" || g.path(t, "plain") != "/plain" {
			t.Errorf("%+v", s)
		}
		g.end()
		g = start(t, l, withKey(one))
		g.refused(t, "a", "client_unavailable")
		if s := g.Runtime("a"); s.Reason != "not_configured" || !strings.Contains(s.Error, "sealed under another key") || *s.PGURI != "***" {
			t.Errorf("%+v", s)
		}
		g.end()
		g = start(t, l, nil)
		g.refused(t, "a", "client_unavailable")
	})
}
