package provision

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
)

// standard is the list of a gateway that was not told otherwise.
var standard = []string{"localhost", "127.0.0.0/8", "::1"}

// names is what the tests' resolver knows.
var names = map[string][]string{
	"localhost":        {"127.0.0.1", "::1"},
	"db.example.com":   {"203.0.113.7", "10.1.2.3"},
	"loop.example.com": {"127.0.0.1"},
	"meta.example.com": {"203.0.113.7", "169.254.169.254"},
	"v6.example.com":   {"fe80::1"},
	"any.example.com":  {"0.0.0.0"},
	"odd.example.com":  {"::ffff:169.254.169.254"},
}

func parse(t *testing.T, list []string) *hosts {
	t.Helper()
	h, err := parseHosts(list)
	if err != nil {
		t.Fatal(err)
	}
	h.lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
		var found []netip.Addr
		for _, text := range names[plainName(name)] {
			found = append(found, netip.MustParseAddr(text))
		}
		if found == nil {
			return nil, errors.New("no such host")
		}
		return found, nil
	}
	return h
}

// TestHosts: a host is allowed by its name and by the addresses behind it.
func TestHosts(t *testing.T) {
	all := []string{"db.example.com", "LOOP.example.com.", "meta.example.com", "v6.example.com", "any.example.com", "odd.example.com", "gone.example.com", "10.0.0.0/8", "2001:db8::/32", "/var/run/postgresql"}
	for _, test := range []struct {
		list   []string
		host   string
		reason string // "": allowed
		pinned []string
	}{
		{standard, "localhost", "", []string{"127.0.0.1", "::1"}},
		{standard, "LocalHost.", "", []string{"127.0.0.1", "::1"}},
		{standard, "127.0.0.1", "", []string{"127.0.0.1"}},
		{standard, "127.8.8.8", "", []string{"127.8.8.8"}},
		{standard, "::1", "", []string{"::1"}},
		{standard, "::ffff:127.0.0.1", "", []string{"::ffff:127.0.0.1"}},
		{standard, "10.0.0.1", "host_not_allowed", nil},
		{standard, "169.254.169.254", "host_not_allowed", nil},
		{standard, "::ffff:169.254.169.254", "host_not_allowed", nil},
		{standard, "0.0.0.0", "host_not_allowed", nil},
		{standard, "::", "host_not_allowed", nil},
		{standard, "db.example.com", "host_not_allowed", nil},
		{standard, "loop.example.com", "host_not_allowed", nil}, // a name that was not listed
		// Spellings that some resolvers take for addresses.
		{standard, "127.1", "host_not_allowed", nil},
		{standard, "2130706433", "host_not_allowed", nil},
		{standard, "0x7f.0.0.1", "host_not_allowed", nil},
		{standard, "127.0.0.1:1", "host_not_allowed", nil},
		{standard, "", "host_not_allowed", nil},
		{standard, "localhost\x00", "host_not_allowed", nil},
		{standard, "/var/run/postgresql", "host_not_allowed", nil},
		{standard, "/var/run/../run/postgresql", "host_not_allowed", nil},
		{nil, "localhost", "host_not_allowed", nil},

		{all, "db.example.com", "", []string{"203.0.113.7", "10.1.2.3"}},
		{all, "DB.Example.COM.", "", []string{"203.0.113.7", "10.1.2.3"}},
		{all, "sub.db.example.com", "host_not_allowed", nil},
		{all, "loop.example.com", "host_not_allowed", nil}, // of the listed names no other leads here
		{all, "meta.example.com", "host_not_allowed", nil},
		{all, "v6.example.com", "host_not_allowed", nil},
		{all, "any.example.com", "host_not_allowed", nil},
		{all, "odd.example.com", "host_not_allowed", nil},
		{all, "gone.example.com", "unreachable", nil},
		{all, "10.255.0.1", "", []string{"10.255.0.1"}},
		{all, "::ffff:10.255.0.1", "", []string{"::ffff:10.255.0.1"}},
		{all, "11.0.0.1", "host_not_allowed", nil},
		{all, "2001:db8::5", "", []string{"2001:db8::5"}},
		{all, "2001:db9::5", "host_not_allowed", nil},
		{all, "localhost", "host_not_allowed", nil},
		{all, "/var/run/postgresql/", "", nil},
		{append(all, "127.0.0.1"), "loop.example.com", "", []string{"127.0.0.1"}},
		{append(all, "169.254.169.254"), "meta.example.com", "", []string{"203.0.113.7", "169.254.169.254"}},
	} {
		found, err := parse(t, test.list).resolve(t.Context(), []string{test.host})
		if test.reason != "" {
			if e := sdk.AsError(err); e == nil || e.Reason != test.reason || found != nil {
				t.Errorf("%q of %v: %v, %v", test.host, test.list, found, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q of %v: %v", test.host, test.list, err)
			continue
		}
		if d := cmp.Diff(test.pinned, found[test.host]); d != "" {
			t.Errorf("%q of %v: %s", test.host, test.list, d)
		}
	}
	// One that is not allowed is enough.
	if _, err := parse(t, standard).resolve(t.Context(), []string{"localhost", "db.example.com"}); err == nil || sdk.AsError(err).Kind != sdk.Forbidden {
		t.Errorf("%v", err)
	}
}

func TestParseHosts(t *testing.T) {
	for _, entry := range []string{"", " ", "*", "*.example.com", "db.example.com:5432", "postgres://db.example.com", "10.0.0.0/99", "user@host", "a b", "."} {
		if _, err := parseHosts([]string{"localhost", entry}); err == nil {
			t.Errorf("%q is taken", entry)
		}
	}
	h := parse(t, append(slices.Clone(standard), "10.1.2.3/8", "::ffff:192.0.2.1"))
	for _, ok := range []string{"10.200.0.1", "192.0.2.1"} {
		if !h.listed(netip.MustParseAddr(ok)) {
			t.Errorf("%s is not listed", ok)
		}
	}
}

// FuzzHosts: whatever a URI names, only what is listed gets an address.
func FuzzHosts(f *testing.F) {
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "[::1]", "127.1", "LOCALHOST.", "localhost..", "/tmp", "fe80::1%lo", "10.0.0.1,localhost"} {
		f.Add(host)
	}
	h, err := parseHosts(standard)
	if err != nil {
		f.Fatal(err)
	}
	h.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	f.Fuzz(func(t *testing.T, host string) {
		found, err := h.resolve(t.Context(), []string{host})
		if err != nil {
			return
		}
		if len(found[host]) == 0 {
			t.Fatalf("%q is allowed without an address", host)
		}
		for _, text := range found[host] {
			addr, err := netip.ParseAddr(text)
			if err != nil || !addr.Unmap().WithZone("").IsLoopback() {
				t.Errorf("%q may be connected to at %q", host, text)
			}
		}
	})
}
