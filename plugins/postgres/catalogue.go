package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// catalogue is what is known of a database's tables and types. It is never changed, only
// replaced whole.
type catalogue struct {
	sqlbuild.Catalogue
	types map[uint32]*typeInfo
}

const (
	pathSQL = `select s from unnest(pg_catalog.current_schemas(false)) with ordinality as u(s, n) order by n`

	// A generated column's expression is no default. A domain's default serves a column
	// that has none of its own.
	columnsSQL = `select n.nspname, c.relname, a.attname, a.atttypid,
  a.attgenerated <> '' as generated,
  a.atthasdef or a.attidentity <> '' or t.typdefault is not null as has_default,
  case when a.attgenerated = '' and a.attidentity = '' then
    coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.pg_get_expr(t.typdefaultbin, 0)) end
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
left join pg_catalog.pg_type t on t.oid = a.atttypid and t.typtype = 'd'
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
order by c.oid, a.attnum`

	keysSQL = `select n.nspname, c.relname, a.attname
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join unnest(i.indkey) with ordinality as k(attnum, position)
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
where i.indisprimary and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
order by c.oid, k.position`
)

// loadCatalogue reads the catalogue. Its errors are pgconn's.
func loadCatalogue(pg *pgconn.PgConn) (*catalogue, error) {
	types, err := loadTypes(pg)
	if err != nil {
		return nil, err
	}
	c := &catalogue{Catalogue: sqlbuild.Catalogue{Tables: map[sdk.Table]*sqlbuild.Table{}}, types: types}
	if err := eachRow(pg, pathSQL, func(v [][]byte) { c.Path = append(c.Path, string(v[0])) }); err != nil {
		return nil, err
	}
	var t *sqlbuild.Table // the table of the row before
	err = eachRow(pg, columnsSQL, func(v [][]byte) {
		if t == nil || t.Name != string(v[1]) || t.Schema != string(v[0]) {
			t = &sqlbuild.Table{Schema: string(v[0]), Name: string(v[1])}
			c.Tables[sdk.Table{Schema: t.Schema, Name: t.Name}] = t
		}
		column := sqlbuild.Column{
			Name: string(v[2]), Generated: v[4][0] == 't', HasDefault: v[5][0] == 't', Default: string(v[6]),
		}
		if info := types[parseOID(v[3])]; info != nil {
			column.Type, column.Class, column.AsJSON = info.name, info.class, info.asJSON
		}
		t.Columns = append(t.Columns, column)
	})
	if err != nil {
		return nil, err
	}
	err = eachRow(pg, keysSQL, func(v [][]byte) {
		if t := c.Tables[sdk.Table{Schema: string(v[0]), Name: string(v[1])}]; t != nil {
			t.Key = append(t.Key, string(v[2]))
		}
	})
	return c, err
}

const (
	minReload   = time.Second      // how soon after a load a miss may cause the next one
	loadTimeout = 30 * time.Second // how long a load may take
)

// catalogues holds the current catalogue of a database.
type catalogues struct {
	current atomic.Pointer[catalogue]
	loading chan struct{}             // holds an element during a load
	loaded  atomic.Pointer[time.Time] // when the last load ended, the zero time after expire
}

// reload reads the catalogue over c unless that was done within the last second. Callers
// that come while a load is under way wait for it; each has a connection already, so
// they cannot wait for each other's.
func (s *catalogues) reload(c *conn) error {
	select {
	case s.loading <- struct{}{}:
	case <-c.ctx.Done():
		return neverStarted(c.ctx)
	}
	defer func() { <-s.loading }()
	if s.fresh() {
		return nil
	}
	ctx := c.ctx
	limited, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	c.unwatch()
	c.watch(limited)
	defer func() {
		c.unwatch()
		c.watch(ctx)
	}()
	before := s.loaded.Load()
	fresh, err := loadCatalogue(c.pg)
	if err != nil {
		return (&failure{err: err, ctx: limited, readOnly: true}).classify()
	}
	s.current.Store(fresh)
	now := time.Now()
	s.loaded.CompareAndSwap(before, &now) // else it has expired meanwhile
	return nil
}

// settle waits for the end of a load that is under way.
func (s *catalogues) settle(ctx context.Context) error {
	select {
	case s.loading <- struct{}{}:
		<-s.loading
		return nil
	case <-ctx.Done():
		return neverStarted(ctx)
	}
}

// fresh reports whether a reload would do nothing.
func (s *catalogues) fresh() bool {
	loaded := s.loaded.Load()
	return loaded != nil && time.Since(*loaded) < minReload
}

// expire makes the next miss reload at once, after a statement that may have changed the
// schema.
func (s *catalogues) expire() { s.loaded.Store(new(time.Time)) }
