package gateway

import (
	"cmp"
	"encoding/json"

	"github.com/athena-gateway/athena/sdk"
)

// Target is how a request names its client. Each source of a name has a field, in the order
// of precedence; "": it names none.
type Target struct {
	Named string // the request itself, e.g. by X-Athena-Client
	Host  string // a public route, by the request's host name
	Key   string // the caller's API key, which is for one client alone

	// Lost is the error of a host name that leads nowhere. Without Named, Execute returns it to
	// who may know.
	Lost error
}

// client is the name that the first source gives, else fallback.
func (t *Target) client(fallback string) (string, error) {
	if t.Named == "" && t.Lost != nil {
		return "", t.Lost
	}
	if name := cmp.Or(t.Named, t.Host, t.Key, fallback); name != "" {
		return name, nil
	}
	e := sdk.E(sdk.Invalid, "missing_client_header", "Missing required header").
		WithHint("name a client in the X-Athena-Client header, or configure gateway.default_client")
	e.Detail = "X-Athena-Client header is required and cannot be empty"
	e.Details = json.RawMessage(`{"missing_header":"X-Athena-Client"}`)
	return "", e
}

// target is the operation's, with what its principal adds to it.
func (op *Operation) target() *Target {
	if op.Principal != nil {
		op.Target.Key = op.Principal.Client
	}
	return &op.Target
}
