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
		Distinct: c.Distinct, Quantifiers: c.Quantifiers, Totals: c.Totals, PageTokens: c.PageTokens, Defaults: c.Defaults,
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
		Distinct: p.GetDistinct(), Quantifiers: p.GetQuantifiers(), Totals: p.GetTotals(), PageTokens: p.GetPageTokens(), Defaults: p.GetDefaults(),
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

func (t Table) toProto() *pluginpb.Table { return &pluginpb.Table{Schema: t.Schema, Name: t.Name} }

func (t *SchemaTable) toProto() *pluginpb.SchemaTable {
	p := &pluginpb.SchemaTable{
		Schema: t.Schema, Name: t.Name, Kind: string(t.Kind), Columns: columnsToProto(t.Columns), Key: t.Key,
		Insertable: t.Insertable, Updatable: t.Updatable, Deletable: t.Deletable, Privileges: t.Privileges, Comment: t.Comment,
	}
	for _, key := range t.Unique {
		p.Unique = append(p.Unique, &pluginpb.SchemaKey{Columns: key})
	}
	for i := range t.Foreign {
		k := &t.Foreign[i]
		p.Foreign = append(p.Foreign, &pluginpb.SchemaForeignKey{
			Name: k.Name, Columns: k.Columns, Target: k.Target.toProto(), TargetColumns: k.TargetColumns, Unique: k.Unique,
		})
	}
	return p
}

func schemaTableFromProto(p *pluginpb.SchemaTable) SchemaTable {
	t := SchemaTable{
		Schema: p.Schema, Name: p.Name, Kind: SchemaKind(p.Kind), Columns: columnsFromProto(p.Columns), Key: p.Key,
		Insertable: p.Insertable, Updatable: p.Updatable, Deletable: p.Deletable, Privileges: p.Privileges, Comment: p.Comment,
	}
	for _, key := range p.Unique {
		t.Unique = append(t.Unique, key.Columns)
	}
	for _, k := range p.Foreign {
		t.Foreign = append(t.Foreign, SchemaForeignKey{
			Name: k.Name, Columns: k.Columns, Target: Table{Schema: k.Target.GetSchema(), Name: k.Target.GetName()},
			TargetColumns: k.TargetColumns, Unique: k.Unique,
		})
	}
	return t
}

func columnsToProto(columns []SchemaColumn) []*pluginpb.SchemaColumn {
	var list []*pluginpb.SchemaColumn
	for i := range columns {
		c := &columns[i]
		list = append(list, &pluginpb.SchemaColumn{
			Name: c.Name, Type: c.Type, Nullable: c.Nullable, HasDefault: c.HasDefault, Default: c.Default,
			Generated: c.Generated, Values: c.Values, Comment: c.Comment,
		})
	}
	return list
}

func columnsFromProto(columns []*pluginpb.SchemaColumn) []SchemaColumn {
	var list []SchemaColumn
	for _, c := range columns {
		list = append(list, SchemaColumn{
			Name: c.Name, Type: c.Type, Nullable: c.Nullable, HasDefault: c.HasDefault, Default: c.Default,
			Generated: c.Generated, Values: c.Values, Comment: c.Comment,
		})
	}
	return list
}

func (f *SchemaFunction) toProto() *pluginpb.SchemaFunction {
	r := &f.Returns
	p := &pluginpb.SchemaFunction{
		Schema: f.Schema, Name: f.Name, Volatile: f.Volatile, Comment: f.Comment,
		Returns: &pluginpb.SchemaReturns{Set: r.Set, Type: r.Type, Columns: columnsToProto(r.Columns), Table: r.Table.toProto(), Unknown: r.Unknown},
	}
	for _, param := range f.Params {
		p.Params = append(p.Params, &pluginpb.SchemaParam{Name: param.Name, Type: param.Type, Optional: param.Optional, Variadic: param.Variadic})
	}
	return p
}

func schemaFunctionFromProto(p *pluginpb.SchemaFunction) SchemaFunction {
	r := p.GetReturns()
	f := SchemaFunction{
		Schema: p.Schema, Name: p.Name, Volatile: p.Volatile, Comment: p.Comment,
		Returns: SchemaReturns{
			Set: r.GetSet(), Type: r.GetType(), Columns: columnsFromProto(r.GetColumns()),
			Table: Table{Schema: r.GetTable().GetSchema(), Name: r.GetTable().GetName()}, Unknown: r.GetUnknown(),
		},
	}
	for _, param := range p.Params {
		f.Params = append(f.Params, SchemaParam{Name: param.Name, Type: param.Type, Optional: param.Optional, Variadic: param.Variadic})
	}
	return f
}

func (t *SchemaType) toProto() *pluginpb.SchemaType {
	return &pluginpb.SchemaType{Schema: t.Schema, Name: t.Name, Kind: string(t.Kind), Values: t.Values, Base: t.Base, Comment: t.Comment}
}
