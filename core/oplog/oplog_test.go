package oplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, l *ledger.Ledger) *Log {
	t.Helper()
	log := New(Options{Ledger: l, Logger: hclog.NewNullLogger()})
	t.Cleanup(log.Close)
	return log
}

func flush(t *testing.T, log *Log) {
	t.Helper()
	if err := log.ledger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, l *ledger.Ledger, query string, args ...any) {
	t.Helper()
	if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func rows(t *testing.T, log *Log, q *Query) ([]Row, int64) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	list, total, err := log.Rows(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list, total
}

func asJSON(t *testing.T, v any) map[string]any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// TestRow records an operation with everything and one with nothing.
func TestRow(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := start(t, l)
		at := time.Date(2026, 2, 3, 4, 5, 6, 789012345, time.FixedZone("", 3600))
		full := Entry{
			Time: at, RequestID: "r\x001", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Client: "shop", NamedTable: "n\xffü", Operation: "update", Door: "gateway",
			Method: "POST", Path: "/gateway/update", Duration: 1999 * time.Microsecond, Backend: "postgres", Reached: true, Waited: 1500 * time.Microsecond,
			Retries: 2, Statements: 3, Rows: 7, Bytes: 1 << 40, KeyID: "k", UserID: strings.Repeat("ü", 500), OrganizationID: "o",
		}
		full.Status = 404
		full.Failed(&sdk.Error{Kind: sdk.NotFound, Reason: "undefined_table", Code: "42P01", Executed: sdk.ExecutedNo, Message: "relation \"n\" does not\x00 exist", Detail: "secret", Log: "secret"}, false)
		log.Record(&full)
		log.Record(&Entry{Time: at.Add(-time.Second), Operation: "fetch", Door: "gateway", Status: 200, Rows: -1})
		flush(t, log)
		list, total := rows(t, log, &Query{})
		if total != 2 || len(list) != 2 {
			t.Fatalf("%d rows of %d", len(list), total)
		}
		want := []map[string]any{
			{"created_at": "2026-02-03T03:05:06.789012Z", "request_id": "r1", "client_name": "shop", "table_name": nil, "operation": "update", "door": "gateway", "method": "POST",
				"path": "/gateway/update", "status_code": 404.0, "duration_ms": 1.0, "operation_time_ms": 1.5, "row_count": 7.0, "bytes": float64(1 << 40), "cached": false, "cache_key": nil,
				"error": true, "message": "relation \"n\" does not exist", "api_key_id": "k", "user_id": strings.Repeat("ü", 100), "organization_id": "o",
				"details": map[string]any{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "backend": "postgres", "table": "n\uFFFDü", "code": "undefined_table", "sqlstate": "42P01",
					"executed": "no", "retries": 2.0, "statements": 3.0}},
			{"created_at": "2026-02-03T03:05:05.789012Z", "request_id": nil, "client_name": nil, "table_name": nil, "operation": "fetch", "door": "gateway", "method": nil,
				"path": nil, "status_code": 200.0, "duration_ms": 0.0, "operation_time_ms": nil, "row_count": nil, "bytes": 0.0, "cached": false, "cache_key": nil,
				"error": false, "message": nil, "api_key_id": nil, "user_id": nil, "organization_id": nil, "details": map[string]any{}},
		}
		for i := range list {
			list[i].Time = list[i].Time.UTC()
			if diff := cmp.Diff(want[i], asJSON(t, list[i])); diff != "" {
				t.Errorf("row %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

// TestMessage: what an error quotes of the request, and what a database says, does not reach the log.
func TestMessage(t *testing.T) {
	for _, c := range []struct {
		err   sdk.Error
		ofSQL bool
		want  string
	}{
		{sdk.Error{Kind: sdk.Internal, Message: "secret"}, false, "internal error"},
		{sdk.Error{Kind: sdk.Internal, Reason: "database_error", Code: "XX000", Source: sdk.FromDownstream, Message: `cache lookup failed for "secret"`}, false, "database error database_error"},
		{sdk.Error{Kind: sdk.NotFound, Reason: "undefined_table", Message: `there is no table "users"`}, false, `there is no table "users"`},
		{sdk.Error{Kind: sdk.Invalid, Reason: "undefined_column", Message: `column "naem" does not exist`}, false, `column "naem" does not exist`},
		{sdk.Error{Kind: sdk.Conflict, Reason: "unique_violation", Code: "23505", Source: sdk.FromDownstream, Message: "secret", Detail: "Key (id)=(secret)", Constraint: "users_pkey", Table: "users"}, false,
			`database error unique_violation, constraint "users_pkey", table "users"`},
		{sdk.Error{Kind: sdk.Conflict, Reason: "not_null_violation", Code: "23502", Source: sdk.FromDownstream, Message: "secret", Column: "name", Table: "users"}, false,
			`database error not_null_violation, column "name", table "users"`},
		// Raised by the database's own code.
		{sdk.Error{Kind: sdk.Conflict, Reason: "unique_violation", Code: "23505", Source: sdk.FromDownstream, Message: "secret"}, false, "database error unique_violation"},
		{sdk.Error{Kind: sdk.Forbidden, Reason: "insufficient_privilege", Code: "42501", Source: sdk.FromDownstream, Message: "secret"}, false, "database error insufficient_privilege"},
		{sdk.Error{Kind: sdk.Invalid, Reason: "raise_exception", Code: "P0001", Source: sdk.FromDownstream, Message: "secret"}, false, "database error raise_exception"},
		{sdk.Error{Kind: sdk.Unavailable, Reason: "operator_intervention", Code: "57000", Source: sdk.FromDownstream, Message: "secret"}, false, "database error operator_intervention"},
		{sdk.Error{Kind: sdk.Timeout, Reason: "statement_timeout", Code: "57014", Source: sdk.FromDownstream, Message: "secret"}, false, "database error statement_timeout"},
		{sdk.Error{Kind: sdk.Invalid, Source: sdk.FromDownstream, Message: "secret"}, false, "database error invalid"},
		{sdk.Error{Kind: sdk.Unavailable, Reason: "connect_failed", Source: sdk.FromDownstream, Message: "nothing accepts connections at db:5432"}, true, "nothing accepts connections at db:5432"},
		// SQL texts.
		{sdk.Error{Kind: sdk.Invalid, Reason: "undefined_column", Code: "1", Source: sdk.FromDownstream, Message: "no such column: secret", Column: "secret"}, true, "database error undefined_column"},
		{sdk.Error{Kind: sdk.NotFound, Reason: "undefined_table", Code: "42P01", Source: sdk.FromDownstream, Message: `relation "secret" does not exist`}, true, "database error undefined_table"},
		{sdk.Error{Kind: sdk.Forbidden, Reason: "other_files", Message: "ATTACH secret reaches files beside the database"}, true, "database error other_files"},
		{sdk.Error{Kind: sdk.Timeout, Reason: "deadline_exceeded", Message: "the deadline passed before the answer"}, true, "the deadline passed before the answer"},

		{sdk.Error{Kind: sdk.Invalid, Message: `near "se"cr"et"`}, false, `near "…"`},
		{sdk.Error{Kind: sdk.Invalid, Message: `near "secret`}, false, `near …`},
		{sdk.Error{Kind: sdk.Invalid, Source: sdk.FromHost, Message: `limit: the client's value is no number: "secret"`}, false, `limit: the client's value is no number: "…"`},
	} {
		if got := message(&c.err, c.ofSQL); got != c.want {
			t.Errorf("%+v: %s\nwant %s", c.err, got, c.want)
		}
	}
}

var uncounted = cmpopts.IgnoreFields(ClientStatistics{}, "Updated")
var uncountedTable = cmpopts.IgnoreFields(TableStatistics{}, "Updated")

// all are the statistics of all clients and their tables.
func all(t *testing.T, log *Log) (clients []ClientStatistics, tables []TableStatistics) {
	t.Helper()
	clients, _, err := log.Statistics(t.Context(), 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range clients {
		_, more, err := log.Client(t.Context(), s.Client)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, more...)
	}
	return clients, tables
}

// counted are the statistics that follow from entries, which are in the order of time.
func counted(entries []Entry) (clients map[string]ClientStatistics, tables map[tableKey]TableStatistics) {
	clients, tables = map[string]ClientStatistics{}, map[tableKey]TableStatistics{}
	for i := range entries {
		e := &entries[i]
		if e.Client == "" {
			continue
		}
		s := clients[e.Client]
		s.Client = e.Client
		s.Requests++
		s.LastRequest = &e.Time
		if e.Error {
			s.Failed++
		} else {
			s.Successful++
		}
		if e.Reached {
			s.Operations++
			s.LastOperation = &e.Time
			key := tableKey{e.Client, e.Table, e.Operation}
			n := tables[key]
			n.Client, n.Table, n.Operation, n.LastOperation = e.Client, e.Table, e.Operation, &e.Time
			n.Operations++
			if e.Error {
				n.Errors++
			}
			tables[key] = n
		}
		clients[e.Client] = s
	}
	return clients, tables
}

// TestStatistics: two logs, on PostgreSQL of two gateways, count while both refresh. What they have
// counted, what a refresh counts and what was recorded are the same, also after somebody
// has spoilt the tables.
func TestStatistics(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		first := ledgertest.Open(t, uri)
		second := first // SQLite gives writers of one process alone their turn
		if first.Postgres() {
			second = ledgertest.Open(t, uri)
		}
		logs := []*Log{start(t, first), start(t, second)}
		var mu sync.Mutex
		var recorded []Entry
		at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
		record := func(log *Log) {
			mu.Lock()
			at = at.Add(time.Millisecond)
			e := Entry{Time: at, Client: fmt.Sprint("c", rand.IntN(70)), Table: []string{"", "users", "public.users"}[rand.IntN(3)],
				Operation: []string{"fetch", "insert"}[rand.IntN(2)], Door: "gateway", Status: 200, Reached: rand.IntN(4) > 0}
			if rand.IntN(9) == 0 {
				e.Client, e.NamedClient = "", "nobody"
			}
			if rand.IntN(3) == 0 {
				e.Status = 409
				e.Failed(&sdk.Error{Kind: sdk.Conflict, Reason: "conflict"}, false)
			}
			recorded = append(recorded, e)
			mu.Unlock()
			log.Record(&e)
		}
		var work sync.WaitGroup
		for _, log := range logs {
			work.Go(func() {
				for i := range 3000 {
					record(log)
					if i%300 == 299 {
						flush(t, log)
					}
				}
			})
			work.Go(func() {
				for range 10 {
					if err := log.Refresh(t.Context(), &ledger.Audit{Action: "statistics.refresh"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		for _, log := range logs {
			flush(t, log)
		}
		compare := func(when string) {
			t.Helper()
			clients, tables := all(t, logs[0])
			wantClients, wantTables := counted(recorded)
			gotClients, gotTables := map[string]ClientStatistics{}, map[tableKey]TableStatistics{}
			for _, s := range clients {
				gotClients[s.Client] = s
			}
			for _, s := range tables {
				gotTables[tableKey{s.Client, s.Table, s.Operation}] = s
			}
			if diff := cmp.Diff(wantClients, gotClients, uncounted); diff != "" {
				t.Errorf("%s (-want +got):\n%.3000s", when, diff)
			}
			if diff := cmp.Diff(wantTables, gotTables, uncountedTable); diff != "" {
				t.Errorf("%s (-want +got):\n%.3000s", when, diff)
			}
		}
		compare("live")
		l := logs[0].ledger
		exec(t, l, "UPDATE client_statistics SET total_requests = 3, successful_requests = 500, failed_requests = -2, last_operation_at = NULL WHERE client_name > 'c3'")
		exec(t, l, "DELETE FROM client_statistics WHERE client_name < 'c2'")
		exec(t, l, "DELETE FROM client_table_statistics WHERE operation = 'fetch'")
		exec(t, l, "UPDATE client_table_statistics SET total_operations = total_operations * 2, error_operations = 0")
		exec(t, l, "INSERT INTO client_statistics (client_name, total_requests, updated_at) VALUES ('gone', 5, $1)", at)
		exec(t, l, "INSERT INTO client_table_statistics (client_name, table_name, operation, total_operations, updated_at) VALUES ('gone', 't', 'fetch', 5, $1)", at)
		if err := logs[1].Refresh(t.Context(), &ledger.Audit{Action: "statistics.refresh"}); err != nil {
			t.Fatal(err)
		}
		compare("refreshed")
	})
}

func TestClientWithoutRequests(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := start(t, l)
		exec(t, l, "INSERT INTO athena_clients (id, client_name, created_at, updated_at) VALUES ($1, 'new', $2, $2)", "0198c0de-0000-7000-8000-000000000001", time.Now().UTC())
		s, tables, err := log.Client(t.Context(), "new")
		if err != nil || s == nil || tables == nil {
			t.Fatal(s, tables, err)
		}
		if diff := cmp.Diff(ClientStatistics{Client: "new"}, *s, uncounted); diff != "" {
			t.Error(diff)
		}
		if s, _, err := log.Client(t.Context(), "other"); s != nil || err != nil {
			t.Error(s, err)
		}
	})
}

// TestRows chooses rows in every way.
func TestRows(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := start(t, l)
		at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
		for i := range 10 {
			e := Entry{Time: at.Add(time.Duration(i) * time.Second), RequestID: fmt.Sprint("r", i), Client: "shop", Table: "users", Operation: "fetch", Door: "gateway", Status: 200}
			switch {
			case i < 3:
				e.Failed(sdk.E(sdk.Conflict, "conflict", "no"), false)
				e.Status = 409
			case i == 3:
				e.Table, e.Operation, e.KeyID, e.UserID, e.OrganizationID = "", "sql", "k", "u", "o"
			case i == 4:
				e.Client, e.Door = "", "ws"
			}
			log.Record(&e)
		}
		flush(t, log)
		text := func(s string) *string { return &s }
		yes, no := true, false
		for name, c := range map[string]struct {
			q    Query
			want string
		}{
			"all":          {Query{}, "9876543210 10"},
			"page":         {Query{Limit: 3, Offset: 2}, "765 10"},
			"beyond":       {Query{Limit: 3, Offset: 20}, " 10"},
			"client":       {Query{Client: text("shop")}, "987653210 9"},
			"no client":    {Query{Client: text("")}, "4 1"},
			"table":        {Query{Client: text("shop"), Table: text("users"), Operation: text("fetch")}, "98765210 8"},
			"no table":     {Query{Client: text("shop"), Table: text(""), Operation: text("sql")}, "3 1"},
			"errors":       {Query{Client: text("shop"), Table: text("users"), Operation: text("fetch"), Errors: &yes}, "210 3"},
			"normal":       {Query{Errors: &no}, "9876543 7"},
			"door":         {Query{Door: "ws"}, "4 1"},
			"request":      {Query{RequestID: "r7"}, "7 1"},
			"key":          {Query{KeyID: "k"}, "3 1"},
			"user":         {Query{UserID: "u", OrganizationID: "o"}, "3 1"},
			"other user":   {Query{UserID: "u", OrganizationID: "x"}, " 0"},
			"status":       {Query{Status: 409}, "210 3"},
			"time":         {Query{Since: at.Add(2 * time.Second), Until: at.Add(4 * time.Second)}, "32 2"},
			"time in zone": {Query{Since: at.Add(2 * time.Second).In(time.FixedZone("", -7200)), Until: at.Add(4 * time.Second)}, "32 2"},
			"quoted":       {Query{Client: text(`shop' OR '1'='1`)}, " 0"},
		} {
			list, total := rows(t, log, &c.q)
			got := ""
			for _, r := range list {
				got += strings.TrimPrefix(*r.RequestID, "r")
			}
			if got += fmt.Sprint(" ", total); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	})
}

// TestBackfill completes what an older installation has left.
func TestBackfill(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.Open(t, uri)
		at := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
		type row struct {
			status                 any
			failed, message, cache any
			details                any
		}
		type want struct {
			failed         bool
			message, cache string
		}
		cases := []struct {
			row
			want
		}{
			{row{200, nil, nil, nil, `{"cache_key":"k1"}`}, want{false, "", "k1"}},
			{row{500, nil, nil, nil, `{"error":"it\u0000 broke","cache_key":null}`}, want{true, "it broke", ""}},
			{row{400, nil, nil, nil, `{"error":true,"message":"told"}`}, want{true, "told", ""}},
			{row{200, nil, nil, nil, `{"error":true}`}, want{true, "", ""}},
			{row{500, nil, nil, nil, `{"error":false}`}, want{false, "", ""}},
			{row{500, nil, nil, nil, nil}, want{true, "", ""}},
			{row{nil, nil, nil, nil, `["error"]`}, want{false, "", ""}},
			{row{200, nil, nil, nil, `{"error":{"message":"deep"},"message":7}`}, want{false, "", ""}},
			{row{500, false, "kept", "kept", `{"error":true,"message":"other","cache_key":"other"}`}, want{false, "kept", "kept"}},
			{row{500, true, nil, nil, `{"message":"late","cache_key":"late"}`}, want{true, "late", "late"}},
		}
		const times = 60
		for range times {
			for i, c := range cases {
				details := c.details
				if s, ok := details.(string); ok && l.Postgres() {
					details = strings.ReplaceAll(s, `\u0000`, "") // which jsonb does not hold
				}
				exec(t, l, "INSERT INTO gateway_operation_log (created_at, request_id, status_code, error, message, cache_key, details) VALUES ($1, $2, $3, $4, $5, $6, $7)",
					at, fmt.Sprint(i), c.status, c.row.failed, c.row.message, c.row.cache, details)
			}
		}
		// A gateway that ended in the middle, then two that start together.
		stopped := &Log{ledger: l, logger: hclog.NewNullLogger()}
		var last any
		if n, err := stopped.backfillSome(t.Context(), &last); n != backfillRows || err != nil {
			t.Fatal(n, err)
		}
		log := start(t, l)
		start(t, ledgertest.Open(t, uri))
		log.Record(&Entry{Time: at, RequestID: "new", Operation: "fetch", Door: "ws", Status: 200})
		flush(t, log)
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			var left int
			if err := l.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
				return c.QueryRowContext(ctx, "SELECT count(*) FROM gateway_operation_log WHERE door IS NULL").Scan(&left)
			}); err != nil {
				t.Fatal(err)
			}
			if left == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d rows are left", left)
			}
		}
		for i, c := range cases {
			list, total := rows(t, log, &Query{RequestID: fmt.Sprint(i)})
			if total != times {
				t.Fatalf("%d rows", total)
			}
			for _, r := range list {
				got := want{failed: *r.Error}
				if r.Message != nil {
					got.message = *r.Message
				}
				if r.CacheKey != nil {
					got.cache = *r.CacheKey
				}
				expected := c.want
				if got != expected || *r.Door != "gateway" {
					t.Errorf("case %d: %+v, want %+v", i, got, expected)
					break
				}
			}
		}
		if list, _ := rows(t, log, &Query{Door: "ws"}); len(list) != 1 || *list[0].RequestID != "new" {
			t.Error("a new row was changed", list)
		}
	})
}

