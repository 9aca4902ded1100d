package sdk

import "time"

// Verb says which kind of statement a Statement is.
type Verb uint8

// The verbs. The numbers are part of the protocol and are only ever appended to.
const (
	VerbInvalid Verb = iota
	Select
	Insert
	Update
	Delete
	Function
	SQL
	Count
)

// Statement is what a backend is asked to do, in no dialect. Verb decides which
// fields count; a backend never sees a verb or an operator that it did not declare, nor
// anything else that Capabilities name.
type Statement struct {
	Verb  Verb
	Table Table

	// Selection is the select tree of a Select and of a Function's result. For
	// writes with Returning == ReturnSelection it shapes the returned rows.
	// An empty list of items means all columns.
	Selection Selection
	Filter    *Filter // nil: no filter
	Order     []Order
	// Limit and Offset count rows; nil means none. On Update and Delete they choose
	// rows by key; a backend that cannot do that refuses the statement.
	Limit, Offset *int64
	PageToken     string // opaque, from an earlier Tail

	Rows      Rowset      // Insert: the rows
	Set       []SetItem   // Update: column by column ...
	SetObject []byte      // ... or one JSON object, bytes as the caller sent them
	Conflict  *OnConflict // Insert: nil means that a conflict is an error
	Key       []Value     // the primary key equals this, in the order of the key's columns
	Returning Returning
	Count     CountMode // also count, ignoring Limit and Offset
	AllowAll  bool      // an Update or Delete without Filter and Key is meant

	Function FunctionCall
	SQL      SQLText
	Explain  *Explain
}

// Table names a table or view. An empty Schema is the backend's default.
type Table struct{ Schema, Name string }

// Selection is a select tree.
type Selection struct {
	Items    []Item
	Distinct bool
	Bucket   *Bucket
	None     bool // of a relation: no columns, it only filters
}

// ItemKind says what an Item selects.
type ItemKind uint8

// The kinds of Item.
const (
	ItemColumn ItemKind = iota
	ItemStar
	ItemRelation
)

// Item is one entry of a select tree.
type Item struct {
	Kind      ItemKind
	Column    Column // ItemColumn
	Cast      string // type name, applied before Aggregate
	Aggregate string // "", "count", "sum", "avg", "min", "max"
	CastAfter string // type name, applied after Aggregate
	Alias     string // name in the answer; "" keeps the column's or relation's own
	Relation  *Relation
}

// Column is a column, or a place inside a JSON column.
type Column struct {
	Name string
	Path []PathStep
	// Plain says that a column of the table itself is meant: none that a function of its row
	// computes, for backends that have such.
	Plain bool
}

// PathStep is one step into a JSON value: a key, or an index (negative counts from
// the end). Text asks for the value as text, as PostgreSQL's ->> does.
type PathStep struct {
	Key     string
	Index   int64
	IsIndex bool
	Text    bool
}

// Relation embeds the rows of a related table.
type Relation struct {
	Target    string // table, foreign-key constraint or foreign-key column
	Schema    string
	Hint      string
	Inner     bool // rows without a match are left out
	Spread    bool // its columns become the parent's
	Selection Selection
	Filter    *Filter
	Order     []Order
	Limit     *int64
	Offset    *int64
}

// Bucket groups a time column by a granularity: minute, hour, day, week, month, quarter,
// year.
type Bucket struct {
	Column      Column
	Granularity string
}

// FilterKind says what a node of a filter tree is.
type FilterKind uint8

// The kinds of filter node.
const (
	FilterCompare FilterKind = iota
	FilterAnd
	FilterOr
	FilterNot // negates the conjunction of Children
)

// MaxFilterDepth is how deep filter and select trees may nest.
const MaxFilterDepth = 64

// Filter is a node of a filter tree: And, Or, Not over Children, or a comparison.
type Filter struct {
	Kind     FilterKind
	Children []Filter

	Column     Column
	Relation   string // instead of Column: an embedded relation's null test
	Operator   Operator
	Values     []Value // one; for In any number; for Any and All the alternatives
	Language   string  // full-text search configuration
	ColumnCast string
	ValueCast  string
	Quantifier Quantifier // of Operator
	Compare    Compare
}

// Operator is a comparison by its PostgREST name. Backends declare which they know.
type Operator string

