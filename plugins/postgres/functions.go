package main

import (
	"encoding/json"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

const (
	// Functions that SQL with typed arguments cannot call are left out: those of triggers
	// and the server's inside, and those of any type.
	functionsSQL = `select n.nspname, p.proname, array_to_json(coalesce(p.proallargtypes, p.proargtypes::oid[])::int8[]), array_to_json(p.proargmodes), array_to_json(p.proargnames),
  p.pronargdefaults, p.prorettype, p.proretset, p.prorows = 1, p.provolatile = 'v', array_to_json(p.proconfig), d.description
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_type t on t.oid = p.prorettype
left join pg_catalog.pg_description d on d.objoid = p.oid and d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objsubid = 0
where p.prokind = 'f' and p.pronamespace = any (array` + userNamespaces + `)
  and (t.typtype <> 'p' or t.typname in ('void', 'record'))
  and not exists (select 1 from unnest(p.proargtypes) as u(arg) join pg_catalog.pg_type a on a.oid = u.arg where a.typtype = 'p')
order by n.nspname, p.proname, p.oid`

	fieldsSQL = `select c.reltype, a.attname, a.atttypid
from pg_catalog.pg_class c
join pg_catalog.pg_attribute a on a.attrelid = c.oid
where c.reltype = any($1) and a.attnum > 0 and not a.attisdropped
order by c.oid, a.attnum`
)

// hoistedSettings are the settings of a function that must be in force before it begins.
var hoistedSettings = []string{"statement_timeout", "plan_filter.statement_cost_limit", "default_transaction_isolation"}

// procedure is a row of functionsSQL.
type procedure struct {
	schema, name, comment string
	types                 []uint32 // of all parameters
	modes, names          []string // none: all are given, none has a name
	defaults              int
	returns               uint32
	set, one, volatile    bool
	settings              []string
}

func (l *loader) readFunctions() error {
	var list []procedure
	err := eachRow(l.pg, functionsSQL, func(v [][]byte) {
		p := procedure{
			schema: l.intern(v[0]), name: string(v[1]), defaults: int(parseOID(v[5])), returns: parseOID(v[6]),
			set: isTrue(v[7]), one: isTrue(v[8]), volatile: isTrue(v[9]), comment: string(v[11]),
		}
		for i, into := range map[int]any{2: &p.types, 3: &p.modes, 4: &p.names, 10: &p.settings} {
			if v[i] != nil {
				_ = json.Unmarshal(v[i], into) // the server's own JSON
			}
		}
		list = append(list, p)
	})
	if err != nil {
		return err
	}
	rowTypes := map[uint32]*relation{}
	if len(list) > 0 {
		for i := range l.relations {
			rowTypes[l.relations[i].rowType] = &l.relations[i]
		}
	}
	if err := l.learnTypesOf(list); err != nil {
		return err
	}
	fields, err := l.readFields(list, rowTypes)
	if err != nil {
		return err
	}
	for i := range list {
		p := &list[i]
		f := l.function(p, rowTypes, fields)
		key := sdk.Table{Schema: p.schema, Name: p.name}
		l.c.Functions[key] = append(l.c.Functions[key], f)
		if r := p.rowOf(f, rowTypes); r != nil {
			r.Computed = append(r.Computed, f)
		}
		if i%yieldRows == 0 {
			runtime.Gosched()
		}
	}
	return nil
}

// learnTypesOf reads the row types that functions take and return.
func (l *loader) learnTypesOf(list []procedure) error {
	var missing []uint32
	for i := range list {
		for _, id := range append(list[i].types, list[i].returns) {
			if l.types[id] == nil {
				missing = append(missing, id)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return l.learn(missing)
}

// readFields reads the columns of composite types, by their ids, that functions return and
// that are no rows of tables.
func (l *loader) readFields(list []procedure, rowTypes map[uint32]*relation) (map[uint32][]sqlbuild.Column, error) {
	var ids []uint32
	for i := range list {
		if id := l.base(list[i].returns); l.types[id] != nil && l.types[id].kind == 'c' && rowTypes[id] == nil {
			ids = append(ids, id)
		}
	}
	fields := map[uint32][]sqlbuild.Column{}
	if len(ids) == 0 {
		return fields, nil
	}
	types := map[uint32][]uint32{}
	err := eachRow(l.pg, fieldsSQL, func(v [][]byte) {
		id := parseOID(v[0])
		fields[id] = append(fields[id], sqlbuild.Column{Name: l.intern(v[1]), Nullable: true})
		types[id] = append(types[id], parseOID(v[2]))
	}, oidArray(ids))
	if err != nil {
		return nil, err
	}
	unknown := map[uint32][]*sqlbuild.Column{}
	for id, list := range types {
		for i, t := range list {
			if info := l.c.types[t]; info != nil {
				setType(&fields[id][i], info)
			} else {
				unknown[t] = append(unknown[t], &fields[id][i])
			}
		}
	}
	return fields, l.setUnknown(unknown)
}

// base is the type that a domain is made of, or id itself.
func (l *loader) base(id uint32) uint32 {
	for t := l.types[id]; t != nil && t.kind == 'd'; t = l.types[id] {
		id = t.base
	}
	return id
}

// function makes the Function of p.
func (l *loader) function(p *procedure, rowTypes map[uint32]*relation, fields map[uint32][]sqlbuild.Column) *sqlbuild.Function {
	f := &sqlbuild.Function{Schema: p.schema, Name: p.name, Volatile: p.volatile, Comment: p.comment}
	f.Returns.Set, f.Returns.One = p.set, p.set && p.one
	for i, id := range p.types {
		mode, name := "i", ""
		if p.modes != nil {
			mode = p.modes[i]
		}
		if p.names != nil {
			name = p.names[i]
		}
		if mode != "i" && mode != "v" { // OUT, INOUT, TABLE
			f.Returns.Columns = append(f.Returns.Columns, l.column(name, id))
		}
		if mode == "o" || mode == "t" {
			continue
		}
		param := sqlbuild.Param{Name: name, Variadic: mode == "v"}
		if info := l.c.types[id]; info != nil {
			param.Type, param.Class, param.Record = info.name, info.class, info.record
		}
		f.Params = append(f.Params, param)
	}
	f.Returns.OneOut = len(f.Returns.Columns) == 1
	for i := max(0, len(f.Params)-p.defaults); i < len(f.Params); i++ {
		f.Params[i].Optional = true
	}
	for _, setting := range p.settings {
		name, value, _ := strings.Cut(setting, "=")
		for _, hoisted := range hoistedSettings {
			if strings.EqualFold(name, hoisted) {
				f.Settings = append(f.Settings, sdk.Pair{Name: hoisted, Value: value})
			}
		}
	}
	base := l.base(p.returns)
	switch r := rowTypes[base]; {
	case len(f.Returns.Columns) > 0:
	case r != nil:
		f.Returns.Table, f.Returns.Columns = r.Table, r.Columns
	case base == pgtype.RecordOID:
		f.Returns.Unknown = true
	case base == voidOID:
		f.Returns.Void = true
	case fields[base] != nil:
		f.Returns.Columns = fields[base]
	default:
		f.Returns.Value = l.column(p.name, p.returns)
	}
	return f
}

// column makes a Column of a function's result.
func (l *loader) column(name string, id uint32) sqlbuild.Column {
	c := sqlbuild.Column{Name: name, Nullable: true}
	if info := l.c.types[id]; info != nil {
		setType(&c, info)
		c.HasDefault, c.Default = false, ""
	}
	return c
}

// rowOf returns the table whose rows f can be called with alone, nil if there is none.
func (p *procedure) rowOf(f *sqlbuild.Function, rowTypes map[uint32]*relation) *relation {
	if len(f.Params) == 0 || f.Params[0].Optional || f.Params[0].Variadic {
		return nil
	}
	for _, param := range f.Params[1:] {
		if !param.Optional {
			return nil
		}
	}
	for i, id := range p.types { // of the first parameter that is given
		if p.modes == nil || p.modes[i] == "i" || p.modes[i] == "b" {
			return rowTypes[id]
		}
	}
	return nil
}
