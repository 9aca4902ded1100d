package sqlbuild

import (
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// castType is what a type name of the allowlist means.
type castType struct {
	postgres, sqlite string
	class            Class
}

// casts are the type names that a caller may cast to.
var casts = map[string]castType{
	"text":        {"text", "TEXT", ClassText},
	"uuid":        {"uuid", "TEXT", ClassUUID},
	"int":         {"integer", "INTEGER", ClassNumber},
	"integer":     {"integer", "INTEGER", ClassNumber},
	"bigint":      {"bigint", "INTEGER", ClassNumber},
	"smallint":    {"smallint", "INTEGER", ClassNumber},
	"boolean":     {"boolean", "NUMERIC", ClassBool},
	"bool":        {"boolean", "NUMERIC", ClassBool},
	"numeric":     {"numeric", "NUMERIC", ClassNumber},
	"float":       {"double precision", "REAL", ClassNumber},
	"double":      {"double precision", "REAL", ClassNumber},
	"real":        {"real", "REAL", ClassNumber},
	"json":        {"json", "TEXT", ClassJSON},
	"jsonb":       {"jsonb", "TEXT", ClassJSON},
	"date":        {"date", "TEXT", ClassTime},
	"time":        {"time", "TEXT", ClassTime},
	"timestamp":   {"timestamp", "TEXT", ClassTime},
	"timestamptz": {"timestamptz", "TEXT", ClassTime},
	"bytea":       {"bytea", "BLOB", ClassBytes},
}

// cast finds what a type name means; "" is the zero castType. A name that is not in the
// allowlist is any type of a PostgreSQL database, quoted: the server refuses those that
// it does not have.
func (b *builder) cast(name string) castType {
	if name == "" {
		return castType{}
	}
	return b.castTo(name, sdk.Strict)
}

// castTo is cast for comparisons. Lenient ones know the allowlist only: they look at the
// type to read the value.
func (b *builder) castTo(name string, compare sdk.Compare) castType {
	if c, ok := listedCast(name); ok {
		return c
	}
	if !b.d.sqlite && compare == sdk.Strict {
		if c, ok := parseType(name); ok {
			return c
		}
	}
	b.fail(sdk.E(sdk.Invalid, "invalid_cast", strconv.Quote(name)+" is not a type to cast to").
		WithHint("use one of text, uuid, int, integer, bigint, smallint, boolean, bool, numeric, float, double, real, json, jsonb, " +
			"date, time, timestamp, timestamptz, bytea"))
	return castType{}
}

func listedCast(name string) (castType, bool) {
	c, ok := casts[name]
	if !ok {
		c, ok = casts[strings.ToLower(strings.TrimSpace(name))]
	}
	return c, ok
}

// casted writes what write writes, cast to c. The zero castType casts nothing.
func (b *builder) casted(c castType, write func()) {
	switch {
	case c.postgres == "":
		write()
	case b.d.sqlite:
		b.write("CAST(")
		write()
		b.write(" AS ")
		b.write(c.sqlite)
		b.write(")")
	default:
		write()
		b.write("::")
		b.write(c.postgres)
	}
}
