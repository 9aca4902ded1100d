package httpx

import (
	"strings"
	"testing"
)

func TestHostLabel(t *testing.T) {
	const domain = "v3.athena-db.com"
	for host, want := range map[string]string{
		"shop.v3.athena-db.com":                       "shop",
		"SHOP.V3.Athena-DB.com:8443":                  "shop",
		"shop.v3.athena-db.com.":                      "shop",
		"shop.v3.athena-db.com.:80":                   "shop",
		"shop.v3.athena-db.com:":                      "shop",
		"my_shop-2.v3.athena-db.com":                  "my_shop-2",
		"xn--bcher-kva.v3.athena-db.com":              "xn--bcher-kva",
		strings.Repeat("a", 63) + ".v3.athena-db.com": strings.Repeat("a", 63),
		strings.Repeat("a", 64) + ".v3.athena-db.com": "",
		"v3.athena-db.com":                            "",
		".v3.athena-db.com":                           "",
		"a.shop.v3.athena-db.com":                     "",
		"shop.v3.athena-db.com..":                     "",
		"shop.v3.athena-db.com.evil.example":          "",
		"shopv3.athena-db.com":                        "",
		"evil.example":                                "",
		"evil.example:80.v3.athena-db.com":            "",
		"a:80:80.v3.athena-db.com":                    "",
		"shop.v3.athena-db.com:8o":                    "",
		"b\u00fccher.v3.athena-db.com":                "",
		"\u212a.v3.athena-db.com":                     "", // the Kelvin sign, whose lower case is k
		"sh op.v3.athena-db.com":                      "",
		"shop\x00.v3.athena-db.com":                   "",
		"[::1]":                                       "",
		"127.0.0.1:4052":                              "",
		"":                                            "",
	} {
		if got := hostLabel(host, domain); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
	if got := hostLabel("shop.v3.athena-db.com", ""); got != "" {
		t.Errorf("without a domain: %q", got)
	}
}

func FuzzHostLabel(f *testing.F) {
	f.Add("shop.v3.athena-db.com:80")
	f.Add("a.b.v3.athena-db.com")
	f.Add("[::1]:80")
	f.Fuzz(func(t *testing.T, host string) {
		label := hostLabel(host, "v3.athena-db.com")
		if label == "" {
			return
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" || len(label) > maxLabel {
			t.Errorf("%q gives %q", host, label)
		}
		if again := hostLabel(label+".v3.athena-db.com", "v3.athena-db.com"); again != label {
			t.Errorf("%q gives %q, which gives %q", host, label, again)
		}
	})
}
