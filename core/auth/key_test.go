package auth

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FuzzParse: what is taken for a key is one, to the letter.
func FuzzParse(f *testing.F) {
	m := mint()
	for _, text := range []string{m.text, m.text[:40], m.text + "=", "ath_pub.secret", "", "ath_" + m.public + "." + m.text[21:63] + "\n", "ATH_" + m.text[4:]} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		public, secret, ok := parse(text)
		if !ok {
			if public != nil || secret != nil {
				t.Errorf("%q is none, but has parts", text)
			}
			return
		}
		if len(public) != publicLength || len(secret) != secretLength || fmt.Sprintf("ath_%s.%s", public, secret) != string(text) {
			t.Errorf("%q is %q and %q", text, public, secret)
		}
		for _, c := range text {
			if c <= ' ' || c > '~' || slices.Contains([]byte(`"'%&+/<>?#;,\`), c) {
				t.Errorf("%q holds %q", text, c)
			}
		}
	})
}

// TestSameCost: whether a key exists and wherever its secret differs, deciding takes one hash
// and one comparison of all of it, and nothing else looks at secrets. It reads the code;
// TestTiming, which takes longer, measures.
func TestSameCost(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string][]string{} // by the function that makes them, without those in a branch
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.IfStmt:
					return f.Name.Name != "find" // what stands in a branch does not count
				case *ast.CallExpr:
					switch name := callee(n.Fun); name {
					case "digest", "subtle.ConstantTimeCompare", "sha256.Sum256":
						calls[f.Name.Name] = append(calls[f.Name.Name], name)
					case "bytes.Equal", "bytes.Compare", "hmac.Equal":
						t.Errorf("%s calls %s", f.Name.Name, name)
					}
				case *ast.BranchStmt:
					if f.Name.Name == "authenticateAdmin" {
						t.Error("not every credential is compared with the admin key")
					}
				}
				return true
			})
		}
	}
	for f, want := range map[string][]string{
		"find":              {"digest", "subtle.ConstantTimeCompare"},
		"authenticateAdmin": {"sha256.Sum256", "subtle.ConstantTimeCompare"},
	} {
		if !slices.Equal(calls[f], want) {
			t.Errorf("%s calls %v, want %v", f, calls[f], want)
		}
	}
}

func callee(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return callee(e.X) + "." + e.Sel.Name
	}
	return ""
}

// BenchmarkAuthenticate is what a request with a warm key costs: finding the key, the rights
// and counting the attempt.
func BenchmarkAuthenticate(b *testing.B) {
	k := New(Options{AdminKey: adminKey})
	m := mint()
	_, secret, _ := parse([]byte(m.text))
	s := &state{keys: map[string]*key{}, global: true, anywhere: true, everywhere: true}
	for range 1000 {
		other := mint()
		s.keys[other.public] = &key{salt: other.salt, active: true}
	}
	s.keys[m.public] = &key{Principal: Principal{ID: "1", PublicID: m.public, Client: "shop", rights: []string{Delete, Fetch, Insert}}, salt: m.salt, hash: digest(m.salt, secret), active: true}
	k.state.Store(s)
	k.record = &recorder{now: k.now, entries: map[same]*entry{}}
	credential := []byte(m.text)
	var a Attempt
	b.ReportAllocs()
	for b.Loop() {
		a = Attempt{RequestID: "r", Method: "POST", Path: "/gateway/fetch", Remote: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		var array [5][]byte
		if err := k.Authenticate(&a, append(array[:0], credential)); err != nil {
			b.Fatal(err)
		}
		if err := k.Use(&a, "shop", Fetch); err != nil {
			b.Fatal(err)
		}
		k.Record(&a)
	}
}
