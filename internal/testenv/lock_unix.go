//go:build unix

package testenv

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile waits until no other process has f locked.
func lockFile(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX)
}
