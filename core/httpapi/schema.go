package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// tableTypes are the words of information_schema and of the clients, which look for views by
// exactly these.
var tableTypes = map[sdk.SchemaKind]string{
	sdk.KindTable: "BASE TABLE", sdk.KindView: "VIEW", sdk.KindMaterializedView: "MATERIALIZED VIEW", sdk.KindForeignTable: "FOREIGN",
}

// tableInfo is a table of GET /schema/tables.
type tableInfo struct {
	Schema     string   `json:"table_schema"`
	Name       string   `json:"table_name"`
	Type       string   `json:"table_type"`
	Columns    int      `json:"column_count"`
	Key        []string `json:"primary_key"`
	Comment    *string  `json:"comment"`
	Insertable string   `json:"is_insertable_into"`
}

// columnInfo is a column of GET /schema/columns.
type columnInfo struct {
	Name      string   `json:"column_name"`
	Type      string   `json:"data_type"`
	Default   *string  `json:"column_default"`
	Nullable  string   `json:"is_nullable"`
	Position  int      `json:"ordinal_position"`
	Key       bool     `json:"primary_key"`
	Generated bool     `json:"is_generated"`
	Values    []string `json:"enum_values"`
	Comment   *string  `json:"comment"`
}

// introspect asks the client that the request means. The right to read rows is the right to
// know of the tables.
func (a *API) introspect(r *httpx.Request, q *request, ask sdk.IntrospectQuery) (*gateway.Introspection, error) {
	s, err := a.statement(r, q)
	if err != nil {
		return nil, err
	}
	s.Verb = sdk.Select
	ask.Reload = true // a table may have been made a moment ago, here or elsewhere
	return a.options.Introspect(r.Context(), &q.operation, ask)
}

// schemaTables lists the tables and views with which the client's user may do anything.
func (a *API) schemaTables(r *httpx.Request, q *request) (*httpx.Response, error) {
	var ask sdk.IntrospectQuery
	if schema := strings.TrimSpace(r.Query("table_schema")); schema != "" {
		if err := checkNames(map[string]string{"table_schema": schema}); err != nil {
			return nil, err
		}
		ask.Schemas = []string{schema}
	}
	found, err := a.introspect(r, q, ask)
	if err != nil {
		return nil, err
	}
	tables := []tableInfo{}
	for i := range found.Tables {
		t := &found.Tables[i]
		if len(t.Privileges) == 0 {
			continue
		}
		tables = append(tables, tableInfo{Schema: t.Schema, Name: t.Name, Type: tableTypes[t.Kind], Columns: len(t.Columns), Key: append([]string{}, t.Key...),
			Comment: orNull(t.Comment), Insertable: yes(t.Insertable && slices.Contains(t.Privileges, "insert"))})
	}
	found.Close(len(tables), nil)
	return adminapi.Success(200, quantity(len(tables), "table"), map[string]any{"tables": tables})
}

// schemaColumns lists the columns of a table in their order.
func (a *API) schemaColumns(r *httpx.Request, q *request) (*httpx.Response, error) {
	name, err := tableParameter(r)
	if err != nil {
		return nil, err
	}
	q.statements[0].Table = name
	found, err := a.introspect(r, q, sdk.IntrospectQuery{Tables: []sdk.Table{name}})
	if err != nil {
		return nil, err
	}
	if len(found.Tables) == 0 || len(found.Tables[0].Privileges) == 0 {
		err := undefinedTable(r.Context(), found, name)
		found.Close(0, err)
		return nil, err
	}
	t := &found.Tables[0]
	columns := []columnInfo{}
	for i := range t.Columns {
		c := &t.Columns[i]
		columns = append(columns, columnInfo{Name: c.Name, Type: c.Type, Default: orNull(c.Default), Nullable: yes(c.Nullable), Position: i + 1,
			Key: slices.Contains(t.Key, c.Name), Generated: c.Generated, Values: c.Values, Comment: orNull(c.Comment)})
	}
	found.Close(len(columns), nil)
	return adminapi.Success(200, quantity(len(columns), "column"), map[string]any{"columns": columns})
}

// tableParameter reads table_name, a name or schema.name, and table_schema.
func tableParameter(r *httpx.Request) (t sdk.Table, err error) {
	name, schema := strings.TrimSpace(r.Query("table_name")), strings.TrimSpace(r.Query("table_schema"))
	if err := checkNames(map[string]string{"table_name": name, "table_schema": schema}); err != nil {
		return t, err
	}
	wrong := ""
	if name == "" {
		wrong = "want the name of a table or view, as in /schema/columns?table_name=users"
	} else if t, err = ParseTable(name); err != nil {
		wrong = "want a name, or schema.name"
	} else if t.Schema != "" && schema != "" && t.Schema != schema {
		wrong = "names another schema than table_schema does: leave one of them out"
	}
	if wrong != "" {
		return t, adminapi.InvalidFields("invalid_query", "the query parameters have mistakes", map[string]string{"table_name": wrong})
	}
	t.Schema = cmp.Or(t.Schema, schema)
	return t, nil
}

// checkNames refuses what no database has for a name, by query parameter.
func checkNames(names map[string]string) error {
	wrong := map[string]string{}
	for parameter, name := range names {
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			wrong[parameter] = "want text in UTF-8, percent-encoded"
		}
	}
	return adminapi.InvalidFields("invalid_query", "the query parameters have mistakes", wrong)
}

