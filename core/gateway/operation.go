// Package gateway is the data plane: it turns an Operation into a Result, whatever door
// the Operation came through. It knows no HTTP.
package gateway

import (
	"context"
	"time"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// Operation is a call to a backend plus who asks, which client, through which door and
// how. It holds no token.
type Operation struct {
	Door      string          // "gateway", "rest", "ws", ...
	Name      string          // fetch, insert, update, delete, query, count: for logs and metrics
	Target    Target          // how the request names its client
	Client    string          // the client's registered name, which Execute finds by Target
	Principal *auth.Principal // who asks; nil: nobody who is known
	Attempt   *auth.Attempt   // the request's, which learns what was decided; nil: Execute makes one
	Open      bool            // the door lets everybody do it
	Right     string          // of a key, does as well as the rights that the call takes; "": there is none
	RequestID string
	Trace     string // W3C traceparent
	Traced    bool   // the caller sent Trace

	// For the operation log.
	Started                time.Time // when the request had arrived; zero: now
	Method, Path           string    // of the request; the path as its route is written
	UserID, OrganizationID string    // as the caller claims
	Writes                 bool      // the door answers as one that may write; see httpx.Route

	// Call holds the statements, session and result options. Instance, Generation,
	// Deadline and ID are filled in on the way.
	Call sdk.Call

	entered bool // Execute was called
}

// Executor executes an Operation. Execute of this package is the one implementation;
// doors take the function so that their tests can stand in for it. The error is an
// *sdk.Error. The caller must Close the Result exactly once.
//
// The end of ctx cancels the call, also while its answer is read. cancel ends ctx: it is used
// when the answer does not begin in time. A door that wants to execute another operation
// after that gives each a context of its own; one that has a context per request need not.
type Executor func(ctx context.Context, cancel context.CancelCauseFunc, op *Operation) (*Result, error)

// keyID is the id of the API key that asks, "" if none does.
func (op *Operation) keyID() string {
	if op.Principal == nil {
		return ""
	}
	return op.Principal.ID
}
