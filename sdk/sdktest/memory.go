package sdktest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// Memory is a backend that keeps its tables in memory and evaluates statements in the
// plainest way: a working one for the tests of whatever stands above a backend, and the
// reference that Differential compares others with. Its rows live as long as the returned
// Plugin, in databases that instances share by name. A config looks like
//
//	{"database": "shop", "tables": {
//		"items": "id int key auto, name text required, code text unique, price number default 0, \"made at\" time",
//		"parts": "item int references items, part int, note text, key (item, part), foreign (part) references items(id) as part_of"}}
//
// with the column types int (64 bits), number (a decimal that keeps the text it came
// with), text, bool, time (without a zone), json, int[] and text[]. Texts are compared
// byte by byte. Besides the tables of the config there are
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
			sdk.Like, sdk.ILike, sdk.In, sdk.Is, sdk.IsDistinct, sdk.Contains, sdk.Contained, sdk.Overlaps},
		Transactions: true,
		Returning:    true,
		Conflict:     true,
		Relations:    true,
		JSONPaths:    true,
		Aggregates:   true,
		Distinct:     true,
		Quantifiers:  true,
		Totals:       true,
		Defaults:     true,
		CSV:          true,
	})}
}

type memoryConfig struct {
	Database string            `json:"database" athena:"required,doc=Instances of one database see the same rows"`
	Tables   map[string]string `json:"tables" athena:"doc=Tables to make when they are missing, by name: a list of columns, each a name, a type and any of key, auto, unique, required, references TABLE, default VALUE"`
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
	for name := range config.Tables {
		if err := db.tables[name].resolve(db.tables); err != nil {
			return nil, err
		}
	}
	return &memoryInstance{memoryConfig: config, db: db}, nil
}

func (m *memoryInstance) Close() error { return nil }

func (m *memoryInstance) Ping(context.Context) error { return nil }

// tx is one transaction's view of a database: what was there when it began, and its own
// writes.
type tx struct {
	*memoryInstance
	options  sdk.ResultOptions
	tables   map[string]*table
	rows     map[string][]row
	affected int64           // rows written, or read
	key      []sdk.KeyColumn // of the one row written last
	err      error           // of the current statement, from where it can only be kept
	reads    map[string]bool
}

