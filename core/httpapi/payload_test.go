package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

var update = flag.Bool("update", false, "write the golden files")

// show renders what is set in v, one line, in the order of the fields.
func show(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Struct:
		if value, ok := v.Interface().(sdk.Value); ok {
			return [...]string{"untyped", "null", "bool", "number", "string", "json", "bytes"}[value.Hint] + " " + fmt.Sprintf("%q", value.Text)
		}
		var fields []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				fields = append(fields, v.Type().Field(i).Name+":"+show(v.Field(i)))
			}
		}
		return "{" + strings.Join(fields, " ") + "}"
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return "`" + string(b) + "`"
		}
		var items []string
		for i := range v.Len() {
			items = append(items, show(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Pointer:
		return show(v.Elem())
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}

// TestRecorded sends what the real clients were seen to send and compares the statements
// with those in the golden file.
func TestRecorded(t *testing.T) {
	s := serve(t)
	requests, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for line := range strings.Lines(string(requests)) {
		method, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		path, body, _ := strings.Cut(rest, " ")
		status, answer := s.call(t, method, path, body)
		fmt.Fprintf(&got, "%s", line)
		if status != 200 {
			var e struct{ Code, Message string }
			if err := json.Unmarshal([]byte(answer), &e); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "  %d %s: %s\n", status, e.Code, e.Message)
			continue
		}
		op := <-s.calls
		if !op.Call.Result.NoColumns {
			t.Errorf("%s asks for the names of columns, which it does not use", line)
		}
		op.Call.Result.NoColumns = false // the same everywhere
		fmt.Fprintf(&got, "  %s on %s, %s %s\n", op.Name, op.Target.Named, show(reflect.ValueOf(op.Call.Result)), show(reflect.ValueOf(op.Call.Statements[0])))
	}
	const golden = "testdata/recorded.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
}

// fills decode a body for each operation.
var fills = map[string]func(*payload, *sdk.Statement) error{
	"fetch": (*payload).selectStatement, "insert": (*payload).insertStatement,
	"update": (*payload).updateStatement, "delete": (*payload).deleteStatement,
}

func decode(operation, body string) (s sdk.Statement, err error) {
	var p payload
	if err := p.decode([]byte(body)); err != nil {
		return s, err
	}
	err = fills[operation](&p, &s)
	return s, err
}

func TestStatements(t *testing.T) {
	for _, c := range []struct{ operation, body, want string }{
		{"fetch", `{"table_name":"a.b","columns":" x , y:z, b.c , a.b.d AS e ,*"}`,
			`{Verb:select Table:{Schema:"a" Name:"b"} Selection:{Items:[{Column:{Name:"x"}}, {Column:{Name:"z"} Alias:"y"}, {Column:{Name:"c"}}, {Column:{Name:"d"} Alias:"e"}, {Kind:1}]}}`},
		// A column may say the schema that the table's name does not.
		{"fetch", `{"table_name":"b","columns":"a.b.x,b.y","conditions":[{"operator":"eq","column":"a.b.n","value":1}],"sort_by":{"field":"a.b.x"}}`,
			`{Verb:select Table:{Schema:"a" Name:"b"} Selection:{Items:[{Column:{Name:"x"}}, {Column:{Name:"y"}}]} Filter:{Column:{Name:"n"} Operator:"eq" Values:[number "1"] Compare:1} Order:[{Column:{Name:"x"}}]}`},
		{"fetch", `{"table_name":"b","columns":["a.b.x","c.b.y","a.c.z","b(b.x, a.b.y)"]}`,
			`{Verb:select Table:{Schema:"a" Name:"b"} Selection:{Items:[{Column:{Name:"x"}}, {Column:{Name:"c.b.y"}}, {Column:{Name:"a.c.z"}}, ` +
				`{Kind:2 Relation:{Target:"b" Schema:"a" Selection:{Items:[{Column:{Name:"x"}}, {Column:{Name:"y"}}]}}}]}}`},
		{"insert", `{"table_name":"b","insert_body":{},"columns":"a.b.x"}`,
			"{Verb:insert Table:{Schema:\"a\" Name:\"b\"} Selection:{Items:[{Column:{Name:\"x\"}}]} Rows:{Payload:`{}` MissingDefault:true} Returning:2}"},
		{"delete", `{"table_name":"b","conditions":[{"operator":"eq","column":"a.b.n","value":1}]}`,
			`{Verb:delete Table:{Schema:"a" Name:"b"} Filter:{Column:{Name:"n"} Operator:"eq" Values:[number "1"] Compare:1}}`},
		{"fetch", `{"table_name":"b","count":"planned"}`, `{Verb:select Table:{Name:"b"} Count:2}`},
		{"fetch", `{"table_name":"b","count":"estimated","head":true}`, `{Verb:count Table:{Name:"b"} Count:3}`},
		{"fetch", `{"table_name":"b","schema_name":"a","columns":[]}`, `{Verb:select Table:{Schema:"a" Name:"b"}}`},
		{"fetch", `{"table_name":"b","limit":"10","current_page":3,"sortBy":{"field":"b.n","direction":"DESC"}}`,
			`{Verb:select Table:{Name:"b"} Order:[{Column:{Name:"n"} Descending:true}] Limit:10 Offset:20}`},
		{"fetch", `{"table_name":"b","page_size":5,"current_page":2,"offset":1,"limit":null,"where":{},"group_by":null}`, `{Verb:select Table:{Name:"b"} Limit:5 Offset:1}`},
		{"fetch", `{"table_name":"b","conditions":[{"column":"b.n","operator":"neq","value":null},{"operator":"neq","column":"m","value":[1]},{"operator":"eq","column":"o","value":["a",null]},{"operator":"gt","column":"p","value":12345678901234567890.10}]}`,
			`{Verb:select Table:{Name:"b"} Filter:{Kind:1 Children:[{Column:{Name:"n"} Operator:"is" Values:[string "not_null"] Compare:1}, ` +
				`{Kind:3 Children:[{Column:{Name:"m"} Operator:"in" Values:[number "1"] Compare:1}]}, ` +
				`{Column:{Name:"o"} Operator:"in" Values:[string "a", null ""] Compare:1}, {Column:{Name:"p"} Operator:"gt" Values:[number "12345678901234567890.10"] Compare:1}]}}`},
		{"fetch", `{"table_name":"b","conditions":[{"column":"n","eq_column":"x","value":1,"eq_value":2,"operator":"eq","eq_column_cast":"UUID"},{"operator":"is","column":"m","value":"NULL"},{"operator":"contains","column":"j","value":{"a": [1]}}]}`,
			`{Verb:select Table:{Name:"b"} Filter:{Kind:1 Children:[{Column:{Name:"n"} Operator:"eq" Values:[number "1"] ColumnCast:"uuid" Compare:1}, ` +
				`{Column:{Name:"m"} Operator:"is" Values:[null ""] Compare:1}, {Column:{Name:"j"} Operator:"cs" Values:[json "{\"a\": [1]}"] Compare:1}]}}`},
		{"insert", `{"insert_body":[{"a":1,"b":2},{"b":1,"c":{"a":[]}},{"\u0061":1,"c":2},{"\\u0061":3}],"table_name":"t","default_to_null":true}`,
			"{Verb:insert Table:{Name:\"t\"} Rows:{Payload:`[{\"a\":1,\"b\":2},{\"b\":1,\"c\":{\"a\":[]}},{\"\\u0061\":1,\"c\":2},{\"\\\\u0061\":3}]` Columns:[\"a\", \"b\", \"c\", \"\\\\u0061\"]} Returning:2}"},
		{"insert", `{"insert_body":{},"table_name":"t","on_conflict":"a , b","update_body":{ }}`,
			"{Verb:insert Table:{Name:\"t\"} Rows:{Payload:`{}` MissingDefault:true} Conflict:{Columns:[\"a\", \"b\"]} Returning:2}"},
		{"insert", `{"insert_body":{"a":1},"table_name":"t","update_body":{"a":2}}`,
			"{Verb:insert Table:{Name:\"t\"} Rows:{Payload:`{\"a\":1}` Columns:[\"a\"] MissingDefault:true} Conflict:{Update:true SetObject:`{\"a\":2}`} Returning:2}"},
		{"delete", `{"table_name":"t","resource_id":12,"conditions":[{"operator":"eq","column":"x","value":true}],"limit":1}`,
			`{Verb:delete Table:{Name:"t"} Filter:{Column:{Name:"x"} Operator:"eq" Values:[bool "true"] Compare:1} Limit:1 Key:[number "12"]}`},
		{"delete", `{"t\u0061ble_name":"t","resource_id":1,"c\u006fnditions":[{"oper\u0061tor":"gt","col\u0075mn":"x","value":5}]}`,
			`{Verb:delete Table:{Name:"t"} Filter:{Column:{Name:"x"} Operator:"gt" Values:[number "5"] Compare:1} Key:[number "1"]}`},
		// Only an equality on id makes resource_id redundant.
		{"delete", `{"table_name":"t","resource_id":"7","conditions":[{"operator":"neq","column":"id","value":5}]}`,
			`{Verb:delete Table:{Name:"t"} Filter:{Column:{Name:"id"} Operator:"neq" Values:[number "5"] Compare:1} Key:[string "7"]}`},
	} {
		s, err := decode(c.operation, c.body)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		if d := cmp.Diff(c.want, show(reflect.ValueOf(s))); d != "" {
			t.Errorf("%s: %s", c.body, d)
		}
	}
}

func TestRelations(t *testing.T) {
	for _, c := range []struct{ columns, want string }{
		{"id,from:sender_id(name)", `[{Column:{Name:"id"}}, {Kind:2 Alias:"from" Relation:{Target:"sender_id" Selection:{Items:[{Column:{Name:"name"}}]}}}]`},
		{"*, items ( * ) ,name", `[{Kind:1}, {Kind:2 Relation:{Target:"items"}}, {Column:{Name:"name"}}]`},
		{"users:athena.users!created_by(users.id, athena.users.name as who)", `[{Kind:2 Alias:"users" Relation:{Target:"users" Schema:"athena" Hint:"created_by" ` +
			`Selection:{Items:[{Column:{Name:"id"}}, {Column:{Name:"name"} Alias:"who"}]}}}]`},
		{"a(b(c),d),\n e", `[{Kind:2 Relation:{Target:"a" Selection:{Items:[{Kind:2 Relation:{Target:"b" Selection:{Items:[{Column:{Name:"c"}}]}}}, {Column:{Name:"d"}}]}}}, {Column:{Name:"e"}}]`},
	} {
		items, err := new(columnReader).read(nil, c.columns)
		if err != nil {
			t.Errorf("%s: %v", c.columns, err)
			continue
		}
		if d := cmp.Diff(c.want, show(reflect.ValueOf(items))); d != "" {
			t.Errorf("%s: %s", c.columns, d)
		}
	}
}

func TestRefusedPayloads(t *testing.T) {
	for _, c := range []struct{ operation, body, reason, message string }{
		{"fetch", `{}`, "missing_table_name", ""},
		{"fetch", `{"table_name":" "}`, "missing_table_name", ""},
		{"fetch", `{"table_name":5}`, "invalid_field", "table_name must be a string, not a number"},
		{"fetch", `{"table_name":"a.b.c"}`, "invalid_table_name", ""},
		{"fetch", `{"table_name":".b"}`, "invalid_table_name", ""},
		{"fetch", `{"table_name":"a."}`, "invalid_table_name", ""},
		{"fetch", `{"table_name":"a.b","schema_name":"a"}`, "invalid_table_name", ""},
		{"fetch", `{"table_name":"a\u0000"}`, "invalid_table_name", ""},
		{"fetch", `{"table_name":"t","columns":"id,sender(name"}`, "invalid_columns", "do not match"},
		{"fetch", `{"table_name":"t","columns":"id)"}`, "invalid_columns", "do not match"},
		{"fetch", `{"table_name":"t","columns":"sender()"}`, "invalid_columns", `the relation "sender" names no columns`},
		{"fetch", `{"table_name":"t","columns":"(name)"}`, "invalid_columns", "is no relation"},
		{"fetch", `{"table_name":"t","columns":"a.b.c(name)"}`, "invalid_columns", "is no relation"},
		{"fetch", `{"table_name":"t","columns":".b(name)"}`, "invalid_columns", "is no relation"},
		{"fetch", `{"table_name":"t","columns":"b!h!i(name)"}`, "invalid_columns", "is no relation"},
		{"fetch", `{"table_name":"t","columns":"concat(a, b) as c"}`, "invalid_columns", "nothing may follow"},
		{"fetch", `{"table_name":"t","columns":"` + strings.Repeat("a(", 70) + "b" + strings.Repeat(")", 70) + `"}`, "invalid_columns", "deeper"},
		{"fetch", `{"table_name":"t","columns":"a,,b"}`, "invalid_columns", ""},
		{"fetch", `{"table_name":"t","columns":["a",""]}`, "invalid_columns", ""},
		{"fetch", `{"table_name":"t","columns":"a::text"}`, "invalid_columns", "casts"},
		{"fetch", `{"table_name":"t","columns":5}`, "invalid_field", "columns must be a string"},
		{"fetch", `{"table_name":"t","columns":[5]}`, "invalid_field", "an entry of columns must be a string, not a number"},
		{"fetch", `{"table_name":"t","conditions":{}}`, "invalid_field", "conditions must be an array of conditions, not an object"},
		{"fetch", `{"table_name":"t","conditions":[5]}`, "invalid_field", "condition 1: a condition must be an object"},
		{"fetch", `{"table_name":"t","conditions":[{"eq_column":"a","eq_value":1},{"operator":"eq","column":5,"value":1}]}`, "invalid_field", "condition 2: column must be a string"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"eq","column":"a"}]}`, "invalid_condition", "condition 1: it has no value"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"eq","value":1}]}`, "invalid_condition", "no column"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"equals","column":"a","value":1}]}`, "unknown_operator", `"equals"`},
		{"fetch", `{"table_name":"t","conditions":[{"column":"a","value":1}]}`, "unknown_operator", ""},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"in","column":"a","value":1}]}`, "invalid_condition", "in takes an array"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"gt","column":"a","value":[1]}]}`, "invalid_condition", "single value"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"is","column":"a","value":"maybe"}]}`, "invalid_condition", `"maybe"`},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"eq","column":"a","value":1,"value_cast":"regclass"}]}`, "unsupported_cast", `"regclass"`},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"or","value":["a.eq.1"]}]}`, "invalid_condition", "expression"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"or","value":"a.eq"}]}`, "invalid_expression", `or expression "a.eq"`},
		{"fetch", `{"table_name":"t","limit":-1}`, "invalid_limit", ""},
		{"fetch", `{"table_name":"t","limit":1.5}`, "invalid_limit", ""},
		{"fetch", `{"table_name":"t","offset":"many"}`, "invalid_offset", ""},
		{"fetch", `{"table_name":"t","current_page":0,"page_size":5}`, "invalid_current_page", ""},
		{"fetch", `{"table_name":"t","current_page":2}`, "invalid_current_page", ""},
		{"fetch", `{"table_name":"t","current_page":9223372036854775807,"page_size":9223372036854775807}`, "invalid_current_page", ""},
		{"fetch", `{"table_name":"t","sort_by":"id"}`, "invalid_field", "sort_by must be an object"},
		{"fetch", `{"table_name":"t","sort_by":{"direction":"asc"}}`, "invalid_sort_by", ""},
		{"fetch", `{"table_name":"t","sort_by":{"field":"a","direction":"up"}}`, "invalid_sort_by", `"up"`},
		{"fetch", `{"table_name":"t","count":"all"}`, "invalid_count", ""},
		{"fetch", `{"table_name":"t","head":"yes"}`, "invalid_field", "head must be true or false"},
		{"fetch", `{"table_name":"t","strip_nulls":1}`, "invalid_field", ""},
		{"fetch", `{"table_name":"t","select":{"id":true}}`, "unsupported_select", ""},
		{"fetch", `{"table_name":"t","where":{"a":{"eq":1}}}`, "unsupported_where", ""},
		{"fetch", `{"table_name":"t","orderBy":{"a":"asc"}}`, "unsupported_orderby", ""},
		{"fetch", `{"table_name":"t","group_by":"a"}`, "unsupported_group_by", ""},
		{"update", `{"table_name":"t","update_body":{"a":1},"conditions":[{"eq_column":"a","eq_value":1}],"where":{"b":{"eq":1}}}`, "unsupported_where", ""},
		{"insert", `{"table_name":"t"}`, "missing_insert_body", ""},
		{"insert", `{"table_name":"t","insert_body":null}`, "missing_insert_body", ""},
		{"insert", `{"table_name":"t","insert_body":[]}`, "empty_insert_body", ""},
		{"insert", `{"table_name":"t","insert_body":"x"}`, "invalid_field", "insert_body must be an object or an array of objects, not a string"},
		{"insert", `{"table_name":"t","insert_body":[{"a":1},[]]}`, "invalid_insert_body", "row 2"},
		{"insert", `{"table_name":"t","insert_body":[{"a":1},{"a":}]}`, "invalid_json", "byte 46"},
		{"update", `{"table_name":"t","update_body":{"a":1}}`, "missing_conditions", ""},
		{"update", `{"table_name":"t","update_body":{"a":1},"conditions":[]}`, "missing_conditions", ""},
		{"update", `{"table_name":"t","resource_id":"1"}`, "missing_update_body", ""},
		{"update", `{"table_name":"t","resource_id":"1","update_body":{ }}`, "missing_update_body", ""},
		{"update", `{"table_name":"t","resource_id":"1","update_body":[]}`, "invalid_field", "update_body must be an object, not an array"},
		{"delete", `{"table_name":"t","resource_id":""}`, "missing_conditions", ""},
		{"delete", `{"table_name":"t","resource_id":true}`, "invalid_field", "resource_id must be a string or number"},
		{"fetch", "{\"table_name\":\"t\xff\"}", "invalid_json", "UTF-8"},
		{"fetch", `{"table_name":"t"}{}`, "invalid_json", "byte 18"},
		{"fetch", `nope`, "invalid_json", ""},
		{"fetch", `"x"`, "invalid_body", ""},
		{"fetch", "\x00", "invalid_json", ""},
	} {
		_, err := decode(c.operation, c.body)
		e, ok := err.(*sdk.Error)
		if !ok || e.Kind != sdk.Invalid || e.Reason != c.reason || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s %s: %v, want %s (%s)", c.operation, c.body, err, c.reason, c.message)
		}
	}
}

// TestLargePayloads wants bodies refused that would take far more memory than they are long.
func TestLargePayloads(t *testing.T) {
	const large, bound = 400_000, 100 << 20
	many := func(entry string) string { return strings.Repeat(entry+",", large/len(entry)) + entry }
	for _, c := range []struct{ operation, body, reason string }{
		{"fetch", `{"table_name":"t","columns":"` + many("a") + `"}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":"` + many("a(b,c)") + `"}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":"` + many(strings.Repeat("a(", 60)+"b"+strings.Repeat(")", 60)) + `"}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":"` + strings.Repeat("a(", 60) + many("b") + strings.Repeat(")", 60) + `"}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":[` + many(`"a"`) + `]}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":[` + many(`"a(`+strings.Repeat("b,", 1000)+`b)"`) + `]}`, "too_many_columns"},
		{"fetch", `{"table_name":"t","columns":"` + strings.Repeat("a ", 8<<20) + `,,"}`, "invalid_columns"},
		{"fetch", `{"table_name":"t","conditions":[` + strings.Repeat(many(`{"eq_column":"a","eq_value":1}`)+",", 9) + `{}]}`, "too_many_conditions"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"in","column":"a","value":[` + many("1") + `]}]}`, "too_many_conditions"},
		{"fetch", `{"table_name":"t","conditions":[` + many(`{"operator":"in","column":"a","value":[`+strings.Repeat("1,", 50_000)+`1]}`) + `]}`, "too_many_conditions"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"not","value":"` + strings.Repeat("a.eq.1,", large/3) + `a.eq.1"}]}`, "too_many_conditions"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"or","value":"a.in.(` + many("1") + `)"}]}`, "too_many_conditions"},
		{"fetch", `{"table_name":"t","conditions":[{"operator":"or","value":"` + many(strings.Repeat("(", 60)+"a.eq.1"+strings.Repeat(")", 60)) + `"}]}`, "too_many_conditions"},
		{"insert", `{"table_name":"t","insert_body":{},"on_conflict":"` + many("a") + `"}`, "too_many_columns"},
		{"insert", `{"table_name":"t","insert_body":{},"on_conflict":[` + many(`"a"`) + `]}`, "too_many_columns"},
		{"query", `{"query":"select 1","params":[` + many("1") + `]}`, "too_many_params"},
	} {
		var err error
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if c.operation == "query" {
			var p sqlPayload
			err = readObject([]byte(c.body), p.read)
		} else {
			_, err = decode(c.operation, c.body)
		}
		runtime.ReadMemStats(&after)
		if e, ok := err.(*sdk.Error); !ok || e.Reason != c.reason || len(e.Message) > 200 {
			t.Errorf("%.60s: %.200v, want %s", c.body, err, c.reason)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > bound {
			t.Errorf("%.60s: %d MB are allocated for %d kB", c.body, allocated>>20, len(c.body)>>10)
		}
	}
}

func TestExpressions(t *testing.T) {
	for _, c := range []struct{ operator, text, want string }{
		{"or", "a.eq.1,b.gt.-2.5", `{Kind:2 Children:[a eq number "1", b gt number "-2.5"]}`},
		{"or", "a.eq.1,and(b.gt.2,c.lt.3)", `{Kind:2 Children:[a eq number "1", {Kind:1 Children:[b gt number "2", c lt number "3"]}]}`},
		{"not", "p.eq.banned", `{Kind:3 Children:[p eq string "banned"]}`},
		{"not", "q.in.1,2", `{Kind:3 Children:[q in number "1" number "2"]}`},
		{"not", "q.in.(1,x)", `{Kind:3 Children:[q in number "1" string "x"]}`},
		{"not", "r.is.null", `{Kind:3 Children:[r is null ""]}`},
		{"not", "a.eq.1,b.in.(1)", `{Kind:3 Children:[a eq number "1", b in number "1"]}`},
		{"or", "not.a.eq.1, not(b.eq.2,c.eq.3) ,(d.eq.4,or(e.eq.5))", `{Kind:2 Children:[{Kind:3 Children:[a eq number "1"]}, {Kind:3 Children:[b eq number "2", c eq number "3"]}, {Kind:1 Children:[d eq number "4", {Kind:2 Children:[e eq number "5"]}]}]}`},
		{"or", "a.eq.x.y.z", `{Kind:2 Children:[a eq string "x.y.z"]}`},
		{"or", `a.eq."b,c)\"\\",d.like.%x%`, `{Kind:2 Children:[a eq string "b,c)\"\\", d like string "%x%"]}`},
		{"or", `"a.b".eq."5"`, `{Kind:2 Children:[a.b eq string "5"]}`},
		{"or", "a.eq.f(1,2)", `{Kind:2 Children:[a eq string "f(1,2)"]}`},
		{"or", "a.eq.null,b.neq.null,c.eq.true,d.gt.null", `{Kind:2 Children:[a is null "", b is string "not_null", c eq bool "true", d gt null ""]}`},
		{"or", "a.contains.{x,y},b.containedBy.[1,2]", `{Kind:2 Children:[a cs string "{x,y}", b cd string "[1,2]"]}`},
		{"or", "a.in.()", `{Kind:2 Children:[a in]}`},
		{"or", "a.eq.", `{Kind:2 Children:[a eq string ""]}`},
		{"or", "a.eq.007,b.eq.1e5", `{Kind:2 Children:[a eq string "007", b eq string "1e5"]}`},
		{"or", "and.eq.1,nothing.eq.2", `{Kind:2 Children:[and eq number "1", nothing eq number "2"]}`},
	} {
		f, err := parseExpression(c.operator, c.text, new(terms))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if d := cmp.Diff(c.want, showFilter(f)); d != "" {
			t.Errorf("%s: %s", c.text, d)
		}
	}
	for _, text := range []string{"", "a", "a.eq", "a.foo.1", "a.eq.1)", "(a.eq.1", "a.eq.1,", ",a.eq.1", "and()", "a.in.1,2", "a.in.(1", `a.eq."x`, `a.eq."x"y`, ".eq.1",
		"a.is.maybe", "not.", strings.Repeat("(", 100) + "a.eq.1" + strings.Repeat(")", 100), "a.eq.(1"} {
		if f, err := parseExpression("or", text, new(terms)); err == nil {
			t.Errorf("%q: accepted as %s", text, showFilter(f))
		} else if err.Reason != "invalid_expression" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// showFilter is show with short comparisons.
func showFilter(f sdk.Filter) string {
	var parts []string
	if f.Kind == sdk.FilterCompare {
		parts = append(parts, f.Column.Name, string(f.Operator))
		for _, v := range f.Values {
			parts = append(parts, show(reflect.ValueOf(v)))
		}
		return strings.Join(parts, " ")
	}
	for _, child := range f.Children {
		parts = append(parts, showFilter(child))
	}
	return fmt.Sprintf("{Kind:%d Children:[%s]}", f.Kind, strings.Join(parts, ", "))
}

// FuzzExpression wants no panic, no depth beyond the bound and no empty column.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"a.eq.1,and(b.gt.2,c.lt.3)", `"a".in.(1,"x,y",null)`, "not.a.is.null", "q.in.1,2", "a.contains.{b,[c]}", "((((", `a.eq."\`} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, negate bool) {
		operator := "or"
		if negate {
			operator = "not"
		}
		filter, err := parseExpression(operator, text, new(terms))
		if err != nil {
			return
		}
		checkFilter(t, &filter, 2)
	})
}

