package pluginhost

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/athena-gateway/athena/sdk"
)

// secretSet replaces the secrets of opened configs by *** in what a plugin says.
type secretSet struct {
	mu       sync.Mutex
	byOwner  map[*Instance][]string
	past     []string                         // of instances that were closed or never opened, the newest last
	replacer atomic.Pointer[strings.Replacer] // nil: to be built again
}

// minSecret is the shortest text that is replaced; shorter ones would tear ordinary words
// apart.
const (
	minSecret = 3
	minBase64 = 6
	// pastSecrets is how many secrets are replaced of configs that are no longer open: the
	// process still knows them, and what it printed may not have been read.
	pastSecrets = 1000
)

func (s *secretSet) add(owner *Instance, secrets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byOwner == nil {
		s.byOwner = map[*Instance][]string{}
	}
	for _, secret := range secrets { // a process under another schema may serve it too
		if !slices.Contains(s.byOwner[owner], secret) {
			s.byOwner[owner] = append(s.byOwner[owner], secret)
		}
	}
	s.replacer.Store(nil)
}

func (s *secretSet) remove(owner *Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.byOwner[owner] {
		if at := slices.Index(s.past, secret); at >= 0 {
			s.past = slices.Delete(s.past, at, at+1)
		}
		s.past = append(s.past, secret)
	}
	delete(s.byOwner, owner)
	if n := len(s.past) - pastSecrets; n > 0 {
		s.past = slices.Delete(s.past, 0, n)
		s.replacer.Store(nil)
	}
}

func (s *secretSet) clean(text string) string {
	r := s.replacer.Load()
	if r == nil {
		r = s.build()
	}
	return r.Replace(text)
}

func (s *secretSet) build() *strings.Replacer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, secrets := range append(slices.Collect(maps.Values(s.byOwner)), s.past) {
		for _, secret := range secrets {
			all = append(all, forms(secret)...)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	var pairs []string
	for _, text := range all {
		if len(text) >= minSecret {
			pairs = append(pairs, text, "***")
		}
	}
	r := strings.NewReplacer(pairs...)
	s.replacer.Store(r)
	return r
}

// cleanMetrics removes secrets from what metrics say of themselves.
func (s *secretSet) cleanMetrics(metrics []sdk.Metric) {
	for i := range metrics {
		m := &metrics[i]
		m.Help = s.clean(m.Help)
		for j := range m.Labels {
			m.Labels[j].Value = s.clean(m.Labels[j].Value)
		}
	}
}

// cleanError returns err as an *sdk.Error without secrets.
func (s *secretSet) cleanError(err error) *sdk.Error {
	e := *sdk.AsError(err)
	for _, text := range []*string{&e.Message, &e.Detail, &e.Hint, &e.Log} {
		*text = s.clean(*text)
	}
	if len(e.Details) > 0 {
		e.Details = json.RawMessage(s.clean(string(e.Details)))
	}
	return &e
}

// forms lists how a secret may be written: as it is, in a URL, in JSON and Go and in JSON
// within these, in base64, line by line.
func forms(secret string) []string {
	found := []string{secret}
	for _, escaped := range []string{url.QueryEscape(secret), url.PathEscape(secret)} {
		found = append(found, escaped, upperEscape.ReplaceAllStringFunc(escaped, strings.ToLower))
	}
	for range 2 {
		for _, text := range found {
			found = append(found, quotedForms(text)...)
		}
		slices.Sort(found)
		found = slices.Compact(found)
	}
	found = append(found, base64Forms(secret)...)
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 8 {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

var upperEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

// quotedForms are what stands between the quotes in JSON and in Go.
func quotedForms(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // it is a text
	safe, _ := json.Marshal(text)
	found := []string{strconv.Quote(text), string(safe), strings.TrimSuffix(plain.String(), "\n")}
	for i, quoted := range found {
		found[i] = quoted[1 : len(quoted)-1]
	}
	return found
}

// base64Forms are what base64 makes of a text that may have neighbours, such as a user's name
// before a password. A character that holds bits of a neighbour too is not in them: of the
// text's own bits at most six stay at either end. Short texts have none.
func base64Forms(text string) []string {
	if len(text) < minBase64 {
		return nil
	}
	found := []string{base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text))}
	for before := range 3 { // bytes of the neighbour in the first group of three
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			coded := encoding.EncodeToString([]byte("\x00\x00"[:before] + text))
			found = append(found, coded[(before*8+5)/6:(before+len(text))*8/6])
		}
	}
	return found
}

// A password in a URL (up to the last @ before the path) and in text like
// "host=db password=x" or "?password=x".
var (
	urlPassword   = regexp.MustCompile(`://[^/?#:@\s]*:([^/?#\s]*)@`)
	namedPassword = regexp.MustCompile(`(?i)(?:password|passwd|pwd|passphrase|token|secret|api_?key)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&;']+))`)
)

// secrets lists the secret values of a config: those of writeOnly properties, and the
// passwords inside any text of it.
func (s *configSchema) secrets(config map[string]any) []string {
	var found []string
	for key, value := range config {
		found = secretsOf(value, s.properties[key].WriteOnly, found)
	}
	return found
}

func secretsOf(value any, secret bool, found []string) []string {
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			found = secretsOf(inner, secret, found)
		}
	case []any:
		for _, inner := range v {
			found = secretsOf(inner, secret, found)
		}
	case json.Number:
		if secret {
			found = append(found, v.String())
		}
	case string:
		if secret {
			found = append(found, v)
		}
		for _, pattern := range []*regexp.Regexp{urlPassword, namedPassword} {
			for _, match := range pattern.FindAllStringSubmatch(v, -1) {
				for _, password := range match[1:] {
					found = append(found, password)
					if plain, err := url.PathUnescape(password); err == nil {
						found = append(found, plain)
					}
				}
			}
		}
	}
	return found
}
