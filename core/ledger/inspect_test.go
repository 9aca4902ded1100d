package ledger_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/core/ledger/ledgertest"
)

// TestInspect: what is needed is what the migrations of either database make, no more and no
// less, and each table is for something.
func TestInspect(t *testing.T) {
	ledgertest.Each(t, func(t *testing.T, l *ledger.Ledger) {
		need, seen, err := l.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		there := map[string]ledger.Relation{}
		for _, r := range seen {
			there[r.Name] = r
		}
		for _, e := range need {
			names = append(names, e.Name)
			found := there[e.Name]
			if e.Purpose == "" || found.Schema != e.Schema || found.Type != e.Type {
				t.Errorf("%+v, found as %+v", e, found)
			}
			if d := cmp.Diff(slices.Sorted(slices.Values(e.Columns)), slices.Sorted(slices.Values(found.Columns))); d != "" {
				t.Errorf("%s: %s", e.Name, d)
			}
		}
		if d := cmp.Diff(ledger.Tables(), names); d != "" || len(seen) != len(need)+1 {
			t.Errorf("%d were seen: %s", len(seen), d)
		}
	})
}
