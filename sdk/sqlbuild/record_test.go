package sqlbuild

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
)

// someTypes are types that a plugin may read; text and json are none, so that their values
// come as json.
var someTypes = map[string]ValueForm{"integer": ValueBinary, "boolean": ValueText + 3, "bigint": ValueBinary}

func TestRecordText(t *testing.T) {
	for _, c := range []struct {
		name      string
		statement sdk.Statement
		options   sdk.ResultOptions
		want      string
	}{
		{"to one", ordered(from("projects", item("id"), rel("client_id", item("id"), item("name")))), sdk.ResultOptions{},
			`SELECT "projects"."id", (SELECT ROW("_1"."_1", to_json("_1"."_2")) FROM (SELECT "_2"."id" AS "_1", "_2"."name" AS "_2" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`},
		{"to many", ordered(from("clients", hinted("client_id", rel("projects", item("id"))))), sdk.ResultOptions{},
			`SELECT (SELECT coalesce(array_agg(ROW("_1"."_1")), '{}') FROM (SELECT "_2"."id" AS "_1" FROM "public"."projects" AS "_2" WHERE "_2"."client_id" = "clients"."id") AS "_1") AS "projects" FROM "public"."clients"`},
		{"star", ordered(from("profiles", sdk.Item{Kind: sdk.ItemStar}, rel("users"))), sdk.ResultOptions{StripNulls: true},
			`SELECT "profiles"."user_id", "profiles"."bio", (SELECT ROW("_1"."_1", to_json("_1"."_2"), "_1"."_3") FROM (SELECT "_2"."id" AS "_1", "_2"."name" AS "_2", "_2"."boss_id" AS "_3" FROM "public"."users" AS "_2" WHERE "_2"."id" = "profiles"."user_id") AS "_1") AS "users" FROM "public"."profiles"`},
		{"text", ordered(from("projects", rel("client_id", item("vip")))), sdk.ResultOptions{},
			`SELECT (SELECT ROW("_1"."_1"::boolean::text) FROM (SELECT "_2"."vip" AS "_1" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`},
		{"CSV", ordered(from("projects", rel("client_id", item("id")))), sdk.ResultOptions{Format: sdk.FormatCSV},
			`SELECT (SELECT row_to_json("_1".*) FROM (SELECT "_2"."id" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`},
		{"distinct", distinct(ordered(from("projects", rel("client_id", item("id"))))), sdk.ResultOptions{},
			`SELECT DISTINCT (SELECT to_jsonb("_1".*) FROM (SELECT "_2"."id" FROM "public"."clients" AS "_2" WHERE "_2"."id" = "projects"."client_id") AS "_1") AS "client_id" FROM "public"."projects"`},
	} {
		q, err := Postgres.WithRecords(someTypes).Build(office("public"), &c.statement, &c.options)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, q.Text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestRecordShape(t *testing.T) {
	s := from("clients", sdk.Item{Kind: sdk.ItemStar}, hinted("client_id", rel("projects", item("backup_id"), as("the_b", rel("backup_id", agg("count", ""))))))
	q, err := Postgres.WithRecords(someTypes).Build(office("public"), &s, &sdk.ResultOptions{Naming: sdk.NamesCamel})
	if err != nil {
		t.Fatal(err)
	}
	inner := &Record{Fields: []RecordField{{Key: []byte(`"count":`), Form: ValueBinary}}}
	want := []*Record{nil, nil, nil, {Fields: []RecordField{{Key: []byte(`"backupId":`), Form: ValueBinary}, {Key: []byte(`"theB":`), Record: inner}}}}
	if diff := cmp.Diff(want, q.Records); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s = from("clients", item("id"))
	if q, err = Postgres.WithRecords(someTypes).Build(office("public"), &s, &sdk.ResultOptions{}); err != nil || q.Records != nil {
		t.Errorf("%v, %v", q.Records, err)
	}
}

// TestRecords: relations that come as records are the same as those that come as JSON.
func TestRecords(t *testing.T) {
	conn := connectOffice(t, officeSQL)
	found := 0
	for _, forms := range []map[string]ValueForm{{"integer": 1, "bigint": 1}, {"integer": 1, "text": 1, "boolean": 1, "json": 1, "bigint": 1}, {}} {
		for _, c := range embeddings {
			q, err := Postgres.WithRecords(forms).Build(office("public"), &c.statement, &c.options)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if q.Records != nil {
				found++
			}
			got := namedRows(t, conn, q, c.options.StripNulls)
			if diff := cmp.Diff(canonical(t, c.want), canonical(t, got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s\n%s", c.name, diff, q.Text)
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d statements have records", found)
	}
}

// namedRows is postgresJSON with the names of records, which the server does not know.
func namedRows(t *testing.T, conn *pgconn.PgConn, q *Query, strip bool) string {
	t.Helper()
	rows := []byte(postgresJSON(t, conn, q))
	if q.Records == nil {
		return string(rows)
	}
	description, err := conn.Prepare(context.Background(), "", q.Text, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(description.Fields) != len(q.Records) {
		t.Fatalf("%d columns, %d records in %s", len(description.Fields), len(q.Records), q.Text)
	}
	var all []map[string]json.RawMessage
	if err := json.Unmarshal(rows, &all); err != nil {
		t.Fatal(err)
	}
	for _, row := range all {
		for i, field := range description.Fields {
			if q.Records[i] != nil {
				row[field.Name] = namedFields(t, row[field.Name], q.Records[i], strip)
			}
		}
	}
	if rows, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	return string(rows)
}

// namedFields names the fields of a record, or of those of an array.
func namedFields(t *testing.T, value []byte, record *Record, strip bool) []byte {
	t.Helper()
	var elements []json.RawMessage
	if json.Unmarshal(value, &elements) == nil && elements != nil {
		for i := range elements {
			elements[i] = namedFields(t, elements[i], record, strip)
		}
		b, err := json.Marshal(elements)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		t.Fatal(err)
	}
	if fields == nil {
		return value
	}
	b := []byte{'{'}
	for i, f := range record.Fields {
		field := []byte(fields[fmt.Sprintf("f%d", i+1)])
		if f.Record != nil {
			field = namedFields(t, field, f.Record, strip)
		}
		if strip && string(bytes.TrimSpace(field)) == "null" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, f.Key...), field...)
	}
	return append(b, '}')
}
