package sqlbuild

import (
	"strings"
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

// cast finds a type name in the allowlist; "" is the zero castType.
func (b *builder) cast(name string) castType {
	if name == "" {
		return castType{}
	}
	c, ok := casts[name]
	if !ok {
		c, ok = casts[strings.ToLower(strings.TrimSpace(name))]
	}
	if !ok {
		b.invalid("invalid_cast", "%q is not a type to cast to; use one of text, uuid, int, integer, bigint, smallint, boolean, bool, "+
			"numeric, float, double, real, json, jsonb, date, time, timestamp, timestamptz, bytea", name)
	}
	return c
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
