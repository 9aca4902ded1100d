//go:build unix

package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/pluginpb"
)

func TestSelectAndInsert(t *testing.T) {
	p := start(t)
	for _, config := range []string{`{}`, fmt.Sprintf(`{"path": %q}`, filepath.Join(t.TempDir(), "kv")),
		fmt.Sprintf(`{"path": %q, "password": "correct horse"}`, filepath.Join(t.TempDir(), "kv"))} {
		p.open(t, config)
		tail := wantBody(t, p, insert("fruit", `[{"key":"apple","value":9223372036854775807},{"value":{"n": [1.10, "a,}\"]\\"], "s":""},"key":"p\u00e4r"}]`), `[]`)
		if *tail.Affected != 2 || !slices.Equal(tail.TablesWritten, []string{"fruit"}) || len(tail.Keys) != 0 {
			t.Errorf("the tail of two rows is %+v", tail)
		}
		returning := insert("fruit", `{"key": "fig"}`)
		returning.Returning = sdk.ReturnSelection
		tail = wantBody(t, p, returning, `[{"key":"fig","value":null}]`)
		if diff := cmp.Diff([]sdk.KeyColumn{{Name: "key", Value: "fig"}}, tail.Keys); diff != "" || *tail.Affected != 1 {
			t.Errorf("the tail of one row is %+v: %s", tail, diff)
		}
		all := `[{"key":"apple","value":9223372036854775807},{"key":"pär","value":{"n": [1.10, "a,}\"]\\"], "s":""}},{"key":"fig","value":null}]`
		if tail := wantBody(t, p, selectAll("fruit"), all); tail.Rows != 3 || !slices.Equal(tail.TablesRead, []string{"fruit"}) {
			t.Errorf("the tail of three rows is %+v", tail)
		}
		wantBody(t, p, selectKey("fruit", "fig"), `[{"key":"fig","value":null}]`)
		wantBody(t, p, selectKey("fruit", "nut"), `[]`)
		page, one := selectAll("fruit"), int64(1)
		page.Limit, page.Offset = &one, &one
		page.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "key"}}}
		wantBody(t, p, page, `[{"key":"pär"}]`)
		wantError(t, p, sdk.Call{Statements: []sdk.Statement{insert("fruit", `[{"key":"new"},{"key":"fig"}]`)}}, sdk.Conflict, "unique_violation", "exists already")
		wantBody(t, p, selectKey("fruit", "new"), `[]`)
		if err := p.CloseInstance(t.Context(), "kv", 1); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResultOptions(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	wantBody(t, p, insert("t", `[{"key":"a","value":1},{"key":"b"}]`), `[]`)
	for _, c := range []struct {
		options sdk.ResultOptions
		s       sdk.Statement
		want    string
	}{
		{sdk.ResultOptions{StripNulls: true}, selectAll("t"), `[{"key":"a","value":1},{"key":"b"}]`},
		{sdk.ResultOptions{MaxRows: 1, CapRows: true}, selectAll("t"), `[{"key":"a","value":1}]`},
		{sdk.ResultOptions{Format: sdk.FormatObject}, selectKey("t", "a"), `{"key":"a","value":1}`},
		{sdk.ResultOptions{Format: sdk.FormatObject}, selectKey("t", "c"), `null`},
		{sdk.ResultOptions{Format: sdk.FormatNone}, selectAll("t"), ``},
	} {
		body, _, err := ask(t.Context(), p, &sdk.Call{Statements: []sdk.Statement{c.s}, Result: c.options})
		if err != nil || body != c.want {
			t.Errorf("%+v: answered %s (%v), want %s", c.options, body, err, c.want)
		}
	}
	wantError(t, p, sdk.Call{Statements: []sdk.Statement{selectAll("t")}, Result: sdk.ResultOptions{MaxRows: 1}}, sdk.Invalid, "max_rows_exceeded", "more than 1 rows")
	wantError(t, p, sdk.Call{Statements: []sdk.Statement{selectAll("t")}, Result: sdk.ResultOptions{Format: sdk.FormatObject}}, sdk.Invalid, "more_than_one_row", "")
	large := insert("t", `[{"key":"large","value":"`+strings.Repeat("x", 200_000)+`"}]`) // sent in parts
	large.Returning = sdk.ReturnSelection
	wantError(t, p, sdk.Call{Statements: []sdk.Statement{large}, Result: sdk.ResultOptions{MaxBytes: 100_000}}, sdk.Invalid, "returned_rows_too_large", "nothing was written")
	wantBody(t, p, selectKey("t", "large"), `[]`)
	wantBody(t, p, large, `[{"key":"large","value":"`+strings.Repeat("x", 200_000)+`"}]`)
}

