package testenv

import (
	"os"
	"strconv"
	"testing"
)

// Cases is how many random cases a test tries: usual, or what ATHENA_TEST_CASES says, as in
// `make fuzz`.
func Cases(t testing.TB, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv("ATHENA_TEST_CASES")
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("ATHENA_TEST_CASES must be a number of cases, not %q", text)
	}
	return n
}
