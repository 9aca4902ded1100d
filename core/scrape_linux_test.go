package core

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScrapeOfOddFiles: a file whose name is no text does not spoil the metrics.
func TestScrapeOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "odd\xff"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	url := open(t, "", dir).url
	response, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if want := "athena_plugin_state{plugin=\"odd\uFFFD\",state=\"discovered\"} 1"; err != nil || response.StatusCode != 200 || !strings.Contains(string(body), want) {
		t.Errorf("/metrics answers %d (%v) without %s:\n%.2000s", response.StatusCode, err, want, body)
	}
}
