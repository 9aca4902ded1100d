package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/athena-gateway/athena/internal/testenv"
	"github.com/athena-gateway/athena/sdk/sdktest"
)

func differential(t testing.TB) *sdktest.Differential {
	t.Helper()
	path := filepath.Join(t.TempDir(), "differential.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"path": path})
	if err != nil {
		t.Fatal(err)
	}
	return sdktest.NewDifferential(t, sdktest.Target{Config: config}.InProcess(plugin()), sdktest.SQLiteFlavor)
}

func TestDifferential(t *testing.T) {
	d := differential(t)
	for seed := range testenv.Cases(t, 300) {
		d.Case(t, seed)
	}
}

// FuzzDifferential tries ten cases for each input: what the engine does between two takes
// longer than one.
func FuzzDifferential(f *testing.F) {
	d := differential(f)
	f.Add(uint64(100))
	f.Fuzz(func(t *testing.T, seed uint64) {
		for i := range uint64(10) {
			d.Case(t, 10*seed+i)
		}
	})
}