// TestRetention prunes old rows, whether or not anything is recorded; what was counted stays.
func TestRetention(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.OpenWith(t, ledger.Options{URI: uri, Retention: map[string]time.Duration{"gateway_operation_log": 30 * 24 * time.Hour}})
		log := start(t, l)
		off := New(Options{Ledger: l, Logger: hclog.NewNullLogger(), Off: true})
		defer off.Close()
		for i := range 2500 {
			age := 31 * 24 * time.Hour
			if i%500 == 0 {
				age = 29 * 24 * time.Hour
			}
			log.Record(&Entry{Time: time.Now().Add(-age), Client: "shop", Operation: "fetch", Door: "gateway", Status: 200, Reached: true})
		}
		flush(t, log)
		l.PruneNow(t.Context())
		if _, total := rows(t, off, &Query{}); total != 5 {
			t.Errorf("%d rows are left of 5", total)
		}
		if s, _, err := log.Client(t.Context(), "shop"); err != nil || s.Requests != 2500 {
			t.Error(s, err)
		}
	})
}

// TestRefreshBesideOthers: a refresh reads while somebody changes something, takes in what is
// recorded between its view and its correction, and corrects what another has corrected once.
func TestRefreshBesideOthers(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		log, other := start(t, ledgertest.Open(t, uri)), start(t, ledgertest.Open(t, uri))
		l := log.ledger
		var recorded []Entry
		record := func(log *Log, n int) {
			t.Helper()
			for range n {
				e := Entry{Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC).Add(time.Duration(len(recorded)) * time.Second), Client: fmt.Sprint("c", len(recorded)%3), Table: "users",
					Operation: "fetch", Door: "gateway", Status: 200, Reached: len(recorded)%2 == 0}
				recorded = append(recorded, e)
				log.Record(&e)
			}
			flush(t, log)
		}
		check := func(when string) {
			t.Helper()
			wantClients, wantTables := counted(recorded)
			clients, tables := all(t, log)
			for _, s := range clients {
				if diff := cmp.Diff(wantClients[s.Client], s, uncounted); diff != "" {
					t.Errorf("%s (-want +got):\n%s", when, diff)
				}
			}
			for _, s := range tables {
				if diff := cmp.Diff(wantTables[tableKey{s.Client, s.Table, s.Operation}], s, uncountedTable); diff != "" {
					t.Errorf("%s (-want +got):\n%s", when, diff)
				}
			}
			if len(clients) != len(wantClients) || len(tables) != len(wantTables) {
				t.Errorf("%s: %d clients and %d tables", when, len(clients), len(tables))
			}
		}
		audits := func() int64 {
			return ledgertest.Count(t, l, "SELECT count(*) FROM admin_audit_log WHERE action = 'refresh'")
		}
		refresh := &ledger.Audit{Action: "refresh"}
		record(log, 10)
		exec(t, l, "UPDATE client_statistics SET total_requests = 100, failed_requests = 7 WHERE client_name = 'c1'")
		exec(t, l, "DELETE FROM client_table_statistics WHERE client_name = 'c2'")
		exec(t, l, "INSERT INTO client_statistics (client_name, total_requests, updated_at) VALUES ('gone', 5, $1)", time.Now().UTC())

		// The writer of the ledger is another's while the log is read.
		var seen *drift
		if err := l.Change(t.Context(), ledger.Keys, &ledger.Audit{}, func(context.Context, *sql.Conn) (err error) {
			seen, err = log.drift(t.Context())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		record(log, 10)
		record(other, 10)
		if err := log.correct(t.Context(), refresh, seen); err != nil {
			t.Fatal(err)
		}
		check("batches came between")
		if err := log.correct(t.Context(), refresh, seen); err != errRefreshed {
			t.Errorf("corrected twice: %v", err)
		}
		check("refused")

		exec(t, l, "UPDATE client_statistics SET total_requests = 100 WHERE client_name = 'c1'")
		seen, err := log.drift(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Refresh(t.Context(), refresh); err != nil {
			t.Fatal(err)
		}
		if err := log.correct(t.Context(), refresh, seen); err != errRefreshed {
			t.Errorf("another refresh came between: %v", err)
		}
		check("another refresh came between")
		if n := audits(); n != 2 {
			t.Errorf("%d refreshes are in the audit, want 2", n)
		}
	})
}

