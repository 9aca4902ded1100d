package httpapi

import (
	"github.com/athena-gateway/athena/sdk"
)

// readRows checks insert_body and collects the keys of its rows, in one pass. The bytes
// stay the caller's.
func (p *payload) readRows(r *reader) {
	c := columnSet{}
	switch r.peek() {
	case '{':
		start := r.i
		c.row(r)
		p.insertBody = r.b[start:r.i]
	case '[':
		start, n := r.i, 0
		r.array(func() {
			if r.peek() != '{' {
				if r.value(); r.err == nil {
					r.fail(invalid("invalid_insert_body", "row %d of insert_body is not an object", n+1))
				}
				return
			}
			n++
			c.row(r)
		})
		if r.err == nil && n == 0 {
			r.fail(sdk.E(sdk.Invalid, "empty_insert_body", "insert_body holds no rows"))
		}
		p.insertBody = r.b[start:r.i]
	case 'n':
		r.value()
		return
	default:
		r.wrongType("insert_body", "an object or an array of objects")
	}
	p.insertColumns = c.names
}

// columnSet is the union of the rows' keys in the order of their first appearance. Rows
// mostly have the same keys in the same order, so each key is compared with the expected
// one before it is looked up.
type columnSet struct {
	names []string
	index map[string]int
}

// row reads an object and adds its keys.
func (c *columnSet) row(r *reader) {
	expected := 0
	r.object(func(key []byte) {
		if expected < len(c.names) && c.names[expected] == string(key) {
			expected++
		} else {
			expected = c.add(r, key) + 1
		}
		r.value()
	})
}

// add returns the place of a key that was not the expected one.
func (c *columnSet) add(r *reader, key []byte) int {
	if i, ok := c.index[string(key)]; ok {
		return i
	}
	if c.index == nil {
		c.index = map[string]int{}
	}
	i := len(c.names)
	if i == maxColumns {
		r.fail(invalid("too_many_columns", "the rows of insert_body have more than %d different keys", maxColumns))
		return i
	}
	name := string(key)
	c.names = append(c.names, name)
	c.index[name] = i
	return i
}
