package registry

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Sealer keeps secrets in the ledger unreadable: AES-256-GCM under a key that is not there.
// A sealed text is bound to the client and column that it was sealed for, so that nobody who
// can write to the ledger can move it to another.
type Sealer struct {
	keys       []sealKey // the first one seals
	allowPlain bool
}

type sealKey struct {
	id   string // of sealed texts, so that keys can be told apart
	aead cipher.AEAD
}

// KeySize is how long a sealing key is, in bytes.
const KeySize = 32

// sealedPrefix begins every sealed text: sealed:v1:KEY_ID:BASE64.
const sealedPrefix = "sealed:v1:"

// NewSealer makes a Sealer. key seals and opens, previous opens what was sealed before key
// came; each is nil or KeySize bytes. allowPlain lets secrets be stored as they are while there
// is no key.
func NewSealer(key, previous []byte, allowPlain bool) (*Sealer, error) {
	s := &Sealer{allowPlain: allowPlain}
	if key == nil && previous != nil {
		return nil, errors.New("there is a previous sealing key and no current one")
	}
	for _, k := range [][]byte{key, previous} {
		if k == nil {
			continue
		}
		if len(k) != KeySize {
			return nil, fmt.Errorf("a sealing key has %d bytes", KeySize)
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("athena sealing key "), k...))
		s.keys = append(s.keys, sealKey{hex.EncodeToString(sum[:4]), aead})
	}
	return s, nil
}

var errCannotSeal = errors.New("the gateway has no key to seal it with: set the environment variable ATHENA_SECRET_KEY to 32 random bytes, " +
	"as `openssl rand -base64 32` makes, and start it again; or name a variable of its environment in pg_uri_env_var instead")

// seal returns what is stored of a text. secret says that it must not be stored as it is.
func (s *Sealer) seal(client, column, text string, secret bool) (string, error) {
	if s == nil || len(s.keys) == 0 {
		if secret && (s == nil || !s.allowPlain) {
			return "", errCannotSeal
		}
		return text, nil
	}
	k := s.keys[0]
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	sealed := k.aead.Seal(nonce, nonce, []byte(text), sealedFor(client, column))
	return sealedPrefix + k.id + ":" + base64.StdEncoding.EncodeToString(sealed), nil
}

// sealedFor is what a sealed text is bound to.
func sealedFor(client, column string) []byte {
	return []byte("athena_clients\x00" + column + "\x00" + client)
}

// open returns the text of what was stored. Its errors say what an operator can do.
func (s *Sealer) open(client, column, stored string) (string, error) {
	rest, sealed := strings.CutPrefix(stored, sealedPrefix)
	if !sealed {
		return stored, nil
	}
	id, coded, _ := strings.Cut(rest, ":")
	raw, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", fmt.Errorf("its sealed %s in the ledger is damaged: give it a new one", column)
	}
	var keys []sealKey
	if s != nil {
		keys = s.keys
	}
	at := slices.IndexFunc(keys, func(k sealKey) bool { return k.id == id })
	if at < 0 {
		return "", fmt.Errorf("its %s was sealed under another key (%.16s): set ATHENA_SECRET_KEY, or ATHENA_SECRET_KEY_PREVIOUS, to that key, or give it a new one", column, id)
	}
	k := keys[at]
	if len(raw) < k.aead.NonceSize() {
		return "", fmt.Errorf("its sealed %s in the ledger is damaged: give it a new one", column)
	}
	text, err := k.aead.Open(nil, raw[:k.aead.NonceSize()], raw[k.aead.NonceSize():], sealedFor(client, column))
	if err != nil {
		return "", fmt.Errorf("its sealed %s in the ledger was changed, or belongs to another client: give it a new one", column)
	}
	return string(text), nil
}

// stale reports whether a stored text should be sealed anew: it is not, or by an older key.
func (s *Sealer) stale(stored string) bool {
	if s == nil || len(s.keys) == 0 || stored == "" {
		return false
	}
	return !strings.HasPrefix(stored, sealedPrefix+s.keys[0].id+":")
}

// shownParameters of a connection URI tell nothing that is secret.
var shownParameters = []string{"sslmode", "application_name", "connect_timeout", "target_session_attrs", "host", "port", "dbname", "user", "search_path"}

var (
	variables  = regexp.MustCompile(`^(\$\{[A-Za-z_][A-Za-z0-9_]*\})+$`)
	withSpare  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*):-[^}]*\}`)
	anySpecial = regexp.MustCompile(`[\s'"]`)
)

// Redact is a connection URI to be shown: without its password, and of its parameters those
// that are no secrets. ${VAR} stays, without its default. What is no URI shows nothing.
func Redact(uri string) string {
	uri = withSpare.ReplaceAllString(uri, "$${$1}")
	if variables.MatchString(uri) {
		return uri
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || anySpecial.MatchString(uri) || strings.Contains(scheme, ":") {
		return "***"
	}
	before, query, _ := strings.Cut(rest, "?")
	at := strings.LastIndexByte(before, '@')
	if strings.Contains(query, "@") { // then the password may hold the question mark
		return scheme + "://***"
	}
	user, password, hasPassword := "", "", false
	if at >= 0 {
		user, password, hasPassword = strings.Cut(before[:at], ":")
	}
	shown := scheme + "://" + user
	if hasPassword {
		if !variables.MatchString(password) {
			password = "***"
		}
		shown += ":" + password
	}
	if at >= 0 {
		shown += "@"
	}
	end, _, _ := strings.Cut(before[at+1:], "#")
	shown += end
	query, _, _ = strings.Cut(query, "#")
	separator := "?"
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil && slices.Contains(shownParameters, plain) {
			shown += separator + name + "=" + value
			separator = "&"
		}
	}
	return shown
}