// TestDrilldown: behind each line of the statistics are as many rows as it counts, older rows
// too, which may hold "" for what they lack.
func TestDrilldown(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := start(t, l)
		at := time.Now()
		for i := range 40 {
			e := Entry{Time: at, Client: "shop", Table: []string{"", "users"}[i%2], Operation: []string{"fetch", "insert"}[i/2%2], Door: "gateway", Status: 200, Reached: i%5 > 0}
			if i%3 == 0 {
				e.Failed(sdk.E(sdk.Conflict, "conflict", "no"), false)
			}
			log.Record(&e)
		}
		flush(t, log)
		for _, table := range []any{"", nil, "users"} {
			exec(t, l, "INSERT INTO gateway_operation_log (created_at, client_name, table_name, operation, status_code, operation_time_ms, cached) VALUES ($1, 'shop', $2, 'fetch', 200, 1, $3)", at.UTC(), table, false)
			exec(t, l, "INSERT INTO gateway_operation_log (created_at, client_name, table_name, operation, status_code, operation_time_ms, cached) VALUES ($1, 'shop', $2, '', 500, NULL, $3)", at.UTC(), table, true)
		}
		if err := log.Refresh(t.Context(), &ledger.Audit{}); err != nil {
			t.Fatal(err)
		}
		_, lines, err := log.Client(t.Context(), "shop")
		if err != nil || len(lines) != 6 {
			t.Fatal(lines, err)
		}
		failed := true
		for _, line := range lines {
			q := Query{Client: &line.Client, Table: &line.Table, Operation: &line.Operation, Reached: true}
			list, total := rows(t, log, &q)
			q.Errors = &failed
			if _, errors := rows(t, log, &q); total != line.Operations || errors != line.Errors || int64(len(list)) != total {
				t.Errorf("%+v: %d rows, %d of them errors", line, total, errors)
			}
		}
	})
}