// The operators.
const (
	Eq         Operator = "eq"
	Neq        Operator = "neq"
	Gt         Operator = "gt"
	Gte        Operator = "gte"
	Lt         Operator = "lt"
	Lte        Operator = "lte"
	Like       Operator = "like"  // % and _ are wildcards
	ILike      Operator = "ilike" // the same, any letter case
	Match      Operator = "match" // POSIX regular expression
	IMatch     Operator = "imatch"
	In         Operator = "in" // no values: matches nothing
	Is         Operator = "is" // null, not_null, true, false, unknown
	IsDistinct Operator = "isdistinct"
	Contains   Operator = "cs"
	Contained  Operator = "cd"
	Overlaps   Operator = "ov"
	FTS        Operator = "fts"
	PlainFTS   Operator = "plfts"
	PhraseFTS  Operator = "phfts"
	WebFTS     Operator = "wfts"
	StrictLeft Operator = "sl"
	StrictRght Operator = "sr"
	NotRight   Operator = "nxr"
	NotLeft    Operator = "nxl"
	Adjacent   Operator = "adj"
)

// Quantifier makes a comparison hold for any or for all of its Values.
type Quantifier uint8

// The quantifiers.
const (
	QuantifierNone Quantifier = iota
	Any
	All
)

// Compare says how a literal meets a column's type.
type Compare uint8

const (
	// Strict: the column's type decides and a bad literal is the database's error.
	Strict Compare = iota
	// Lenient: a literal that is plainly none of the column's type is compared as text, or
	// as a number with a column of numbers. One that only looks like it, such as a time of
	// 99 hours or an array without an end, and any literal of a type that the backend does
	// not know, may be the database's error as if it were Strict.
	Lenient
)

// ValueHint remembers what a value was on the wire it came by: JSON knows 5 from
// "5", a query string does not.
type ValueHint uint8

// The hints.
const (
	Untyped ValueHint = iota
	Null
	Bool   // Text is true or false
	Number // Text is a JSON number, never rounded
	String
	JSON // Text is an object or array
	Bytes
)

// Value is one scalar as text plus a hint. It never passes through a float.
type Value struct {
	Hint ValueHint
	Text string
}

// Order is one sort term. With Relation it sorts by a column of a to-one relation.
type Order struct {
	Column     Column
	Relation   string
	Descending bool
	Nulls      Nulls
}

// Nulls says where nulls sort.
type Nulls uint8

// Where nulls sort; NullsDefault leaves it to the database.
const (
	NullsDefault Nulls = iota
	NullsFirst
	NullsLast
)

// RowsetFormat is the format of a Rowset's payload.
type RowsetFormat uint8

// The payload formats.
const (
	RowsJSON RowsetFormat = iota // one object, or an array of objects
	RowsCSV                      // a header line, then rows
)

// Rowset is what an Insert inserts: the caller's bytes as they came, validated once.
type Rowset struct {
	Format  RowsetFormat
	Payload []byte
	// Columns are the columns to fill. A row that lacks one of them gets null, or the
	// column's default with MissingDefault.
	Columns        []string
	MissingDefault bool
}

// SetItem is one assignment of an Update.
type SetItem struct {
	Column  string
	Value   Value
	Default bool // the column's default, instead of Value
}

// OnConflict says what an Insert does with a row that exists already.
type OnConflict struct {
	Columns    []string // conflict target by columns ...
	Constraint string   // ... or by constraint; neither means the primary key
	Update     bool     // false: leave the existing row alone
	// Set and SetObject say what an update sets; when both are empty, every inserted
	// column that is not part of the target.
	Set       []SetItem
	SetObject []byte
}

// Returning says what a write answers with.
type Returning uint8

// What a write answers with.
const (
	ReturnNone Returning = iota
	ReturnKeys
	ReturnSelection
)

// CountMode says how a total is counted.
type CountMode uint8

// The ways to count.
const (
	CountNone CountMode = iota
	CountExact
	CountPlanned
	CountEstimated
)

// FunctionCall calls a function of the database. One of Args, ArgPairs and Body is set.
type FunctionCall struct {
	Schema, Name string
	Args         []byte // JSON object of named arguments
	ArgPairs     []Pair // repeated text pairs
	Body         []byte // the one unnamed argument
	BodyType     string // its media type
	ViaGet       bool   // must not write
}

// Pair is a name and a text.
type Pair struct{ Name, Value string }

// Intent says what a SQL text is meant to do.
type Intent uint8

// The intents.
const (
	IntentUnknown Intent = iota
	IntentRead
	IntentWrite
)

// SQLText is a statement in the backend's own language.
type SQLText struct {
	Text   string
	Args   []Value
	Schema string // searched first
	Intent Intent
}

// Explain asks for the plan instead of the rows. Format is text or json.
type Explain struct {
	Format  string
	Options []string // analyze, verbose, settings, buffers, wal
}