func checkFilter(t *testing.T, f *sdk.Filter, depth int) {
	t.Helper()
	if depth > sdk.MaxFilterDepth {
		t.Fatal("too deep")
	}
	if f.Kind == sdk.FilterCompare {
		if f.Column.Name == "" || f.Compare != sdk.Lenient || f.Operator != sdk.In && len(f.Values) != 1 {
			t.Fatalf("%+v", f)
		}
		for _, v := range f.Values {
			if v.Hint == sdk.Number && !json.Valid([]byte(v.Text)) {
				t.Fatalf("number %q", v.Text)
			}
		}
		return
	}
	if len(f.Children) == 0 {
		t.Fatal("a node without children")
	}
	for i := range f.Children {
		checkFilter(t, &f.Children[i], depth+1)
	}
}

// FuzzInjectionBody decodes bodies: what is accepted is a sound statement, and what is no JSON
// is never accepted.
func FuzzInjectionBody(f *testing.F) {
	recorded, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(recorded)) {
		if i := strings.IndexByte(line, '{'); i >= 0 {
			f.Add([]byte(strings.TrimSpace(line[i:])))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for operation := range fills {
			s, err := decode(operation, string(body))
			if err != nil {
				if e, ok := err.(*sdk.Error); !ok || e.Kind != sdk.Invalid || e.Reason == "" || e.Message == "" {
					t.Fatalf("error %v", err)
				}
				continue
			}
			if !json.Valid(body) || !utf8.Valid(body) {
				t.Fatalf("%q was accepted", body)
			}
			if s.Table.Name == "" || s.Filter == nil && s.Key == nil && (s.Verb == sdk.Update || s.Verb == sdk.Delete) {
				t.Fatalf("%+v", s)
			}
			if s.Filter != nil {
				checkFilter(t, s.Filter, 1)
			}
			if s.Verb == sdk.Insert {
				checkRows(t, s.Rows)
			}
		}
		var p sqlPayload
		if err := readObject(body, p.read); err == nil && !json.Valid(body) {
			t.Fatalf("%q was accepted", body)
		}
	})
}

