package sdktest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What Linux tells of processes in /proc.

// resident is how many bytes of the process's memory are its own: not of files.
func (p *Process) resident() (int64, error) {
	status, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kilobytes, err := strconv.ParseInt(fields[1], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the process's status does not tell its memory")
}

func (p *Process) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.pid()), file)
}

// descriptors are what the process has open, such as a path or socket:[12345].
func (p *Process) descriptors() ([]string, error) {
	entries, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		return nil, err
	}
	var open []string
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(p.proc("fd"), entry.Name())); err == nil { // else closed meanwhile
			open = append(open, target)
		}
	}
	return open, nil
}

// relative is a process that bears the mark of p: p itself, or one that it started.
type relative struct {
	pid          int
	argv         string // its words parted by spaces
	environment  string
	isTheProcess bool
}

func (r relative) String() string { return fmt.Sprintf("%d (%s)", r.pid, r.argv) }

// relatives lists the living processes that bear p's mark.
func (p *Process) relatives() ([]relative, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []relative
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		folder := filepath.Join("/proc", entry.Name())
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !bytes.Contains(environment, []byte(markEnv+"="+p.mark)) {
			continue // another's, or gone
		}
		argv, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || len(argv) == 0 {
			continue // it has ended
		}
		words := strings.ReplaceAll(strings.TrimRight(string(argv), "\x00"), "\x00", " ")
		found = append(found, relative{pid, words, string(environment), pid == p.pid()})
	}
	return found, nil
}
