package httpapi

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

// payload is the body of a gateway request. All operations share it; each takes what
// concerns it. Unknown members are ignored, members that would change the meaning and are
// not supported are refused.
type payload struct {
	table, view, schema string
	subject             string // stands for a table that is missing

	items      []sdk.Item
	columns    columnReader
	hasColumns bool

	filters []sdk.Filter
	terms   terms // of the filters
	byID    bool  // a condition says which id or resource_id is meant

	order                         []sdk.Order
	limit, offset, page, pageSize *int64

	count      sdk.CountMode
	head       bool
	stripNulls *bool

	insertBody    []byte // object or array, checked
	insertColumns []string
	updateBody    []byte // object, checked; nil: absent
	updateEmpty   bool
	conflict      []string
	hasConflict   bool
	missingNull   bool

	resourceID *sdk.Value
}

// unsupported are members that no part of the gateway understands yet.
var unsupported = map[string]string{
	"select": "name columns in columns", "where": "use conditions", "orderBy": "use sort_by", "where_filters": "use conditions",
	"group_by": "", "time_granularity": "", "aggregation_column": "", "aggregation_strategy": "", "aggregation_dedup": "",
}

// decode reads a body.
func (p *payload) decode(body []byte) error {
	return readObject(body, p.read)
}

// readObject reads a body that must be an object.
func readObject(body []byte, member func(r *reader, key []byte)) error {
	if !utf8.Valid(body) {
		return sdk.E(sdk.Invalid, "invalid_json", "the request body is not valid UTF-8")
	}
	r := reader{b: body}
	switch r.peek() {
	case '{':
		r.object(func(key []byte) { member(&r, key) })
	case 0:
		if r.i >= len(body) {
			return sdk.E(sdk.Invalid, "empty_body", "the request body is empty").WithHint("send a JSON object")
		}
		fallthrough
	default:
		if r.value(); r.err == nil {
			return sdk.E(sdk.Invalid, "invalid_body", "the request body must be a JSON object")
		}
	}
	r.end()
	return r.err
}

// read reads one member.
func (p *payload) read(r *reader, key []byte) {
	switch string(key) {
	case "table_name":
		p.table = r.text("table_name")
	case "view_name":
		p.view = r.text("view_name")
	case "schema_name":
		p.schema = r.text("schema_name")
	case "columns":
		p.readColumns(r)
	case "conditions":
		p.readConditions(r)
	case "limit":
		p.limit = r.count("limit")
	case "offset":
		p.offset = r.count("offset")
	case "current_page":
		p.page = r.count("current_page")
	case "page_size":
		p.pageSize = r.count("page_size")
	case "sort_by", "sortBy":
		p.readSort(r, string(key))
	case "count":
		p.readCount(r)
	case "head":
		p.head = r.truth("head")
	case "strip_nulls":
		if r.peek() == 'n' {
			r.value()
			return
		}
		strip := r.truth("strip_nulls")
		p.stripNulls = &strip
	case "insert_body":
		p.readRows(r)
	case "update_body":
		p.readUpdate(r)
	case "on_conflict":
		p.readConflict(r)
	case "default_to_null":
		p.missingNull = r.truth("default_to_null")
	case "resource_id":
		p.readResourceID(r)
	default:
		p.readOther(r, key)
	}
}

// readOther skips an unknown member and refuses one that asks for what is not there. One
// that asks for nothing is harmless.
func (p *payload) readOther(r *reader, key []byte) {
	raw := r.value()
	if r.err != nil {
		return
	}
	hint, known := unsupported[string(key)]
	if !known {
		return
	}
	switch string(raw) {
	case "null", "false", `""`, "{}", "[]":
		return
	}
	e := invalid("unsupported_"+strings.ToLower(string(key)), "%s is not supported yet", key)
	e.Hint = hint
	r.fail(e)
}

func (p *payload) readColumns(r *reader) {
	p.items, p.columns = nil, columnReader{}
	read := func(list string) {
		var err error
		if p.items, err = p.columns.read(p.items, list); err != nil {
			r.fail(err)
		}
	}
	if r.peek() == '[' {
		r.array(func() {
			if item := r.text("an entry of columns"); r.err == nil {
				read(item)
			}
		})
	} else if list := r.text("columns"); list == "*" {
		p.hasColumns = true // all of them, which no items mean
		return
	} else if strings.TrimSpace(list) != "" {
		read(list)
	}
	p.hasColumns = len(p.items) > 0
}

// readSort reads {"field":"created_at","direction":"desc"}.
func (p *payload) readSort(r *reader, name string) {
	if !r.wants(name, '{', `an object such as {"field":"id","direction":"asc"}`) {
		return
	}
	field, direction := "", ""
	r.object(func(key []byte) {
		switch string(key) {
		case "field":
			field = r.text("field of " + name)
		case "direction":
			direction = r.text("direction of " + name)
		default:
			r.value()
		}
	})
	if r.err == nil {
		p.order, r.err = sortBy(field, direction)
	}
}

