//go:build unix

package testenv

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tryConnect connects as a user of the helpers does.
func tryConnect(t *testing.T, uri string) (*pgconn.PgConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return pgconn.Connect(ctx, uri)
}

func TestServer(t *testing.T) {
	var dir string
	t.Run("lives", func(t *testing.T) {
		s := Server(t, ServerOptions{Settings: map[string]string{"work_mem": "5MB"}})
		dir = s.dir
		if got := s.Exec(t, "postgres", "SELECT current_setting('work_mem')"); got[0][0] != "5MB" {
			t.Error(got)
		}
		conn := connect(t, s.URI("postgres"))
		run(t, conn, "CREATE TABLE kept AS SELECT 1")
		s.Restart(t)
		if err := conn.Exec(t.Context(), "SELECT 1").Close(); err == nil {
			t.Error("a connection survived a crash")
		}
		if !s.LogContains("immediate shutdown") {
			t.Error("the log does not tell of the crash")
		}
		if got := s.Exec(t, "postgres", "SELECT count(*) FROM kept"); got[0][0] != "1" {
			t.Error(got)
		}
		s.Stop()
		if _, err := tryConnect(t, s.URI("postgres")); err == nil {
			t.Error("it runs on")
		}
		s.Start(t)
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestServerVersions(t *testing.T) {
	for version, prefix := range map[int]string{15: "15.", 18: "18."} {
		s := Server(t, ServerOptions{Version: version})
		if got := s.Exec(t, "postgres", "SHOW server_version")[0][0]; !strings.HasPrefix(got, prefix) {
			t.Errorf("version %s, want %d", got, version)
		}
		if !HasExtension(t, s.URI("postgres"), "hstore") || HasExtension(t, s.URI("postgres"), "no_such") {
			t.Error("extensions are not told apart")
		}
	}
}

func TestServerFreezes(t *testing.T) {
	s := Server(t, ServerOptions{})
	conn := connect(t, s.URI("postgres"))
	defer disconnect(conn)
	s.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	fresh, err := pgconn.Connect(ctx, s.URI("postgres"))
	if err == nil {
		disconnect(fresh)
		t.Error("a frozen server takes connections")
	}
	s.Thaw()
	run(t, conn, "SELECT 1")
}

func TestReplica(t *testing.T) {
	primary := Server(t, ServerOptions{})
	primary.Exec(t, "postgres", "CREATE TABLE t AS SELECT 1 AS n")
	replica := Replica(t, primary)
	count := func() string { return replica.Exec(t, "postgres", "SELECT count(*) FROM t")[0][0] }
	if got := replica.Exec(t, "postgres", "SELECT pg_is_in_recovery()"); got[0][0] != "t" {
		t.Error("it is no replica")
	}
	primary.Exec(t, "postgres", "INSERT INTO t VALUES (2)")
	replica.CatchUp(t, primary)
	if got := count(); got != "2" {
		t.Errorf("%s rows, want 2", got)
	}
	replica.PauseReplay(t)
	primary.Exec(t, "postgres", "INSERT INTO t VALUES (3)")
	time.Sleep(100 * time.Millisecond)
	if got := count(); got != "2" {
		t.Errorf("%s rows while replay is paused, want 2", got)
	}
	replica.ResumeReplay(t)
	replica.CatchUp(t, primary)
	if got := count(); got != "3" {
		t.Errorf("%s rows, want 3", got)
	}
}

func TestPgBouncer(t *testing.T) {
	uri := PgBouncer(t, Database(t))
	pids := map[string]bool{}
	for range 4 {
		conn := connect(t, uri)
		defer disconnect(conn)
		pids[string(run(t, conn, "SELECT pg_backend_pid()")[0][0])] = true
	}
	if len(pids) > 2 {
		t.Errorf("%d server connections for 4 clients, want at most 2", len(pids))
	}
	if conn, err := tryConnect(t, uri+"&extra_float_digits=0"); err == nil {
		disconnect(conn)
		t.Error("a startup parameter was not refused")
	}
}

func TestTLS(t *testing.T) {
	certificates, others := TLS(t), TLS(t)
	s := Server(t, ServerOptions{TLS: certificates, HBA: []string{
		"hostssl postgres all 127.0.0.1/32 trust",
		"hostssl template1 all 127.0.0.1/32 trust clientcert=verify-full",
	}})
	base := strings.TrimSuffix(s.URI("postgres"), "?sslmode=disable")
	strict := strings.TrimSuffix(s.URI("template1"), "?sslmode=disable") + "?sslmode=verify-full&sslrootcert=" + certificates.CA
	for name, test := range map[string]struct {
		uri string
		ok  bool
	}{
		"verified":      {base + "?sslmode=verify-full&sslrootcert=" + certificates.CA, true},
		"unverified":    {base + "?sslmode=require", true},
		"plain":         {base + "?sslmode=disable", false},
		"authority":     {base + "?sslmode=verify-full&sslrootcert=" + others.CA, false},
		"client":        {strict + "&sslcert=" + certificates.ClientCert + "&sslkey=" + certificates.ClientKey, true},
		"no client":     {strict, false},
		"other client":  {strict + "&sslcert=" + others.ClientCert + "&sslkey=" + others.ClientKey, false},
		"client's name": {strings.Replace(strict, "postgres@", "somebody@", 1) + "&sslcert=" + certificates.ClientCert + "&sslkey=" + certificates.ClientKey, false},
	} {
		conn, err := tryConnect(t, test.uri)
		if err == nil {
			disconnect(conn)
		}
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProxy: a connection ends where it should, and what the server has done by then is
// what the place says.
func TestProxy(t *testing.T) {
	uri := Database(t, "CREATE TABLE t (place text)")
	admin := connect(t, uri)
	defer disconnect(admin)
	for name, test := range map[string]struct {
		cut      func(p *Proxy) *Cut
		executed bool
	}{
		"before query":  {func(p *Proxy) *Cut { return p.CutBeforeClient('Q', "INSERT") }, false},
		"after begin":   {func(p *Proxy) *Cut { return p.CutAfterClient('Q', "BEGIN") }, false},
		"whole answer":  {func(p *Proxy) *Cut { return p.CutAnswer('Q', "INSERT") }, true},
		"before answer": {func(p *Proxy) *Cut { return p.CutBefore('C', "INSERT") }, true},
		"before commit": {func(p *Proxy) *Cut { return p.CutBeforeClient('Q', "COMMIT") }, false},
		"after commit":  {func(p *Proxy) *Cut { return p.CutBefore('C', "COMMIT") }, true},
		"bytes":         {func(p *Proxy) *Cut { return p.CutAfterBytes(10) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := StartProxy(t, uri)
			conn := connect(t, p.URI())
			defer disconnect(conn)
			cut := test.cut(p)
			texts := []string{"INSERT INTO t VALUES ('" + name + "')"}
			if strings.HasSuffix(name, "commit") || name == "after begin" || name == "bytes" {
				texts = []string{"BEGIN", texts[0], "COMMIT"}
			}
			var err error
			for i := 0; err == nil && i < len(texts); i++ {
				err = conn.Exec(t.Context(), texts[i]).Close()
			}
			if err == nil {
				t.Fatal("the connection lives")
			}
			<-cut.Happened()
			var found bool
			for end := time.Now().Add(time.Second); found != test.executed && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				found = len(run(t, admin, "SELECT 1 FROM t WHERE place = '"+name+"'")) > 0
			}
			if found != test.executed {
				t.Errorf("executed: %v", found)
			}
		})
	}
}

func TestProxyHoldsBack(t *testing.T) {
	p := StartProxy(t, Database(t))
	conn := connect(t, p.URI())
	defer disconnect(conn)
	p.Refuse()
	if other, err := tryConnect(t, p.URI()); err == nil {
		disconnect(other)
		t.Error("a connection was not refused")
	}
	run(t, conn, "SELECT 1") // this one stays
	p.Accept(t)
	disconnect(connect(t, p.URI()))

	p.Delay(20 * time.Millisecond)
	if begin := time.Now(); len(run(t, conn, "SELECT 1")) != 1 || time.Since(begin) < 40*time.Millisecond {
		t.Error("there was no delay")
	}
	p.Delay(0)

	p.Freeze()
	done := make(chan error, 1)
	go func() { done <- conn.Exec(t.Context(), "SELECT 1").Close() }()
	select {
	case err := <-done:
		t.Errorf("it was not frozen: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Thaw()
	if err := <-done; err != nil {
		t.Error(err)
	}

	p.CutAll()
	if err := conn.Exec(t.Context(), "SELECT 1").Close(); err == nil {
		t.Error("the connection was not cut")
	}
}

// TestProxyPassesTLS: what it cannot read goes through.
func TestProxyPassesTLS(t *testing.T) {
	certificates := TLS(t)
	s := Server(t, ServerOptions{TLS: certificates})
	p := StartProxy(t, strings.Replace(s.URI("postgres"), "sslmode=disable", "sslmode=verify-full&sslrootcert="+certificates.CA, 1))
	conn := connect(t, p.URI())
	defer disconnect(conn)
	if rows := run(t, conn, "SELECT 1 FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()"); len(rows) != 1 {
		t.Error("the connection is not encrypted")
	}
	cut := p.CutAfterBytes(1)
	_ = conn.Exec(t.Context(), "SELECT 1").Close() // its answer may come in one piece
	<-cut.Happened()
	if err := conn.Exec(t.Context(), "SELECT 1").Close(); err == nil {
		t.Error("the connection was not cut")
	}
}
