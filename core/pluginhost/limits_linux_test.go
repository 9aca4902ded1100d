package pluginhost

import (
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

func TestLimits(t *testing.T) {
	h := newHost(t, Options{Limits: Limits{Memory: 1 << 30, OpenFiles: 300}, PluginLimits: map[string]Limits{"db": {Memory: 96 << 20}}}, "db", "other")
	if body := mustAsk(t, mustOpen(t, h, "other", ""), "limits"); body != `[{"files":300,"memory":"966367638"}]` {
		t.Errorf("got %s", body)
	}
	i := mustOpen(t, h, "db", "")
	for _, step := range []struct{ do, want, or string }{
		{"leak 4", "it used", ""},
		{"leak 1000", "it could get no more memory", "SIGSEGV"}, // of which Go's collector may die too
	} {
		mustAsk(t, i, "kilobyte")
		_, err := ask(testContext(t), i, step.do)
		wantError(t, err, sdk.Unavailable, "plugin_lost")
		eventually(t, "its return", func() bool { return status(t, h, "db").State == Ready })
		exit := status(t, h, "db").Exit
		if !strings.Contains(exit.String(), step.want) && (step.or == "" || !strings.Contains(strings.Join(exit.Output, " "), step.or)) {
			t.Errorf("%s: it %s: %q", step.do, exit, exit.Output)
		}
	}
}
