package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// memoryHeadroom is how much more than its limit of memory a process may map: runtimes map
// ahead of what they use. The guard looks at what is used; this stops what is faster, such as
// one huge allocation.
const memoryHeadroom = 256 << 20

// apply sets the limits of a process that has just been forked.
func (l Limits) apply(pid int) error {
	set := func(resource int, value uint64) error {
		if value == 0 {
			return nil
		}
		err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil)
		if errors.Is(err, unix.ESRCH) { // it has ended already
			return nil
		}
		return err
	}
	var data uint64
	if l.Memory > 0 {
		data = uint64(l.Memory) + memoryHeadroom
	}
	return errors.Join(set(unix.RLIMIT_DATA, data), set(unix.RLIMIT_NOFILE, l.OpenFiles))
}

// residentBytes is the memory that a process holds; 0 when that cannot be read.
func residentBytes(pid int) int64 {
	fields := bytes.Fields(procFile(fmt.Sprintf("/proc/%d/statm", pid)))
	if len(fields) < 3 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, _ := strconv.ParseInt(string(fields[2]), 10, 64) // of files: the program's own
	return (pages - shared) * int64(os.Getpagesize())
}

// cpuSeconds is the processor time that a process has used.
func cpuSeconds(pid int) float64 {
	text := procFile(fmt.Sprintf("/proc/%d/stat", pid))
	end := bytes.LastIndexByte(text, ')') // of the name, which may hold anything
	if end < 0 {
		return 0
	}
	fields := bytes.Fields(text[end+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return float64(user+system) / clockTicks
}

// clockTicks per second, as Linux reports times on every architecture that Go knows.
const clockTicks = 100

// oomKills is how many processes the kernel has killed for memory since the machine started.
func oomKills() uint64 {
	_, rest, found := bytes.Cut(procFile("/proc/vmstat"), []byte("\noom_kill "))
	if !found {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.ParseUint(string(line), 10, 64)
	return n
}

func procFile(path string) []byte {
	text, _ := os.ReadFile(path)
	return text
}
