package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

// A key is ath_PUBLIC.SECRET. The public part names it and may be shown; the secret is 32
// random bytes in base64url. Neither has a character that a header or a URL would change.
const (
	prefix       = "ath_"
	publicLength = 16
	secretLength = 43
	keyLength    = len(prefix) + publicLength + 1 + secretLength
)

// key is an API key in memory.
type key struct {
	Principal
	salt    string
	hash    [sha256.Size]byte
	expires time.Time // zero: never
	active  bool
}

// minted is a new key.
type minted struct{ text, public, salt, hash string }

func mint() minted {
	var random [10 + 32 + 16]byte
	rand.Read(random[:]) // never fails
	m := minted{
		public: strings.ToLower(base32.StdEncoding.EncodeToString(random[:10])),
		salt:   hex.EncodeToString(random[42:]),
	}
	secret := base64.RawURLEncoding.EncodeToString(random[10:42])
	m.text = prefix + m.public + "." + secret
	sum := digest(m.salt, []byte(secret))
	m.hash = hex.EncodeToString(sum[:])
	return m
}

// digest is SHA-256 of the salt's text and the secret. A slow hash would protect a secret
// that somebody chose; this one has 256 random bits, which no speed of trying exhausts.
func digest(salt string, secret []byte) [sha256.Size]byte {
	return sha256.Sum256(append(append(make([]byte, 0, 128), salt...), secret...))
}

// parse splits a text that has the form of a key.
func parse(text []byte) (public, secret []byte, ok bool) {
	if len(text) != keyLength || string(text[:len(prefix)]) != prefix || text[len(prefix)+publicLength] != '.' {
		return nil, nil, false
	}
	public, secret = text[len(prefix):len(prefix)+publicLength], text[len(prefix)+publicLength+1:]
	for _, c := range public {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return nil, nil, false
		}
	}
	for _, c := range secret {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return nil, nil, false
		}
	}
	return public, secret, true
}

// nobody stands in for a key that does not exist: its hash is of no secret.
var nobody = &key{salt: strings.Repeat("0", 32)}

// find looks a key up and compares the secret: one lookup, one hash and one comparison of
// all of it, whether the key exists or not and wherever the secret differs. named is the key
// of that public id, even when the secret is wrong.
func (s *state) find(public, secret []byte) (named *key, right bool) {
	named = s.keys[string(public)]
	candidate, exists := named, 1
	if named == nil {
		candidate, exists = nobody, 0
	}
	sum := digest(candidate.salt, secret)
	return named, subtle.ConstantTimeCompare(sum[:], candidate.hash[:])&exists == 1
}