// Session is what a request wants its database session to be; it is reset afterwards.
type Session struct {
	Role             string
	Settings         []Pair
	SearchPath       []string
	TimeZone         string
	StatementTimeout time.Duration // for the whole call, kept by the SDK for every backend
	Bearer           string        // secret; for backends reached by HTTP
}

// Isolation is a transaction's isolation level.
type Isolation uint8

// The isolation levels; IsolationDefault leaves it to the database.
const (
	IsolationDefault Isolation = iota
	ReadCommitted
	RepeatableRead
	Serializable
)

// Tx says which transaction the statements of a Call share.
type Tx struct {
	Single     bool // one transaction around all statements
	Isolation  Isolation
	ReadOnly   bool
	Deferrable bool
	Rollback   bool // end with rollback, after checking deferred constraints
}

// Expect is checked before COMMIT; a Call that fails it is rolled back.
type Expect struct {
	ExactlyOne  bool
	MaxAffected *int64
	KeyEquals   []Value
}

// Format is the format of a body.
type Format uint8

// The formats.
const (
	FormatRows   Format = iota // a JSON array of objects
	FormatObject               // one JSON object, or null
	FormatCSV
	FormatGeoJSON
	FormatRaw  // one column's bytes, as MediaType
	FormatNone // counted, not sent
)

// Naming is the policy for column names in answers.
type Naming uint8

// The naming policies.
const (
	NamesAsIs Naming = iota
	NamesCamel
	NamesSnake
)

// ResultOptions say how the rows come back.
type ResultOptions struct {
	Format     Format
	MediaType  string // FormatRaw
	Naming     Naming
	StripNulls bool  // leave null-valued keys of each row out
	MaxRows    int64 // 0: no bound
	CapRows    bool  // more than MaxRows: end silently instead of failing
	MaxBytes   int64 // bound on the memory of rows held back until COMMIT; 0: DefaultMaxHeld
	SQLHeaders bool  // SQL may set status and headers; the answer does not stream
	NoColumns  bool  // the caller does not look at Head.Columns: they may be left out
}

// DefaultMaxHeld is how many bytes of a write's returned rows are held until COMMIT
// when ResultOptions.MaxBytes is 0.
const DefaultMaxHeld = 64 << 20

// Call is one trip to a backend: one or more statements, and all they need.
type Call struct {
	ID         uint64 // set by Remote; Cancel names it
	Instance   string
	Generation uint64
	Deadline   time.Time // for the Head; zero: none. A call that comes later is not executed
	Trace      string    // W3C traceparent

	Session     Session
	Tx          Tx
	Statements  []Statement // in order; the first error ends the call
	Expect      Expect
	Result      ResultOptions
	MinPosition string // wait for this replication position before reading
	Options     []Pair // hints for one backend; unknown ones are ignored
}

// ReadOnly reports whether executing the call twice is the same as once.
func (c *Call) ReadOnly() bool {
	for i := range c.Statements {
		if !c.Statements[i].ReadOnly() {
			return false
		}
	}
	return true
}

// ReadOnly reports whether the statement cannot write. SQL text is a write unless the
// caller said that it reads.
func (s *Statement) ReadOnly() bool {
	switch s.Verb {
	case Select, Count:
		return true
	case SQL:
		return s.SQL.Intent == IntentRead
	case Function:
		return s.Function.ViaGet
	default:
		return false
	}
}

// Shape is the JSON shape of a body.
type Shape uint8

// The shapes.
const (
	ShapeRows Shape = iota
	ShapeObject
	ShapeScalar
	ShapeVoid
)

// ColumnInfo describes one column of an answer.
type ColumnInfo struct{ Name, Type string }

// Head comes before a statement's body.
type Head struct {
	Statement int
	Shape     Shape
	Columns   []ColumnInfo
	Rows      *int64 // when already known
	Total     *int64 // when asked for and already known
	Status    int    // set by SQL
	Headers   []Pair // set by SQL
}

// Tail comes after a statement's body.
type Tail struct {
	Statement int
	Rows      int64
	Total     *int64      // rows without Limit and Offset, when asked for
	Affected  *int64      // rows written
	Inserted  *int64      // of these, rows that did not exist before
	Keys      []KeyColumn // primary key of the one written row
	// TablesRead and TablesWritten are schema-qualified; "*" means any table.
	TablesRead, TablesWritten []string
	PageToken                 string
	Position                  string // replication position after a write
	Statements                int    // of a SQL text: how many it held
	Timings                   []Timing
}

// KeyColumn is one column of a row's key, as text.
type KeyColumn struct {
	Name, Value string
	Null        bool
}

// Timing is one measured part of a call.
type Timing struct {
	Name     string
	Duration time.Duration
}
