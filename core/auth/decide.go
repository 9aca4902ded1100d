package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

const keyHint = "send an API key as X-Athena-Key, apikey, x-api-key, Authorization: Bearer or the query parameter api_key"

// Authenticate finds out who presents credentials, in the order in which they count. The
// first with the form of an API key decides: if it is wrong the request is refused, even where
// nobody asks for one. Any other text is held against the request only where a key is asked
// for, since clients of other servers send dummies.
func (k *Keyring) Authenticate(a *Attempt, credentials [][]byte) error {
	s := k.state.Load()
	if s == nil {
		return notLoaded()
	}
	for _, c := range credentials {
		if public, secret, ok := parse(c); ok {
			a.presented = c
			return k.authenticateKey(a, s, public, secret)
		}
	}
	if len(credentials) > 0 && (k.enforce || s.anywhere) {
		k.authenticateAdmin(a, credentials)
	}
	return nil
}

func (k *Keyring) authenticateKey(a *Attempt, s *state, public, secret []byte) error {
	named, right := s.find(public, secret)
	a.key = named
	if !right {
		return k.wrongKey(a)
	}
	return k.admit(a)
}

// admit makes the attempt's key, which is right, its principal if it is in force.
func (k *Keyring) admit(a *Attempt) error {
	switch {
	case !a.key.active:
		return k.refuse(a, sdk.E(sdk.Unauthenticated, KeyInactive, "the API key has been switched off").
			WithHint("an operator can switch it on again: PATCH /admin/api-keys/{id}"))
	case !a.key.expires.IsZero() && !k.now().Before(a.key.expires):
		return k.refuse(a, sdk.E(sdk.Unauthenticated, KeyExpired, "the API key has expired").
			WithHint("ask an operator for another, or for a later expiry"))
	}
	a.Principal = &a.key.Principal
	return nil
}

// wrongKey refuses a wrong credential. Each one counts against the address; after too many
// the answer no longer tells that it was wrong, but to wait.
func (k *Keyring) wrongKey(a *Attempt) error {
	if wait, _ := k.throttle.wait(a.Remote); wait > 0 {
		return k.refuse(a, tooMany(wait))
	}
	k.throttle.failed(a.Remote)
	return k.refuse(a, sdk.E(sdk.Unauthenticated, InvalidKey, "the API key is wrong").WithHint(
		"it is unknown, revoked or not complete: a key is ath_, 16 letters and digits, a point, and 43 more characters"))
}

// authenticateAdmin looks whether the admin key is among credentials. An address that has to
// wait is not told, unless the right key has come from there within the last hour: so nobody
// tries keys faster than the pauses allow, and who shares an address with an attacker is
// not locked out by that.
func (k *Keyring) authenticateAdmin(a *Attempt, credentials [][]byte) {
	a.presented, a.doubt = credentials[0], doubt{wrong: true}
	if k.admin == nil {
		return
	}
	right := 0
	for _, c := range credentials {
		sum := sha256.Sum256(c)
		right |= subtle.ConstantTimeCompare(sum[:], k.adminSum[:])
	}
	wait, familiar := k.throttle.wait(a.Remote)
	if right == 0 || wait > 0 && !familiar {
		a.doubt.wait = wait
		return
	}
	k.throttle.succeeded(a.Remote)
	a.Principal, a.presented, a.doubt = k.admin, nil, doubt{} // nothing is kept of the right one
}

// Admin lets the admin key pass, and nothing else.
func (k *Keyring) Admin(a *Attempt, credentials [][]byte) error {
	if k.admin == nil {
		return k.refuse(a, sdk.E(sdk.Forbidden, AdminDisabled, "the operators' routes are closed: this gateway has no admin key").
			WithHint("set the environment variable ATHENA_KEY_12 to a random text of 16 characters or more, start the gateway again, and send the text as X-Athena-Key"))
	}
	if len(credentials) == 0 {
		return k.refuse(a, sdk.E(sdk.Unauthenticated, AdminKeyRequired, "this route is for operators").
			WithHint("send the admin key as X-Athena-Key, apikey, x-api-key, Authorization: Bearer or the query parameter api_key"))
	}
	k.authenticateAdmin(a, credentials)
	switch {
	case a.Principal != nil:
		return nil
	case k.isKey(a, credentials):
		return k.notForKeys(a)
	case a.doubt.wait > 0:
		return k.refuse(a, tooMany(a.doubt.wait))
	}
	k.throttle.failed(a.Remote)
	return k.refuse(a, sdk.E(sdk.Unauthenticated, InvalidAdminKey, "the admin key is wrong").
		WithHint("it is the value of the environment variable ATHENA_KEY_12 with which the gateway was started, or the content of the file that api.admin_key_file names"))
}

