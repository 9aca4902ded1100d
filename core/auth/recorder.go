package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
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
	log    *ledger.Log[entry]
	now    func() time.Time
	secret [sha256.Size]byte // of this process, see hash

	mu      sync.Mutex
	entries map[same]*entry
	closed  bool // nothing is counted in memory any more
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

func newRecorder(l *ledger.Ledger, now func() time.Time) *recorder {
	r := &recorder{now: now, entries: map[same]*entry{}}
	rand.Read(r.secret[:]) // never fails
	r.log = ledger.NewLog(l, ledger.LogOptions[entry]{
		Table: "api_key_auth_log",
		Columns: []string{"created_at", "request_id", "api_key_id", "public_id", "client_name", "method", "path", "remote_addr",
			"presented_hash", "required_right", "granted_rights", "succeeded", "failure_reason", "attempts"},
		Values: (*entry).values,
		Also:   lastUsed,
	})
	return r
}

// close hands on what was counted. What a request that outlives it adds goes to the log at
// once, which writes it or counts it as dropped.
func (r *recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.release()
}

func (r *recorder) add(a *Attempt) {
	if len(a.Client) > maxText { // nobody's name, but a caller's
		a.Client = strings.Clone(a.Client[:maxText])
	}
	s := same{key: a.key, principal: a.Principal, remote: a.Remote,
		client: a.Client, right: a.Right, failure: a.failure, method: a.Method, path: a.Path}
	if a.Principal == nil && a.failure != TooManyAttempts { // of which there are few
		s.wrong = r.hash(a.presented)
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entries[s]
	if e == nil {
		if len(r.entries) >= mostEntries {
			r.release()
		}
		e = &entry{same: s, request: a.RequestID, hash: r.hash(a.presented)}
		r.entries[s] = e
	}
	e.last = now
	e.attempts++
	if r.closed {
		r.release()
	}
}

// hash tells in hex what was presented, "" for nothing. Of a text with the form of an API key
// it is SHA-256, by which an operator finds the uses of a key that has leaked. Any other text
// may be near to an admin key that somebody chose: of it there is HMAC-SHA-256 under a secret
// that only this process has, which tells equal texts from others and lets nobody try words.
func (r *recorder) hash(presented []byte) string {
	if presented == nil {
		return ""
	}
	h := sha256.New()
	if _, _, ok := parse(presented); !ok {
		h = hmac.New(sha256.New, r.secret[:])
	}
	h.Write(presented)
	return hex.EncodeToString(h.Sum(nil))
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
		if _, err := c.ExecContext(ctx, "UPDATE api_keys SET last_used_at = $1 WHERE api_keys_id = $2 AND (last_used_at IS NULL OR last_used_at < $1)",
			last[id].UTC(), id); err != nil {
			return err
		}
	}
	return nil
}
