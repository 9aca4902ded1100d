package pluginhost

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// passedOn are the variables of the gateway's environment that plugins inherit. All others
// stay here: database URIs and keys live in the environment.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "GOMAXPROCS", "GOMEMLIMIT"}

// pluginProcs is how many processors a plugin uses beside a gateway that uses n: half. A
// call costs the two about the same, and on few processors more threads than that spend
// their time waking each other.
func pluginProcs(n int) int { return (n + 1) / 2 }

// environ is the environment of a plugin. extra holds names to pass on as well, or
// NAME=value to set. A limit of memory tells Go when to collect harder.
func environ(extra []string, limits Limits) []string {
	var names, set, env []string
	for _, e := range extra {
		if strings.Contains(e, "=") {
			set = append(set, e)
		} else {
			names = append(names, e)
		}
	}
	if os.Getenv("GOMAXPROCS") == "" {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(pluginProcs(runtime.GOMAXPROCS(0))))
	}
	if limits.Memory > 0 {
		env = append(env, "GOMEMLIMIT="+strconv.FormatInt(limits.Memory/10*9, 10))
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if name == "GOMEMLIMIT" && limits.Memory > 0 {
			continue
		}
		if strings.HasPrefix(name, "LC_") || slices.Contains(passedOn, name) || slices.Contains(names, name) {
			env = append(env, e)
		}
	}
	return append(env, set...) // of equal names the last counts
}
