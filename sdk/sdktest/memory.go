package sdktest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Memory is a backend that keeps its tables in memory: a working one for the tests of
// whatever stands above a backend. Its rows live as long as the returned Plugin, in
// databases that instances share by name. A config looks like
//
//	{"database": "shop", "tables": {"items": "id int key auto, name text required, code text unique, price number default 0"}}
//
// with the column types int, number, text, bool and json. Numbers keep the text they came
// with. Besides the tables of the config there are
//
//	numbers       `numbers` rows of id and label, about 400 bytes each, made while they are read
//	broken        the same, with an Unavailable error after half of them
//	slow          no answer until the call is cancelled
//	panic         a panic in the backend
//	leak          an error whose text holds the config's token
//	fail_conflict and so on, for each sdk.Kind: an error of that kind
func Memory(name string) sdk.Plugin {
	m := &memory{databases: map[string]*database{}}
	return sdk.Plugin{Name: name, Version: "1.0.0", Backend: sdk.NewBackend(m.open, sdk.Capabilities{
		Verbs: []sdk.Verb{sdk.Select, sdk.Insert, sdk.Update, sdk.Delete, sdk.Count},
		Operators: []sdk.Operator{sdk.Eq, sdk.Neq, sdk.Gt, sdk.Gte, sdk.Lt, sdk.Lte,
			sdk.Like, sdk.ILike, sdk.In, sdk.Is, sdk.IsDistinct},
		Transactions: true,
		Returning:    true,
	})}
}

type memoryConfig struct {
	Database string            `json:"database" athena:"required,doc=Instances of one database see the same rows"`
	Tables   map[string]string `json:"tables" athena:"doc=Tables to make when they are missing, by name: a list of columns, each a name, a type and any of key, auto, unique, required, default VALUE"`
	Numbers  int64             `json:"numbers" athena:"default=100000,doc=How many rows the table numbers has"`
	Delay    time.Duration     `json:"delay" athena:"default=0s,doc=How long every call waits first"`
	Token    string            `json:"token" athena:"secret,doc=A secret that has no use"`
}

type memory struct {
	mu        sync.Mutex
	databases map[string]*database
}

// database holds tables and their rows. A slice of rows and the rows in it never change
// once they are in the map: writers replace them, so readers need no lock while they read.
type database struct {
	mu     sync.RWMutex
	tables map[string]*table
	rows   map[string][]row
}

type memoryInstance struct {
	memoryConfig
	db *database
}

var _ sdk.Instance = (*memoryInstance)(nil)
var _ sdk.Pinger = (*memoryInstance)(nil)

