package sdk

import (
	"context"
	"encoding/json"
)

// Plugin is what one plugin process serves. Name must equal the name of its file.
type Plugin struct {
	Name, Version string
	Backend       *Backend
}

// Instance is one opened client of a backend. Its methods are called concurrently.
type Instance interface {
	// Execute runs call's statements in order and writes each one's answer to rows,
	// with rows.NextStatement between them. It returns an *Error for whatever it can
	// classify. When ctx ends it stops the work on the server too.
	//
	// A write's rows are held back with rows.Hold until they are committed.
	Execute(ctx context.Context, call *Call, rows *Rows) error
	// Close frees everything. No call is under way and none follows.
	Close() error
}

// Pinger is implemented by an Instance that can tell whether its database answers.
type Pinger interface {
	Ping(ctx context.Context) error
}

// Capabilities say what a backend can do. Of what they name the SDK answers Unsupported
// to what is not declared, before the backend sees it; the rest of the model a backend
// carries or refuses itself.
type Capabilities struct {
	Verbs        []Verb
	Operators    []Operator
	Transactions bool // several statements per call, Tx, Expect
	Returning    bool // writes can answer with rows
	Conflict     bool // Insert with Conflict
	Relations    bool // select trees with relations
	JSONPaths    bool
	Aggregates   bool // and time buckets
	Distinct     bool
	Quantifiers  bool // Filter.Quantifier
	Totals       bool // Statement.Count, beside Select and as the mode of the verb Count
	PageTokens   bool
	Defaults     bool // SetItem.Default
	Explain      bool
	Sessions     bool // role, settings, search path, time zone
	CSV          bool // Insert of CSV
	GeoJSON      bool // FormatGeoJSON
	Raw          bool // FormatRaw
	SQLHeaders   bool // ResultOptions.SQLHeaders
	Positions    bool // Call.MinPosition, Tail.Position
	Ping         bool // set by the SDK from the instance's type
	Introspect   bool // likewise
}

// Backend opens instances of one kind of database. Make it with NewBackend.
type Backend struct {
	open         func(ctx context.Context, config json.RawMessage) (Instance, error)
	capabilities Capabilities
	schema       json.RawMessage
	secrets      []string
}

// NewBackend makes a Backend from a function that opens an instance for a config. C is
// a struct whose json and athena tags become the JSON Schema that a config is checked
// against before open is called; see ConfigSchema. Abilities that are optional
// interfaces are read from I. Without capabilities the backend can only Select.
func NewBackend[C any, I Instance](open func(ctx context.Context, config C) (I, error), capabilities ...Capabilities) *Backend {
	caps := Capabilities{Verbs: []Verb{Select}}
	if len(capabilities) > 0 {
		caps = capabilities[0]
	}
	var zero I
	_, caps.Ping = any(zero).(Pinger)
	_, caps.Introspect = any(zero).(Introspector)
	schema, secrets := ConfigSchema[C]()
	return &Backend{
		capabilities: caps,
		schema:       schema,
		secrets:      secrets,
		open: func(ctx context.Context, raw json.RawMessage) (Instance, error) {
			config, err := decodeConfig[C](raw)
			if err != nil {
				return nil, err
			}
			instance, err := open(ctx, config)
			if err != nil {
				return nil, err
			}
			return instance, nil
		},
	}
}

// Manifest is what a plugin says of itself.
type Manifest struct {
	Name, Version string
	SDK           string // version of the protocol's features, for diagnostics
	Capabilities  Capabilities
	ConfigSchema  json.RawMessage
}
