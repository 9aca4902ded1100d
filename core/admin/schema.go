package admin

import (
	"fmt"
	"slices"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
)

// expectedTable is a table that the ledger needs, beside what was found.
type expectedTable struct {
	Schema       string   `json:"table_schema"`
	Name         string   `json:"table_name"`
	Type         string   `json:"expected_relation_type"`
	Required     bool     `json:"required"`
	Purpose      string   `json:"purpose"`
	Columns      []string `json:"expected_columns"`
	Found        bool     `json:"found"`
	FoundType    *string  `json:"found_relation_type"`
	TypeMatches  bool     `json:"relation_type_matches"`
	FoundColumns []string `json:"found_columns"`
	Missing      []string `json:"missing_columns"`
	Unexpected   []string `json:"unexpected_columns"`
}

// observedTable is a table or view of the ledger's database.
type observedTable struct {
	Schema  string   `json:"table_schema"`
	Name    string   `json:"table_name"`
	Type    string   `json:"relation_type"`
	Columns []string `json:"columns"`
}

// stillNeeded is what is missing, columns as table.column.
type stillNeeded struct {
	RequiredTables  []string `json:"required_missing_tables"`
	OptionalTables  []string `json:"optional_missing_tables"`
	RequiredColumns []string `json:"required_missing_columns"`
	OptionalColumns []string `json:"optional_missing_columns"`
	Mismatches      []string `json:"relation_type_mismatches"`
}

// healthReason is why the schema is not healthy.
type healthReason struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // error, or warning where requests do without
	Count    int    `json:"count"`
	Message  string `json:"message"`
}

// schemaSummary is the schema in numbers.
type schemaSummary struct {
	Health          string         `json:"health"` // ok, degraded or error
	Reasons         []healthReason `json:"health_reasons"`
	Expected        int            `json:"expected_table_count"`
	Found           int            `json:"found_table_count"`
	RequiredTables  int            `json:"required_missing_table_count"`
	OptionalTables  int            `json:"optional_missing_table_count"`
	RequiredColumns int            `json:"required_missing_column_count"`
	OptionalColumns int            `json:"optional_missing_column_count"`
	Mismatches      int            `json:"relation_type_mismatch_count"`
}

// debugSchema compares the ledger's tables with those that its migrations make. It tells
// names alone.
func (a *API) debugSchema(r *httpx.Request) (*httpx.Response, error) {
	need, seen, err := a.ledger.Inspect(r.Context())
	if err != nil {
		return nil, err
	}
	tables := []expectedTable{}
	needed := stillNeeded{[]string{}, []string{}, []string{}, []string{}, []string{}}
	found := 0
	for i := range need {
		t := compareTable(&need[i], seen)
		tables = append(tables, t)
		missingTables, missingColumns := &needed.RequiredTables, &needed.RequiredColumns
		if !t.Required {
			missingTables, missingColumns = &needed.OptionalTables, &needed.OptionalColumns
		}
		if !t.Found {
			*missingTables = append(*missingTables, t.Name)
			continue
		}
		found++
		if !t.TypeMatches {
			needed.Mismatches = append(needed.Mismatches, t.Name)
		}
		for _, column := range t.Missing {
			*missingColumns = append(*missingColumns, t.Name+"."+column)
		}
	}
	observed := []observedTable{}
	for _, s := range seen {
		observed = append(observed, observedTable(s))
	}
	summary := summarize(&needed)
	summary.Expected, summary.Found = len(need), found
	message := fmt.Sprintf("the ledger's schema is %s: %d of %d tables", summary.Health, found, len(need))
	return adminapi.Success(200, message, map[string]any{
		"logging_client": "ledger", "generated_at": time.Now().UTC(), "summary": summary, "expected_tables": tables, "still_needed": needed,
		"observed_tables": observed, "missing_required_tables": needed.RequiredTables, "missing_optional_tables": needed.OptionalTables,
	})
}

// compareTable compares a table with what was seen under its name.
func compareTable(e *ledger.Expected, seen []ledger.Relation) expectedTable {
	t := expectedTable{Schema: e.Schema, Name: e.Name, Type: e.Type, Required: e.Required, Purpose: e.Purpose, Columns: e.Columns,
		FoundColumns: []string{}, Missing: []string{}, Unexpected: []string{}}
	i := slices.IndexFunc(seen, func(r ledger.Relation) bool { return r.Name == e.Name })
	if i < 0 {
		t.Missing = e.Columns
		return t
	}
	there := &seen[i]
	t.Schema, t.Found, t.FoundType, t.TypeMatches, t.FoundColumns = there.Schema, true, &there.Type, there.Type == e.Type, there.Columns
	t.Missing, t.Unexpected = without(e.Columns, there.Columns), without(there.Columns, e.Columns)
	return t
}

// without are the names of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(append([]string{}, a...), func(name string) bool { return slices.Contains(b, name) })
}

func summarize(n *stillNeeded) schemaSummary {
	s := schemaSummary{Health: "ok", Reasons: []healthReason{}, RequiredTables: len(n.RequiredTables), OptionalTables: len(n.OptionalTables),
		RequiredColumns: len(n.RequiredColumns), OptionalColumns: len(n.OptionalColumns), Mismatches: len(n.Mismatches)}
	for _, reason := range []healthReason{
		{"required_tables_missing", "error", s.RequiredTables, "tables are missing without which the gateway cannot do its work"},
		{"required_columns_missing", "error", s.RequiredColumns, "columns are missing without which the gateway cannot do its work"},
		{"relation_type_mismatch", "error", s.Mismatches, "views or foreign tables stand where tables should"},
		{"optional_tables_missing", "warning", s.OptionalTables, "tables of logs or statistics are missing"},
		{"optional_columns_missing", "warning", s.OptionalColumns, "columns of logs or statistics are missing"},
	} {
		if reason.Count == 0 {
			continue
		}
		s.Reasons = append(s.Reasons, reason)
		if s.Health == "ok" {
			s.Health = map[string]string{"error": "error", "warning": "degraded"}[reason.Severity]
		}
	}
	return s
}