func TestRefused(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	wantBody(t, p, insert("t", `{"key":"a"}`), `[]`)
	one := func(s sdk.Statement, change func(*sdk.Statement)) sdk.Call {
		change(&s)
		return sdk.Call{Statements: []sdk.Statement{s}}
	}
	read, write := selectAll("t"), insert("t", `{"key":"b"}`)
	for _, c := range []struct {
		what string
		call sdk.Call
	}{
		{"update", one(read, func(s *sdk.Statement) { s.Verb = sdk.Update })},
		{"operator neq", one(selectKey("t", "a"), func(s *sdk.Statement) { s.Filter.Operator = sdk.Neq })},
		{"eq on the key", one(selectKey("t", "a"), func(s *sdk.Statement) { s.Filter.Column.Name = "value" })},
		{"eq on the key", one(selectKey("t", "a"), func(s *sdk.Statement) {
			s.Filter = &sdk.Filter{Kind: sdk.FilterOr, Children: []sdk.Filter{*s.Filter}}
		})},
		{"eq on the key", one(selectKey("t", "a"), func(s *sdk.Statement) { s.Filter.Quantifier = sdk.Any })},
		{"order", one(read, func(s *sdk.Statement) { s.Order = []sdk.Order{{Column: sdk.Column{Name: "key"}}} })},
		{"page token", one(read, func(s *sdk.Statement) { s.PageToken = "x" })},
		{"key in a select", one(read, func(s *sdk.Statement) { s.Key = []sdk.Value{{Text: "a"}} })},
		{"counting", one(read, func(s *sdk.Statement) { s.Count = sdk.CountExact })},
		{"distinct", one(read, func(s *sdk.Statement) {
			s.Selection = sdk.Selection{Distinct: true, Items: []sdk.Item{{Column: sdk.Column{Name: "key"}}}}
		})},
		{"distinct", one(read, func(s *sdk.Statement) { s.Selection.Distinct = true })},
		{"aliases", one(read, func(s *sdk.Statement) {
			s.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "key"}, Alias: "k"}}
		})},
		{"aggregates", one(read, func(s *sdk.Statement) {
			s.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "key"}, Aggregate: "count"}}
		})},
		{"schemas", one(read, func(s *sdk.Statement) { s.Table.Schema = "main" })},
		{"explain", one(read, func(s *sdk.Statement) { s.Explain = &sdk.Explain{} })},
		{"upserts", one(write, func(s *sdk.Statement) { s.Conflict = &sdk.OnConflict{} })},
		{"CSV", one(write, func(s *sdk.Statement) { s.Rows.Format = sdk.RowsCSV })},
		{"transactions", sdk.Call{Statements: []sdk.Statement{read, read}}},
		{"transactions", sdk.Call{Statements: []sdk.Statement{read}, Tx: sdk.Tx{Isolation: sdk.Serializable}}},
		{"transactions", sdk.Call{Statements: []sdk.Statement{read}, Expect: sdk.Expect{ExactlyOne: true}}},
		{"session settings", sdk.Call{Statements: []sdk.Statement{read}, Session: sdk.Session{Role: "r"}}},
		{"answers in CSV", sdk.Call{Statements: []sdk.Statement{read}, Result: sdk.ResultOptions{Format: sdk.FormatCSV}}},
		{"GeoJSON", sdk.Call{Statements: []sdk.Statement{read}, Result: sdk.ResultOptions{Format: sdk.FormatGeoJSON}}},
		{"position", sdk.Call{Statements: []sdk.Statement{read}, MinPosition: "1"}},
	} {
		t.Run(c.what, func(t *testing.T) { wantError(t, p, c.call, sdk.Unsupported, "unsupported", c.what) })
	}
	for _, c := range []struct {
		s      sdk.Statement
		kind   sdk.Kind
		reason string
	}{
		{selectAll("none"), sdk.NotFound, "undefined_table"},
		{one(read, func(s *sdk.Statement) { s.Selection.Items = []sdk.Item{{Column: sdk.Column{Name: "kye"}}} }).Statements[0], sdk.Invalid, "undefined_column"},
		{one(write, func(s *sdk.Statement) { s.Rows.Columns = []string{"kye"} }).Statements[0], sdk.Invalid, "undefined_column"},
		{insert("t", `[{"key":null}]`), sdk.Invalid, "not_null_violation"},
		{insert("t", `[{"key":5}]`), sdk.Invalid, "invalid_key"},
		{insert("t", `[5]`), sdk.Invalid, "invalid_rows"},
		{insert("t", `[{]`), sdk.Invalid, "invalid_rows"},
		{sdk.Statement{Verb: sdk.Insert, Table: sdk.Table{Name: "t"}}, sdk.Invalid, "invalid_rows"},
		{selectAll(""), sdk.Invalid, "invalid_table_name"},
		{insert("t", `[{"key":"z"},{"key":"z"}]`), sdk.Conflict, "unique_violation"},
	} {
		wantError(t, p, sdk.Call{Statements: []sdk.Statement{c.s}}, c.kind, c.reason, "")
	}
	for _, call := range []sdk.Call{{Instance: "kv", Generation: 2}, {Instance: "other", Generation: 1}} {
		call.Statements = []sdk.Statement{read}
		wantError(t, p, call, sdk.Unavailable, "unknown_instance", "")
	}
	if e := sdk.AsError(p.Ping(t.Context(), "kv", 2)); e == nil || e.Reason != "unknown_instance" || e.Executed != sdk.ExecutedNo {
		t.Errorf("a ping of no instance answers %v", e)
	}
	wantBody(t, p, selectAll("t"), `[{"key":"a","value":null}]`)
}

