package gateway

import (
	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/sdk"
)

// authorize decides whether who asks may do the operation. A key is for one client or for
// any, and all tables of a call, those of its select trees too, are that client's.
func (g *Gateway) authorize(op *Operation) error {
	if op.Open {
		return nil
	}
	a := op.Attempt
	if a == nil {
		a = &auth.Attempt{RequestID: op.RequestID, Principal: op.Principal}
	}
	if op.Target.Lost != nil && op.Client == "" && op.Principal == nil && g.options.Keys.Asked() {
		return g.options.Keys.Insist(a, nil) // as if the name stood for a client that asks for one
	}
	if op.Right != "" && op.Principal.Has(op.Right) {
		a.Right = op.Right
		return g.options.Keys.Use(a, op.Client)
	}
	var few [4]string
	return g.options.Keys.Use(a, op.Client, rights(few[:0], &op.Call)...)
}

// rights appends the rights that a call takes, each once.
func rights(dst []string, call *sdk.Call) []string {
	add := func(right string) {
		for _, known := range dst {
			if known == right {
				return
			}
		}
		dst = append(dst, right)
	}
	for i := range call.Statements {
		s := &call.Statements[i]
		switch s.Verb {
		case sdk.Select, sdk.Count:
			add(auth.Fetch)
		case sdk.Insert:
			add(auth.Insert)
			if s.Conflict != nil && s.Conflict.Update {
				add(auth.Update) // it may change rows that are there
			}
		case sdk.Update:
			add(auth.Update)
		case sdk.Delete:
			add(auth.Delete)
		case sdk.Function:
			add(auth.RPC)
		default: // SQL text may do anything
			add(auth.Query)
		}
		if s.Verb != sdk.Select && s.Returning == sdk.ReturnSelection && embeds(&s.Selection) {
			add(auth.Fetch) // of other tables
		}
	}
	return dst
}

// embeds reports whether a select tree reads related tables.
func embeds(s *sdk.Selection) bool {
	for i := range s.Items {
		if s.Items[i].Kind == sdk.ItemRelation {
			return true
		}
	}
	return false
}
