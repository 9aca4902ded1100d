package gateway

import (
	"testing"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// TestTarget: what the request says itself comes first, then its host name, then the caller's
// key.
func TestTarget(t *testing.T) {
	for _, test := range []struct {
		named, host, key, fallback string
		want                       string
	}{
		{"named", "host", "key", "default", "named"},
		{"", "host", "key", "default", "host"},
		{"", "", "key", "default", "key"},
		{"", "", "", "default", "default"},
		{"named", "", "", "", "named"},
		{"", "", "", "", ""},
	} {
		op := &Operation{Target: Target{Named: test.named, Host: test.host}, Principal: &auth.Principal{Client: test.key}}
		if test.key == "" {
			op.Principal = nil
		}
		got, err := op.target().client(test.fallback)
		if got != test.want || (got == "") != (err != nil) {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
		if err != nil && sdk.AsError(err).Reason != "missing_client_header" {
			t.Error(err)
		}
	}
}
