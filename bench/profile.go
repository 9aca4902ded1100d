package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// profile drives each server for one more round under perf record, which sees all of
// its processes without a line of profiling code in them. The files are read with
// "perf report -i".
func (b *bench) profile(ctx context.Context, dir string, use *benchCase, sizes [2]int64, connections int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, s := range b.servers(use) {
		var pids []string
		for _, group := range s.processes() {
			for _, pid := range group {
				pids = append(pids, strconv.Itoa(pid))
			}
		}
		if pids == nil {
			return errors.New("-profile needs servers that the bench has started itself")
		}
		path := filepath.Join(dir, fmt.Sprintf("%s-%d-%s.perf", use.Name, connections, s.name))
		seconds := strconv.FormatFloat(b.duration.Seconds(), 'f', -1, 64)
		cmd := exec.CommandContext(ctx, "perf", "record", "-q", "-F", "1999", "-g", "-o", path, "-p", strings.Join(pids, ","), "--", "sleep", seconds)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("-profile needs perf (on Debian the package linux-perf): %w", err)
		}
		_, err := b.round(ctx, use, s, sizes[i], connections)
		if err = errors.Join(err, cmd.Wait()); err != nil {
			return fmt.Errorf("profile of %s on %s: %w", use.Name, s.name, err)
		}
	}
	return nil
}