// TestCancelAndDeadline stops calls whose reader stalls: their answer is larger than what the
// connection takes.
func TestCancelAndDeadline(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	text := strings.Repeat("x", 1000)
	for n := range 20 {
		var rows []string
		for i := range 1000 {
			rows = append(rows, fmt.Sprintf(`{"key":"%d.%d","value":"%s"}`, n, i, text))
		}
		wantBody(t, p, insert("large", "["+strings.Join(rows, ",")+"]"), `[]`)
	}
	for _, timeout := range []time.Duration{0, 300 * time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		answer, err := p.Execute(ctx, &sdk.Call{Instance: "kv", Generation: 1, Statements: []sdk.Statement{selectAll("large")},
			Session: sdk.Session{StatementTimeout: timeout}, Deadline: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		want := "deadline_exceeded"
		if timeout == 0 {
			cancel()
			want = "canceled"
		}
		// The plugin ends the call although nobody reads: then nothing keeps the instance.
		if err := p.CloseInstance(t.Context(), "kv", 1); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = answer.Next()
		}
		answer.Close()
		if e := sdk.AsError(err); e.Reason != want {
			t.Errorf("answered %v, want %s", err, want)
		}
		p.open(t, `{}`)
		if timeout == 0 {
			wantBody(t, p, insert("large", `[{"key":"a","value":"`+strings.Repeat("x", 20_000_000)+`"},{"key":"b"}]`), `[]`)
		}
	}
	call := sdk.Call{Statements: []sdk.Statement{insert("t", `{"key":"late"}`)}, Deadline: time.Now().Add(-time.Second)}
	wantError(t, p, call, sdk.Timeout, "deadline_exceeded", "deadline")
	wantError(t, p, sdk.Call{Statements: []sdk.Statement{selectAll("t")}}, sdk.NotFound, "undefined_table", "")
}

// TestBrokenStream sends what no gateway sends: it ends the stream and no more.
func TestBrokenStream(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	for _, message := range []*pluginpb.CallOrPart{
		{},
		{Message: &pluginpb.CallOrPart_Part{Part: &pluginpb.Part{Last: true}}},
		{Message: &pluginpb.CallOrPart_Call{Call: &pluginpb.Call{Instance: "kv", Generation: 1, Parts: true}}},
	} {
		stream, err := pluginpb.NewBackendClient(p.conn).Session(t.Context())
		if err == nil {
			err = stream.Send(message)
		}
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: answered %v", message, err)
		}
	}
	wantBody(t, p, insert("t", `{"key":"a"}`), `[]`)
}

