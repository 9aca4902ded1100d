package sdktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// dialectFile is the JSON that ParseDialect reads.
type dialectFile struct {
	Prepare []string `json:"prepare"`
	Fill    []string `json:"fill"`
	Numbers string   `json:"numbers"`

	Slow      *string `json:"slow"`
	Panic     *string `json:"panic"`
	Leak      *string `json:"leak"`
	Syntax    *string `json:"syntax"`
	Duplicate *string `json:"duplicate"`
	Bytes     *string `json:"bytes"`

	Kinds map[string]string `json:"kinds"`

	Family    []string `json:"family"`
	Values    []string `json:"values"`
	Deferred  []string `json:"deferred"`
	Functions []string `json:"functions"`
	Elsewhere []string `json:"elsewhere"`
	Role      []string `json:"role"`
	Places    []string `json:"places"`

	ShowSession *string `json:"show_session"`
	ShowTx      *string `json:"show_tx"`
	Headers     *string `json:"headers"`
	Position    *string `json:"position"`

	IDType       string            `json:"id_type"`
	Plan         map[string]string `json:"plan"`
	ExactNumbers bool              `json:"exact_numbers"`
	Durable      bool              `json:"durable"`
	Details      bool              `json:"details"`
	TellsNew     bool              `json:"tells_new"`
}

// ParseDialect reads the Dialect of a backend that executes texts, of SQL or of a language of
// its own. They stand in a JSON object whose keys are Dialect's fields in snake case:
//
//	{
//	  "prepare": ["DROP TABLE IF EXISTS athena_items", "CREATE TABLE athena_items (id bigint PRIMARY KEY, ...)"],
//	  "fill": ["CREATE TABLE athena_numbers AS ..."],
//	  "numbers": "athena_numbers",
//	  "slow": "SELECT pg_sleep(30)",
//	  "syntax": "SELECT FROM WHERE",
//	  "kinds": {"forbidden": "DROP TABLE pg_class", "conflict": "..."},
//	  "durable": true
//	}
//
// prepare, fill and numbers, the name of the table that fill makes, are required. What else is
// left out leaves the checks out that need it. Unknown keys are refused.
func ParseDialect(text []byte) (Dialect, error) {
	var f dialectFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return Dialect{}, fmt.Errorf("a dialect is a JSON object of SQL texts, see `go doc sdktest.ParseDialect`: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Dialect{}, errors.New("the dialect goes on after the end of its JSON object")
	}
	for name, missing := range map[string]bool{"prepare": len(f.Prepare) == 0, "fill": len(f.Fill) == 0, "numbers": f.Numbers == ""} {
		if missing {
			return Dialect{}, fmt.Errorf("the dialect lacks %q: prepare, fill and numbers are what every check of tables starts with", name)
		}
	}
	var byKind map[sdk.Kind]sdk.Statement
	for name, text := range f.Kinds {
		kind, err := parseKind(name)
		if err != nil {
			return Dialect{}, err
		}
		if byKind == nil {
			byKind = map[sdk.Kind]sdk.Statement{}
		}
		byKind[kind] = SQL(sdk.IntentWrite, text)
	}
	return Dialect{
		Prepare: writes(f.Prepare), Fill: writes(f.Fill), Numbers: sdk.Statement{Verb: sdk.Select, Table: sdk.Table{Name: f.Numbers}},
		Slow: reads(f.Slow), Panic: reads(f.Panic), Leak: reads(f.Leak), Syntax: reads(f.Syntax),
		Duplicate: reads(f.Duplicate), Bytes: reads(f.Bytes),
		Kinds: byKind, Family: writes(f.Family), Values: writes(f.Values), Deferred: writes(f.Deferred), Functions: writes(f.Functions),
		Elsewhere: writes(f.Elsewhere), Role: writes(f.Role), Places: writes(f.Places),
		ShowSession: reads(f.ShowSession), ShowTx: reads(f.ShowTx), Headers: reads(f.Headers), Position: reads(f.Position),
		IDType: f.IDType, Plan: f.Plan,
		ExactNumbers: f.ExactNumbers, Durable: f.Durable, Details: f.Details, TellsNew: f.TellsNew,
	}, nil
}

func parseKind(name string) (sdk.Kind, error) {
	var names []string
	for kind := sdk.Internal; kind <= sdk.Canceled; kind++ {
		if kind.String() == name {
			return kind, nil
		}
		names = append(names, kind.String())
	}
	return 0, fmt.Errorf("the dialect's kinds have an unknown one, %q: the kinds of errors are %s", name, strings.Join(names, ", "))
}

// writes are statements of texts, nil if there are none.
func writes(texts []string) []sdk.Statement {
	var statements []sdk.Statement
	for _, text := range texts {
		statements = append(statements, SQL(sdk.IntentWrite, text))
	}
	return statements
}

func reads(text *string) *sdk.Statement {
	if text == nil {
		return nil
	}
	return read(*text)
}