func (m *memory) open(_ context.Context, config memoryConfig) (*memoryInstance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db := m.databases[config.Database]
	if db == nil {
		db = &database{tables: map[string]*table{}, rows: map[string][]row{}}
		m.databases[config.Database] = db
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for name, definition := range config.Tables {
		if db.tables[name] != nil {
			continue
		}
		t, err := parseTable(name, definition)
		if err != nil {
			return nil, err
		}
		db.tables[name] = t
	}
	return &memoryInstance{memoryConfig: config, db: db}, nil
}

func (m *memoryInstance) Close() error { return nil }

func (m *memoryInstance) Ping(context.Context) error { return nil }

// tx is one call's view of a database: what was there when it began, and its own writes.
type tx struct {
	*memoryInstance
	tables   map[string]*table
	rows     map[string][]row
	affected int64
}

// Execute runs the call in one transaction. Writers exclude each other.
func (m *memoryInstance) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	if m.Delay > 0 {
		select {
		case <-time.After(m.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if call.ReadOnly() {
		m.db.mu.RLock()
		t := &tx{memoryInstance: m, tables: maps.Clone(m.db.tables), rows: maps.Clone(m.db.rows)}
		m.db.mu.RUnlock()
		return t.run(ctx, call, rows)
	}
	rows.Hold()
	if err := m.write(ctx, call, rows); err != nil {
		return err
	}
	return rows.Release()
}

func (m *memoryInstance) write(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	m.db.mu.Lock()
	defer m.db.mu.Unlock()
	t := &tx{memoryInstance: m, tables: m.db.tables, rows: maps.Clone(m.db.rows)}
	if err := t.run(ctx, call, rows); err != nil {
		return err
	}
	if err := expect(call.Expect, t.affected); err != nil {
		return err
	}
	if !call.Tx.Rollback {
		m.db.rows = t.rows
	}
	return nil
}

func (t *tx) run(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	for i := range call.Statements {
		if i > 0 {
			if err := rows.NextStatement(); err != nil {
				return err
			}
		}
		if err := t.statement(ctx, &call.Statements[i], rows); err != nil {
			e := *sdk.AsError(err)
			e.Statement = i
			return &e
		}
	}
	return nil
}

func expect(e sdk.Expect, affected int64) error {
	switch {
	case e.ExactlyOne && affected != 1:
		return sdk.E(sdk.Invalid, "expected_one_row", fmt.Sprintf("%d rows where exactly one was expected", affected))
	case e.MaxAffected != nil && affected > *e.MaxAffected:
		return sdk.E(sdk.Invalid, "max_affected_exceeded", fmt.Sprintf("%d rows where at most %d were expected", affected, *e.MaxAffected))
	}
	return nil
}

func (t *tx) statement(ctx context.Context, s *sdk.Statement, rows *sdk.Rows) error {
	source, err := t.source(ctx, s.Table.Name)
	if err != nil {
		return err
	}
	matched, err := match(source, s)
	if err != nil {
		return err
	}
	name := "main." + s.Table.Name
	if s.Verb == sdk.Select || s.Verb == sdk.Count {
		rows.Tail.TablesRead = []string{name}
		return selectRows(ctx, source.table, matched, s, rows)
	}
	rows.Tail.TablesWritten = []string{name}
	if s.Limit != nil || s.Offset != nil {
		return sdk.E(sdk.Unsupported, "limited_write", "this backend cannot limit what it writes").
			WithHint("leave limit and offset out, or narrow the filter")
	}
	var written []row
	switch s.Verb {
	case sdk.Insert:
		written, err = t.insert(source.table, s)
	case sdk.Update:
		written, err = t.update(source.table, s, matched)
	case sdk.Delete:
		written, err = t.delete(source.table, s, matched)
	}
	if err != nil {
		return err
	}
	affected := int64(len(written))
	t.affected += affected
	rows.Tail.Affected = &affected
	if len(written) == 1 {
		rows.Tail.Keys = source.table.keyPairs(written[0])
	}
	selection := s.Selection
	switch s.Returning {
	case sdk.ReturnNone:
		return nil
	case sdk.ReturnKeys:
		selection = sdk.Selection{Items: source.table.keyItems()}
	}
	p, err := source.table.project(selection)
	if err != nil {
		return err
	}
	return p.emit(ctx, slices.Values(written), rows)
}

// source is a table and its rows, in memory or made on the way.
type source struct {
	table *table
	rows  iter.Seq2[row, error]
}

func (t *tx) source(ctx context.Context, name string) (*source, error) {
	switch name {
	case "numbers":
		return &source{numbersTable, generate(t.Numbers, nil)}, nil
	case "broken":
		return &source{numbersTable, generate(t.Numbers/2, &sdk.Error{Kind: sdk.Unavailable, Reason: "connection_lost",
			Source: sdk.FromDownstream, Executed: sdk.ExecutedNo, Message: "the connection to the database was lost"})}, nil
	case "slow":
		<-ctx.Done()
		return nil, ctx.Err()
	case "panic":
		panic("the table panic was asked for")
	case "leak":
		return nil, &sdk.Error{Kind: sdk.Unavailable, Reason: "connection_lost", Source: sdk.FromDownstream, Executed: sdk.ExecutedNo,
			Message: "cannot log in with " + t.Token, Detail: t.Token, Hint: t.Token, Log: "token=" + t.Token}
	}
	if kindName, ok := strings.CutPrefix(name, "fail_"); ok {
		for kind := sdk.Internal; kind <= sdk.Canceled; kind++ {
			if kind.String() == kindName {
				return nil, sdk.E(kind, "failing_table", "the table "+name+" always fails")
			}
		}
	}
	table := t.tables[name]
	if table == nil {
		e := sdk.E(sdk.NotFound, "undefined_table", fmt.Sprintf("there is no table %q", name)).
			WithHint("ask for a table that the config of this memory database lists")
		e.Source, e.Table = sdk.FromDownstream, name
		return nil, e
	}
	rows := t.rows[name]
	return &source{table, func(yield func(row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}}, nil
}

var numbersTable = &table{name: "numbers", columns: []column{{name: "id", kind: "int", key: true}, {name: "label", kind: "text"}}}

var padding = strings.Repeat("athena ", 55)

// generate makes n rows of numbersTable one by one, then fails with err if there is one.
func generate(n int64, err error) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		for i := int64(1); i <= n; i++ {
			id := strconv.FormatInt(i, 10)
			if !yield(row{[]byte(id), []byte(`"` + padding + id + `"`)}, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// emit writes rows until they end, a bound stops them or ctx ends.
func (p *projection) emit(ctx context.Context, source iter.Seq[row], rows *sdk.Rows) error {
	rows.Columns(p.names...)
	for r := range source {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, i := range p.columns {
			if r[i] == nil {
				rows.Null()
				continue
			}
			rows.Put(append(rows.Cell(), r[i]...))
		}
		if err := rows.EndRow(); errors.Is(err, sdk.ErrRowLimit) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}
