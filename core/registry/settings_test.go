package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/core/resilience"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestReadOverrides(t *testing.T) {
	for text, want := range map[string]string{ // accepted as, or refused because
		`{}`:                                               `{}`,
		`{"resilience_timeout_secs":5}`:                    `{"resilience_timeout_secs":5}`,
		`{"resilience_timeout_secs":null}`:                 `{}`,
		`{"resilience_timeout_secs":0}`:                    "resilience_timeout_secs: want a whole number from 1 to 86400",
		`{"resilience_timeout_secs":1.5}`:                  "want a whole number",
		`{"resilience_timeout_secs":"5"}`:                  "want a whole number",
		`{"resilience_timeout_secs":99999999999999999999}`: "want a whole number",
		`{"resilience_timeout_sec":5}`:                     `resilience_timeout_sec: unknown setting; did you mean "resilience_timeout_secs"?`,
		`{"colour":"blue"}`:                                "colour: unknown setting; known are resilience_timeout_secs, ",
		`{"uri":"postgres://u:s3cret@h/d"}`:                "uri: unknown setting",
		`{"read_only":true}`:                               `{"read_only":true}`,
		`{"read_only":"yes"}`:                              "read_only: want true or false",
		`{"connect_timeout":"90s"}`:                        `{"connect_timeout":"1m30s"}`,
		`{"connect_timeout":90}`:                           "connect_timeout: want a text such as 30s, from 1ms to 1h0m0s",
		`{"connect_timeout":"2h"}`:                         "want a text such as 30s",
		`{"connect_timeout":"soon"}`:                       "want a text such as 30s",
		`{"max_connections":10000}`:                        `{"max_connections":10000}`,
		`{"max_connections":10001}`:                        "max_connections: want a whole number from 1 to 10000",
	} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &members); err != nil {
			t.Fatal(err)
		}
		own, wrong := ReadOverrides(members)
		got, _ := json.Marshal(own)
		if len(wrong) > 0 {
			got = []byte(errFields(wrong).Message)
		}
		if string(got) != want && (want[0] == '{' || !strings.Contains(string(got), want)) {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		if strings.Contains(string(got), "s3cret") {
			t.Errorf("%s tells a value", got)
		}
	}
}

// realHost is a host with the sqlite plugin.
func realHost(t *testing.T) *pluginhost.Host {
	t.Helper()
	h, err := pluginhost.New(pluginhost.Options{Dir: testenv.BuildPlugins(t), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = h.Close(ctx)
	})
	return h
}

// do executes a statement and returns why it was refused.
func (g *gateway) do(t *testing.T, name string, s sdk.Statement) *sdk.Error {
	t.Helper()
	c, err := g.Client(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	answer, _, err := c.Execute(ctx, cancel, &sdk.Call{Statements: []sdk.Statement{s}})
	if err != nil {
		return sdk.AsError(err)
	}
	defer answer.Close()
	for {
		if _, err := answer.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return sdk.AsError(err)
		}
	}
}

func sqlOf(text string) sdk.Statement {
	return sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: text}}
}

