package sdk

import (
	"fmt"
	"slices"
)

// check refuses what the backend did not declare, before it is asked.
func (c *Capabilities) check(call *Call) *Error {
	if len(call.Statements) == 0 {
		return E(Invalid, "no_statement", "the call has no statement")
	}
	if !c.Transactions && (len(call.Statements) > 1 || call.Tx != (Tx{}) || call.Expect.ExactlyOne ||
		call.Expect.MaxAffected != nil || call.Expect.KeyEquals != nil) {
		return unsupported("transactions")
	}
	s := &call.Session
	if !c.Sessions && (s.Role != "" || s.TimeZone != "" || len(s.Settings) > 0 || len(s.SearchPath) > 0) {
		return unsupported("session settings")
	}
	switch {
	case call.Result.Format == FormatGeoJSON && !c.GeoJSON:
		return unsupported("answers in GeoJSON")
	case call.Result.Format == FormatRaw && !c.Raw:
		return unsupported("answers of one column's bytes")
	case call.Result.SQLHeaders && !c.SQLHeaders:
		return unsupported("headers set by SQL")
	case call.MinPosition != "" && !c.Positions:
		return unsupported("waiting for a replication position")
	}
	for i := range call.Statements {
		if err := c.checkStatement(&call.Statements[i]); err != nil {
			err.Statement = i
			return err
		}
	}
	return nil
}

func unsupported(what string) *Error {
	return E(Unsupported, "unsupported", fmt.Sprintf("this backend does not support %s", what))
}

func (c *Capabilities) checkStatement(s *Statement) *Error {
	switch {
	case !slices.Contains(c.Verbs, s.Verb):
		return unsupported(s.Verb.String())
	case s.Returning != ReturnNone && !c.Returning:
		return unsupported("rows returned by a write")
	case s.Conflict != nil && !c.Conflict:
		return unsupported("upserts")
	case s.Explain != nil && !c.Explain:
		return unsupported("explain")
	case s.Verb == Insert && s.Rows.Format == RowsCSV && !c.CSV:
		return unsupported("inserting CSV")
	case slices.ContainsFunc(s.Set, isDefault) && !c.Defaults, s.Conflict != nil && slices.ContainsFunc(s.Conflict.Set, isDefault) && !c.Defaults:
		return unsupported("setting a column to its default")
	case s.Count != CountNone && !c.Totals:
		return unsupported("totals")
	case s.PageToken != "" && !c.PageTokens:
		return unsupported("page tokens")
	}
	if err := c.checkSelection(&s.Selection, 0); err != nil {
		return err
	}
	if err := c.checkOrder(s.Order); err != nil {
		return err
	}
	return c.checkFilter(s.Filter, 0)
}

func isDefault(item SetItem) bool { return item.Default }

func (c *Capabilities) checkOrder(terms []Order) *Error {
	for i := range terms {
		switch {
		case len(terms[i].Column.Path) > 0 && !c.JSONPaths:
			return unsupported("JSON paths")
		case terms[i].Relation != "" && !c.Relations:
			return unsupported("sorting by related tables")
		}
	}
	return nil
}

func (c *Capabilities) checkSelection(s *Selection, depth int) *Error {
	if depth > MaxFilterDepth {
		return errTooDeep()
	}
	switch {
	case s.Distinct && !c.Distinct:
		return unsupported("distinct rows")
	case s.Bucket != nil && !c.Aggregates:
		return unsupported("time buckets")
	case s.Bucket != nil && len(s.Bucket.Column.Path) > 0 && !c.JSONPaths:
		return unsupported("JSON paths")
	}
	for i := range s.Items {
		item := &s.Items[i]
		switch {
		case item.Aggregate != "" && !c.Aggregates:
			return unsupported("aggregates")
		case len(item.Column.Path) > 0 && !c.JSONPaths:
			return unsupported("JSON paths")
		case (item.Relation != nil || item.Kind == ItemRelation) && !c.Relations:
			return unsupported("related tables")
		}
		if item.Relation != nil {
			if err := c.checkSelection(&item.Relation.Selection, depth+1); err != nil {
				return err
			}
			if err := c.checkOrder(item.Relation.Order); err != nil {
				return err
			}
			if err := c.checkFilter(item.Relation.Filter, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func errTooDeep() *Error {
	return E(Invalid, "too_deep", fmt.Sprintf("filters and selections nest at most %d deep", MaxFilterDepth))
}

func (c *Capabilities) checkFilter(f *Filter, depth int) *Error {
	switch {
	case f == nil:
		return nil
	case depth > MaxFilterDepth:
		return errTooDeep()
	case f.Kind == FilterCompare:
		if !slices.Contains(c.Operators, f.Operator) {
			return unsupported("the operator " + string(f.Operator))
		}
		if len(f.Column.Path) > 0 && !c.JSONPaths {
			return unsupported("JSON paths")
		}
		if f.Relation != "" && !c.Relations {
			return unsupported("filters on related tables")
		}
		if f.Quantifier != QuantifierNone && !c.Quantifiers {
			return unsupported("any and all")
		}
	}
	for i := range f.Children {
		if err := c.checkFilter(&f.Children[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

var verbNames = [...]string{"invalid", "select", "insert", "update", "delete", "function", "sql", "count"}

// String is the verb's stable name in logs, metrics and messages.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "invalid"
}
