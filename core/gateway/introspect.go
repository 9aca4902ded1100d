package gateway

import (
	"context"
	"time"

	"github.com/athena-gateway/athena/core/registry"
	"github.com/athena-gateway/athena/sdk"
)

// Introspect is Execute for an operation that asks what its client's database holds. Its call
// has a Select of the table that is asked for, or of none, which says what rights it takes.
// The error is an *sdk.Error. The caller must end the Introspection exactly once.
func (g *Gateway) Introspect(ctx context.Context, op *Operation, q sdk.IntrospectQuery) (*Introspection, error) {
	asked := time.Now()
	if op.Started.IsZero() {
		op.Started = asked
	}
	i := &Introspection{gateway: g, op: op}
	client, err := g.resolve(op)
	if err != nil {
		i.outcome.client = g.registered(op.Client)
	} else {
		i.client, i.outcome.client, i.outcome.backend = client, op.Client, client.Backend()
		i.Schema, err = client.Introspect(ctx, q)
		i.outcome.waited = time.Since(asked)
	}
	if err != nil {
		e := sdk.AsError(err)
		i.Close(0, e)
		return nil, e
	}
	return i, nil
}

// Introspection is what a database holds. It is used by one goroutine and ends with Close, or
// with Execute of its operation.
type Introspection struct {
	*sdk.Schema
	gateway *Gateway
	op      *Operation
	client  *registry.Client
	outcome outcome
}

// Again asks a further question of the same database.
func (i *Introspection) Again(ctx context.Context, q sdk.IntrospectQuery) (*sdk.Schema, error) {
	asked := time.Now()
	schema, err := i.client.Introspect(ctx, q)
	i.outcome.waited += time.Since(asked)
	return schema, err
}

// Close ends the operation, which has answered with so many rows, or with err.
func (i *Introspection) Close(rows int, err error) {
	i.op.entered = true
	i.outcome.tail = &sdk.Tail{Rows: int64(rows)}
	if err != nil {
		i.outcome.tail, i.outcome.err = nil, sdk.AsError(err)
	}
	i.gateway.end(i.op, &i.outcome)
}
