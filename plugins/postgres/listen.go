package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	listenBackoff    = time.Second      // after the first failure
	maxListenBackoff = 30 * time.Second // it doubles up to this
	listenPatience   = time.Minute      // how long to hear nothing before the connection is tried
)

// errPooled says that a session is not ours alone.
var errPooled = errors.New("the connection goes through a pooler that shares its sessions")

// listen reloads the catalogue when it is told to: NOTIFY pgrst, 'reload schema', until
// ctx ends. It has a connection of its own and makes another when that is lost.
func (db *database) listen(ctx context.Context) {
	backoff, logged := listenBackoff, false
	for {
		began := time.Now()
		err := db.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if !logged {
			hclog.Default().Warn("the database's NOTIFY pgrst is not heard: schema changes are found when a name is missed and by catalogue_refresh", "error", err)
			logged = true
		}
		if errors.Is(err, errPooled) {
			return
		}
		if time.Since(began) > maxListenBackoff { // it had worked
			backoff, logged = listenBackoff, false
		}
		select {
		case <-time.After(backoff/2 + rand.N(backoff)):
		case <-ctx.Done():
			return
		}
		backoff = min(2*backoff, maxListenBackoff)
	}
}

// listenOnce listens over one connection until it is lost.
func (db *database) listenOnce(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, loadTimeout)
	pg, err := db.connectAlone(limited)
	cancel()
	if err != nil {
		return err
	}
	defer closeAlone(pg)
	own, err := ownSession(ctx, pg)
	switch {
	case err != nil:
		return err
	case !own:
		return errPooled
	}
	if err := pg.Exec(ctx, "listen pgrst").Close(); err != nil {
		return err
	}
	db.catalogues.plan(0, false) // for what was said before
	for {
		limited, cancel := context.WithTimeout(ctx, listenPatience)
		err := pg.WaitForNotification(limited)
		silent := limited.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case silent: // a connection that was cut looks the same
			limited, cancel := context.WithTimeout(ctx, loadTimeout)
			err = pg.Exec(limited, "-- ping").Close()
			cancel()
		}
		if err != nil {
			return err
		}
	}
}

// notified is called with each notification.
func (db *database) notified(_ *pgconn.PgConn, n *pgconn.Notification) {
	if n.Payload == "" || n.Payload == "reload schema" {
		db.catalogues.told()
	}
}

// ownSession reports whether the server's process at the other end is the one that
// answered when the connection was made. A pooler makes up an id of its own.
func ownSession(ctx context.Context, pg *pgconn.PgConn) (own bool, err error) {
	results, err := pg.Exec(ctx, "select pg_catalog.pg_backend_pid()").ReadAll()
	if err != nil {
		return false, err
	}
	return len(results) == 1 && string(results[0].Rows[0][0]) == strconv.FormatUint(uint64(pg.PID()), 10), nil
}
