package ledger

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often the ledger is usually asked for changes that other gateways made,
// which is also how its state is known.
const lookEvery = time.Second

// follower keeps one part of the control plane in memory.
type follower struct {
	subject Subject
	load    func(context.Context, *sql.Conn) error
	loaded  atomic.Bool

	mu      sync.Mutex // one load at a time
	seen    int64      // the version that has been loaded, -1 before the first
	problem string     // of the last load, "" if it went well: it is logged once
}

// Follow loads a subject: at once if the ledger is ready, else as soon as it is, and again
// after each change of it by whichever gateway. All queries of one load see the same state,
// and it may not write with its connection. Loads of one follower never overlap, one that fails is repeated, and
// what was loaded stays in use meanwhile.
func (l *Ledger) Follow(s Subject, load func(context.Context, *sql.Conn) error) {
	f := &follower{subject: s, load: load, seen: -1}
	l.mu.Lock()
	l.followers = append(l.followers, f)
	l.mu.Unlock()
	if l.isReady() {
		_ = l.refresh(context.Background(), f) // watch repeats what fails
	}
}

// Loaded reports whether every follower of the subject has loaded it at least once.
func (l *Ledger) Loaded(s Subject) bool {
	for _, f := range l.following(s) {
		if !f.loaded.Load() {
			return false
		}
	}
	return l.isReady()
}

// Wake looks for changes at once: another gateway told of one.
func (l *Ledger) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// following lists the followers of s, of all subjects for "".
func (l *Ledger) following(s Subject) []*follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*follower
	for _, f := range l.followers {
		if s == "" || f.subject == s {
			list = append(list, f)
		}
	}
	return list
}

func (l *Ledger) reload(ctx context.Context, s Subject) error {
	var failed error
	for _, f := range l.following(s) {
		failed = errors.Join(failed, l.refresh(ctx, f))
	}
	return failed
}

// refresh loads what has changed since the follower's last load. The error has been logged.
func (l *Ledger) refresh(ctx context.Context, f *follower) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	err := l.use(ctx, func(ctx context.Context, c *sql.Conn) error {
		return l.transact(ctx, c, l.reading(), func() error {
			var version int64
			err := c.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM control_versions WHERE subject = $1", string(f.subject)).Scan(&version)
			if err != nil || version == f.seen {
				return err
			}
			if err := f.load(ctx, c); err != nil {
				return err
			}
			f.seen = version
			f.loaded.Store(true)
			return nil
		})
	})
	problem := ""
	if err != nil {
		l.metrics.failedLoads.WithLabelValues(string(f.subject)).Inc()
		problem = err.Error()
	}
	if problem != "" && problem != f.problem {
		l.log.Warn("a part of the control plane could not be loaded; what is known stays in use", "subject", f.subject, "error", err)
	}
	f.problem = problem
	return err
}

// watch makes a PostgreSQL ledger ready that could not be reached, then looks for changes
// until ctx ends.
func (l *Ledger) watch(ctx context.Context) {
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	for !l.isReady() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.migrate(ctx); err != nil {
			if ctx.Err() == nil {
				l.down(err)
			}
			continue
		}
		l.up()
		close(l.ready)
	}
	for {
		l.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.wake:
		}
	}
}

// look asks for all versions in one query and loads what is behind.
func (l *Ledger) look(ctx context.Context) {
	versions := map[Subject]int64{}
	bounded, cancel := context.WithTimeout(ctx, 2*lookEvery)
	defer cancel()
	err := l.use(bounded, func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, "SELECT subject, version FROM control_versions")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var subject Subject
			var version int64
			if err := rows.Scan(&subject, &version); err != nil {
				return err
			}
			versions[subject] = version
		}
		return rows.Err()
	})
	if err != nil {
		if ctx.Err() == nil {
			l.down(err)
		}
		return
	}
	l.up()
	for _, f := range l.following("") {
		if ctx.Err() == nil && (!f.loaded.Load() || f.behind(versions[f.subject])) {
			_ = l.refresh(ctx, f) // the next look repeats what fails
		}
	}
}

func (f *follower) behind(version int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen != version
}
