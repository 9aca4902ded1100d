package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that stands still until it is set forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().UTC().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// keyring makes a Keyring that ends with the test.
func keyring(t testing.TB, o Options) *Keyring {
	t.Helper()
	k := New(o)
	t.Cleanup(k.Close)
	return k
}

// create makes a key.
func create(t testing.TB, k *Keyring, spec Spec) (text string, r Record) {
	t.Helper()
	spec.Active = true
	text, r, err := k.CreateKey(context.Background(), &ledger.Audit{}, spec)
	if err != nil {
		t.Fatal(err)
	}
	return text, r
}

var here = netip.MustParseAddr("192.0.2.7")

// ask authenticates credentials from an address.
func ask(k *Keyring, from netip.Addr, credentials ...string) (*Attempt, error) {
	var list [][]byte
	for _, c := range credentials {
		list = append(list, []byte(c))
	}
	a := &Attempt{RequestID: "r1", Method: "POST", Path: "/gateway/fetch", Remote: from}
	return a, k.Authenticate(a, list)
}

// code is an error's reason, "" for none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return sdk.AsError(err).Reason
}

func pointer[T any](v T) *T { return &v }

// TestAuthenticate: a right key is its principal, whatever else is presented is refused or
// nobody, and changes take effect at once.
func TestAuthenticate(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		ctx := context.Background()
		c := newClock()
		k := keyring(t, Options{Ledger: l, AdminKey: "0123456789abcdef", Now: c.Now})
		reader, record := create(t, k, Spec{Name: "reader", Client: pointer("shop"), Rights: []string{Fetch, Query, Fetch}})
		short, shortRecord := create(t, k, Spec{Name: "short", Expires: pointer(c.Now().Add(time.Hour))})
		edit := func(id string, f func(*Spec)) {
			t.Helper()
			if _, err := k.UpdateKey(ctx, &ledger.Audit{}, id, func(_ Record, s *Spec) error { f(s); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{Fetch, Query}, record.Rights); diff != "" {
			t.Error(diff)
		}
		expect := func(what, credential, want string) {
			t.Helper()
			// Each from an address of its own: pauses are another test's matter.
			a, err := ask(k, netip.AddrFrom4([4]byte{10, byte(len(what)), byte(len(credential)), byte(c.Now().Second())}), credential)
			if got := code(err); got != want || (err == nil) != (a.Principal != nil) {
				t.Errorf("%s: %q and the principal %v, want %q", what, got, a.Principal, want)
			}
		}
		expect("right", reader, "")
		a, _ := ask(k, here, reader)
		p := a.Principal
		if p.ID != record.ID || p.PublicID != record.PublicID || p.Name != "reader" || p.Client != "shop" || p.Admin ||
			!p.Has(Fetch) || !p.Has(Query) || p.Has(Insert) || cmp.Diff([]string{Fetch, Query}, p.Rights()) != "" {
			t.Errorf("the principal is %+v", p)
		}
		other := func(text string, at int) string {
			b := []byte(text)
			if b[at] == 'a' {
				b[at] = 'b'
			} else {
				b[at] = 'a'
			}
			return string(b)
		}
		expect("first character of the secret", other(reader, 21), InvalidKey)
		expect("last character of the secret", other(reader, len(reader)-2), InvalidKey)
		expect("another public part", other(reader, 4), InvalidKey)
		expect("public part and secret of two keys", reader[:21]+short[21:], InvalidKey)
		for _, dummy := range []string{"", "ath_pub.secret", reader[:len(reader)-1], reader + "x", " " + reader, strings.ToUpper(reader), "0123456789abcdef"} {
			if a, err := ask(k, here, dummy); err != nil || a.Principal != nil {
				t.Errorf("%q, while nobody asks for keys: %v, %v", dummy, a.Principal, err)
			}
		}

		c.forward(time.Hour - time.Second)
		expect("before its expiry", short, "")
		c.forward(time.Second)
		expect("at its expiry", short, KeyExpired)
		expect("expired and wrong", other(short, 30), InvalidKey)
		edit(shortRecord.ID, func(s *Spec) { s.Expires = pointer(c.Now().Add(time.Minute)) })
		expect("with a later expiry", short, "")
		edit(shortRecord.ID, func(s *Spec) { s.Expires = nil })
		c.forward(1000 * time.Hour)
		expect("without an expiry", short, "")
		edit(shortRecord.ID, func(s *Spec) { s.Active = false })
		expect("switched off", short, KeyInactive)
		expect("switched off and wrong", other(short, 30), InvalidKey)
		edit(shortRecord.ID, func(s *Spec) { s.Active = true })
		expect("switched on", short, "")
		edit(shortRecord.ID, func(s *Spec) { s.Rights = []string{Delete} })
		if a, _ := ask(k, here, short); !a.Principal.Has(Delete) {
			t.Error("a right that was granted is not there")
		}
		if err := k.DeleteKey(ctx, &ledger.Audit{}, shortRecord.ID); err != nil {
			t.Fatal(err)
		}
		expect("revoked", short, InvalidKey)

		again := keyring(t, Options{Ledger: l, Now: c.Now})
		if a, err := ask(again, here, reader); err != nil || a.Principal.ID != record.ID {
			t.Errorf("after a start the key is %v, %v", a.Principal, err)
		}
		if _, err := ask(again, netip.MustParseAddr("192.0.2.8"), short); code(err) != InvalidKey {
			t.Errorf("after a start the revoked key is %v", err)
		}
	})
}

