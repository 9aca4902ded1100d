package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unsafe"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

// bind turns arguments into what Bind sends: text, or nil for NULL. oids are the
// parameters' types where they are known. The result is valid until the next call.
func (c *conn) bind(args []sdk.Value, oids []uint32) [][]byte {
	c.params = c.params[:0]
	types := c.db.types()
	for i := range args {
		v := &args[i]
		switch {
		case v.Hint == sdk.Null:
			c.params = append(c.params, nil)
		case v.Hint == sdk.Bytes:
			c.params = append(c.params, hex.AppendEncode([]byte(`\x`), []byte(v.Text)))
		case v.Hint == sdk.JSON && i < len(oids) && isArray(types[oids[i]]):
			c.params = append(c.params, arrayLiteral(v.Text, types[oids[i]].encoding.elem.form == formJSON))
		case v.Text == "":
			c.params = append(c.params, []byte{}) // nil is NULL
		default: // a large insert is one text; it is only read
			c.params = append(c.params, unsafe.Slice(unsafe.StringData(v.Text), len(v.Text)))
		}
	}
	return c.params
}

// maxArguments is how many the protocol has room for.
const maxArguments = 65535

func checkCount(args []sdk.Value) error {
	if len(args) <= maxArguments {
		return nil
	}
	return sdk.E(sdk.Invalid, "too_many_values", fmt.Sprintf("the statement has %[2]d values, PostgreSQL takes %[1]d", maxArguments, len(args))).
		WithHint("give many values as one array")
}

func checkArguments(args []sdk.Value, desc *pgconn.StatementDescription) error {
	if len(args) == len(desc.ParamOIDs) {
		return nil
	}
	return sdk.E(sdk.Invalid, "wrong_arguments", fmt.Sprintf("the statement takes %d arguments, not %d", len(desc.ParamOIDs), len(args)))
}

func isArray(t *typeInfo) bool { return t != nil && t.encoding.form == formArray }

// hasArrays reports whether an argument may have to become an array literal.
func hasArrays(args []sdk.Value) bool {
	for i := range args {
		if args[i].Hint == sdk.JSON && strings.HasPrefix(args[i].Text, "[") {
			return true
		}
	}
	return false
}

// arrayLiteral turns a JSON array into PostgreSQL's array literal. What is no JSON array
// stays as it is.
func arrayLiteral(text string, ofJSON bool) []byte {
	if literal, ok := sqlbuild.ArrayLiteral([]byte(text), ofJSON); ok {
		return []byte(literal)
	}
	return []byte(text)
}
