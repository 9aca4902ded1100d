// Package auth knows who may ask the gateway for what: the admin key, the API keys of the
// ledger with their rights, and for which clients a key is asked for. It decides from memory
// alone; what it decided is written to the ledger in the background. It knows no HTTP.
package auth

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// Principal is who asks: an API key, or the admin key. Nil is nobody in particular.
type Principal struct {
	ID       string // of the key in the ledger; "" for the admin key
	PublicID string // the part of the key that is no secret
	Name     string
	Client   string // the one client that the key may use; "": any
	Admin    bool   // the admin key, which may do everything

	rights  []string // sorted
	granted string   // the same as a JSON array
}

// Has reports whether the principal has a right.
func (p *Principal) Has(right string) bool {
	return p != nil && (p.Admin || slices.Contains(p.rights, right))
}

// Rights are the names of the principal's rights, sorted. The admin key has none by name.
func (p *Principal) Rights() []string { return slices.Clone(p.rights) }

// The reasons of refusals: codes of answers, failure reasons in the log, labels of metrics.
const (
	KeyRequired      = "api_key_required"
	InvalidKey       = "invalid_api_key"
	KeyExpired       = "api_key_expired"
	KeyInactive      = "api_key_inactive"
	ClientNotAllowed = "client_not_allowed"
	RightRequired    = "right_required"
	TooManyAttempts  = "too_many_attempts"
	AdminDisabled    = "admin_disabled"
	AdminKeyRequired = "admin_key_required"
	InvalidAdminKey  = "invalid_admin_key"
)

var reasons = []string{KeyRequired, InvalidKey, KeyExpired, KeyInactive, ClientNotAllowed, RightRequired, TooManyAttempts,
	AdminDisabled, AdminKeyRequired, InvalidAdminKey}

// Attempt is one request on its way past the guards. Whoever has the request fills in the
// first part and calls Record when it has been decided about.
type Attempt struct {
	RequestID    string
	Method, Path string // Path is the route's, with the names of its parameters
	Remote       netip.Addr

	Principal *Principal // who it is, once that is known
	Client    string     // which client it asked for, once that is known
	Right     string     // the right that it took, or lacked

	presented []byte // the credential that was looked at; nil: none
	key       *key   // that it names, right or wrong
	doubt     doubt  // what is wrong with it, to be held against it where a key is asked for
	failure   string // why it was refused; "": it was not
}

// doubt is about a credential that need not be one: other servers' keys, dummies.
type doubt struct {
	wrong bool
	wait  time.Duration // it was not even compared: its address has to wait
}

// Options are what New needs.
type Options struct {
	AdminKey string         // opens the operators' routes; "": they are closed
	Enforce  bool           // asks for API keys whatever the ledger says
	Ledger   *ledger.Ledger // has the API keys; nil: there are none, and nothing is recorded
	Logger   hclog.Logger   // nil: none
	Registry prometheus.Registerer
	Now      func() time.Time // nil: time.Now
}

// Keyring holds the keys in memory.
type Keyring struct {
	ledger   *ledger.Ledger
	enforce  bool
	admin    *Principal // nil: there is no admin key
	adminSum [sha256.Size]byte
	now      func() time.Time

	state    atomic.Pointer[state] // nil until it has been loaded once
	throttle throttle
	refusals *refusals
	record   *recorder // nil: nothing is recorded
	log      hclog.Logger
	stop     context.CancelFunc // of run
	done     chan struct{}      // run has ended

	seeding     sync.Mutex
	seeded      bool   // what every ledger has is in this one
	seedProblem string // why it is not: it is logged once
}

// state is what the ledger says; it is never changed, but replaced.
type state struct {
	keys    map[string]*key // by public id
	global  bool            // keys are asked for
	clients map[string]bool // where a client differs

	anywhere   bool // somebody asks for a key
	everywhere bool // everybody does
}

// New makes a Keyring and follows the ledger. Close ends it, before the ledger is closed.
func New(o Options) *Keyring {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	k := &Keyring{ledger: o.Ledger, enforce: o.Enforce, now: o.Now, log: o.Logger, adminSum: sha256.Sum256([]byte(o.AdminKey))}
	if o.AdminKey != "" {
		k.admin = &Principal{Name: "admin key", Admin: true, granted: "[]"}
	}
	k.throttle.now = o.Now
	k.refusals = newRefusals(o.Logger, o.Registry, o.Now)
	if o.Ledger == nil {
		k.state.Store(&state{})
		return k
	}
	k.record = newRecorder(o.Ledger, o.Now)
	o.Ledger.Follow(ledger.Keys, k.load)
	var ctx context.Context
	ctx, k.stop = context.WithCancel(context.Background())
	k.done = make(chan struct{})
	go k.run(ctx)
	return k
}

// run does every few seconds what need not be done at once, until ctx ends.
func (k *Keyring) run(ctx context.Context) {
	defer close(k.done)
	ticker := time.NewTicker(recordEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.record.flush()
			if k.state.Load() != nil {
				k.seed(ctx)
			}
		}
	}
}

// Close queues what is to be recorded for the ledger and stops recording.
func (k *Keyring) Close() {
	if k.ledger == nil {
		return
	}
	k.stop()
	<-k.done
	k.record.close()
}

// Flush returns when what was recorded is in the ledger.
func (k *Keyring) Flush(ctx context.Context) error {
	if k.record == nil {
		return nil
	}
	k.record.flush()
	return k.ledger.Flush(ctx)
}

// notLoaded refuses while nobody knows who may ask: a key that was revoked must not come
// back because the gateway started before its ledger.
func notLoaded() *sdk.Error {
	return &sdk.Error{Kind: sdk.Unavailable, Reason: "ledger_unavailable", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
		Message: "the gateway's own database, which has the API keys, has not been reached since the start",
		Hint:    "its state is in /health; try again", RetryAfter: time.Second}
}

// Asked reports whether somebody asks for a key: the gateway, or a client.
func (k *Keyring) Asked() bool {
	s := k.state.Load()
	return s == nil || k.enforce || s.anywhere
}

// Closed reports whether every client asks for a key, so that who has none can be turned
// away before it is known which client is meant.
func (k *Keyring) Closed() bool {
	s := k.state.Load()
	return s == nil || k.enforce || s.everywhere
}

// Enforced reports whether a key is asked for by client, or by the gateway where client is
// "": its own setting, else the global one.
func (k *Keyring) Enforced(client string) bool {
	s := k.state.Load()
	return s == nil || k.enforce || s.enforced(client)
}

func (s *state) enforced(client string) bool {
	if own, ok := s.clients[client]; ok {
		return own
	}
	return s.global
}
