package pluginhost

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/athena-gateway/athena/sdk"
)

// secretSet replaces the secrets of opened configs by *** in what a plugin says.
type secretSet struct {
	mu       sync.Mutex
	byOwner  map[*Instance][]string
	replacer atomic.Pointer[strings.Replacer] // nil: to be built again
}

// minSecret is the shortest text that is replaced; shorter ones would tear ordinary words
// apart.
const minSecret = 3

func (s *secretSet) add(owner *Instance, secrets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byOwner == nil {
		s.byOwner = map[*Instance][]string{}
	}
	s.byOwner[owner] = secrets
	s.replacer.Store(nil)
}

func (s *secretSet) remove(owner *Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byOwner, owner)
	s.replacer.Store(nil)
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
	for _, secrets := range s.byOwner {
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

// forms lists how a secret may be written: as it is, in JSON, in a URL, line by line.
func forms(secret string) []string {
	found := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	if quoted, err := json.Marshal(secret); err == nil {
		found = append(found, string(quoted[1:len(quoted)-1]))
	}
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 8 {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
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