// isKey reports whether all credentials are right API keys, and notes the first. A guess at the
// admin key beside them is a guess.
func (k *Keyring) isKey(a *Attempt, credentials [][]byte) bool {
	s := k.state.Load()
	if s == nil {
		return false
	}
	var first *key
	for _, c := range credentials {
		public, secret, ok := parse(c)
		if !ok {
			return false
		}
		named, right := s.find(public, secret)
		if !right {
			return false
		}
		if first == nil {
			first = named
		}
	}
	a.key = first
	return true
}

// notForKeys refuses the holder of an API key on an operators' route. He guesses nothing, so
// nothing counts.
func (k *Keyring) notForKeys(a *Attempt) error {
	if err := k.admit(a); err != nil {
		return err
	}
	return k.refuse(a, sdk.E(sdk.Forbidden, RightRequired, "this route is for operators: no API key may use it").
		WithHint("send the admin key instead, which is the value of the environment variable ATHENA_KEY_12, or the content of the file that api.admin_key_file names"))
}

// Anonymous decides about a request of nobody for a client, or for the gateway itself where
// client is "".
func (k *Keyring) Anonymous(a *Attempt, client string) error {
	if !k.Enforced(client) {
		return nil
	}
	return k.nobody(a, "this gateway asks for an API key")
}

// Insist refuses a request of nobody also where no key is asked for. There nobody has looked
// yet whether one of the credentials is the admin key.
func (k *Keyring) Insist(a *Attempt, credentials [][]byte) error {
	if a.Principal == nil && !a.doubt.wrong && len(credentials) > 0 {
		k.authenticateAdmin(a, credentials)
	}
	if a.Principal != nil {
		return nil
	}
	return k.nobody(a, "this gateway asks for an API key")
}

// Identify reports whether it is known who asks, where nobody is refused but the answer depends on
// it. Where no key is asked for, or the keys are not loaded, it is the first to look whether one of
// the credentials is the admin key; a wrong one counts. What has been decided stays: who was refused
// is nobody, and beside a text in the form of an API key the admin key does not count.
func (k *Keyring) Identify(a *Attempt, credentials [][]byte) bool {
	isKey := func(c []byte) bool { _, _, ok := parse(c); return ok }
	if a.Principal == nil && a.failure == "" && len(credentials) > 0 && !slices.ContainsFunc(credentials, isKey) {
		_ = k.Insist(a, credentials)
	}
	return a.Principal != nil
}

// Wrong refuses a request of nobody for what it presented, which counts as a wrong key; nil if
// that was nothing, or nobody looked at it.
func (k *Keyring) Wrong(a *Attempt) error {
	switch {
	case a.doubt.wait > 0:
		return k.refuse(a, tooMany(a.doubt.wait))
	case a.doubt.wrong:
		return k.wrongKey(a)
	}
	return nil
}

// nobody refuses a request of nobody.
func (k *Keyring) nobody(a *Attempt, why string) error {
	if err := k.Wrong(a); err != nil {
		return err
	}
	return k.refuse(a, sdk.E(sdk.Unauthenticated, KeyRequired, why).WithHint(keyHint))
}

// Use decides whether the attempt's principal, or nobody, may use a client with all of
// rights.
func (k *Keyring) Use(a *Attempt, client string, rights ...string) error {
	p := a.Principal
	if p == nil {
		return k.Anonymous(a, client)
	}
	a.Client = client // of nobody's requests it is not kept: anybody can make up names
	if len(rights) > 0 {
		a.Right = rights[0]
	}
	if !p.Admin && p.Client != "" && p.Client != client {
		return k.refuse(a, sdk.E(sdk.Forbidden, ClientNotAllowed, "the API key is for another client").
			WithHint("leave X-Athena-Client out to use the key's own client, or ask an operator for another key"))
	}
	for _, right := range rights {
		if err := k.Require(a, right); err != nil {
			return err
		}
	}
	return nil
}

// Require refuses whoever lacks a right, also while no keys are asked for.
func (k *Keyring) Require(a *Attempt, right string) error {
	if a.Principal.Has(right) {
		return nil
	}
	a.Right = right
	if a.Principal == nil {
		return k.nobody(a, fmt.Sprintf("this needs an API key with the right %q", right))
	}
	return k.refuse(a, sdk.E(sdk.Forbidden, RightRequired, fmt.Sprintf("the API key lacks the right %q", right)).
		WithHint("an operator can grant it: PATCH /admin/api-keys/{id}"))
}

// refuse notes and tells a refusal.
func (k *Keyring) refuse(a *Attempt, e *sdk.Error) error {
	a.failure = e.Reason
	k.refusals.note(a)
	return e
}

// Record takes an attempt that has been decided about into the log: one that presented
// something that was looked at, or was refused. The ledger gets it later.
func (k *Keyring) Record(a *Attempt) {
	if k.record == nil || a.failure == "" && a.Principal == nil {
		return
	}
	k.record.add(a)
}
