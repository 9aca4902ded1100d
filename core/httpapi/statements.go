package httpapi

import (
	"github.com/athena-gateway/athena/sdk"
)

// selectStatement fills in a fetch. Only its count is asked for with head.
func (p *payload) selectStatement(s *sdk.Statement) error {
	var err error
	if s.Table, err = p.target(); err != nil {
		return err
	}
	selected := selection(p.items, &s.Table)
	s.Verb, s.Filter, s.Count = sdk.Select, p.filter(&s.Table), p.count
	if p.head {
		s.Verb = sdk.Count
		if s.Count == sdk.CountNone {
			s.Count = sdk.CountExact
		}
		return nil
	}
	s.Selection = selected
	return p.arrange(s)
}

// arrange sets order, limit and offset.
func (p *payload) arrange(s *sdk.Statement) (err error) {
	s.Order = p.order
	for i := range s.Order {
		s.Order[i].Column.Name = unqualified(s.Order[i].Column.Name, &s.Table)
	}
	s.Limit, s.Offset, err = p.window()
	return err
}

// insertStatement fills in an insert, or an upsert when there is on_conflict or
// update_body.
func (p *payload) insertStatement(s *sdk.Statement) error {
	table, err := p.target()
	if err != nil {
		return err
	}
	if p.insertBody == nil {
		return sdk.E(sdk.Invalid, "missing_insert_body", "insert_body is missing").WithHint("send an object, or an array of objects")
	}
	s.Verb, s.Table = sdk.Insert, table
	s.Rows = sdk.Rowset{Payload: p.insertBody, Columns: p.insertColumns, MissingDefault: !p.missingNull}
	if p.hasConflict || p.updateBody != nil {
		s.Conflict = &sdk.OnConflict{Columns: p.conflict, Update: true, SetObject: p.updateBody}
		if p.updateEmpty { // nothing to set: leave the row alone
			s.Conflict.Update, s.Conflict.SetObject = false, nil
		}
	}
	if !p.head {
		s.Returning, s.Selection = sdk.ReturnSelection, selection(p.items, &s.Table)
	}
	return nil
}

// updateStatement fills in an update.
func (p *payload) updateStatement(s *sdk.Statement) error {
	s.Verb = sdk.Update
	if err := p.chosenRows(s); err != nil {
		return err
	}
	if p.updateBody == nil || p.updateEmpty {
		return sdk.E(sdk.Invalid, "missing_update_body", "update_body is missing or empty").WithHint(`send the columns to set, as in {"update_body":{"name":"x"}}`)
	}
	s.SetObject = p.updateBody
	return p.arrange(s)
}

// deleteStatement fills in a delete.
func (p *payload) deleteStatement(s *sdk.Statement) error {
	s.Verb = sdk.Delete
	if err := p.chosenRows(s); err != nil {
		return err
	}
	return p.arrange(s)
}

// chosenRows sets which rows an update or delete concerns and what it returns. A
// resource_id repeats a condition on id, if there is one; alone it is the primary key.
func (p *payload) chosenRows(s *sdk.Statement) (err error) {
	if s.Table, err = p.target(); err != nil {
		return err
	}
	s.Filter = p.filter(&s.Table)
	if p.resourceID != nil && !p.byID {
		s.Key = []sdk.Value{*p.resourceID}
	}
	if s.Filter == nil && s.Key == nil {
		return sdk.E(sdk.Invalid, "missing_conditions", "neither conditions nor resource_id say which rows are meant").
			WithHint("add a condition; to mean all rows, send SQL to /gateway/query")
	}
	if p.hasColumns && !p.head {
		s.Returning, s.Selection = sdk.ReturnSelection, selection(p.items, &s.Table)
	}
	return nil
}
