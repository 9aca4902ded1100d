package auth

import (
	"net/netip"
	"testing"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/sdk"
)

const adminKey = "0123456789abcdef"

// operate asks for an operators' route.
func operate(k *Keyring, from netip.Addr, credential string) error {
	return k.Admin(&Attempt{Remote: from}, [][]byte{[]byte(credential)})
}

// TestThrottle: ten wrong keys in a minute make an address wait, ever longer; while it waits
// it learns nothing, and attempts meanwhile do not prolong it.
func TestThrottle(t *testing.T) {
	c := newClock()
	k := keyring(t, Options{AdminKey: adminKey, Now: c.Now})
	expect := func(from, credential, want string, wait time.Duration) {
		t.Helper()
		err := operate(k, netip.MustParseAddr(from), credential)
		if code(err) != want {
			t.Fatalf("%s from %s: %v, want %q", credential, from, err, want)
		}
		if e := sdk.AsError(err); e != nil && (e.RetryAfter != wait || want == TooManyAttempts && e.Kind != sdk.RateLimited) {
			t.Fatalf("%s from %s: kind %s, wait %s, want %s", credential, from, e.Kind, e.RetryAfter, wait)
		}
	}
	const there, neighbour = "198.51.100.1", "198.51.100.2"
	for range freeFailures - 1 {
		expect(there, "wrong", InvalidAdminKey, 0)
	}
	c.forward(window)
	for range freeFailures {
		expect(there, "wrong", InvalidAdminKey, 0)
	}
	for range 100 {
		expect(there, "wrong", TooManyAttempts, firstPause)
	}
	expect(there, adminKey, TooManyAttempts, firstPause) // it is not even told that it is right
	expect(neighbour, "wrong", InvalidAdminKey, 0)
	expect(neighbour, adminKey, "", 0)
	for pause := firstPause; pause < 2*longestPause; pause *= 2 {
		wait := min(pause, longestPause)
		expect(there, "wrong", TooManyAttempts, wait)
		c.forward(wait - time.Millisecond)
		expect(there, "wrong", TooManyAttempts, time.Millisecond)
		c.forward(time.Millisecond)
		expect(there, "wrong", InvalidAdminKey, 0)
	}
	c.forward(longestPause)
	expect(there, adminKey, "", 0)
	expect(there, "wrong", InvalidAdminKey, 0)
	expect(there, "wrong", TooManyAttempts, longestPause)
	expect(there, adminKey, "", 0) // it has come from there not long ago
	c.forward(familiarFor)
	expect(there, "wrong", InvalidAdminKey, 0) // all is forgotten
	for range freeFailures - 1 {
		expect(there, "wrong", InvalidAdminKey, 0)
	}
	expect(there, adminKey, TooManyAttempts, firstPause)
}

// TestThrottleOfKeys: a right API key gets through whatever its neighbours do, and a text that
// is no key counts where one is asked for.
func TestThrottleOfKeys(t *testing.T) {
	c := newClock()
	k := keyring(t, Options{AdminKey: adminKey, Now: c.Now})
	m := mint()
	good := &key{Principal: Principal{ID: "1", PublicID: m.public}, salt: m.salt, active: true}
	_, secret, _ := parse([]byte(m.text))
	good.hash = digest(m.salt, secret)
	k.state.Store(&state{keys: map[string]*key{m.public: good}, clients: map[string]bool{"strict": true}, anywhere: true})
	use := func(credential, client string) string {
		a, err := ask(k, here, credential)
		if err == nil {
			err = k.Use(a, client)
		}
		return code(err)
	}
	for range 50 {
		if got := use("dummy", "loose"); got != "" {
			t.Fatal(got)
		}
	}
	for i := range freeFailures {
		credential := "dummy"
		if i%2 == 1 {
			credential = mint().text
		}
		if got := use(credential, "strict"); got != InvalidKey {
			t.Fatal(got)
		}
	}
	for _, credential := range []string{"dummy", mint().text, adminKey} {
		if got := use(credential, "strict"); got != TooManyAttempts {
			t.Errorf("%s: %s", credential, got)
		}
	}
	for _, credential := range []string{m.text, m.text} {
		if got := use(credential, "strict"); got != "" {
			t.Error(got)
		}
	}
	if got := use("dummy", "loose"); got != "" {
		t.Error(got)
	}
	c.forward(firstPause)
	if got := use(adminKey, "strict"); got != "" {
		t.Error(got)
	}
}

