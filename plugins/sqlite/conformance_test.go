package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/athena-gateway/athena/sdk/sdktest"
)

func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "check.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	target := sdktest.Target{Config: config, Dialect: sdktest.SQLite}
	t.Run("in process", func(t *testing.T) { sdktest.Run(t, target.InProcess(plugin())) })
	t.Run("binary", func(t *testing.T) { sdktest.Run(t, target.Binary(sdktest.Build(t, "."))) })
}
