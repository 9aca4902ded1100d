package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
)

const (
	// recordEvery is how long equal attempts are counted before they become a row.
	recordEvery = 5 * time.Second
	mostEntries = 4096 // that are counted at once; then they become rows earlier
	maxText     = 200  // bytes of a caller's word in a row
)

// recorder counts equal attempts in memory and hands them to the log as rows: a warm key
// costs a lookup, and a row each few seconds instead of one per request.
type recorder struct {
	log  *ledger.Log[entry]
	now  func() time.Time
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	entries map[same]*entry
}

// same is what attempts of one row have in common.
type same struct {
	key                                  *key // that was named, right or wrong
	principal                            *Principal
	remote                               netip.Addr
	client, right, failure, method, path string
	wrong                                string // the hash of a wrong credential
}

// entry is a row of api_key_auth_log.
type entry struct {
	same
	request  string // of the first
	hash     string // of what the first presented
	last     time.Time
	attempts int64
}

func newRecorder(l *ledger.Ledger, retention time.Duration, now func() time.Time) *recorder {
	r := &recorder{now: now, stop: make(chan struct{}), done: make(chan struct{}), entries: map[same]*entry{}}
	r.log = ledger.NewLog(l, ledger.LogOptions[entry]{
		Table: "api_key_auth_log",
		Columns: []string{"created_at", "request_id", "api_key_id", "public_id", "client_name", "method", "path", "remote_addr",
			"presented_hash", "required_right", "granted_rights", "succeeded", "failure_reason", "attempts"},
		Values:    (*entry).values,
		Also:      lastUsed,
		Retention: retention,
	})
	go r.run()
	return r
}

func (r *recorder) run() {
	defer close(r.done)
	ticker := time.NewTicker(recordEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.flush()
		case <-r.stop:
			r.flush()
			return
		}
	}
}

func (r *recorder) close() {
	close(r.stop)
	<-r.done
}

func (r *recorder) add(a *Attempt) {
	if len(a.Client) > maxText { // nobody's name, but a caller's
		a.Client = strings.Clone(a.Client[:maxText])
	}
	s := same{key: a.key, principal: a.Principal, remote: a.Remote,
		client: a.Client, right: a.Right, failure: a.failure, method: a.Method, path: a.Path}
	if a.Principal == nil && a.failure != TooManyAttempts { // of which there are few
		s.wrong = a.hash()
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[s]
	if e == nil {
		if len(r.entries) >= mostEntries {
			r.release()
		}
		e = &entry{same: s, request: a.RequestID, hash: a.hash()}
		r.entries[s] = e
	}
	e.last = now
	e.attempts++
}

// hash is SHA-256 of what was presented, in hex, by which an operator finds the uses of a
// key that has leaked; "" if nothing was.
func (a *Attempt) hash() string {
	if a.presented == nil {
		return ""
	}
	sum := sha256.Sum256(a.presented)
	return hex.EncodeToString(sum[:])
}

func (r *recorder) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.release()
}

func (r *recorder) release() {
	for _, e := range r.entries {
		r.log.Append(e)
	}
	clear(r.entries)
}

func (e *entry) values(row *ledger.Row) {
	row.Time(e.last)
	row.Text(e.request)
	if e.key != nil {
		row.Text(e.key.ID)
		row.Text(e.key.PublicID)
	} else {
		row.Null()
		row.Null()
	}
	row.TextOrNull(text(e.client))
	row.Text(e.method)
	row.Text(e.path)
	row.Text(e.remote.String())
	row.TextOrNull(e.hash)
	row.TextOrNull(text(e.right))
	if e.principal != nil {
		row.Text(e.principal.granted)
	} else {
		row.Text("[]")
	}
	row.Bool(e.failure == "")
	row.TextOrNull(text(e.failure))
	row.Int(e.attempts)
}

// text is a word for a column: bounded, and without what PostgreSQL refuses.
func text(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), maxText)], "\x00", ""), "\uFFFD")
}

// lastUsed notes when the keys of a batch were last used, in the order of their ids, so that
// two gateways do not wait for each other.
func lastUsed(ctx context.Context, c *sql.Conn, batch []entry) error {
	last := map[string]time.Time{}
	for i := range batch {
		if e := &batch[i]; e.key != nil && e.failure == "" && e.last.After(last[e.key.ID]) {
			last[e.key.ID] = e.last
		}
	}
	for _, id := range slices.Sorted(maps.Keys(last)) {
		if _, err := c.ExecContext(ctx, "UPDATE api_keys SET last_used_at = $1 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at < $1)",
			last[id].UTC(), id); err != nil {
			return err
		}
	}
	return nil
}
