package sqlbuild

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/athena-gateway/athena/sdk"
)

// quote writes an identifier in double quotes, doubling those inside.
func (b *builder) quote(name string) {
	if name == "" || strings.IndexByte(name, 0) >= 0 || !utf8.ValidString(name) {
		b.invalid("invalid_identifier", "%q cannot be a name: it is empty, holds a NUL byte or is not UTF-8", name)
		return
	}
	b.text.WriteByte('"')
	if strings.IndexByte(name, '"') >= 0 {
		name = strings.ReplaceAll(name, `"`, `""`)
	}
	b.text.WriteString(name)
	b.text.WriteByte('"')
}

func undefinedColumn(d *Dialect, t *Table, name string) *sdk.Error {
	names := make([]string, len(t.Columns))
	for i := range t.Columns {
		names[i] = t.Columns[i].Name
	}
	e := sdk.E(sdk.Invalid, "undefined_column", fmt.Sprintf("column %q of table %q does not exist", name, t.Name))
	e.Code, e.Schema, e.Table, e.Column = d.undefinedColumnCode, t.Schema, t.Name, name
	if near := NearestName(name, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return e
}

// NearestName returns the candidate that name most likely misspells, for hints; "" when
// none is near. Letter case counts for nothing.
func NearestName(name string, candidates []string) string {
	if len(name) > 256 {
		return "" // not a slip of the finger
	}
	a := []rune(strings.ToLower(name))
	best, bound := "", max(1, len(a)/3)+1
	for _, candidate := range candidates {
		c := []rune(strings.ToLower(candidate))
		if len(c)-len(a) >= bound || len(a)-len(c) >= bound {
			continue
		}
		if d := editDistance(a, c); d < bound {
			best, bound = candidate, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours
// between a and b.
func editDistance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
