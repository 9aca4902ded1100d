// Package gateway is the data plane: it turns an Operation into a Result, whatever door
// the Operation came through. It knows no HTTP.
package gateway

import (
	"context"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// Operation is a call to a backend plus who asks, which client, through which door and
// how. It holds no token.
type Operation struct {
	Door      string          // "gateway", "rest", "ws", ...
	Name      string          // fetch, insert, update, delete, query, count: for logs and metrics
	Client    string          // registered name; "": the principal's own, or the default
	Principal *auth.Principal // who asks; nil: nobody who is known
	Attempt   *auth.Attempt   // the request's, which learns what was decided; nil: Execute makes one
	RequestID string
	Trace     string // W3C traceparent

	// Call holds the statements, session and result options. Instance, Generation,
	// Deadline and ID are filled in on the way.
	Call sdk.Call
}

// Executor executes an Operation. Execute of this package is the one implementation;
// doors take the function so that their tests can stand in for it. The error is an
// *sdk.Error. The caller must Close the Result exactly once.
type Executor func(ctx context.Context, op *Operation) (*Result, error)