// TestSettings: what is stored for a client holds at once, here and in another gateway, and
// it is told where each value comes from.
func TestSettings(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		path := filepath.Join(t.TempDir(), "a.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		host := realHost(t)
		l := ledgertest.Open(t, uri)
		tune := func(o *Options) {
			o.Host = host
			o.Tuning.Policy = resilience.Policy{Timeout: 30 * time.Second, ReadRetries: 1}
			o.Configured = func(name string) bool { return name == "resilience_timeout_secs" }
		}
		file := Definition{Name: "a", Backend: "sqlite", Config: json.RawMessage(fmt.Sprintf(`{"path":%q}`, path))}
		g := start(t, l, tune, file)
		other := start(t, ledgertest.Open(t, uri), tune, file)
		ctx := context.Background()
		for _, sql := range []string{"CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO t VALUES (1, 1)"} {
			if e := g.do(t, "a", sqlOf(sql)); e != nil {
				t.Fatal(e)
			}
		}
		set := func(text string) (*ConfigRecord, error) {
			var members map[string]json.RawMessage
			if err := json.Unmarshal([]byte(text), &members); err != nil {
				t.Fatal(err)
			}
			return g.SetConfig(ctx, change(), "a", members)
		}
		must := func(text string) {
			t.Helper()
			if _, err := set(text); err != nil {
				t.Fatal(err)
			}
		}
		tuning := func(g *gateway) Tuning { c, _ := g.Client("a"); return c.Tuning() }

		must(`{"resilience_timeout_secs":7,"resilience_read_max_retries":3,"resilience_initial_backoff_ms":20,"read_only":true}`)
		want := Tuning{Policy: resilience.Policy{Timeout: 7 * time.Second, ReadRetries: 3, Backoff: 20 * time.Millisecond}, ReadOnly: true}
		if got := tuning(g); got != want {
			t.Errorf("the tuning is %+v", got)
		}
		eventually(t, "it holds in the other gateway", func() bool { return tuning(other) == want })
		insert := sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: "t"}, Rows: sdk.Rowset{Payload: []byte(`{"id":2,"n":2}`), Columns: []string{"id", "n"}}}
		read := sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: "t"}}
		for _, s := range []sdk.Statement{insert, sqlOf("INSERT INTO t VALUES (3, 3)"), sqlOf("DELETE FROM t"), sqlOf("SELECT 1; DELETE FROM t"),
			sqlOf("PRAGMA user_version = 7"), sqlOf("WITH x AS (SELECT 1) DELETE FROM t")} {
			if e := g.do(t, "a", s); e == nil || e.Reason != "client_read_only" || e.Kind != sdk.Forbidden || s.Verb == sdk.Insert && e.Source != sdk.FromHost || e.Executed != sdk.ExecutedNo {
				t.Errorf("%s %s: %+v", s.Verb, s.SQL.Text, e)
			}
		}
		for _, s := range []sdk.Statement{read, sqlOf("SELECT * FROM t")} {
			if e := g.do(t, "a", s); e != nil {
				t.Errorf("%s %s: %v", s.Verb, s.SQL.Text, e)
			}
		}
		must(`{"sql_enabled":false}`)
		if e := g.do(t, "a", sqlOf("SELECT 1")); e == nil || e.Reason != "sql_disabled" || e.Kind != sdk.Forbidden || e.Source != sdk.FromHost {
			t.Errorf("%+v", e)
		}
		for _, s := range []sdk.Statement{insert, read} {
			if e := g.do(t, "a", s); e != nil {
				t.Errorf("%s: %v", s.Verb, e)
			}
		}
		_, err := set(`{"min_connections":5,"sql_enabled":true}`)
		wantReason(t, err, "invalid_body", "min_connections: the backend sqlite of the client has no such setting")
		_, err = set(`{"sql_enabld":true}`)
		wantReason(t, err, "invalid_body", `did you mean "sql_enabled"?`)
		if tuning(g).NoSQL != true {
			t.Error("what was refused has changed something")
		}
		_, err = g.SetConfig(ctx, change(), "b", nil)
		wantReason(t, err, "unknown_client", `did you mean "a"?`)

		effective := g.Effective("a")
		for name, want := range map[string]Effective{"resilience_timeout_secs": {int64(30), "config"}, "resilience_read_max_retries": {int64(1), "default"},
			"read_only": {false, "default"}} {
			if effective[name] != want {
				t.Errorf("%s is %+v, want %+v", name, effective[name], want)
			}
		}
		if own := effective["sql_enabled"]; own.Source != "client" || fmt.Sprintf("%s", own.Value) != "false" {
			t.Errorf("%+v", own)
		}
		if _, there := effective["min_connections"]; there {
			t.Error("sqlite has a setting that it does not know")
		}
		g.end()
		again := start(t, l, tune, file)
		if got := tuning(again); !got.NoSQL {
			t.Errorf("after a restart %+v", got)
		}
		if existed, err := again.DeleteConfig(ctx, change(), "a"); !existed || err != nil {
			t.Errorf("%v %v", existed, err)
		}
		if existed, err := again.DeleteConfig(ctx, change(), "a"); existed || err != nil {
			t.Errorf("%v %v", existed, err)
		}
		if got := tuning(again); got != again.options.Tuning {
			t.Errorf("without overrides %+v", got)
		}
		if record, err := again.Config(ctx, "a"); err != nil || len(record.Config) != 0 || record.CreatedAt != nil {
			t.Errorf("%+v %v", record, err)
		}
		audit := query(t, l, `SELECT action, before, after FROM admin_audit_log WHERE action = 'test' ORDER BY id`)
		if last := audit[len(audit)-2]; strings.ReplaceAll(last[1], " ", "") != `{"sql_enabled":false}` || last[2] != "-" {
			t.Errorf("the audit line of the deletion is %v", last)
		}
	})
}

