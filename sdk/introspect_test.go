package sdk

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/athena-gateway/athena/sdk/pluginpb"
)

// atlas is a backend that tells a schema, or whatever the query's first schema asks for.
type atlas struct {
	echo
	schema *Schema
	asked  *IntrospectQuery
}

func (a *atlas) Introspect(_ context.Context, q IntrospectQuery) (*Schema, error) {
	*a.asked = q
	switch {
	case len(q.Schemas) > 0 && q.Schemas[0] == "panic":
		panic("boom")
	case len(q.Schemas) > 0 && q.Schemas[0] == "fail":
		return nil, E(Unavailable, "closed_today", "the library is closed")
	}
	return a.schema, nil
}

func startAtlas(t *testing.T, schema *Schema) (remote *Remote, asked *IntrospectQuery) {
	t.Helper()
	asked = new(IntrospectQuery)
	p := Plugin{Name: "atlas", Version: "1", Backend: NewBackend(func(context.Context, echoConfig) (*atlas, error) {
		return &atlas{schema: schema, asked: asked}, nil
	})}
	remote, stop, err := InProcess(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	capabilities, err := remote.OpenInstance(t.Context(), "i", 1, []byte(`{}`))
	if err != nil || !capabilities.Introspect {
		t.Fatal(capabilities, err)
	}
	return remote, asked
}

func TestIntrospect(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	schema := &Schema{}
	fill(reflect.ValueOf(schema).Elem(), r, 0)
	remote, asked := startAtlas(t, schema)
	q := IntrospectQuery{Schemas: []string{"a", "b"}, Tables: []Table{{Schema: "a", Name: "t"}, {Name: "u"}}, Reload: true}
	got, err := remote.Introspect(t.Context(), "i", 1, q)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, schema) {
		t.Errorf("got\n%+v\nwant\n%+v", got, schema)
	}
	if !reflect.DeepEqual(*asked, q) {
		t.Errorf("asked %+v", *asked)
	}
}

func TestIntrospectErrors(t *testing.T) {
	remote, _ := startAtlas(t, &Schema{})
	for name, want := range map[string]struct {
		kind   Kind
		reason string
	}{"panic": {Internal, "panic"}, "fail": {Unavailable, "closed_today"}} {
		_, err := remote.Introspect(t.Context(), "i", 1, IntrospectQuery{Schemas: []string{name}})
		var e *Error
		if !errors.As(err, &e) || e.Kind != want.kind || e.Reason != want.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := remote.Introspect(t.Context(), "other", 1, IntrospectQuery{}); AsError(err).Reason != "unknown_instance" {
		t.Error(err)
	}
}

func TestNoIntrospection(t *testing.T) {
	if _, err := startEcho(t).Introspect(t.Context(), "i", 1, IntrospectQuery{}); AsError(err).Kind != Unsupported {
		t.Error(err)
	}
}

// TestSchemaBatches: a large schema comes in messages of less than a mebibyte.
func TestSchemaBatches(t *testing.T) {
	schema := &Schema{Version: "v"}
	for range 20 {
		schema.Tables = append(schema.Tables, SchemaTable{Name: "t", Comment: strings.Repeat("x", 100<<10)})
		schema.Functions = append(schema.Functions, SchemaFunction{Name: "f", Comment: strings.Repeat("x", 100<<10)})
	}
	var messages, tables, functions int
	err := sendSchema(schema, func(b *pluginpb.SchemaBatch) error {
		if n := proto.Size(b); n > 1<<20 || b.Version != "v" {
			t.Errorf("a message of %d bytes", n)
		}
		messages, tables, functions = messages+1, tables+len(b.Tables), functions+len(b.Functions)
		return nil
	})
	if err != nil || messages < 5 || tables != 20 || functions != 20 {
		t.Error(messages, tables, functions, err)
	}
}
