package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of the times in /proc/<pid>/stat; Linux shows them in 1/100 s
// whatever the kernel was built with.
const clockTick = time.Second / 100

// stat reads the parent and the CPU time of a process: zeros when it is gone, or where
// there is no /proc.
func stat(pid int) (parent int, cpu time.Duration) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	// The second field is the name in parentheses and may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return parent, time.Duration(user+system) * clockTick
}

// cpuTimes are the CPU times of processes by their id.
func cpuTimes(pids []int) map[int]time.Duration {
	times := map[int]time.Duration{}
	for _, pid := range pids {
		if _, cpu := stat(pid); cpu > 0 {
			times[pid] = cpu
		}
	}
	return times
}

// spent is the CPU time between two readings; a process that is new spent all of its own.
func spent(before, after map[int]time.Duration) time.Duration {
	var sum time.Duration
	for pid, cpu := range after {
		sum += cpu - before[pid]
	}
	return sum
}

// descendants are the children of a process, their children and so on.
func descendants(pid int) []int {
	children := map[int][]int{}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		child, _ := strconv.Atoi(filepath.Base(path))
		parent, _ := stat(child)
		children[parent] = append(children[parent], child)
	}
	found := append([]int(nil), children[pid]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// ownCPU is the CPU time of this process, the load generator.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory is the largest resident size, in bytes, that the processes together have
// had since resetPeak.
func peakMemory(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				sum += kilobytes << 10
			}
		}
	}
	return sum
}

// resetPeak makes the peak start from what is resident now. Where that is not allowed
// the peak is that of the whole run.
func resetPeak(pids []int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
	}
}
