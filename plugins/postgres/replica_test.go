package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

// isReplica asks the server that a read reaches whether it is a replica.
func isReplica(t *testing.T, db *database, position string) bool {
	t.Helper()
	in := sdk.Statement{Verb: sdk.SQL, SQL: sdk.SQLText{Text: "select pg_is_in_recovery() as v", Intent: sdk.IntentRead}}
	return mustCall(t, db, &sdk.Call{Statements: []sdk.Statement{in}, MinPosition: position})[0].body == `[{"v":true}]`
}

func TestReplicas(t *testing.T) {
	primary := testenv.Server(t, testenv.ServerOptions{})
	primary.Exec(t, "postgres", "create table items (id int primary key, v text); create unlogged table unlogged (a int); "+
		"create function wal() returns pg_lsn stable language sql as 'select pg_current_wal_lsn()'")
	standby := testenv.Replica(t, primary)
	standby.CatchUp(t, primary)
	db := openURI(t, primary.URI("postgres"), map[string]any{"replicas": []string{standby.URI("postgres")}, "replica_wait": int64(100 * time.Millisecond)})
	insert := func(id int) sdk.Statement {
		return sdk.Statement{Verb: sdk.Insert, Table: table("items"), Rows: sdk.Rowset{Payload: fmt.Appendf(nil, `{"id":%d,"v":"x"}`, id), Columns: []string{"id", "v"}}}
	}
	count := sdk.Statement{Verb: sdk.Count, Table: table("items")}

	for id := range 10 { // what was written is read, wherever
		s := insert(id)
		if id%2 == 1 {
			s = sqlText(fmt.Sprintf("insert into items values (%d, 'x')", id))
		}
		position := must(t, db, s).tail.Position
		if position == "" {
			t.Fatal("no position after a write")
		}
		if got := mustCall(t, db, &sdk.Call{Statements: []sdk.Statement{count}, MinPosition: position})[0].body; got != fmt.Sprint(id+1) {
			t.Errorf("%s rows after %d writes", got, id+1)
		}
	}
	if !isReplica(t, db, "") || must(t, db, sqlText("select pg_is_in_recovery() as v")).body != `[{"v":false}]` {
		t.Error("a read is for the replica, what may write is not")
	}
	must(t, db, sqlText("create table newer (a int)")) // the replica may not have it yet
	must(t, db, sdk.Statement{Verb: sdk.Select, Table: table("newer")})

	// What a replica refuses is for the primary.
	for _, call := range []*sdk.Call{
		{Statements: []sdk.Statement{{Verb: sdk.Select, Table: table("unlogged")}}},
		{Statements: []sdk.Statement{count}, Tx: sdk.Tx{Isolation: sdk.Serializable}},
		{Statements: []sdk.Statement{callOf("wal", "{}")}},
	} {
		mustCall(t, db, call)
	}

	// A replica that is behind is waited for, then passed over.
	standby.PauseReplay(t)
	position := must(t, db, insert(100)).tail.Position
	began := time.Now()
	if isReplica(t, db, position) {
		t.Error("the replica is behind")
	}
	if took := time.Since(began); took < 90*time.Millisecond || took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
	if !isReplica(t, db, "") {
		t.Error("any position will do")
	}
	standby.ResumeReplay(t)
	standby.CatchUp(t, primary)
	if !isReplica(t, db, position) {
		t.Error("the replica has caught up")
	}
	for _, bad := range []string{"x", "1/", "/1", "1/2/3", "-1/2", "0/123456789"} {
		failsCall(t, db, &sdk.Call{Statements: []sdk.Statement{count}, MinPosition: bad}, sdk.Invalid, "invalid_position")
	}

	var log bytes.Buffer // what is logged from now on
	var mutex sync.Mutex
	logger := hclog.Default()
	hclog.SetDefault(hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &mutex}))
	defer hclog.SetDefault(logger)
	standby.Kill()
	for range 3 {
		must(t, db, count)
		if isReplica(t, db, "") {
			t.Error("the replica is dead")
		}
	}
	for _, r := range db.replicas {
		if r.shunned.Load() < time.Now().UnixNano() {
			t.Error("a dead replica is asked again and again")
		}
		eventually(t, 10*time.Second, "no connection is in use", func() bool { // the pool closes broken ones in the background
			return r.pool.Stat().AcquiredConns() == 0 && len(r.slots) == 0
		})
		r.shunned.Store(0)
		must(t, db, count)
		r.shunned.Store(0)
	}
	standby.Start(t)
	for range 2 {
		if !isReplica(t, db, "") {
			t.Error("the replica is back")
		}
	}
	mutex.Lock()
	defer mutex.Unlock()
	if shown := log.String(); strings.Count(shown, "does not answer") != 1 || strings.Count(shown, "answers again") != 1 {
		t.Errorf("logged: %s", shown)
	}
}