// checkRows compares the columns with the keys that encoding/json sees.
func checkRows(t *testing.T, rows sdk.Rowset) {
	t.Helper()
	payload := rows.Payload
	if payload[0] == '{' {
		payload = append(append([]byte{'['}, payload...), ']')
	}
	var want []map[string]json.RawMessage
	if err := json.Unmarshal(payload, &want); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, row := range want {
		for key := range row {
			keys[key] = true
		}
	}
	got := map[string]bool{}
	for _, column := range rows.Columns {
		if got[column] {
			t.Fatalf("column %q twice", column)
		}
		got[column] = true
	}
	if d := cmp.Diff(keys, got); d != "" {
		t.Fatal(d)
	}
}

const fetchBody = `{"table_name":"users","columns":"id,name,email","conditions":[{"operator":"eq","column":"role","eq_column":"role","value":"mage","eq_value":"mage"},{"operator":"gt","column":"level","value":5}],"limit":25,"strip_nulls":true}`

// users is what the builder must know for fetchBody.
func users() *sqlbuild.Catalogue {
	table := &sqlbuild.Table{Schema: "public", Name: "users", Key: []string{"id"}}
	for _, name := range []string{"id", "name", "email", "role", "level"} {
		column := sqlbuild.Column{Name: name, Type: "text", Class: sqlbuild.ClassText}
		if name == "id" || name == "level" {
			column.Type, column.Class = "integer", sqlbuild.ClassNumber
		}
		table.Columns = append(table.Columns, column)
	}
	return &sqlbuild.Catalogue{Tables: map[sdk.Table]*sqlbuild.Table{{Schema: "public", Name: "users"}: table}, Path: []string{"public"}}
}

