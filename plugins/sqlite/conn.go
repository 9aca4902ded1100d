package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"time"
	"unsafe"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxStatements is how many prepared statements a connection keeps.
const maxStatements = 128

// conn is a connection with its prepared statements. It is used by one call at a time.
// The driver's own interfaces are used instead of database/sql's rows: they hand values
// over without copies and leave cancelling to interrupted.
type conn struct {
	driver.Conn
	statements map[string]driver.Stmt
	handle     uintptr       // sqlite3*
	thread     reflect.Value // the thread state that setting a limit takes
	spoiled    bool          // its state may not be what the next call expects
}

var _ driver.Validator = (*conn)(nil)

// openPool is a pool of conns to a file. Nothing is opened yet.
func openPool(dsn string, size int) *sql.DB {
	db := sql.OpenDB(connector{dsn})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

type connector struct{ dsn string }

func (connector) Driver() driver.Driver { return &sqlite.Driver{} }

func (f connector) Connect(context.Context) (driver.Conn, error) {
	inner, err := f.Driver().Open(f.dsn)
	if err != nil {
		return nil, err
	}
	// The driver interrupts a statement while it looks for the first row, not for the
	// later ones, and keeps the handle that interrupting takes to itself.
	handle := reflect.ValueOf(inner).Elem().FieldByName("db")
	thread := reflect.ValueOf(inner).Elem().FieldByName("tls")
	if handle.Kind() != reflect.Uintptr || !thread.IsValid() || thread.Type() != limit.Type().In(0) {
		return nil, errors.Join(errors.New("this SQLite driver has no handle to interrupt"), inner.Close())
	}
	c := &conn{Conn: inner, statements: map[string]driver.Stmt{}, handle: uintptr(handle.Uint()),
		thread: reflect.NewAt(thread.Type(), thread.Addr().UnsafePointer()).Elem()}
	c.attachable(0)
	return c, nil
}

// attachable sets how many other files the connection may attach. It is none, so that no
// SQL text reaches another file, except while VACUUM attaches its temporary one.
func (c *conn) attachable(files int32) {
	limit.Call([]reflect.Value{c.thread, reflect.ValueOf(c.handle), reflect.ValueOf(int32(sqlite3.SQLITE_LIMIT_ATTACHED)), reflect.ValueOf(files)})
}

// The library's own functions. The driver offers the first for its own connections only,
// and the second not at all.
var (
	limit  = reflect.ValueOf(sqlite3.Xsqlite3_limit)
	status = reflect.ValueOf(sqlite3.Xsqlite3_db_status)
)

// violated reports whether a deferred foreign key would fail a COMMIT of the transaction
// under way.
func (c *conn) violated() bool {
	unresolved := new([2]int32) // now, and at most so far
	var pin runtime.Pinner
	pin.Pin(unresolved)
	defer pin.Unpin()
	now, most := uintptr(unsafe.Pointer(&unresolved[0])), uintptr(unsafe.Pointer(&unresolved[1]))
	status.Call([]reflect.Value{c.thread, reflect.ValueOf(c.handle), reflect.ValueOf(int32(sqlite3.SQLITE_DBSTATUS_DEFERRED_FKS)),
		reflect.ValueOf(now), reflect.ValueOf(most), reflect.ValueOf(int32(0))})
	return unresolved[0] != 0
}

// preUpdateHooker is the driver's connection, as far as it tells of rows to be written.
type preUpdateHooker interface {
	RegisterPreUpdateHook(sqlite.PreUpdateHookFn)
}

// insertions counts, while f runs, the rows that its statement itself inserts, not those
// that triggers do.
func (c *conn) insertions(f func() error) (n int64, err error) {
	hooks := c.Conn.(preUpdateHooker)
	hooks.RegisterPreUpdateHook(func(d sqlite.SQLitePreUpdateData) {
		if d.Op == sqlite3.SQLITE_INSERT && d.Depth() == 0 {
			n++
		}
	})
	defer hooks.RegisterPreUpdateHook(nil)
	err = f()
	return n, err
}

// IsValid keeps conns in the pool, or throws them away, after each use.
func (c *conn) IsValid() bool { return !c.spoiled && c.Conn.(driver.Validator).IsValid() }

// Close closes the connection and its statements.
func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}

func (c *conn) forget() {
	for _, s := range c.statements {
		_ = s.Close() // finalizing repeats the error of the last execution
	}
	clear(c.statements)
}

// prepare returns the prepared statement of a text.
func (c *conn) prepare(ctx context.Context, text string) (driver.StmtQueryContext, error) {
	if s, ok := c.statements[text]; ok {
		return s.(driver.StmtQueryContext), nil
	}
	s, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if len(c.statements) >= maxStatements {
		c.forget()
	}
	c.statements[text] = s
	return s.(driver.StmtQueryContext), nil
}

// query executes a statement text and calls row with each of its rows, whose values it
// may not keep. The answer's columns are given to begin first, rows or not. When row
// fails the rest is not read.
func (c *conn) query(ctx context.Context, text string, args []driver.NamedValue, begin func(driver.Rows) error, row func([]driver.Value) error) error {
	s, err := c.prepare(ctx, text)
	if err != nil {
		return err
	}
	return c.interrupted(ctx, func() (err error) {
		rows, err := s.QueryContext(ctx, args)
		if err != nil {
			return err
		}
		defer func() {
			if e := rows.Close(); err == nil {
				err = e
			}
		}()
		if begin != nil {
			if err := begin(rows); err != nil {
				return err
			}
		}
		values := make([]driver.Value, len(rows.Columns()))
		for {
			if err := rows.Next(values); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if row != nil {
				if err := row(values); err != nil {
					return err
				}
			}
		}
	})
}

// exec executes a statement text without looking at its rows.
func (c *conn) exec(ctx context.Context, text string) error {
	return c.query(ctx, text, nil, nil, nil)
}

// integer executes a statement that answers with one integer.
func (c *conn) integer(ctx context.Context, text string, args ...driver.NamedValue) (int64, error) {
	var n int64
	err := c.query(ctx, text, args, nil, func(values []driver.Value) error {
		v, ok := values[0].(int64)
		if !ok {
			return fmt.Errorf("%s answered %T", text, values[0])
		}
		n = v
		return nil
	})
	return n, err
}

// interrupted runs f and interrupts the statements that it executes when ctx ends. An
// interrupt that comes before a statement starts is lost, hence the repetition.
func (c *conn) interrupted(ctx context.Context, f func() error) error {
	if ctx.Done() == nil {
		return f()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		again := time.NewTicker(2 * time.Millisecond)
		defer again.Stop()
		for {
			sqlite3.Xsqlite3_interrupt(nil, c.handle) // an atomic store; no thread state is used
			select {
			case <-done:
				return
			case <-again.C:
			}
		}
	})
	defer func() {
		close(done)
		if !stop() {
			<-ended
		}
	}()
	return f()
}

// begin starts a transaction. A writing one takes the lock at once: a lock taken halfway
// could not wait for another writer.
func (c *conn) begin(ctx context.Context, write bool) error {
	if write {
		return c.exec(ctx, "BEGIN IMMEDIATE")
	}
	return c.exec(ctx, "BEGIN")
}

// rollback ends a transaction, whatever became of its context. An interrupted write or a
// full disk may have ended it already, which is an error of no interest.
func (c *conn) rollback() {
	if err := c.exec(context.Background(), "ROLLBACK"); err != nil {
		c.spoiled = true
	}
}