// TestPoolSettings: settings of the backend's pool are merged into its config, which swaps the
// instance, and come from the file where it has them.
func TestPoolSettings(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		uri := testenv.Database(t)
		config, _ := json.Marshal(map[string]any{"uri": uri, "max_connections": 3, "connect_timeout": "4s"})
		file := []Definition{{Name: "a", Backend: "postgres", Config: config}, {Name: "none", Backend: "postgres", Problem: "set A"}}
		g := start(t, l, func(o *Options) { o.Host = realHost(t) }, file...)
		ctx := context.Background()
		most := func() string {
			for _, m := range g.options.Host.Metrics(ctx)["postgres"]["a"] {
				if strings.Contains(m.Name, "max") {
					return fmt.Sprint(m.Value)
				}
			}
			return "unknown"
		}
		if got := most(); got != "3" {
			t.Fatalf("the pool has %s connections", got)
		}
		seeded, _, err := g.SeedConfigs(ctx, change())
		if err != nil || fmt.Sprint(seeded) != "[a]" {
			t.Fatalf("%v %v", seeded, err)
		}
		record, err := g.Config(ctx, "a")
		if got, _ := json.Marshal(record.Config); err != nil || string(got) != `{"connect_timeout":"4s","max_connections":3}` {
			t.Errorf("seeded are %s %v", got, err)
		}
		if seeded, _, err := g.SeedConfigs(ctx, change()); err != nil || len(seeded) != 0 {
			t.Errorf("%v %v", seeded, err)
		}
		if _, err := g.SetConfig(ctx, change(), "a", map[string]json.RawMessage{"max_connections": json.RawMessage("2")}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pool is as it was set", func() bool { return most() == "2" })
		effective, _ := json.Marshal(g.Effective("a"))
		for _, want := range []string{`"max_connections":{"value":2,"source":"client"}`, `"connect_timeout":{"value":"4s","source":"config"}`,
			`"acquire_timeout":{"value":"10s","source":"default"}`} {
			if !strings.Contains(string(effective), want) {
				t.Errorf("%s lacks %s", effective, want)
			}
		}
		if strings.Contains(string(effective), "uri") {
			t.Errorf("%s tells the uri", effective)
		}
		for _, s := range []sdk.Statement{sqlOf("CREATE TABLE t (n int)"), sqlOf("INSERT INTO t VALUES (1)")} {
			if e := g.do(t, "a", s); e != nil {
				t.Fatal(e)
			}
		}
		if _, err := g.SetConfig(ctx, change(), "a", map[string]json.RawMessage{"read_only": json.RawMessage("true")}); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"DELETE FROM t", "WITH d AS (DELETE FROM t RETURNING n) SELECT n FROM d", "SELECT 1; DELETE FROM t", "SET transaction_read_only = off",
			"COMMIT; DELETE FROM t", "SELECT nextval('s') FROM (SELECT 1) x", "DO $$ BEGIN DELETE FROM t; END $$"} {
			if e := g.do(t, "a", sqlOf(text)); e == nil || e.Reason != "client_read_only" && e.Reason != "undefined_table" {
				t.Errorf("%s: %v", text, e)
			}
		}
		if body, err := g.ask(ctx, "a", "SELECT count(*) AS n FROM t"); err != nil || body != `[{"n":1}]` {
			t.Errorf("%s %v", body, err)
		}
	})
}

// TestOldOverrides: a row that another version wrote does not keep the gateway from starting.
func TestOldOverrides(t *testing.T) {
	l := ledgertest.Open(t, "sqlite://"+filepath.Join(t.TempDir(), "l.db"))
	first := start(t, l, nil, inFile("a", "/a"))
	if _, err := first.SetConfig(context.Background(), change(), "a", map[string]json.RawMessage{"read_only": json.RawMessage("true")}); err != nil {
		t.Fatal(err)
	}
	first.end()
	known := settings
	defer func() { settings = known }()
	settings = known[:1]
	g := start(t, l, nil, inFile("a", "/a"))
	if g.path(t, "a") != "/a" || !strings.Contains(g.log.String(), "a setting of a client has no effect") {
		t.Errorf("the log says\n%s", g.log)
	}
}
