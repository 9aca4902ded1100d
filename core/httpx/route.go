// Package httpx is the HTTP edge of the gateway: routes as data, the JSON envelope,
// request ids, streaming, compression, the watch for clients that leave, metrics and an
// orderly shutdown. It is the only owner of Fiber; nothing outside touches its types.
package httpx

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// Guard says who may call a route. The zero Guard is refused by New.
type Guard struct{ kind, right string }

// The guards.
var (
	Public = Guard{kind: "public"} // anybody
	Key    = Guard{kind: "key"}    // whoever has an API key, once keys are enforced
	Data   = Guard{kind: "data"}   // whom gateway.Execute lets use the client that the request means
	Own    = Guard{kind: "own"}    // the handler calls Request.Admit with the guard that the request takes
	Admin  = Guard{kind: "admin"}  // operators, who have the admin key
)

// Right is the guard of routes that need an API key with the named right, also while keys are
// not enforced.
func Right(name string) Guard { return Guard{kind: "right", right: name} }

// Name is the right's name, or "" for the other guards.
func (g Guard) Name() string { return g.right }

// String is the guard's name in messages.
func (g Guard) String() string {
	if g.right != "" {
		return g.kind + " " + g.right
	}
	return g.kind
}

// Handle answers a request. Its error becomes an error envelope by sdk.AsError; with an
// error the Response is ignored.
type Handle func(*Request) (*Response, error)

// Route is one method of one path. Paths are Fiber's: /a/:id has the parameter id.
type Route struct {
	Method  string
	Path    string
	Guard   Guard
	Summary string // one line for GET /router/registry
	// Operation names what the route does in error envelopes, as data.operation.
	Operation string
	// Writes says that the route may write: an error that leaves open whether it did is
	// then answered as 502 outcome_unknown, which must not be retried blindly.
	Writes bool
	Handle Handle
	// Refused, if set, is told of a request that did not reach Handle, by the guard or for
	// its form, with the error that answers it.
	Refused func(*Request, *sdk.Error)
}

// RegistryEntry is a path in GET /router/registry.
type RegistryEntry struct {
	Path    string   `json:"path"`
	Methods []string `json:"methods"`
	Summary string   `json:"summary"`
}

var parameter = regexp.MustCompile(`:(\w+)`)

// Registry lists routes by path, in their order. Parameters are as OpenAPI writes them: {name}.
func Registry(routes []Route) []RegistryEntry {
	entries := []RegistryEntry{}
	at := map[string]int{}
	for _, r := range routes {
		i, ok := at[r.Path]
		if !ok {
			i = len(entries)
			at[r.Path] = i
			entries = append(entries, RegistryEntry{Path: parameter.ReplaceAllString(r.Path, "{$1}"), Summary: r.Summary})
		}
		entries[i].Methods = append(entries[i].Methods, r.Method)
	}
	return entries
}

// methods are what a request may use; others are answered 405 before routing.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// checkRoutes refuses what would be a mistake of the programmer: a route without a
// guard, without a handler, or mounted twice.
func checkRoutes(routes []Route) error {
	seen := map[string]bool{}
	for _, r := range routes {
		name := r.Method + " " + r.Path
		switch {
		case r.Guard == Guard{} || r.Guard.kind == "right" && r.Guard.right == "":
			return fmt.Errorf("route %s has no guard: choose httpx.Public, Key, Data, Own, Admin or Right", name)
		case r.Handle == nil:
			return fmt.Errorf("route %s has no handler", name)
		case !strings.HasPrefix(r.Path, "/"):
			return fmt.Errorf("route %s must begin with /", name)
		case !slices.Contains(methods, r.Method):
			return fmt.Errorf("route %s has an unknown method", name)
		case seen[name]:
			return fmt.Errorf("route %s is mounted twice", name)
		}
		seen[name] = true
	}
	return nil
}
