package core

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

// TestAttemptsAtMadeUpClients: names of clients that callers make up are no rows of their own in
// the log of attempts.
func TestAttemptsAtMadeUpClients(t *testing.T) {
	ledgertest.EachURI(t, func(t *testing.T, ledgerURI string) {
		path, err := json.Marshal(emptyFile(t))
		if err != nil {
			t.Fatal(err)
		}
		s := serveFile(t, ledgerURI, fmt.Sprintf("clients: {shop: {backend: sqlite, config: {path: %s}}}\nplugins: {dir: %q}\n", path, t.TempDir()))
		keys := map[string]string{}
		for name, client := range map[string]string{"any": "null", "bound": `"shop"`} {
			_, _, made := s.call(t, "POST", "/admin/api-keys", "", fmt.Sprintf(`{"name":%q,"client_name":%s,"rights":["gateway.fetch.execute"]}`, name, client))
			var answer struct {
				Key string `json:"api_key"`
			}
			if err := json.Unmarshal([]byte(made), &answer); err != nil || answer.Key == "" {
				t.Fatal(made, err)
			}
			keys[name] = answer.Key
		}
		for i := range 20 {
			for name, want := range map[string]int{"any": 400, "bound": 403} {
				if status, _, answer := s.call(t, "POST", "/gateway/fetch?api_key="+keys[name], fmt.Sprintf("made-up-%d", i), `{"table_name":"t"}`); status != want {
					t.Fatalf("%d, want %d: %s", status, want, answer)
				}
			}
		}
		s.call(t, "POST", "/gateway/fetch?api_key="+keys["any"], "shop", `{"table_name":"t"}`)
		if err := s.keys.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		if err := s.ledger.Read(t.Context(), func(ctx context.Context, c *sql.Conn) error {
			rows, err := c.QueryContext(ctx, `SELECT k.name || ' ' || coalesce(a.client_name, '-') || ' ' || coalesce(a.failure_reason, '-'), sum(a.attempts)
				FROM api_key_auth_log a JOIN api_keys k ON k.public_id = a.public_id GROUP BY 1`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var what string
				var n int
				if err := rows.Scan(&what, &n); err != nil {
					return err
				}
				got[what] = n
			}
			return rows.Err()
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int{"any - -": 20, "bound - client_not_allowed": 20, "any shop -": 1}, got); diff != "" {
			t.Error(diff)
		}
	})
}
