package registry

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocumentation: the page has every setting with its bounds.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		bounds := map[string]string{"integer": fmt.Sprintf("%d to %d", s.Min, s.Max), "boolean": "true or false", "duration": "text such as "}[s.Type]
		if !strings.Contains(string(page), "| `"+s.Name+"` | "+bounds) {
			t.Errorf("the page does not tell of %s, %s", s.Name, bounds)
		}
	}
}