// TestTwoGateways: what one changes the other does within two seconds.
func TestTwoGateways(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		ctx := context.Background()
		one := keyring(t, Options{Ledger: ledgertest.Open(t, uri)})
		two := keyring(t, Options{Ledger: ledgertest.Open(t, uri)})
		text, record := create(t, one, Spec{Name: "k"})
		eventually(t, "the key is known", func() bool { a, _ := ask(two, here, text); return a.Principal != nil })
		if _, err := one.Enforce(ctx, &ledger.Audit{}, true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "keys are asked for", func() bool { return two.Enforced("any") })
		if err := one.DeleteKey(ctx, &ledger.Audit{}, record.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the key is revoked", func() bool { a, _ := ask(two, here, text); return a.Principal == nil })
		var rights int
		if err := one.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
			return c.QueryRowContext(ctx, "SELECT count(*) FROM api_key_rights").Scan(&rights)
		}); err != nil || rights != len(Catalogue()) {
			t.Errorf("there are %d rights (%v), of %d", rights, err, len(Catalogue()))
		}
	})
}

// eventually waits for what another gateway learns by looking.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 seconds it is not so that %s", what)
		}
	}
}

// TestNotLoaded: before the keys have been read once nobody is let in but the operator.
func TestNotLoaded(t *testing.T) {
	l := ledgertest.Open(t, "postgres://nobody@127.0.0.1:1/none")
	k := keyring(t, Options{Ledger: l, AdminKey: "0123456789abcdef"})
	for _, credential := range []string{"", mint().text, "0123456789abcdef"} {
		if _, err := ask(k, here, credential); code(err) != "ledger_unavailable" || sdk.AsError(err).Kind != sdk.Unavailable {
			t.Errorf("%q: %v", credential, err)
		}
	}
	if !k.Closed() || !k.Enforced("") || !k.Enforced("a") {
		t.Error("it is open")
	}
	if a := (&Attempt{Remote: here}); k.Admin(a, [][]byte{[]byte("0123456789abcdef")}) != nil || !a.Principal.Admin {
		t.Error("the operator is kept out")
	}
}

