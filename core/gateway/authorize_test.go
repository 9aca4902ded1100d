package gateway

import (
	"fmt"
	"slices"
	"testing"

	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// TestRights: what each kind of call takes.
func TestRights(t *testing.T) {
	related := sdk.Selection{Items: []sdk.Item{{Column: sdk.Column{Name: "id"}}, {Kind: sdk.ItemRelation, Relation: &sdk.Relation{Target: "orders"}}}}
	for _, test := range []struct {
		what  string
		takes []string
		call  []sdk.Statement
	}{
		{"select", []string{auth.Fetch}, []sdk.Statement{{Verb: sdk.Select, Selection: related}}},
		{"count", []string{auth.Fetch}, []sdk.Statement{{Verb: sdk.Count}}},
		{"insert", []string{auth.Insert}, []sdk.Statement{{Verb: sdk.Insert, Returning: sdk.ReturnSelection}}},
		{"insert of what is new", []string{auth.Insert}, []sdk.Statement{{Verb: sdk.Insert, Conflict: &sdk.OnConflict{}}}},
		{"upsert", []string{auth.Insert, auth.Update}, []sdk.Statement{{Verb: sdk.Insert, Conflict: &sdk.OnConflict{Update: true}}}},
		{"update", []string{auth.Update}, []sdk.Statement{{Verb: sdk.Update}}},
		{"update that embeds", []string{auth.Update, auth.Fetch}, []sdk.Statement{{Verb: sdk.Update, Returning: sdk.ReturnSelection, Selection: related}}},
		{"update without an answer", []string{auth.Update}, []sdk.Statement{{Verb: sdk.Update, Selection: related}}},
		{"delete", []string{auth.Delete}, []sdk.Statement{{Verb: sdk.Delete}}},
		{"SQL", []string{auth.Query}, []sdk.Statement{{Verb: sdk.SQL}}},
		{"SQL that reads", []string{auth.Query}, []sdk.Statement{{Verb: sdk.SQL, SQL: sdk.SQLText{Intent: sdk.IntentRead}}}},
		{"function", []string{auth.RPC}, []sdk.Statement{{Verb: sdk.Function}}},
		{"a verb that is new", []string{auth.Query}, []sdk.Statement{{Verb: sdk.Count + 1}}},
		{"several", []string{auth.Delete, auth.Insert}, []sdk.Statement{{Verb: sdk.Delete}, {Verb: sdk.Insert}, {Verb: sdk.Delete}}},
	} {
		if got := rights(nil, &sdk.Call{Statements: test.call}); !slices.Equal(got, test.takes) {
			t.Errorf("%s takes %v, want %v", test.what, got, test.takes)
		}
	}
}

// TestRightsAreKnown: every right that the gateway asks for is in the catalogue.
func TestRightsAreKnown(t *testing.T) {
	known := fmt.Sprint(auth.Catalogue())
	for verb := sdk.Select; verb <= sdk.Count; verb++ {
		for _, right := range rights(nil, &sdk.Call{Statements: []sdk.Statement{{Verb: verb}}}) {
			if !slices.ContainsFunc(auth.Catalogue(), func(r auth.Right) bool { return r.Name == right && r.Description != "" }) {
				t.Errorf("%s is not in %s", right, known)
			}
		}
	}
}
