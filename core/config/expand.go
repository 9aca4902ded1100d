package config

import (
	"errors"
	"strings"
)

var (
	errUnclosed  = errors.New("a ${ without its }; write $${ for a literal ${")
	errAdminKey  = errors.New("the admin key in " + adminKeyVariable + " is for no value of the configuration; use a variable of its own")
	errSecretKey = errors.New("the keys in " + secretKeyVariable + " and " + previousSecretKeyVariable + " are for no value of the configuration; use a variable of its own")
	errBadName   = errors.New("after ${ comes a variable's name (letters, digits, underscores), " +
		"then } or :-default}; write $${ for a literal ${")
)

// expand replaces ${VAR} and ${VAR:-default} in text; the default also stands for a
// variable that is empty. $${ is a literal ${. What is put in is not looked at again.
// Names that lookup does not know and that have no default are returned as missing.
func expand(text string, lookup func(string) (string, bool)) (out string, missing []string, err error) {
	var b strings.Builder
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			return b.String(), missing, nil
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at-1] + "${")
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		inner, rest, ok := strings.Cut(text[at+2:], "}")
		if !ok {
			return "", nil, errUnclosed
		}
		name, fallback, hasDefault := strings.Cut(inner, ":-")
		if !isVariable(name) || strings.Contains(fallback, "${") {
			return "", nil, errBadName
		}
		switch name {
		case adminKeyVariable:
			return "", nil, errAdminKey
		case secretKeyVariable, previousSecretKeyVariable:
			return "", nil, errSecretKey
		}
		value, set := lookup(name)
		switch {
		case hasDefault && value == "":
			value = fallback
		case !set:
			missing = append(missing, name)
		}
		b.WriteString(value)
		text = rest
	}
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