func sortBy(field, direction string) ([]sdk.Order, error) {
	if field == "" {
		return nil, invalid("invalid_sort_by", "sort_by has no field").WithHint(`write {"field":"id","direction":"asc"}`)
	}
	o := sdk.Order{Column: sdk.Column{Name: field}}
	switch strings.ToLower(direction) {
	case "", "asc", "ascending":
	case "desc", "descending":
		o.Descending = true
	default:
		return nil, invalid("invalid_sort_by", "sort_by: the direction must be asc or desc, not %s", quote(direction))
	}
	return []sdk.Order{o}, nil
}

func (p *payload) readCount(r *reader) {
	if c := r.peek(); c == 't' || c == 'f' {
		if r.truth("count") {
			p.count = sdk.CountExact
		}
		return
	}
	var err error
	if p.count, err = countMode(r.text("count")); err != nil {
		r.fail(err)
	}
}

func countMode(name string) (sdk.CountMode, error) {
	switch name {
	case "":
		return sdk.CountNone, nil
	case "exact":
		return sdk.CountExact, nil
	case "planned":
		return sdk.CountPlanned, nil
	case "estimated":
		return sdk.CountEstimated, nil
	}
	return sdk.CountNone, invalid("invalid_count", "count must be exact, planned or estimated, not %s", quote(name))
}

func (p *payload) readUpdate(r *reader) {
	if !r.wants("update_body", '{', "an object") {
		return
	}
	p.updateBody = r.value()
	p.updateEmpty = r.err == nil && skipSpace(p.updateBody, 1) == len(p.updateBody)-1
}

// readConflict reads key columns: a list, or a text separated by commas.
func (p *payload) readConflict(r *reader) {
	p.conflict = nil
	add := func(list string) {
		for name := range strings.SplitSeq(list, ",") {
			if len(p.conflict) == maxColumns {
				r.fail(invalid("too_many_columns", "on_conflict names more than %d columns", maxColumns))
				return
			}
			if name = strings.TrimSpace(name); name != "" {
				p.conflict = append(p.conflict, name)
			}
		}
	}
	if r.peek() == '[' {
		r.array(func() { add(r.text("an entry of on_conflict")) })
	} else {
		add(r.text("on_conflict"))
	}
	p.hasConflict = len(p.conflict) > 0
}

func (p *payload) readResourceID(r *reader) {
	switch c := r.peek(); {
	case c == 'n':
		r.value()
	case c == '"' || c == '-' || c >= '0' && c <= '9':
		raw := r.value()
		if r.err != nil {
			return
		}
		if v := scalar(raw); v.Text != "" {
			p.resourceID = &v
		}
	default:
		r.wrongType("resource_id", "a string or number")
	}
}

// target is the table or view.
func (p *payload) target() (sdk.Table, error) {
	name, schema := p.table, p.schema
	if name == "" {
		name = p.view
	}
	if name == "" {
		name = p.subject
	}
	if name = strings.TrimSpace(name); name == "" {
		return sdk.Table{}, sdk.E(sdk.Invalid, "missing_table_name", "table_name is missing").WithHint(`name the table or view, as in {"table_name":"users"}`)
	}
	if before, after, ok := strings.Cut(name, "."); ok {
		if schema != "" {
			return sdk.Table{}, invalid("invalid_table_name", "schema_name %s and the schema of table_name %s exclude each other", quote(schema), quote(name))
		}
		schema, name = before, after
	}
	if name == "" || strings.ContainsAny(schema+name, ".\x00") || p.table != "" && schema == "" && strings.HasPrefix(p.table, ".") {
		return sdk.Table{}, invalid("invalid_table_name", "table_name must be a name or schema.name, not %s", quote(p.table+p.view))
	}
	return sdk.Table{Schema: schema, Name: name}, nil
}

// filter is the conjunction of the conditions; nil when there are none.
func (p *payload) filter(table *sdk.Table) *sdk.Filter {
	for i := range p.filters {
		qualify(&p.filters[i], table)
	}
	switch len(p.filters) {
	case 0:
		return nil
	case 1:
		return &p.filters[0]
	}
	return &sdk.Filter{Kind: sdk.FilterAnd, Children: p.filters}
}

func qualify(f *sdk.Filter, table *sdk.Table) {
	f.Column.Name = unqualified(f.Column.Name, table)
	for i := range f.Children {
		qualify(&f.Children[i], table)
	}
}

// window is the limit and offset: the explicit ones, else those of the page.
func (p *payload) window() (limit, offset *int64, err error) {
	limit, offset = p.limit, p.offset
	if limit == nil {
		limit = p.pageSize
	}
	if p.page == nil || offset != nil {
		return limit, offset, nil
	}
	size := p.pageSize
	if size == nil {
		size = limit
	}
	if *p.page < 1 {
		return nil, nil, invalid("invalid_current_page", "current_page counts from 1")
	}
	if size == nil {
		if *p.page > 1 {
			return nil, nil, invalid("invalid_current_page", "current_page needs page_size or limit")
		}
		return limit, offset, nil
	}
	const most = 1 << 62
	if *size > 0 && *p.page-1 > most / *size {
		return nil, nil, invalid("invalid_current_page", "current_page %s is too large", strconv.FormatInt(*p.page, 10))
	}
	start := (*p.page - 1) * *size
	return limit, &start, nil
}
