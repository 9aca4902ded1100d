// Package resilience is the one owner of retries: it executes a call with a timeout for
// its head, retries what may be retried, and stops asking a database that does not answer.
package resilience

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/athena-gateway/athena/sdk"
)

// Policy is how calls of one client are executed.
type Policy struct {
	Timeout     time.Duration // until the head of the answer
	ReadRetries int           // further attempts after the first
	Backoff     time.Duration // before the first retry; doubles
}

// Prefetch is how many bytes of an answer are received before it is handed on. Until
// then a failed read can be executed again and an error can still choose its status.
const Prefetch = 1 << 20

// The breaker opens after this many failures in a row and asks again after breakerPause.
const (
	breakerFailures = 10
	breakerPause    = 2 * time.Second
)

// ExecuteFunc executes a call once.
type ExecuteFunc func(ctx context.Context, call *sdk.Call) (*sdk.Answer, error)

// Executor executes the calls of one client by a Policy.
type Executor struct {
	policy  Policy
	execute ExecuteFunc
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	onRetry func()
}

// New makes an Executor for the client of that name. onRetry is called before each retry.
func New(client string, policy Policy, execute ExecuteFunc, onRetry func()) *Executor {
	return &Executor{
		policy:  policy,
		execute: execute,
		onRetry: onRetry,
		breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name:         client,
			Timeout:      breakerPause,
			ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			IsSuccessful: func(err error) bool { return !databaseDown(err) },
		}),
	}
}

// databaseDown reports whether err says that no connection to the database can be made.
// A connection that broke says less: the next one may do. A plugin that is being started
// again, or a pool that is full, says nothing about the database.
func databaseDown(err error) bool {
	if err == nil {
		return false
	}
	reason := sdk.AsError(err).Reason
	return reason == sdk.ReasonConnectFailed || reason == sdk.ReasonNotAccepting
}

// Open reports whether calls are refused because the database does not answer.
func (x *Executor) Open() bool { return x.breaker.State() == gobreaker.StateOpen }

// Execute executes call and prefetches its first answer. cancel must end ctx; it is used
// when the head does not come in time. retries are the attempts after the first.
func (x *Executor) Execute(ctx context.Context, cancel context.CancelCauseFunc, call *sdk.Call) (answer *sdk.Answer, retries int, err error) {
	call.Deadline = time.Now().Add(x.policy.Timeout)
	timer := time.AfterFunc(x.policy.Timeout, func() { cancel(context.DeadlineExceeded) })
	for ; ; retries++ {
		answer, err := x.attempt(ctx, timer, call)
		if err == nil {
			return answer, retries, nil
		}
		if retries >= x.policy.ReadRetries || !retryable(err, call) || !x.pause(ctx, retries) {
			timer.Stop()
			return nil, retries, err
		}
		x.onRetry()
		timer.Reset(time.Until(call.Deadline))
	}
}

func (x *Executor) attempt(ctx context.Context, timer *time.Timer, call *sdk.Call) (*sdk.Answer, error) {
	done, err := x.breaker.Allow()
	if err != nil {
		return nil, &sdk.Error{Kind: sdk.Unavailable, Reason: "circuit_open", Source: sdk.FromHost, Executed: sdk.ExecutedNo,
			Message: "the database did not answer the last requests; it is asked again shortly", RetryAfter: breakerPause}
	}
	answer, err := x.execute(ctx, call)
	if err == nil {
		timer.Stop() // it is for the head
		if _, err = answer.Prefetch(Prefetch); err != nil {
			answer.Close()
		}
	}
	done(err)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// retryable reports whether a failed call may be executed again: it had no effects, or it
// cannot have any and nothing of its answer has been forwarded.
func retryable(err error, call *sdk.Call) bool {
	e := sdk.AsError(err)
	if e.Kind != sdk.Unavailable || e.Reason == "circuit_open" || e.Reason == "instance_closed" {
		return false // no second attempt here would fare better
	}
	return e.Executed == sdk.ExecutedNo || call.ReadOnly()
}

// pause waits before a retry: Backoff doubled per attempt, with jitter. It is false when
// ctx ended meanwhile.
func (x *Executor) pause(ctx context.Context, attempt int) bool {
	wait := x.policy.Backoff << attempt
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1)
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
