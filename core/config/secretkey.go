package config

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// The variables of the keys that seal secrets in the ledger.
const (
	secretKeyVariable         = "ATHENA_SECRET_KEY"
	previousSecretKeyVariable = "ATHENA_SECRET_KEY_PREVIOUS"
	secretKeySize             = 32
)

// readSecretKeys takes the keys that seal secrets from the environment, as base64 or hex.
func (c *Config) readSecretKeys(env environ) error {
	for name, key := range map[string]*[]byte{secretKeyVariable: &c.Ledger.SecretKey, previousSecretKeyVariable: &c.Ledger.PreviousSecretKey} {
		text := strings.TrimSpace(env[name])
		if text == "" {
			continue
		}
		for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString, base64.URLEncoding.DecodeString} {
			if b, err := decode(text); err == nil && len(b) == secretKeySize {
				*key = b
			}
		}
		if *key == nil {
			return fmt.Errorf("%s is no key: set it to %d random bytes as base64 or hex, as `openssl rand -base64 %d` makes", name, secretKeySize, secretKeySize)
		}
	}
	if c.Ledger.PreviousSecretKey != nil && c.Ledger.SecretKey == nil {
		return fmt.Errorf("%s is set and %s is not: the new key is needed too", previousSecretKeyVariable, secretKeyVariable)
	}
	return nil
}
