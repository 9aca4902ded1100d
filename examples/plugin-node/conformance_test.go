//go:build unix

package node_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/athena-gateway/athena/sdk/sdktest"
)

// TestConformance runs what every plugin passes, whatever it is written in.
func TestConformance(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, plugin(t))
	config, err := json.Marshal(map[string]string{"path": filepath.Join(t.TempDir(), "kv"), "password": "canary-77e1a0"})
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Run(t, sdktest.Target{Config: config}.Binary(filepath.Join(dir, "node-kv")), "protocol", "config")
}
