package sdk

import (
	"encoding/json"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// secretSet removes the secrets of all opened configs from what leaves the process.
type secretSet struct {
	list     atomic.Pointer[[]string]
	replacer atomic.Pointer[strings.Replacer]
}

// minSecret is the shortest secret that is replaced: shorter ones would tear ordinary
// text apart and are no secrets.
const minSecret = 4

// add learns the texts of a config's secret keys, and the passwords in those that are URLs
// or connection strings.
func (s *secretSet) add(config []byte, keys []string) {
	var values map[string]any
	if json.Unmarshal(config, &values) != nil {
		return
	}
	var found []string
	for _, key := range keys {
		found = secretsOf(values[key], found)
	}
	for {
		old := s.list.Load()
		var list []string
		if old != nil {
			list = slices.Clone(*old)
		}
		for _, secret := range found {
			if len(secret) >= minSecret && !slices.Contains(list, secret) {
				list = append(list, secret)
			}
		}
		if s.list.CompareAndSwap(old, &list) {
			break
		}
	}
	list := slices.Clone(*s.list.Load())
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	pairs := make([]string, 0, 2*len(list))
	for _, secret := range list {
		pairs = append(pairs, secret, "***")
	}
	s.replacer.Store(strings.NewReplacer(pairs...))
}

// secretsOf appends the forms of all texts of a JSON value.
func secretsOf(value any, found []string) []string {
	switch v := value.(type) {
	case string:
		found = append(found, secretsIn(v)...)
	case []any:
		for _, inner := range v {
			found = secretsOf(inner, found)
		}
	case map[string]any:
		for _, inner := range v {
			found = secretsOf(inner, found)
		}
	}
	return found
}

// namedPassword is a password in a text such as "host=db password='x y'" or "?password=x".
var namedPassword = regexp.MustCompile(`(?i)(?:password|passwd|pwd|passphrase|token|secret|api_?key)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&;']+))`)

// secretsIn lists the forms in which a secret may show: itself, and of a URL or connection
// string its passwords, each plain and as JSON and URLs escape it.
func secretsIn(text string) []string {
	found := forms(text)
	if u, err := url.Parse(text); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok {
			found = append(found, forms(password)...)
		}
	}
	for _, match := range namedPassword.FindAllStringSubmatch(text, -1) {
		password := match[1] + match[2] // one of them is empty
		found = append(found, forms(password)...)
		if plain, err := url.QueryUnescape(password); err == nil {
			found = append(found, forms(plain)...)
		}
	}
	return found
}

func forms(secret string) []string {
	found := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	var quoted strings.Builder
	encoder := json.NewEncoder(&quoted)
	for _, html := range []bool{true, false} {
		quoted.Reset()
		encoder.SetEscapeHTML(html)
		if encoder.Encode(secret) == nil {
			found = append(found, strings.Trim(quoted.String(), "\n")[1:quoted.Len()-2])
		}
	}
	return found
}

func (s *secretSet) clean(text string) string {
	if r := s.replacer.Load(); r != nil && text != "" {
		return r.Replace(text)
	}
	return text
}

// redact returns e without the secrets of opened configs.
func (s *server) redact(e *Error) *Error {
	clean := *e
	for _, text := range []*string{&clean.Message, &clean.Detail, &clean.Hint, &clean.Log} {
		*text = s.secrets.clean(*text)
	}
	if len(clean.Details) > 0 {
		clean.Details = json.RawMessage(s.secrets.clean(string(clean.Details)))
	}
	return &clean
}

// redactingWriter cleans what is written through it. A log line is one Write.
type redactingWriter struct {
	w       io.Writer
	secrets *secretSet
}

func (r *redactingWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(r.w, r.secrets.clean(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
