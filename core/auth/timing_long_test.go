//go:build long

package auth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// timings are how long two kinds of requests took, in nanoseconds.
type timings [2][]float64

// measure times two kinds of requests by turns, in random order, so that whatever else the
// machine does falls on both.
func measure(n int, kinds [2]func()) (t timings) {
	for range n {
		first := rand.IntN(2)
		for _, kind := range [2]int{first, 1 - first} {
			began := time.Now()
			for range 8 {
				kinds[kind]()
			}
			t[kind] = append(t[kind], float64(time.Since(began).Nanoseconds())/8)
		}
	}
	return t
}

// welch is Welch's t of the fastest three quarters of both, which are free of interruptions,
// and how far apart their means are.
func (t timings) welch() (score, apart, mean float64) {
	var means, errors [2]float64
	for i, all := range t {
		all = slices.Sorted(slices.Values(all))
		all = all[:len(all)*3/4]
		var sum, squares float64
		for _, v := range all {
			sum += v
		}
		means[i] = sum / float64(len(all))
		for _, v := range all {
			squares += (v - means[i]) * (v - means[i])
		}
		errors[i] = squares / float64(len(all)-1) / float64(len(all))
	}
	apart = means[0] - means[1]
	return apart / math.Sqrt(errors[0]+errors[1]), apart, (means[0] + means[1]) / 2
}

// The bounds of what is taken for the same: a difference that is neither certain nor large.
// Where keys lie in memory alone makes some nanoseconds.
const (
	certain = 6
	large   = 0.03 // of the time that it takes
)

// differs reports whether the kinds differ, in each of a few rounds and in the same direction: what
// is not the code's does not come again.
func differs(t *testing.T, what string, kinds [2]func()) bool {
	t.Helper()
	measure(2000, kinds) // warms up
	direction := 0.0
	for round := range 4 {
		score, apart, mean := measure(20000, kinds).welch()
		t.Logf("%s, round %d: %.1f ns of %.0f apart, t = %.1f", what, round, apart, mean, score)
		if math.Abs(score) < certain || math.Abs(apart) < large*mean || apart*direction < 0 {
			return false
		}
		direction = apart
	}
	return true
}

// TestTiming: how long a wrong key takes tells neither where it differs from a right one, nor
// whether there is such a key, nor how long the admin key is.
func TestTiming(t *testing.T) {
	c := newClock()
	k := keyring(t, Options{AdminKey: adminKey, Enforce: true, Now: c.Now})
	m := mint()
	_, secret, _ := parse([]byte(m.text))
	s := &state{keys: map[string]*key{}, global: true, anywhere: true, everywhere: true}
	for range 1000 {
		other := mint()
		s.keys[other.public] = &key{salt: other.salt, active: true}
	}
	s.keys[m.public] = &key{Principal: Principal{ID: "1", PublicID: m.public}, salt: m.salt, hash: digest(m.salt, secret), active: true}
	k.state.Store(s)
	for range 2 * freeFailures { // from then on each wrong key is answered alike
		_ = k.Admin(&Attempt{Remote: here}, [][]byte{[]byte("wrong")})
	}
	other := func(at int) string {
		b := []byte(m.text)
		if b[at] == 'a' {
			b[at] = 'b'
		} else {
			b[at] = 'a'
		}
		return string(b)
	}
	attempt := func(f func(a *Attempt, credentials [][]byte) error, credential string) func() {
		presented := [][]byte{[]byte(credential)}
		return func() {
			a := Attempt{RequestID: "r", Method: "POST", Path: "/gateway/fetch", Remote: netip.AddrFrom4([4]byte(here.AsSlice()))}
			if err := f(&a, presented); err == nil {
				panic(fmt.Sprintf("%q is right", presented))
			}
		}
	}
	const start = len(prefix) + publicLength + 1
	first, middle, last := other(start), other(start+secretLength/2), other(keyLength-2)
	for _, test := range []struct {
		what string
		f    func(*Attempt, [][]byte) error
		a, b string
	}{
		{"first and last character of the secret", k.Authenticate, first, last},
		{"first and middle character of the secret", k.Authenticate, first, middle},
		{"middle and last character of the secret", k.Authenticate, middle, last},
		{"an unknown public part and a known one", k.Authenticate, other(len(prefix)), last},
		{"another key's public part", k.Authenticate, mint().text, first},
		{"first and last character of the admin key", k.Admin, "x" + adminKey[1:], adminKey[:len(adminKey)-1] + "x"},
		{"an admin key of another length", k.Admin, "x" + adminKey[1:], adminKey + "x"},
		{"the beginning of the admin key", k.Admin, adminKey[:8], "xxxxxxxx"},
	} {
		if differs(t, test.what, [2]func(){attempt(test.f, test.a), attempt(test.f, test.b)}) {
			t.Errorf("%s: the times tell them apart", test.what)
		}
	}

	// A comparison that stops where keys differ would be seen.
	leaky := func(_ *Attempt, credentials [][]byte) error {
		sum := digest(m.salt, credentials[0][start:])
		for i := range credentials[0] {
			if credentials[0][i] != m.text[i] {
				break
			}
		}
		return fmt.Errorf("%x is wrong", sum[0])
	}
	if !differs(t, "a comparison that stops", [2]func(){attempt(leaky, first), attempt(leaky, last)}) {
		t.Error("the measurement does not see a comparison that stops at the first difference")
	}
}
