//go:build unix

package journal

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock keeps other processes out for as long as the file is open, also after
// a crash of this one no longer. A reader that asks whether it is open is over
// in a moment.
func lock(file *os.File) error {
	for {
		err := flock(file, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		open, err := isOpen(file)
		switch {
		case err != nil:
			return err
		case open:
			return errOpenElsewhere
		}
		time.Sleep(time.Millisecond)
	}
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
