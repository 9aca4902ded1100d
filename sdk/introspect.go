package sdk

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// Introspector is implemented by an Instance that can tell what its database holds.
type Introspector interface {
	Introspect(ctx context.Context, q IntrospectQuery) (*Schema, error)
}

// IntrospectQuery says what to tell of a database.
type IntrospectQuery struct {
	Schemas []string // none: all but the database's own
	// Tables leaves out all but these tables, and all functions and types. What does not
	// exist is left out too.
	Tables []Table
	Reload bool // look at the database first, not at what is remembered of it
}

// Schema is what a database holds, each list ordered by schema and name.
type Schema struct {
	Version   string // opaque; another one after a change
	Tables    []SchemaTable
	Functions []SchemaFunction
	Types     []SchemaType
}

// SchemaKind is the kind of a SchemaTable or a SchemaType.
type SchemaKind string

// The kinds.
const (
	KindTable            SchemaKind = "table" // also a partitioned one
	KindView             SchemaKind = "view"
	KindMaterializedView SchemaKind = "materialized_view"
	KindForeignTable     SchemaKind = "foreign_table"
	KindEnum             SchemaKind = "enum"
	KindDomain           SchemaKind = "domain"
)

// SchemaTable is a table or view.
type SchemaTable struct {
	Schema, Name string
	Kind         SchemaKind
	Columns      []SchemaColumn
	Key          []string   // the primary key's columns
	Unique       [][]string // further keys
	Foreign      []SchemaForeignKey
	// Insertable, Updatable and Deletable say what the table allows, Privileges what its
	// user may do: any of select, insert, update, delete.
	Insertable, Updatable, Deletable bool
	Privileges                       []string
	Comment                          string
}

// SchemaColumn is a column of a table or of a function's rows.
type SchemaColumn struct {
	Name, Type string
	Nullable   bool
	HasDefault bool
	Default    string // the expression; empty with HasDefault: a sequence of the column's own
	Generated  bool   // from other columns
	Values     []string
	Comment    string
}

// SchemaForeignKey is a foreign key of a table. A view has those of the tables that it
// shows.
type SchemaForeignKey struct {
	Name          string
	Columns       []string
	Target        Table
	TargetColumns []string
	Unique        bool // at most one row refers to a row of Target
}

// SchemaFunction is a function that can be called.
type SchemaFunction struct {
	Schema, Name string
	Params       []SchemaParam
	Returns      SchemaReturns
	Volatile     bool // may write
	Comment      string
}

// SchemaParam is a parameter of a function.
type SchemaParam struct {
	Name, Type string // Name may be empty
	Optional   bool
	Variadic   bool
}

// SchemaReturns is what a function returns: values of Type, or rows of Columns, of Table or
// not known beforehand, or with none of these nothing.
type SchemaReturns struct {
	Set     bool // any number
	Type    string
	Columns []SchemaColumn
	Table   Table
	Unknown bool
}

// SchemaType is an enum or a domain.
type SchemaType struct {
	Schema, Name string
	Kind         SchemaKind
	Values       []string // of an enum
	Base         string   // of a domain
	Comment      string
}

// batchBytes is how long a message of a schema becomes, but for a single table that is
// longer.
const batchBytes = 512 << 10

// Introspect is the service of plugin.proto.
func (s *server) Introspect(r *pluginpb.IntrospectRequest, stream grpc.ServerStreamingServer[pluginpb.SchemaBatch]) error {
	schema, err := s.introspect(stream.Context(), r)
	if err != nil {
		return stream.Send(&pluginpb.SchemaBatch{Error: s.redact(AsError(err)).toProto()})
	}
	return sendSchema(schema, stream.Send)
}

func (s *server) introspect(ctx context.Context, r *pluginpb.IntrospectRequest) (schema *Schema, err error) {
	s.mu.Lock()
	o := s.instances[instanceKey{r.Instance, r.Generation}]
	if o != nil {
		o.calls.Add(1)
	}
	s.mu.Unlock()
	if o == nil {
		return nil, errUnknownInstance()
	}
	defer o.calls.Done()
	introspector, ok := o.Instance.(Introspector)
	if !ok {
		return nil, unsupported("telling what the database holds")
	}
	q := IntrospectQuery{Schemas: r.Schemas, Reload: r.Reload}
	for _, t := range r.Tables {
		q.Tables = append(q.Tables, Table{Schema: t.Schema, Name: t.Name})
	}
	defer recoverTo(&err)
	return introspector.Introspect(ctx, q)
}

// sendSchema sends a schema in batches, at least one.
func sendSchema(schema *Schema, send func(*pluginpb.SchemaBatch) error) error {
	batch := &pluginpb.SchemaBatch{Version: schema.Version}
	size := 0
	next := func(m proto.Message) error { // makes room for m
		n := proto.Size(m)
		if size > 0 && size+n > batchBytes {
			if err := send(batch); err != nil {
				return err
			}
			batch, size = &pluginpb.SchemaBatch{Version: schema.Version}, 0
		}
		size += n
		return nil
	}
	for i := range schema.Tables {
		m := schema.Tables[i].toProto()
		if err := next(m); err != nil {
			return err
		}
		batch.Tables = append(batch.Tables, m)
	}
	for i := range schema.Functions {
		m := schema.Functions[i].toProto()
		if err := next(m); err != nil {
			return err
		}
		batch.Functions = append(batch.Functions, m)
	}
	for i := range schema.Types {
		m := schema.Types[i].toProto()
		if err := next(m); err != nil {
			return err
		}
		batch.Types = append(batch.Types, m)
	}
	return send(batch)
}

// Introspect asks what the instance's database holds.
func (r *Remote) Introspect(ctx context.Context, instance string, generation uint64, q IntrospectQuery) (*Schema, error) {
	request := &pluginpb.IntrospectRequest{Instance: instance, Generation: generation, Schemas: q.Schemas, Reload: q.Reload}
	for _, t := range q.Tables {
		request.Tables = append(request.Tables, t.toProto())
	}
	stream, err := r.backends[0].Introspect(ctx, request)
	if err != nil {
		return nil, lost(ctx, err, ExecutedNo)
	}
	schema := &Schema{}
	for {
		batch, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return schema, nil
		case err != nil:
			return nil, lost(ctx, err, ExecutedNo)
		case batch.Error != nil:
			return nil, r.answered(errorFromProto(batch.Error))
		}
		schema.Version = batch.Version
		for _, t := range batch.Tables {
			schema.Tables = append(schema.Tables, schemaTableFromProto(t))
		}
		for _, f := range batch.Functions {
			schema.Functions = append(schema.Functions, schemaFunctionFromProto(f))
		}
		for _, t := range batch.Types {
			schema.Types = append(schema.Types, SchemaType{
				Schema: t.Schema, Name: t.Name, Kind: SchemaKind(t.Kind), Values: t.Values, Base: t.Base, Comment: t.Comment,
			})
		}
	}
}
