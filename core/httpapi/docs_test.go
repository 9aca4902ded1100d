package httpapi

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

// TestDocumentation runs the examples of docs/gateway.md in their order.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	remote, stop, err := sdk.InProcess(sdktest.Memory("memory"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	config := `{"database":"docs","tables":{"users":"id int key auto, name text required, email text unique, level int",
		"orders":"id int key auto, user_id int references users(id), total number"}}`
	if _, err := remote.OpenInstance(context.Background(), "docs", 1, json.RawMessage(config)); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *Options) {
		other := o.Execute
		o.Execute = func(ctx context.Context, op *gateway.Operation) (*gateway.Result, error) {
			if op.Call.Statements[0].Verb == sdk.SQL { // the memory backend has none
				return other(ctx, op)
			}
			op.Call.Instance, op.Call.Generation = "docs", 1
			answer, err := remote.Execute(ctx, &op.Call)
			if err != nil {
				return nil, err
			}
			return gateway.NewResult(op, "memory", answer), nil
		}
	})
	if status, answer := s.call(t, "PUT", "/gateway/insert", `{"table_name":"users","insert_body":[
		{"name":"Ada","email":"ada@example.com","level":10},{"name":"Bob","level":3},{"name":"Cleo","email":"cleo@example.com","level":7}]}`); status != 200 {
		t.Fatal(answer)
	}
	if status, answer := s.call(t, "PUT", "/gateway/insert", `{"table_name":"orders","insert_body":[{"user_id":1,"total":12.5},{"user_id":1,"total":3},{"user_id":3,"total":8}]}`); status != 200 {
		t.Fatal(answer)
	}
	examples := regexp.MustCompile("(?s)```http\n(\\S+) (\\S+)\n(.*?)```\n```json (\\d+)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) != strings.Count(string(page), "```http") || len(examples) == 0 {
		t.Fatalf("%d examples are well formed, of %d", len(examples), strings.Count(string(page), "```http"))
	}
	for _, example := range examples {
		head, body, _ := strings.Cut(example[3], "\n\n")
		headers := []string{"X-Athena-Client", ""}
		if name, value, ok := strings.Cut(strings.TrimSpace(head), ": "); ok {
			headers = []string{name, value}
		}
		if body == "" {
			body = strings.TrimPrefix(head, "\n")
			if strings.HasPrefix(body, "X-") {
				body = ""
			}
		}
		status, answer := s.call(t, example[1], example[2], body, headers...)
		if want, _ := strconv.Atoi(example[4]); status != want {
			t.Errorf("%s %s %s: status %d, want %d: %s", example[1], example[2], body, status, want, answer)
			continue
		}
		var got, want any
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(example[5]), &want); err != nil {
			t.Fatalf("%v in %s", err, example[5])
		}
		if d := cmp.Diff(want, masked(want, got)); d != "" {
			t.Errorf("%s %s %s: %s", example[1], example[2], body, d)
		}
	}
}

// masked puts … into got where want has it.
func masked(want, got any) any {
	if want == "…" && got != nil {
		return want
	}
	w, ok := want.(map[string]any)
	g, same := got.(map[string]any)
	if !ok || !same {
		return got
	}
	for name, value := range g {
		g[name] = masked(w[name], value)
	}
	return g
}
