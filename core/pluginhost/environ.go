package pluginhost

import (
	"os"
	"slices"
	"strings"
)

// passedOn are the variables of the gateway's environment that plugins inherit. All others
// stay here: database URIs and keys live in the environment.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOMEMLIMIT"}

// environ is the environment of a plugin. extra holds names to pass on as well, or
// NAME=value to set.
func environ(extra []string) []string {
	var names, env []string
	for _, e := range extra {
		if strings.Contains(e, "=") {
			env = append(env, e)
		} else {
			names = append(names, e)
		}
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "LC_") || slices.Contains(passedOn, name) || slices.Contains(names, name) {
			env = append(env, e)
		}
	}
	return env
}
