package publicroutes

import (
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// restrict makes a caller's statement one of the route: its table, its columns, its rows.
// What goes beyond them is refused, whether it is there or not.
func (p *pinned) restrict(s *sdk.Statement) error {
	if s.Verb == sdk.SQL {
		if p.Query != nil {
			s.SQL = sdk.SQLText{Text: *p.Query, Args: s.SQL.Args}
		}
		return nil
	}
	if s.Verb == sdk.Insert && s.Conflict != nil && s.Conflict.Update {
		// It may change rows, and those that it meets need not be the route's.
		if !p.allows(opUpdate) {
			return forbidden("upsert_not_allowed", "this route inserts rows, but changes none").WithHint("leave on_conflict and update_body out, or send an empty update_body to leave rows alone")
		}
		if p.filter != nil {
			return forbidden("upsert_not_allowed", "this route cannot change rows by inserting them").WithHint("update the row, or send an empty update_body to leave it alone")
		}
	}
	if p.table == nil {
		return nil
	}
	s.Table = *p.table
	rows := s.Verb == sdk.Select || s.Returning == sdk.ReturnSelection
	if err := p.shown.restrict(rows, &s.Selection, s.Filter, s.Order); err != nil {
		return err
	}
	if p.filter != nil || p.Columns != nil {
		if s.Count != sdk.CountNone {
			s.Count = sdk.CountExact // an estimate may be one of rows that are not the route's
		}
	}
	switch s.Verb {
	case sdk.Select, sdk.Count, sdk.Delete:
		s.Filter = p.with(s.Filter)
		return nil
	case sdk.Update:
		s.Filter = p.with(s.Filter)
		return p.restrictUpdate(s)
	case sdk.Insert:
		return p.restrictInsert(s)
	}
	return forbidden("operation_not_allowed", "this route does not offer that")
}

func forbidden(reason, message string) *sdk.Error { return sdk.E(sdk.Forbidden, reason, message) }

func noColumn(name string) *sdk.Error {
	return forbidden("column_not_allowed", fmt.Sprintf("this route has no column %q", name))
}

// with is the route's filter and the caller's.
func (p *pinned) with(f *sdk.Filter) *sdk.Filter {
	if p.filter == nil {
		return f
	}
	all := slices.Clone(p.filter)
	switch {
	case f == nil:
	case f.Kind == sdk.FilterAnd: // as deep as it was
		all = append(all, f.Children...)
	default:
		all = append(all, *f)
	}
	return &sdk.Filter{Kind: sdk.FilterAnd, Children: all}
}

// shows reports whether a column may be named. It has to be spelt as the route spells it.
func (l *level) shows(column string) bool { return l.all || slices.Contains(l.columns, column) }

// admit lets a column be read if it is shown. Where all of the table's are, those that functions of
// its row compute are not among them.
func (l *level) admit(c *sdk.Column) error {
	c.Plain = l.all
	if !l.shows(c.Name) {
		return noColumn(c.Name)
	}
	return nil
}

// restrict checks and narrows what a statement, or a relation, names of a table. rows says
// that it answers with rows.
func (l *level) restrict(rows bool, s *sdk.Selection, f *sdk.Filter, order []sdk.Order) error {
	if err := l.checkFilter(f); err != nil {
		return err
	}
	for i := range order {
		if o := &order[i]; o.Relation != "" {
			return noRelation(o.Relation)
		} else if err := l.admit(&o.Column); err != nil {
			return err
		}
	}
	if s.Bucket != nil {
		if err := l.admit(&s.Bucket.Column); err != nil {
			return err
		}
	}
	if len(s.Items) == 0 && !rows {
		return nil
	}
	return l.narrow(s)
}

func noRelation(name string) *sdk.Error {
	return forbidden("relation_not_allowed", fmt.Sprintf("this route has no relation %q", name))
}

func (l *level) checkFilter(f *sdk.Filter) error {
	if f == nil {
		return nil
	}
	if f.Relation != "" {
		return noRelation(f.Relation)
	}
	if f.Kind == sdk.FilterCompare {
		if err := l.admit(&f.Column); err != nil {
			return err
		}
	}
	for i := range f.Children {
		if err := l.checkFilter(&f.Children[i]); err != nil {
			return err
		}
	}
	return nil
}

// narrow makes a selection one of what is shown: all columns are those of the route.
func (l *level) narrow(s *sdk.Selection) error {
	if len(s.Items) == 0 {
		s.Items = l.items
		return nil
	}
	var items []sdk.Item
	for _, item := range s.Items {
		switch item.Kind {
		case sdk.ItemStar:
			if l.all {
				items = append(items, item)
			}
			for _, name := range l.columns {
				items = append(items, sdk.Item{Column: sdk.Column{Name: name}})
			}
		case sdk.ItemColumn:
			if err := l.admit(&item.Column); err != nil {
				return err
			}
			items = append(items, item)
		case sdk.ItemRelation:
			relation, err := l.relation(item.Relation)
			if err != nil {
				return err
			}
			item.Relation = relation
			items = append(items, item)
		}
	}
	s.Items = items
	return nil
}

// relation narrows a relation to the route's own of the same target.
func (l *level) relation(asked *sdk.Relation) (*sdk.Relation, error) {
	for _, item := range l.items {
		own := item.Relation
		if item.Kind != sdk.ItemRelation || own.Target != asked.Target || own.Schema != asked.Schema || own.Hint != asked.Hint {
			continue
		}
		below, err := shownBy(own.Selection.Items)
		if err != nil {
			return nil, err
		}
		narrowed := *asked
		return &narrowed, below.restrict(!narrowed.Selection.None, &narrowed.Selection, narrowed.Filter, narrowed.Order)
	}
	return nil, noRelation(asked.Target)
}
