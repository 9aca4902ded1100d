package auth

import (
	"net/netip"
	"sync"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

const (
	freeFailures  = 10 // wrong credentials within a window before the first pause
	window        = time.Minute
	firstPause    = time.Second
	longestPause  = 5 * time.Minute // each failure after a pause doubles it up to this
	forgetAfter   = 15 * time.Minute
	familiarFor   = time.Hour
	mostAddresses = 1 << 14
)

// throttle slows addresses down that present wrong credentials. Addresses are those of
// connections: what a proxy says of others can be made up. It holds a bounded number of
// them, of IPv6 the networks of 64 bits.
type throttle struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[netip.Addr]*conduct
}

// conduct is what is known of an address.
type conduct struct {
	failures int // in the window that began at since
	since    time.Time
	pause    time.Duration // the last one; 0: none yet
	until    time.Time     // the end of the pause
	last     time.Time     // of the last failure
	admitted time.Time     // when the right admin key last came from it
}

// network is the address that is held to account.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // fails for more bits than an address has
		return p.Addr()
	}
	return a
}

// wait is how long the address has to wait; 0: not at all. It is familiar if the right admin
// key has come from it not long ago.
func (t *throttle) wait(a netip.Addr) (wait time.Duration, familiar bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.seen[network(a)]
	if c == nil {
		return 0, false
	}
	now := t.now()
	return max(0, c.until.Sub(now)), now.Sub(c.admitted) < familiarFor
}

// failed notes a wrong credential.
func (t *throttle) failed(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	c := t.conduct(network(a), now)
	if now.Sub(c.last) >= forgetAfter {
		c.pause = 0
	}
	c.last = now
	if c.pause > 0 {
		c.pause = min(2*c.pause, longestPause)
		c.until = now.Add(c.pause)
		return
	}
	if now.Sub(c.since) >= window {
		c.since, c.failures = now, 0
	}
	if c.failures++; c.failures >= freeFailures {
		c.pause = firstPause
		c.until = now.Add(c.pause)
	}
}

// succeeded notes the right admin key. It takes nothing back: who has one key could else try
// others for ever.
func (t *throttle) succeeded(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.conduct(network(a), now).admitted = now
}

// conduct is the entry of an address. In a full table it takes the place of the oldest of a
// few.
func (t *throttle) conduct(a netip.Addr, now time.Time) *conduct {
	if c := t.seen[a]; c != nil {
		return c
	}
	if t.seen == nil {
		t.seen = map[netip.Addr]*conduct{}
	}
	if len(t.seen) >= mostAddresses {
		var oldest netip.Addr
		age, looked := time.Duration(-1), 0
		for other, c := range t.seen {
			if d := now.Sub(c.latest()); d > age {
				oldest, age = other, d
			}
			if looked++; looked == 16 {
				break
			}
		}
		delete(t.seen, oldest)
	}
	c := &conduct{}
	t.seen[a] = c
	return c
}

func (c *conduct) latest() time.Time {
	if c.admitted.After(c.last) {
		return c.admitted
	}
	return c.last
}

func tooMany(wait time.Duration) *sdk.Error {
	e := sdk.E(sdk.RateLimited, TooManyAttempts, "too many wrong keys have come from this address").
		WithHint("wait as Retry-After says, and correct the key before you try again")
	e.RetryAfter = wait
	return e
}
