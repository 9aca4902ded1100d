package sqlbuild

import (
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

// Catalogue is what the builder must know of a database. It is not changed once it is in
// use, only replaced whole. Names, types and default expressions are trusted as catalogue
// text.
type Catalogue struct {
	Tables    map[sdk.Table]*Table
	Functions map[sdk.Table][]*Function // by schema and name: the overloads
	Path      []string                  // where unqualified names are looked for, in order
	// GeoJSON is the function that turns a row into a GeoJSON feature, quoted and with its
	// schema; "" if the database has none.
	GeoJSON string
}

// TableKind is the kind of a Table.
type TableKind uint8

// The kinds of Table.
const (
	BaseTable TableKind = iota // also a partitioned one
	View
	MaterializedView
	ForeignTable
)

// Table is a table or view.
type Table struct {
	Schema, Name string
	Kind         TableKind
	Partitioned  bool // a BaseTable whose rows are in partitions: they have no xmax on the way
	Columns      []Column
	Key          []string   // the primary key's columns; empty: none. Of a view: of the table it shows
	Unique       [][]string // further keys
	// Foreign are the foreign keys of this table, Referring those of others that refer to
	// it. Views have those of the tables whose key columns they show.
	Foreign, Referring []*ForeignKey
	// Computed are the functions of this table's row: computed columns and relationships.
	Computed []*Function
	// Insertable, Updatable and Deletable say what the kind of table, its rules and
	// triggers allow.
	Insertable, Updatable, Deletable bool
	// Effects says that a write to it may change other tables too: triggers, cascades,
	// a view.
	Effects bool
	Comment string
	// Privileges are those of the role that the catalogue was read as: any of select,
	// insert, update, delete.
	Privileges []string
}

// ForeignKey is a foreign key of Table to Target.
type ForeignKey struct {
	Name          string
	Table         *Table
	Columns       []string
	Target        *Table
	TargetColumns []string
	Unique        bool // Columns hold a key of Table: at most one row refers
}

// Function is a function of the database.
type Function struct {
	Schema, Name string
	Params       []Param // those to be given, in order
	Returns      Returns
	Volatile     bool // may write
	// Settings are the function's own settings (SET ...) that must be in force before it
	// is called.
	Settings []sdk.Pair
	Comment  string
}

// Param is a parameter of a function.
type Param struct {
	Name     string // "" unnamed
	Type     string // as it may stand in a cast; of a variadic one the array's
	Class    Class
	Optional bool
	Variadic bool
	// Record says that only the server can read the type from JSON: a composite, or an
	// array of such.
	Record bool
}

// Returns is what a function returns.
type Returns struct {
	Set     bool // any number of rows or values
	One     bool // a Set that is declared to hold at most one (ROWS 1)
	Void    bool
	Columns []Column // of rows; empty: Value
	OneOut  bool     // Columns is the one OUT parameter, whose value is returned instead of a row
	Value   Column   // of a scalar; its name is the function's
	Table   *Table   // whose rows are returned; nil: not those of a table
	Unknown bool     // record: the columns are not known beforehand
}

// Column is one column of a Table.
type Column struct {
	Name string
	// Type is the type's name as it may stand in a cast: integer, text[], "My Enum".
	Type  string
	Class Class
	// AsJSON selects the column as to_json(column): the plugin's row encoder cannot
	// write its wire form.
	AsJSON     bool
	HasDefault bool
	Generated  bool
	// Default is the default expression. Empty with HasDefault means an identity column.
	Default  string
	Nullable bool
	Enum     []string // the type's values
	Comment  string
}

// Class is the kind of a column's type, as far as building needs it.
type Class uint8

// The classes.
const (
	ClassOther Class = iota
	ClassText
	ClassNumber
	ClassBool
	ClassUUID
	ClassArray
	ClassJSON
	ClassTime
	ClassBytes
	ClassTSVector // also of a domain over it
)

// find returns the table that name means. The error is NotFound undefined_table.
func (d *Dialect) find(c *Catalogue, name sdk.Table) (*Table, error) {
	if name.Schema != "" {
		if t := c.Tables[name]; t != nil {
			return t, nil
		}
	} else {
		for _, schema := range c.Path {
			if t := c.Tables[sdk.Table{Schema: schema, Name: name.Name}]; t != nil {
				return t, nil
			}
		}
	}
	return nil, d.undefinedTable(c, name)
}

func (d *Dialect) undefinedTable(c *Catalogue, name sdk.Table) error {
	e := sdk.E(sdk.NotFound, "undefined_table", fmt.Sprintf("table %q does not exist", name.Name))
	if name.Schema != "" {
		e.Message = fmt.Sprintf("table %q does not exist in schema %q", name.Name, name.Schema)
	}
	e.Code, e.Schema, e.Table = d.undefinedTableCode, name.Schema, name.Name
	var near, elsewhere []string
	for t := range c.Tables {
		switch {
		case t.Schema == name.Schema || name.Schema == "" && slices.Contains(c.Path, t.Schema):
			near = append(near, t.Name)
		case t.Name == name.Name:
			elsewhere = append(elsewhere, t.Schema)
		}
	}
	slices.Sort(near) // the same hint every time
	if hint := NearestName(name.Name, near); hint != "" {
		return e.WithHint(fmt.Sprintf("did you mean %q?", hint))
	}
	if len(elsewhere) > 0 {
		return e.WithHint(fmt.Sprintf("schema %q has a table of that name: name the schema too", slices.Min(elsewhere)))
	}
	return e
}