// TestKeysOnOperatorsRoutes: the holder of an API key may not pass, but guesses
// nothing; who guesses beside it is counted.
func TestKeysOnOperatorsRoutes(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		c := newClock()
		k := keyring(t, Options{AdminKey: adminKey, Now: c.Now, Ledger: l})
		text, record := create(t, k, Spec{Name: "k", Rights: []string{Fetch}})
		off, offRecord := create(t, k, Spec{Name: "off"})
		if _, err := k.UpdateKey(t.Context(), &ledger.Audit{}, offRecord.ID, func(_ Record, s *Spec) error { s.Active = false; return nil }); err != nil {
			t.Fatal(err)
		}
		expired, _ := create(t, k, Spec{Name: "expired", Expires: pointer(c.Now().Add(time.Second))})
		c.forward(time.Second)
		try := func(credentials ...string) string {
			a := &Attempt{RequestID: "r1", Method: "GET", Path: "/admin/api-keys", Remote: here}
			var list [][]byte
			for _, credential := range credentials {
				list = append(list, []byte(credential))
			}
			err := k.Admin(a, list)
			k.Record(a)
			if e := sdk.AsError(err); e != nil && (e.Reason == RightRequired) != (e.Kind == sdk.Forbidden) {
				t.Errorf("%v is %s", err, e.Kind)
			}
			return code(err)
		}
		for range 3 * freeFailures {
			for want, credentials := range map[string][]string{RightRequired: {text, text}, KeyInactive: {off}, KeyExpired: {expired, text}} {
				if got := try(credentials...); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			}
		}
		if got := try(text, adminKey); got != "" {
			t.Errorf("with the admin key beside it: %s", got)
		}
		if err := k.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, r := range rows(t, l) {
			found = found || r == row{Request: "r1", Key: record.ID, Method: "GET", Path: "/admin/api-keys", Remote: here.String(), Hash: k.record.hash([]byte(text)),
				Rights: `["gateway.fetch.execute"]`, Failure: RightRequired, Attempts: 3 * freeFailures}
		}
		if !found {
			t.Errorf("the log has %v", rows(t, l))
		}
		c.forward(2 * familiarFor)
		for _, credentials := range [][]string{{text, "guess"}, {"guess", text}, {text[:62] + "--"}, {mint().text}, {mint().text, text}} {
			for range freeFailures / 5 {
				if got := try(credentials...); got != InvalidAdminKey {
					t.Errorf("%v: %s", credentials, got)
				}
			}
		}
		for _, credentials := range [][]string{{text, "guess"}, {text, adminKey}} {
			if got := try(credentials...); got != TooManyAttempts {
				t.Errorf("after too many guesses: %s", got)
			}
		}
		if got := try(text); got != RightRequired {
			t.Errorf("the holder of a key, after others' guesses: %s", got)
		}
	})
}

// TestThrottleOfGuesses: wherever a request of nobody is refused, what it presented counts, and
// whoever insists on a key takes the admin key where none is asked for too.
func TestThrottleOfGuesses(t *testing.T) {
	for what, refuse := range map[string]func(k *Keyring, credential string) error{
		"a right is lacking": func(k *Keyring, credential string) error {
			a, err := ask(k, here, credential)
			if err != nil {
				return err
			}
			return k.Require(a, Fetch)
		},
		"a key is insisted on": func(k *Keyring, credential string) error {
			a, err := ask(k, here, credential)
			if err != nil {
				return err
			}
			return k.Insist(a, [][]byte{[]byte(credential)})
		},
	} {
		for _, anywhere := range []bool{true, false} {
			c := newClock()
			k := keyring(t, Options{AdminKey: adminKey, Now: c.Now})
			k.state.Store(&state{clients: map[string]bool{"strict": anywhere}, anywhere: anywhere})
			if what == "a right is lacking" && !anywhere {
				continue // a text that is no key is nothing there
			}
			for range freeFailures {
				if got := code(refuse(k, "guess")); got != InvalidKey {
					t.Fatalf("%s: %s", what, got)
				}
			}
			if got := code(refuse(k, adminKey)); got != TooManyAttempts {
				t.Errorf("%s: after too many guesses: %s", what, got)
			}
			c.forward(firstPause)
			if err := refuse(k, adminKey); err != nil {
				t.Errorf("%s: the admin key: %v", what, err)
			}
		}
	}
	k := keyring(t, Options{AdminKey: adminKey})
	if err := k.Insist(&Attempt{Remote: here}, nil); code(err) != KeyRequired {
		t.Errorf("nobody: %v", err)
	}
}

// TestThrottleBound: however many addresses there are, few are kept, and a network of IPv6 is
// one.
func TestThrottleBound(t *testing.T) {
	th := throttle{now: newClock().Now}
	for i := range 3 * mostAddresses {
		th.failed(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1}))
	}
	if len(th.seen) != mostAddresses {
		t.Errorf("%d addresses are kept", len(th.seen))
	}
	for i := range freeFailures {
		th.failed(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}))
	}
	for address, waits := range map[string]bool{"2001:db8::ff%eth0": true, "2001:db8:0:1::1": false, "::ffff:192.0.2.1": false} {
		if wait, _ := th.wait(netip.MustParseAddr(address)); (wait > 0) != waits {
			t.Errorf("%s waits %s", address, wait)
		}
	}
	if wait, familiar := th.wait(netip.Addr{}); wait != 0 || familiar {
		t.Error("an unknown address waits")
	}
}