// TestPlans: in a large log pages, drilldowns and the steps of the backfill come from indexes.
func TestPlans(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		count := 2000
		if l.Postgres() { // which reads small tables whole
			count = 20000
		}
		exec(t, l, `INSERT INTO gateway_operation_log (created_at, client_name, table_name, operation, door, operation_time_ms)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+strconv.Itoa(count)+`)
			SELECT '2026-02-03 04:05:06', 'c' || (i % 50), CASE WHEN i % 7 > 0 THEN 't' || (i % 7) END, 'fetch', CASE WHEN i % 3 > 0 THEN 'gateway' END, 1 FROM n`)
		if l.Postgres() {
			exec(t, l, "UPDATE gateway_operation_log SET created_at = created_at + id * interval '1 second'")
		} else {
			exec(t, l, "UPDATE gateway_operation_log SET created_at = datetime(created_at, id || ' seconds')")
		}
		exec(t, l, "ANALYZE gateway_operation_log")
		client, table, operation, none := "c7", "t3", "fetch", ""
		drilldown := &Query{Client: &client, Table: &table, Operation: &operation, Reached: true}
		without := &Query{Client: &client, Table: &none, Operation: &operation, Reached: true}
		text := func(q *Query) (string, []any) {
			where, args := q.where()
			return page(where, len(args)), append(args, 100, 0)
		}
		all, allArgs := text(&Query{})
		lines, linesArgs := text(drilldown)
		others, othersArgs := text(without)
		for _, c := range []struct {
			query, index string
			args         []any
		}{
			{all, "gateway_operation_log_by_time", allArgs},
			{lines, "gateway_operation_log_by_table", linesArgs},
			{others, "gateway_operation_log_by_table", othersArgs},
			{fmt.Sprintf(older, ""), "gateway_operation_log_older", []any{backfillRows}},
			{fmt.Sprintf(older, " AND id > $2"), "gateway_operation_log_older", []any{backfillRows, 1000}},
			{completed, "gateway_operation_log_older", []any{true, "", "", 999}},
		} {
			if l.Postgres() && c.query == completed { // also where the column was added later, without a key
				exec(t, l, "ALTER TABLE gateway_operation_log DROP CONSTRAINT gateway_operation_log_by_time")
			}
			explain := "EXPLAIN QUERY PLAN "
			if l.Postgres() {
				explain = "EXPLAIN "
			}
			plan := ""
			if err := l.Read(t.Context(), func(ctx context.Context, conn *sql.Conn) error {
				return each(ctx, conn, explain+c.query, c.args, func(rows *sql.Rows) error {
					var line string
					var number any
					into := []any{&line}
					if !l.Postgres() {
						into = []any{&number, &number, &number, &line}
					}
					err := rows.Scan(into...)
					plan += line + "\n"
					return err
				})
			}); err != nil {
				t.Fatal(err)
			}
			whole := strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN") && !strings.Contains(plan, "USING INDEX")
			byID := !l.Postgres() && strings.Contains(plan, "USING INTEGER PRIMARY KEY (")
			if whole || !byID && !strings.Contains(plan, c.index) {
				t.Errorf("%s\n%s", c.query, plan)
			}
		}
	})
}

// TestRestart: what was flushed or closed is there after a start.
func TestRestart(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		for round := range 3 {
			l := ledgertest.Open(t, uri)
			log := New(Options{Ledger: l, Logger: hclog.NewNullLogger()})
			for range 1500 {
				log.Record(&Entry{Time: time.Now(), Client: "shop", Operation: "fetch", Door: "gateway", Status: 200})
			}
			log.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := l.Close(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			again := start(t, ledgertest.Open(t, uri))
			if s, _, err := again.Client(t.Context(), "shop"); err != nil || s.Requests != int64(1500*(round+1)) {
				t.Fatal(s, err)
			}
		}
	})
}

// TestOff records nothing and shows what there is.
func TestOff(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		log := start(t, l)
		log.Record(&Entry{Time: time.Now(), Client: "shop", Operation: "fetch", Door: "gateway", Status: 200})
		flush(t, log)
		off := New(Options{Ledger: l, Logger: hclog.NewNullLogger(), Off: true})
		defer off.Close()
		if off.On() || !log.On() || (*Log)(nil).On() {
			t.Error(off.On(), log.On())
		}
		if _, total := rows(t, off, &Query{}); total != 1 {
			t.Error(total)
		}
	})
}

// TestDeadLedger: recording costs nothing while the ledger is down, what does not fit is
// counted, and everything else is written once it is back.
func TestDeadLedger(t *testing.T) {
	proxy := testenv.StartProxy(t, testenv.Database(t))
	l := ledgertest.Open(t, proxy.URI())
	log := start(t, l)
	log.Record(&Entry{Time: time.Now(), Client: "shop", Operation: "fetch", Door: "gateway", Status: 200})
	flush(t, log)
	proxy.Refuse()
	proxy.CutAll()
	const entries = 70_000
	for range entries {
		log.Record(&Entry{Time: time.Now(), Client: "shop", Operation: "fetch", Door: "gateway", Status: 200})
	}
	dropped := l.Status().Dropped
	if dropped == 0 || dropped > entries-1<<16 {
		t.Errorf("%d entries were dropped", dropped)
	}
	if _, _, err := log.Statistics(t.Context(), 100, 0); sdk.AsError(err) == nil || sdk.AsError(err).Reason != "ledger_unavailable" {
		t.Error("statistics of a dead ledger:", err)
	}
	proxy.Accept(t)
	flush(t, log)
	if s, _, err := log.Client(t.Context(), "shop"); err != nil || s.Requests != entries+1-dropped {
		t.Errorf("%+v, %v; %d were dropped", s, err, dropped)
	}
	if _, total := rows(t, log, &Query{Limit: 1}); total != entries+1-dropped {
		t.Errorf("%d rows; %d were dropped", total, dropped)
	}
}