// Execute runs the call's statements in one transaction or each in its own. Writers
// exclude each other.
func (m *memoryInstance) Execute(ctx context.Context, call *sdk.Call, rows *sdk.Rows) error {
	if m.Delay > 0 {
		select {
		case <-time.After(m.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if call.Tx.Single || call.ReadOnly() {
		return m.transaction(ctx, call, rows, 0, len(call.Statements))
	}
	for i := range call.Statements {
		if i > 0 {
			if err := rows.NextStatement(); err != nil {
				return err
			}
		}
		if err := m.transaction(ctx, call, rows, i, i+1); err != nil {
			e := *sdk.AsError(err)
			if i > 0 {
				e.Executed = sdk.ExecutedYes
			}
			return &e
		}
	}
	return nil
}

// transaction runs the statements from first up to end. The rows of writes are held back
// until they are done.
func (m *memoryInstance) transaction(ctx context.Context, call *sdk.Call, rows *sdk.Rows, first, end int) error {
	t := &tx{memoryInstance: m, options: rows.Options()}
	if call.ReadOnly() {
		m.db.mu.RLock()
		t.tables, t.rows = maps.Clone(m.db.tables), maps.Clone(m.db.rows)
		m.db.mu.RUnlock()
		return t.run(ctx, call, rows, first, end)
	}
	if call.Tx.ReadOnly {
		return sdk.E(sdk.Invalid, "read_only_sql_transaction", "the transaction is read-only").WithHint("do not ask for a read-only transaction to write")
	}
	m.db.mu.Lock()
	t.tables, t.rows = m.db.tables, maps.Clone(m.db.rows)
	rows.Hold()
	err := t.run(ctx, call, rows, first, end)
	if err == nil && !call.Tx.Rollback {
		m.db.rows = t.rows
	}
	m.db.mu.Unlock()
	if err != nil {
		return err
	}
	return rows.Release()
}

func (t *tx) run(ctx context.Context, call *sdk.Call, rows *sdk.Rows, first, end int) error {
	for i := first; i < end; i++ {
		if i > first {
			if err := rows.NextStatement(); err != nil {
				return err
			}
		}
		t.reads = map[string]bool{}
		if err := t.statement(ctx, &call.Statements[i], rows); err != nil {
			e := *sdk.AsError(err)
			e.Statement = i
			return &e
		}
	}
	return t.expect(&call.Expect)
}

func (t *tx) expect(e *sdk.Expect) error {
	switch {
	case e.ExactlyOne && t.affected != 1:
		return sdk.E(sdk.Invalid, "not_exactly_one", fmt.Sprintf("%d rows where exactly one was expected; nothing was changed", t.affected))
	case e.MaxAffected != nil && t.affected > *e.MaxAffected:
		return sdk.E(sdk.Invalid, "max_affected_exceeded", fmt.Sprintf("%d rows where at most %d were expected; nothing was changed", t.affected, *e.MaxAffected))
	case e.KeyEquals != nil && !slices.EqualFunc(t.key, e.KeyEquals, func(c sdk.KeyColumn, v sdk.Value) bool { return c.Value == v.Text && !c.Null && v.Hint != sdk.Null }):
		return sdk.E(sdk.Invalid, "key_mismatch", "the row has another primary key than expected; nothing was changed")
	}
	return nil
}

func (t *tx) statement(ctx context.Context, s *sdk.Statement, rows *sdk.Rows) error {
	source, err := t.source(ctx, s.Table.Name)
	if err != nil {
		return err
	}
	if s.Verb == sdk.Select || s.Verb == sdk.Count {
		err = t.read(ctx, source, s, rows)
	} else {
		err = t.write(ctx, source.table, s, rows)
	}
	if err == nil {
		err = t.err
	}
	for _, name := range slices.Sorted(maps.Keys(t.reads)) {
		rows.Tail.TablesRead = append(rows.Tail.TablesRead, "main."+name)
	}
	return err
}

// read answers a Select or a Count.
func (t *tx) read(ctx context.Context, from *source, s *sdk.Statement, rows *sdk.Rows) error {
	l := t.level(from.table, &levelSpec{&s.Selection, s.Key, s.Filter, s.Order, s.Limit, s.Offset})
	if t.err != nil {
		return t.err
	}
	if s.Verb == sdk.Count || s.Count != sdk.CountNone {
		total := int64(0)
		for _, err := range l.matched(from.rows) {
			if err != nil {
				return err
			}
			total++
		}
		rows.Head.Total, rows.Tail.Total = &total, &total
		if s.Verb == sdk.Count {
			rows.Scalar(strconv.AppendInt(nil, total, 10))
			return nil
		}
	}
	err := l.emit(ctx, from.rows, rows)
	t.affected += rows.Tail.Rows
	return err
}

// write executes an Insert, Update or Delete and answers with the written rows.
func (t *tx) write(ctx context.Context, to *table, s *sdk.Statement, rows *sdk.Rows) error {
	rows.Tail.TablesWritten = []string{"main." + to.name}
	// Names before values: that is how databases look for mistakes.
	if _, err := to.findAll(s.Rows.Columns); err != nil {
		return err
	}
	for _, item := range s.Set {
		if _, err := to.find(item.Column); err != nil {
			return err
		}
	}
	returned := t.returned(to, s)
	if t.err != nil {
		return t.err
	}
	var written []row
	var err error
	switch s.Verb {
	case sdk.Insert:
		written, rows.Tail.Inserted, err = t.insert(to, s)
	case sdk.Update:
		written, err = t.update(to, s)
	case sdk.Delete:
		written, err = t.delete(to, s)
	}
	if err == nil {
		err = t.checkForeign(to)
	}
	if err != nil {
		return err
	}
	affected := int64(len(written))
	t.affected += affected
	rows.Tail.Affected = &affected
	if len(written) == 1 {
		t.key = to.keyOf(written[0])
		rows.Tail.Keys = t.key
	}
	if returned == nil {
		return nil
	}
	return returned.emit(ctx, sequence(written), rows)
}

// returned compiles what a write answers with; nil is nothing.
func (t *tx) returned(to *table, s *sdk.Statement) *level {
	switch s.Returning {
	case sdk.ReturnNone:
		return nil
	case sdk.ReturnKeys:
		return t.level(to, &levelSpec{selection: &sdk.Selection{Items: to.keyItems()}})
	default:
		return t.level(to, &levelSpec{selection: &s.Selection, order: s.Order})
	}
}

// source is a table and its rows, in memory or made on the way.
type source struct {
	table *table
	rows  rowSeq
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
	return &source{table, sequence(t.rows[name])}, nil
}

var numbersTable = &table{name: "numbers", columns: []column{{name: "id", kind: kindInt}, {name: "label", kind: kindText}},
	keyed: true, unique: []constraint{{"numbers_pkey", "key", []int{0}}}}

var padding = strings.Repeat("athena ", 55)

// generate makes n rows of numbersTable one by one, then fails with err if there is one.
func generate(n int64, err error) rowSeq {
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

// emit answers rows until they end, a bound stops them or ctx ends.
func (l *level) emit(ctx context.Context, source rowSeq, rows *sdk.Rows) error {
	names := make([]string, len(l.outputs))
	for i, o := range l.outputs {
		names[i] = o.name
	}
	rows.Columns(names...)
	for rec, err := range l.answer(source) {
		if err := cmp.Or(err, l.err, ctx.Err()); err != nil {
			return err
		}
		for _, c := range rec.cells {
			if c == nil {
				rows.Null()
				continue
			}
			rows.Put(append(rows.Cell(), c...))
		}
		if err := rows.EndRow(); errors.Is(err, sdk.ErrRowLimit) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}
