package sdktest_test

import (
	"os"
	"testing"

	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

// pluginEnv makes the test's own executable serve the Memory plugin.
const pluginEnv = "ATHENA_SDKTEST_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginEnv) != "" {
		sdk.Serve(sdktest.Memory("memory"))
		return
	}
	os.Exit(m.Run())
}

func TestMemory(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		sdktest.Run(t, sdktest.MemoryTarget().InProcess(sdktest.Memory("memory")))
	})
	t.Run("binary", func(t *testing.T) {
		t.Setenv(pluginEnv, "1")
		t.Setenv("GORACE", "atexit_sleep_ms=0") // or every exit takes a second with -race
		sdktest.Run(t, sdktest.MemoryTarget().Binary(os.Args[0]))
	})
}
