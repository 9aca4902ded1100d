package registry

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for uri, want := range map[string]string{
		"postgres://u:s3cret@h:5432/d":                    "postgres://u:***@h:5432/d",
		"postgres://u:s3/cr@et@h/d":                       "postgres://u:***@h/d",
		"postgres://u:s3#cret@h/d":                        "postgres://u:***@h/d",
		"postgres://u:s3?cret@h/d":                        "postgres://***",
		"postgres://:s3cret@h/d":                          "postgres://:***@h/d",
		"postgres://u@h/d":                                "postgres://u@h/d",
		"postgres://h/d":                                  "postgres://h/d",
		"postgres://u:s3cret@h1:1,h2:2/d?sslmode=require": "postgres://u:***@h1:1,h2:2/d?sslmode=require",
		"postgres://h/d?password=s3cret&sslmode=disable&sslpassword=s3cret":       "postgres://h/d?sslmode=disable",
		"postgres://h/d?options=-c%20x=s3cret&user=u&PassWord=s3cret&passfile=/x": "postgres://h/d?user=u",
		"postgres://h/d?user=a@b&password=s3cret":                                 "postgres://***",
		"postgres://h/d#s3cret":           "postgres://h/d",
		"postgres://h/d?user=u#s3cret":    "postgres://h/d?user=u",
		"host=h password=s3cret":          "***",
		"s3cret":                          "***",
		"":                                "***",
		"${URI}":                          "${URI}",
		"${URI:-postgres://u:s3cret@h/d}": "${URI}",
		"postgres://u:${PW}@h/d":          "postgres://u:${PW}@h/d",
		"postgres://u:${PW:-s3cret}@${HOST:-h}/d": "postgres://u:${PW}@${HOST}/d",
		"postgres://u:s3cret${PW}@h/d":            "postgres://u:***@h/d",
		"postgres://u:p@h/d?password=${PW}":       "postgres://u:***@h/d",
	} {
		if got := Redact(uri); got != want {
			t.Errorf("%s is shown as %s, want %s", uri, got, want)
		}
	}
}

// FuzzRedact: whatever the password and what stands around it, it is not shown.
func FuzzRedact(f *testing.F) {
	f.Add("u", "s3/cr@et", "h:1/d", "sslmode=require")
	f.Add("", "a?b#c", "[::1]/d", "user=a@b&password=x")
	f.Fuzz(func(t *testing.T, user, password, host, query string) {
		const canary = "c4n4ry"
		if strings.ContainsAny(user, ":/?#@") || strings.Contains(user+host+query, canary) || strings.ContainsAny(host, "@?") {
			t.Skip()
		}
		uri := "postgres://" + user + ":" + password + canary + "@" + host + "?password=" + canary + "&" + query
		if shown := Redact(uri); strings.Contains(shown, canary) {
			t.Errorf("%q is shown as %q", uri, shown)
		}
	})
}

func TestSealer(t *testing.T) {
	key := newKey()
	s := sealer(t, key, nil)
	sealed, err := s.seal("a", "pg_uri", "the text", true)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := s.seal("a", "pg_uri", "the text", true)
	if sealed == again || strings.Contains(sealed, "text") {
		t.Errorf("sealed as %s and %s", sealed, again)
	}
	if got, err := sealer(t, newKey(), key).open("a", "pg_uri", sealed); got != "the text" || err != nil {
		t.Errorf("opened as %q: %v", got, err)
	}
	for _, test := range []struct {
		sealer               *Sealer
		client, column, text string
		says                 string
	}{
		{s, "b", "pg_uri", sealed, "belongs to another client"},
		{s, "a", "config", sealed, "belongs to another client"},
		{s, "a", "pg_uri", sealed[:len(sealed)-8] + "AAAAAAAA", "was changed"},
		{s, "a", "pg_uri", sealed[:len(sealed)-1] + "!", "is damaged"},
		{s, "a", "pg_uri", sealed[:len(sealedPrefix)+9] + "AAAA", "is damaged"},
		{s, "a", "pg_uri", sealedPrefix, "under another key"},
		{sealer(t, newKey(), nil), "a", "pg_uri", sealed, "under another key"},
		{nil, "a", "pg_uri", sealed, "under another key"},
	} {
		if got, err := test.sealer.open(test.client, test.column, test.text); err == nil || got != "" || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %s %s opens as %q: %v, want %q", test.client, test.column, test.text, got, err, test.says)
		}
	}
	for _, keys := range [][2][]byte{{key[:31], nil}, {nil, key}, {key, key[:1]}} {
		if _, err := NewSealer(keys[0], keys[1], false); err == nil {
			t.Errorf("keys of %d and %d bytes are accepted", len(keys[0]), len(keys[1]))
		}
	}
}

// FuzzOpenSealed: no stored text makes it panic, and none is taken for one that was sealed.
func FuzzOpenSealed(f *testing.F) {
	f.Add("")
	f.Add(sealedPrefix + ":")
	f.Add(sealedPrefix + "00000000:AAAA")
	f.Fuzz(func(t *testing.T, stored string) {
		s, _ := NewSealer(make([]byte, KeySize), nil, false)
		if text, err := s.open("a", "config", stored); err == nil && text != stored {
			t.Errorf("%q opens as %q", stored, text)
		}
	})
}
