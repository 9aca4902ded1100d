package main

import (
	"slices"
	"strings"
	"testing"
)

func TestScanRule(t *testing.T) {
	const head = `({QUERY :commandType 1 :utilityStmt <> :rtable ({RANGETBLENTRY :alias {ALIAS :aliasname old :colnames ("a" "b \)")} :relid 9}) :jointree {FROMEXPR :fromlist ({RANGETBLREF :rtindex 3}) :quals <>} `
	const tail = ` :override 0 :returningList <> :setOperations <> :stmt_len 42})`
	for name, test := range map[string]struct {
		tree string
		want []origin
	}{
		"columns": {head + `:targetList ({TARGETENTRY :expr {VAR :varno 3} :resno 1 :resname i :ressortgroupref 0 :resorigtbl 16384 :resorigcol 1 :resjunk false} ` +
			`{TARGETENTRY :expr {VAR :varno 3} :resno 2 :resname j :ressortgroupref 0 :resorigtbl 4294967295 :resorigcol 12 :resjunk false})` + tail,
			[]origin{{16384, 1}, {4294967295, 12}}},
		"expression, junk": {head + `:targetList ({TARGETENTRY :expr {CONST :consttype 25 :constvalue 8 [ 32 0 0 0 125 41 58 32 ]} :resno 2 :resname a :resorigtbl 0 :resorigcol 0 :resjunk false} ` +
			`{TARGETENTRY :expr <> :resno 1 :resname b :resorigtbl 7 :resorigcol 3 :resjunk false} {TARGETENTRY :expr <> :resno 3 :resname <> :resorigtbl 7 :resorigcol 4 :resjunk true})` + tail,
			[]origin{{7, 3}, {}}},
		"odd names": {head + `:targetList ({TARGETENTRY :expr <> :resno 1 :resname \}\ :resorigtbl\ 5\ \(\\ :resorigtbl 7 :resorigcol 3 :resjunk false})` + tail, []origin{{7, 3}}},
		"a subquery's entries are not the view's": {head + `:targetList ({TARGETENTRY :expr {SUBLINK :subselect {QUERY :targetList ({TARGETENTRY :expr <> :resno 2 :resorigtbl 8 :resorigcol 1 :resjunk false}) :setOperations {X}}} ` +
			`:resno 1 :resname a :resorigtbl 0 :resorigcol 0 :resjunk false})` + tail, []origin{{}}},
		"lines":           {"({QUERY \n :commandType 1 \n :targetList (\n{TARGETENTRY :expr <> :resno 1 :resorigtbl 7\n :resorigcol 3 :resjunk false}) \n :setOperations <>})", []origin{{7, 3}}},
		"union":           {head + `:targetList ({TARGETENTRY :expr <> :resno 1 :resorigtbl 7 :resorigcol 3 :resjunk false}) :setOperations {SETOPERATIONSTMT :op 0})`, nil},
		"no columns":      {head + `:targetList <>` + tail, nil},
		"nothing":         {"<>", nil},
		"empty":           {"", nil},
		"number too high": {head + `:targetList ({TARGETENTRY :resno 99999999 :resorigtbl 7 :resorigcol 3})` + tail, nil},
	} {
		if got := scanRule([]byte(test.tree)); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// escapeToken writes a name as the server does in a node tree.
func escapeToken(name string) string {
	if name == "" {
		return `""`
	}
	var b strings.Builder
	if strings.ContainsRune(`<"+-0123456789`, rune(name[0])) {
		b.WriteByte('\\')
	}
	for i := range len(name) {
		if strings.IndexByte(" \n\t(){}\\", name[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// FuzzScanRule: whatever a name is, it hides no column; whatever a tree is, it is read.
func FuzzScanRule(f *testing.F) {
	f.Add("name", "({QUERY :targetList ({TARGETENTRY :resno 1 :resorigtbl 7 :resorigcol 3 :resjunk false})})")
	f.Add(` :x}\) [`, "({QUERY :targetList ({TARGETENTRY )]}")
	f.Add(`<>`, `({ ] :targetList \`)
	f.Fuzz(func(t *testing.T, name, tree string) {
		if n := len(scanRule([]byte(tree))); n > maxColumns {
			t.Errorf("%d columns", n)
		}
		name = escapeToken(strings.ReplaceAll(name, "\x00", ""))
		whole := `({QUERY :rtable ({ALIAS :aliasname ` + name + ` :colnames (` + `"` + name + `")}) :targetList ({TARGETENTRY :expr <> :resno 1 :resname ` + name +
			` :resorigtbl 7 :resorigcol 3 :resjunk false} {TARGETENTRY :expr <> :resno 2 :resname ` + name + ` :resorigtbl 8 :resorigcol 4 :resjunk false}) :setOperations <>})`
		if got := scanRule([]byte(whole)); !slices.Equal(got, []origin{{7, 3}, {8, 4}}) {
			t.Errorf("%q: %v", name, got)
		}
	})
}
