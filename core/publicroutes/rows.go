package publicroutes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// restrictUpdate lets an update set the route's columns, but not move rows out of its filter.
func (p *pinned) restrictUpdate(s *sdk.Statement) error {
	row, err := readRow(s.SetObject)
	if err != nil {
		return err
	}
	for name, value := range row {
		if i := p.holds(name); i >= 0 {
			// A row that was read and is sent back changes nothing here.
			if p.held[i] != name || !p.gives(name, value) {
				return notSettable(name)
			}
			delete(row, name)
		} else if !p.shown.shows(name) {
			return noColumn(name)
		}
	}
	if len(row) == 0 {
		return sdk.E(sdk.Invalid, "missing_update_body", "update_body sets no column of this route")
	}
	s.SetObject, err = json.Marshal(row)
	return err
}

// holds returns the place in held of a column that the filter names, -1 if it does not. Some
// databases take letters of either case for the same.
func (p *pinned) holds(column string) int {
	return slices.IndexFunc(p.held, func(held string) bool { return strings.EqualFold(held, column) })
}

// gives reports whether the filter says that a column has a value.
func (p *pinned) gives(column string, value json.RawMessage) bool {
	for i := range p.filter {
		if p.filter[i].Column.Name != column {
			continue
		}
		if own, ok := fixed(&p.filter[i]); ok && equal(own, value) {
			return true
		}
	}
	return false
}

// equal compares two values as a filter would: a number may be written as text.
func equal(a, b json.RawMessage) bool {
	return bytes.Equal(bytes.Trim(compact(a), `"`), bytes.Trim(compact(b), `"`))
}

// compact is a value in one spelling, but for its numbers.
func compact(raw json.RawMessage) []byte {
	b, err := json.Marshal(raw)
	if err != nil {
		return raw
	}
	return b
}

func notSettable(column string) *sdk.Error {
	return forbidden("row_not_allowed", fmt.Sprintf("this route does not let its callers choose the value of %q", column))
}

// restrictInsert lets an insert fill the route's columns, and gives each row what the filter
// says of it.
func (p *pinned) restrictInsert(s *sdk.Statement) error {
	for _, name := range s.Rows.Columns {
		if p.holds(name) < 0 && !p.shown.shows(name) {
			return noColumn(name)
		}
	}
	if c := s.Conflict; c != nil {
		for _, name := range c.Columns {
			if !p.shown.shows(name) {
				return noColumn(name)
			}
		}
		if c.SetObject != nil {
			row, err := readRow(c.SetObject)
			if err != nil {
				return err
			}
			for name := range row {
				if !p.shown.shows(name) {
					return noColumn(name)
				}
			}
		}
	}
	if len(p.given) == 0 {
		return nil
	}
	for _, g := range p.given {
		if !slices.Contains(s.Rows.Columns, g.column) {
			s.Rows.Columns = append(s.Rows.Columns, g.column)
		}
	}
	return p.fill(&s.Rows)
}

// fill writes the rows anew, with the given values.
func (p *pinned) fill(rows *sdk.Rowset) error {
	if rows.Payload[0] == '{' {
		row, err := readRow(rows.Payload)
		if err == nil {
			err = p.fillRow(row)
		}
		if err != nil {
			return err
		}
		rows.Payload, err = json.Marshal(row)
		return err
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(rows.Payload, &list); err != nil {
		return unreadable()
	}
	for _, row := range list {
		if err := p.fillRow(row); err != nil {
			return err
		}
	}
	var err error
	rows.Payload, err = json.Marshal(list)
	return err
}

func (p *pinned) fillRow(row map[string]json.RawMessage) error {
	for name, value := range row {
		if i := p.holds(name); i >= 0 && (p.held[i] != name || !p.gives(name, value)) {
			return notSettable(name)
		}
	}
	for _, g := range p.given {
		row[g.column] = g.value
	}
	return nil
}

// readRow reads an object. Of members of the same name the last one counts, here and in what
// is written of it.
func readRow(object []byte) (map[string]json.RawMessage, error) {
	var row map[string]json.RawMessage
	if err := json.Unmarshal(object, &row); err != nil || row == nil {
		return nil, unreadable()
	}
	return row, nil
}

func unreadable() error { return sdk.E(sdk.Invalid, "invalid_json", "the rows cannot be read") }
