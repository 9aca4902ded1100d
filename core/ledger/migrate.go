package ledger

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// migrationsTable is where goose notes what it has done.
const migrationsTable = "athena_schema_versions"

// migrationLock is the key of PostgreSQL's advisory lock under which one gateway at a time
// migrates.
const migrationLock = 0x617468656e61

// migrationTime bounds how long a gateway waits for others to migrate, and migrates.
const migrationTime = 10 * time.Minute

// migrate brings the tables up to date. Gateways that start together follow each other.
func (l *Ledger) migrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	if l.postgres {
		_, err := migratePostgres(ctx, l.db, nil)
		return err
	}
	unlock, err := lockFile(l.lockFile)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = up(ctx, l.db, goose.DialectSQLite3, "sqlite")
	return err
}

// migratePostgres returns how many migrations were applied. after, which may be nil, follows
// under the same lock.
func migratePostgres(ctx context.Context, db *sql.DB, after func() error) (int, error) {
	reach, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	lock, err := db.Conn(reach)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return 0, err
	}
	defer func() { // a session that cannot be unlocked has ended, and its lock with it
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = lock.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	}()
	n, err := up(ctx, db, goose.DialectPostgres, "postgres")
	if err == nil && after != nil {
		err = after()
	}
	return n, err
}

func up(ctx context.Context, db *sql.DB, dialect goose.Dialect, dir string, more ...goose.ProviderOption) (int, error) {
	files, err := fs.Sub(migrations, "migrations/"+dir)
	if err != nil {
		return 0, err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName(migrationsTable)}
	provider, err := goose.NewProvider(dialect, db, files, append(options, more...)...)
	if err != nil {
		return 0, err
	}
	done, err := provider.Up(ctx)
	return len(done), err
}
