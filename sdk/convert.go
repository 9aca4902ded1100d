package sdk

import (
	"encoding/json"
	"time"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// What the unary services carry goes through the generated messages; the session's
// messages are encoded by wire.go.

func (c *Capabilities) toProto() *pluginpb.Capabilities {
	p := &pluginpb.Capabilities{
		Transactions: c.Transactions, Returning: c.Returning, Conflict: c.Conflict, Relations: c.Relations,
		JsonPaths: c.JSONPaths, Aggregates: c.Aggregates, Explain: c.Explain, Sessions: c.Sessions, Ping: c.Ping,
		Csv: c.CSV, Geojson: c.GeoJSON, Raw: c.Raw, SqlHeaders: c.SQLHeaders, Positions: c.Positions, Introspect: c.Introspect,
	}
	for _, verb := range c.Verbs {
		p.Verbs = append(p.Verbs, pluginpb.Verb(verb))
	}
	for _, operator := range c.Operators {
		p.Operators = append(p.Operators, string(operator))
	}
	return p
}

func capabilitiesFromProto(p *pluginpb.Capabilities) Capabilities {
	c := Capabilities{
		Transactions: p.GetTransactions(), Returning: p.GetReturning(), Conflict: p.GetConflict(), Relations: p.GetRelations(),
		JSONPaths: p.GetJsonPaths(), Aggregates: p.GetAggregates(), Explain: p.GetExplain(), Sessions: p.GetSessions(), Ping: p.GetPing(),
		CSV: p.GetCsv(), GeoJSON: p.GetGeojson(), Raw: p.GetRaw(), SQLHeaders: p.GetSqlHeaders(), Positions: p.GetPositions(), Introspect: p.GetIntrospect(),
	}
	for _, verb := range p.GetVerbs() {
		c.Verbs = append(c.Verbs, Verb(verb))
	}
	for _, operator := range p.GetOperators() {
		c.Operators = append(c.Operators, Operator(operator))
	}
	return c
}

func (e *Error) toProto() *pluginpb.Error {
	return &pluginpb.Error{
		Kind: pluginpb.Kind(e.Kind), Reason: e.Reason, Source: pluginpb.Source(e.Source), Executed: pluginpb.Executed(e.Executed),
		Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Details: e.Details, Log: e.Log,
		Schema: e.Schema, Table: e.Table, Column: e.Column, Constraint: e.Constraint,
		Position: int64(e.Position), RetryAfter: int64(e.RetryAfter), Statement: int64(e.Statement),
	}
}

func errorFromProto(p *pluginpb.Error) *Error {
	return &Error{
		Kind: Kind(p.Kind), Reason: p.Reason, Source: Source(p.Source), Executed: Executed(p.Executed),
		Code: p.Code, Message: p.Message, Detail: p.Detail, Hint: p.Hint, Details: json.RawMessage(p.Details), Log: p.Log,
		Schema: p.Schema, Table: p.Table, Column: p.Column, Constraint: p.Constraint,
		Position: int(p.Position), RetryAfter: time.Duration(p.RetryAfter), Statement: int(p.Statement),
	}
}
