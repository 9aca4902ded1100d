//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// process is one process, told from a later one with the same id by its start.
type process struct {
	pid     int
	name    string
	started string // clock ticks since boot
}

// readProcess returns what /proc says of pid, and its parent; false when it has ended.
func readProcess(pid int) (p process, parent int, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, 0, false
	}
	// The name is in parentheses and may hold anything.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:])) // from the third: state, parent, ...
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, 0, false
	}
	parent, _ = strconv.Atoi(fields[1])
	return process{pid: pid, name: string(text[open+1 : end]), started: fields[19]}, parent, true
}

func (p process) alive() bool {
	now, _, ok := readProcess(p.pid)
	return ok && now.started == p.started
}

// children are the processes that pid has started and that still run.
func children(pid int) []process {
	var found []process
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		child, _ := strconv.Atoi(filepath.Base(path))
		if p, parent, ok := readProcess(child); ok && parent == pid {
			found = append(found, p)
		}
	}
	return found
}

// peakMemory is the largest resident size that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("process %d has no VmHWM", pid)
	return 0
}