// TestReadOnlyLedger: a ledger that can only be read serves as it is, and gets what it lacks as
// soon as it can be written.
func TestReadOnlyLedger(t *testing.T) {
	uri := testenv.Database(t)
	l := ledgertest.Open(t, uri)
	k := keyring(t, Options{Ledger: l})
	text, _ := create(t, k, Spec{Name: "k", Rights: []string{Fetch}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Read(ctx, func(ctx context.Context, c *sql.Conn) error { // whose session may write all the time
		exec := func(statement string) {
			t.Helper()
			if _, err := c.ExecContext(ctx, statement); err != nil {
				t.Error(err)
			}
		}
		alter := func(state string) {
			t.Helper()
			exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = " + state + "', current_database()); END $$")
			exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		exec("DELETE FROM api_key_rights WHERE name = 'management.read'")
		alter("on")
		defer alter("off")
		var output testenv.Output
		again := keyring(t, Options{Ledger: ledgertest.Open(t, uri), Logger: hclog.New(&hclog.LoggerOptions{Output: &output})})
		if a, err := ask(again, here, text); err != nil || !a.Principal.Has(Fetch) {
			t.Errorf("the key is %v, %v", a.Principal, err)
		}
		again.seed(ctx)
		if n := strings.Count(output.String(), "it is tried again"); n != 1 || strings.Count(output.String(), "\n") != n {
			t.Errorf("the log says %s", output.String())
		}
		alter("off")
		eventually(t, "the right is there", func() bool {
			again.seed(ctx)
			var n int
			err := c.QueryRowContext(ctx, "SELECT count(*) FROM api_key_rights").Scan(&n)
			return err == nil && n == len(Catalogue())
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestEnforcement: a client's own setting wins over the global one, the configuration over
// both.
func TestEnforcement(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		ctx := context.Background()
		k := keyring(t, Options{Ledger: l})
		forced := keyring(t, Options{Ledger: l, Enforce: true})
		for _, test := range []struct {
			global                bool
			strict, loose         int // 0: no setting of its own, 1: it asks, 2: it does not
			wantStrict, wantLoose bool
			wantOther, wantClosed bool
		}{
			{false, 0, 0, false, false, false, false},
			{false, 1, 0, true, false, false, false},
			{true, 0, 0, true, true, true, true},
			{true, 1, 0, true, true, true, true},
			{true, 1, 2, true, false, true, false},
			{false, 1, 2, true, false, false, false},
		} {
			if _, err := k.Enforce(ctx, &ledger.Audit{}, test.global); err != nil {
				t.Fatal(err)
			}
			for client, setting := range map[string]int{"strict": test.strict, "loose": test.loose} {
				var err error
				if setting == 0 {
					err = k.UnenforceClient(ctx, &ledger.Audit{}, client)
				} else {
					_, err = k.EnforceClient(ctx, &ledger.Audit{}, client, setting == 1)
				}
				if err != nil && code(err) != "unknown_client_setting" {
					t.Fatal(err)
				}
			}
			got := [4]bool{k.Enforced("strict"), k.Enforced("loose"), k.Enforced("other"), k.Closed()}
			if want := [4]bool{test.wantStrict, test.wantLoose, test.wantOther, test.wantClosed}; got != want {
				t.Errorf("%+v: %v", test, got)
			}
			for client, asks := range map[string]bool{"strict": test.wantStrict, "loose": test.wantLoose, "other": test.wantOther} {
				for credential, want := range map[string]string{"": KeyRequired, "dummy": InvalidKey} {
					a, err := ask(k, netip.MustParseAddr("192.0.2.9"), credential)
					if credential == "" {
						a, err = ask(k, here)
					}
					if err != nil {
						t.Fatal(err)
					}
					if !asks {
						want = ""
					}
					if got := code(k.Use(a, client, Fetch)); got != want && got != TooManyAttempts {
						t.Errorf("%+v: nobody with %q at %s: %q, want %q", test, credential, client, got, want)
					}
				}
			}
			if !forced.Enforced("loose") || !forced.Closed() || !forced.Forced() {
				t.Error("the configuration does not win")
			}
		}
	})
}

// TestUse: a key is held to its client and its rights whether keys are asked for or not.
func TestUse(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		const admin = "0123456789abcdef"
		for _, enforce := range []bool{false, true} {
			k := keyring(t, Options{Ledger: l, AdminKey: admin, Enforce: enforce})
			name := fmt.Sprint(enforce)
			bound, _ := create(t, k, Spec{Name: "bound" + name, Client: pointer("shop"), Rights: []string{Fetch}})
			wide, _ := create(t, k, Spec{Name: "wide" + name, Rights: []string{Fetch, Insert}})
			for _, test := range []struct {
				key, client string
				rights      []string
				want        string
			}{
				{bound, "shop", []string{Fetch}, ""},
				{bound, "shop", []string{Insert}, RightRequired},
				{bound, "shop", []string{Fetch, Delete}, RightRequired},
				{bound, "bank", []string{Fetch}, ClientNotAllowed},
				{bound, "", []string{Fetch}, ClientNotAllowed},
				{wide, "bank", []string{Insert, Fetch}, ""},
				{wide, "bank", []string{Insert, Update}, RightRequired},
			} {
				a, err := ask(k, here, test.key)
				if err != nil {
					t.Fatal(err)
				}
				err = k.Use(a, test.client, test.rights...)
				if code(err) != test.want || err != nil && sdk.AsError(err).Kind != sdk.Forbidden {
					t.Errorf("%s %s %v: %v, want %q", a.Principal.Name, test.client, test.rights, err, test.want)
				}
			}
			a, err := ask(k, here, admin)
			if err != nil || (a.Principal != nil) != enforce {
				t.Fatalf("the admin key is %v, %v", a.Principal, err)
			}
			if err := k.Use(a, "bank", Delete, "anything"); err != nil {
				t.Errorf("the admin key may not: %v", err)
			}
			if err := k.Require(&Attempt{}, Fetch); code(err) != KeyRequired {
				t.Errorf("nobody has a right: %v", err)
			}
		}
	})
}

// row is a row of the log.
type row struct {
	Request, Key, Client, Method, Path, Remote, Hash, Right, Rights, Failure string
	Succeeded                                                                bool
	Attempts                                                                 int
}

func rows(t *testing.T, l *ledger.Ledger) (list []row) {
	t.Helper()
	if err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		return each(ctx, c, func(scan func(...any) error) error {
			var r row
			var key, client, hash, right, failure *string
			if err := scan(&r.Request, &key, &client, &r.Method, &r.Path, &r.Remote, &hash, &right, &r.Rights, &r.Succeeded, &failure, &r.Attempts); err != nil {
				return err
			}
			for to, from := range map[*string]*string{&r.Key: key, &r.Client: client, &r.Hash: hash, &r.Right: right, &r.Failure: failure} {
				if from != nil {
					*to = *from
				}
			}
			r.Rights = strings.ReplaceAll(r.Rights, " ", "")
			list = append(list, r)
			return nil
		}, `SELECT request_id, api_key_id, client_name, method, path, remote_addr, presented_hash, required_right, granted_rights, succeeded, failure_reason, attempts
			FROM api_key_auth_log ORDER BY failure_reason, public_id, required_right`)
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestRecord: every attempt is in the log, equal ones in one row, none with a secret, and the
// key shows when it was last used.
func TestRecord(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		ctx := context.Background()
		c := newClock()
		var output testenv.Output
		k := keyring(t, Options{Ledger: l, AdminKey: "0123456789abcdef", Enforce: true, Now: c.Now, Logger: hclog.New(&hclog.LoggerOptions{Output: &output})})
		text, record := create(t, k, Spec{Name: "k", Rights: []string{Fetch}})
		wrong := text[:len(text)-3] + "AAA"
		use := func(credential, client, right string) {
			a, err := ask(k, here, credential)
			if err == nil {
				_ = k.Use(a, client, right)
			}
			k.Record(a)
		}
		for range 3 {
			c.forward(time.Second)
			use(text, "shop", Fetch)
		}
		used := c.Now()
		c.forward(time.Second)
		use(text, "shop", Insert)
		use(wrong, "shop", Fetch)
		use(wrong, "shop", Fetch)
		use("dummy", "shop\x00\xff"+strings.Repeat("x", 300), Fetch)
		use("0123456789abcdef", "shop\x00\xff"+strings.Repeat("x", 300), Fetch)
		a, err := ask(k, here)
		if err != nil || k.Use(a, "shop", Fetch) == nil {
			t.Fatal("nobody is let in")
		}
		k.Record(a)
		if err := k.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		hash := func(s string) string { return k.record.hash([]byte(s)) }
		for _, credential := range []string{text, wrong} {
			if sum := sha256.Sum256([]byte(credential)); hash(credential) != hex.EncodeToString(sum[:]) {
				t.Errorf("of the form of a key %s is kept", hash(credential))
			}
		}
		sum, dummy := sha256.Sum256([]byte("dummy")), hash("dummy")
		if dummy == hex.EncodeToString(sum[:]) || dummy != hash("dummy") || dummy == hash("dummz") || dummy == keyring(t, Options{Ledger: l}).record.hash([]byte("dummy")) {
			t.Errorf("of another text %s is kept", dummy)
		}
		base := row{Request: "r1", Method: "POST", Path: "/gateway/fetch", Remote: "192.0.2.7", Rights: "[]", Attempts: 1}
		with := func(f func(*row)) row { r := base; f(&r); return r }
		want := map[row]bool{
			with(func(r *row) {
				r.Key, r.Client, r.Hash, r.Right, r.Rights, r.Succeeded, r.Attempts = record.ID, "shop", hash(text), Fetch, `["gateway.fetch.execute"]`, true, 3
			}): true,
			with(func(r *row) {
				r.Key, r.Client, r.Hash, r.Right, r.Rights, r.Failure = record.ID, "shop", hash(text), Insert, `["gateway.fetch.execute"]`, RightRequired
			}): true,
			with(func(r *row) { r.Key, r.Hash, r.Failure, r.Attempts = record.ID, hash(wrong), InvalidKey, 2 }): true,
			with(func(r *row) { r.Hash, r.Failure = hash("dummy"), InvalidKey }):                                true,
			with(func(r *row) {
				r.Client, r.Right, r.Succeeded = "shop\uFFFD"+strings.Repeat("x", maxText-6), Fetch, true
			}): true,
			with(func(r *row) { r.Failure = KeyRequired }): true,
		}
		got := map[row]bool{}
		for _, r := range rows(t, l) {
			got[r] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if r, err := k.Key(ctx, record.ID); err != nil || r.LastUsed == nil || !r.LastUsed.Equal(used) {
			t.Errorf("last used at %v (%v), want %v", r.LastUsed, err, used)
		}
		for _, secret := range []string{text[21:], wrong[21:], "0123456789abcdef"} {
			if strings.Contains(dump(t, l), secret) || strings.Contains(output.String(), secret) {
				t.Errorf("the secret %q is told", secret)
			}
		}
		if !strings.Contains(output.String(), `code=invalid_api_key remote=192.0.2.7 method=POST route=/gateway/fetch trace_id=r1 key=`+record.PublicID) {
			t.Errorf("the log says %s", output.String())
		}
	})
}

// TestRecordAfterClose: what a request tells that outlives the keyring is written, or counted
// as dropped.
func TestRecordAfterClose(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, uri string) {
		l := ledgertest.Open(t, uri)
		k := New(Options{Ledger: l, Enforce: true})
		refuse := func() {
			a, _ := ask(k, here)
			_ = k.Use(a, "shop", Fetch)
			k.Record(a)
		}
		refuse()
		k.Close()
		refuse()
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		refuse()
		if n := l.Status().Dropped; n != 1 {
			t.Errorf("%d attempts are dropped, want 1", n)
		}
		if n := ledgertest.Count(t, ledgertest.Open(t, uri), "SELECT sum(attempts) FROM api_key_auth_log"); n != 2 {
			t.Errorf("%d attempts are in the log, want 2", n)
		}
	})
}

// dump is all that the ledger has of keys, the salted hashes too.
func dump(t *testing.T, l *ledger.Ledger) string {
	t.Helper()
	var b strings.Builder
	if err := l.Read(context.Background(), func(ctx context.Context, c *sql.Conn) error {
		for _, table := range []string{"api_keys", "api_key_rights", "api_key_right_grants", "api_key_config", "api_key_client_config", "api_key_auth_log", "admin_audit_log"} {
			rows, err := c.QueryContext(ctx, "SELECT * FROM "+table)
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			for err == nil && rows.Next() {
				values := make([]any, len(columns))
				for i := range values {
					values[i] = new(sql.RawBytes)
				}
				err = rows.Scan(values...)
				for _, v := range values {
					fmt.Fprintf(&b, "%s|", *v.(*sql.RawBytes))
				}
			}
			rows.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRefusalLines: an attack does not fill the log, and what was left out is counted.
func TestRefusalLines(t *testing.T) {
	c := newClock()
	var output testenv.Output
	registry := prometheus.NewRegistry()
	k := keyring(t, Options{Enforce: true, Now: c.Now, Registry: registry, Logger: hclog.New(&hclog.LoggerOptions{Output: &output})})
	refuse := func() { k.Anonymous(&Attempt{Remote: here}, "") }
	for range 1000 {
		refuse()
	}
	if n := strings.Count(output.String(), "\n"); n != mostLines {
		t.Errorf("there are %d lines", n)
	}
	c.forward(lineEvery)
	refuse()
	if text := output.String(); strings.Count(text, "\n") != mostLines+1 || !strings.Contains(text, fmt.Sprintf("skipped=%d", 1000-mostLines)) {
		t.Errorf("the last lines are %s", text[len(text)-400:])
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "athena_auth_refused_total" || len(families[0].Metric) != len(reasons) {
		t.Fatalf("%v, %v", families, err)
	}
	for _, m := range families[0].Metric {
		if m.Label[0].GetValue() == KeyRequired && m.Counter.GetValue() != 1001 {
			t.Errorf("%v refusals are counted", m.Counter.GetValue())
		}
	}
}

// TestMinted: keys differ, have the form of one, and their hash is of their salt and secret.
func TestMinted(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		m := mint()
		public, secret, ok := parse([]byte(m.text))
		sum := digest(m.salt, secret)
		if !ok || string(public) != m.public || m.text != "ath_"+m.public+"."+string(secret) || hex.EncodeToString(sum[:]) != m.hash || len(m.salt) != 32 {
			t.Fatalf("%+v", m)
		}
		for _, part := range []string{m.public, string(secret), m.salt, m.hash} {
			if seen[part] {
				t.Fatalf("%s was there before", part)
			}
			seen[part] = true
		}
	}
}