// decodeAndBuild is what a fetch costs before the database is asked: decoding in the
// gateway and building SQL in the plugin.
func decodeAndBuild(t testing.TB, body []byte, known *sqlbuild.Catalogue) {
	q := &request{}
	if err := q.payload.decode(body); err != nil {
		t.Fatal(err)
	}
	if err := q.payload.selectStatement(&q.statements[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlbuild.Postgres.Build(known, &q.statements[0], &q.operation.Call.Result); err != nil {
		t.Fatal(err)
	}
}

func TestFetchIsCheap(t *testing.T) {
	body, known := []byte(fetchBody), users()
	if allocs := testing.AllocsPerRun(100, func() { decodeAndBuild(t, body, known) }); allocs >= 25 {
		t.Errorf("%v allocations for a fetch", allocs)
	}
}

func BenchmarkFetch(b *testing.B) {
	body, known := []byte(fetchBody), users()
	b.ReportAllocs()
	for b.Loop() {
		decodeAndBuild(b, body, known)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, body := range map[string][]byte{"fetch": []byte(fetchBody), "insert1000": thousandRows()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				q := &request{}
				err := q.payload.decode(body)
				if err == nil && name == "fetch" {
					err = q.payload.selectStatement(&q.statements[0])
				} else if err == nil {
					err = q.payload.insertStatement(&q.statements[0])
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
