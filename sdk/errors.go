package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Kind classifies an Error. It is decided where the fact is known and never guessed
// again. The numbers are part of the protocol and are only ever appended to.
type Kind uint8

// The kinds.
const (
	Internal Kind = iota
	Invalid
	Unauthenticated
	Forbidden
	NotFound
	Conflict
	RateLimited
	Unavailable
	Timeout
	Unsupported
	Canceled
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "forbidden", "not_found", "conflict",
	"rate_limited", "unavailable", "timeout", "unsupported", "canceled"}

// String is the kind's stable name in logs, metrics and JSON.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Source says who failed.
type Source uint8

// The sources.
const (
	FromPlugin     Source = iota
	FromDownstream        // the database said so
	FromHost
)

// Executed says whether a failed call may have had effects.
type Executed uint8

// Whether a failed call had effects.
const (
	ExecutedUnknown Executed = iota
	ExecutedNo
	ExecutedYes
)

// Error is the one error that crosses the plugin boundary. Message, Detail and Hint are
// public; Log is not. An Internal error that no database raised shows no text of its own
// to callers.
type Error struct {
	Kind     Kind
	Reason   string // stable symbol, e.g. "undefined_column"
	Source   Source
	Executed Executed
	Code     string // the backend's own code, e.g. a SQLSTATE

	Message, Detail, Hint string
	Details               json.RawMessage // e.g. the candidates of an ambiguity
	Log                   string

	Schema, Table, Column, Constraint string
	Position                          int           // 1-based character in the SQL text; 0: none
	RetryAfter                        time.Duration // 0: no advice; negative: another attempt will fare no better
	Statement                         int           // which statement of the call
}

// Error is the private text: for logs, not for callers.
func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Log != "" {
		s += " [" + e.Log + "]"
	}
	return s
}

// Reasons that the gateway acts on: after several of these in a row it stops asking the
// database for a moment.
const (
	ReasonConnectFailed = "connect_failed"     // no connection to the database could be made
	ReasonNotAccepting  = "cannot_connect_now" // it is starting up or shutting down
)

// E makes an Error that had no effects, as a check made before the database is asked knows.
func E(kind Kind, reason, message string) *Error {
	return &Error{Kind: kind, Reason: reason, Message: message, Executed: ExecutedNo}
}

// WithHint returns e with a hint.
func (e *Error) WithHint(hint string) *Error { e.Hint = hint; return e }

// AsError returns err as an *Error: itself, a context's end as Canceled or Timeout with
// unknown effects, anything else as Internal with its text in Log.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Timeout, Reason: "deadline_exceeded", Message: "the deadline passed before the answer"}
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Canceled, Reason: "canceled", Message: "the call was cancelled"}
	default:
		return &Error{Kind: Internal, Reason: "internal", Log: err.Error()}
	}
}