// undefinedTable is the error for a table that is not there, or of which the client's user may
// see nothing. Its hint names the nearest that is.
func undefinedTable(ctx context.Context, found *gateway.Introspection, name sdk.Table) error {
	e := sdk.E(sdk.NotFound, "undefined_table", fmt.Sprintf("table %q does not exist", name.Name)).WithHint("GET /schema/tables lists them")
	if name.Schema != "" {
		e.Message = fmt.Sprintf("table %q does not exist in schema %q", name.Name, name.Schema)
	}
	e.Schema, e.Table = name.Schema, name.Name
	all, err := found.Again(ctx, sdk.IntrospectQuery{})
	if err != nil {
		return e // the hint is all that is missing
	}
	var near, elsewhere []string
	for _, t := range all.Tables {
		switch {
		case len(t.Privileges) == 0:
		case t.Name == name.Name:
			elsewhere = append(elsewhere, t.Schema)
		case name.Schema == "" || t.Schema == name.Schema:
			near = append(near, t.Name)
		}
	}
	slices.Sort(near) // the same hint every time
	if len(elsewhere) > 0 {
		e.Hint = fmt.Sprintf("schema %q has a table of that name: name the schema too", slices.Min(elsewhere))
	} else if name := sqlbuild.NearestName(name.Name, near); name != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", name)
	}
	return e
}

// migrationTable is the name under which tools keep what they have done to a schema. The one
// in migrationSchema counts before that of the search path.
const migrationTable, migrationSchema = "schema_migrations", "supabase_migrations"

// The columns in which tools keep a migration's name and time, the first that is there.
var (
	migrationNames = []string{"name", "filename", "description"}
	migrationTimes = []string{"applied_at", "inserted_at", "executed_at", "created_at", "run_at"}
)

// maxMigrations bounds the bytes of the list, which is held at once.
const maxMigrations = 16 << 20

// migrationInfo is a migration of GET /schema/migrations.
type migrationInfo struct {
	Version looseText `json:"version"`
	Name    looseText `json:"name"`
	Applied looseText `json:"applied_at"`
}

// schemaMigrations lists the migrations that a tool has noted in the database.
func (a *API) schemaMigrations(r *httpx.Request, q *request) (*httpx.Response, error) {
	found, err := a.introspect(r, q, sdk.IntrospectQuery{Tables: []sdk.Table{{Schema: migrationSchema, Name: migrationTable}, {Name: migrationTable}}})
	if err != nil {
		return nil, err
	}
	s := &q.statements[0]
	if !selectMigrations(s, found.Tables) {
		found.Close(0, nil)
		return adminapi.Success(200, "there is no table "+migrationTable+" that this client may read", map[string]any{"migrations": []migrationInfo{}})
	}
	result, err := a.options.Execute(r.Context(), r.Cancel(), &q.operation)
	if err != nil {
		return nil, err
	}
	list, err := readMigrations(result)
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, quantity(len(list), "migration"), map[string]any{"migrations": list})
}

// selectMigrations fills in a Select of the table that counts; false if there is none.
func selectMigrations(s *sdk.Statement, tables []sdk.SchemaTable) bool {
	for i := range tables {
		t := &tables[i]
		version := columnOf(t, []string{"version"})
		if version == "" || !slices.Contains(t.Privileges, "select") || s.Table.Schema == migrationSchema {
			continue
		}
		s.Table, s.Selection.Items = sdk.Table{Schema: t.Schema, Name: t.Name}, nil
		for _, item := range []struct{ column, alias string }{{version, "version"}, {columnOf(t, migrationNames), "name"}, {columnOf(t, migrationTimes), "applied_at"}} {
			if item.column != "" {
				s.Selection.Items = append(s.Selection.Items, sdk.Item{Column: sdk.Column{Name: item.column}, Alias: item.alias})
			}
		}
	}
	return s.Table.Name != ""
}

// columnOf is the first of names that the table has a column of; "": it has none.
func columnOf(t *sdk.SchemaTable, names []string) string {
	for _, name := range names {
		for i := range t.Columns {
			if strings.EqualFold(t.Columns[i].Name, name) {
				return t.Columns[i].Name
			}
		}
	}
	return ""
}

// readMigrations reads the rows, closes the result and orders by version.
func readMigrations(result *gateway.Result) (list []migrationInfo, err error) {
	defer func() { result.Close(err) }()
	body, err := readBody(result, maxMigrations, sdk.E(sdk.Invalid, "answer_too_large", "there are too many migrations to be listed").
		WithHint("read them by pages: POST /gateway/fetch"))
	if err != nil {
		return nil, err
	}
	list = []migrationInfo{}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b migrationInfo) int { return compareVersions(a.Version.String(), b.Version.String()) })
	return list, nil
}

// compareVersions orders whole numbers by their value, before all other texts.
func compareVersions(a, b string) int {
	number := func(s string) int {
		if s != "" && strings.Trim(s, "0123456789") == "" {
			return len(strings.TrimLeft(s, "0"))
		}
		return math.MaxInt
	}
	return cmp.Or(cmp.Compare(number(a), number(b)), strings.Compare(strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")), strings.Compare(a, b))
}

// looseText is a JSON scalar that is shown as text, or null: tools keep versions as texts or
// as numbers, and times in any form.
type looseText struct{ text *string }

func (l *looseText) String() string {
	if l.text == nil {
		return ""
	}
	return *l.text
}

// UnmarshalJSON makes it a json.Unmarshaler.
func (l *looseText) UnmarshalJSON(b []byte) error {
	text := string(b)
	if text == "null" {
		return nil
	}
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	l.text = &text
	return nil
}

// MarshalJSON makes it a json.Marshaler.
func (l looseText) MarshalJSON() ([]byte, error) { return json.Marshal(l.text) }

// orNull is a text, or null where there is none.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func yes(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// quantity is a number with what it counts, as in "2 tables".
func quantity(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}
