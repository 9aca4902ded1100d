package main

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

const (
	// The keys of partitions are copies of those of the whole table. A key with PERIOD
	// (PostgreSQL 18) does not refer by equality.
	foreignKeysSQL = `select k.conname, k.conrelid, k.confrelid, pg_catalog.array_to_string(k.conkey, ' '), pg_catalog.array_to_string(k.confkey, ' '),
  k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd')
from pg_catalog.pg_constraint k
where k.contype = 'f' and k.conparentid = 0 and coalesce(pg_catalog.to_jsonb(k) ->> 'conperiod', 'false') = 'false'
order by k.conrelid, k.conname`

	rulesSQL = `select r.ev_class, r.oid || '/' || r.xmin
from pg_catalog.pg_rewrite r
join pg_catalog.pg_class c on c.oid = r.ev_class
where r.ev_type = '1' and c.relkind in ('v', 'm') and c.relnamespace in ` + userNamespaces

	ruleActionsSQL = `select r.ev_class, r.ev_action from pg_catalog.pg_rewrite r where r.ev_type = '1' and r.ev_class = any($1)`
)

const (
	maxReferences = 16   // of one key by one view that shows its columns several times
	maxShown      = 4096 // foreign keys between views, made of one of tables
)

// foreignKey is a foreign key of tables, by column numbers.
type foreignKey struct {
	name             string
	table, target    *relation
	columns, targets []int16
}

// view is what a view shows of one table.
type view struct {
	*relation
	shows map[int16][]string // the view's columns, by the number of the table's
}

// readForeignKeys reads foreign keys and gives them, and keys, to the views that show them.
func (l *loader) readForeignKeys() error {
	var keys []foreignKey
	err := eachRow(l.pg, foreignKeysSQL, func(v [][]byte) {
		table, target := l.relation(parseOID(v[1])), l.relation(parseOID(v[2]))
		if target != nil && target != table && isTrue(v[5]) {
			target.Effects = true
		}
		if table != nil && target != nil {
			keys = append(keys, foreignKey{string(v[0]), table, target, numbers(v[3]), numbers(v[4])})
		}
	})
	if err != nil {
		return err
	}
	if err := l.readRules(); err != nil {
		return err
	}
	views := l.views()
	for i := range keys {
		l.link(&keys[i], views)
		if i%yieldRows == 0 {
			runtime.Gosched()
		}
	}
	for i := range l.relations {
		for _, v := range views[l.relations[i].oid] {
			v.inheritKeys(&l.relations[i])
		}
	}
	return nil
}

// numbers reads space-separated column numbers.
func numbers(b []byte) []int16 {
	var list []int16
	for field := range bytes.FieldsSeq(b) {
		n, _ := strconv.ParseInt(string(field), 10, 16) // the server's own output
		list = append(list, int16(n))
	}
	return list
}

// readRules reads what views show; of rules that are as they were, only their names.
func (l *loader) readRules() error {
	rules := map[uint32]viewRule{}
	var changed []uint32
	err := eachRow(l.pg, rulesSQL, func(v [][]byte) {
		id := parseOID(v[0])
		if l.known != nil && l.known.rules[id].version == string(v[1]) {
			rules[id] = l.known.rules[id]
			return
		}
		rules[id] = viewRule{version: string(v[1])}
		changed = append(changed, id)
	})
	l.c.rules = rules
	if err != nil || len(changed) == 0 {
		return err
	}
	return eachRow(l.pg, ruleActionsSQL, func(v [][]byte) {
		id := parseOID(v[0])
		rules[id] = viewRule{version: rules[id].version, columns: scanRule(v[1])}
		runtime.Gosched()
	}, oidArray(changed))
}

// views finds out which views show columns of which tables, by the tables' ids, through
// views of views.
func (l *loader) views() map[uint32][]*view {
	views := map[uint32][]*view{}
	for i := range l.relations {
		r := &l.relations[i]
		if r.Kind != sqlbuild.View && r.Kind != sqlbuild.MaterializedView {
			continue
		}
		found := map[uint32]*view{}
		for n, num := range r.attnums {
			o := l.shown(origin{r.oid, num}, 0)
			if o.table == 0 || o.table == r.oid {
				continue
			}
			v := found[o.table]
			if v == nil {
				v = &view{relation: r, shows: map[int16][]string{}}
				found[o.table] = v
				views[o.table] = append(views[o.table], v)
			}
			v.shows[o.column] = append(v.shows[o.column], r.Columns[n].Name)
		}
	}
	return views
}

