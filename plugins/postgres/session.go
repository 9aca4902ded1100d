package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

func hasSession(s *sdk.Session) bool {
	return s.Role != "" || s.TimeZone != "" || len(s.Settings) > 0 || len(s.SearchPath) > 0
}

// settingsOf puts together what to set for a transaction, in this order. path is the
// search path, "" for the connection's own. The role comes last: the connection's own may
// be allowed settings that the role is not.
func settingsOf(s *sdk.Session, path string) []sdk.Pair {
	var settings []sdk.Pair
	set := func(name, value string) { settings = append(settings, sdk.Pair{Name: name, Value: value}) }
	if path != "" {
		set("search_path", path)
	}
	if s.TimeZone != "" {
		set("timezone", s.TimeZone)
	}
	settings = append(settings, s.Settings...)
	if s.StatementTimeout > 0 && (len(settings) > 0 || s.Role != "") {
		set("statement_timeout", strconv.FormatInt(max(1, s.StatementTimeout.Milliseconds()), 10))
	}
	if s.Role != "" {
		set("role", s.Role)
	}
	return settings
}

// setsMeaning reports whether a session has settings that decide what constants in a text
// mean: the time zone, the date style. Names with a dot are not the server's.
func setsMeaning(s *sdk.Session) bool {
	isServers := func(p sdk.Pair) bool { return !strings.Contains(p.Name, ".") }
	return s.TimeZone != "" || slices.ContainsFunc(s.Settings, isServers)
}

// sessionKey is what decides the meaning of a statement's text; see statementKey.
func sessionKey(role, path string) string {
	if role == "" && path == "" {
		return ""
	}
	return role + "\x00" + path
}

// pathOf is a search path as set_config reads it: as SET does, so that names in quotes are
// taken as they are.
func pathOf(schemas ...string) string {
	var b []byte
	for i, schema := range schemas {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendName(b, schema)
	}
	return string(b)
}

// settingsStep sets all settings for the transaction. One text serves any values.
func settingsStep(settings []sdk.Pair) *step {
	var b strings.Builder
	b.Grow(64 * len(settings))
	args := make([]sdk.Value, 0, 2*len(settings))
	word := "select "
	for i := range settings {
		b.WriteString(word)
		word = ", "
		b.WriteString("pg_catalog.set_config($")
		b.WriteString(strconv.Itoa(2*i + 1))
		b.WriteString(", $")
		b.WriteString(strconv.Itoa(2*i + 2))
		b.WriteString(", true)")
		args = append(args, sdk.Value{Text: settings[i].Name}, sdk.Value{Text: settings[i].Value})
	}
	return &step{text: b.String(), args: args, prepared: true}
}

func appendName(b []byte, name string) []byte {
	b = append(b, '"')
	for i := 0; i < len(name); i++ {
		if name[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, name[i])
	}
	return append(b, '"')
}

// beginText is the statement that begins a transaction.
func beginText(isolation sdk.Isolation, readOnly, deferrable bool) string {
	text := "begin"
	switch isolation {
	case sdk.ReadCommitted:
		text = "begin isolation level read committed"
	case sdk.RepeatableRead:
		text = "begin isolation level repeatable read"
	case sdk.Serializable:
		text = "begin isolation level serializable"
	}
	if readOnly {
		text += " read only"
	}
	if deferrable {
		text += " deferrable"
	}
	return text
}

// isolationOf reads a default_transaction_isolation.
func isolationOf(name string) sdk.Isolation {
	switch strings.ToLower(name) {
	case "serializable":
		return sdk.Serializable
	case "repeatable read":
		return sdk.RepeatableRead
	case "read committed", "read uncommitted":
		return sdk.ReadCommitted
	}
	return sdk.IsolationDefault
}
