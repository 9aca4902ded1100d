package config

import "testing"

// FuzzParseFile looks for YAML that makes the reader of the file panic.
func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"api: {port: 1}", "api: [{port: 1}]", "clients: {a: {backend: b, config: {x: [1, {2: 3}]}}}",
		"postgres_clients: [{a: b}]", "? {a: b}\n: c", "1: 2", "gateway: {admission_x: 1}", "a.b: 1", "- a", "&x a: *x",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseFile(data, func(string) (string, bool) { return "", false })
		if file == nil && err == nil {
			t.Fatal("neither a file nor an error")
		}
		if err != nil {
			return
		}
		c := &Config{}
		if err := c.applyLayers(file.settings, nil, nil); err == nil && c.API.Host == "" && file.settings["api.host"] == nil {
			t.Fatal("a default is lost")
		}
	})
}
