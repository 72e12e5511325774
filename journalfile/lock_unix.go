//go:build unix

package journalfile

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A reader holds the shared lock while it checks isOpen, which takes microseconds:
// lock tries again that often, a millisecond apart, before it gives up.
const lockAttempts = 1000

// lock locks the file against other processes until it is closed or the process ends.
func lock(file *os.File) error {
	for range lockAttempts {
		err := flock(file, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		open, err := isOpen(file)
		if err != nil {
			return err
		}
		if open {
			return errOpenElsewhere
		}
		time.Sleep(time.Millisecond)
	}
	return errOpenElsewhere
}

// isOpen reports whether a process has the file open as its journal.
func isOpen(file *os.File) (bool, error) {
	err := flock(file, unix.LOCK_SH)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, flock(file, unix.LOCK_UN)
}

func flock(file *os.File, how int) error {
	for {
		err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