func TestDrain(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	wantBody(t, p, insert("t", `[{"key":"a","value":"`+strings.Repeat("x", 20_000_000)+`"},{"key":"b"}]`), `[]`)
	answer, err := p.Execute(t.Context(), &sdk.Call{Instance: "kv", Generation: 1, Statements: []sdk.Statement{selectAll("t")}})
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(t.Context()) }()
	eventually(t, "new calls are refused", func() bool {
		_, _, err := ask(t.Context(), p, &sdk.Call{Statements: []sdk.Statement{selectKey("t", "b")}})
		return err != nil && sdk.AsError(err).Reason == "draining" && sdk.AsError(err).Executed == sdk.ExecutedNo
	})
	select {
	case err := <-drained:
		t.Fatalf("drained while a call was under way (%v)", err)
	default:
	}
	for err == nil {
		_, err = answer.Next()
	}
	answer.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestHeartbeatsAndMetrics(t *testing.T) {
	p := start(t)
	p.open(t, `{}`)
	wantBody(t, p, insert("t", `[{"key":"a"},{"key":"b"}]`), `[]`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	beats := 0
	started := time.Now()
	_ = p.Watch(ctx, func() {
		if beats++; beats == 3 {
			cancel()
		}
	})
	if took := time.Since(started); beats != 3 || took < 1500*time.Millisecond {
		t.Errorf("%d heartbeats in %s: want one at once and one a second", beats, took)
	}
	metrics, err := p.Metrics(t.Context())
	want := map[string][]sdk.Metric{"kv": {{Name: "pairs", Help: "Pairs that the store holds.", Value: 2}, {Name: "tables", Help: "Tables that the store holds.", Value: 1}}}
	if diff := cmp.Diff(want, metrics); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestConfig(t *testing.T) {
	p := start(t)
	for config, want := range map[string]string{
		`[]`: "must be a JSON object", `{`: "not valid JSON", `{"pth":"x"}`: `unknown key "pth"`, `{"path":5}`: `"path" must be a string`,
		`{"password":"secret words"}`: "give its path too", `{"path":"/none/at/all"}`: "cannot be opened: ENOENT",
	} {
		_, err := p.OpenInstance(t.Context(), "kv", 1, json.RawMessage(config))
		if e := sdk.AsError(err); e == nil || !strings.Contains(e.Message, want) || e.Executed != sdk.ExecutedNo {
			t.Errorf("%s: answered %v, want %q", config, err, want)
		}
	}
}

// TestSecrets looks for passwords in all that the process itself says.
func TestSecrets(t *testing.T) {
	const right, wrong = "canary-9d2e77 \"right\"", "canary-9d2e77-wrong"
	path := filepath.Join(t.TempDir(), "kv-"+wrong) // its errors name the path
	p := start(t)
	if err := p.SetLogLevel(t.Context(), "trace"); err != nil {
		t.Fatal(err)
	}
	config := func(password string) string {
		text, _ := json.Marshal(map[string]string{"path": path, "password": password})
		return string(text)
	}
	p.open(t, config(right))
	wantBody(t, p, insert("t", `{"key":"a"}`), `[]`)
	_, err := p.OpenInstance(t.Context(), "kv", 2, json.RawMessage(config(wrong)))
	if e := sdk.AsError(err); e == nil || e.Reason != "wrong_password" || strings.Contains(e.Error(), wrong) || !strings.Contains(e.Message, "kv-***") {
		t.Errorf("a wrong password answers %v", err)
	}
	eventually(t, "the log tells of the instance", func() bool { return strings.Contains(p.stderr.String(), `"@message":"opened"`) })
	p.lifeline.Close()
	<-p.ended
	if said := p.stderr.String(); strings.Contains(said, "canary-9d2e77") {
		t.Errorf("it said %s", said)
	}
}

func TestLogLevel(t *testing.T) {
	p := start(t)
	if err := p.SetLogLevel(t.Context(), "info"); err != nil {
		t.Fatal(err)
	}
	p.open(t, `{}`)
	if err := p.SetLogLevel(t.Context(), "loud"); err == nil {
		t.Error("there is a level loud")
	}
	p.lifeline.Close()
	<-p.ended
	if said := p.stderr.String(); said != "" {
		t.Errorf("it said %s", said)
	}
}
