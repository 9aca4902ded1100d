package sqlbuild

import "github.com/athena-gateway/athena/sdk"

// Record says what PostgreSQL's anonymous records in a column are: the rows of an embedded
// relation, one object each. A column of type record holds a row or null, one of type
// record[] rows, each an element.
type Record struct {
	// Fields are those of the record, in order. Names may occur twice.
	Fields []RecordField
}

// RecordField is a field of a Record.
type RecordField struct {
	Key    []byte    // its name as a key of JSON: "name":
	Form   ValueForm // of a value
	Record *Record   // of a field that holds records itself; nil: a value
}

// ValueForm says how values of a type travel in a record.
type ValueForm uint8

// The forms.
const (
	ValueJSON   ValueForm = iota // as to_json makes json of them
	ValueBinary                  // as they are
	ValueText                    // as text; greater ones, too, which the plugin tells apart
)

// WithRecords is the dialect of a plugin that reads PostgreSQL's records in binary and writes
// their JSON itself, which takes less than to have the server make it: embedded relations
// come as the records of Query.Records, wherever nothing but the answer's rows of JSON is
// made of them. Such columns must be asked for in binary.
//
// forms are those of values by the names of their types, as Column has them; it must not be
// changed any more. Values of other types come as json. As text may come only types that
// nothing but their output function makes a text of.
func (d *Dialect) WithRecords(forms map[string]ValueForm) *Dialect {
	records := *d
	records.forms = forms
	return &records
}

// recordable reports whether embedded relations of the statement's own level can be
// records: its rows are answered as JSON and not compared with each other.
func (b *builder) recordable(selection *sdk.Selection) bool {
	switch b.o.Format {
	case sdk.FormatCSV, sdk.FormatRaw, sdk.FormatGeoJSON:
		return false
	}
	return b.d.forms != nil && hasRelation(selection) && !selection.Distinct && !aggregated(selection)
}

// chooseRecord decides whether a relation is embedded as records, and those within it.
// What becomes part of JSON that the server makes must be JSON.
func (b *builder) chooseRecord(r *related) {
	q := r.item.Relation
	switch {
	case !r.parent.records || q.Spread && r.toMany():
	case q.Spread: // its columns are the parent's
		r.scope.records = true
	default:
		r.record = &Record{}
		r.scope.records = !q.Selection.Distinct && !aggregated(&q.Selection)
	}
}

// isRecord notes that the column just written holds records; nil: it does not.
func (b *builder) isRecord(record *Record) {
	if record == nil {
		return
	}
	l := b.list()
	if l.records == nil {
		l.records = map[int]*Record{}
	}
	l.records[l.columns-1] = record
}

// placedRecords are the records of the list's columns; see Query.Records.
func (l *list) placedRecords() []*Record {
	if l.records == nil {
		return nil
	}
	placed := make([]*Record, l.columns)
	for i, record := range l.records {
		placed[i] = record
	}
	return placed
}

// recordPostgres writes the records of a relation's rows, from its level, and fills in what
// they are.
func (b *builder) recordPostgres(r *related) {
	end := ")"
	if r.toMany() {
		b.write("coalesce(array_agg(")
		end = ")), '{}')"
	}
	b.write("ROW(")
	slots := b.slots(r.scope, &r.item.Relation.Selection)
	fields := make([]RecordField, len(slots))
	for i := range slots {
		s := &slots[i]
		if i > 0 {
			b.write(", ")
		}
		f := &fields[i]
		f.Key, f.Record, f.Form = append(sdk.AppendString(nil, sdk.Rename(s.name, b.o.Naming)), ':'), s.record, b.d.forms[s.typ]
		switch {
		case s.record != nil, f.Form == ValueBinary:
			b.slot(r.rows, i)
		case f.Form == ValueJSON:
			b.write("to_json(")
			b.slot(r.rows, i)
			b.write(")")
		default: // of its type even if the catalogue is not the latest
			b.slot(r.rows, i)
			b.write("::")
			b.write(s.typ)
			b.write("::text")
		}
	}
	r.record.Fields = fields
	b.write(end)
	b.write(" FROM (")
	b.within(r.scope, func() { b.placed(r) })
	b.write(")")
}

// selectedType is the type of the column where it is selected.
func (c *Column) selectedType() string {
	if c.AsJSON {
		return "json"
	}
	return c.Type
}
