package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/athena-gateway/athena/sdk"
)

// replica is a streaming replica of the primary.
type replica struct {
	*server
	shunned atomic.Int64 // until when it is left out, in nanoseconds since 1970
	failing atomic.Bool  // the last call failed; both changes are logged
}

const (
	// shunTime is how long a replica that fails is left out.
	shunTime = 5 * time.Second
	// replicaConnect is how long connecting to a replica may take: there is the primary.
	replicaConnect = time.Second
	// replicaPoll is how often a replica is asked how far it is.
	replicaPoll = 5 * time.Millisecond
)

// openReplicas makes the replicas' pools. That one cannot be reached is found out, and
// forgiven, when it is asked.
func (db *database) openReplicas(ctx context.Context, config *Config) error {
	limited := *config
	limited.ConnectTimeout = min(limited.ConnectTimeout, replicaConnect)
	for _, uri := range config.Replicas {
		s, err := newServer(ctx, uri, &limited, db.caching.Load())
		if err != nil {
			return err
		}
		db.replicas = append(db.replicas, &replica{server: s})
	}
	return nil
}

// acquireReplica returns a connection to a replica that has reached position, nil if none
// is fit and free. "" is any position.
func (db *database) acquireReplica(ctx context.Context, position string) *conn {
	now := time.Now()
	first := db.turn.Add(1)
	for i := range db.replicas {
		r := db.replicas[(first+uint64(i))%uint64(len(db.replicas))]
		if r.shunned.Load() > now.UnixNano() || len(r.slots) == cap(r.slots) {
			continue
		}
		c, err := db.acquireOf(ctx, r.server)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			r.shun()
			continue
		}
		c.replica = r
		if position == "" || c.reaches(position, db.replicaWait) {
			return c
		}
		if c.pg.IsClosed() {
			r.shun()
		}
		c.release()
	}
	return nil
}

// shun leaves the replica out for a while.
func (r *replica) shun() {
	r.shunned.Store(time.Now().Add(shunTime).UnixNano())
	if r.failing.CompareAndSwap(false, true) {
		hclog.Default().Warn("a replica does not answer: it is left out, and asked again every few seconds", "address", r.address())
	}
}

// works is called when the replica has answered.
func (r *replica) works() {
	if r.failing.Load() && r.failing.CompareAndSwap(true, false) {
		hclog.Default().Info("the replica answers again", "address", r.address())
	}
}

// address is the replica's host and port.
func (r *replica) address() string {
	config := r.pool.Config().ConnConfig
	return net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}

// reaches waits until the replica has replayed the log up to position, at most limit. When
// the replica does not answer in time the connection is closed.
func (c *conn) reaches(position string, limit time.Duration) bool {
	args := []sdk.Value{{Text: position}}
	_ = c.pg.Conn().SetDeadline(time.Now().Add(limit + replicaConnect))
	defer func() { _ = c.pg.Conn().SetDeadline(time.Time{}) }()
	for end := time.Now().Add(limit); ; time.Sleep(replicaPoll) {
		r, err := c.query(statementKey{text: "select coalesce(pg_catalog.pg_last_wal_replay_lsn() >= $1::pg_catalog.pg_lsn, false)"}, args, nil)
		if err != nil {
			return false
		}
		reached := r.more && string(r.rr.Values()[0]) == "t"
		if _, err := r.rr.Close(); err != nil {
			return false
		}
		if reached || time.Now().After(end) || c.ctx.Err() != nil {
			return reached
		}
	}
}

// onPrimary reports whether a read that failed on a replica is to be asked of the primary:
// the replica is lost, behind in the schema, gave way to replication, or cannot do what only
// a primary can: read unlogged tables, be serializable, tell its position.
func onPrimary(err error) bool {
	var e *sdk.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case "40001", "40P01", "0A000", "55000":
		return true
	}
	return e.Kind == sdk.Unavailable || isMiss(e)
}

// checkPosition refuses a text that is no position.
func checkPosition(position string) error {
	high, low, ok := strings.Cut(position, "/")
	if ok && isHex32(high) && isHex32(low) || position == "" {
		return nil
	}
	return sdk.E(sdk.Invalid, "invalid_position", "the replication position is not one that this backend gave out").
		WithHint("it reads 16/B374D848: send it as it came with the answer of a write")
}

func isHex32(s string) bool {
	_, err := strconv.ParseUint(s, 16, 32)
	return err == nil
}
