package pluginhost

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/athena-gateway/athena/sdk"
)

func TestDescribe(t *testing.T) {
	h := newHost(t, Options{}, "described")
	manifest, err := h.Describe(testContext(t), "described")
	if err != nil || manifest.Name != "described" || manifest.Version == "" || len(manifest.ConfigSchema) == 0 {
		t.Fatalf("%+v, %v", manifest, err)
	}
	status := h.Plugins()[0]
	if sum := h.Discover()[0].Checksum; status.PID == 0 || status.Version != manifest.Version || status.Checksum != sum {
		t.Errorf("%+v; want one that runs, of version %s and checksum %s", status, manifest.Version, sum)
	}
	_, err = h.Describe(testContext(t), "nobody")
	if e := (*sdk.Error)(nil); !errors.As(err, &e) || e.Reason != "unknown_backend" {
		t.Error(err)
	}
}

func TestScan(t *testing.T) {
	dir := pluginDir(t, "a")
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("text"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := Scan(dir)
	if err != nil || len(found) != 2 || found[0].Name != "a" || len(found[0].Checksum) != 64 || found[0].Err != nil || found[1].Err == nil {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := Scan(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "there is no plugin directory") {
		t.Error(err)
	}
}
