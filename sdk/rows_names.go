package sdk

import "strings"

// Rename applies a naming policy to a column name.
func Rename(name string, policy Naming) string {
	switch policy {
	case NamesCamel:
		return toCamel(name)
	case NamesSnake:
		return toSnake(name)
	default:
		return name
	}
}

// toCamel turns created_at into createdAt; leading underscores stay.
func toCamel(s string) string {
	if !strings.Contains(s, "_") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && strings.Trim(s[:i], "_") != "" && i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z' {
			i++
			b = append(b, s[i]-'a'+'A')
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// toSnake turns createdAt into created_at and userID into user_id.
func toSnake(s string) string {
	b := make([]byte, 0, len(s)+4)
	upper := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= 'A' && s[i] <= 'Z' }
	for i := 0; i < len(s); i++ {
		if !upper(i) {
			b = append(b, s[i])
			continue
		}
		// A word begins after a small letter or digit, and at the last capital of a run.
		next := i+1 < len(s) && s[i+1] >= 'a' && s[i+1] <= 'z'
		if i > 0 && s[i-1] != '_' && (!upper(i-1) || next) {
			b = append(b, '_')
		}
		b = append(b, s[i]-'A'+'a')
	}
	return string(b)
}