// shown follows a view's column to the table that it comes from. The zero origin means
// none.
func (l *loader) shown(o origin, depth int) origin {
	rule, isView := l.c.rules[o.table]
	switch {
	case !isView:
		return o
	case depth > 100 || o.column < 1 || int(o.column) > len(rule.columns):
		return origin{}
	}
	return l.shown(rule.columns[o.column-1], depth+1)
}

// link adds a foreign key to its tables, and between the views that show it and them.
func (l *loader) link(k *foreignKey, views map[uint32][]*view) {
	columns, targets := k.table.named(k.columns), k.target.named(k.targets)
	if columns == nil || targets == nil {
		return
	}
	made := 0
	from := references(k.table, columns, k.columns, views[k.table.oid])
	to := references(k.target, targets, k.targets, views[k.target.oid])
	unique := k.table.unique(columns)
	for _, f := range from {
		for _, t := range to {
			if made++; made > maxShown {
				hclog.Default().Warn("a foreign key is shown by very many views: some of them cannot be embedded in each other",
					"constraint", k.name, "table", k.table.Name)
				return
			}
			fk := &sqlbuild.ForeignKey{
				Name: k.name, Table: f.table, Columns: f.columns, Target: t.table, TargetColumns: t.columns, Unique: unique,
			}
			f.table.Foreign = append(f.table.Foreign, fk)
			t.table.Referring = append(t.table.Referring, fk)
		}
	}
}

// reference is a table's key, or a view's columns that show it.
type reference struct {
	table   *sqlbuild.Table
	columns []string
}

// references lists a table's key columns, and all ways in which views show them wholly.
func references(r *relation, names []string, nums []int16, views []*view) []reference {
	list := []reference{{r.Table, names}}
	for _, v := range views {
		ways := [][]string{nil}
		for _, num := range nums {
			var longer [][]string
			for _, way := range ways {
				for _, name := range v.shows[num] {
					longer = append(longer, append(slices.Clip(way), name))
				}
			}
			if ways = longer; len(ways) > maxReferences {
				hclog.Default().Warn("a view shows a key's columns very often: only some of its relations can be embedded",
					"view", v.Name, "table", r.Name)
				ways = ways[:maxReferences]
			}
		}
		for _, way := range ways {
			list = append(list, reference{v.Table, way})
		}
	}
	return list
}

// inheritKeys gives the view those keys of its table whose columns it shows once.
func (v *view) inheritKeys(r *relation) {
	if key := v.once(r, r.Key); key != nil {
		v.Key = append(v.Key, key...)
	}
	for _, columns := range r.Unique {
		if key := v.once(r, columns); key != nil {
			v.Unique = append(v.Unique, key)
		}
	}
}

// once returns the view's columns that show these columns of r, nil unless each is shown
// exactly once.
func (v *view) once(r *relation, columns []string) []string {
	var shown []string
	for _, name := range columns {
		i := slices.IndexFunc(r.Columns, func(c sqlbuild.Column) bool { return c.Name == name })
		if names := v.shows[r.attnums[i]]; len(names) == 1 {
			shown = append(shown, names[0])
		} else {
			return nil
		}
	}
	return shown
}

// unique reports whether columns hold a key of the table.
func (r *relation) unique(columns []string) bool {
	holds := func(key []string) bool {
		return len(key) > 0 && !slices.ContainsFunc(key, func(name string) bool { return !slices.Contains(columns, name) })
	}
	return holds(r.Key) || slices.ContainsFunc(r.Unique, holds)
}

// named returns the names of columns, nil when one is not there.
func (r *relation) named(nums []int16) []string {
	names := make([]string, len(nums))
	for n, num := range nums {
		i, ok := slices.BinarySearch(r.attnums, num)
		if !ok {
			return nil
		}
		names[n] = r.Columns[i].Name
	}
	return names
}
